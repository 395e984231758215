package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smtpsec/smtpsec/internal/p12"
	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"
)

var pkcs12Pass = []byte("geheim-ü")

// pkcs12Store is a store with an entry "mx" of a leaf and an intermediate.
func pkcs12Store(t testing.TB, mods ...testpki.Mod) (*Store, *testpki.Leaf) {
	t.Helper()
	s := openStore(t, StoreOptions{})
	leaf := testpki.NewRoot("Root").Intermediate("Intermediate").Leaf([]string{"mx.example.com"}, mods...)
	_, err := s.ImportPEM("mx", storePair(t, leaf), ImportOptions{})
	require.NoError(t, err)
	return s, leaf
}

// Export, then import into a store with the other backing: the same octets.
func TestChapterExportAndImportPKCS12(t *testing.T) {
	for why, key := range map[string]testpki.Mod{"ECDSA": func(*testpki.Request) {}, "RSA": testpki.Key(testpki.NewRSA(2048)), "Ed25519": testpki.Key(testpki.NewEd25519())} {
		s, leaf := pkcs12Store(t, key)
		for _, profile := range []PKCS12Profile{"", Modern2023, LegacyDES} {
			data, err := s.ExportPKCS12("MX", ExportOptions{Passphrase: pkcs12Pass, Confirm: pkcs12Pass, Profile: profile})
			require.NoError(t, err, "%s %s", why, profile)
			inspection, err := Inspect(data, pkcs12Pass, InspectOptions{})
			require.NoError(t, err)
			require.Len(t, inspection.Keys, 1)
			require.Equal(t, leaf.Chain(), inspection.Keys[0].Chain, "look at it first")
			require.NoError(t, inspection.Keys[0].Err)
			overBackings(t, func(t *testing.T, storage Storage) {
				to := openStore(t, StoreOptions{Storage: storage})
				r, err := to.ImportPKCS12("", data, ImportOptions{Passphrase: pkcs12Pass})
				require.NoError(t, err)
				require.Equal(t, "mx.example.com", r.Name)
				d := detail(t, to, r.Name)
				require.Equal(t, leaf.Chain(), d.Chain)
				require.Equal(t, OriginImported, d.Origin)
				a, err := s.Signer("mx")
				require.NoError(t, err)
				b, err := to.Signer(r.Name)
				require.NoError(t, err)
				one, err := a.pkcs8()
				require.NoError(t, err)
				two, err := b.pkcs8()
				require.NoError(t, err)
				require.Equal(t, one, two)
				_, err = to.ImportPKCS12(r.Name, data, ImportOptions{Passphrase: pkcs12Pass})
				require.ErrorIs(t, err, ErrExists)
				_, err = to.ImportPKCS12("wrong", data, ImportOptions{Passphrase: []byte("wrong")})
				require.ErrorIs(t, err, ErrPassphrase)
				_, err = to.ImportPKCS12("wrong", data, ImportOptions{})
				require.ErrorIs(t, err, ErrPassphrase, "an empty one on a protected file")
			})
		}
	}
}

func TestExportPKCS12Refuses(t *testing.T) {
	s, _ := pkcs12Store(t)
	var field *FieldError
	export := func(o ExportOptions) error { _, err := s.ExportPKCS12("mx", o); return err }
	same := func(p string) ExportOptions { return ExportOptions{Passphrase: []byte(p), Confirm: []byte(p)} }
	require.ErrorIs(t, export(ExportOptions{Passphrase: []byte("a"), Confirm: []byte("b")}), ErrPassphraseConfirm)
	require.ErrorIs(t, export(ExportOptions{Passphrase: []byte("a")}), ErrPassphraseConfirm)
	require.ErrorAs(t, export(ExportOptions{}), &field)
	require.ErrorIs(t, export(same("smile \U0001F600")), ErrPassphraseCharset, "beyond U+FFFF")
	require.ErrorIs(t, export(same("\xff")), ErrPassphraseCharset, "not UTF-8")
	require.ErrorIs(t, export(same("a\x00b")), ErrPassphraseCharset, "other programs stop at NUL")
	o := same("a")
	o.Profile = "RC2"
	require.ErrorAs(t, export(o), &field)
	_, err := s.ExportPKCS12("absent", same("a"))
	require.ErrorIs(t, err, ErrNotFound)
	o = ExportOptions{AllowEmptyPassphrase: true}
	data, err := s.ExportPKCS12("mx", o)
	require.NoError(t, err)
	_, err = s.ImportPKCS12("again", data, ImportOptions{})
	require.NoError(t, err)
}

