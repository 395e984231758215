package dane

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

func TestTrustAnchorDepths(t *testing.T) {
	authorities := []*testpki.Authority{testpki.NewRoot("Root")}
	for i := range 8 {
		authorities = append(authorities, authorities[i].Intermediate(fmt.Sprint("CA ", i+1)))
	}
	leaf := newLeaf(authorities[8])
	chain := leaf.ChainWithRoot()
	require.Len(t, chain, 10)
	for depth := 1; depth < len(chain); depth++ {
		for _, shape := range []struct{ s, m int }{{0, 0}, {0, 1}, {0, 2}, {1, 0}, {1, 1}, {1, 2}} {
			r := record(t, 2, Selector(shape.s), MatchingType(shape.m), chain[depth])
			matched(t, judge(t, Options{}, []Record{r}, chain), 0, depth, r.String())
			matched(t, judge(t, Options{}, []Record{r}, chain[:depth+1]), 0, depth, "nothing above the anchor is needed")
			shuffled := slices.Clone(chain)
			mathrand.Shuffle(len(shuffled)-1, func(i, j int) { shuffled[i+1], shuffled[j+1] = shuffled[j+1], shuffled[i+1] })
			matched(t, judge(t, Options{}, []Record{r}, shuffled), 0, depth, "the order means nothing")
		}
	}
}

func TestTrustAnchorKeyKinds(t *testing.T) {
	kinds := map[string]crypto.Signer{
		"RSA 2048": testpki.NewRSA(2048),
		"RSA 3072": testpki.NewRSA(3072),
		"P-256":    testpki.NewECDSA(elliptic.P256()),
		"P-384":    testpki.NewECDSA(elliptic.P384()),
		"P-521":    testpki.NewECDSA(elliptic.P521()),
		"Ed25519":  testpki.NewEd25519(),
	}
	for name, key := range kinds {
		root := testpki.NewRoot("Root", testpki.Key(key))
		mods := []testpki.Mod{testpki.Key(key)}
		for _, pss := range []bool{false, true} {
			if _, ok := key.Public().(interface{ Size() int }); pss && !ok {
				continue
			}
			if pss {
				name += " PSS"
				mods = append(mods, testpki.Template(func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA256WithRSAPSS }))
			}
			leaf := newLeaf(root.Intermediate("Intermediate", mods...), mods...)
			chain := leaf.ChainWithRoot()
			matched(t, judge(t, Options{}, []Record{ee311(t, leaf.Cert)}, chain), 0, 0, name)
			matched(t, judge(t, Options{}, []Record{ta211(t, root.Cert)}, chain), 0, 1, name+": all have one key, so the nearest is the anchor")
			matched(t, judge(t, Options{}, []Record{record(t, 2, 0, 1, root.Cert)}, chain), 0, 2, name)
			matched(t, judge(t, Options{}, []Record{record(t, 2, 1, 0, root.Cert)}, serial(leaf.Cert)), 0, 0, name+": bare key")
		}
	}
}

// The leaf is what the handshake authenticates; it is never its own anchor.
func TestTrustAnchorIsNotTheLeaf(t *testing.T) {
	self := testpki.SelfSigned([]string{testHost})
	ca := testpki.SelfSigned([]string{testHost}, testpki.Template(func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
	}))
	for _, leaf := range []*x509.Certificate{self.Cert, ca.Cert} {
		for _, shape := range []struct{ s, m int }{{0, 0}, {0, 1}, {0, 2}, {1, 1}, {1, 2}} {
			r := record(t, 2, Selector(shape.s), MatchingType(shape.m), leaf)
			for _, chain := range [][]*x509.Certificate{serial(leaf), serial(leaf, leaf), serial(leaf, reparsed(t, leaf))} {
				mismatched(t, judge(t, Options{}, []Record{r}, chain), ReasonNoMatch, r.String())
			}
		}
		// Sole exception: the key stands in the DNS by itself, and signed the leaf.
		matched(t, judge(t, Options{}, []Record{record(t, 2, 1, 0, leaf)}, serial(leaf)), 0, 0, "bare key that signed the leaf")
	}
}

