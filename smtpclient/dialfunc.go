package smtpclient

import (
	"context"
	"net"
)

// DialContextFunc returns a dial hook for SMTP client libraries that take one, such
// as github.com/wneessen/go-mail: whatever network and address it is called with,
// it dials t, and what it returns is the ReplayConn of the Session. The library
// must not use TLS of its own: that has been decided, and STARTTLS is not offered.
// The name that it gives in EHLO should be Dialer.Hostname, so that it is answered
// without a round trip.
//
// A library that sees no TLS may refuse to send passwords. Mail exchangers want
// none.
func (d *Dialer) DialContextFunc(t Target) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		s, err := d.DialTarget(ctx, t)
		if err != nil {
			return nil, err
		}
		return s.ReplayConn(), nil
	}
}
