package certs

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

func filledForm() Form {
	return Form{
		CommonName: "mx.example.com", Organization: "Example GmbH", OrganizationalUnit: "Poststelle",
		Locality: "Köln", Province: "Nordrhein-Westfalen", Country: "de", Days: 365,
	}
}

func TestFormRefuses(t *testing.T) {
	for _, tc := range []struct {
		why    string
		change func(*Form)
		field  string
		text   string
	}{
		{"the zero form", func(f *Form) { *f = Form{} }, "CommonName", "required"},
		{"no common name", func(f *Form) { f.CommonName = "" }, "CommonName", "required"},
		{"a sentence", func(f *Form) { f.CommonName = "Mail Server" }, "CommonName", "not allowed"},
		{"an address", func(f *Form) { f.CommonName = "192.0.2.1" }, "CommonName", "IP address"},
		{"a NUL in the name", func(f *Form) { f.CommonName = "mx.example.com\x00.evil.example" }, "CommonName", "not allowed"},
		{"a wildcard of a top level", func(f *Form) { f.CommonName = "*.com" }, "CommonName", "two labels"},
		{"a wildcard within a label", func(f *Form) { f.CommonName = "m*.example.com" }, "CommonName", "wildcard"},
		{"254 octets", func(f *Form) { f.CommonName = "*." + strings.Repeat("a.", 125) + "aa" }, "CommonName", "longer than 253"},
		{"organization of 65 characters", func(f *Form) { f.Organization = strings.Repeat("ö", 65) }, "Organization", "64 characters"},
		{"unit of 65 characters", func(f *Form) { f.OrganizationalUnit = strings.Repeat("a", 65) }, "OrganizationalUnit", "64 characters"},
		{"city of 129 characters", func(f *Form) { f.Locality = strings.Repeat("a", 129) }, "Locality", "128 characters"},
		{"state of 129 characters", func(f *Form) { f.Province = strings.Repeat("a", 129) }, "Province", "128 characters"},
		{"control character", func(f *Form) { f.Organization = "a\nb" }, "Organization", "control"},
		{"broken UTF-8", func(f *Form) { f.Locality = "K\xf6ln" }, "Locality", "UTF-8"},
		{"country of three letters", func(f *Form) { f.Country = "USA" }, "Country", "two ASCII letters"},
		{"country of one letter", func(f *Form) { f.Country = "N" }, "Country", "two ASCII letters"},
		{"country with a digit", func(f *Form) { f.Country = "n0" }, "Country", "two ASCII letters"},
		{"country of two octets that are one letter", func(f *Form) { f.Country = "ß" }, "Country", "two ASCII letters"},
		{"country that becomes two letters in upper case only", func(f *Form) { f.Country = "ŉ" }, "Country", "two ASCII letters"},
		{"country with a letter whose upper case is ASCII", func(f *Form) { f.Country = "ſ" }, "Country", "two ASCII letters"},
		{"country with the Turkish i, whose upper case is I", func(f *Form) { f.Country = "ı" }, "Country", "two ASCII letters"},
		{"country with two of them", func(f *Form) { f.Country = "uſ" }, "Country", "two ASCII letters"},
		{"country with signs next to the letters", func(f *Form) { f.Country = "[{" }, "Country", "two ASCII letters"},
		{"SHA-1", func(f *Form) { f.Algorithm = "sha1WithRSAEncryption" }, "Algorithm", "an RSA key is broken"},
		{"MD5", func(f *Form) { f.Algorithm = "md5WithRSAEncryption" }, "Algorithm", "broken"},
		{"SHA-1 with ECDSA", func(f *Form) { f.Algorithm = "ecdsa-with-SHA1" }, "Algorithm", "an ECDSA key is broken"},
		{"unknown algorithm", func(f *Form) { f.Algorithm = "rot13" }, "Algorithm", "rot13"},
		{"no days", func(f *Form) { f.Days = 0 }, "Days", "at least one"},
		{"negative days", func(f *Form) { f.Days = -1 }, "Days", "at least one"},
		{"after the year 9999", func(f *Form) { f.Days = 2_930_000 }, "Days", "9999-12-31"},
		{"days beyond all calendars", func(f *Form) { f.Days = math.MaxInt }, "Days", "9999-12-31"},
		{"a key size with ECDSA", func(f *Form) { f.KeySize = 256 }, "KeySize", "not available"},
		{"RSA of 512 bits", func(f *Form) { f.Algorithm, f.KeySize, f.AllowInsecure1024 = SHA256WithRSA, 512, true }, "KeySize", "2048, 3072 or 4096"},
		{"RSA of 1,023 bits", func(f *Form) { f.Algorithm, f.KeySize, f.AllowInsecure1024 = SHA256WithRSA, 1023, true }, "KeySize", "2048, 3072 or 4096"},
		{"RSA of 1,024 bits, not allowed", func(f *Form) { f.Algorithm, f.KeySize = SHA256WithRSA, 1024 }, "KeySize", "AllowInsecure1024"},
		{"RSA of 8,192 bits", func(f *Form) { f.Algorithm, f.KeySize = SHA256WithRSA, 8192 }, "KeySize", "2048, 3072 or 4096"},
		{"negative size", func(f *Form) { f.Algorithm, f.KeySize = SHA256WithRSA, -1 }, "KeySize", "2048, 3072 or 4096"},
		{"a further name that is none", func(f *Form) { f.DNSNames = []string{"ok.example", "not ok"} }, "DNSNames[1]", "not allowed"},
		{"an empty further name", func(f *Form) { f.DNSNames = []string{""} }, "DNSNames[0]", "empty"},
	} {
		f := filledForm()
		tc.change(&f)
		key, cert, _, err := SelfSigned(f, CreateOptions{})
		var field *FieldError
		require.ErrorAs(t, err, &field, tc.why)
		require.Equal(t, tc.field, field.Field, tc.why)
		require.ErrorContains(t, err, tc.text, tc.why)
		require.True(t, key.IsZero() && cert == nil, tc.why)
	}
}