// Position means nothing: where a root is stored first, the leaf is still the one
// of the key.
func TestImportPKCS12IgnoresPositions(t *testing.T) {
	root := testpki.NewRoot("Root")
	leaf := root.Intermediate("Intermediate").Leaf([]string{"mx.example.com"})
	decoy := testpki.NewRoot("Intermediate").Cert
	data, err := pkcs12.Modern2023.Encode(leaf.Key, root.Cert, []*x509.Certificate{decoy, leaf.Issuer.Cert, leaf.Cert, leaf.Cert}, "x")
	require.NoError(t, err)
	s := openStore(t, StoreOptions{})
	r, err := s.ImportPKCS12("mx", data, ImportOptions{Passphrase: []byte("x")})
	require.NoError(t, err)
	require.Equal(t, leaf.Chain(), detail(t, s, "mx").Chain)
	require.ElementsMatch(t, []Code{FindingDuplicate, FindingUnused}, codes(r.Findings))
	_, err = s.ImportPKCS12("with root", data, ImportOptions{Passphrase: []byte("x"), IncludeRoot: true})
	require.NoError(t, err)
	require.Equal(t, leaf.ChainWithRoot(), detail(t, s, "with root").Chain)
	again := openStore(t, StoreOptions{Storage: s.options.Storage})
	require.Equal(t, leaf.ChainWithRoot(), detail(t, again, "with root").Chain, "as it was stored")
}

func TestImportPKCS12Errors(t *testing.T) {
	leaf, other := testpki.SelfSigned([]string{"a.example"}), testpki.SelfSigned([]string{"b.example"})
	encode := func(e *pkcs12.Encoder, key any, cert *x509.Certificate) []byte {
		data, err := e.Encode(key, cert, nil, "x")
		require.NoError(t, err)
		return data
	}
	trust, err := pkcs12.Modern2023.EncodeTrustStore([]*x509.Certificate{leaf.Cert}, "x")
	require.NoError(t, err)
	good := encode(pkcs12.Modern2023, leaf.Key, leaf.Cert)
	// The count of the MAC is the last number in the file.
	manyIterations := encode(pkcs12.LegacyDES.WithIterations(0x10000), leaf.Key, leaf.Cert)
	require.True(t, bytes.HasSuffix(manyIterations, []byte{2, 3, 1, 0, 0}))
	copy(manyIterations[len(manyIterations)-3:], []byte{0x7f, 0xff, 0xff})
	noMAC, err := pkcs12.Passwordless.Encode(leaf.Key, leaf.Cert, nil, "")
	require.NoError(t, err)
	for _, tc := range []struct {
		why  string
		data []byte
		want error
		text string
	}{
		{"no key", trust, ErrNoKey, "list of authorities"},
		{"key of another", encode(pkcs12.Modern2023, other.Key, leaf.Cert), ErrKeyMismatch, ""},
		{"no MAC", noMAC, ErrNoMAC, ""},
		{"PEM", storePair(t, leaf), ErrMalformed, "PEM"},
		{"Java keystore", append([]byte("\xfe\xed\xfe\xed\x00\x00\x00\x02"), make([]byte, 50)...), ErrMalformed, "Java"},
		{"certificate", leaf.Cert.Raw, ErrMalformed, ""},
		{"empty", nil, ErrMalformed, ""},
		{"cut off", good[:len(good)-5], ErrMalformed, ""},
		{"more behind", append(bytes.Clone(good), 0), ErrMalformed, ""},
		{"too large", append(bytes.Clone(good), make([]byte, p12.MaxSize)...), ErrTooLarge, ""},
		{"damaged under its MAC", func() []byte { d := bytes.Clone(good); d[len(d)/2] ^= 1; return d }(), ErrPassphrase, ""},
		{"too many iterations", manyIterations, ErrIterations, ""},
	} {
		s := openStore(t, StoreOptions{})
		_, err := s.ImportPKCS12("a", tc.data, ImportOptions{Passphrase: []byte("x")})
		require.ErrorIs(t, err, tc.want, tc.why)
		require.ErrorContains(t, err, tc.text, tc.why)
		list, err := s.List()
		require.NoError(t, err)
		require.Empty(t, list, tc.why)
	}
	// A file of certificates can be looked at, and goes to the custom list.
	inspection, err := Inspect(trust, []byte("x"), InspectOptions{})
	require.NoError(t, err)
	require.Empty(t, inspection.Keys)
	lists := openTrust(t, TrustOptions{})
	report, err := lists.AddCertificates(inspection.Certificates...)
	require.NoError(t, err)
	require.Len(t, report.Added, 1)
	inspection, err = Inspect(encode(pkcs12.Modern2023, other.Key, leaf.Cert), []byte("x"), InspectOptions{})
	require.NoError(t, err)
	require.ErrorIs(t, inspection.Keys[0].Err, ErrKeyMismatch)
	var fqdn *FQDNError
	_, err = openStore(t, StoreOptions{}).ImportPKCS12("a", encode(pkcs12.Modern2023, leaf.Key, testpki.SelfSigned([]string{"host"}, testpki.Key(leaf.Key)).Cert), ImportOptions{Passphrase: []byte("x"), FQDN: true})
	require.ErrorAs(t, err, &fqdn)
}

