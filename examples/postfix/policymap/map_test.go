package policymap

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/dnstest"
	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

func table(t testing.TB, def tlspolicy.Settings, entries map[string]tlspolicy.Settings) *tlspolicy.Table {
	def.Fallback = tlspolicy.FallbackAlways
	table, err := tlspolicy.NewTable(def, entries)
	require.NoError(t, err)
	return table
}

// open is a default entry that leaves the mode to main.cf.
var open = tlspolicy.Settings{DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.On}

// labMap is a Map in a world.
func labMap(t testing.TB, w lab.World) (*lab.Lab, *Map) {
	l, err := lab.Start(w)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	m := &Map{Resolver: l.Resolver(), MTASTS: labPolicies(l)}
	require.NoError(t, m.Reload(table(t, open, nil)))
	return l, m
}

func labPolicies(l *lab.Lab) *mtasts.Client {
	return &mtasts.Client{Resolver: dnssec.NetResolver{Resolver: l.Resolver()}, Fetch: mtasts.FetchConfig{RootCAs: l.Roots(), DialContext: l.DialContext,
		AllowPrefixes: append(lab.Prefixes(), netip.MustParsePrefix("127.0.0.0/8"))}}
}

const strict = " protocols=!SSLv2:!SSLv3:!TLSv1:!TLSv1.1"

// What Postfix is told about the lab's domains.
func TestDestinations(t *testing.T) {
	world, destinations := lab.Destinations()
	_, m := labMap(t, world)
	want := map[string]string{
		"dane.example": "A3", "dane-ta.example": "A3", "dane-mismatch.example": "A3", "mixed.example": "A3",
		"dane-unusable.example": "A16", "dane-lookup.example": "A7", "dane-bogus.example": "A7", "bogus.example": "A19",
		"sts.example": "A11", "sts-cert.example": "A11", "sts-mx.example": "A8", "sts-testing.example": "A18",
		"sts-broken.example": "A18", // a policy that cannot be had at the first look is none (RFC 8461 section 5)
	}
	for _, d := range destinations {
		row := want[d.Domain]
		delete(want, d.Domain)
		if row == "" {
			row = "A18"
		}
		a := m.Lookup(t.Context(), d.Domain)
		require.Equal(t, row, a.Row, "%s, %s: %v %s", d.Domain, d.Story, a, a.Why)
		again, story := m.Explain(t.Context(), d.Domain)
		require.Equal(t, a.String(), again.String())
		require.NotEmpty(t, story)
	}
	require.Empty(t, want, "these are no domains of the lab")
}

