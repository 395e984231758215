package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// crossSign returns a certificate by issuer for the name and key of subject.
func crossSign(issuer, subject *testpki.Authority, mods ...testpki.Mod) *x509.Certificate {
	return issuer.Intermediate(subject.Cert.Subject.CommonName, append(mods, testpki.Key(subject.Key))...).Cert
}

func anchoredBy(roots ...*testpki.Authority) func(*x509.Certificate) bool {
	return func(cert *x509.Certificate) bool {
		return slices.ContainsFunc(roots, func(r *testpki.Authority) bool {
			return bytes.Equal(cert.Raw, r.Cert.Raw) ||
				bytes.Equal(cert.RawIssuer, r.Cert.RawSubject) && cert.CheckSignatureFrom(r.Cert) == nil
		})
	}
}

func TestArrange(t *testing.T) {
	now := time.Now()
	years := func(n int) testpki.Mod { return testpki.Valid(now.Add(-time.Hour), now.AddDate(n, 0, 0)) }
	root, other := testpki.NewRoot("Root", years(9)), testpki.NewRoot("Other Root", years(9))
	two := root.Intermediate("Two")
	one := two.Intermediate("One")
	leaf := one.Leaf([]string{"mx.example.com"})
	decoy := root.Intermediate("One").Cert // right name, wrong key
	mods := testpki.Key(leaf.Key)
	expired := one.Leaf([]string{"mx.example.com"}, mods, testpki.Valid(now.AddDate(-2, 0, 0), now.AddDate(-1, 0, 0))).Cert
	later := one.Leaf([]string{"mx.example.com"}, mods, years(1)).Cert
	future := one.Leaf([]string{"mx.example.com"}, mods, testpki.Valid(now.AddDate(1, 0, 0), now.AddDate(3, 0, 0))).Cert
	asCA := one.Intermediate("CA with the leaf's key", mods, years(5)).Cert
	self := testpki.SelfSigned([]string{"mx.example.com"}, mods).Cert
	oneByOther := crossSign(other, one, years(5)) // ends later than one's own
	a, b := testpki.NewRoot("A"), testpki.NewRoot("B")
	aByB, bByA := crossSign(b, a), crossSign(a, b)
	leafA := a.Leaf([]string{"a.example"})
	aia := one.Leaf([]string{"mx.example.com"}, mods, testpki.Template(func(c *x509.Certificate) {
		c.IssuingCertificateURL = []string{"http://ca.example/one.crt"}
	})).Cert
	type certs = []*x509.Certificate
	for _, tc := range []struct {
		why   string
		key   crypto.PublicKey
		bag   certs
		o     ArrangeOptions
		chain certs
		codes []Code
	}{
		{"root, decoy, intermediate, leaf, intermediate", leaf.Key.Public(), certs{root.Cert, decoy, two.Cert, leaf.Cert, one.Cert}, ArrangeOptions{},
			certs{leaf.Cert, one.Cert, two.Cert}, []Code{FindingUnused}},
		{"with the root for TLSA usage 2", leaf.Key.Public(), certs{root.Cert, two.Cert, leaf.Cert, one.Cert}, ArrangeOptions{IncludeRoot: true},
			certs{leaf.Cert, one.Cert, two.Cert, root.Cert}, nil},
		{"no root, no anchors known", leaf.Key.Public(), certs{two.Cert, one.Cert, leaf.Cert}, ArrangeOptions{},
			certs{leaf.Cert, one.Cert, two.Cert}, []Code{FindingChainIncomplete}},
		{"no root, but an anchor", leaf.Key.Public(), certs{two.Cert, one.Cert, leaf.Cert}, ArrangeOptions{Anchored: anchoredBy(root)},
			certs{leaf.Cert, one.Cert, two.Cert}, nil},
		{"an intermediate is missing", leaf.Key.Public(), certs{leaf.Cert, two.Cert, root.Cert}, ArrangeOptions{Anchored: anchoredBy(root)},
			certs{leaf.Cert}, []Code{FindingUnused, FindingUnused, FindingChainIncomplete}},
		{"duplicates", leaf.Key.Public(), certs{leaf.Cert, leaf.Cert, one.Cert, two.Cert, root.Cert, leaf.Cert, one.Cert}, ArrangeOptions{},
			certs{leaf.Cert, one.Cert, two.Cert}, []Code{FindingDuplicate, FindingDuplicate}},
		{"self-signed leaf stays", leaf.Key.Public(), certs{self}, ArrangeOptions{}, certs{self}, nil},
		{"valid before expired", leaf.Key.Public(), certs{expired, leaf.Cert, one.Cert, root.Cert, two.Cert}, ArrangeOptions{}, certs{leaf.Cert, one.Cert, two.Cert}, []Code{FindingUnused}},
		{"valid before future", leaf.Key.Public(), certs{future, leaf.Cert, one.Cert, root.Cert, two.Cert}, ArrangeOptions{}, certs{leaf.Cert, one.Cert, two.Cert}, []Code{FindingUnused}},
		{"the clock decides what is valid", leaf.Key.Public(), certs{future, leaf.Cert, one.Cert, root.Cert, two.Cert}, ArrangeOptions{Now: now.AddDate(2, 0, 0)}, certs{future, one.Cert, two.Cert}, []Code{FindingUnused}},
		{"the later end", leaf.Key.Public(), certs{leaf.Cert, later, one.Cert, root.Cert, two.Cert}, ArrangeOptions{}, certs{later, one.Cert, two.Cert}, []Code{FindingUnused}},
		{"a leaf before an authority with the same key, though that ends later", leaf.Key.Public(), certs{asCA, leaf.Cert, one.Cert, root.Cert, two.Cert}, ArrangeOptions{}, certs{leaf.Cert, one.Cert, two.Cert}, []Code{FindingUnused}},
		{"an authority's certificate if there is no other", leaf.Key.Public(), certs{asCA, one.Cert, root.Cert, two.Cert}, ArrangeOptions{}, certs{asCA, one.Cert, two.Cert}, nil},
		{"the anchor decides between two issuers", leaf.Key.Public(), certs{leaf.Cert, one.Cert, two.Cert, oneByOther}, ArrangeOptions{Anchored: anchoredBy(root)},
			certs{leaf.Cert, one.Cert, two.Cert}, []Code{FindingUnused}},
		{"the other anchor", leaf.Key.Public(), certs{leaf.Cert, one.Cert, two.Cert, oneByOther}, ArrangeOptions{Anchored: anchoredBy(other)},
			certs{leaf.Cert, oneByOther}, []Code{FindingUnused, FindingUnused}},
		{"without anchors the later end", leaf.Key.Public(), certs{leaf.Cert, one.Cert, two.Cert, oneByOther, other.Cert}, ArrangeOptions{},
			certs{leaf.Cert, oneByOther}, []Code{FindingUnused, FindingUnused}},
		{"mutual cross-signatures end", leafA.Key.Public(), certs{aByB, bByA, leafA.Cert}, ArrangeOptions{},
			certs{leafA.Cert, aByB, bByA}, []Code{FindingChainIncomplete}},
		{"and find their anchor", leafA.Key.Public(), certs{aByB, bByA, leafA.Cert, b.Cert}, ArrangeOptions{Anchored: anchoredBy(b)},
			certs{leafA.Cert, aByB}, []Code{FindingUnused}},
		{"the address of the issuer is told, not fetched", leaf.Key.Public(), certs{aia}, ArrangeOptions{}, certs{aia}, []Code{FindingChainIncomplete}},
	} {
		for range 4 {
			rand.Shuffle(len(tc.bag), func(i, j int) { tc.bag[i], tc.bag[j] = tc.bag[j], tc.bag[i] })
			chain, findings, err := Arrange(tc.key, tc.bag, tc.o)
			require.NoError(t, err, tc.why)
			require.Equal(t, chainNames(tc.chain), chainNames(chain), tc.why)
			require.Equal(t, tc.codes, codes(findings), "%s: %v", tc.why, findings)
			if slices.Contains(tc.bag, aia) {
				require.Contains(t, findings[0].Detail, "http://ca.example/one.crt")
			}
		}
	}
}

