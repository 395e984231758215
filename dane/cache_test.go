package dane

import (
	"crypto/x509"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

func TestChainCacheServes(t *testing.T) {
	root := testpki.NewRoot("Root")
	leaf := newLeaf(root)
	chain := leaf.ChainWithRoot()
	cache := NewChainCache(0, 0)
	a, b := ta211(t, testpki.NewRoot("Other").Cert), ta211(t, root.Cert)
	ids := refIDs(t, testHost)
	matched(t, verifier(t, Options{Cache: cache}, a, b).Verify(chain, ids, now), 1, 1, "cold")
	require.Equal(t, 1, cache.verified.Len())
	matched(t, verifier(t, Options{Cache: cache}, b, a).Verify(chain, ids, now), 0, 1, "same set in another order: its own index")
	require.Equal(t, 1, cache.verified.Len())
	mismatched(t, verifier(t, Options{Cache: cache}, a, b).Verify(chain, refIDs(t, "other.example"), now), ReasonName, "names are compared each time")
	mismatched(t, verifier(t, Options{Cache: cache}, a, b).Verify(chain, RefIDs{}, now), ReasonNoReferenceID, "and must be there")
	mismatched(t, verifier(t, Options{Cache: cache}, a).Verify(chain, ids, now), ReasonNoMatch, "another set")
	mismatched(t, verifier(t, Options{Cache: cache}, a, b).Verify(chain[:1], ids, now), ReasonNoMatch, "another chain")
	require.Equal(t, 1, cache.verified.Len(), "only successes are kept")
}

func TestChainCacheTime(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	root := testpki.NewRoot("Root", testpki.Valid(start, start.AddDate(10, 0, 0)))
	leaf := newLeaf(root, testpki.Valid(start.Add(time.Minute), start.Add(30*time.Minute)))
	chain := leaf.ChainWithRoot()
	ids := refIDs(t, testHost)
	v := verifier(t, Options{Cache: NewChainCache(10, 10*time.Minute)}, ta211(t, root.Cert))
	hits := func(at time.Time) bool {
		key, ok := v.options.Cache.key(chain, v.cacheID)
		require.True(t, ok)
		_, hit := v.options.Cache.get(key, at)
		return hit
	}
	at := start.Add(25 * time.Minute)
	require.Equal(t, Matched, v.Verify(chain, ids, at).Status)
	require.True(t, hits(at))
	require.True(t, hits(at.Add(5*time.Minute)), "the last second")
	require.False(t, hits(at.Add(5*time.Minute+time.Second)), "past the end of the leaf")
	mismatched(t, v.Verify(chain, ids, at.Add(6*time.Minute)), ReasonExpired, "warm and expired")
	require.False(t, hits(at.Add(-time.Minute)), "stored later than now")
	at = start.Add(time.Minute)
	require.Equal(t, Matched, v.Verify(chain, ids, at).Status)
	require.True(t, hits(at.Add(10*time.Minute-1)))
	require.False(t, hits(at.Add(10*time.Minute)), "too old")
}

func TestChainCacheKeepsApart(t *testing.T) {
	root := testpki.NewRoot("Root")
	leaf := newLeaf(root)
	cache := NewChainCache(0, 0)
	records := []Record{record(t, 1, 1, 1, leaf.Cert)}
	good := Options{Profile: ProfileGeneric, Roots: testpki.Pool(root), Cache: cache}
	ids := refIDs(t, testHost)
	matched(t, verifier(t, good, records...).Verify(leaf.Chain(), ids, now), 0, 0, "trusted root")
	matched(t, verifier(t, good, records...).Verify(leaf.Chain(), ids, now), 0, 0, "warm")
	other := good
	other.Roots = testpki.Pool(testpki.NewRoot("Root"))
	mismatched(t, verifier(t, other, records...).Verify(leaf.Chain(), ids, now), ReasonUntrustedRoot, "other roots")
	other.Roots = nil
	mismatched(t, verifier(t, other, records...).Verify(leaf.Chain(), ids, now), ReasonNoRoots, "no roots")

	// The common name decides which path is taken, so it belongs to the key.
	constrained := testpki.Template(func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"example.com"} })
	free := testpki.NewRoot("Free")
	inter := free.Intermediate("Intermediate", constrained)
	twin := reissued(t, "Intermediate", inter.Key.Public(), free)
	unnamed := inter.Leaf(nil, testpki.CommonName(testHost))
	chain := serial(unnamed.Cert, inter.Cert, twin, free.Cert)
	set := []Record{record(t, 2, 0, 1, inter.Cert), ta211(t, free.Cert)}
	mismatched(t, verifier(t, Options{Cache: cache, NoCommonName: true}, set...).Verify(chain, ids, now), ReasonName, "short path, not for common names")
	matched(t, verifier(t, Options{Cache: cache}, set...).Verify(chain, ids, now), 1, 2, "not that of the other options")
}

func TestChainCacheZero(t *testing.T) {
	root := testpki.NewRoot("Root")
	leaf := newLeaf(root)
	v := verifier(t, Options{Cache: &ChainCache{}}, ta211(t, root.Cert))
	for range 2 {
		matched(t, v.Verify(leaf.ChainWithRoot(), refIDs(t, testHost), now), 0, 1, "remembers nothing")
	}
}

func TestPoolNumbers(t *testing.T) {
	c := NewChainCache(0, 0)
	require.Zero(t, c.poolNumber(nil))
	kept := x509.NewCertPool()
	number := c.poolNumber(kept)
	seen := []uint64{number}
	for range 4 * maxDeadPools {
		n := c.poolNumber(x509.NewCertPool())
		require.False(t, slices.Contains(seen, n), "the address of a freed pool comes back, its number does not")
		seen = append(seen, n)
		runtime.GC()
	}
	require.Equal(t, number, c.poolNumber(kept))
	require.LessOrEqual(t, len(c.roots), maxDeadPools+1, "dead pools are swept out")
	runtime.KeepAlive(kept)
}

func TestConcurrentUse(t *testing.T) {
	root := testpki.NewRoot("Root")
	chains := [][]*x509.Certificate{}
	for range 4 {
		chains = append(chains, newLeaf(root).ChainWithRoot())
	}
	v := verifier(t, Options{Cache: NewChainCache(2, 0)}, ta211(t, root.Cert), ee311(t, chains[0][0]))
	ids := refIDs(t, testHost)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 20 {
				chain := chains[(i+j)%len(chains)]
				r := v.Verify(chain, ids, now)
				if r.Status != Matched || (r.Record.Usage == UsageDANEEE) != (chain[0] == chains[0][0]) {
					t.Errorf("%v", r)
				}
				if len(v.Explain(chain, ids, now)) != 2 || v.Usable() != 2 {
					t.Error("explain")
				}
			}
		})
	}
	wg.Wait()
}