func TestKeysAndEntries(t *testing.T) {
	_, m := labMap(t, lab.World{Domains: []lab.Domain{
		{Name: "sts.example", DNSSEC: lab.Signed, Hosts: []lab.Host{{Name: "mx.sts.example"}}, Policy: &lab.Policy{}},
		{Name: "dane.example", DNSSEC: lab.Signed, Hosts: []lab.Host{{Name: "mx.dane.example", TLSA: []lab.TLSA{lab.TLSAMatch}}, {Name: "other.dane.example", Port: 587, TLSA: []lab.TLSA{lab.TLSAMatch}}},
			MX: []lab.MX{{Host: "mx.dane.example", Pref: 10}}},
		{Name: "alias.example", DNSSEC: lab.Signed, MX: []lab.MX{{Host: "mail.alias.example", Pref: 10}}, Records: []string{"mail CNAME mx"},
			Hosts: []lab.Host{{Name: "mx.alias.example", TLSA: []lab.TLSA{lab.TLSAMatch}}}},
		{Name: "moved.example", MX: []lab.MX{{Host: "mail.moved.example", Pref: 10}}, Records: []string{"mail CNAME mx"},
			Hosts: []lab.Host{{Name: "mx.moved.example"}}, Policy: &lab.Policy{MX: []string{"mail.moved.example"}}},
		{Name: "swapped.example", MX: []lab.MX{{Host: "mail.swapped.example", Pref: 10}}, Records: []string{"mail CNAME mx"},
			Hosts: []lab.Host{{Name: "mx.swapped.example"}}, Policy: &lab.Policy{MX: []string{"mx.swapped.example"}}},
		{Name: "two.example", Hosts: []lab.Host{{Name: "a.two.example"}, {Name: "b.two.example"}}},
		{Name: "nomx.example", NoMX: true, Records: []string{"@ A 192.0.2.9"}},
		{Name: "null.example", MX: []lab.MX{{Host: ".", Pref: 0}}},
		{Name: "noaddress.example", MX: []lab.MX{{Host: "nowhere.noaddress.example", Pref: 0}}},
		{Name: "xn--bcher-kva.example", Hosts: []lab.Host{{Name: "mx.xn--bcher-kva.example"}}, Policy: &lab.Policy{}},
		{Name: "deep.example", Hosts: []lab.Host{{Name: "a.deep.example"}, {Name: "b.a.deep.example"}}, Policy: &lab.Policy{MX: []string{"*.deep.example"}}},
	}})
	require.NoError(t, m.Reload(table(t, open, map[string]tlspolicy.Settings{
		"two.example":      {Mode: tlspolicy.RequiredVerifyHosted},
		".two.example":     {Mode: tlspolicy.Required},
		"verify.example":   {Mode: tlspolicy.RequiredVerify, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.Off},
		"clear.example":    {Mode: tlspolicy.No},
		"strict.example":   {Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEMandatory},
		"[mx.two.example]": {Mode: tlspolicy.RequiredVerifyHosted, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.Off},
		"[192.0.2.1]":      {Mode: tlspolicy.RequiredVerify},
		"[192.0.2.2]:587":  {Mode: tlspolicy.Required},
	})))
	for _, test := range []struct{ key, row, want, why string }{
		{"sts.example", "A11", "secure match=mx.sts.example servername=hostname" + strict, ""},
		{"STS.Example.", "A11", "secure match=mx.sts.example servername=hostname" + strict, "letter case and final dot"},
		{"[mx.sts.example]", "A18", "NOTFOUND", "a host has the policy of its own name, which is none"},
		{"dane.example", "A3", "dane-only" + strict, ""},
		{"[mx.dane.example]", "A3", "dane-only" + strict, "TLSA records of a host that was named"},
		{"alias.example", "A3", "dane-only" + strict, "TLSA records where the alias of the MX record leads (RFC 7672 section 2.2.2)"},
		{"moved.example", "A11", "secure match=mail.moved.example servername=hostname" + strict, "MTA-STS is about the name in the MX record (RFC 8461 section 4.1)"},
		{"swapped.example", "A8", "", "and not about where it leads"},
		{"dane.example:587", "A18", "NOTFOUND", "the port stands in the name of TLSA records"},
		{"[other.dane.example]:587", "A3", "dane-only" + strict, ""},
		{"[other.dane.example]:submission", "A3", "dane-only" + strict, ""},
		{"[other.dane.example]", "A18", "NOTFOUND", ""},
		{"two.example", "A14", "secure match=two.example:a.two.example:b.two.example servername=hostname" + strict, "domain and hosts"},
		{"verify.example", "A13", "secure match=verify.example servername=hostname" + strict, "needs no look-up: the domain does not even exist"},
		{"clear.example", "A1", "none", ""},
		{"strict.example", "A2", "dane-only" + strict, ""},
		{"[mx.two.example]", "A14", "secure match=mx.two.example servername=hostname" + strict, "the host takes the domain's place"},
		{"[192.0.2.1]", "A15", "", "an address has no name"},
		{"[192.0.2.2]:587", "A12", "encrypt" + strict, "an entry for host and port"},
		{"[192.0.2.2]", "A18", "NOTFOUND", "and for no other port"},
		{"nomx.example", "A18", "NOTFOUND", "the domain is its own mail host"},
		{"bücher.example", "A11", "secure match=mx.xn--bcher-kva.example servername=hostname" + strict, "names in certificates are A-labels"},
		{"deep.example", "A11", "secure match=a.deep.example servername=hostname" + strict, "a wildcard of MTA-STS is one label"},
		{".two.example", "A21", "NOTFOUND", "what the table has below two.example was looked at for the domain itself"},
		{".example", "A21", "NOTFOUND", ""},
		{"null.example", "A19", "", "the domain takes no mail: Postfix knows that by itself"},
		{"noaddress.example", "A19", "", ""},
		{"nosuch.example", "A19", "", "the domain does not exist"},
		{"", "A20", "", "Postfix has no empty next hop"},
		{"[mx.two.example]:", "A20", "", "no port"},
		{"[192.0.2.1]25", "A20", "", "no colon"},
		{"[[192.0.2.1]]", "A20", "", "brackets in brackets"},
		{"two.example:no-such-service", "A20", "", ""},
		{"two.example:65536", "A20", "", ""},
		{"[IPv6:2001:db8::1]", "A18", "NOTFOUND", "an address of the other family"},
		{"[2001:DB8:0::1]:25", "A18", "NOTFOUND", ""},
		{"[MX.Two.Example]:SMTP", "A14", "secure match=mx.two.example servername=hostname" + strict, "letter case of host and service"},
		{"not a name", "A20", "", ""},
		{strings.Repeat("a.", 126) + "example", "A20", "", "too long for a name"},
	} {
		a := m.Lookup(t.Context(), test.key)
		require.Equal(t, test.row, a.Row, "%q %s: %v", test.key, test.why, a)
		switch {
		case test.want != "":
			require.Equal(t, test.want, a.String(), "%q %s", test.key, test.why)
		case test.row == "A20":
			require.Equal(t, Perm, a.Status)
		default:
			require.Equal(t, Temp, a.Status)
		}
	}
}

