package tlspolicy

import (
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/chaincache"
	"github.com/smtpsec/smtpsec/internal/chainpath"
	"github.com/smtpsec/smtpsec/internal/testpki"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func days(n float64) time.Time { return noon.Add(time.Duration(n * 24 * float64(time.Hour))) }

func valid(from, to float64) testpki.Mod { return testpki.Valid(days(from), days(to)) }

// clock is a clock that stands until it is set.
type clock struct{ at atomic.Pointer[time.Time] }

func newClock(at time.Time) *clock {
	c := &clock{}
	c.set(at)
	return c
}

func (c *clock) set(at time.Time) { c.at.Store(&at) }
func (c *clock) now() time.Time   { return *c.at.Load() }

func pool(certs ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, cert := range certs {
		p.AddCert(cert)
	}
	return p
}

func poolVerifier(t testing.TB, opts PoolOptions, certs ...*x509.Certificate) *PoolVerifier {
	t.Helper()
	v, err := NewPoolVerifier(pool(certs...), opts)
	require.NoError(t, err)
	return v
}

const server = x509.ExtKeyUsageServerAuth

func TestVerifyChain(t *testing.T) {
	root := testpki.NewRoot("Root", valid(-1000, 1000))
	other := testpki.NewRoot("Other", valid(-1000, 1000))
	inner := root.Intermediate("Inner", valid(-500, 500))
	deep := inner.Intermediate("Deep", valid(-400, 400))
	leaf := deep.Leaf(names{"example.com"}, valid(-10, 10))
	good := leaf.Chain()
	usage := func(usages ...x509.ExtKeyUsage) testpki.Mod {
		return testpki.Template(func(c *x509.Certificate) { c.ExtKeyUsage = usages })
	}
	constrained := root.Intermediate("Constrained", valid(-500, 500), testpki.Template(func(c *x509.Certificate) {
		c.PermittedDNSDomains = []string{"example.net"}
	}))
	repeated := func(n int) []*x509.Certificate {
		chain := good
		for len(chain) < n {
			chain = append(chain[:len(chain):len(chain)], other.Cert)
		}
		return chain
	}
	for _, tc := range []struct {
		why   string
		chain []*x509.Certificate
		ok    bool
	}{
		{"in order", good, true},
		{"issuers in any order", []*x509.Certificate{good[0], good[2], good[1]}, true},
		{"with root, junk and duplicates", []*x509.Certificate{good[0], other.Cert, root.Cert, good[2], good[2], good[1], good[0]}, true},
		{"as many certificates as are looked at", repeated(MaxCertificates), true},
		{"one more", repeated(MaxCertificates + 1), false},
		{"intermediate missing", good[:1], false},
		{"leaf not first", []*x509.Certificate{good[1], good[0], good[2]}, true}, // an intermediate is a valid chain of its own: its names will not match
		{"unknown root", other.Leaf(names{"example.com"}, valid(-10, 10)).Chain(), false},
		{"self-signed", testpki.SelfSigned(names{"example.com"}, valid(-10, 10)).Chain(), false},
		{"no extended key usage means any", deep.Leaf(names{"example.com"}, valid(-10, 10), usage()).Chain(), true},
		{"anyExtendedKeyUsage", deep.Leaf(names{"example.com"}, valid(-10, 10), usage(x509.ExtKeyUsageAny)).Chain(), true},
		{"clientAuth only", deep.Leaf(names{"example.com"}, valid(-10, 10), usage(x509.ExtKeyUsageClientAuth)).Chain(), false},
		{"outside the name constraints", constrained.Leaf(names{"example.com"}, valid(-10, 10)).Chain(), false},
		{"inside the name constraints", constrained.Leaf(names{"mx.example.net"}, valid(-10, 10)).Chain(), true},
		{"a leaf that may not sign, signing", (&testpki.Authority{Cert: leaf.Cert, Key: leaf.Key, Issuer: deep}).Leaf(names{"example.com"}, valid(-10, 10)).Chain(), false},
		{"empty", nil, false},
		{"nil certificate", []*x509.Certificate{nil}, false},
		{"nil certificate behind the leaf", []*x509.Certificate{good[0], nil, good[1]}, false},
		{"certificate that was never parsed", []*x509.Certificate{{}}, false},
	} {
		t.Run(tc.why, func(t *testing.T) {
			for _, entries := range []int{0, -1} { // with cache and without
				v := poolVerifier(t, PoolOptions{Now: newClock(noon).now, CacheEntries: entries}, root.Cert)
				for range 2 { // cold and warm
					path, err := v.VerifyChain(tc.chain, server)
					if !tc.ok {
						require.Error(t, err)
						require.Nil(t, path)
						continue
					}
					require.NoError(t, err)
					require.Equal(t, tc.chain[0], path[0])
					require.Equal(t, root.Cert, path[len(path)-1])
				}
				require.Equal(t, tc.ok && entries == 0, v.cache.Len() == 1, "successes only")
			}
		})
	}
}

func TestExpiredMeansNothingElse(t *testing.T) {
	root := testpki.NewRoot("Root", valid(-1000, 1000))
	other := testpki.NewRoot("Other", valid(-1000, 1000))
	inner := root.Intermediate("Inner", valid(-500, 500))
	expiredInner := root.Intermediate("Expired Inner", valid(-500, -1))
	oldInner := root.Intermediate("Old Inner", valid(-500, -100))
	expiring := root.Intermediate("Expiring", valid(-500, 50))
	coming := root.Intermediate("Coming", valid(1, 500))
	clientOnly := testpki.Template(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	critical := testpki.Template(func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 9999, 1}, Critical: true, Value: []byte{5, 0}}}
	})
	long := testpki.NewRoot("Once", valid(-1000, -100))
	// Same subject and key, other dates: x509 finds whichever fits.
	renewedKey := testpki.NewECDSA(elliptic.P256())
	before := root.Intermediate("Renewed", valid(-500, -20), testpki.Key(renewedKey))
	after := root.Intermediate("Renewed", valid(-30, 500), testpki.Key(renewedKey))
	renewed := before.Leaf(names{"example.com"}, valid(-90, -25))

	for _, tc := range []struct {
		why   string
		chain []*x509.Certificate
		roots []*x509.Certificate
		want  bool
	}{
		{"expired leaf", inner.Leaf(names{"example.com"}, valid(-90, -1)).Chain(), nil, true},
		{"leaf not yet valid", inner.Leaf(names{"example.com"}, valid(1, 90)).Chain(), nil, true},
		{"leaf not yet valid, of an issuer that ends before it", expiring.Leaf(names{"example.com"}, valid(1, 90)).Chain(), nil, true},
		{"leaf not yet valid, of an issuer that begins with it", coming.Leaf(names{"example.com"}, valid(1, 90)).Chain(), nil, false},
		{"expired by one second", inner.Leaf(names{"example.com"}, testpki.Valid(days(-1), noon.Add(-time.Second))).Chain(), nil, true},
		{"expired, and self-signed", testpki.SelfSigned(names{"example.com"}, valid(-90, -1)).Chain(), nil, false},
		{"expired, and of an unknown root", other.Leaf(names{"example.com"}, valid(-90, -1)).Chain(), nil, false},
		{"expired, and the intermediate is missing", inner.Leaf(names{"example.com"}, valid(-90, -1)).Chain()[:1], nil, false},
		{"expired, and for clients only", inner.Leaf(names{"example.com"}, valid(-90, -1), clientOnly).Chain(), nil, false},
		{"expired, with an unknown critical extension", inner.Leaf(names{"example.com"}, valid(-90, -1), critical).Chain(), nil, false},
		{"expired, and its issuer had expired before it", oldInner.Leaf(names{"example.com"}, valid(-90, -1)).Chain(), nil, false},
		{"expired, and its issuer expired after it", expiredInner.Leaf(names{"example.com"}, valid(-90, -2)).Chain(), nil, false},
		{"expired, and so is the root", long.Leaf(names{"example.com"}, valid(-300, -200)).Chain(), []*x509.Certificate{long.Cert}, false},
		{"expired issuer, valid leaf", expiredInner.Leaf(names{"example.com"}, valid(-90, 90)).Chain(), nil, false},
		{"expired, former and renewed issuer sent: one path has no other defect",
			[]*x509.Certificate{renewed.Cert, before.Cert, after.Cert}, nil, true},
		{"expired, only the former issuer sent", []*x509.Certificate{renewed.Cert, before.Cert}, nil, false},
		{"validity that ends before it begins", inner.Leaf(names{"example.com"}, valid(-10, -20)).Chain(), nil, false},
		{"expired certificate that is itself a root", []*x509.Certificate{long.Cert}, []*x509.Certificate{long.Cert}, true},
	} {
		t.Run(tc.why, func(t *testing.T) {
			roots := append(tc.roots, root.Cert)
			v := poolVerifier(t, PoolOptions{Now: newClock(noon).now}, roots...)
			_, err := v.VerifyChain(tc.chain, server)
			require.Error(t, err)
			require.Equal(t, tc.want, chainpath.LeafExpired(err, tc.chain[0]), "%v", err)
			require.Zero(t, v.cache.Len(), "failures are not remembered")
		})
	}
}

