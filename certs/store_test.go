package certs

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// The tests of this file go through what the AsyncOS chapter lets an operator do
// with certificates, row by row, over both backings.

func TestChapterCreateSelfSigned(t *testing.T) {
	overBackings(t, func(t *testing.T, storage Storage) {
		s := openStore(t, StoreOptions{Storage: storage})
		form := Form{CommonName: "mx.example.com", Organization: "Example GmbH", OrganizationalUnit: "Mail", Locality: "Köln",
			Province: "NRW", Country: "de", Algorithm: SHA256WithRSA, KeySize: 2048, Days: 365}
		r, err := s.CreateSelfSigned("Inbound", form)
		require.NoError(t, err)
		require.Equal(t, "Inbound", r.Name)
		require.Equal(t, Digests{true, true, true}, r.Changed)
		require.Equal(t, []Code{FindingSelfSigned}, codes(r.Findings))
		d := detail(t, s, "inbound")
		require.Equal(t, "Inbound", d.Name, "the letter case is the operator's")
		require.Equal(t, OriginSelfSigned, d.Origin)
		require.Equal(t, "RSA-2048", d.KeyKind)
		require.Equal(t, "CN=mx.example.com,O=Example GmbH,OU=Mail,L=Köln,ST=NRW,C=DE", reversedDN(d.Chain[0]))
		require.Equal(t, []string{"mx.example.com"}, d.DNSNames)

		_, err = s.CreateSelfSigned("bad", Form{CommonName: "mx.example.com", Country: "USA", Days: 1})
		var field *FieldError
		require.ErrorAs(t, err, &field)
		require.Equal(t, "Country", field.Field)
		_, err = s.CreateSelfSigned("bad", Form{})
		require.ErrorAs(t, err, &field)
		_, err = s.CreateSelfSigned("", Form{})
		require.ErrorAs(t, err, &field)
		require.Equal(t, "CommonName", field.Field)
		_, err = s.Detail("bad")
		require.ErrorIs(t, err, ErrNotFound)
	})
}