// Unknown is not absent; and what is known of a policy outlives the failure of its
// host and record.
func TestFailures(t *testing.T) {
	fault := func(name string, typ uint16) []lab.DNSFault {
		return []lab.DNSFault{{Name: name, Type: typ, Action: dnstest.ServFail}}
	}
	l, m := labMap(t, lab.World{Domains: []lab.Domain{
		{Name: "txt.example", Hosts: []lab.Host{{Name: "mx.txt.example"}}, DNSFaults: fault("_mta-sts.txt.example", dns.TypeTXT)},
		{Name: "mx.example", Hosts: []lab.Host{{Name: "mx.mx.example"}}, DNSFaults: fault("mx.example", dns.TypeMX)},
		{Name: "addr.example", DNSSEC: lab.Signed, Hosts: []lab.Host{{Name: "mx.addr.example"}}, DNSFaults: fault("mx.addr.example", dns.TypeA)},
		{Name: "held.example", Hosts: []lab.Host{{Name: "mx.held.example"}}, Policy: &lab.Policy{}},
	}})
	for domain, row := range map[string]string{"txt.example": "A6", "mx.example": "A19", "addr.example": "A7"} {
		a := m.Lookup(t.Context(), domain)
		require.Equal(t, Temp, a.Status, domain)
		require.Equal(t, row, a.Row, "%s: %s", domain, a.Why)
	}
	require.Equal(t, "A11", m.Lookup(t.Context(), "held.example").Row)
	l.PolicyHost("held.example").SetFault(lab.PolicyServerError)
	require.NoError(t, l.SetPolicy("held.example", lab.Policy{TXT: []string{"v=STSv1; id=broken!"}}))
	require.NoError(t, m.Reload(table(t, open, nil)), "what was answered is forgotten")
	require.Equal(t, "A11", m.Lookup(t.Context(), "held.example").Row, "and what was fetched is not")
	require.NoError(t, m.Reload(table(t, open, map[string]tlspolicy.Settings{"txt.example": {MTASTS: tlspolicy.Off}})))
	require.Equal(t, "A18", m.Lookup(t.Context(), "txt.example").Row, "the operator's way out")
}