func TestNoTrust(t *testing.T) {
	chain := testpki.SelfSigned(names{"example.com"}).Chain()
	_, err := NewPoolVerifier(nil, PoolOptions{})
	require.ErrorIs(t, err, ErrNoTrust, "x509 would read a nil pool as the system's")
	for why, v := range map[string]*PoolVerifier{"nil": nil, "zero": {}} {
		_, err := v.VerifyChain(chain, server)
		require.ErrorIs(t, err, ErrNoTrust, why)
		require.Zero(t, v.Generation(), why)
	}
	require.ErrorIs(t, new(PoolVerifier).Replace(pool()), ErrNoTrust, "a zero verifier cannot be made to trust")
	require.ErrorIs(t, poolVerifier(t, PoolOptions{}).Replace(nil), ErrNoTrust)
	_, err = poolVerifier(t, PoolOptions{}).VerifyChain(chain, server)
	var unknown x509.UnknownAuthorityError
	require.ErrorAs(t, err, &unknown, "an empty pool trusts nothing")
}

func TestSystemVerifierDoesNotTrustStrangers(t *testing.T) {
	root := testpki.NewRoot("Root")
	chain := root.Leaf(names{"example.com"}).Chain()
	_, err := NewSystemVerifier(PoolOptions{}).VerifyChain(chain, server)
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrNoTrust)
}

