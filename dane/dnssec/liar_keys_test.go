package dnssec

import (
	"encoding/base64"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/dnstest"
)

func newKeyPair(t testing.TB, zone string, algorithm uint8, flags uint16, bits int) *dnstest.Key {
	k, err := dnstest.NewKey(zone, algorithm, flags, bits)
	require.NoError(t, err)
	return k
}

// Which keys of a zone count, and which DS records. Each zone is signed by the keys given, whatever they are.
func TestKeysOfAZone(t *testing.T) {
	const zone, sep = dnstest.FlagZone, dnstest.FlagZone | dnstest.FlagSEP
	good := func(flags uint16) *dnstest.Key { return newKeyPair(t, "zone.com.", 13, flags, 0) }
	ds := func(tree *dnstest.Tree, set ...*dns.DS) {
		for _, d := range set {
			tree.Lookup("com.").AddRR(d)
		}
	}
	for _, tt := range []struct {
		why  string
		o    dnstest.ZoneOptions
		edit func(tree *dnstest.Tree, keys []*dnstest.Key)
		want string
	}{
		{why: "one key for both roles", o: dnstest.ZoneOptions{Keys: []*dnstest.Key{good(sep)}}, want: "secure"},
		{why: "one key without SEP: the flag means nothing", o: dnstest.ZoneOptions{Keys: []*dnstest.Key{good(zone)}}, want: "secure"},
		{why: "two keys", o: dnstest.ZoneOptions{Keys: []*dnstest.Key{good(sep), good(zone)}}, want: "secure"},
		{why: "a revoked key", o: dnstest.ZoneOptions{Keys: []*dnstest.Key{good(sep | dnstest.FlagRevoke)}}, want: bogusly},
		{why: "a revoked key beside a good one", o: dnstest.ZoneOptions{Keys: []*dnstest.Key{good(sep | dnstest.FlagRevoke), good(sep)}}, want: "secure"},
		{why: "data signed by a revoked key", o: dnstest.ZoneOptions{Keys: []*dnstest.Key{good(sep), good(zone | dnstest.FlagRevoke)}}, want: bogusly},
		{why: "a key without the ZONE flag", o: dnstest.ZoneOptions{Keys: []*dnstest.Key{good(1)}}, want: bogusly},
		{why: "data signed by a key without the ZONE flag", o: dnstest.ZoneOptions{Keys: []*dnstest.Key{good(sep), good(0)}}, want: bogusly},
		{
			why: "another protocol", want: bogusly,
			o: dnstest.ZoneOptions{Keys: []*dnstest.Key{func() *dnstest.Key {
				k := good(sep)
				k.Public.Protocol = 2
				return k
			}()}},
		},
		{why: "1,024 bits", o: dnstest.ZoneOptions{Keys: []*dnstest.Key{newKeyPair(t, "zone.com.", 8, sep, 1024)}}, want: "secure"},
		{why: "an unsupported algorithm beside a good one", want: "secure",
			o: dnstest.ZoneOptions{Keys: []*dnstest.Key{newKeyPair(t, "zone.com.", 16, sep, 0), good(sep)}}},
		{
			why: "DS with the right tag and algorithm only", o: dnstest.ZoneOptions{Keys: []*dnstest.Key{good(sep)}}, want: bogusly,
			edit: func(tree *dnstest.Tree, keys []*dnstest.Key) {
				d := keys[0].DS(dns.SHA256)
				d.Digest = strings.Repeat("00", 32)
				ds(tree, d)
			},
		},
		{
			why: "DS with the right digest and another tag", o: dnstest.ZoneOptions{Keys: []*dnstest.Key{good(sep)}}, want: bogusly,
			edit: func(tree *dnstest.Tree, keys []*dnstest.Key) {
				d := keys[0].DS(dns.SHA256)
				d.KeyTag++
				ds(tree, d)
			},
		},
		{
			why: "DS with the right digest and another algorithm", o: dnstest.ZoneOptions{Keys: []*dnstest.Key{good(sep)}}, want: bogusly,
			edit: func(tree *dnstest.Tree, keys []*dnstest.Key) {
				d := keys[0].DS(dns.SHA256)
				d.Algorithm = 14
				ds(tree, d)
			},
		},
		{
			why: "a stale DS beside a good one", o: dnstest.ZoneOptions{Keys: []*dnstest.Key{good(sep)}}, want: "secure",
			edit: func(tree *dnstest.Tree, keys []*dnstest.Key) {
				ds(tree, good(sep).DS(dns.SHA256), keys[0].DS(dns.SHA256))
			},
		},
		{
			why: "a DS of an unknown digest beside a stale one", o: dnstest.ZoneOptions{Keys: []*dnstest.Key{good(sep)}}, want: bogusly,
			edit: func(tree *dnstest.Tree, keys []*dnstest.Key) { ds(tree, keys[0].DS(99), good(sep).DS(dns.SHA256)) },
		},
		{
			why: "a DS whose digest is cut", o: dnstest.ZoneOptions{Keys: []*dnstest.Key{good(sep)}}, want: bogusly,
			edit: func(tree *dnstest.Tree, keys []*dnstest.Key) {
				d := keys[0].DS(dns.SHA256)
				d.Digest = d.Digest[:2]
				ds(tree, d)
			},
		},
	} {
		t.Run(tt.why, func(t *testing.T) {
			tree := dnstest.NewTree(dnstest.Options{})
			tree.Zone("com.", dnstest.ZoneOptions{})
			tree.Zone("zone.com.", tt.o, "mx A 127.0.0.1")
			if tt.edit != nil {
				tt.edit(tree, tt.o.Keys)
			}
			require.NoError(t, tree.Sign())
			v := newTestValidator(t, tree, nil, serve(t, tree, dnstest.PassThrough).Addr())
			for _, q := range []Question{{"mx.zone.com.", TypeA}, {"mx.zone.com.", TypeTLSA}} {
				a, err := ask(v, q.Name, q.Type)
				require.Equal(t, tt.want, judged(a, err), "%v", err)
			}
		})
	}
}