// What others write, in MX records and policies, adds no attribute and no name.
func TestInjection(t *testing.T) {
	const policy = "version: STSv1\nmode: enforce\nmx: mx.inject.example\nmx: *.inject.example\nx: } { policy_string = mode: none } match=evil.example\nmax_age: 86400\n"
	l, m := labMap(t, lab.World{Domains: []lab.Domain{{Name: "inject.example", MX: []lab.MX{{Host: "mx.inject.example", Pref: 10}}, Hosts: []lab.Host{{Name: "mx.inject.example"}},
		Records: []string{`@ MX 1 a:evil.inject.example.`, `@ MX 2 a,evil.inject.example.`, `@ MX 3 a\032match=evil.inject.example.`, `@ MX 4 {evil}.inject.example.`, `@ MX 5 \000.inject.example.`,
			`@ MX 6 evil\.com.inject.example.`, `@ MX 7 .`},
		Policy: &lab.Policy{Text: policy}}}})
	a := m.Lookup(t.Context(), "inject.example")
	require.Equal(t, "secure match=mx.inject.example servername=hostname"+strict, a.Text(false), a.Why)
	require.Regexp(t, "^"+regexp.QuoteMeta(a.Text(false))+` policy_type=sts policy_domain=inject\.example policy_ttl=\d+ \{ policy_string = version: STSv1 \} \{ policy_string = mode: enforce \}`+
		` \{ policy_string = mx: mx\.inject\.example \} \{ policy_string = mx: \*\.inject\.example \} \{ policy_string = max_age: 86400 \} mx_host_pattern=mx\.inject\.example mx_host_pattern=\*\.inject\.example$`, a.Text(true))
	for _, mx := range []string{"mx.inject.example }", "{mx.inject.example", "mx.inject.example match=evil.example", "mx=inject.example", "*.*.inject.example"} {
		require.NoError(t, l.SetPolicy("inject.example", lab.Policy{Text: strings.Replace(policy, "mx: mx.inject.example", "mx: "+mx, 1)}))
		fresh := &Map{Resolver: m.Resolver, MTASTS: labPolicies(l)}
		require.NoError(t, fresh.Reload(table(t, open, nil)))
		text := fresh.Lookup(t.Context(), "inject.example").Text(true)
		require.NotContains(t, text, "evil", mx)
		require.NotContains(t, text, "inject.example match", mx)
	}
}

// RFC 8461 section 5.1: before mail waits for a policy, the policy is looked at again.
func TestRecheck(t *testing.T) {
	l, m := labMap(t, lab.World{Domains: []lab.Domain{
		{Name: "moved.example", Hosts: []lab.Host{{Name: "mx.moved.example"}}, Policy: &lab.Policy{MX: []string{"old.moved.example"}}},
	}})
	policies, clock := labPolicies(l), &shifted{}
	policies.Clock = clock
	m.MTASTS = policies
	require.Equal(t, "A8", m.Lookup(t.Context(), "moved.example").Row)
	require.NoError(t, l.SetPolicy("moved.example", lab.Policy{ID: "2", MX: []string{"mx.moved.example"}}))
	clock.by = 2 * time.Minute // there is a pause between two looks, and a longer one as long as nothing fails
	require.NoError(t, m.Reload(table(t, open, nil)))
	require.Equal(t, "A11", m.Lookup(t.Context(), "moved.example").Row)
}

// shifted is the system's clock, put forward.
type shifted struct{ by time.Duration }

func (s *shifted) Now() time.Time { return time.Now().Add(s.by) }

func (s *shifted) NewTimer(d time.Duration) (<-chan time.Time, func()) {
	timer := time.NewTimer(d)
	return timer.C, func() { timer.Stop() }
}

// A gate is a resolver that counts, and lets nobody through until it is opened.
type gate struct {
	asked  atomic.Int64
	inside atomic.Int64
	most   atomic.Int64
	closed chan struct{}
	broken atomic.Bool
	ttl    time.Duration
}

func (g *gate) Lookup(ctx context.Context, name string, typ dnssec.Type) (*dnssec.Answer, error) {
	if typ == dnssec.Type(dns.TypeMX) {
		g.asked.Add(1)
		n := g.inside.Add(1)
		defer g.inside.Add(-1)
		for most := g.most.Load(); n > most && !g.most.CompareAndSwap(most, n); most = g.most.Load() {
		}
	}
	if g.closed != nil {
		select {
		case <-g.closed:
		case <-ctx.Done():
			return nil, &dnssec.Error{Kind: dnssec.KindCanceled, Name: name, Type: typ, EDE: -1, Err: ctx.Err()}
		}
	}
	if g.broken.Load() {
		return nil, &dnssec.Error{Kind: dnssec.KindServFail, Name: name, Type: typ, EDE: -1}
	}
	a := &dnssec.Answer{Name: name, Type: typ, Canonical: name, Outcome: dnssec.NoData, Final: dnssec.Insecure, Security: dnssec.Insecure}
	if g.ttl > 0 {
		a.Expires = time.Now().Add(g.ttl)
	}
	if typ == dnssec.Type(dns.TypeA) {
		a.Outcome, a.Records = dnssec.Found, []dnssec.Record{{TTL: 300, Data: []byte{192, 0, 2, 1}}}
	}
	return a, nil
}