// chainNames keeps a failing comparison readable.
func chainNames(chain []*x509.Certificate) (names []string) {
	for _, cert := range chain {
		names = append(names, fmt.Sprintf("%s by %s %x", cert.Subject, cert.Issuer, fingerprint(cert)))
	}
	return names
}

// Four certificates of A, B and C, in which the branch that ends later leads into a
// circle: the way to the anchor is the one that is taken.
func TestArrangeAvoidsCircles(t *testing.T) {
	now := time.Now()
	end := func(years int) testpki.Mod { return testpki.Valid(now.Add(-time.Hour), now.AddDate(years, 0, 0)) }
	root := testpki.NewRoot("Root")
	a, b := testpki.NewRoot("A"), testpki.NewRoot("B")
	leaf := a.Leaf([]string{"a.example"})
	aByB, bByA := crossSign(b, a, end(9)), crossSign(a, b, end(9))
	aByRoot := crossSign(root, a, end(1))
	bag := []*x509.Certificate{leaf.Cert, aByB, bByA, aByRoot}
	chain, _, err := Arrange(leaf.Key.Public(), bag, ArrangeOptions{Anchored: anchoredBy(root)})
	require.NoError(t, err)
	require.Equal(t, chainNames([]*x509.Certificate{leaf.Cert, aByRoot}), chainNames(chain))
}

