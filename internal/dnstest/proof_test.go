package dnstest

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// questionNames lists every name of the tree and names that are not there.
func questionNames(tree *Tree) []string {
	names := make(map[string]bool)
	for zone, z := range tree.current.Load().zones {
		for name := range z.nodes {
			names[name] = true
			if strings.Contains(name, "-dn.") || strings.HasPrefix(name, "dn.") {
				names["mx."+name], names["none."+name], names["x."+name] = true, true, true
			}
		}
		at := "." + zone
		if zone == "." {
			at = "."
		}
		for _, label := range []string{"none", "a.none", "zzzz", "q.w", "r.q.w", "q.cw", "r.host.w", "none.of.ent", "_25._tcp.none", "q.s-dn"} {
			names[label+at] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// Every answer of the sample tree is judged twice: from what is on the wire, and from how the tree
// was built.
func TestVerdictsAreDeserved(t *testing.T) {
	tree := sampleTree(t)
	c := newChecker(t, tree)
	world := tree.current.Load()
	count := make(map[Security]int)
	for _, name := range questionNames(tree) {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeTXT, dns.TypeDS} {
			r := world.resolve(name, qtype)
			last := r.findings[len(r.findings)-1]
			if r.endless || last.kind == delegated || last.kind == overlong {
				continue // no answer whose security could be asked for
			}
			want := tree.Verdict(name, qtype)
			assert.Equal(t, want.Security.String(), c.judge(name, qtype).String(), "%s %s (%s)", name, dns.TypeToString[qtype], want.Reason)
			count[want.Security]++
		}
	}
	for _, s := range []Security{Bogus, Insecure, Secure} {
		require.Greater(t, count[s], 1000, "the tree has many %s answers", s)
	}
}