// testPKCS12 reads one of the files of other programs that package p12 keeps.
func testPKCS12(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../internal/p12/testdata", name+".p12"))
	require.NoError(t, err)
	return data
}

func TestImportPKCS12OfOtherPrograms(t *testing.T) {
	for _, tc := range []struct {
		name, passphrase string // "" is "test-only", "-" the empty one
		want             error  // nil: a leaf and its intermediate
		oid              string
	}{
		{"openssl-default", "", nil, ""},
		{"openssl-legacy", "", nil, ""},
		{"openssl-descert", "", nil, ""},
		{"openssl-sha512", "", nil, ""},
		{"openssl-certpbe-none", "", nil, ""},
		{"openssl-keypbe-none", "", nil, ""},
		{"openssl-microsoft", "", nil, ""},
		{"openssl-names", "", nil, ""},
		{"openssl-empty", "-", nil, ""},
		{"openssl-empty", "", ErrPassphrase, ""},
		{"openssl-utf8", "p\u00e4ssw\u00f6rd\u20ac", nil, ""},
		{"openssl-utf8", "p\xe4ssw\xf6rd", ErrPassphraseCharset, ""},
		{"openssl-several", "", nil, ""}, // with a foreign leaf
		{"openssl-nokeys", "", ErrNoKey, ""},
		{"openssl-nomac", "", ErrNoMAC, ""},
		{"openssl-md5", "", nil, "1.2.840.113549.2.5"},
		{"openssl-rc4", "", nil, "1.2.840.113549.1.12.1.1"},
		{"openssl-camellia", "", nil, "1.2.392.200011.61.1.1.1.2"},
		{"gnutls-default", "", nil, ""},
		{"nss-3des", "", nil, ""},
		{"java-default", "", ErrManyKeys, ""},
		{"java-trust", "", ErrNoKey, ""},
		{"java-secret", "", ErrNoKey, ""},
	} {
		passphrase := []byte(tc.passphrase)
		switch tc.passphrase {
		case "":
			passphrase = []byte("test-only")
		case "-":
			passphrase = nil
		}
		s := openStore(t, StoreOptions{})
		r, err := s.ImportPKCS12("", testPKCS12(t, tc.name), ImportOptions{Passphrase: passphrase})
		switch {
		case tc.oid != "":
			var unsupported *UnsupportedError
			require.ErrorAs(t, err, &unsupported, tc.name)
			require.Equal(t, tc.oid, unsupported.OID, tc.name)
			require.Contains(t, err.Error(), "openssl pkcs12 ", tc.name)
		case tc.want != nil:
			require.ErrorIs(t, err, tc.want, tc.name)
		default:
			require.NoError(t, err, tc.name)
			require.Equal(t, "mail.p12.example", r.Name)
			require.Len(t, detail(t, s, r.Name).Chain, 2, tc.name)
		}
	}
}

func TestImportPKCS12SelectsKey(t *testing.T) {
	data, passphrase := testPKCS12(t, "java-default"), []byte("test-only")
	inspection, err := Inspect(data, passphrase, InspectOptions{})
	require.NoError(t, err, "to look is allowed")
	require.Len(t, inspection.Keys, 2)
	byName := map[string]InspectedKey{}
	for _, k := range inspection.Keys {
		require.NoError(t, k.Err)
		byName[k.FriendlyName] = k
	}
	leaf, other := byName["leaf"], byName["other"]
	for selection, want := range map[string]InspectedKey{
		"leaf": leaf, "other": other, other.LocalKeyID: other, strings.ToUpper(leaf.LocalKeyID): leaf,
		hexSum(fingerprint(leaf.Chain[0])): leaf, hexSum(fingerprint(other.Chain[0])): other,
	} {
		s := openStore(t, StoreOptions{})
		r, err := s.ImportPKCS12("", data, ImportOptions{Passphrase: passphrase, Select: selection})
		require.NoError(t, err, selection)
		require.Equal(t, want.Chain, detail(t, s, r.Name).Chain, selection)
	}
	s := openStore(t, StoreOptions{})
	_, err = s.ImportPKCS12("x", data, ImportOptions{Passphrase: passphrase})
	require.ErrorIs(t, err, ErrManyKeys)
	require.ErrorContains(t, err, `"leaf"`)
	for _, selection := range []string{"absent", "00", hexSum(fingerprint(leaf.Chain[1]))} {
		_, err = s.ImportPKCS12("x", data, ImportOptions{Passphrase: passphrase, Select: selection})
		require.ErrorIs(t, err, ErrNotFound, selection)
	}
}