func TestArrangeErrors(t *testing.T) {
	root := testpki.NewRoot("Root")
	leaf := root.Leaf([]string{"a.example"})
	rsaLeaf := root.Leaf([]string{"a.example"}, testpki.Key(checkRSA2048)).Cert
	_, _, err := Arrange(nil, []*x509.Certificate{leaf.Cert}, ArrangeOptions{})
	require.ErrorIs(t, err, ErrNoKey)
	_, _, err = Arrange(leaf.Key.Public(), nil, ArrangeOptions{})
	require.ErrorIs(t, err, ErrNoCertificate)
	_, _, err = Arrange(leaf.Key.Public(), []*x509.Certificate{root.Cert, rsaLeaf}, ArrangeOptions{})
	require.ErrorIs(t, err, ErrKeyMismatch)
	require.ErrorContains(t, err, "ECDSA P-256")
	require.ErrorContains(t, err, "RSA-2048")
	_, _, err = Arrange(leaf.Key.Public(), []*x509.Certificate{root.Leaf([]string{"a.example"}).Cert}, ArrangeOptions{})
	require.ErrorIs(t, err, ErrKeyMismatch)
	require.NotContains(t, err.Error(), "P-256", "of the same kind: nothing to tell")
	_, _, err = Arrange(leaf.Key.Public(), []*x509.Certificate{leaf.Cert, nil}, ArrangeOptions{})
	require.ErrorIs(t, err, ErrMalformed)
	_, _, err = Arrange(leaf.Key.Public(), make([]*x509.Certificate, MaxCertificates+1), ArrangeOptions{})
	require.ErrorIs(t, err, ErrTooLarge)
}

// hostileBags are full of certificates with as much in common as possible.
func hostileBags(size int) map[string][]*x509.Certificate {
	root := testpki.NewRoot("Root")
	leaf := root.Leaf([]string{"a.example"})
	decoys := []*x509.Certificate{leaf.Cert}
	for len(decoys) < size {
		decoys = append(decoys, testpki.NewRoot("Root").Cert)
	}
	// A chain as long as the bag.
	chain := []*x509.Certificate{}
	authority := testpki.NewRoot("0")
	for i := 1; i < size; i++ {
		authority = authority.Intermediate(fmt.Sprint(i))
		chain = append(chain, authority.Cert)
	}
	end := authority.Leaf([]string{"a.example"})
	chain = append([]*x509.Certificate{end.Cert}, chain...)
	// Two keys that certify each other again and again.
	a, b := testpki.NewRoot("A"), testpki.NewRoot("B")
	circle := []*x509.Certificate{a.Leaf([]string{"a.example"}).Cert}
	for len(circle)+1 < size {
		circle = append(circle, crossSign(a, b), crossSign(b, a))
	}
	return map[string][]*x509.Certificate{"decoys": decoys, "chain": chain, "circle": circle}
}

