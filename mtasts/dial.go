package mtasts

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/smtpsec/smtpsec/internal/ssrf"
)

// maxAddresses is how many addresses of a policy host are tried. The owner of
// the host decides how many there are.
const maxAddresses = 8

// addressResolver is what a Resolver may have besides LookupTXT.
type addressResolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// connect makes a verified TLS connection to the policy host, port 443. The
// error is a *fetchError.
func (f *fetcher) connect(ctx context.Context, host string) (*tls.Conn, error) {
	raw, err := f.dial(ctx, host)
	if err != nil {
		return nil, err
	}
	if err := f.guard().CheckConn(raw); err != nil {
		raw.Close()
		return nil, &fetchError{ReasonBlockedAddress, err}
	}
	// RFC 8461 section 3.3: the certificate is valid for the policy host by a
	// DNS-ID; crypto/tls takes no common name and no partial wildcard.
	conn := tls.Client(raw, &tls.Config{
		RootCAs:    f.RootCAs,
		ServerName: host,
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		Time:       f.clock.Now,
	})
	ctx, cancel := context.WithTimeout(ctx, f.HandshakeTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		switch {
		case isCertificateError(err):
			return nil, &fetchError{ReasonCert, err}
		case ctx.Err() != nil:
			return nil, failf(ReasonTimeout, "TLS handshake: %w", ctx.Err())
		}
		return nil, &fetchError{ReasonTLS, err}
	}
	return conn, nil
}

// dial makes the TCP connection.
func (f *fetcher) dial(ctx context.Context, host string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, f.ConnectTimeout)
	defer cancel()
	dialContext := f.DialContext
	if dialContext == nil {
		dialContext = (&net.Dialer{ControlContext: f.guard().Control}).DialContext
	}
	resolver, ok := f.resolver.(addressResolver)
	if !ok && f.DialContext != nil {
		conn, err := dialContext(ctx, "tcp", net.JoinHostPort(host, "443"))
		if err != nil {
			return nil, connectError(ctx, err)
		}
		return conn, nil
	}
	if !ok {
		resolver = net.DefaultResolver
	}
	// The final dot keeps search lists out.
	addrs, err := resolver.LookupNetIP(ctx, "ip", host+".")
	if err == nil && len(addrs) == 0 {
		err = &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	if err != nil {
		return nil, failf(ReasonDNS, "resolving the policy host: %w", err)
	}
	return f.dialAny(ctx, dialContext, addrs)
}

// dialAny tries the allowed addresses in order, each with its share of the time.
func (f *fetcher) dialAny(ctx context.Context, dialContext func(context.Context, string, string) (net.Conn, error), addrs []netip.Addr) (net.Conn, error) {
	var allowed []netip.Addr
	var blocked error
	for _, addr := range addrs {
		if err := f.guard().Check(addr); err != nil {
			blocked = err
		} else if len(allowed) < maxAddresses {
			allowed = append(allowed, addr.Unmap())
		}
	}
	if len(allowed) == 0 {
		return nil, &fetchError{ReasonBlockedAddress, blocked}
	}
	var first error
	for i, addr := range allowed {
		attempt, cancel := shareDeadline(ctx, len(allowed)-i)
		conn, err := dialContext(attempt, "tcp", netip.AddrPortFrom(addr, 443).String())
		cancel()
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, connectError(ctx, first)
}

// shareDeadline gives one of n attempts its part of the time that is left.
func shareDeadline(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok || n == 1 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(n))
}

func connectError(ctx context.Context, err error) error {
	var netErr net.Error
	switch {
	case errors.Is(err, ssrf.ErrBlocked):
		return &fetchError{ReasonBlockedAddress, err}
	case ctx.Err() != nil, errors.As(err, &netErr) && netErr.Timeout():
		return &fetchError{ReasonTimeout, err}
	}
	return &fetchError{ReasonConnect, err}
}
