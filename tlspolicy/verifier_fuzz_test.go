package tlspolicy

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/testpki"
)

// FuzzCheck: whatever is in the certificates, Check neither panics nor finds a
// name without a chain that crypto/x509 trusts, nor one that the certificate does
// not carry.
func FuzzCheck(f *testing.F) {
	root := testpki.NewRoot("Root", valid(-1000, 1000))
	inner := root.Intermediate("Inner", valid(-500, 500))
	for _, leaf := range []*testpki.Leaf{
		inner.Leaf(names{"example.com", "mx.example.net"}, valid(-10, 10)),
		inner.Leaf(nil, valid(-10, 10), testpki.CommonName("mx.example.net")),
		root.Leaf(names{"*.example.net"}, valid(-90, -1)),
		testpki.SelfSigned(names{"example.com"}, valid(-10, 10), testpki.Template(func(c *x509.Certificate) {
			c.Subject = pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: oidCN, Value: "a"}, {Type: oidCN, Value: "b c"}}}
		})),
	} {
		f.Add(leaf.Cert.Raw, inner.Cert.Raw, root.Cert.Raw, uint16(tls.VersionTLS13), 0, byte(0))
		// As its own anchor a mutant is trusted although its signature is wrong.
		f.Add(leaf.Cert.Raw, root.Cert.Raw, []byte{}, uint16(tls.VersionTLS12), len(leaf.Cert.Raw)/2, byte(1))
	}
	refs := references(f, toMX)
	f.Fuzz(func(t *testing.T, first, second, anchor []byte, version uint16, at int, flip byte) {
		if at >= 0 && at < len(first) {
			first = append([]byte(nil), first...)
			first[at] ^= flip
		}
		if len(anchor) == 0 {
			anchor = first
		}
		chain, roots := parsed(first, second), pool(parsed(anchor)...)
		checkHolds(t, chain, roots, version, refs)
	})
}

// parsed returns the certificates among the inputs.
func parsed(inputs ...[]byte) []*x509.Certificate {
	var certs []*x509.Certificate
	for _, der := range inputs {
		if cert, err := x509.ParseCertificate(der); err == nil {
			certs = append(certs, cert)
		}
	}
	return certs
}

// checkHolds asserts what holds for Check on any chain, with all options on.
func checkHolds(t *testing.T, chain []*x509.Certificate, roots *x509.CertPool, version uint16, refs *References) Outcome {
	t.Helper()
	opts := VerifyOptions{PTR: true, FQDN: true, X509: X509Checks{Signature: true, ServerName: true, Version: true}}
	trust, err := NewPoolVerifier(roots, PoolOptions{Now: newClock(noon).now})
	require.NoError(t, err)
	var last Outcome
	for _, req := range []Requirement{plan(PreferredVerify, STSTestingMatch), plan(RequiredVerify, STSNoPolicy),
		plan(RequiredVerifyHosted, STSEnforceMatch)} {
		cs := session(chain)
		cs.Version = version
		o, id, err := NewVerifier(trust, opts).Check(req, cs, refs)
		last = o
		if (o.STSName || o.VerifyName || o.HostedName || id.OK) && o.Chain != ChainOK {
			t.Fatalf("name proven on a chain that is %v", o.Chain)
		}
		if o.Chain == ChainOK {
			if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: pool(chain[1:]...), CurrentTime: noon}); err != nil {
				t.Fatalf("x509 does not trust the chain: %v", err)
			}
		}
		if o.STSName && chain[0].VerifyHostname("mx.example.net") != nil {
			t.Fatal("x509 does not find the MX host")
		}
		if good := o.Chain == ChainOK && !o.ExtraFailed && (o.STSName || !req.NeedsSTSName()) && (o.VerifyName || o.HostedName); good != (err == nil) {
			t.Fatalf("error %v does not fit %+v", err, o)
		}
		if req.Decide(o).Action == DeliverVerified && !id.OK {
			t.Fatalf("verified without identity: %+v", o)
		}
	}
	return last
}

// The same with every bit of a good certificate flipped, one at a time. The
// mutants are their own anchors, or else a wrong signature would end it.
func TestCheckOnEveryFlippedBit(t *testing.T) {
	leaf := testpki.SelfSigned(names{"example.com", "mx.example.net"}, valid(-10, 10))
	refs := references(t, toMX)
	require.Equal(t, Outcome{TLS: TLSEstablished, Chain: ChainOK, STSName: true, HostedName: true},
		checkHolds(t, []*x509.Certificate{leaf.Cert}, pool(leaf.Cert), tls.VersionTLS13, refs))
	looked := map[Outcome]int{}
	for i := range len(leaf.Cert.Raw) * 8 {
		der := slices.Clone(leaf.Cert.Raw)
		der[i/8] ^= 1 << (i % 8)
		if chain := parsed(der); chain != nil {
			looked[checkHolds(t, chain, pool(chain...), tls.VersionTLS13, refs)]++
		}
	}
	require.GreaterOrEqual(t, len(looked), 4, "good, untrusted, a name lost, an option failed: %v", looked)
}