func TestFormFQDN(t *testing.T) {
	f := filledForm()
	f.CommonName, f.FQDN = "localhost", true
	_, _, _, err := SelfSigned(f, CreateOptions{})
	var failed *FQDNError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, "CN", failed.Names[0].Field)
	f.CommonName = "Bücher.example." // converted before it is judged
	_, cert, _, err := SelfSigned(f, CreateOptions{})
	require.NoError(t, err)
	require.Equal(t, "xn--bcher-kva.example", cert.Subject.CommonName)
	f.CommonName, f.FQDN = "localhost", false
	_, _, _, err = SelfSigned(f, CreateOptions{})
	require.NoError(t, err)
}

func TestSelfSigned(t *testing.T) {
	now := time.Date(2030, 5, 1, 12, 0, 0, 123, time.FixedZone("", 7200))
	o := CreateOptions{Now: func() time.Time { return now }}
	f := filledForm()
	f.DNSNames = []string{"smtp.example.com", "MX.example.com", "*.mx.example.com", "smtp.example.com."}
	key, cert, findings, err := SelfSigned(f, o)
	require.NoError(t, err)
	require.Equal(t, []Code{FindingSelfSigned}, codes(findings))
	require.True(t, publicEqual(key.Public(), cert.PublicKey))
	var order []string // in the order of the form
	for _, a := range cert.Subject.Names {
		order = append(order, a.Value.(string))
	}
	require.Equal(t, []string{"mx.example.com", "Example GmbH", "Poststelle", "Köln", "Nordrhein-Westfalen", "DE"}, order)
	require.Equal(t, []string{"mx.example.com", "smtp.example.com", "*.mx.example.com"}, cert.DNSNames)
	require.Equal(t, 3, cert.Version)
	require.Equal(t, 128, cert.SerialNumber.BitLen())
	require.Equal(t, 1, cert.SerialNumber.Sign())
	require.Equal(t, time.Date(2030, 5, 1, 9, 0, 0, 0, time.UTC), cert.NotBefore)
	require.Equal(t, time.Date(2031, 5, 1, 10, 0, 0, 0, time.UTC), cert.NotAfter)
	require.Equal(t, x509.KeyUsageDigitalSignature, cert.KeyUsage)
	require.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, cert.ExtKeyUsage)
	require.True(t, cert.BasicConstraintsValid)
	require.False(t, cert.IsCA)
	require.Len(t, cert.SubjectKeyId, 20)
	require.True(t, selfSigned(cert))
	_, again, _, err := SelfSigned(f, o)
	require.NoError(t, err)
	require.NotEqual(t, cert.SerialNumber, again.SerialNumber)
	require.False(t, publicEqual(cert.PublicKey, again.PublicKey))
	f.Days = 1 << 21 // to the year 7772, in GeneralizedTime
	_, late, _, err := SelfSigned(f, o)
	require.NoError(t, err)
	require.Equal(t, 7772, late.NotAfter.Year())
}

func TestSelfSignedAlgorithms(t *testing.T) {
	for _, tc := range []struct {
		algorithm Algorithm
		size      int
		kind      string
		want      x509.SignatureAlgorithm
		codes     []Code
	}{
		{"", 0, "ECDSA P-256", x509.ECDSAWithSHA256, []Code{FindingSelfSigned}},
		{ECDSAWithSHA384, 0, "ECDSA P-384", x509.ECDSAWithSHA384, []Code{FindingSelfSigned}},
		{SHA256WithRSA, 0, "RSA-2048", x509.SHA256WithRSA, []Code{FindingSelfSigned}},
		{SHA384WithRSA, 2048, "RSA-2048", x509.SHA384WithRSA, []Code{FindingSelfSigned}},
		{SHA512WithRSA, 1024, "RSA-1024", x509.SHA512WithRSA, []Code{FindingWeakKey, FindingSelfSigned}},
	} {
		f := filledForm()
		f.Algorithm, f.KeySize, f.AllowInsecure1024 = tc.algorithm, tc.size, true
		key, cert, findings, err := SelfSigned(f, CreateOptions{})
		require.NoError(t, err, tc.algorithm)
		require.Equal(t, tc.kind, keyKind(key.Public()))
		require.Equal(t, tc.want, cert.SignatureAlgorithm)
		require.Equal(t, tc.codes, codes(findings))
		_, isRSA := key.Public().(*rsa.PublicKey)
		require.Equal(t, isRSA, cert.KeyUsage&x509.KeyUsageKeyEncipherment != 0)
	}
}