func TestPoolIsCopied(t *testing.T) {
	root, late := testpki.NewRoot("Root"), testpki.NewRoot("Late")
	p := pool(root.Cert)
	v, err := NewPoolVerifier(p, PoolOptions{})
	require.NoError(t, err)
	p.AddCert(late.Cert)
	_, err = v.VerifyChain(late.Leaf(names{"example.com"}).Chain(), server)
	require.Error(t, err)
}

// The certificate's path is chosen without regard to the order on the wire, and
// one that leaves the common name usable is preferred.
func TestPathWithoutConstraintsIsPreferred(t *testing.T) {
	root := testpki.NewRoot("Root")
	key := testpki.NewECDSA(elliptic.P256())
	constrained := root.Intermediate("Twin", testpki.Key(key), testpki.Template(func(c *x509.Certificate) {
		c.PermittedDNSDomains = []string{"example.com"}
	}))
	free := root.Intermediate("Hop").Intermediate("Twin", testpki.Key(key)) // longer
	leaf := free.Leaf(names{"example.com"})
	for _, chain := range [][]*x509.Certificate{
		{leaf.Cert, constrained.Cert, free.Cert, free.Issuer.Cert},
		{leaf.Cert, free.Issuer.Cert, free.Cert, constrained.Cert},
	} {
		path, err := poolVerifier(t, PoolOptions{}, root.Cert).VerifyChain(chain, server)
		require.NoError(t, err)
		require.Equal(t, []*x509.Certificate{leaf.Cert, free.Cert, free.Issuer.Cert, root.Cert}, path)
	}
	near := root.Intermediate("Twin", testpki.Key(key))
	for _, chain := range [][]*x509.Certificate{
		{leaf.Cert, near.Cert, free.Cert, free.Issuer.Cert},
		{leaf.Cert, free.Issuer.Cert, free.Cert, near.Cert},
	} {
		path, err := poolVerifier(t, PoolOptions{}, root.Cert).VerifyChain(chain, server)
		require.NoError(t, err)
		require.Equal(t, []*x509.Certificate{leaf.Cert, near.Cert, root.Cert}, path, "otherwise the shortest")
	}
}

