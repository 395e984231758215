package certs

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// checkKeys are made once; RSA keys take a while.
var checkRSA1024, checkRSA2048 = testpki.NewRSA(1024), testpki.NewRSA(2048)

func checkTemplate(change func(*x509.Certificate)) testpki.Mod { return testpki.Template(change) }

// withPublicKey returns a certificate signed by root for a public key whose
// private half nobody has.
func withPublicKey(t *testing.T, root *testpki.Authority, pub crypto.PublicKey) *x509.Certificate {
	leaf := root.Leaf([]string{"mx.example.com"}).Cert
	der, err := x509.CreateCertificate(rand.Reader, leaf, root.Cert, pub, root.Key)
	require.NoError(t, err)
	return must(x509.ParseCertificate(der))
}

// patched returns the certificate with one piece of its DER replaced by another of
// the same length, for what Go does not make. Its signature is no longer right.
func patched(t *testing.T, cert *x509.Certificate, from, to []byte) *x509.Certificate {
	require.Equal(t, len(from), len(to))
	require.Contains(t, string(cert.Raw), string(from))
	return must(x509.ParseCertificate(bytes.ReplaceAll(cert.Raw, from, to)))
}

func TestCheckLeaf(t *testing.T) {
	now := time.Now()
	root := testpki.NewRoot("Check Root")
	names := []string{"mx.example.com"}
	leaf := func(mods ...testpki.Mod) *x509.Certificate { return root.Leaf(names, mods...).Cert }
	named := func(dns ...string) *x509.Certificate {
		return root.Leaf(dns, testpki.CommonName(dns[0])).Cert
	}
	oidSHA256RSA, oidMD2RSA := []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11}, []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 2}
	oidMD5RSA, oidSHA1RSA := []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4}, []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5}
	rsaRoot := testpki.NewRoot("RSA Root", testpki.Key(checkRSA2048))
	rsaLeaf := rsaRoot.Leaf(names).Cert
	versionThree, versionTwo := []byte{0xa0, 3, 2, 1, 2}, []byte{0xa0, 3, 2, 1, 1}
	v3only := leaf()
	broken := &rsa.PublicKey{N: new(big.Int).Mul(prime(t, 1024), big.NewInt(3)), E: 65537}
	broken.N.Mul(broken.N, prime(t, 1024))
	for _, tc := range []struct {
		why  string
		cert *x509.Certificate
		o    CheckOptions
		want []Code
	}{
		{"a sound certificate", leaf(), CheckOptions{}, nil},
		{"and RSA of 2,048 bits", leaf(testpki.Key(checkRSA2048)), CheckOptions{}, nil},
		{"and Ed25519", leaf(testpki.Key(testpki.NewEd25519())), CheckOptions{}, nil},
		{"the wanted name", leaf(), CheckOptions{Name: "MX.example.com."}, nil},
		{"the wanted name by wildcard", named("*.example.com"), CheckOptions{Name: "mx.example.com"}, nil},
		{"the wanted name in the CN alone", leaf(testpki.CommonName("cn.example")), CheckOptions{Name: "cn.example"}, []Code{FindingCNNotInSAN}},
		{"another name", leaf(), CheckOptions{Name: "other.example.com"}, []Code{FindingNameAbsent}},
		{"a wanted name that is none", leaf(), CheckOptions{Name: "192.0.2.1"}, []Code{FindingNameAbsent}},
		{"version 2", patched(t, v3only, versionThree, versionTwo), CheckOptions{}, []Code{FindingNotV3, FindingNoSAN}},
		{"serial of 21 octets", leaf(checkTemplate(func(c *x509.Certificate) { c.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 160) })), CheckOptions{}, []Code{FindingSerialLong}},
		{"20 octets and a leading zero octet make 21", leaf(checkTemplate(func(c *x509.Certificate) { c.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 159) })), CheckOptions{}, []Code{FindingSerialLong}},
		{"serial of 20 octets", leaf(checkTemplate(func(c *x509.Certificate) { c.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 158) })), CheckOptions{}, nil},
		{"serial zero", patched(t, leaf(checkTemplate(func(c *x509.Certificate) { c.SerialNumber = big.NewInt(0x7b) })), []byte{2, 1, 0x7b}, []byte{2, 1, 0}), CheckOptions{}, []Code{FindingSerialZero}},
		{"SHA-1", patched(t, rsaLeaf, oidSHA256RSA, oidSHA1RSA), CheckOptions{}, []Code{FindingSigWeak}},
		{"MD5", patched(t, rsaLeaf, oidSHA256RSA, oidMD5RSA), CheckOptions{}, []Code{FindingSigWeak}},
		{"MD2, which Go no longer knows", patched(t, rsaLeaf, oidSHA256RSA, oidMD2RSA), CheckOptions{}, []Code{FindingSigWeak}},
		{"RSA of 1,024 bits", leaf(testpki.Key(checkRSA1024)), CheckOptions{}, []Code{FindingWeakKey}},
		{"RSA divisible by three", withPublicKey(t, root, broken), CheckOptions{}, []Code{FindingBadKey}},
		{"RSA with exponent 3", withPublicKey(t, root, &rsa.PublicKey{N: checkRSA2048.Public().(*rsa.PublicKey).N, E: 3}), CheckOptions{}, []Code{FindingBadKey}},
		{"expired", leaf(), CheckOptions{Now: now.AddDate(1, 0, 0)}, []Code{FindingExpired}},
		{"not yet valid", leaf(), CheckOptions{Now: now.AddDate(-1, 0, 0)}, []Code{FindingNotYetValid}},
		{"the last second belongs to it as a whole", leaf(testpki.Valid(now.Truncate(time.Second), now.Truncate(time.Second))), CheckOptions{Now: now.Truncate(time.Second).Add(time.Second - 1)}, nil},
		{"both ends belong to the validity", leaf(testpki.Valid(now.Truncate(time.Second), now.Truncate(time.Second))), CheckOptions{Now: now.Truncate(time.Second)}, nil},
		{"eleven years", leaf(testpki.Valid(now, now.AddDate(11, 0, 0))), CheckOptions{}, []Code{FindingLongLived}},
		{"ten years", leaf(testpki.Valid(now.Truncate(time.Second), now.Truncate(time.Second).AddDate(10, 0, 0))), CheckOptions{Now: now.Add(time.Hour)}, nil},
		{"no name", root.Leaf(nil, testpki.Template(func(c *x509.Certificate) { c.Subject = pkix.Name{Organization: []string{"O"}} })).Cert, CheckOptions{}, []Code{FindingNameAbsent}},
		{"no name in an empty subject", root.Leaf(nil).Cert, CheckOptions{}, []Code{FindingEmptySubject, FindingNameAbsent}},
		{"empty subject, critical SAN", leaf(testpki.CommonName("")), CheckOptions{}, nil},
		{"CN only", root.Leaf(nil, testpki.CommonName("mx.example.com")).Cert, CheckOptions{}, []Code{FindingNoSAN}},
		{"CN and an address", root.Leaf(nil, testpki.CommonName("mx.example.com"), checkTemplate(func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)} })).Cert, CheckOptions{}, []Code{FindingCNNotInSAN}},
		{"CN not in the SAN", leaf(testpki.CommonName("other.example.com")), CheckOptions{}, []Code{FindingCNNotInSAN}},
		{"CN in the SAN in other letters", leaf(testpki.CommonName("MX.Example.Com")), CheckOptions{}, nil},
		{"underscore", named("a_b.example.com"), CheckOptions{}, []Code{FindingSANSyntax}},
		{"final dot", named("mx.example.com."), CheckOptions{}, []Code{FindingSANSyntax}},
		{"address as dNSName", named("192.0.2.1"), CheckOptions{}, []Code{FindingSANSyntax}},
		{"IPv6 address as dNSName", named("2001:db8::1"), CheckOptions{}, []Code{FindingSANSyntax}},
		{"wildcard in the middle", named("a.*.example.com"), CheckOptions{}, []Code{FindingSANSyntax}},
		{"wildcard of a top level", named("*.com"), CheckOptions{}, []Code{FindingSANSyntax}},
		{"part of a label", named("m*.example.com"), CheckOptions{}, []Code{FindingSANSyntax}},
		{"blank", named("a b.example.com"), CheckOptions{}, []Code{FindingSANSyntax}},
		{"empty label", named("a..example.com"), CheckOptions{}, []Code{FindingSANSyntax}},
		{"one finding for each", named("a_b.example", "c_d.example", "e.example"), CheckOptions{}, []Code{FindingSANSyntax, FindingSANSyntax}},
		{"fqdn when asked", named("localhost"), CheckOptions{FQDN: true}, []Code{FindingFQDN}},
		{"fqdn when not asked", named("localhost"), CheckOptions{}, nil},
		{"an authority as leaf", root.Intermediate("mx.example.com", checkTemplate(func(c *x509.Certificate) { c.DNSNames = names; c.KeyUsage |= x509.KeyUsageDigitalSignature })).Cert, CheckOptions{}, []Code{FindingCAAsLeaf}},
		{"without digitalSignature", leaf(checkTemplate(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement })), CheckOptions{}, []Code{FindingKeyUsage}},
		{"without key usage anything goes", leaf(checkTemplate(func(c *x509.Certificate) { c.KeyUsage = 0 })), CheckOptions{}, nil},
		{"serverAuth for a client", leaf(), CheckOptions{Client: true}, []Code{FindingEKU}},
		{"clientAuth for a server", leaf(checkTemplate(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })), CheckOptions{}, []Code{FindingEKU}},
		{"an unknown use only", leaf(checkTemplate(func(c *x509.Certificate) {
			c.ExtKeyUsage, c.UnknownExtKeyUsage = nil, []asn1.ObjectIdentifier{{1, 3, 6, 1, 4, 1, 99999, 1}}
		})), CheckOptions{}, []Code{FindingEKU}},
		{"any use", leaf(checkTemplate(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} })), CheckOptions{Client: true}, nil},
		{"no extended use", leaf(checkTemplate(func(c *x509.Certificate) { c.ExtKeyUsage = nil })), CheckOptions{Client: true}, nil},
		{"unknown critical extension", leaf(checkTemplate(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Critical: true, Value: []byte{5, 0}}}
		})), CheckOptions{}, []Code{FindingCriticalUnknown}},
		{"self-signed", testpki.SelfSigned(names).Cert, CheckOptions{}, []Code{FindingSelfSigned}},
		{"the issuer is not listed", leaf(), CheckOptions{Anchored: func(*x509.Certificate) bool { return false }}, []Code{FindingIssuerNotListed}},
		{"the issuer is listed", leaf(), CheckOptions{Anchored: func(*x509.Certificate) bool { return true }}, nil},
	} {
		got := Check(nil, []*x509.Certificate{tc.cert}, tc.o)
		require.ElementsMatch(t, tc.want, codes(got), "%s: %v", tc.why, got)
		for _, f := range got {
			require.Equal(t, fingerprint(tc.cert), f.Cert, tc.why)
			require.NotEmpty(t, f.Detail, tc.why)
			require.Equal(t, f.Code == FindingSelfSigned, f.Severity == SeverityInfo, tc.why)
		}
	}
}

