package tlsrpt

import (
	"context"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// endingConn ends a context when it is read for the nth time.
type endingConn struct {
	net.Conn
	reads int
	end   func()
}

func (c *endingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.reads--; c.reads == 0 {
		c.end()
	}
	return n, err
}

// TestHTTPEnded: a POST that ends while the certificate is looked at leaves nothing
// behind that writes what the caller reads. The race detector judges.
func TestHTTPEnded(t *testing.T) {
	target, sender := receiverHost(t, "r.example", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	sender.RootCAs = nil // so that verification has something to tell
	dial := sender.DialContext
	for i := range 40 {
		ctx, cancel := context.WithCancel(t.Context())
		sender.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return tcpConn{conn.(*net.TCPConn), &endingConn{conn, 1 + i%4, cancel}}, nil
		}
		unverified, err := sender.Send(ctx, target, nil)
		if err == nil {
			require.Error(t, unverified)
		}
		cancel()
	}
}

// tcpConn is a TCP connection with another Read.
type tcpConn struct {
	*net.TCPConn
	reader *endingConn
}

func (c tcpConn) Read(p []byte) (int, error) { return c.reader.Read(p) }
