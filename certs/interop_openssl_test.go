//go:build interop

package certs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tool runs a program in dir and returns what it prints. A program that is not
// installed skips the test, and fails it in CI.
func tool(t *testing.T, dir, name string, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not installed", name)
		}
		t.Skipf("%s is not installed", name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func openssl(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := tool(t, dir, "openssl", args...)
	require.NoError(t, err, "openssl %s\n%s", strings.Join(args, " "), out)
	return out
}

func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
}

var interopForms = map[string]Form{
	"P-256":        {Algorithm: ECDSAWithSHA256},
	"P-384":        {Algorithm: ECDSAWithSHA384},
	"RSA, SHA-256": {Algorithm: SHA256WithRSA},
	"RSA, SHA-384": {Algorithm: SHA384WithRSA, KeySize: 3072},
	"RSA, SHA-512": {Algorithm: SHA512WithRSA},
}

func interopForm(f Form) Form {
	f.CommonName, f.DNSNames = "mx.example.com", []string{"*.mx.example.com", "bücher.example"}
	f.Organization, f.OrganizationalUnit = "Example GmbH", "Poststelle"
	f.Locality, f.Province, f.Country, f.Days = "Köln", "NRW", "DE", 90
	return f
}

func TestOpenSSLAcceptsSelfSigned(t *testing.T) {
	for why, form := range interopForms {
		dir := t.TempDir()
		key, cert, _, err := SelfSigned(interopForm(form), CreateOptions{})
		require.NoError(t, err)
		write(t, dir, "cert.pem", appendCertificatePEM(nil, cert))
		text := openssl(t, dir, "x509", "-in", "cert.pem", "-noout", "-text", "-nameopt", "utf8,sep_comma_plus")
		require.Contains(t, strings.ToLower(text), strings.ToLower(string(form.Algorithm)), why)
		for _, want := range []string{"Version: 3", "CN=mx.example.com,O=Example GmbH,OU=Poststelle,L=Köln,ST=NRW,C=DE",
			"DNS:mx.example.com, DNS:*.mx.example.com, DNS:xn--bcher-kva.example", "CA:FALSE", "TLS Web Server Authentication, TLS Web Client Authentication", "Digital Signature"} {
			require.Contains(t, text, want, why)
		}
		for _, purpose := range []string{"sslserver", "sslclient"} {
			out := openssl(t, dir, "verify", "-x509_strict", "-purpose", purpose, "-verify_hostname", "mx.example.com", "-CAfile", "cert.pem", "cert.pem")
			require.Contains(t, out, "OK", why)
		}
		// The key as we write it is the key of the certificate to OpenSSL.
		pemKey, err := key.appendPEM(nil)
		require.NoError(t, err)
		write(t, dir, "key.pem", pemKey)
		require.Equal(t, openssl(t, dir, "x509", "-in", "cert.pem", "-noout", "-pubkey"), openssl(t, dir, "pkey", "-in", "key.pem", "-pubout"), why)
	}
}

// A name that is too long for the subject leaves it empty, or without a CN.
func TestOpenSSLAcceptsLongNames(t *testing.T) {
	for _, organization := range []string{"", "Example GmbH"} {
		dir := t.TempDir()
		name := strings.Repeat("long.", 20) + "example.com"
		_, cert, _, err := SelfSigned(Form{CommonName: name, Organization: organization, Days: 1}, CreateOptions{})
		require.NoError(t, err)
		write(t, dir, "cert.pem", appendCertificatePEM(nil, cert))
		require.Contains(t, openssl(t, dir, "verify", "-verify_hostname", name, "-CAfile", "cert.pem", "cert.pem"), "OK")
		text := openssl(t, dir, "x509", "-in", "cert.pem", "-noout", "-text")
		require.Equal(t, organization == "", strings.Contains(text, "Subject Alternative Name: critical"))
	}
}

