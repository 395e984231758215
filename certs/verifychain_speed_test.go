package certs

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/testpki"
)

// trustRSA returns a store and a chain of three certificates with RSA-2048 keys.
func trustRSA(t testing.TB) (*TrustStore, *testpki.Authority, []*x509.Certificate) {
	t.Helper()
	rsa := func() testpki.Mod { return testpki.Key(testpki.NewRSA(2048)) }
	root := testpki.NewRoot("Root", rsa())
	leaf := root.Intermediate("Two", rsa()).Intermediate("One", rsa()).Leaf([]string{"mx.example.com"}, rsa())
	chain := leaf.Chain()
	require.Len(t, chain, 3)
	store := openTrust(t, TrustOptions{System: trustSourceOf(root), Now: time.Now})
	_, err := store.VerifyChain(chain, trustServer)
	require.NoError(t, err)
	return store, root, chain
}

func TestChainCacheHitDoesNotAllocate(t *testing.T) {
	store, _, chain := trustRSA(t)
	var v trustChainVerifier = store
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if _, err := v.VerifyChain(chain, trustServer); err != nil {
			t.Error(err)
		}
	}))
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if store.Snapshot().Generation() == 0 || store.Generation() == 0 {
			t.Error("not open")
		}
	}))
}

// BenchmarkVerifyChain compares a hit with a verification by crypto/x509.
func BenchmarkVerifyChain(b *testing.B) {
	store, root, chain := trustRSA(b)
	perOp := map[string]float64{}
	measure := func(name string, f func() error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
			perOp[name] = float64(b.Elapsed()) / float64(b.N)
			if hit := perOp["hit"]; hit > 0 && name != "hit" {
				b.ReportMetric(perOp[name]/hit, "hits")
			}
		})
	}
	measure("hit", func() error {
		_, err := store.VerifyChain(chain, trustServer)
		return err
	})
	roots, inner := testpki.Pool(root), x509.NewCertPool()
	for _, cert := range chain[1:] {
		inner.AddCert(cert)
	}
	measure("x509", func() error {
		_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: inner})
		return err
	})
	uncached := openTrust(b, TrustOptions{System: trustSourceOf(root), Now: time.Now, CacheEntries: -1})
	measure("miss", func() error {
		_, err := uncached.VerifyChain(chain, trustServer)
		return err
	})
}