// RSA keys that are too short make a zone insecure, but only if it has no other: a server that keeps the good key back
// must not get there.
func TestShortKeys(t *testing.T) {
	short := &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: "zone.com.", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 300},
		Flags: dnstest.FlagZone, Protocol: 3, Algorithm: dns.RSASHA256,
		PublicKey: base64.StdEncoding.EncodeToString(append([]byte{1, 3}, make64(0x81)...)),
	}
	good := newKeyPair(t, "zone.com.", 13, dnstest.FlagZone, 0)
	for _, tt := range []struct {
		why  string
		both bool // the good key has a DS too
		hide bool // the server hides it
		want string
	}{
		{"only a short key", false, false, "insecure"},
		{"a short and a good one", true, false, "secure"},
		{"the good one kept back", true, true, bogusly},
	} {
		tree := dnstest.NewTree(dnstest.Options{})
		com := tree.Zone("com.", dnstest.ZoneOptions{})
		tree.Zone("zone.com.", dnstest.ZoneOptions{Keys: []*dnstest.Key{good, {Public: short}}}, "mx A 127.0.0.1")
		com.AddRR(short.ToDS(dns.SHA256))
		if tt.both {
			com.AddRR(good.DS(dns.SHA256))
		}
		require.NoError(t, tree.Sign())
		server := serve(t, tree, dnstest.PassThrough)
		if tt.hide {
			server.Edit(func(q, m *dns.Msg) *dns.Msg {
				if q.Question[0].Name == "zone.com." && q.Question[0].Qtype == dns.TypeDNSKEY {
					kept := m.Answer[:0]
					for _, r := range m.Answer {
						if k, ok := r.(*dns.DNSKEY); !ok || k.Algorithm == dns.RSASHA256 {
							kept = append(kept, r)
						}
					}
					m.Answer = kept
				}
				return m
			})
		}
		a, err := ask(newTestValidator(t, tree, nil, server.Addr()), "mx.zone.com.", TypeA)
		require.Equal(t, tt.want, judged(a, err), "%s: %v", tt.why, err)

		// An anchor says that the zone is signed, whatever its keys are like.
		a, err = ask(validatorFor(t, short.ToDS(dns.SHA256).String(), nil, server.Addr()), "mx.zone.com.", TypeA)
		require.Equal(t, bogusly, judged(a, err), "%s, anchored: %v", tt.why, err)
	}
}

func make64(first byte) []byte {
	b := make([]byte, 64)
	b[0], b[63] = first, 1
	return b
}

// Lies below the level of records.
func TestLiarOnTheWire(t *testing.T) {
	tree := liarTree(t)
	for _, tt := range []struct {
		why    string
		action dnstest.Action
		want   []string
	}{
		{"another ID", dnstest.WrongID, []string{"timed out"}},
		{"another question", dnstest.WrongQuestion, []string{"timed out"}},
		{"cut without end", dnstest.Truncate, []string{"malformed reply"}},
		{"half a message", dnstest.Half, []string{"malformed reply"}},
		{"garbage", dnstest.Garbage, []string{"timed out", "malformed reply"}},
		{"REFUSED", dnstest.Refused, []string{"refused"}},
	} {
		t.Run(tt.why, func(t *testing.T) {
			server := serve(t, tree, dnstest.PassThrough)
			server.Fault("mx.zone.com.", dns.TypeA, dnstest.Fault{Action: tt.action})
			v := newTestValidator(t, tree, func(o *ValidatorOptions) { o.Upstream.Timeout, o.Upstream.Tries = brief, 1 }, server.Addr())
			_, err := ask(v, "zone.com.", TypeSOA) // honestly
			require.NoError(t, err)
			a, err := ask(v, "mx.zone.com.", TypeA)
			require.Contains(t, tt.want, judged(a, err), "%v", err)
		})
	}
	for _, tt := range []struct {
		why  string
		edit func(m *dns.Msg)
	}{
		{"two OPT records", func(m *dns.Msg) { m.Extra = append(m.Extra, m.IsEdns0()) }},
		{"another class in the question", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }},
		{"another type in the question", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTXT }},
		{"no question", func(m *dns.Msg) { m.Question = nil }},
	} {
		t.Run(tt.why, func(t *testing.T) {
			server := serve(t, tree, dnstest.PassThrough)
			v := newTestValidator(t, tree, func(o *ValidatorOptions) { o.Upstream.Timeout, o.Upstream.Tries = brief, 1 }, server.Addr())
			_, err := ask(v, "zone.com.", TypeSOA) // honestly
			require.NoError(t, err)
			server.Edit(func(q, m *dns.Msg) *dns.Msg {
				tt.edit(m)
				return m
			})
			_, err = ask(v, "mx.zone.com.", TypeA)
			require.Error(t, err)
		})
	}
}

