//go:build unix

package smtpclient

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// BenchmarkResumption delivers messages of 4 KiB, one connection each, to a host
// with an RSA leaf and intermediate on loopback, with and without resumption of TLS
// sessions. The server, in the same process, is part of the figures.
func BenchmarkResumption(b *testing.B) {
	root := testpki.NewRoot("Root")
	between := root.Intermediate("Between", testpki.Key(testpki.NewRSA(2048)))
	cert := between.Leaf([]string{"mx.partner.example"}, testpki.Key(testpki.NewRSA(2048))).TLS()
	trust, err := tlspolicy.NewPoolVerifier(testpki.Pool(root), tlspolicy.PoolOptions{})
	require.NoError(b, err)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(b, err)
	defer listener.Close()
	go serveForever(listener, cert)
	body := strings.Repeat(strings.Repeat("x", 62)+"\r\n", 64)
	deliver := func(b *testing.B, d *Dialer) {
		s, err := d.Dial(context.Background(), "partner.example")
		require.NoError(b, err)
		c, err := s.NetSMTP()
		require.NoError(b, err)
		require.NoError(b, c.Mail("a@sender.example"))
		require.NoError(b, c.Rcpt("b@partner.example"))
		w, err := c.Data()
		require.NoError(b, err)
		_, err = io.WriteString(w, body)
		require.NoError(b, err)
		require.NoError(b, w.Close())
		require.NoError(b, c.Quit())
	}
	dialer := func(sessions int) *Dialer {
		return &Dialer{
			Hostname: "mta.sender.example", Resolver: staticMX(b, netip.MustParseAddr("192.0.2.1")), Trust: trust, Sessions: sessions,
			Policy: fixed(modeOnly(tlspolicy.RequiredVerifyHosted)),
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, listener.Addr().String())
			},
		}
	}
	off, on := dialer(-1), dialer(0)
	for _, way := range []struct {
		name string
		d    *Dialer
	}{{"off", off}, {"on", on}} {
		b.Run(way.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				deliver(b, way.d)
			}
		})
	}
	// How many deliveries the CPU time of one without resumption is enough for: the
	// median of alternating runs.
	b.Run("cpu", func(b *testing.B) {
		var ratios []float64
		for b.Loop() {
			var spent [2]time.Duration
			for i, d := range []*Dialer{off, on} {
				begin := cpuTime(b)
				for range 40 {
					deliver(b, d)
				}
				spent[i] = cpuTime(b) - begin
			}
			ratios = append(ratios, float64(spent[0])/float64(spent[1]))
		}
		slices.Sort(ratios)
		b.ReportMetric(ratios[len(ratios)/2], "off/on")
	})
}

// serveForever is a mail host that takes everything and keeps nothing.
func serveForever(listener net.Listener, cert tls.Certificate) {
	srv := gosmtp.NewServer(gosmtp.BackendFunc(func(*gosmtp.Conn) (gosmtp.Session, error) { return sink{}, nil }))
	srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	srv.Serve(listener)
}

type sink struct{}

func (sink) Mail(string, *gosmtp.MailOptions) error { return nil }
func (sink) Rcpt(string, *gosmtp.RcptOptions) error { return nil }
func (sink) Reset()                                 {}
func (sink) Logout() error                          { return nil }
func (sink) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}