func reversedDN(cert *x509.Certificate) string {
	var parts []string
	for _, name := range cert.Subject.Names {
		key := map[string]string{"2.5.4.3": "CN", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.6": "C"}[name.Type.String()]
		parts = append(parts, key+"="+name.Value.(string))
	}
	return strings.Join(parts, ",")
}

func TestChapterFQDNValidation(t *testing.T) {
	overBackings(t, func(t *testing.T, storage Storage) {
		s := openStore(t, StoreOptions{Storage: storage})
		var fqdn *FQDNError
		_, err := s.CreateSelfSigned("x", Form{CommonName: "mailhost", Days: 1, FQDN: true})
		require.ErrorAs(t, err, &fqdn)
		bad := storePair(t, testpki.SelfSigned([]string{"mailhost", "mx.example.com"}))
		_, err = s.ImportPEM("x", bad, ImportOptions{FQDN: true})
		require.ErrorAs(t, err, &fqdn)
		list, err := s.List()
		require.NoError(t, err)
		require.Empty(t, list, "nothing is stored")
		r, err := s.ImportPEM("x", bad, ImportOptions{FQDN: true, FQDNWarnOnly: true})
		require.NoError(t, err)
		require.Contains(t, codes(r.Findings), FindingFQDN)
		_, err = s.Install("x", storedPEM(detail(t, s, "x").Chain...), InstallOptions{FQDN: true})
		require.ErrorAs(t, err, &fqdn)
	})
}

func TestChapterNameDefaultsToCommonName(t *testing.T) {
	overBackings(t, func(t *testing.T, storage Storage) {
		s := openStore(t, StoreOptions{Storage: storage})
		r, err := s.CreateSelfSigned("", Form{CommonName: "MX.Bücher.example", Days: 1})
		require.NoError(t, err)
		require.Equal(t, "mx.xn--bcher-kva.example", r.Name)
		r, err = s.ImportPEM("", storePair(t, testpki.SelfSigned([]string{"Other.example"})), ImportOptions{})
		require.NoError(t, err)
		require.Equal(t, "Other.example", r.Name)
		r, err = s.ImportPEM("", storePair(t, testpki.SelfSigned([]string{"san.example"}, testpki.CommonName(""))), ImportOptions{})
		require.NoError(t, err)
		require.Equal(t, "san.example", r.Name, "no common name: the first dNSName")
		var field *FieldError
		_, err = s.ImportPEM("", storePair(t, testpki.SelfSigned(nil)), ImportOptions{})
		require.ErrorAs(t, err, &field, "no name at all")
		for _, again := range []string{"OTHER.example", "other.EXAMPLE"} {
			_, err = s.CreateSelfSigned(again, Form{CommonName: "x.example", Days: 1})
			require.ErrorIs(t, err, ErrExists, "names are compared without letter case")
		}
	})
}

func TestChapterDownloadCSR(t *testing.T) {
	overBackings(t, func(t *testing.T, storage Storage) {
		s := openStore(t, StoreOptions{Storage: storage})
		_, err := s.CreateSelfSigned("mx", Form{CommonName: "mx.example.com", DNSNames: []string{"*.example.com"}, Days: 9})
		require.NoError(t, err)
		first, err := s.CSR("mx")
		require.NoError(t, err)
		csr := parseRequest(t, first)
		require.Equal(t, []string{"mx.example.com", "*.example.com"}, csr.DNSNames)
		require.Equal(t, detail(t, s, "mx").Chain[0].RawSubject, csr.RawSubject)
		key, err := s.Signer("mx")
		require.NoError(t, err)
		require.True(t, publicEqual(key.Public(), csr.PublicKey))
		again, err := s.CSR("MX")
		require.NoError(t, err)
		require.Equal(t, first, again)
		require.NoError(t, storage.WriteFile("entries/mx/request.csr", []byte("broken")))
		other, err := s.CSR("mx")
		require.NoError(t, err)
		require.True(t, publicEqual(csr.PublicKey, parseRequest(t, other).PublicKey), "never another key")
		_, err = s.ImportPEM("imported", storePair(t, testpki.NewRoot("r").Leaf([]string{"i.example"})), ImportOptions{})
		require.NoError(t, err)
		other, err = s.CSR("imported")
		require.NoError(t, err)
		require.Equal(t, []string{"i.example"}, parseRequest(t, other).DNSNames)
		_, err = s.CSR("absent")
		require.ErrorIs(t, err, ErrNotFound)
	})
}

func TestChapterUploadSigned(t *testing.T) {
	root := testpki.NewRoot("Root")
	intermediate := root.Intermediate("Intermediate")
	overBackings(t, func(t *testing.T, storage Storage) {
		trust, err := NewTrustStore(TrustOptions{Storage: Lists(storage)})
		require.NoError(t, err)
		s := openStore(t, StoreOptions{Storage: storage, Trust: trust})
		created(t, s, "mx.example.com")
		self := detail(t, s, "mx.example.com").Chain[0]
		request, err := s.CSR("mx.example.com")
		require.NoError(t, err)
		signed := signRequest(t, intermediate, request)
		decoy := testpki.NewRoot("Intermediate").Cert
		input := []byte("text in front\n" + string(storedPEM(root.Cert, decoy, signed, intermediate.Cert)))
		r, err := s.Install("mx.example.com", input, InstallOptions{})
		require.NoError(t, err)
		require.Equal(t, Digests{Certificate: true, Issuers: true}, r.Changed, "TLSA 3 1 1 stays")
		require.Equal(t, []Code{FindingUnused, FindingIssuerNotListed}, codes(r.Findings))
		d := detail(t, s, "mx.example.com")
		require.Equal(t, []*x509.Certificate{signed, intermediate.Cert}, d.Chain)
		require.Equal(t, []*x509.Certificate{self}, d.Previous)
		require.Equal(t, OriginCASigned, d.Origin)

		// DER, and only the leaf.
		alone := signRequest(t, intermediate, request)
		r, err = s.Install("mx.example.com", alone.Raw, InstallOptions{})
		require.NoError(t, err)
		require.Contains(t, codes(r.Findings), FindingChainIncomplete)
		require.Equal(t, []*x509.Certificate{signed, intermediate.Cert}, detail(t, s, "mx.example.com").Previous)
	})
}

func TestChapterUploadSignedFindings(t *testing.T) {
	now := time.Now()
	root := testpki.NewRoot("Root", testpki.Valid(now.Add(-99*day), now.Add(99*day)))
	expired := root.Intermediate("Expired", testpki.Valid(now.Add(-9*day), now.Add(-day)))
	overBackings(t, func(t *testing.T, storage Storage) {
		s := openStore(t, StoreOptions{Storage: storage})
		created(t, s, "mx.example.com")
		request, err := s.CSR("mx.example.com")
		require.NoError(t, err)
		for _, tc := range []struct {
			why    string
			leaf   *x509.Certificate
			chain  []*x509.Certificate
			wanted Code
		}{
			{"expired", signRequest(t, root, request, testpki.Valid(now.Add(-2*day), now.Add(-day))), nil, FindingExpired},
			{"not yet valid", signRequest(t, root, request, testpki.Valid(now.Add(day), now.Add(2*day))), nil, FindingNotYetValid},
			{"issuer expired", signRequest(t, expired, request), []*x509.Certificate{expired.Cert}, FindingChainExpired},
			{"other names", signRequest(t, root, request, testpki.Template(func(c *x509.Certificate) { c.DNSNames = []string{"other.example"} })), nil, FindingNamesChanged},
			{"incomplete", signRequest(t, expired, request, testpki.Template(func(c *x509.Certificate) { c.IssuingCertificateURL = []string{"http://ca.example/i.cer"} })), nil, FindingChainIncomplete},
			{"not of the chain", signRequest(t, root, request), []*x509.Certificate{root.Cert, expired.Cert}, FindingUnused},
			{"an authority", signRequest(t, root, request, testpki.Template(func(c *x509.Certificate) { c.IsCA = true })), []*x509.Certificate{root.Cert}, FindingCAAsLeaf},
		} {
			r, err := s.Install("mx.example.com", storedPEM(append(tc.chain, tc.leaf)...), InstallOptions{})
			require.NoError(t, err, tc.why)
			require.Contains(t, codes(r.Findings), tc.wanted, tc.why)
			require.Equal(t, tc.leaf, detail(t, s, "mx.example.com").Chain[0], tc.why)
			if tc.wanted == FindingChainIncomplete {
				require.Contains(t, findingOf(r.Findings, tc.wanted).Detail, "http://ca.example/i.cer")
			}
		}
	})
}

func findingOf(findings []Finding, code Code) Finding {
	for _, f := range findings {
		if f.Code == code {
			return f
		}
	}
	return Finding{}
}

func TestChapterUploadSignedRefused(t *testing.T) {
	root := testpki.NewRoot("Root")
	overBackings(t, func(t *testing.T, storage Storage) {
		s := openStore(t, StoreOptions{Storage: storage})
		created(t, s, "mx.example.com")
		before := detail(t, s, "mx.example.com")
		stranger := root.Leaf([]string{"mx.example.com"})
		_, err := s.Install("mx.example.com", storedPEM(stranger.Cert), InstallOptions{})
		require.ErrorIs(t, err, ErrKeyMismatch)
		_, err = s.Install("mx.example.com", storePair(t, stranger), InstallOptions{})
		require.ErrorIs(t, err, ErrKeyMismatch, "a pair of its own")
		_, err = s.Install("mx.example.com", []byte("rubbish"), InstallOptions{})
		var parse *ParseError
		require.ErrorAs(t, err, &parse)
		_, err = s.Install("mx.example.com", []byte("-----BEGIN PKCS7-----\nMAA=\n-----END PKCS7-----\n"), InstallOptions{})
		var unsupported *UnsupportedError
		require.ErrorAs(t, err, &unsupported)
		require.Contains(t, err.Error(), "openssl pkcs7")
		_, err = s.Install("mx.example.com", nil, InstallOptions{})
		require.ErrorIs(t, err, ErrNoCertificate)
		_, err = s.Install("absent", storedPEM(stranger.Cert), InstallOptions{})
		require.ErrorIs(t, err, ErrNotFound)
		require.Equal(t, before, detail(t, s, "mx.example.com"))
		again := openStore(t, StoreOptions{Storage: storage})
		require.Equal(t, before, detail(t, again, "mx.example.com"))
	})
}

func TestChapterUploadIntermediate(t *testing.T) {
	root := testpki.NewRoot("Root")
	two := root.Intermediate("Two")
	one := two.Intermediate("One")
	overBackings(t, func(t *testing.T, storage Storage) {
		s := openStore(t, StoreOptions{Storage: storage})
		created(t, s, "mx.example.com")
		self := detail(t, s, "mx.example.com").Chain[0]
		request, err := s.CSR("mx.example.com")
		require.NoError(t, err)
		leaf := signRequest(t, one, request)
		r, err := s.Install("mx.example.com", storedPEM(leaf), InstallOptions{Intermediates: storedPEM(one.Cert)})
		require.NoError(t, err)
		require.Contains(t, codes(r.Findings), FindingChainIncomplete)
		r, err = s.AddIntermediates("mx.example.com", storedPEM(testpki.NewRoot("Stranger").Cert, root.Cert, two.Cert, one.Cert))
		require.NoError(t, err)
		require.NotContains(t, codes(r.Findings), FindingChainIncomplete)
		require.Contains(t, codes(r.Findings), FindingUnused)
		require.NotContains(t, codes(r.Findings), FindingDuplicate)
		require.Equal(t, Digests{Issuers: true}, r.Changed)
		d := detail(t, s, "mx.example.com")
		require.Equal(t, []*x509.Certificate{leaf, one.Cert, two.Cert}, d.Chain)
		require.Equal(t, []*x509.Certificate{self}, d.Previous, "the generation before is still the one of another leaf")
		_, err = s.AddIntermediates("mx.example.com", storedPEM(signRequest(t, one, request)))
		require.ErrorIs(t, err, ErrExists)
		_, err = s.AddIntermediates("mx.example.com", nil)
		require.ErrorIs(t, err, ErrNoCertificate)
		_, err = s.AddIntermediates("mx.example.com", storePair(t, root.Leaf([]string{"x.example"})))
		require.ErrorIs(t, err, ErrKeyMismatch)
	})
}

func TestChapterIssuerMustBeListed(t *testing.T) {
	root := testpki.NewRoot("Root")
	overBackings(t, func(t *testing.T, storage Storage) {
		trust, err := NewTrustStore(TrustOptions{Storage: Lists(storage)})
		require.NoError(t, err)
		s := openStore(t, StoreOptions{Storage: storage, Trust: trust})
		_, err = s.ImportPEM("mx", storePair(t, root.Leaf([]string{"mx.example.com"})), ImportOptions{})
		require.NoError(t, err)
		require.Contains(t, codes(detail(t, s, "mx").All), FindingIssuerNotListed)
		_, err = trust.AddCertificates(root.Cert)
		require.NoError(t, err)
		require.NotContains(t, codes(detail(t, s, "mx").All), FindingIssuerNotListed)
		again, err := NewTrustStore(TrustOptions{Storage: Lists(storage)})
		require.NoError(t, err)
		require.True(t, again.Anchored(root.Cert), "the storage keeps the custom list")
		require.NoError(t, trust.Enable(CustomCAs, false))
		require.Contains(t, codes(detail(t, s, "mx").All), FindingIssuerNotListed)
		again, err = NewTrustStore(TrustOptions{Storage: Lists(storage)})
		require.NoError(t, err)
		require.False(t, again.Enabled(CustomCAs), "and the settings")
		names, err := storage.ReadDir("ca")
		require.NoError(t, err)
		require.Equal(t, []string{"custom.txt", "settings.json"}, names)
	})
}

func TestChapterNonCompliantIsImportedWithWarning(t *testing.T) {
	overBackings(t, func(t *testing.T, storage Storage) {
		s := openStore(t, StoreOptions{Storage: storage})
		old := testpki.SelfSigned(nil, testpki.Valid(time.Now().Add(-99*day), time.Now().Add(-day)))
		r, err := s.ImportPEM("odd", storePair(t, old), ImportOptions{})
		require.NoError(t, err)
		require.Subset(t, codes(r.Findings), []Code{FindingExpired, FindingNameAbsent})
		worst, _ := Worst(r.Findings)
		require.Equal(t, SeverityWarning, worst)
		require.Equal(t, OriginImported, detail(t, s, "odd").Origin)
	})
}

func TestChapterListAndPrint(t *testing.T) {
	root := testpki.NewRoot("Root")
	intermediate := root.Intermediate("Intermediate")
	overBackings(t, func(t *testing.T, storage Storage) {
		s := openStore(t, StoreOptions{Storage: storage})
		leaf := intermediate.Leaf([]string{"b.example"}, testpki.Valid(time.Now().Add(-day), time.Now().Add(99*day)))
		_, err := s.ImportPEM("B", storePair(t, leaf), ImportOptions{})
		require.NoError(t, err)
		created(t, s, "a.example")
		_, err = s.ImportPEM("c", storePair(t, leaf), ImportOptions{})
		require.NoError(t, err)
		_, err = s.Assign("https", "B")
		require.NoError(t, err)
		for range 2 {
			list, err := s.List()
			require.NoError(t, err)
			require.Len(t, list, 3)
			require.Equal(t, []string{"a.example", "B", "c"}, []string{list[0].Name, list[1].Name, list[2].Name})
			b := list[1]
			require.Equal(t, "CN=Intermediate", b.Issuer)
			require.Equal(t, "b.example", b.CommonName)
			require.Equal(t, leaf.Cert.NotAfter, b.NotAfter)
			require.Equal(t, []string{"https"}, b.Roles)
			require.Equal(t, OriginImported, b.Origin)
			require.Equal(t, "ECDSA P-256", b.KeyKind)
			d := detail(t, s, "b")
			require.Equal(t, leaf.Chain(), d.Chain)
			require.Equal(t, fingerprint(leaf.Cert), d.SHA256)
			require.Contains(t, codes(d.All), FindingKeyReused)
			require.False(t, d.Created.IsZero())
			text, err := s.CertificatePEM("b")
			require.NoError(t, err)
			require.Equal(t, storedPEM(leaf.Chain()...), text)
			s = openStore(t, StoreOptions{Storage: storage}) // once more, as it was stored
		}
	})
}

func TestChapterAcceptedFindings(t *testing.T) {
	overBackings(t, func(t *testing.T, storage Storage) {
		s := openStore(t, StoreOptions{Storage: storage})
		created(t, s, "a.example")
		require.Equal(t, FindingSelfSigned, detail(t, s, "a.example").Worst.Code)
		require.NoError(t, s.Accept("a.example", FindingSelfSigned))
		s = openStore(t, StoreOptions{Storage: storage})
		d := detail(t, s, "a.example")
		require.Empty(t, d.Worst.Code)
		require.Zero(t, d.Findings)
		require.Equal(t, []Code{FindingSelfSigned}, codes(d.All))
		require.Equal(t, []Code{FindingSelfSigned}, d.Accepted)
		require.NoError(t, s.Accept("a.example"))
		require.Equal(t, 1, detail(t, s, "a.example").Findings)
	})
}

func TestChapterCluster(t *testing.T) {
	hosts := []string{"mx1.example.com", "MX2.example.com"}
	overBackings(t, func(t *testing.T, storage Storage) {
		s := openStore(t, StoreOptions{Storage: storage})
		created(t, s, "mx1.example.com")
		missing, err := s.Covers("mx1.example.com", hosts...)
		require.NoError(t, err)
		require.Equal(t, []string{"MX2.example.com"}, missing)
		err = s.SetLevel("mx1.example.com", LevelCluster, hosts...)
		var uncovered *NotCoveredError
		require.ErrorAs(t, err, &uncovered)
		require.Equal(t, []string{"mx2.example.com"}, uncovered.Hosts)
		require.Equal(t, LevelMachine, detail(t, s, "mx1.example.com").Level)

		_, err = s.CreateSelfSigned("shared", Form{CommonName: "*.example.com", Days: 90})
		require.NoError(t, err)
		require.NoError(t, s.SetLevel("shared", LevelCluster, hosts...))
		s = openStore(t, StoreOptions{Storage: storage})
		require.Equal(t, LevelCluster, detail(t, s, "shared").Level)
		request, err := s.CSR("shared")
		require.NoError(t, err)
		one := signRequest(t, testpki.NewRoot("r"), request, testpki.Template(func(c *x509.Certificate) { c.DNSNames = []string{"mx1.example.com"} }))
		_, err = s.Install("shared", storedPEM(one), InstallOptions{})
		require.ErrorAs(t, err, &uncovered, "later certificates must cover the members, too")
		require.NoError(t, s.SetLevel("shared", LevelMachine))
		_, err = s.Install("shared", storedPEM(one), InstallOptions{})
		require.NoError(t, err)
		var field *FieldError
		for _, err := range []error{s.SetLevel("shared", "galaxy"), s.SetLevel("shared", LevelCluster), s.SetLevel("shared", LevelCluster, "192.0.2.1"), s.SetLevel("shared", LevelMachine, "a.example")} {
			require.ErrorAs(t, err, &field)
		}
	})
	require.Equal(t, []string{"a.example"}, Covers(testpki.SelfSigned(nil, testpki.CommonName("a.example")).Cert, "a.example"), "a common name alone is no SAN certificate")
}