func TestCheckIssuers(t *testing.T) {
	now := time.Now()
	root := testpki.NewRoot("Check Root")
	leaf := root.Leaf([]string{"mx.example.com"}).Cert
	for _, tc := range []struct {
		why    string
		issuer *x509.Certificate
		now    time.Time
		want   []Code
	}{
		{"sound", root.Intermediate("One").Cert, now, nil},
		{"expired", root.Intermediate("One", testpki.Valid(now.AddDate(-2, 0, 0), now.AddDate(-1, 0, 0))).Cert, now, []Code{FindingChainExpired}},
		{"not yet valid", root.Intermediate("One", testpki.Valid(now.AddDate(1, 0, 0), now.AddDate(2, 0, 0))).Cert, now, []Code{FindingChainExpired}},
		{"no authority", root.Leaf([]string{"a.example"}).Cert, now, []Code{FindingNotCA}},
		{"no keyCertSign", root.Intermediate("One", checkTemplate(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })).Cert, now, []Code{FindingKeyUsage}},
		{"for clients only", root.Intermediate("One", checkTemplate(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })).Cert, now, []Code{FindingEKU}},
		{"twenty years are fine for an authority", root.Intermediate("One", testpki.Valid(now.Add(-time.Hour), now.AddDate(20, 0, 0))).Cert, now, nil},
		{"the root behind it is not called self-signed", root.Cert, now, nil},
	} {
		got := Check(nil, []*x509.Certificate{leaf, tc.issuer}, CheckOptions{Now: tc.now})
		require.Equal(t, tc.want, codes(got), "%s: %v", tc.why, got)
		for _, f := range got {
			require.Equal(t, fingerprint(tc.issuer), f.Cert, tc.why)
		}
	}
}

