package dnssec

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/dnstest"
)

// Every name and type of the tree has the verdict that follows from how the tree was built.
func TestValidatorVerdicts(t *testing.T) {
	tree, names := sampleTree(t)
	server := serve(t, tree, dnstest.PassThrough)
	v := newTestValidator(t, tree, nil, server.Addr())
	counts := make(map[string]int)
	for _, name := range names {
		for _, typ := range []Type{TypeA, TypeTXT, TypeTLSA, TypeDS, TypeCNAME} { // the others are asked beside unbound
			want := tree.Verdict(name, uint16(typ))
			a, err := ask(v, name, typ)
			got := judged(a, err)
			counts[got]++
			switch {
			case got == KindLoop.String() && isLoop(name, typ):
			case want.Security == dnstest.Bogus && got == KindBogus.String():
			case want.Security == dnstest.Insecure && got == "insecure":
			case want.Security == dnstest.Secure && got == "secure":
			default:
				t.Errorf("%s %s: got %s (%v), want %s %s", name, typ, got, err, want.Security, want.Reason)
			}
		}
	}
	t.Log(counts, server.Count())
	require.Greater(t, counts["secure"], 1000)
}

func isLoop(name string, typ Type) bool { return typ != TypeCNAME && name[:5] == "loop1" }
