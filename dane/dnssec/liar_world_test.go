package dnssec

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/dnstest"
)

// A liar is a server that passes DNSSEC records on, and changes them on the way.
type liar struct {
	t      testing.TB
	tree   *dnstest.Tree
	server *dnstest.Server
	honest *dnstest.Server
}

// liarTree is sound everywhere: whatever fails was done by the liar.
func liarTree(t testing.TB) *dnstest.Tree {
	tree := dnstest.NewTree(dnstest.Options{})
	hashed := dnstest.ZoneOptions{NSEC3: &dnstest.NSEC3{Iterations: 1, Salt: "ab"}}
	tree.Zone(".", dnstest.ZoneOptions{SplitKeys: true})
	tree.Zone("com.", dnstest.ZoneOptions{})
	tree.Zone("org.", hashed)
	tree.Zone("opt.", dnstest.ZoneOptions{NSEC3: &dnstest.NSEC3{OptOut: true}})
	for _, tld := range []string{"com.", "org.", "opt."} {
		o := dnstest.ZoneOptions{}
		if tld != "com." {
			o = hashed
		}
		tree.Zone("zone."+tld, o, append([]string{
			"a CNAME mx.unsigned." + tld, "far CNAME mx.sibling." + tld, "d DNAME ent2",
			"h1 CNAME h2", "h2 CNAME h3", "h3 CNAME h4", "h4 CNAME h5", "h5 CNAME h6", "h6 CNAME h7", "h7 CNAME h8", "h8 CNAME h9",
			"h9 CNAME h10", "h10 CNAME h11", "h11 CNAME h12", "h12 CNAME h13", "h13 CNAME h14", "h14 CNAME h15", "h15 CNAME h16",
			"h16 CNAME h17", "h17 CNAME mx",
		}, content...)...)
		tree.Zone("sibling."+tld, o, content...)
		tree.Zone("child.zone."+tld, o, content...)
		tree.Zone("unsigned."+tld, dnstest.ZoneOptions{Unsigned: true}, append([]string{"back CNAME mx.zone." + tld}, content...)...)
	}
	tree.Zone("victim.", dnstest.ZoneOptions{}, content...)
	tree.Zone("tim.", dnstest.ZoneOptions{}, content...)
	require.NoError(t, tree.Sign())
	return tree
}

func newLiar(t testing.TB, tree *dnstest.Tree) *liar {
	return &liar{t, tree, serve(t, tree, dnstest.PassThrough), serve(t, tree, dnstest.PassThrough)}
}

// truth asks the honest server.
func (l *liar) truth(name string, t Type) *dns.Msg {
	q := new(dns.Msg).SetQuestion(name, uint16(t))
	q.SetEdns0(4096, true)
	q.CheckingDisabled = true
	m, _, err := (&dns.Client{Net: "tcp"}).Exchange(q, l.honest.Addr().String())
	require.NoError(l.t, err)
	return m
}

// sign signs records with a key of zone.
func (l *liar) sign(zone string, change func(*dns.RRSIG), lines ...string) []dns.RR {
	set := records(l.t, lines...)
	sig, err := l.tree.Lookup(zone).Forge(set, change)
	require.NoError(l.t, err)
	return append(set, sig)
}

func records(t testing.TB, lines ...string) (set []dns.RR) {
	for _, line := range lines {
		r, err := dns.NewRR(line)
		require.NoError(t, err)
		set = append(set, r)
	}
	return set
}

// without drops records of the given types, and the signatures over them.
func without(section []dns.RR, types ...uint16) []dns.RR {
	return slices.DeleteFunc(slices.Clone(section), func(r dns.RR) bool {
		sig, ok := r.(*dns.RRSIG)
		return slices.Contains(types, r.Header().Rrtype) || ok && slices.Contains(types, sig.TypeCovered)
	})
}

// unsignedOf drops signatures over the given types, of all if none is given.
func unsignedOf(section []dns.RR, types ...uint16) []dns.RR {
	return slices.DeleteFunc(slices.Clone(section), func(r dns.RR) bool {
		sig, ok := r.(*dns.RRSIG)
		return ok && (len(types) == 0 || slices.Contains(types, sig.TypeCovered))
	})
}

// owned returns the records of an owner.
func owned(section []dns.RR, name string) []dns.RR {
	return slices.DeleteFunc(slices.Clone(section), func(r dns.RR) bool { return r.Header().Name != name })
}

// rename gives all records of an owner another one.
func rename(section []dns.RR, from, to string) (renamed []dns.RR) {
	for _, r := range section {
		r = dns.Copy(r)
		if r.Header().Name == from {
			r.Header().Name = to
		}
		renamed = append(renamed, r)
	}
	return renamed
}

// A lie is one thing that the server does.
type lie struct {
	why  string
	name string
	typ  Type
	want string                    // "secure" or "insecure" = the honest answer; else the Kind
	tell func(l *liar, m *dns.Msg) // changes the reply to the question
	at   string                    // "name TYPE" of the reply to change instead, or "*" for all
}