func TestArrangeHostile(t *testing.T) {
	for why, bag := range hostileBags(200) {
		chain, _, err := Arrange(bag[0].PublicKey, bag, ArrangeOptions{Anchored: func(*x509.Certificate) bool { return false }})
		require.NoError(t, err, why)
		require.Same(t, bag[0], chain[0], why)
		verifyLinks(t, chain)
	}
	// One name for all, and every certificate signed by another key of that name:
	// ten thousand pairs to try.
	authority := testpki.NewRoot("Same")
	leaf := authority.Leaf([]string{"a.example"})
	bag := []*x509.Certificate{leaf.Cert}
	for len(bag) < 100 {
		next := testpki.NewRoot("Same")
		bag = append(bag, crossSign(next, authority))
		authority = next
	}
	_, _, err := Arrange(leaf.Cert.PublicKey, bag, ArrangeOptions{})
	require.ErrorIs(t, err, ErrTooLarge)
}

func verifyLinks(t *testing.T, chain []*x509.Certificate) {
	for i, cert := range chain[1:] {
		child := chain[i]
		require.Equal(t, cert.RawSubject, child.RawIssuer)
		require.NoError(t, cert.CheckSignature(child.SignatureAlgorithm, child.RawTBSCertificate, child.Signature))
	}
}

// FuzzArrange builds a bag from the input: each octet adds an authority, a
// cross-signature, a leaf or a duplicate, and the rest shuffles it.
func FuzzArrange(f *testing.F) {
	pool := make([]*ecdsa.PrivateKey, 4)
	authorities := make([]*testpki.Authority, len(pool))
	for i := range pool {
		pool[i] = testpki.NewECDSA(elliptic.P256()).(*ecdsa.PrivateKey)
		authorities[i] = testpki.NewRoot(fmt.Sprint(i%3), testpki.Key(pool[i]))
	}
	leafKey := testpki.NewECDSA(elliptic.P256())
	var certificates []*x509.Certificate
	for i, a := range authorities {
		certificates = append(certificates, a.Cert, a.Leaf([]string{"a.example"}, testpki.Key(leafKey)).Cert)
		for j, b := range authorities {
			if i != j {
				certificates = append(certificates, crossSign(a, b, testpki.Valid(time.Now(), time.Now().AddDate(0, 0, 1+i+j))))
			}
		}
	}
	hangsOn := map[*x509.Certificate]uint8{} // a bit for each authority
	for _, cert := range certificates {
		for i, a := range authorities {
			if anchoredBy(a)(cert) {
				hangsOn[cert] |= 1 << i
			}
		}
	}
	f.Add([]byte{0, 1, 2, 3}, uint8(0), uint64(1))
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}, uint8(1), uint64(2))
	f.Add([]byte{1, 1, 4, 9, 17}, uint8(3), uint64(3))
	f.Fuzz(func(t *testing.T, picks []byte, anchors uint8, seed uint64) {
		var bag []*x509.Certificate
		for _, pick := range picks[:min(len(picks), 40)] {
			bag = append(bag, certificates[int(pick)%len(certificates)])
		}
		o := ArrangeOptions{IncludeRoot: anchors&0x80 != 0, Anchored: func(cert *x509.Certificate) bool { return hangsOn[cert]&anchors != 0 }}
		chain, findings, err := Arrange(leafKey.Public(), bag, o)
		shuffled := slices.Clone(bag)
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		chain2, findings2, err2 := Arrange(leafKey.Public(), shuffled, o)
		require.Equal(t, err == nil, err2 == nil)
		require.Equal(t, findings, findings2)
		require.Len(t, chain2, len(chain))
		for i := range chain {
			require.Equal(t, chain[i].Raw, chain2[i].Raw)
		}
		if err != nil {
			return
		}
		verifyLinks(t, chain)
		require.True(t, publicEqual(leafKey.Public(), chain[0].PublicKey))
		seen := map[[32]byte]bool{}
		for _, cert := range chain {
			require.False(t, seen[fingerprint(cert)])
			seen[fingerprint(cert)] = true
		}
	})
}

func BenchmarkArrange(b *testing.B) {
	for why, bag := range hostileBags(MaxCertificates) {
		b.Run(why, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := Arrange(bag[0].PublicKey, bag, ArrangeOptions{Anchored: func(*x509.Certificate) bool { return false }}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
