package lab

import (
	"context"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/dnstest"
)

func lookupTXT(t *testing.T, l *Lab, name string) []string {
	t.Helper()
	texts, _, err := dnssec.LookupTXT(context.Background(), l.Resolver(), name)
	require.NoError(t, err)
	return texts
}

// tlsaRecords returns what DNS says at a host's TLSA name, as presentation forms.
func tlsaRecords(t *testing.T, l *Lab, host string) (*dnssec.Answer, []string) {
	t.Helper()
	answer, err := l.Resolver().Lookup(context.Background(), "_25._tcp."+host, dnssec.TypeTLSA)
	require.NoError(t, err)
	var all []string
	for _, r := range answer.Records {
		d := r.Data
		all = append(all, strings.Join([]string{string('0' + d[0]), string('0' + d[1]), string('0' + d[2]), hex.EncodeToString(d[3:])}, " "))
	}
	return answer, all
}

func TestStartRefuses(t *testing.T) {
	host := func(h Host) World { return World{Domains: []Domain{{Name: "a.example", Hosts: []Host{h}}}} }
	addr := netip.MustParseAddr("192.0.2.77")
	for _, test := range []struct {
		name, problem string
		world         World
	}{
		{"bad domain", `name "a b"`, World{Domains: []Domain{{Name: "a b"}}}},
		{"bad host", `name "*.a.example"`, host(Host{Name: "*.a.example"})},
		{"domain twice", "a.example is declared twice", World{Domains: []Domain{{Name: "a.example"}, {Name: "A.example."}}}},
		{"host twice", "mx.a.example is declared twice", World{Domains: []Domain{{Name: "a.example", Hosts: []Host{{Name: "mx.a.example"}, {Name: "mx.a.example"}}}}}},
		{"top-level domain", "top-level", World{Domains: []Domain{{Name: "example"}}}},
		{"bad state", "DNSSEC 9", World{Domains: []Domain{{Name: "a.example", DNSSEC: 9}}}},
		{"host elsewhere", "not inside its domain", host(Host{Name: "mx.b.example"})},
		{"host next door", "not inside its domain", host(Host{Name: "mxa.example"})},
		{"real address", "outside the documentation prefixes", host(Host{Name: "mx.a.example", Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})},
		{"address twice", "192.0.2.77 is taken", World{Domains: []Domain{{Name: "a.example",
			Hosts: []Host{{Name: "mx.a.example", Addrs: []netip.Addr{addr}}}, Policy: &Policy{Addrs: []netip.Addr{addr}}}}}},
		{"TLSA without meaning", `"matches"`, host(Host{Name: "mx.a.example", TLSA: []TLSA{"matches"}})},
		{"TLSA that is no RDATA", "TLSA", host(Host{Name: "mx.a.example", TLSA: []TLSA{"a b c d"}})},
		{"2 1 1 without an issuer", "no issuer", host(Host{Name: "mx.a.example", Cert: Cert{Kind: CertSelfSigned}, TLSA: []TLSA{TLSAMatchTA}})},
		{"bad policy certificate", "certificate kind 99", World{Domains: []Domain{{Name: "a.example", Policy: &Policy{Cert: Cert{Kind: 99}}}}}},
		{"bad record", "zones", World{Domains: []Domain{{Name: "a.example", Records: []string{"@ A 1.2.3"}}}}},
		{"bad front address", "cannot listen", World{FrontAddr: "nowhere"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			noLeak(t)
			_, err := Start(test.world)
			require.ErrorContains(t, err, test.problem)
		})
	}
}

// A port that is taken is told with its number, and nothing stays behind.
func TestFrontPortTaken(t *testing.T) {
	noLeak(t)
	for _, network := range []string{"tcp", "udp"} {
		taken, addr := occupy(t, network)
		_, err := Start(World{FrontAddr: addr})
		require.ErrorContains(t, err, addr)
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		require.NoError(t, taken.Close())
	}
}

func occupy(t *testing.T, network string) (io.Closer, string) {
	if network == "udp" {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(t, err)
		return c, c.LocalAddr().String()
	}
	c, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return c, c.Addr().String()
}

func TestFrontAddr(t *testing.T) {
	taken, addr := occupy(t, "tcp")
	taken.Close()
	l := start(t, World{FrontAddr: addr})
	require.Equal(t, addr, l.Front().String())
	require.Equal(t, l.Front(), l.FrontServer().Addr())
}