func reparsed(t testing.TB, cert *x509.Certificate) *x509.Certificate {
	copied, err := x509.ParseCertificate(bytes.Clone(cert.Raw))
	require.NoError(t, err)
	return copied
}

// An anchor of usage 2 in the DNS as a whole need not be sent (RFC 7671 section
// 5.2.2); a digest cannot supply one.
func TestTrustAnchorNotSent(t *testing.T) {
	root := testpki.NewRoot("Root")
	inter := root.Intermediate("Intermediate")
	leaf := newLeaf(inter)
	matched(t, judge(t, Options{}, []Record{record(t, 2, 0, 0, root.Cert)}, leaf.Chain()), 0, 2, "2 0 0")
	matched(t, judge(t, Options{}, []Record{record(t, 2, 0, 0, inter.Cert)}, serial(leaf.Cert)), 0, 1, "2 0 0 of an intermediate")
	matched(t, judge(t, Options{}, []Record{record(t, 2, 1, 0, root.Cert)}, leaf.Chain()), 0, 1, "2 1 0 signed the intermediate")
	matched(t, judge(t, Options{}, []Record{record(t, 2, 1, 0, inter.Cert)}, serial(leaf.Cert)), 0, 0, "2 1 0 signed the leaf")
	for _, m := range []MatchingType{MatchingSHA256, MatchingSHA512} {
		mismatched(t, judge(t, Options{}, []Record{record(t, 2, 1, m, root.Cert)}, leaf.Chain()), ReasonNoMatch, "digest")
	}
	mismatched(t, judge(t, Options{}, []Record{record(t, 2, 0, 0, root.Cert)}, serial(leaf.Cert)), ReasonNoPath, "the intermediate is missing")
	mismatched(t, judge(t, Options{}, []Record{record(t, 2, 1, 0, root.Cert)}, serial(leaf.Cert)), ReasonNoMatch, "the key signed nothing that was sent")
	matched(t, judge(t, Options{}, []Record{record(t, 2, 0, 0, root.Cert)}, leaf.ChainWithRoot()), 0, 2, "sent all the same")
}

// Matching data proves nothing alone.
func TestForgedAnchor(t *testing.T) {
	root := testpki.NewRoot("Root")
	genuine := newLeaf(root)
	records := []Record{ta211(t, root.Cert)}
	matched(t, judge(t, Options{}, records, genuine.ChainWithRoot()), 0, 1, "genuine")

	forger := testpki.NewRoot("Root")
	forged := newLeaf(forger)
	mismatched(t, judge(t, Options{}, records, serial(forged.Cert, root.Cert)), ReasonBadSignature, "genuine root appended, same name and other key")
	mismatched(t, judge(t, Options{}, records, serial(forged.Cert, forger.Cert, root.Cert)), ReasonBadSignature, "both appended")
	other := newLeaf(testpki.NewRoot("Forger"))
	mismatched(t, judge(t, Options{}, records, append(other.ChainWithRoot(), root.Cert)), ReasonNoPath, "genuine root appended, other name")
	mismatched(t, judge(t, Options{}, []Record{record(t, 2, 0, 1, root.Cert)}, serial(forged.Cert, root.Cert)), ReasonBadSignature, "whole certificate")

	// The forger's own certificate for the genuine public key, with a self-made
	// name: he cannot sign with that key.
	stolen := reissued(t, "Forger", root.Key.Public(), forger)
	mismatched(t, judge(t, Options{}, records, serial(forged.Cert, stolen)), ReasonNoPath, "genuine key in a forged certificate")
	stolen = reissued(t, "Root", root.Key.Public(), forger)
	mismatched(t, judge(t, Options{}, records, serial(forged.Cert, stolen)), ReasonBadSignature, "and with the genuine name")
	// A certificate that names the genuine key as the issuer's, and is an issuer
	// itself.
	link := forger.Intermediate("Link")
	mismatched(t, judge(t, Options{}, records, serial(newLeaf(link).Cert, link.Cert, stolen, root.Cert)), ReasonBadSignature, "link below")

	// Same key, other certificate: the record names the key, so this is genuine.
	renewed := testpki.NewRoot("Root", testpki.Key(root.Key))
	matched(t, judge(t, Options{}, records, serial(genuine.Cert, renewed.Cert)), 0, 1, "same key, other certificate")
	mismatched(t, judge(t, Options{}, []Record{record(t, 2, 0, 1, root.Cert)}, serial(genuine.Cert, renewed.Cert)), ReasonNoMatch, "the record names the certificate")
}