// Nobody finds a key or a passphrase in an error, an event or a value that was returned.
func TestStoreKeepsSecrets(t *testing.T) {
	var out bytes.Buffer
	passphrase := []byte("correct horse battery staple")
	logger := slog.New(slog.NewTextHandler(&out, nil))
	s := openStore(t, StoreOptions{Logger: logger, Events: func(e Event) { fmt.Fprintf(&out, "%v %+v %#v\n", e, e, e) }})
	key := testpki.NewECDSA(elliptic.P256()).(*ecdsa.PrivateKey)
	secret, err := key.Bytes()
	require.NoError(t, err)
	leaf := testpki.SelfSigned([]string{"a.example"}, testpki.Key(key))
	pair := storePair(t, leaf)
	show := func(values ...any) {
		for _, v := range values {
			fmt.Fprintf(&out, "%v\n%+v\n%#v\n%s\n%q\n%x\n", v, v, v, v, v, v)
			if text, err := json.Marshal(v); err == nil {
				out.Write(text)
			}
			logger.Info("value", "v", v)
		}
	}
	r, err := s.ImportPEM("a", pair, ImportOptions{})
	show(r, err, s, s.options.Storage, s.state.Load(), s.state.Load().entries["a"])
	r, err = s.ImportPEM("a", pair, ImportOptions{})
	show(r, err)
	_, err = s.Assign("https", "a")
	show(err, detail(t, s, "a"), s.Source("https"))
	cert, err := s.Source("https").GetCertificate(helloFor("a.example"))
	show(cert, *cert, err, &tls.Config{Certificates: []tls.Certificate{*cert}})
	_, err = s.Install("a", pair[:len(pair)/2], InstallOptions{})
	show(err)
	data, err := s.ExportPKCS12("a", ExportOptions{Passphrase: passphrase, Confirm: passphrase})
	require.NoError(t, err)
	_, err = s.ExportPKCS12("a", ExportOptions{Passphrase: passphrase})
	show(err)
	inspection, err := Inspect(data, passphrase, InspectOptions{})
	show(inspection, *inspection, err)
	_, err = s.ImportPKCS12("a", data, ImportOptions{Passphrase: passphrase})
	show(err, ImportOptions{}, ExportOptions{})
	data[len(data)/2] ^= 1
	_, err = s.ImportPKCS12("b", data, ImportOptions{Passphrase: passphrase})
	show(err)
	requireNoSecret(t, out.String(), "store", append(secretForms(secret), string(passphrase), hex.EncodeToString(passphrase)))
	require.Contains(t, out.String(), redacted)
}

// FuzzImportPKCS12 asserts that nothing panics, that every error is one of those
// that are promised, and that what is imported can be exported and imported again.
// Run it with -fuzzminimizetime=1x: an export draws random numbers, so that the
// coverage of an input, which minimizing waits for, is never twice the same.
func FuzzImportPKCS12(f *testing.F) {
	for _, name := range []string{"openssl-descert", "openssl-both-none", "openssl-nomaciter", "openssl-nokeys", "openssl-names", "openssl-pbes1"} {
		f.Add(testPKCS12(f, name))
	}
	passphrase := []byte("test-only")
	f.Fuzz(func(t *testing.T, data []byte) {
		if n, err := p12.MACIterations(data); err == nil && n > 5000 {
			t.Skip("slow by right")
		}
		s := openStore(t, StoreOptions{})
		r, err := s.ImportPKCS12("a", data, ImportOptions{Passphrase: passphrase})
		if err != nil {
			var unsupported *UnsupportedError
			known := errors.As(err, &unsupported)
			for _, want := range []error{ErrPassphrase, ErrNoMAC, ErrNoKey, ErrManyKeys, ErrNoCertificate, ErrKeyMismatch, ErrIterations, ErrTooLarge, ErrMalformed} {
				known = known || errors.Is(err, want)
			}
			require.True(t, known, "%v", err)
			return
		}
		out, err := s.ExportPKCS12(r.Name, ExportOptions{Passphrase: passphrase, Confirm: passphrase})
		require.NoError(t, err)
		again := openStore(t, StoreOptions{})
		_, err = again.ImportPKCS12("a", out, ImportOptions{Passphrase: passphrase})
		require.NoError(t, err)
		require.Equal(t, detail(t, s, "a").Chain, detail(t, again, "a").Chain)
	})
}