// Validity includes its last second to the end, for a chain not seen before as
// for one in the cache.
func TestLastSecond(t *testing.T) {
	root := testpki.NewRoot("Root", valid(-1000, 1000))
	chain := root.Leaf(names{"example.com"}, testpki.Valid(days(-1), noon)).Chain()
	for after, ok := range map[time.Duration]bool{0: true, 999 * time.Millisecond: true, time.Second: false} {
		_, err := poolVerifier(t, PoolOptions{Now: newClock(noon.Add(after)).now}, root.Cert).VerifyChain(chain, server)
		require.Equal(t, ok, err == nil, "%v: %v", after, err)
	}
}

// hits tells whether the cache answers: the roots behind it are exchanged for
// none at all under the same generation, which no caller can do.
func hits(v *PoolVerifier, chain []*x509.Certificate, usage x509.ExtKeyUsage) bool {
	trust := v.trust.Load()
	v.trust.Store(&poolTrust{roots: x509.NewCertPool(), generation: trust.generation})
	defer v.trust.Store(trust)
	_, err := v.VerifyChain(chain, usage)
	return err == nil
}

func TestChainCache(t *testing.T) {
	root := testpki.NewRoot("Root", valid(-1000, 1000))
	inner := root.Intermediate("Inner", testpki.Valid(days(-500), noon.Add(40*time.Minute)))
	leaf := inner.Leaf(names{"example.com"}, testpki.Valid(noon.Add(-20*time.Minute), days(10)))
	chain := leaf.Chain()
	for _, tc := range []struct {
		why    string
		maxAge time.Duration
		then   time.Time
		usage  x509.ExtKeyUsage
		chain  []*x509.Certificate
		hit    bool
	}{
		{"at once", 0, noon, server, chain, true},
		{"parsed anew", 0, noon, server, reparse(t, chain), true},
		{"last second of the path", 0, noon.Add(40*time.Minute + 999*time.Millisecond), server, chain, true},
		{"intermediate at its end, leaf still good", 0, noon.Add(40*time.Minute + time.Second), server, chain, false},
		{"just below MaxAge", 10 * time.Minute, noon.Add(10*time.Minute - 1), server, chain, true},
		{"at MaxAge", 10 * time.Minute, noon.Add(10 * time.Minute), server, chain, false},
		{"clock stepped back to before the entry", 0, noon.Add(-time.Second), server, chain, false},
		{"clock stepped back to before the leaf", 0, noon.Add(-21 * time.Minute), server, chain, false},
		{"other usage", 0, noon, x509.ExtKeyUsageClientAuth, chain, false},
		{"other chain with the same leaf", 0, noon, server, append(chain[:2:2], root.Cert), false},
	} {
		t.Run(tc.why, func(t *testing.T) {
			now := newClock(noon)
			v := poolVerifier(t, PoolOptions{Now: now.now, MaxAge: tc.maxAge}, root.Cert)
			first, err := v.VerifyChain(chain, server)
			require.NoError(t, err)
			now.set(tc.then)
			require.Equal(t, tc.hit, hits(v, tc.chain, tc.usage))
			if tc.hit {
				again, err := v.VerifyChain(tc.chain, tc.usage)
				require.NoError(t, err)
				require.Equal(t, first, again, "warm equals cold")
			}
		})
	}

	t.Run("default age", func(t *testing.T) {
		now := newClock(noon)
		v := poolVerifier(t, PoolOptions{Now: now.now}, root.Cert)
		long := root.Leaf(names{"example.com"}, valid(-10, 10)).Chain()
		_, err := v.VerifyChain(long, server)
		require.NoError(t, err)
		now.set(noon.Add(chaincache.DefaultMaxAge - 1))
		require.True(t, hits(v, long, server))
		now.set(noon.Add(chaincache.DefaultMaxAge))
		require.False(t, hits(v, long, server))
	})
	t.Run("age capped at a day", func(t *testing.T) {
		now := newClock(noon)
		v := poolVerifier(t, PoolOptions{Now: now.now, MaxAge: 100 * 24 * time.Hour}, root.Cert)
		long := root.Leaf(names{"example.com"}, valid(-10, 10)).Chain()
		_, err := v.VerifyChain(long, server)
		require.NoError(t, err)
		now.set(days(1).Add(-1))
		require.True(t, hits(v, long, server))
		now.set(days(1))
		require.False(t, hits(v, long, server))
	})
	t.Run("bounded", func(t *testing.T) {
		v := poolVerifier(t, PoolOptions{Now: newClock(noon).now, CacheEntries: 2}, root.Cert)
		var last []*x509.Certificate
		for range 5 {
			last = root.Leaf(names{"example.com"}, valid(-10, 10)).Chain()
			_, err := v.VerifyChain(last, server)
			require.NoError(t, err)
			require.LessOrEqual(t, v.cache.Len(), 2)
		}
		require.True(t, hits(v, last, server))
	})
	t.Run("switched off", func(t *testing.T) {
		v := poolVerifier(t, PoolOptions{Now: newClock(noon).now, CacheEntries: -1}, root.Cert)
		_, err := v.VerifyChain(chain, server)
		require.NoError(t, err)
		require.False(t, hits(v, chain, server))
	})
}