func TestDialContext(t *testing.T) {
	four, six := netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("2001:db8::7")
	l := start(t, World{Domains: []Domain{{Name: "a.example", Policy: &Policy{},
		Hosts: []Host{{Name: "mx.a.example", Addrs: []netip.Addr{four, six}}}}}})
	sts := l.PolicyHost("a.example").Addrs()[0].String()
	for _, test := range []struct{ network, address, remote string }{
		{"tcp", "198.51.100.7:25", "198.51.100.7:25"},
		{"tcp4", "198.51.100.7:25", "198.51.100.7:25"},
		{"tcp", "[::ffff:198.51.100.7]:25", "198.51.100.7:25"},
		{"tcp6", "[2001:db8::7]:25", "[2001:db8::7]:25"},
		{"tcp6", "mx.a.example:25", "[2001:db8::7]:25"},
		{"tcp4", "MX.a.example.:25", "198.51.100.7:25"},
		{"tcp", "mta-sts.a.example:443", sts + ":443"},
	} {
		t.Run(test.network+" "+test.address, func(t *testing.T) {
			c, err := l.DialContext(context.Background(), test.network, test.address)
			require.NoError(t, err)
			defer c.Close()
			require.Equal(t, test.remote, c.RemoteAddr().String())
		})
	}
	for _, test := range []struct{ reason, network, address, problem string }{
		{"another port", "tcp", "198.51.100.7:587", "connection refused"},
		{"mail port of a policy host", "tcp", sts + ":25", "connection refused"},
		{"nobody there", "tcp", "203.0.113.250:25", "connection refused"},
		{"loopback is not in this world", "tcp", "127.0.0.1:25", "connection refused"},
		{"no such name", "tcp", "mx.nobody.example:25", "no such host"},
		{"other family", "tcp6", "198.51.100.7:25", "no suitable address"},
		{"no port", "tcp", "198.51.100.7", "missing port"},
		{"named port", "tcp", "198.51.100.7:smtp", "port must be a number"},
		{"other network", "udp", "198.51.100.7:25", "unknown network udp"},
	} {
		t.Run(test.reason, func(t *testing.T) {
			_, err := l.DialContext(context.Background(), test.network, test.address)
			require.ErrorContains(t, err, test.problem)
			var op *net.OpError
			require.ErrorAs(t, err, &op)
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := l.DialContext(ctx, "tcp", "198.51.100.7:25")
	require.ErrorIs(t, err, context.Canceled)
}

// The ready-made world comes up.
func BenchmarkStart(b *testing.B) {
	w, _ := Destinations()
	for b.Loop() {
		l, err := Start(w)
		require.NoError(b, err)
		require.NoError(b, l.Close())
	}
}

// A name with several addresses: the next one is tried.
func TestDialContextNextAddress(t *testing.T) {
	l := start(t, World{Domains: []Domain{{Name: "a.example", Hosts: []Host{{Name: "mx.a.example"}},
		Records: []string{"both A 203.0.113.250"}}}})
	up := l.Host("mx.a.example").Addrs()[0].String()
	l.Zone("a.example").Add("both A " + up)
	require.NoError(t, l.Tree().Sign())
	c, err := l.DialContext(context.Background(), "tcp", "both.a.example:25")
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, up+":25", c.RemoteAddr().String())
}

// Close ends conversations in every state, and a dial that hangs.
func TestCloseWhileBusy(t *testing.T) {
	noLeak(t)
	w := World{Domains: []Domain{{Name: "a.example", Policy: &Policy{Fault: PolicyStall}, Hosts: []Host{
		{Name: "idle.a.example"}, {Name: "stall.a.example", Fault: StallAt(AtEHLO)}, {Name: "endless.a.example", Fault: Endless(AtGreeting)},
		{Name: "slow.a.example", Fault: Drip(AtGreeting, patience)}, {Name: "handshake.a.example"}, {Name: "hole.a.example", Fault: Blackhole()},
		{Name: "gone.a.example", Fault: Greeting(554)}, {Name: "data.a.example"}, {Name: "inside.a.example"},
	}}}}
	l, err := Start(w)
	require.NoError(t, err)
	defer l.Close()

	dial(t, l, "idle.a.example").hello()
	stall := dial(t, l, "stall.a.example")
	stall.want(220)
	stall.say("EHLO client.test")
	dial(t, l, "endless.a.example")
	dial(t, l, "slow.a.example")
	handshake := dial(t, l, "handshake.a.example")
	handshake.hello()
	handshake.say("STARTTLS")
	handshake.want(220)
	dial(t, l, "gone.a.example").want(554)
	data := dial(t, l, "data.a.example")
	data.hello()
	data.say("MAIL FROM:<>")
	data.want(250)
	data.say("RCPT TO:<a@a.example>")
	data.want(250)
	data.say("DATA")
	data.want(354)
	inside := dial(t, l, "inside.a.example")
	inside.hello()
	_, err = inside.startTLS(nil)
	require.NoError(t, err)

	hole, stalled := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := l.DialContext(context.Background(), "tcp", "hole.a.example:25")
		hole <- err
	}()
	go func() {
		_, _, err := fetch(t, context.Background(), l, l.PolicyHost("a.example").URL())
		stalled <- err
	}()
	for l.PolicyHost("a.example").Gets() == 0 || l.Host("hole.a.example").Dials() == 0 {
		runtime.Gosched()
	}
	require.NoError(t, l.Close())
	require.ErrorIs(t, <-hole, syscall.ECONNREFUSED)
	require.Error(t, <-stalled)
	require.Empty(t, l.Host("data.a.example").Mailbox(), "half a message is none")

	require.NoError(t, l.Close(), "again")
	_, err = l.DialContext(context.Background(), "tcp", l.Host("idle.a.example").Addrs()[0].String()+":25")
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

// Records at the start, and after a change of certificate and records.
func TestTLSA(t *testing.T) {
	const name = "mx.a.example"
	all := []TLSA{TLSAMatch, TLSAMatchTA, TLSAMismatch, TLSAUnknown, TLSABadLength, TLSAPKIX, "3 0 0 00ff"}
	l := start(t, World{Domains: []Domain{{Name: "a.example", DNSSEC: Signed, Hosts: []Host{{Name: name, TLSA: all}}}}})
	h := l.Host(name)
	expected := func(kinds ...TLSA) []string {
		var out []string
		for _, kind := range kinds {
			rdata, err := h.RData(kind)
			require.NoError(t, err)
			out = append(out, rdata)
		}
		return out
	}
	answer, got := tlsaRecords(t, l, name)
	require.Equal(t, dnssec.Secure, answer.Security)
	require.ElementsMatch(t, expected(all...), got)

	before := expected(TLSAMatch)
	require.NoError(t, h.SetCert(Cert{}))
	require.NotEqual(t, before, expected(TLSAMatch))
	_, got = tlsaRecords(t, l, name)
	require.Contains(t, got, before[0], "DNS keeps the old ones")

	require.NoError(t, l.SetTLSA(name, TLSAMatch))
	_, got = tlsaRecords(t, l, name)
	require.Equal(t, expected(TLSAMatch), got)

	require.NoError(t, l.SetTLSA(name))
	answer, _ = tlsaRecords(t, l, name)
	require.NotEqual(t, dnssec.Found, answer.Outcome)
	require.Equal(t, dnssec.Secure, answer.Security)

	require.ErrorContains(t, l.SetTLSA("mx.b.example"), "no mail host")
	require.Error(t, l.SetTLSA(name, "nonsense"))
}

// A host on another port has its records under that port (RFC 6698 section 3).
func TestPort(t *testing.T) {
	l := start(t, World{Domains: []Domain{{Name: "a.example", Hosts: []Host{{Name: "mx.a.example", Port: 587, TLSA: []TLSA{TLSAMatch}}}}}})
	answer, err := l.Resolver().Lookup(context.Background(), "_587._tcp.mx.a.example", dnssec.TypeTLSA)
	require.NoError(t, err)
	require.Equal(t, dnssec.Found, answer.Outcome)
	c, err := l.DialContext(context.Background(), "tcp", "mx.a.example:587")
	require.NoError(t, err)
	require.NoError(t, c.Close())
	_, err = l.DialContext(context.Background(), "tcp", "mx.a.example:25")
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

func TestMXRecords(t *testing.T) {
	ctx := context.Background()
	l := start(t, World{Domains: []Domain{
		{Name: "hosts.example", Hosts: []Host{{Name: "b.hosts.example"}, {Name: "a.hosts.example"}}},
		{Name: "given.example", MX: []MX{{Host: "a.hosts.example", Pref: 5}, {Host: "nobody.example.", Pref: 5}}},
		{Name: "null.example", MX: []MX{{Host: "."}}},
		{Name: "implicit.example", NoMX: true, Hosts: []Host{{Name: "implicit.example"}}},
	}})
	for domain, want := range map[string][]dnssec.MX{
		"hosts.example": {{Host: "b.hosts.example.", Pref: 10}, {Host: "a.hosts.example.", Pref: 20}},
		"given.example": {{Host: "a.hosts.example.", Pref: 5}, {Host: "nobody.example.", Pref: 5}},
	} {
		set, err := dnssec.LookupMX(ctx, l.Resolver(), domain)
		require.NoError(t, err)
		require.ElementsMatch(t, want, set.Hosts, domain)
	}
	set, err := dnssec.LookupMX(ctx, l.Resolver(), "null.example")
	require.NoError(t, err)
	require.True(t, set.Null)
	set, err = dnssec.LookupMX(ctx, l.Resolver(), "implicit.example")
	require.NoError(t, err)
	require.Equal(t, dnssec.NoData, set.Answer.Outcome)
	dial(t, l, "implicit.example").hello()
}

// Strange TXT records reach a resolver octet for octet.
func TestTXT(t *testing.T) {
	texts := []string{`v=STSv1; id="\;`, "v=STSv1; id=\x01\xff;", strings.Repeat("x", 600), ""}
	l := start(t, World{Domains: []Domain{{Name: "a.example", Policy: &Policy{TXT: texts, NoHost: true}}}})
	require.ElementsMatch(t, texts, lookupTXT(t, l, "_mta-sts.a.example"))
	_, err := dnssec.NetResolver{Resolver: l.Resolver()}.LookupNetIP(context.Background(), "ip", "mta-sts.a.example")
	var missing *net.DNSError
	require.ErrorAs(t, err, &missing)
	require.True(t, missing.IsNotFound)
}

func TestDNSFaults(t *testing.T) {
	ctx := context.Background()
	l := start(t, World{Domains: []Domain{{Name: "a.example", DNSSEC: Signed, Hosts: []Host{{Name: "mx.a.example"}},
		DNSFaults: []DNSFault{
			{Name: "a.example", Type: uint16(dnssec.TypeMX), Action: dnstest.Refused},
			{Name: "mx.a.example", Type: uint16(dnssec.TypeA), Flaw: dnstest.Expired},
		}}}})
	resolvers := map[string]dnssec.Resolver{"validator": l.Resolver(), "stub": l.Stub()}
	for name, r := range resolvers {
		_, err := r.Lookup(ctx, "a.example", dnssec.TypeMX)
		require.ErrorIs(t, err, dnssec.KindRefused, name)
		_, err = r.Lookup(ctx, "mx.a.example", dnssec.TypeA)
		require.ErrorIs(t, err, dnssec.KindBogus, name)
		answer, err := r.Lookup(ctx, "mx.a.example", dnssec.TypeAAAA)
		require.NoError(t, err, name)
		require.Equal(t, dnssec.Secure, answer.Security, name)
	}

	l.FrontServer().ClearFaults()
	l.PlainServer().ClearFaults()
	l.Zone("a.example").Spoil("mx", uint16(dnssec.TypeA), dnstest.Sound)
	require.NoError(t, l.Tree().Sign())
	for _, question := range []dnssec.Question{{Name: "a.example", Type: dnssec.TypeMX}, {Name: "mx.a.example", Type: dnssec.TypeA}} {
		for name, r := range resolvers {
			answer, err := r.Lookup(ctx, question.Name, question.Type)
			require.NoError(t, err, name)
			require.Equal(t, dnssec.Secure, answer.Security, name)
		}
	}
}

func TestLookups(t *testing.T) {
	l := start(t, World{Domains: []Domain{
		{Name: "b.example", Hosts: []Host{{Name: "mx.b.example"}}},
		{Name: "a.example", Hosts: []Host{{Name: "mx2.a.example"}, {Name: "mx1.a.example"}}, Policy: &Policy{}},
	}})
	var names []string
	for _, h := range l.Hosts() {
		names = append(names, h.Name())
	}
	require.Equal(t, []string{"mx.b.example", "mx2.a.example", "mx1.a.example"}, names)
	require.Nil(t, l.Host("nobody.example"))
	require.Nil(t, l.PolicyHost("b.example"))
	require.Nil(t, l.Zone("nobody.example"))
	require.Equal(t, "mta-sts.a.example", l.PolicyHost("a.example").Name())
	require.NotNil(t, l.PolicyHost("a.example").Certificate())
}

// More hosts than one prefix holds get addresses, all different.
func TestAddressPool(t *testing.T) {
	pool, seen := newAddressPool(), map[netip.Addr]bool{}
	for range 700 {
		a := pool.next()
		require.False(t, seen[a], a)
		seen[a] = true
		require.NoError(t, (&addressPool{taken: map[netip.Addr]bool{}}).claim([]netip.Addr{a}))
	}
	require.Panics(t, func() {
		for {
			pool.next()
		}
	})
}

func TestStateStrings(t *testing.T) {
	require.Equal(t, "bogus", Bogus.String())
	require.Equal(t, "signed", Signed.String())
	require.Equal(t, "unsigned", Unsigned.String())
	require.Equal(t, "DNSSEC 9", DNSSEC(9).String())
	require.Equal(t, "huge", CertHuge.String())
	require.Equal(t, "certificate kind 99", CertKind(99).String())
}