func TestSelfSignedLongName(t *testing.T) {
	f := Form{CommonName: strings.Repeat("a.", 31) + "ex", Days: 1} // 64 octets
	_, cert, findings, err := SelfSigned(f, CreateOptions{})
	require.NoError(t, err)
	require.Equal(t, f.CommonName, cert.Subject.CommonName)
	require.NotContains(t, codes(findings), FindingCNOmitted)
	f.CommonName = "a" + f.CommonName
	_, cert, findings, err = SelfSigned(f, CreateOptions{})
	require.NoError(t, err)
	require.Empty(t, cert.Subject.Names)
	require.Equal(t, []string{f.CommonName}, cert.DNSNames)
	require.Equal(t, []Code{FindingCNOmitted, FindingSelfSigned}, codes(findings), "the SAN is critical, so the empty subject is none")
}

func TestSelfSignedBrokenRandomness(t *testing.T) {
	_, _, _, err := SelfSigned(filledForm(), CreateOptions{Rand: bytes.NewReader(nil)})
	require.Error(t, err)
}

func TestCertificateRequest(t *testing.T) {
	for _, algorithm := range []Algorithm{ECDSAWithSHA256, ECDSAWithSHA384, SHA512WithRSA} {
		f := filledForm()
		f.Algorithm, f.DNSNames = algorithm, []string{"*.mx.example.com"}
		key, cert, _, err := SelfSigned(f, CreateOptions{})
		require.NoError(t, err)
		text, err := CertificateRequest(key, cert, nil)
		require.NoError(t, err)
		b, rest := pem.Decode(text)
		require.Empty(t, rest)
		require.Equal(t, "CERTIFICATE REQUEST", b.Type)
		request, err := x509.ParseCertificateRequest(b.Bytes)
		require.NoError(t, err)
		require.NoError(t, request.CheckSignature())
		require.Equal(t, cert.RawSubject, request.RawSubject)
		require.Equal(t, cert.DNSNames, request.DNSNames)
		require.Equal(t, cert.SignatureAlgorithm, request.SignatureAlgorithm)
		require.True(t, publicEqual(key.Public(), request.PublicKey), "asking makes no key")
	}
	key, cert, _, err := SelfSigned(filledForm(), CreateOptions{})
	require.NoError(t, err)
	_, err = CertificateRequest(PrivateKey{}, cert, nil)
	require.ErrorIs(t, err, ErrNoKey)
	_, err = CertificateRequest(key, nil, nil)
	require.ErrorIs(t, err, ErrNoCertificate)
	_, err = CertificateRequest(key, testpki.SelfSigned(nil).Cert, nil)
	require.ErrorIs(t, err, ErrKeyMismatch)
	imported := testpki.NewRoot("Root", testpki.Key(checkRSA2048)).Leaf([]string{"mx.example.com"}, testpki.Key(testpki.NewEd25519()))
	key, err = NewPrivateKey(imported.Key)
	require.NoError(t, err)
	_, err = CertificateRequest(key, imported.Cert, nil)
	require.NoError(t, err, "an imported entry whose issuer signs with another kind of key")
}

func TestNamesChanged(t *testing.T) {
	cert := func(cn string, names ...string) *x509.Certificate {
		return testpki.SelfSigned(names, testpki.CommonName(cn)).Cert
	}
	for _, tc := range []struct {
		why         string
		former, now *x509.Certificate
		changed     bool
	}{
		{"the same", cert("a.example", "a.example", "b.example"), cert("a.example", "b.example", "a.example"), false},
		{"letter case", cert("a.example", "A.example"), cert("A.EXAMPLE", "a.example"), false},
		{"the authority left out the common name", cert("a.example", "a.example"), cert("", "a.example"), false},
		{"one less", cert("a.example", "a.example", "b.example"), cert("a.example", "a.example"), true},
		{"one more", cert("a.example", "a.example"), cert("a.example", "a.example", "www.a.example"), true},
		{"other common name", cert("a.example", "b.example"), cert("c.example", "b.example"), true},
		{"none left", cert("a.example"), cert(""), true},
	} {
		got := namesChanged(nil, tc.former, tc.now)
		require.Equal(t, tc.changed, len(got) == 1, tc.why)
		if tc.changed {
			require.Equal(t, FindingNamesChanged, got[0].Code)
			require.Equal(t, fingerprint(tc.now), got[0].Cert)
		}
	}
}