// each runs the same lie in a zone with NSEC, with NSEC3, and below a parent with opt-out.
func (x lie) each(run func(lie)) {
	if !strings.Contains(x.name, "TLD") {
		run(x)
		return
	}
	for _, tld := range []string{"com", "org", "opt"} {
		y := x
		y.why = strings.ReplaceAll(x.why, "TLD", tld) + " in " + tld
		y.name, y.at = strings.ReplaceAll(x.name, "TLD", tld), strings.ReplaceAll(x.at, "TLD", tld)
		run(y)
	}
}

// tld returns the last label of the question, to name other zones beside it.
func tld(m *dns.Msg) string {
	labels := dns.SplitDomainName(m.Question[0].Name)
	if len(labels) == 0 {
		return "."
	}
	return labels[len(labels)-1] + "."
}

const (
	bogusly = "validation failed"
	limited = "too much work"
)

// runLies runs each lie against a Validator that knows nothing yet and one that has met the honest server before. The end
// is an error or the honest answer.
func runLies(t *testing.T, lies []lie) {
	tree := liarTree(t)
	for _, x := range lies {
		x.each(func(x lie) {
			t.Run(x.why, func(t *testing.T) {
				l := newLiar(t, tree)
				truth, err := ask(newTestValidator(t, tree, nil, l.honest.Addr()), x.name, x.typ)
				if x.want == "secure" || x.want == "insecure" {
					require.NoError(t, err)
				}
				var told atomic.Int32
				edit := func(q, m *dns.Msg) *dns.Msg {
					at := q.Question[0].Name + " " + Type(q.Question[0].Qtype).String()
					if at == x.at || x.at == "*" || x.at == "" && at == x.name+" "+x.typ.String() {
						x.tell(l, m)
						told.Add(1)
					}
					return m
				}
				for _, warm := range []bool{false, true} {
					l.server.Edit(nil)
					v := newTestValidator(t, tree, nil, l.server.Addr())
					if warm && !strings.HasSuffix(x.at, " DNSKEY") && !strings.HasSuffix(x.at, " DS") {
						_, err := ask(v, "zone."+dns.SplitDomainName(x.name)[dns.CountLabel(x.name)-1]+".", TypeSOA)
						require.NoError(t, err)
					}
					l.server.Edit(edit)
					a, err := ask(v, x.name, x.typ)
					require.Equal(t, x.want, judged(a, err), "warm %t: %v", warm, err)
					if a != nil {
						same(t, truth, a)
					}
				}
				require.NotZero(t, told.Load(), "the lie was never told")
			})
		})
	}
}

// same requires two answers to say the same.
func same(t testing.TB, want, got *Answer) {
	type essence struct {
		Outcome         Outcome
		Canonical       string
		Final, Security Security
		OptOut          bool
		Records, Hops   []string
	}
	of := func(a *Answer) essence {
		e := essence{Outcome: a.Outcome, Canonical: a.Canonical, Final: a.Final, Security: a.Security, OptOut: a.OptOut}
		for _, r := range a.Records {
			e.Records = append(e.Records, string(canonicalData(a.Type, r.Data)))
		}
		slices.Sort(e.Records)
		for _, s := range a.Chain {
			e.Hops = append(e.Hops, s.From+" "+s.To+" "+s.Owner+" "+s.Type.String()+" "+s.Security.String())
		}
		return e
	}
	require.Equal(t, of(want), of(got))
}

// replace makes the authority section of a denial that of another one.
func deniedLike(name string, typ Type) func(l *liar, m *dns.Msg) {
	return func(l *liar, m *dns.Msg) {
		other := l.truth(strings.ReplaceAll(name, "TLD.", tld(m)), typ)
		m.Answer, m.Ns, m.Rcode = nil, other.Ns, other.Rcode
	}
}

// delegationProof returns the record of parent at the name of a delegation, which may have DS records.
func (l *liar) delegationProof(name, parent string) []dns.RR {
	if parent == "com." { // a name just after the delegation is covered by its record
		for _, near := range []string{"zone0." + parent, "sibling0." + parent, "unsigned0." + parent} {
			m := l.truth(near, TypeA)
			if set := owned(m.Ns, name); len(set) > 0 {
				return set
			}
		}
	}
	hash := strings.ToLower(dns.HashName(name, dns.SHA1, map[string]uint16{"org.": 1}[parent], map[string]string{"org.": "ab"}[parent])) + "." + parent
	for i := range 200 {
		m := l.truth("n"+strings.Repeat("x", i%50)+string(rune('a'+i%26))+"."+parent, TypeA)
		if set := owned(m.Ns, hash); len(set) > 0 {
			return set
		}
	}
	l.t.Fatal("no record of " + parent + " for " + name)
	return nil
}
