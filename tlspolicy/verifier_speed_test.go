package tlspolicy

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/testpki"
)

// ten is a certificate with ten dNSNames, the last of which is name.
func ten(name string) names {
	var san names
	for i := range 9 {
		san = append(san, fmt.Sprintf("mx%d.mail.example.net", i))
	}
	return append(san, name)
}

func TestCheckDoesNotAllocate(t *testing.T) {
	root := testpki.NewRoot("Root")
	chain := root.Intermediate("A").Intermediate("B").Leaf(ten("example.com")).Chain()
	chainMX := root.Intermediate("A").Intermediate("B").Leaf(ten("mx.example.net")).Chain()
	trust := poolVerifier(t, PoolOptions{}, root.Cert)
	refs := references(t, toMX)
	everything := VerifyOptions{PTR: true, FQDN: true, X509: X509Checks{Signature: true, Version: true}}
	for _, tc := range []struct {
		why   string
		req   Requirement
		chain []*x509.Certificate
		opts  VerifyOptions
	}{
		{"Preferred", plan(Preferred, STSNoPolicy), chain, VerifyOptions{}},
		{"Verify", plan(RequiredVerify, STSNoPolicy), chain, VerifyOptions{}},
		{"Verify, all options", plan(RequiredVerify, STSNoPolicy), chain, everything},
		{"Hosted", plan(RequiredVerifyHosted, STSNoPolicy), chain, VerifyOptions{}},
		{"MTA-STS", plan(Preferred, STSEnforceMatch), chainMX, VerifyOptions{}},
		{"MTA-STS and Hosted", plan(RequiredVerifyHosted, STSEnforceMatch), chainMX, VerifyOptions{}},
	} {
		v := NewVerifier(trust, tc.opts)
		_, _, err := v.Check(tc.req, session(tc.chain), refs)
		require.NoError(t, err, tc.why)
		state := *session(tc.chain)
		require.Zero(t, testing.AllocsPerRun(100, func() {
			cs := state // as the value that VerifyConnection is given
			if _, _, err := v.Check(tc.req, &cs, refs); err != nil {
				t.Error(err)
			}
		}), tc.why)
	}
}

func TestNamesDoNotAllocate(t *testing.T) {
	refs := references(t, toMX)
	none := named(ten("other.example"), names{"Title", "other.example"})
	require.Zero(t, testing.AllocsPerRun(100, func() {
		for _, hosted := range []bool{false, true} {
			if _, ok := none.mode(refs, modeRule{hosted: hosted, ptr: true}); ok {
				t.Error("matched")
			}
		}
		if _, ok := none.stsName(refs); ok {
			t.Error("matched")
		}
	}), "a miss neither")
}

// The identity rules with ten names in the certificate, hit by the last and by
// none.
func BenchmarkIdentity(b *testing.B) {
	refs := references(b, toMX)
	for _, tc := range []struct {
		name string
		cert certificate
	}{
		{"hit", named(ten("example.com"), names{"mx0.mail.example.net"})},
		{"miss", named(ten("other.example"), names{"mx0.mail.example.net"})},
	} {
		b.Run("verify/"+tc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tc.cert.mode(refs, modeRule{})
			}
		})
		b.Run("hosted/"+tc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tc.cert.mode(refs, modeRule{hosted: true})
			}
		})
		b.Run("sts/"+tc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tc.cert.stsName(refs)
			}
		})
	}
}

func BenchmarkCheckCached(b *testing.B) {
	root := testpki.NewRoot("Root")
	chain := root.Intermediate("A").Intermediate("B").Leaf(ten("example.com")).Chain()
	v := NewVerifier(poolVerifier(b, PoolOptions{}, root.Cert), VerifyOptions{})
	req, refs, cs := plan(RequiredVerify, STSNoPolicy), references(b, toMX), session(chain)
	var octets int64
	for _, cert := range chain {
		octets += int64(len(cert.Raw))
	}
	b.SetBytes(octets)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := v.Check(req, cs, refs); err != nil {
			b.Fatal(err)
		}
	}
}

// First verification beside the bare call of crypto/x509.
func BenchmarkFirstVerification(b *testing.B) {
	root := testpki.NewRoot("Root")
	chain := root.Intermediate("A").Intermediate("B").Leaf(ten("example.com")).Chain()
	roots := pool(root.Cert)
	b.Run("x509", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			opts := x509.VerifyOptions{Roots: roots, Intermediates: pool(chain[1:]...), CurrentTime: time.Now()}
			if _, err := chain[0].Verify(opts); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("pool verifier", func(b *testing.B) {
		v := poolVerifier(b, PoolOptions{CacheEntries: -1}, root.Cert)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.VerifyChain(chain, server); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkNewReferences(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewReferences(PeerNames{Domain: "example.com", MXHost: "mx.example.net"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckParallel(b *testing.B) {
	root := testpki.NewRoot("Root")
	chain := root.Intermediate("A").Leaf(names{"example.com"}).Chain()
	v := NewVerifier(poolVerifier(b, PoolOptions{}, root.Cert), VerifyOptions{})
	req, refs := plan(RequiredVerify, STSNoPolicy), references(b, toMX)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		cs := tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: chain}
		for pb.Next() {
			if _, _, err := v.Check(req, &cs, refs); err != nil {
				b.Error(err)
			}
		}
	})
}