// The request verifies; `openssl x509 -req` and `openssl ca` sign it; what they
// make belongs to the key and arranges into a chain.
func TestOpenSSLSignsRequests(t *testing.T) {
	for why, form := range interopForms {
		dir := t.TempDir()
		key, cert, _, err := SelfSigned(interopForm(form), CreateOptions{})
		require.NoError(t, err)
		request, err := CertificateRequest(key, cert, nil)
		require.NoError(t, err)
		write(t, dir, "request.csr", request)
		require.Contains(t, openssl(t, dir, "req", "-in", "request.csr", "-verify", "-noout"), "verify OK", why)
		require.Contains(t, openssl(t, dir, "req", "-in", "request.csr", "-noout", "-text"), "DNS:mx.example.com, DNS:*.mx.example.com", why)

		write(t, dir, "ca.cnf", []byte(caConfig))
		openssl(t, dir, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
			"-subj", "/CN=Interop Root", "-days", "30", "-config", "ca.cnf", "-extensions", "root")
		openssl(t, dir, "x509", "-req", "-in", "request.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-copy_extensions", "copy", "-days", "30", "-out", "x509.pem")
		write(t, dir, "index.txt", nil)
		write(t, dir, "serial", []byte("1234567890ABCDEF\n"))
		openssl(t, dir, "ca", "-batch", "-config", "ca.cnf", "-in", "request.csr", "-out", "ca-signed.pem", "-utf8")
		for _, file := range []string{"x509.pem", "ca-signed.pem"} { // the second has a text in front of its block
			data, err := os.ReadFile(filepath.Join(dir, file))
			require.NoError(t, err)
			root, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
			require.NoError(t, err)
			m, err := ReadBytes(append(root, data...), ReadOptions{})
			require.NoError(t, err, why)
			chain, findings, err := Arrange(key.Public(), m.Certificates, ArrangeOptions{})
			require.NoError(t, err, why)
			require.Empty(t, findings, why)
			require.Len(t, chain, 1, why)
			require.Equal(t, "Interop Root", chain[0].Issuer.CommonName)
			require.Equal(t, cert.DNSNames, chain[0].DNSNames, "%s, %s", why, file)
			require.Empty(t, Check(namesChanged(nil, cert, chain[0]), chain, CheckOptions{Name: "a.mx.example.com"}), "%s, %s", why, file)
		}
	}
}

const caConfig = `
[ca]
default_ca = interop
[interop]
dir = .
database = index.txt
serial = serial
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
default_md = sha256
default_days = 30
policy = anything
copy_extensions = copy
unique_subject = no
[anything]
commonName = supplied
organizationName = optional
organizationalUnitName = optional
localityName = optional
stateOrProvinceName = optional
countryName = optional
[req]
distinguished_name = dn
[dn]
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
`

