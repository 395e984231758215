//go:build interop

package dnssec

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/dnstest"
)

// delvDifferences are all ways in which we may differ from delv, and why. Each must occur.
var delvDifferences = []struct {
	reason string
	is     func(name string, typ Type, a *Answer, ours, theirs string) bool
}{
	{
		"a denial in an opt-out span: delv calls it secure; RFC 5155 section 9.2 has it insecure",
		func(_ string, _ Type, a *Answer, ours, theirs string) bool {
			return ours == "insecure" && theirs == "secure" && a.OptOut
		},
	},
	{
		"more than 500 NSEC3 iterations: delv calls the denial insecure, we refuse it; RFC 9276 section 3.2 permits both",
		func(name string, _ Type, _ *Answer, ours, theirs string) bool {
			return dns.IsSubDomain("iter501.com.", name) && ours == "error" && theirs == "insecure"
		},
	},
	{
		"algorithm 7 and DS digest 1 use SHA-1: delv still validates them, we do so only with AllowSHA1 (RFC 9905)",
		func(name string, _ Type, _ *Answer, ours, theirs string) bool {
			return (dns.IsSubDomain("alg7.com.", name) || dns.IsSubDomain("digest1.com.", name)) && ours == "insecure" && theirs == "secure"
		},
	},
	{
		"algorithm 16, Ed448: delv validates it and finds the random signatures of this zone wrong; for us the zone is insecure (RFC 4035 section 5.2)",
		func(name string, _ Type, _ *Answer, ours, theirs string) bool {
			return dns.IsSubDomain("alg16.com.", name) && ours == "insecure" && theirs == "error"
		},
	},
	{
		"a denial whose SOA record has a bad signature: delv warns and goes on, we refuse it, and so does unbound",
		func(name string, _ Type, _ *Answer, ours, theirs string) bool {
			return dns.IsSubDomain("spoiled3.com.", name) && ours == "error" && theirs == "secure"
		},
	},
}

// The third opinion: delv of BIND, over the same server as we.
func TestAgainstDelv(t *testing.T) {
	program, err := exec.LookPath("delv")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("delv is not installed: apt-get install bind9-dnsutils")
		}
		t.Skip("delv is not installed: apt-get install bind9-dnsutils")
	}
	tree, names := sampleTree(t)
	server := serve(t, tree, dnstest.PassThrough)
	v := newTestValidator(t, tree, nil, server.Addr())
	var anchors strings.Builder
	list, err := ParseAnchors(strings.NewReader(tree.RootAnchor()))
	require.NoError(t, err)
	for _, a := range list {
		fmt.Fprintf(&anchors, "trust-anchors { %s static-ds %d %d %d \"%X\"; };\n", a.Zone, a.KeyTag, a.Algorithm, a.DigestType, a.Digest)
	}
	file := filepath.Join(t.TempDir(), "anchors")
	require.NoError(t, os.WriteFile(file, []byte(anchors.String()), 0o600))

	counts := make(map[string]int)
	seen := make([]int, len(delvDifferences))
	for i := 0; i < len(names); i += 7 {
		name := names[i]
	types:
		for _, typ := range []Type{TypeA, TypeTLSA} {
			out, _ := exec.Command(program, "@"+server.Addr().Addr().String(), "-p", fmt.Sprint(server.Addr().Port()),
				"-a", file, "+root=.", "-q", name, "-t", typ.String()).CombinedOutput()
			theirs, failed := "error", false
			for line := range strings.Lines(string(out)) {
				switch line := strings.TrimSpace(line); {
				case strings.HasPrefix(line, ";; resolution failed") && !strings.Contains(line, ": ncache "): // a denial is no failure
					failed = true // the aliases before it are printed all the same
				case strings.HasPrefix(line, "; ") && strings.HasSuffix(line, "fully validated") && theirs != "insecure":
					theirs = "secure" // one line for each part; the least counts
				case strings.HasPrefix(line, "; ") && strings.HasSuffix(line, "unsigned answer"):
					theirs = "insecure"
				}
			}
			if failed {
				theirs = "error"
			}
			a, err := ask(v, name, typ)
			ours := ourOpinion(a, err).Verdict
			counts[theirs]++
			if ours == theirs {
				continue
			}
			for k, d := range delvDifferences {
				if d.is(dns.CanonicalName(name), typ, a, ours, theirs) {
					seen[k]++
					continue types
				}
			}
			t.Errorf("%s %s: ours %s (%v), delv %s:\n%s", name, typ, ours, err, theirs, out)
		}
	}
	t.Log(counts)
	for k, d := range delvDifferences {
		t.Logf("%d: %s", seen[k], d.reason)
		require.NotZero(t, seen[k], d.reason)
	}
}
