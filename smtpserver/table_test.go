package smtpserver

import (
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var accept = Policy{Access: Accept}

func group(name string, senders ...string) SenderGroup {
	return SenderGroup{Name: name, Senders: senders, Policy: accept}
}

func compile(t testing.TB, groups ...SenderGroup) *Table {
	t.Helper()
	table, err := Compile(groups, Policy{})
	require.NoError(t, err)
	return table
}

func nameOf(g *Group) string {
	if g == nil {
		return ""
	}
	return g.Name
}

func TestLookupFirstMatch(t *testing.T) {
	table := compile(t,
		group("net", "10.0.0.0/8", "2001:db8::/32", "192.0.2.1-9"),
		group("host", "10.1.2.3", "192.0.2.5-20", "2001:db8::1", "2001:db9:1-4::1"),
		group("top", "255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "0.0.0.0", "::"),
		group("six", "::/0"),
	)
	for peer, want := range map[string]string{
		"10.1.2.3":           "net", // a longer prefix further down does not win
		"10.255.255.255":     "net",
		"11.0.0.0":           "",
		"9.255.255.255":      "",
		"192.0.2.5":          "net",
		"192.0.2.9":          "net",
		"192.0.2.10":         "host", // what the first group leaves of the second's range
		"192.0.2.20":         "host",
		"192.0.2.21":         "",
		"::ffff:10.1.2.3":    "net",
		"2001:db8::1%eth0":   "net",
		"2001:db9:1::1":      "host",
		"2001:db9:3::1":      "host",
		"2001:db9:4::1":      "host",
		"2001:db9:5::1":      "six",
		"2001:db9:3::2":      "six",
		"255.255.255.255":    "top",
		"255.255.255.254":    "",
		"0.0.0.0":            "top",
		"0.0.0.1":            "", // ::/0 is for IPv6 peers
		"::ffff:255.255.0.0": "",
		"::":                 "top",
		"::1":                "six",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": "top",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe": "six",
	} {
		g, need := table.Lookup(netip.MustParseAddr(peer))
		require.Equal(t, want, nameOf(g), peer)
		require.False(t, need, peer)
	}
	g, need := table.Lookup(netip.Addr{})
	require.Nil(t, g, "a peer without an address matches ALL alone")
	require.False(t, need)
}

func TestLookupHost(t *testing.T) {
	table := compile(t,
		group("exact", "mx.example.com"),
		group("addr", "10.0.0.0/8"),
		group("below", ".example.com"),
		SenderGroup{Name: "liars", Unverified: UnverifiedMismatch, Policy: accept},
		SenderGroup{Name: "nameless", Unverified: UnverifiedNoPTR | UnverifiedTempFail, Policy: accept},
		group("all", "ALL"),
	)
	in, out := netip.MustParseAddr("10.1.1.1"), netip.MustParseAddr("192.0.2.1")
	verified := func(names ...string) Host { return Host{Names: names, Status: HostVerified} }
	for _, c := range []struct {
		peer netip.Addr
		host Host
		want string
	}{
		{in, verified("mx.example.com"), "exact"},
		{in, verified("MX.Example.COM."), "exact"},
		{in, verified("a.example.com"), "addr"},
		{out, verified("a.example.com"), "below"},
		{out, verified("a.b.example.com"), "below"},
		{out, verified("example.com"), "all"},
		{out, verified("badexample.com"), "all"},
		{out, verified(".example.com"), "all"}, // no name, whatever a PTR record says
		{out, verified("other.example", "mx.example.com"), "exact"},
		{out, verified(strings.Repeat("a.", 130) + "example.com"), "all"},
		{out, verified(""), "all"},
		{out, Host{Names: []string{"mx.example.com"}, Status: PTRMismatch}, "liars"}, // never by a name that is not verified
		{out, Host{Status: NoPTR}, "nameless"},
		{out, Host{Status: PTRTempFail}, "nameless"},
		{out, Host{}, "all"},
		{out, Host{Names: []string{"mx.example.com"}}, "all"},
		{in, Host{Status: NoPTR}, "addr"},
		{netip.Addr{}, verified("mx.example.com"), "exact"},
	} {
		require.Equal(t, c.want, nameOf(table.LookupHost(c.peer, c.host)), "%v %v", c.peer, c.host)
	}
	for _, c := range []struct {
		table *Table
		peer  netip.Addr
		need  bool
		why   string
	}{
		{table, in, true, "a host entry stands before the address entry"},
		{table, out, true, "the same before ALL"},
		{compile(t, group("addr", "10/8"), group("name", "mx.example.com")), in, false, "the host entry comes later"},
		{compile(t, group("both", "10/8", "mx.example.com")), in, false, "the same group either way"},
		{compile(t, group("name", "mx.example.com")), in, true, "the name is the only way in"},
	} {
		_, need := c.table.Lookup(c.peer)
		require.Equal(t, c.need, need, c.why)
	}
}

func TestCompileContinue(t *testing.T) {
	groups := []SenderGroup{
		{Name: "skipped", Senders: []string{"10/8", "mx.example.com", "ALL"}, Unverified: UnverifiedNoPTR, Policy: Policy{Access: Continue}},
		group("second", "10.1/16"),
	}
	table := compile(t, groups...)
	g, need := table.Lookup(netip.MustParseAddr("10.1.2.3"))
	require.Equal(t, "second", nameOf(g))
	require.Equal(t, 1, g.Index)
	require.False(t, need)
	g, _ = table.Lookup(netip.MustParseAddr("10.2.2.3"))
	require.Nil(t, g)
	require.Len(t, table.Groups(), 1)
	require.Empty(t, table.Findings())

	groups[0].Senders[1] = "bad name"
	_, err := Compile(groups, Policy{})
	require.Error(t, err, "a group that does not count is read all the same")
}

func TestCompileSettles(t *testing.T) {
	pool := x509.NewCertPool()
	defaults := Policy{Access: Accept, TLS: TLSPreferred, MaxConnsPerIP: 7, ClientCAs: pool, Reject: &Rejection{Code: 550}}
	groups := []SenderGroup{
		{Name: "plain", Senders: []string{"10/8"}},
		{Name: "own", Senders: []string{"11/8"}, Policy: Policy{Name: "P", TLS: TLSNo, MaxConnsPerIP: -1, Reject: &Rejection{Delayed: true, Text: "go away"}}},
	}
	table, err := Compile(groups, defaults)
	require.NoError(t, err)
	plain, own := table.groups[0].Policy, table.groups[1].Policy
	require.Equal(t, "plain", plain.Name)
	require.Equal(t, TLSPreferred, plain.TLS)
	require.Equal(t, 7, plain.MaxConnsPerIP)
	require.Equal(t, DefaultMaxMessagesPerConn, plain.MaxMessagesPerConn)
	require.Equal(t, -1, plain.MaxRcptsPerHour)
	require.Equal(t, Off, plain.AuthInClear)
	require.Equal(t, Rejection{Code: 550, Text: "Access denied"}, *plain.Reject)
	require.Equal(t, Accept, own.Access)
	require.Equal(t, TLSNo, own.TLS)
	require.Equal(t, -1, own.MaxConnsPerIP)
	require.Equal(t, Rejection{Code: 550, Text: "go away", Delayed: true}, *own.Reject)
	require.Equal(t, Rejection{Code: 550}, *defaults.Reject, "what the caller gave stays as it was")
}

func TestCompileRefuses(t *testing.T) {
	with := func(change func(*Policy)) SenderGroup {
		p := accept
		change(&p)
		return SenderGroup{Name: "g", Policy: p}
	}
	for _, c := range []struct {
		group   SenderGroup
		because string
	}{
		{SenderGroup{Name: "g"}, `sender group "g", Access: unset`},
		{SenderGroup{Policy: accept}, "Name: empty"},
		{group("g", "10/8", "10.1.2.300"), `entry 1 ("10.1.2.300")`},
		{group("g", "SBRS[-10:-3]"), "reputation"},
		{with(func(p *Policy) { p.Access = 99 }), "no such value: 99"},
		{with(func(p *Policy) { p.TLS = 99 }), "TLS: no such value"},
		{with(func(p *Policy) { p.AuthInClear = 9 }), "AuthInClear: no such value"},
		{with(func(p *Policy) { p.ClientCert = 9 }), "ClientCert: no such value"},
		{with(func(p *Policy) { p.ClientCert = ClientCertIfGiven }), "ClientCAs"},
		{with(func(p *Policy) { p.MinVersion = 0x0300 }), "MinVersion"},
		{with(func(p *Policy) { p.Reject = &Rejection{Code: 250} }), "no refusal"},
		{with(func(p *Policy) { p.Reject = &Rejection{Text: "a\r\nb"} }), "printable ASCII"},
		{with(func(p *Policy) { p.Reject = &Rejection{Text: "é"} }), "printable ASCII"},
		{with(func(p *Policy) { p.Reject = &Rejection{Text: strings.Repeat("a", MaxReplyText+1)} }), "401 octets"},
		{with(func(p *Policy) { p.Banner = &Banner{Code: 250} }), "no greeting"},
		{with(func(p *Policy) { p.Banner = &Banner{Host: "mail example"} }), "cannot have"},
		{with(func(p *Policy) { p.Banner = &Banner{Text: "\x00"} }), "printable ASCII"},
		{SenderGroup{Name: "g", Policy: accept, Unverified: 8}, "Unverified"},
	} {
		table, err := Compile([]SenderGroup{c.group}, Policy{})
		require.ErrorContains(t, err, c.because)
		require.Nil(t, table)
	}
	_, err := Compile([]SenderGroup{group("a", "x y", "10.1.2.300"), group("a", "SBO:1"), {Name: "c"}}, Policy{})
	for _, all := range []string{"x y", "10.1.2.300", "SBO:1", "another group", "unset"} {
		require.ErrorContains(t, err, all, "everything at once")
	}
	require.ErrorIs(t, err, ErrUnsupportedCondition)
	var entry *EntryError
	require.ErrorAs(t, err, &entry)
	require.Equal(t, "a", entry.Group)
}

func TestFindings(t *testing.T) {
	list, err := NewAddressList("boss@example.com")
	require.NoError(t, err)
	table, err := Compile([]SenderGroup{
		{Name: "relays", Senders: []string{"mx.example.com", "MX.example.com", "10/8", "10.0.0.0/8"}, Policy: Policy{Access: Relay}},
		{Name: "vip", Senders: []string{"11/8"}, Policy: Policy{Access: Accept, TLS: TLSPreferred, TLSRequiredFrom: list, BareNewline: On}},
		{Name: "all", Senders: []string{"ALL"}, Policy: Policy{Access: Accept, TLS: TLSRequired}},
		{Name: "late", Senders: []string{"12/8"}, Policy: accept},
	}, Policy{})
	require.NoError(t, err)
	var got []string
	for _, f := range table.Findings() {
		got = append(got, string(f.Code)+" "+f.Group)
		require.NotEmpty(t, f.Detail)
	}
	require.Equal(t, []string{"duplicate relays", "duplicate relays", "relay-by-name relays", "needs-adapter vip",
		"bare-newline vip", "required-on-public all", "unreachable late"}, got)
}

func TestPredefined(t *testing.T) {
	for name, want := range map[string]map[string]Access{
		"public":  {"192.0.2.1": Accept},
		"private": {"192.0.2.1": Reject},
	} {
		groups := DefaultPublic()
		if name == "private" {
			groups = DefaultPrivate()
		}
		table := compile(t, groups...)
		for peer, access := range want {
			g, _ := table.Lookup(netip.MustParseAddr(peer))
			require.Equal(t, access, g.Policy.Access)
			require.Equal(t, TLSNo, g.Policy.TLS)
		}
	}
}

func TestZeroTable(t *testing.T) {
	for _, table := range []*Table{nil, {}} {
		g, need := table.Lookup(netip.MustParseAddr("192.0.2.1"))
		require.Nil(t, g)
		require.False(t, need)
		require.Nil(t, table.LookupHost(netip.Addr{}, Host{}))
	}
}

// linear is the rule as one would write it down: group by group, entry by entry.
func linear(groups []SenderGroup, peer netip.Addr, host Host) string {
	for _, g := range groups {
		if g.Policy.Access == Continue {
			continue
		}
		if g.Unverified&host.Status.mask() != 0 {
			return g.Name
		}
		for _, text := range g.Senders {
			if s, err := ParseSender(text); err == nil && s.matches(peer, host) {
				return g.Name
			}
		}
	}
	return ""
}

// matches is a second reading of what an entry means.
func (s Sender) matches(peer netip.Addr, host Host) bool {
	peer = peer.Unmap().WithZone("")
	switch s.kind {
	case senderAll:
		return true
	case senderRange:
		return peer.BitLen() == s.lo.BitLen() && peer.Compare(s.lo) >= 0 && peer.Compare(s.hi) <= 0
	case senderGroup:
		if !peer.Is6() {
			return false
		}
		lo, hi, p := s.lo.As16(), s.hi.As16(), peer.As16()
		for i := 0; i < 16; i += 2 {
			a, b, c := int(lo[i])<<8|int(lo[i+1]), int(hi[i])<<8|int(hi[i+1]), int(p[i])<<8|int(p[i+1])
			if c < a || c > b {
				return false
			}
		}
		return true
	case senderHost:
		if host.Status != HostVerified {
			return false
		}
		for _, name := range host.Names {
			name = strings.ToLower(strings.TrimSuffix(name, "."))
			if len(name) > 255 || strings.HasPrefix(name, ".") {
				continue
			}
			if name == s.host || strings.HasPrefix(s.host, ".") && strings.HasSuffix(name, s.host) {
				return true
			}
		}
	}
	return false
}

// randomEntry draws from a small world, so that entries overlap.
func randomEntry(r *rand.Rand) string {
	n := func(most int) int { return r.IntN(most) }
	switch n(12) {
	case 0:
		return fmt.Sprintf("10.%d.%d.%d", n(3), n(3), n(8))
	case 1:
		return fmt.Sprintf("10.%d.%d.%d-%d", n(3), n(3), n(4), 4+n(4))
	case 2:
		return fmt.Sprintf("10.%d.%d-%d", n(3), n(2), 2+n(2))
	case 3:
		return fmt.Sprintf("10.%d.%d.%d/%d", n(3), n(3), n(8), 6+n(27))
	case 4:
		return fmt.Sprintf("2001:db8::%x/%d", n(16), 110+n(19))
	case 5:
		return fmt.Sprintf("2001:db8::%x-2001:db8::%x", n(8), 8+n(8))
	case 6:
		return fmt.Sprintf("2001:db8:%x-%x::%x", n(2), 2+n(3), n(4))
	case 7:
		return []string{"mx.example.com", ".example.com", "example.com", ".com", "a.mx.example.com"}[n(5)]
	case 8:
		return []string{"255.255.255.255", "::/0", "0-255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "255"}[n(5)]
	case 9:
		if n(6) == 0 {
			return "ALL"
		}
	}
	return fmt.Sprintf("%d", 9+n(3))
}

func randomPeer(r *rand.Rand) netip.Addr {
	switch r.IntN(6) {
	case 0:
		return netip.MustParseAddr([]string{"255.255.255.255", "0.0.0.0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}[r.IntN(4)])
	case 1:
		return netip.Addr{}
	case 2, 3:
		return netip.MustParseAddr(fmt.Sprintf("2001:db8:%x::%x", r.IntN(6), r.IntN(18)))
	}
	return netip.AddrFrom4([4]byte{byte(9 + r.IntN(3)), byte(r.IntN(4)), byte(r.IntN(4)), byte(r.IntN(10))})
}

func randomHost(r *rand.Rand) Host {
	if r.IntN(2) == 0 {
		return Host{Status: HostStatus(r.IntN(5))}
	}
	return Host{Status: HostVerified, Names: []string{[]string{"mx.example.com", "A.mx.Example.com.", "example.com", "com", "x.com", "bexample.com"}[r.IntN(6)]}}
}

func FuzzCompile(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed, uint8(seed))
	}
	f.Fuzz(func(t *testing.T, seed uint64, size uint8) {
		r := rand.New(rand.NewPCG(seed, 1))
		groups := make([]SenderGroup, 1+size%9)
		for i := range groups {
			groups[i] = SenderGroup{Name: fmt.Sprint("g", i), Policy: accept}
			if r.IntN(8) == 0 {
				groups[i].Policy.Access = Continue
			}
			if r.IntN(4) == 0 {
				groups[i].Unverified = UnverifiedMask(r.IntN(8))
			}
			for range r.IntN(12) {
				groups[i].Senders = append(groups[i].Senders, randomEntry(r))
			}
		}
		table, err := Compile(groups, Policy{})
		require.NoError(t, err)
		for range 200 {
			peer, host := randomPeer(r), randomHost(r)
			want := linear(groups, peer, host)
			require.Equal(t, want, nameOf(table.LookupHost(peer, host)), "%v %v %v", groups, peer, host)
			g, need := table.Lookup(peer)
			if !need {
				require.Equal(t, want, nameOf(g), "no name was needed: %v %v %v", groups, peer, host)
			}
		}
		for _, x := range [][]int32{table.v4.groups, table.v6.groups} {
			for i := 1; i < len(x); i++ {
				require.NotEqual(t, x[i-1], x[i], "neighbours that could be one interval")
			}
		}
	})
}