// Every kind of key and every form of PKCS #8 that OpenSSL writes.
func TestOpenSSLKeys(t *testing.T) {
	dir := t.TempDir()
	kinds := map[string][]string{
		"RSA-2048":    {"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"},
		"RSA-1024":    {"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"},
		"ECDSA P-256": {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"},
		"ECDSA P-384": {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"},
		"ECDSA P-521": {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"},
		"Ed25519":     {"-algorithm", "ed25519"},
	}
	passphrase := []byte("pässphrase")
	for kind, args := range kinds {
		openssl(t, dir, append([]string{"genpkey", "-out", "key.pem"}, args...)...)
		clear, err := ReadFile(filepath.Join(dir, "key.pem"), ReadOptions{})
		require.NoError(t, err, kind)
		key, err := clear.Key()
		require.NoError(t, err)
		require.Equal(t, kind, keyKind(key.Public()))
		same := func(why string, o ReadOptions) {
			m, err := ReadFile(filepath.Join(dir, "other"), o)
			require.NoError(t, err, why)
			got, err := m.Key()
			require.NoError(t, err, why)
			require.True(t, publicEqual(key.Public(), got.Public()), why)
		}
		openssl(t, dir, "pkey", "-in", "key.pem", "-outform", "DER", "-out", "other")
		same("DER", ReadOptions{})
		if kind != "Ed25519" {
			openssl(t, dir, "pkey", "-in", "key.pem", "-traditional", "-out", "other")
			same("traditional PEM", ReadOptions{})
			openssl(t, dir, "pkey", "-in", "key.pem", "-traditional", "-outform", "DER", "-out", "other")
			same("traditional DER", ReadOptions{})
		}
	}
	openssl(t, dir, "genpkey", "-out", "key.pem", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
	clear, err := ReadFile(filepath.Join(dir, "key.pem"), ReadOptions{})
	require.NoError(t, err)
	for _, cipher := range []string{"aes-128-cbc", "aes-192-cbc", "aes-256-cbc", "des3"} {
		var variants [][]string
		for _, prf := range []string{"hmacWithSHA1", "hmacWithSHA224", "hmacWithSHA256", "hmacWithSHA384", "hmacWithSHA512"} {
			variants = append(variants, []string{"-v2", cipher, "-v2prf", prf})
		}
		variants = append(variants, []string{"-v2", cipher, "-iter", "100000"})
		if cipher != "des3" {
			variants = append(variants, []string{"-v2", cipher, "-scrypt"})
		}
		for _, variant := range variants {
			for _, form := range []string{"PEM", "DER"} {
				args := append([]string{"pkcs8", "-topk8", "-in", "key.pem", "-out", "encrypted", "-outform", form, "-passout", "pass:" + string(passphrase)}, variant...)
				openssl(t, dir, args...)
				data, err := os.ReadFile(filepath.Join(dir, "encrypted"))
				require.NoError(t, err)
				key, err := ReadKey(data, passphrase)
				require.NoError(t, err, "%v", variant)
				require.True(t, publicEqual(clear.Keys[0].Public(), key.Public()))
				if form == "PEM" {
					_, err = ReadKey(data, []byte("wrong"))
					require.ErrorIs(t, err, ErrPassphrase, "%v", variant)
					_, err = ReadKey(data, nil)
					require.ErrorIs(t, err, ErrPassphraseNeeded)
					_, err = ReadKey(data, []byte{})
					require.ErrorIs(t, err, ErrPassphrase, "an empty passphrase is one")
				}
			}
		}
	}
	// A wrong passphrase gives right padding once in 256 times.
	openssl(t, dir, "pkcs8", "-topk8", "-in", "key.pem", "-out", "encrypted", "-iter", "1", "-passout", "pass:right")
	data, err := os.ReadFile(filepath.Join(dir, "encrypted"))
	require.NoError(t, err)
	for i := range 1500 {
		_, err := ReadKey(data, []byte{'w', byte(i), byte(i >> 8)})
		require.ErrorIs(t, err, ErrPassphrase)
	}
}

// What is not read is named, and the command in the error makes it readable.
func TestOpenSSLUnsupported(t *testing.T) {
	dir := t.TempDir()
	openssl(t, dir, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "old.key", "-out", "cert.pem", "-subj", "/CN=mx.example.com", "-days", "3")
	for _, tc := range []struct {
		why  string
		make []string
		text string
		fix  []string // as the error says
	}{
		{"old encryption", []string{"rsa", "-in", "old.key", "-traditional", "-aes128", "-passout", "pass:x", "-out", "old.pem"}, "openssl pkcs8 -topk8 -in old.pem -out new.pem",
			[]string{"pkcs8", "-topk8", "-in", "old.pem", "-out", "new.pem", "-passin", "pass:x", "-passout", "pass:x"}},
		{"trusted certificate", []string{"x509", "-in", "cert.pem", "-trustout", "-addtrust", "serverAuth", "-out", "old.pem"}, "openssl x509 -in old.pem -out new.pem",
			[]string{"x509", "-in", "old.pem", "-out", "new.pem"}},
		{"PKCS #7", []string{"crl2pkcs7", "-nocrl", "-certfile", "cert.pem", "-out", "old.pem"}, "openssl pkcs7 -in bundle.p7b -print_certs -out bundle.pem",
			[]string{"pkcs7", "-in", "old.pem", "-print_certs", "-out", "new.pem"}},
		{"PKCS #7 in DER", []string{"crl2pkcs7", "-nocrl", "-certfile", "cert.pem", "-outform", "DER", "-out", "old.pem"}, "openssl pkcs7 -inform DER -in bundle.p7b -print_certs -out bundle.pem",
			[]string{"pkcs7", "-inform", "DER", "-in", "old.pem", "-print_certs", "-out", "new.pem"}},
		{"PKCS #12", []string{"pkcs12", "-export", "-in", "cert.pem", "-inkey", "old.key", "-passout", "pass:x", "-out", "old.pem"}, "PKCS #12", nil},
		{"RSA-PSS", []string{"genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "old.pem"}, "1.2.840.113549.1.1.10", nil},
		{"Ed448", []string{"genpkey", "-algorithm", "ed448", "-out", "old.pem"}, "Ed448", nil},
		{"secp256k1", []string{"ecparam", "-name", "secp256k1", "-genkey", "-out", "old.pem"}, "secp256k1", nil},
		{"explicit parameters", []string{"ecparam", "-name", "prime256v1", "-param_enc", "explicit", "-genkey", "-out", "old.pem"}, "explicit", nil},
		{"PBES1", []string{"pkcs8", "-topk8", "-v1", "PBE-MD5-DES", "-provider", "legacy", "-provider", "default", "-in", "old.key", "-passout", "pass:x", "-out", "old.pem"}, "openssl pkcs8 -provider legacy -provider default -in old.pem -out clear.pem, then openssl pkcs8 -topk8 -v2 aes-256-cbc -in clear.pem -out new.pem",
			[]string{"pkcs8", "-provider", "legacy", "-provider", "default", "-in", "old.pem", "-out", "new.pem", "-passin", "pass:x"}},
		{"request", []string{"req", "-new", "-key", "old.key", "-subj", "/CN=x", "-out", "old.pem"}, "sends back", nil},
	} {
		openssl(t, dir, tc.make...)
		_, err := ReadFile(filepath.Join(dir, "old.pem"), ReadOptions{Passphrase: []byte("x")})
		var unsupported *UnsupportedError
		require.ErrorAs(t, err, &unsupported, tc.why)
		require.ErrorContains(t, err, tc.text, tc.why)
		if tc.fix != nil {
			openssl(t, dir, tc.fix...)
			_, err := ReadFile(filepath.Join(dir, "new.pem"), ReadOptions{Passphrase: []byte("x")})
			require.NoError(t, err, tc.why)
		}
	}
	// The label CMS needs two steps.
	openssl(t, dir, "crl2pkcs7", "-nocrl", "-certfile", "cert.pem", "-out", "bundle.p7b")
	bundle, err := os.ReadFile(filepath.Join(dir, "bundle.p7b"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bundle.cms"), bytes.ReplaceAll(bundle, []byte("PKCS7"), []byte("CMS")), 0o600))
	_, err = ReadFile(filepath.Join(dir, "bundle.cms"), ReadOptions{})
	require.ErrorContains(t, err, hintCMS)
	for step := range strings.SplitSeq(hintCMS, ", then ") {
		openssl(t, dir, strings.Fields(step)[1:]...)
	}
	_, err = ReadFile(filepath.Join(dir, "bundle.pem"), ReadOptions{})
	require.NoError(t, err)
	// `ecparam -genkey` writes EC PARAMETERS in front of the key.
	openssl(t, dir, "ecparam", "-name", "prime256v1", "-genkey", "-out", "ec.pem")
	m, err := ReadFile(filepath.Join(dir, "ec.pem"), ReadOptions{})
	require.NoError(t, err)
	require.Len(t, m.Keys, 1)
}

// OpenSSL signs requests without extensions as version 1: read, arranged, and a
// finding.
func TestOpenSSLVersionOne(t *testing.T) {
	dir := t.TempDir()
	key, cert, _, err := SelfSigned(interopForm(Form{}), CreateOptions{})
	require.NoError(t, err)
	request, err := CertificateRequest(key, cert, nil)
	require.NoError(t, err)
	pemKey, err := key.appendPEM(nil)
	require.NoError(t, err)
	write(t, dir, "request.csr", request)
	write(t, dir, "key.pem", pemKey)
	openssl(t, dir, "x509", "-req", "-in", "request.csr", "-key", "key.pem", "-set_serial", "0", "-days", "5", "-outform", "DER", "-out", "v1.der")
	m, err := ReadFile(filepath.Join(dir, "v1.der"), ReadOptions{})
	require.NoError(t, err)
	chain, findings, err := Arrange(key.Public(), m.Certificates, ArrangeOptions{})
	require.NoError(t, err)
	require.ElementsMatch(t, []Code{FindingNotV3, FindingSerialZero, FindingNoSAN, FindingSelfSigned}, codes(Check(findings, chain, CheckOptions{})))
}

// Inputs as programs print them: with text, and with what s_client adds.
func TestOpenSSLTextAroundBlocks(t *testing.T) {
	dir := t.TempDir()
	_, cert, _, err := SelfSigned(interopForm(Form{}), CreateOptions{})
	require.NoError(t, err)
	write(t, dir, "cert.pem", appendCertificatePEM(nil, cert))
	text := openssl(t, dir, "x509", "-in", "cert.pem", "-text")
	m, err := ReadBytes([]byte(text+text), ReadOptions{})
	require.NoError(t, err)
	require.Len(t, m.Certificates, 2)
	require.True(t, bytes.Equal(cert.Raw, m.Certificates[1].Raw))
}

// The digest of a SubjectPublicKeyInfo is what TLSA records publish, so three
// programs must agree on it.
func TestCerttoolKeyDigests(t *testing.T) {
	for why, form := range interopForms {
		dir := t.TempDir()
		_, cert, _, err := SelfSigned(interopForm(form), CreateOptions{})
		require.NoError(t, err)
		write(t, dir, "cert.pem", appendCertificatePEM(nil, cert))
		out, err := tool(t, dir, "certtool", "--infile", "cert.pem", "--certificate-info")
		require.NoError(t, err, out)
		sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
		require.Contains(t, out, "sha256:"+hex.EncodeToString(sum[:]), why)
		print := fingerprint(cert)
		require.Contains(t, out, "sha256:"+hex.EncodeToString(print[:]), why)
		spki, err := x509.MarshalPKIXPublicKey(cert.PublicKey)
		require.NoError(t, err)
		require.Equal(t, cert.RawSubjectPublicKeyInfo, spki)
	}
}
