package dnssec

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// A hoard is every signed RRset that a liar has ever seen, each with its signatures.
type hoard struct {
	data, proofs [][]dns.RR
	soas         [][]dns.RR
}

// gather asks the honest server for everything.
func gather(l *liar, questions []Question) *hoard {
	h := new(hoard)
	seen := make(map[string]bool)
	for _, q := range questions {
		m := l.truth(q.Name, q.Type)
		sets := make(map[string][]dns.RR)
		var order []string
		for _, r := range slices.Concat(m.Answer, m.Ns) {
			covered := r.Header().Rrtype
			if s, ok := r.(*dns.RRSIG); ok {
				covered = s.TypeCovered
			}
			key := fmt.Sprint(r.Header().Name, covered)
			if sets[key] == nil {
				order = append(order, key)
			}
			sets[key] = append(sets[key], r)
		}
		for _, key := range order {
			if seen[key] {
				continue
			}
			seen[key] = true
			switch set := sets[key]; set[0].Header().Rrtype {
			case dns.TypeNSEC, dns.TypeNSEC3:
				h.proofs = append(h.proofs, set)
			case dns.TypeSOA:
				h.soas = append(h.soas, set)
				h.data = append(h.data, set)
			default:
				h.data = append(h.data, set)
			}
		}
	}
	return h
}

// pick prefers sets that have to do with name.
func pick(random *rand.Rand, sets [][]dns.RR, name string) []dns.RR {
	for range 6 {
		set := sets[random.IntN(len(sets))]
		owner := set[0].Header().Name
		if _, zone, _ := strings.Cut(owner, "."); dns.IsSubDomain(zone, name) || dns.IsSubDomain(owner, name) {
			return set
		}
	}
	return sets[random.IntN(len(sets))]
}

// splice makes a reply out of genuine parts that do not belong together.
func (h *hoard) splice(random *rand.Rand, m *dns.Msg) {
	name := m.Question[0].Name
	m.Rcode = []int{dns.RcodeSuccess, dns.RcodeNameError}[random.IntN(2)]
	switch random.IntN(5) {
	case 0: // honest
	case 1:
		m.Answer = nil
	case 2: // another set as if it were here: only one from a wildcard can be
		set := pick(random, h.data, name)
		m.Answer = rename(set, set[0].Header().Name, name)
	case 3:
		m.Answer = slices.Clone(pick(random, h.data, name))
	case 4:
		m.Answer = append(slices.Clone(m.Answer), pick(random, h.data, name)...)
	}
	if random.IntN(4) > 0 {
		m.Ns = nil
	}
	for range random.IntN(6) {
		m.Ns = append(m.Ns, pick(random, h.proofs, name)...)
	}
	if random.IntN(3) == 0 {
		m.Ns = append(m.Ns, pick(random, h.soas, name)...)
	}
}

const splices = 1500

// Whatever a liar makes of genuine parts: secure data is found as it is or not at all, and nothing becomes secure or
// insecure that is not.
func TestLiarSplices(t *testing.T) {
	tree := liarTree(t)
	l := newLiar(t, tree)
	honest := newTestValidator(t, tree, nil, l.honest.Addr())
	var questions []Question
	for _, tld := range []string{"com.", "org.", "opt."} {
		for _, zone := range []string{tld, "zone." + tld, "child.zone." + tld, "unsigned." + tld, "sibling." + tld} {
			for _, label := range []string{"", "mx.", "_25._tcp.mx.", "absent.", "any.w.", "host.w.", "*.w.", "any.cw.", "of.ent.", "alias.", "x.dn.", "child.", "far."} {
				for _, typ := range []Type{TypeA, TypeTLSA, TypeDS, TypeMX, TypeCNAME} {
					questions = append(questions, Question{label + zone, typ})
				}
			}
		}
	}
	h := gather(l, questions)
	truths := make(map[Question]string)
	for _, q := range questions {
		a, err := ask(honest, q.Name, q.Type)
		truths[q] = told(a, err)
	}
	counts := make(map[string]int)
	random := rand.New(rand.NewPCG(3, 4))
	for range splices {
		seed := random.Uint64()
		q := questions[random.IntN(len(questions))]
		victim := newTestValidator(t, tree, nil, l.server.Addr())
		l.server.Edit(nil)
		_, failed := victim.upstreams(t0)
		require.Nil(t, failed)
		lies := rand.New(rand.NewPCG(seed, 1))
		only := lies.IntN(3) == 0 // the last question alone
		var mu sync.Mutex         // guards lies
		l.server.Edit(func(query, m *dns.Msg) *dns.Msg {
			mu.Lock()
			defer mu.Unlock()
			if asked := m.Question[0]; asked.Name == q.Name && Type(asked.Qtype) == q.Type || !only && lies.IntN(2) == 0 {
				h.splice(lies, m)
			}
			return m
		})
		a, err := ask(victim, q.Name, q.Type)
		if err != nil {
			counts["error"]++
			continue
		}
		got := told(a, nil)
		counts[a.Security.String()]++
		require.Equal(t, truths[q], got, "%s %s, seed %d", q.Name, q.Type, seed)
	}
	t.Log(len(h.data), len(h.proofs), counts)
	require.NotZero(t, counts["secure"])
	require.NotZero(t, counts["insecure"])
}

// told is what must not differ: everything about a secure answer, and of another one that it is not secure.
func told(a *Answer, err error) string {
	switch {
	case err != nil:
		return "error"
	case a.Security != Secure:
		return a.Security.String()
	}
	var data []string
	for _, r := range a.Records {
		data = append(data, fmt.Sprintf("%x", canonicalData(a.Type, r.Data)))
	}
	slices.Sort(data)
	return fmt.Sprint(a.Security, a.Outcome, a.Canonical, data)
}