func TestPathValidityIsTheNarrowest(t *testing.T) {
	cert := func(from, to float64) *x509.Certificate {
		return &x509.Certificate{NotBefore: days(from), NotAfter: days(to)}
	}
	for _, path := range [][]*x509.Certificate{
		{cert(-1, 5), cert(-9, 2), cert(-9, 9)}, {cert(-9, 2), cert(-1, 5)}, {cert(-1, 2)}, {cert(-9, 9), cert(-9, 9), cert(-1, 2)},
	} {
		notBefore, notAfter := chainpath.Validity(path)
		require.Equal(t, days(-1), notBefore)
		require.Equal(t, days(2), notAfter)
	}
}

func TestReplaceForgets(t *testing.T) {
	root, other := testpki.NewRoot("Root"), testpki.NewRoot("Other")
	chain := root.Leaf(names{"example.com"}).Chain()
	v := poolVerifier(t, PoolOptions{}, root.Cert)
	_, err := v.VerifyChain(chain, server)
	require.NoError(t, err)
	require.EqualValues(t, 1, v.Generation())

	require.NoError(t, v.Replace(pool(other.Cert)))
	require.EqualValues(t, 2, v.Generation())
	_, err = v.VerifyChain(chain, server)
	require.Error(t, err, "the root is gone, whatever was verified before")

	require.NoError(t, v.Replace(pool(root.Cert)))
	require.EqualValues(t, 3, v.Generation())
	require.False(t, hits(v, chain, server), "a generation never comes back")
	_, err = v.VerifyChain(chain, server)
	require.NoError(t, err)
}

// The clock of the machine is used unless another is given.
func TestDefaultClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := testpki.NewRoot("Root")
		chain := root.Leaf(names{"example.com"}).Chain() // good for 30 days
		v := poolVerifier(t, PoolOptions{}, root.Cert)
		_, err := v.VerifyChain(chain, server)
		require.NoError(t, err)
		time.Sleep(30*24*time.Hour + time.Second)
		_, err = v.VerifyChain(chain, server)
		require.True(t, !chainpath.LeafExpired(err, chain[0]) && err != nil, "the root ended with the leaf: %v", err)
	})
}

func TestVerifyChainRace(t *testing.T) {
	root, other := testpki.NewRoot("Root"), testpki.NewRoot("Other")
	var chains [][]*x509.Certificate
	for range 4 {
		chains = append(chains, root.Leaf(names{"example.com"}).Chain())
	}
	v := poolVerifier(t, PoolOptions{CacheEntries: 2}, root.Cert)
	both, one := pool(root.Cert, other.Cert), pool(root.Cert)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 50 {
				chain := chains[(g+i)%len(chains)]
				path, err := v.VerifyChain(chain, server)
				if err != nil || path[0] != chain[0] {
					t.Errorf("got %v, %v", path, err)
				}
			}
		})
	}
	for i := range 20 {
		p := one
		if i%2 == 0 {
			p = both
		}
		if err := v.Replace(p); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	require.EqualValues(t, 21, v.Generation())
}

func TestChainErrorsAreTyped(t *testing.T) {
	v := poolVerifier(t, PoolOptions{}, testpki.NewRoot("Root").Cert)
	_, err := v.VerifyChain(testpki.NewRoot("Other").Leaf(names{"example.com"}).Chain(), server)
	var unknown x509.UnknownAuthorityError
	require.True(t, errors.As(err, &unknown))
}

func reparse(t testing.TB, chain []*x509.Certificate) []*x509.Certificate {
	t.Helper()
	var out []*x509.Certificate
	for _, cert := range chain {
		again, err := x509.ParseCertificate(cert.Raw)
		require.NoError(t, err)
		out = append(out, again)
	}
	return out
}