// With one honest and one lying server the honest one decides, whichever is asked first.
func TestOneHonestServer(t *testing.T) {
	tree := liarTree(t)
	l := newLiar(t, tree)
	for _, tt := range []struct {
		why string
		lie func(q, m *dns.Msg)
	}{
		{"strips data", func(q, m *dns.Msg) {
			if q.Question[0].Qtype != dns.TypeDNSKEY {
				m.Answer, m.Ns = unsignedOf(m.Answer), unsignedOf(m.Ns)
			}
		}},
		{"strips everything but the root keys", func(q, m *dns.Msg) {
			if q.Question[0].Name != "." {
				m.Answer, m.Ns = unsignedOf(m.Answer), nil
			}
		}},
		{"strips everything", func(q, m *dns.Msg) { m.Answer, m.Ns = unsignedOf(m.Answer), nil }},
		{"denies everything", func(q, m *dns.Msg) {
			if q.Question[0].Name != "." {
				m.Answer, m.Ns, m.Rcode = nil, nil, dns.RcodeNameError
			}
		}},
		{"forges", func(q, m *dns.Msg) {
			for _, r := range m.Answer {
				if a, ok := r.(*dns.A); ok {
					a.A[3] ^= 1
				}
			}
		}},
	} {
		t.Run(tt.why, func(t *testing.T) {
			l.server.Edit(func(q, m *dns.Msg) *dns.Msg {
				name := q.Question[0].Name
				if !strings.Contains(name, "unsigned") && name != "a.zone.com." { // there any forgery is as good as the truth
					tt.lie(q, m)
				}
				return m
			})
			lying, honest := l.server.Addr(), l.honest.Addr()
			for _, servers := range [][]netip.AddrPort{{lying, honest}, {honest, lying}, {lying, lying, honest}} {
				v := newTestValidator(t, tree, nil, servers...)
				reference := newTestValidator(t, tree, nil, honest)
				for _, q := range []Question{
					{"mx.zone.com.", TypeA}, {"mx.zone.org.", TypeTLSA}, {"absent.zone.com.", TypeA}, {"a.zone.com.", TypeA},
					{"far.zone.opt.", TypeA}, {"mx.unsigned.org.", TypeA}, {"any.w.zone.opt.", TypeA}, {"mx.unsigned.opt.", TypeTLSA},
				} {
					want, err := ask(reference, q.Name, q.Type)
					require.NoError(t, err)
					got, err := ask(v, q.Name, q.Type)
					require.NoError(t, err, q)
					same(t, want, got)
				}
			}
		})
	}
}

// A server that strips DNSSEC is not used, and no answer is taken for insecure.
func TestStrippingServer(t *testing.T) {
	tree := liarTree(t)
	stripping, honest := serve(t, tree, dnstest.Stripping), serve(t, tree, dnstest.PassThrough)
	var events []Event
	v := newTestValidator(t, tree, func(o *ValidatorOptions) {
		o.Trace = func(e Event) {
			if e.Kind == EventUntrusted {
				events = append(events, e)
			}
		}
	}, stripping.Addr())
	for _, name := range []string{"mx.zone.com.", "mx.unsigned.com.", "absent."} {
		_, err := ask(v, name, TypeA)
		require.ErrorIs(t, err, KindUnusable)
		require.ErrorContains(t, err, "strips DNSSEC")
	}
	require.ErrorIs(t, v.Check(t0), KindUnusable)
	require.Len(t, events, 1, "told once")
	require.LessOrEqual(t, stripping.Count(), 2, "nothing but the check is asked")

	v = newTestValidator(t, tree, nil, stripping.Addr(), honest.Addr())
	stripping.Reset()
	require.NoError(t, v.Check(t0))
	a, err := ask(v, "mx.zone.com.", TypeA)
	require.NoError(t, err)
	require.Equal(t, Secure, a.Security)
	require.Equal(t, 1, stripping.Count())
}
