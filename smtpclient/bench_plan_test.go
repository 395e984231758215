package smtpclient

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// staticMX is a resolver that knows partner.example with one host and one address.
func staticMX(b testing.TB, addr netip.Addr) dnssec.Static {
	return dnssec.Static{Answers: map[dnssec.Question]dnssec.Answer{
		{Name: "partner.example.", Type: dnssec.TypeMX}: {Security: dnssec.Insecure,
			Records: []dnssec.Record{{Data: mxData(b, "10", "mx.partner.example")}}},
		{Name: "mx.partner.example.", Type: dnssec.TypeA}: {Security: dnssec.Insecure,
			Records: []dnssec.Record{{Data: addr.AsSlice()}}},
		{Name: "mx.partner.example.", Type: dnssec.TypeAAAA}: {Security: dnssec.Insecure},
	}}
}

// BenchmarkPlan plans with answers at hand.
func BenchmarkPlan(b *testing.B) {
	d := &Dialer{
		Hostname: "mta.sender.example", Resolver: staticMX(b, netip.MustParseAddr("192.0.2.1")),
		Policy: fixed(tlspolicy.Settings{Mode: tlspolicy.RequiredVerify, DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.On, Fallback: tlspolicy.FallbackAfter220}),
		MTASTS: found(policyOf("enforce", "*.partner.example")),
	}
	b.ReportAllocs()
	for b.Loop() {
		p, err := d.Plan(context.Background(), Target{Domain: "partner.example"})
		if err != nil || p.Hosts[0].Err != nil {
			b.Fatal(err)
		}
	}
}

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
	for name, sessions := range map[string]int{"off": -1, "on": 0} {
		d := &Dialer{
			Hostname: "mta.sender.example", Resolver: staticMX(b, netip.MustParseAddr("192.0.2.1")), Trust: trust, Sessions: sessions,
			Policy: fixed(modeOnly(tlspolicy.RequiredVerifyHosted)),
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, listener.Addr().String())
			},
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s, err := d.Dial(context.Background(), "partner.example")
				if err != nil {
					b.Fatal(err)
				}
				c, err := s.NetSMTP()
				if err != nil {
					b.Fatal(err)
				}
				if err := c.Mail("a@sender.example"); err != nil {
					b.Fatal(err)
				}
				if err := c.Rcpt("b@partner.example"); err != nil {
					b.Fatal(err)
				}
				w, err := c.Data()
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.WriteString(w, body); err != nil {
					b.Fatal(err)
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
				if err := c.Quit(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
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