// reissued returns a CA certificate for any public key, signed by a.
func reissued(t testing.TB, cn string, key crypto.PublicKey, a *testpki.Authority, change ...func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(mathrand.Int64()), Subject: pkix.Name{CommonName: cn},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	for _, f := range change {
		f(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Cert, key, a.Key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

func TestCrossSigned(t *testing.T) {
	oldRoot, newRoot := testpki.NewRoot("Old root"), testpki.NewRoot("New root")
	inter := newRoot.Intermediate("Intermediate")
	leaf := newLeaf(inter)
	cross := reissued(t, "New root", newRoot.Key.Public(), oldRoot) // the new root, signed by the old one
	chain := serial(leaf.Cert, inter.Cert, cross, oldRoot.Cert)
	matched(t, judge(t, Options{}, []Record{record(t, 2, 0, 1, oldRoot.Cert)}, chain), 0, 3, "up to the old root")
	matched(t, judge(t, Options{}, []Record{ta211(t, newRoot.Cert)}, chain), 0, 2, "the cross-certificate carries the new root's key")
	matched(t, judge(t, Options{}, []Record{record(t, 2, 0, 0, newRoot.Cert)}, chain), 0, 2, "the new root itself, not sent")
	matched(t, judge(t, Options{}, []Record{record(t, 2, 0, 1, oldRoot.Cert)}, serial(leaf.Cert, newRoot.Cert, inter.Cert, cross, oldRoot.Cert)), 0, 3, "backtrack from the self-signed form")

	// Expired and renewed, both sent: the good one is found in any order.
	expired := reissued(t, "Intermediate", inter.Key.Public(), newRoot, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })
	records := []Record{ta211(t, newRoot.Cert)}
	matched(t, judge(t, Options{}, records, serial(leaf.Cert, expired, inter.Cert, newRoot.Cert)), 0, 2, "expired first")
	matched(t, judge(t, Options{}, records, serial(leaf.Cert, inter.Cert, expired, newRoot.Cert)), 0, 2, "expired last")
	mismatched(t, judge(t, Options{}, records, serial(leaf.Cert, expired, newRoot.Cert)), ReasonExpired, "expired alone")
	matched(t, judge(t, Options{}, []Record{ta211(t, inter.Cert)}, serial(leaf.Cert, expired, inter.Cert)), 0, 1, "anchors too")
}

// What is wrong with a certificate on the path, and how it is called.
func TestPathDefects(t *testing.T) {
	change := testpki.Template
	past := func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-2*time.Hour), now.Add(-time.Hour) }
	future := func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(time.Hour), now.Add(2*time.Hour) }
	noCA := func(c *x509.Certificate) { c.IsCA = false }
	noConstraints := func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = false, false }
	noCertSign := func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }
	critical := func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}})
	}
	clientOnly := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }
	policy := func(c *x509.Certificate) { // requireExplicitPolicy 0, and nobody has a policy
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 36}, Critical: true, Value: []byte{0x30, 3, 0x80, 1, 0}})
	}
	pathLen := func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true }
	names := func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"example.org"}, true
	}
	excluded := func(c *x509.Certificate) { c.ExcludedDNSDomains = []string{"mx.example.com"} }
	permitted := func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"example.com"}, true
	}
	anyEKU := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }
	noEKU := func(c *x509.Certificate) { c.ExtKeyUsage = nil }
	leafUsage := func(u x509.KeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.KeyUsage = u }
	}
	emptyUsage := func(c *x509.Certificate) { // the extension is there, with no bit set
		c.KeyUsage = 0
		c.ExtraExtensions = []pkix.Extension{{Id: oidKeyUsage, Critical: true, Value: []byte{3, 2, 7, 0}}}
	}
	same := func(*x509.Certificate) {}

	for _, tc := range []struct {
		why                  string
		anchor, inter2, leaf func(*x509.Certificate)
		reason               Reason
	}{
		{"in order", same, same, same, ReasonNone},
		{"leaf expired", same, same, past, ReasonExpired},
		{"intermediate expired", same, past, same, ReasonExpired},
		{"anchor expired, though it is no root", past, same, same, ReasonExpired},
		{"leaf not yet valid", same, same, future, ReasonNotYetValid},
		{"intermediate not yet valid", same, future, same, ReasonNotYetValid},
		{"anchor not yet valid", future, same, same, ReasonNotYetValid},
		{"intermediate without cA", same, noCA, same, ReasonNotCA},
		{"intermediate without basicConstraints", same, noConstraints, same, ReasonNotCA},
		{"anchor without cA", noCA, same, same, ReasonNotCA},
		{"version 3 anchor without basicConstraints", noConstraints, same, same, ReasonNotCA},
		{"intermediate without keyCertSign", same, noCertSign, same, ReasonKeyUsage},
		{"anchor without keyCertSign", noCertSign, same, same, ReasonKeyUsage},
		{"leaf with an unknown critical extension", same, same, critical, ReasonCriticalExtension},
		{"intermediate with an unknown critical extension", same, critical, same, ReasonCriticalExtension},
		{"anchor with an unknown critical extension", critical, same, same, ReasonCriticalExtension},
		{"path length of the anchor", pathLen, same, same, ReasonPathLen},
		{"path length of the lower intermediate is enough", same, pathLen, same, ReasonNone},
		{"name constraint of the anchor", names, same, same, ReasonNameConstraint},
		{"name constraint of an intermediate", same, names, same, ReasonNameConstraint},
		{"excluded name", same, excluded, same, ReasonNameConstraint},
		{"name constraint that is met", permitted, permitted, same, ReasonNone},
		{"policy that nobody has", same, policy, same, ReasonCriticalExtension},
		{"leaf for clients", same, same, clientOnly, ReasonExtKeyUsage},
		{"intermediate for clients", same, clientOnly, same, ReasonExtKeyUsage},
		{"anchor for clients", clientOnly, same, same, ReasonExtKeyUsage},
		{"leaf for anything", same, same, anyEKU, ReasonNone},
		{"leaf without extended key usage", same, same, noEKU, ReasonNone},
		{"leaf for key agreement", same, same, leafUsage(x509.KeyUsageKeyAgreement), ReasonNone},
		{"leaf for key encipherment", same, same, leafUsage(x509.KeyUsageKeyEncipherment), ReasonNone},
		{"leaf without keyUsage", same, same, leafUsage(0), ReasonNone},
		{"leaf for certificates only", same, same, leafUsage(x509.KeyUsageCertSign), ReasonKeyUsage},
		{"leaf for nothing", same, same, emptyUsage, ReasonKeyUsage},
	} {
		root := testpki.NewRoot("Root")
		anchor := root.Intermediate("Anchor", change(tc.anchor))
		inter2 := anchor.Intermediate("Intermediate", change(tc.inter2))
		leaf := newLeaf(inter2, change(tc.leaf))
		for _, kind := range []Record{ta211(t, anchor.Cert), record(t, 2, 0, 0, anchor.Cert)} {
			r := judge(t, Options{}, []Record{kind}, leaf.Chain())
			if tc.reason == ReasonNone {
				matched(t, r, 0, 2, tc.why)
			} else {
				mismatched(t, r, tc.reason, tc.why)
			}
		}
		matched(t, judge(t, Options{}, []Record{ee311(t, leaf.Cert)}, leaf.Chain()), 0, 0, "none of this counts for usage 3")
	}
}