func gated(t testing.TB, g *gate) *Map {
	m := &Map{Resolver: g}
	require.NoError(t, m.Reload(table(t, tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.Off}, nil)))
	return m
}

func TestRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{ttl: time.Minute}
		m := gated(t, g)
		look := func(want string, asked int64, why string) {
			t.Helper()
			a := m.Lookup(t.Context(), "d.example")
			synctest.Wait()
			require.Equal(t, want, a.Row, "%s: %v", why, a)
			require.Equal(t, asked, g.asked.Load(), why)
		}
		look("A16", 1, "the first look")
		look("A16", 1, "from memory")
		time.Sleep(47 * time.Second)
		look("A16", 1, "still")
		time.Sleep(2 * time.Second)
		look("A16", 2, "from memory, and looked up again for those who come later")
		time.Sleep(47 * time.Second)
		look("A16", 2, "which is what they get")
		g.broken.Store(true)
		time.Sleep(3 * time.Second)
		look("A16", 3, "what has not expired serves on")
		look("A16", 3, "and is not asked for again at once")
		time.Sleep(11 * time.Second)
		look("A19", 4, "until it has expired")
		look("A19", 4, "a failure is remembered")
		time.Sleep(failedAge)
		look("A19", 5, "but not for long")
		g.broken.Store(false)
		time.Sleep(failedAge)
		look("A16", 6, "")
		require.NoError(t, m.Reload(table(t, tlspolicy.Settings{Mode: tlspolicy.No}, nil)))
		look("A1", 6, "a new table is in force at once")
		require.ErrorIs(t, m.Reload(nil), tlspolicy.ErrNoTable)
		look("A1", 6, "and is not lost")
	})
}

// An answer is held while its facts hold, though they cannot be looked up again; but
// no answer that would let mail go to anybody is held against an enforced policy.
func TestHeld(t *testing.T) {
	found := func(level Level) Answer { return Answer{Status: Found, Level: level, Row: "held"} }
	policy := temp("new", "")
	policy.enforced = true
	for _, test := range []struct {
		why       string
		held, new Answer
		want      string
	}{
		{"the resolver is dead", Answer{Status: NotFound, Row: "held"}, temp("new", ""), "held"},
		{"a policy has come that no host fits", Answer{Status: NotFound, Row: "held"}, policy, "new"},
		{"dane alone would not ask for it", found(DANE), policy, "new"},
		{"nor encrypt", found(Encrypt), policy, "new"},
		{"the former policy still counts", found(Secure), policy, "held"},
		{"so do TLSA records", found(DANEOnly), policy, "held"},
		{"all is known anew", found(Secure), Answer{Status: Found, Level: May, Row: "new"}, "new"},
	} {
		var c cache
		c.limit = 1
		for _, a := range []Answer{test.held, test.new} {
			a.Expires = time.Now().Add(time.Minute)
			f, first := c.join("d.example")
			require.True(t, first)
			c.land("d.example", f, a)
		}
		a, _, ok := c.get("d.example", time.Now())
		require.True(t, ok)
		require.Equal(t, test.want, a.Row, test.why)
	}
	enforced := Findings{Settings: tlspolicy.Settings{Mode: tlspolicy.RequiredVerify, DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.On, Fallback: tlspolicy.FallbackAlways}, Name: "d.example"}
	for row, host := range map[string]Host{
		"A8":  {"a.d.example", tlspolicy.DANENoTLSA, tlspolicy.STSEnforceMismatch},
		"A10": {"a.d.example", tlspolicy.DANENoTLSA, tlspolicy.STSEnforceMatch},
	} {
		enforced.Hosts = []Host{host}
		a := Choose(enforced)
		require.Equal(t, row, a.Row)
		require.True(t, a.enforced, row)
	}
}