// A list is judged one by one: names are titles, and self-signed is what roots are.
func TestCheckCAList(t *testing.T) {
	root := testpki.NewRoot("A Title")
	oidSHA256RSA, oidSHA1RSA := []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11}, []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5}
	rsaRoot := testpki.NewRoot("RSA Root", testpki.Key(checkRSA2048), checkTemplate(func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA }))
	require.Equal(t, x509.SHA1WithRSA, rsaRoot.Cert.SignatureAlgorithm)
	forged := patched(t, testpki.NewRoot("RSA Root", testpki.Key(checkRSA2048)).Cert, oidSHA256RSA, oidSHA1RSA)
	for _, tc := range []struct {
		why  string
		cert *x509.Certificate
		o    CheckOptions
		want []Code
	}{
		{"root", root.Cert, CheckOptions{}, nil},
		{"expired root", root.Cert, CheckOptions{Now: time.Now().AddDate(30, 0, 0)}, []Code{FindingExpired}},
		{"SHA-1 on a self-signed root proves nothing and harms nothing", rsaRoot.Cert, CheckOptions{}, nil},
		{"SHA-1 on what only claims to be self-signed", forged, CheckOptions{}, []Code{FindingSigWeak}},
		{"self-signed peer behind the firewall", testpki.SelfSigned([]string{"a.example"}).Cert, CheckOptions{}, []Code{FindingNotCA}},
		{"title with FQDN validation", root.Cert, CheckOptions{FQDN: true}, []Code{FindingFQDN}},
		{"no list is asked", root.Cert, CheckOptions{Anchored: func(*x509.Certificate) bool { return false }}, nil},
	} {
		tc.o.Profile = ProfileCAList
		require.Equal(t, tc.want, codes(Check(nil, []*x509.Certificate{tc.cert}, tc.o)), tc.why)
	}
}