func TestWeakSignature(t *testing.T) {
	cert := testpki.NewRoot("Root").Cert
	weakly := *reparsed(t, cert)
	for _, algorithm := range []x509.SignatureAlgorithm{x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.MD5WithRSA, x509.DSAWithSHA1} {
		weakly.SignatureAlgorithm = algorithm
		require.Equal(t, ReasonWeakSignature, signatureDefect(&weakly, cert))
		for _, key := range []any{cert.PublicKey, testpki.NewRSA(1024).Public()} {
			require.False(t, fits(key, algorithm), "a bare key accepts no %s", algorithm)
		}
	}
	require.False(t, fits(cert.PublicKey, x509.SHA256WithRSA), "an EC key makes no RSA signature")
	require.Equal(t, ReasonNone, signatureDefect(cert, cert))
}

// Validity has whole seconds and includes both ends (RFC 5280 section 4.1.2.5).
func TestValidityEnds(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	end := start.Add(time.Hour)
	root := testpki.NewRoot("Root", testpki.Valid(start.AddDate(-1, 0, 0), end.AddDate(1, 0, 0)))
	chain := newLeaf(root, testpki.Valid(start, end)).ChainWithRoot()
	ids := refIDs(t, testHost)
	for _, tc := range []struct {
		at     time.Time
		reason Reason
	}{
		{start.Add(-1), ReasonNotYetValid}, {start, ReasonNone}, {end, ReasonNone},
		{end.Add(time.Second - 1), ReasonNone}, {end.Add(time.Second), ReasonExpired},
	} {
		r := judgeNames(t, Options{}, []Record{ta211(t, root.Cert)}, chain, ids, tc.at)
		require.Equal(t, tc.reason.String(), r.Reason.String(), tc.at.String())
	}
}

