//go:build unix

package smtpclient

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"net/smtp"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// BenchmarkDial compares a Preferred Dial with a static resolver with the least
// that gives the same session: a TCP connection and net/smtp. The server, in the
// same process, is part of both figures.
func BenchmarkDial(b *testing.B) {
	addr := netip.MustParseAddr("203.0.113.1")
	l, err := lab.Start(lab.World{Domains: []lab.Domain{{Name: "partner.example", Hosts: []lab.Host{{
		Name: "mx.partner.example", Addrs: []netip.Addr{addr},
	}}}}})
	require.NoError(b, err)
	defer l.Close()
	h := l.Host("mx.partner.example")
	ctx := context.Background()
	bare := func() {
		conn, err := l.DialContext(ctx, "tcp4", net.JoinHostPort(addr.String(), "25"))
		if err != nil {
			b.Fatal(err)
		}
		c, err := smtp.NewClient(conn, "mx.partner.example")
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Hello("mta.sender.example"); err != nil {
			b.Fatal(err)
		}
		if err := c.StartTLS(&tls.Config{ServerName: "mx.partner.example", InsecureSkipVerify: true}); err != nil {
			b.Fatal(err)
		}
		if err := c.Quit(); err != nil {
			b.Fatal(err)
		}
		h.Forget()
	}
	static := dnssec.Static{Answers: map[dnssec.Question]dnssec.Answer{
		{Name: "partner.example.", Type: dnssec.TypeMX}: {Security: dnssec.Insecure,
			Records: []dnssec.Record{{Data: mxData(b, "10", "mx.partner.example")}}},
		{Name: "mx.partner.example.", Type: dnssec.TypeA}: {Security: dnssec.Insecure,
			Records: []dnssec.Record{{Data: addr.AsSlice()}}},
		{Name: "mx.partner.example.", Type: dnssec.TypeAAAA}: {Security: dnssec.Insecure},
	}}
	dialer := func(mode tlspolicy.Mode) func() {
		d := labDialer(b, l, tlspolicy.Settings{Mode: mode, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.Off, Fallback: tlspolicy.FallbackAfter220})
		d.Resolver, d.Sessions = static, -1 // net/smtp resumes none; BenchmarkResumption shows what that is worth
		return func() {
			s, err := d.Dial(ctx, "partner.example")
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Quit(ctx); err != nil {
				b.Fatal(err)
			}
			h.Forget()
		}
	}
	ways := []struct {
		name string
		run  func()
	}{
		{"net-smtp", bare}, {"preferred", dialer(tlspolicy.Preferred)},
		{"required-verify-hosted", dialer(tlspolicy.RequiredVerifyHosted)},
	}
	for _, way := range ways {
		b.Run(way.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				way.run()
			}
		})
	}
	// CPU time, user and system, over that of net/smtp, and of the third way over the
	// second: the median of alternating runs.
	b.Run("cpu", func(b *testing.B) {
		ratios, checking := make([][]float64, len(ways)), []float64(nil)
		for b.Loop() {
			spent := make([]time.Duration, len(ways))
			for i, way := range ways {
				begin := cpuTime(b)
				for range 40 {
					way.run()
				}
				spent[i] = cpuTime(b) - begin
				ratios[i] = append(ratios[i], float64(spent[i])/float64(spent[0]))
			}
			checking = append(checking, float64(spent[2])/float64(spent[1]))
		}
		for i, way := range ways[1:] {
			slices.Sort(ratios[i+1])
			b.ReportMetric(ratios[i+1][len(ratios[i+1])/2], way.name+"/net-smtp")
		}
		slices.Sort(checking)
		b.ReportMetric(checking[len(checking)/2], ways[2].name+"/"+ways[1].name)
	})
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