// The end of a policy is a time of the wall clock. An answer must not live longer because
// that is set back.
func TestClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c cache
		c.limit = 1
		f, _ := c.join("d.example")
		wall := time.Now().Add(24 * time.Hour).Round(0) // as it looks when the clock goes back a day
		c.land("d.example", f, Answer{Status: NotFound, Expires: wall})
		_, _, ok := c.get("d.example", time.Now())
		require.True(t, ok)
		time.Sleep(smtpclient.MaxPlanAge)
		_, _, ok = c.get("d.example", time.Now())
		require.False(t, ok)
	})
}

// A look-up that began under the former table serves those who wait for it, and nobody
// else.
func TestReloadMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{closed: make(chan struct{})}
		m := gated(t, g)
		go m.Lookup(t.Context(), "d.example")
		synctest.Wait()
		require.NoError(t, m.Reload(table(t, tlspolicy.Settings{Mode: tlspolicy.No}, nil)))
		require.Equal(t, "A1", m.Lookup(t.Context(), "d.example").Row)
		close(g.closed)
		synctest.Wait()
		require.Equal(t, "A1", m.Lookup(t.Context(), "d.example").Row)
	})
}

// Many ask for one next hop, and it is looked up once; many ask for many, and a bounded
// number is looked up at a time.
func TestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{closed: make(chan struct{})}
		m := gated(t, g)
		m.Lookups = 3
		var group sync.WaitGroup
		for range 1000 {
			group.Go(func() { require.Equal(t, "A16", m.Lookup(t.Context(), "d.example").Row) })
		}
		for i := range 1000 {
			group.Go(func() { require.Equal(t, "A16", m.Lookup(t.Context(), fmt.Sprintf("d%d.example", i)).Row) })
		}
		synctest.Wait()
		close(g.closed)
		group.Wait()
		require.EqualValues(t, 1001, g.asked.Load())
		require.EqualValues(t, 3, g.most.Load())
		require.Equal(t, 1001, m.cache.len())
	})
}

// Postfix is not kept waiting, and the answer is there when it asks again.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{closed: make(chan struct{})}
		m := gated(t, g)
		m.Lookups, m.Wait = 1, 5*time.Second
		begin := time.Now()
		require.Equal(t, Temp, m.Lookup(t.Context(), "d.example").Status)
		require.Equal(t, m.Wait, time.Since(begin))
		a := m.Lookup(t.Context(), "other.example")
		require.Equal(t, "too many look-ups at once", a.Why)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.Equal(t, Temp, m.Lookup(ctx, "other.example").Status)
		close(g.closed)
		synctest.Wait()
		require.Equal(t, "A16", m.Lookup(t.Context(), "d.example").Row)
		require.EqualValues(t, 1, g.asked.Load())
	})
}

// The memory has a bound.
func TestBound(t *testing.T) {
	m := gated(t, &gate{})
	m.Entries = 50
	for i := range 500 {
		require.Equal(t, "A16", m.Lookup(t.Context(), fmt.Sprintf("d%d.example", i)).Row)
	}
	require.LessOrEqual(t, m.cache.len(), 50)
}

func TestMetrics(t *testing.T) {
	m := gated(t, &gate{})
	for _, key := range []string{"d.example", "d.example", "", ".example"} {
		m.Lookup(t.Context(), key)
	}
	var b bytes.Buffer
	require.NoError(t, m.WriteMetrics(&b))
	for _, line := range []string{
		"policymap_cache_hits_total 1", "policymap_cache_misses_total 1", "policymap_cache_answers 1", `policymap_answers_total{answer="dane"} 2`,
		`policymap_answers_total{answer="perm"} 1`, `policymap_answers_total{answer="notfound"} 1`, `policymap_answers_total{answer="temp"} 0`,
		`policymap_lookup_seconds_bucket{le="+Inf"} 1`, "policymap_lookup_seconds_count 1", "policymap_lookups_running 0",
	} {
		require.Contains(t, b.String(), line+"\n")
	}
}