func TestNearestAnchor(t *testing.T) {
	root := testpki.NewRoot("Root")
	inter := root.Intermediate("Intermediate")
	leaf := newLeaf(inter)
	chain := leaf.ChainWithRoot()
	records := []Record{ta211(t, root.Cert), ta211(t, inter.Cert)}
	matched(t, judge(t, Options{}, records, chain), 1, 1, "both match")
	expired := reissued(t, "Intermediate", inter.Key.Public(), root, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })
	matched(t, judge(t, Options{}, []Record{record(t, 2, 0, 1, expired), ta211(t, root.Cert)}, serial(leaf.Cert, expired, inter.Cert, root.Cert)), 1, 2, "a bad anchor spoils no good one")
	matched(t, judge(t, Options{}, []Record{record(t, 2, 1, 0, root.Cert), ta211(t, root.Cert)}, chain), 1, 2, "an anchor that was sent before its bare key")
	matched(t, judge(t, Options{}, []Record{record(t, 2, 1, 0, inter.Cert), record(t, 2, 0, 1, root.Cert)}, serial(leaf.Cert, expired, root.Cert)), 0, 0, "a bare key when no anchor leads anywhere")
}

func TestJunk(t *testing.T) {
	root := testpki.NewRoot("Root")
	leaf := newLeaf(root.Intermediate("Intermediate"))
	chain := leaf.ChainWithRoot()
	junk := serial(nil, &x509.Certificate{}, testpki.NewRoot("Junk").Cert, leaf.Cert, chain[1], chain[1],
		testpki.SelfSigned([]string{"junk.example"}).Cert, testpki.NewRoot("Root").Cert, testpki.NewRoot("Intermediate").Cert)
	for _, r := range []Record{ta211(t, root.Cert), record(t, 2, 0, 0, root.Cert), record(t, 2, 1, 0, chain[1])} {
		want := judge(t, Options{}, []Record{r}, chain)
		require.Equal(t, Matched, want.Status)
		dirty := append(serial(leaf.Cert), append(junk, chain[1:]...)...)
		for range 5 {
			mathrand.Shuffle(len(dirty)-1, func(i, j int) { dirty[i+1], dirty[j+1] = dirty[j+1], dirty[i+1] })
			sameResult(t, want, judge(t, Options{}, []Record{r}, dirty), "junk changes nothing")
		}
	}
}