// TestChapterPeerValidation: of a peer the signature algorithm, the version and the
// presence of a name are reported, FQDN validation if asked, and nothing else.
func TestChapterPeerValidation(t *testing.T) {
	bad := testpki.SelfSigned([]string{"a_b"}, testpki.Key(checkRSA1024), testpki.CommonName("x")).Cert
	peer := CheckOptions{Profile: ProfilePeer, Now: time.Now().AddDate(20, 0, 0), Anchored: func(*x509.Certificate) bool { return false }}
	require.Empty(t, Check(nil, []*x509.Certificate{bad}, peer))
	peer.FQDN = true
	require.Equal(t, []Code{FindingFQDN}, codes(Check(nil, []*x509.Certificate{bad}, peer)))
	peer.FQDN = false
	oidSHA256RSA, oidSHA1RSA := []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11}, []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5}
	rsaLeaf := testpki.NewRoot("RSA Root", testpki.Key(checkRSA2048)).Leaf([]string{"mx.example.com"}).Cert
	sha1 := patched(t, rsaLeaf, oidSHA256RSA, oidSHA1RSA)
	two := patched(t, rsaLeaf, []byte{0xa0, 3, 2, 1, 2}, []byte{0xa0, 3, 2, 1, 1})
	nameless := testpki.NewRoot("Root").Leaf(nil).Cert
	for _, tc := range []struct {
		why   string
		chain []*x509.Certificate
		want  []Code
	}{
		{"signature algorithm", []*x509.Certificate{sha1}, []Code{FindingSigWeak}},
		{"and of an issuer", []*x509.Certificate{rsaLeaf, sha1}, []Code{FindingSigWeak}},
		{"version", []*x509.Certificate{two}, []Code{FindingNotV3}},
		{"and of an issuer", []*x509.Certificate{rsaLeaf, two}, []Code{FindingNotV3}},
		{"name", []*x509.Certificate{nameless}, []Code{FindingNameAbsent}},
		{"an issuer needs none", []*x509.Certificate{rsaLeaf, nameless}, nil},
	} {
		require.Equal(t, tc.want, codes(Check(nil, tc.chain, peer)), tc.why)
	}
	peer.Name = "mx.example.com"
	require.Equal(t, []Code{FindingNameAbsent}, codes(Check(nil, []*x509.Certificate{bad, bad}, peer)), "of the leaf only")
}

