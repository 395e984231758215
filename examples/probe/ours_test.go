package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/lab"
)

// TestOurs: what may be the fault of this end is not told as that of the domain's owner.
func TestOurs(t *testing.T) {
	six := netip.MustParseAddr("2001:db8:99::1")
	_, p := inLab(t, lab.World{Domains: []lab.Domain{
		{Name: "blocked.example", Hosts: []lab.Host{{Name: "mx.blocked.example", Fault: lab.Greeting(554)}}},
		{Name: "later.example", Hosts: []lab.Host{{Name: "mx.later.example", Fault: lab.Greeting(421)}}},
		{Name: "other.example", Hosts: []lab.Host{{Name: "a.other.example", Fault: lab.Greeting(554)}, {Name: "b.other.example"}}},
		{Name: "stall.example", Hosts: []lab.Host{{Name: "mx.stall.example", Fault: lab.SilentGreeting()}}},
		{Name: "handshake.example", Hosts: []lab.Host{{Name: "mx.handshake.example", Fault: lab.HandshakeStall()}}},
		{Name: "six.example", Hosts: []lab.Host{{Name: "mx.six.example", Addrs: []netip.Addr{six}}}},
		{Name: "both.example", Hosts: []lab.Host{{Name: "mx.both.example"}}, Records: []string{"mx AAAA " + six.String()}},
		{Name: "unlisted.example", Hosts: []lab.Host{{Name: "mx.unlisted.example", Fault: lab.Refused()}}, Policy: &lab.Policy{MX: []string{"old.unlisted.example"}}},
		{Name: "dead.example", Hosts: []lab.Host{{Name: "mx.dead.example", Fault: lab.Refused()}}, Policy: &lab.Policy{}},
	}})
	inside := p.dial
	p.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if at, err := netip.ParseAddrPort(address); err == nil && at.Addr() == six {
			return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}
		}
		return inside(ctx, network, address)
	}
	for _, c := range []struct {
		domain  string
		status  Status
		timeout time.Duration
		advice  string // this, and of those that may be our fault no other
		why     string
	}{
		{"blocked.example", StatusUnknown, time.Minute, "turned-away", "554 as the first word"},
		{"later.example", StatusUnknown, time.Minute, "turned-away", "421 as the first word"},
		{"other.example", StatusOK, time.Minute, "turned-away", "another host takes the mail"},
		{"stall.example", StatusUnknown, 500 * time.Millisecond, "", "our own time ran out, before the host's did"},
		{"handshake.example", StatusUnknown, 500 * time.Millisecond, "", "in the handshake too"},
		{"six.example", StatusUnknown, time.Minute, "", "there is no IPv6 here"},
		{"both.example", StatusOK, time.Minute, "", "nor is that a reason to take the AAAA record away"},
		{"unlisted.example", StatusMend, time.Minute, "sts-mx-unlisted", "policy keeps all mail away, whoever can be connected to"},
		{"dead.example", StatusUnknown, time.Minute, "", "policy does not, so that it matters"},
	} {
		p.timeout = c.timeout
		r := p.probe(context.Background(), c.domain)
		require.Equal(t, c.status, r.Status, "%s: %s", c.why, r.Why)
		var got []string
		for _, code := range codes(r) {
			switch code {
			case "sts-missing", "tlsrpt-missing", "sts-pattern-unused":
			default:
				got = append(got, code)
			}
		}
		if c.advice == "" {
			require.Empty(t, got, c.why)
		} else {
			require.Equal(t, []string{c.advice}, got, c.why)
		}
	}
	p.timeout = time.Minute
	r := p.probe(context.Background(), "both.example")
	require.Equal(t, []string{noRoute}, r.Notes)
}

// TestSpent: hosts that there was no connection left for are neither good nor bad, and
// what decides about the others is told in words.
func TestSpent(t *testing.T) {
	d := lab.Domain{Name: "wide.example", Hosts: []lab.Host{{Name: "first.wide.example", Fault: lab.Junk(lab.AtGreeting)}, {Name: "last.wide.example"}}}
	d.MX = append(d.MX, lab.MX{Host: "first.wide.example", Pref: 0})
	for i := range 5 {
		d.MX = append(d.MX, lab.MX{Host: fmt.Sprintf("h%d.wide.example", i), Pref: 10})
		for j := range 8 {
			d.Records = append(d.Records, fmt.Sprintf("h%d A 198.51.100.%d", i, 10*i+j+100))
		}
	}
	d.MX = append(d.MX, lab.MX{Host: "last.wide.example", Pref: 100})
	_, p := inLab(t, lab.World{Domains: []lab.Domain{d}})
	r := p.probe(context.Background(), d.Name)
	require.Equal(t, "deferred: no mail host could be talked to", r.Why)
	require.NotEmpty(t, r.Decisions)
	for _, d := range r.Decisions {
		require.NotContains(t, d.Text, "input", "%+v", d)
	}
	last := r.Hosts[len(r.Hosts)-1]
	require.Equal(t, "last.wide.example", last.Host)
	require.Contains(t, last.Error, "not looked at")
}

// TestMalformedMX: records that no resolver makes a host of are told, since every
// other part of the Result is silent about them.
func TestMalformedMX(t *testing.T) {
	_, p := inLab(t, lab.World{Domains: []lab.Domain{
		{Name: "null.example", MX: []lab.MX{{Host: ".", Pref: 0}, {Host: "mx.null.example", Pref: 10}}, Hosts: []lab.Host{{Name: "mx.null.example"}}},
		{Name: "names.example", Hosts: []lab.Host{{Name: "mx.names.example"}}, MX: []lab.MX{{Host: "mx.names.example", Pref: 10}},
			Records: []string{`@ MX 20 192.0.2.1.`, `@ MX 30 a\032b.names.example.`}},
	}})
	require.Contains(t, codes(p.probe(context.Background(), "null.example")), "mx-malformed", "RFC 7505 section 3")
	r := p.probe(context.Background(), "names.example")
	require.Equal(t, 1, r.MX.Malformed)
	require.Subset(t, codes(r), []string{"mx-malformed", "mx-not-a-host"})
}

// TestAnchorNotServed: a record of an issuer that the server does not send is spoken of,
// though another record matches: it will fail those who trust in it when the key changes.
func TestAnchorNotServed(t *testing.T) {
	_, p := inLab(t, lab.World{Domains: []lab.Domain{
		{Name: "ta.example", DNSSEC: lab.Signed, Hosts: []lab.Host{{Name: "mx.ta.example", TLSA: []lab.TLSA{lab.TLSAMatch, lab.TLSAMatchTA}, Cert: lab.Cert{Kind: lab.CertNoIntermediate}}}},
		{Name: "good.example", DNSSEC: lab.Signed, Hosts: []lab.Host{{Name: "mx.good.example", TLSA: []lab.TLSA{lab.TLSAMatch, lab.TLSAMatchTA}}}},
	}})
	require.Contains(t, codes(p.probe(context.Background(), "ta.example")), "tlsa-advice")
	require.NotContains(t, codes(p.probe(context.Background(), "good.example")), "tlsa-advice")
}