func TestCheckAppends(t *testing.T) {
	first := []Finding{{Code: FindingKeyReused}}
	got := Check(first, []*x509.Certificate{testpki.SelfSigned([]string{"mx.example.com"}).Cert}, CheckOptions{})
	require.Equal(t, []Code{FindingKeyReused, FindingSelfSigned}, codes(got))
	require.Empty(t, Check(nil, nil, CheckOptions{Anchored: func(*x509.Certificate) bool { return false }}))
}

func soundChain() []*x509.Certificate {
	rsaInter := testpki.NewRoot("Root").Intermediate("One", testpki.Key(checkRSA2048))
	return append(rsaInter.Leaf([]string{"mx.example.com", "*.mx.example.com"}, testpki.Key(testpki.NewECDSA(elliptic.P384()))).Chain(), rsaInter.Issuer.Cert)
}

func TestCheckAllocs(t *testing.T) {
	chain := soundChain()
	o := CheckOptions{Now: time.Now(), Name: "a.mx.example.com", FQDN: true, Anchored: func(*x509.Certificate) bool { return true }}
	lists := CheckOptions{Profile: ProfileCAList, Now: time.Now()}
	peer := CheckOptions{Profile: ProfilePeer, Now: time.Now(), FQDN: true, Name: "mx.example.com"}
	require.Empty(t, Check(nil, chain, o))
	for why, run := range map[string]func(){
		"Check, import":        func() { Check(nil, chain, o) },
		"Check, list":          func() { Check(nil, chain[1:], lists) },
		"Check, peer":          func() { Check(nil, chain, peer) },
		"CheckFQDN":            func() { _ = CheckFQDN("mx.example.com") },
		"CheckCertificateFQDN": func() { _ = CheckCertificateFQDN(chain[0]) },
		"publicEqual":          func() { publicEqual(chain[0].PublicKey, ed25519.PublicKey(nil)) },
	} {
		got := testing.AllocsPerRun(100, run)
		if !raceEnabled {
			require.Zero(t, got, why)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	chain := soundChain()
	o := CheckOptions{Now: time.Now()}
	b.ReportAllocs()
	for b.Loop() {
		if len(Check(nil, chain, o)) != 0 {
			b.Fatal("findings")
		}
	}
}

// TestCheckManyNames: what a certificate of a stranger costs grows with its length
// and no faster, and what is found does not fill a page.
func TestCheckManyNames(t *testing.T) {
	const names = 30_000
	dns := make([]string, names)
	var subject pkix.RDNSequence
	for i := range dns {
		dns[i] = fmt.Sprintf("_%d", i)
		subject = append(subject, pkix.RelativeDistinguishedNameSET{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: fmt.Sprint(i)}})
	}
	cert := testpki.SelfSigned(nil, testpki.Template(func(c *x509.Certificate) {
		c.DNSNames, c.RawSubject = dns, must(asn1.Marshal(subject))
	})).Cert
	for profile, limit := range map[Profile]int{ProfileImport: 2*listedNames + 10, ProfileCAList: 10, ProfilePeer: 10} {
		findings := Check(nil, []*x509.Certificate{cert, cert}, CheckOptions{Profile: profile, FQDN: true, Name: "mx.example.com"})
		require.Less(t, len(findings), limit)
		for _, f := range findings {
			require.Less(t, len(f.Detail), 3000)
		}
	}
	failed, ok := errors.AsType[*FQDNError](CheckCertificateFQDN(cert))
	require.True(t, ok)
	require.Len(t, failed.Names, maxFQDNFailures)
	require.Contains(t, failed.Error(), fmt.Sprintf("and %d more", maxFQDNFailures-listedNames))
	require.Equal(t, fmt.Sprintf("(a name of %d octets)", len(cert.RawSubject)), subjectText(cert))
	_, _, err := Arrange(cert.PublicKey, []*x509.Certificate{cert, cert}, ArrangeOptions{})
	require.NoError(t, err)
	require.Less(t, len((&ConstraintError{Root: cert}).Error()), 200)
}
