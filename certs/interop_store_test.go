//go:build interop

package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

const interopPass = "secret-passphrase"

// interopExports are both profiles of an entry with a chain of two, RSA and ECDSA.
func interopExports(t *testing.T, test func(t *testing.T, why, dir string, leaf *testpki.Leaf)) {
	keys := map[string]testpki.Mod{"ECDSA": func(*testpki.Request) {}, "RSA": testpki.Key(testpki.NewRSA(2048))}
	for kind, key := range keys {
		s, leaf := pkcs12Store(t, key)
		for _, profile := range []PKCS12Profile{Modern2023, LegacyDES} {
			data, err := s.ExportPKCS12("mx", ExportOptions{Passphrase: []byte(interopPass), Confirm: []byte(interopPass), Profile: profile})
			require.NoError(t, err)
			dir := t.TempDir()
			write(t, dir, "mx.p12", data)
			test(t, kind+", "+string(profile), dir, leaf)
		}
	}
}

// reads reports whether an output has the certificates in PEM, whatever else.
func reads(t *testing.T, why, out string, certs ...*x509.Certificate) {
	t.Helper()
	out = strings.ReplaceAll(out, "\r", "")
	for _, c := range certs {
		require.Contains(t, out, strings.TrimSpace(string(storedPEM(c))), why)
	}
}

func TestOpenSSLReadsExports(t *testing.T) {
	interopExports(t, func(t *testing.T, why, dir string, leaf *testpki.Leaf) {
		out := openssl(t, dir, "pkcs12", "-in", "mx.p12", "-nodes", "-passin", "pass:"+interopPass)
		reads(t, why, out, leaf.Chain()...)
		m, err := ReadBytes([]byte(out), ReadOptions{})
		require.NoError(t, err)
		key, err := m.Key()
		require.NoError(t, err)
		require.True(t, publicEqual(leaf.Cert.PublicKey, key.Public()), why)
		out, err = tool(t, dir, "openssl", "pkcs12", "-in", "mx.p12", "-nodes", "-passin", "pass:wrong")
		require.Error(t, err, why)
		require.Contains(t, out, "invalid password", why)
	})
}

func TestCerttoolReadsExports(t *testing.T) {
	interopExports(t, func(t *testing.T, why, dir string, leaf *testpki.Leaf) {
		out, err := tool(t, dir, "certtool", "--p12-info", "--inder", "--infile", "mx.p12", "--password", interopPass)
		require.NoError(t, err, "%s\n%s", why, out)
		reads(t, why, out, leaf.Chain()...)
		require.Contains(t, out, "PRIVATE KEY", why)
		out, err = tool(t, dir, "certtool", "--p12-info", "--inder", "--infile", "mx.p12", "--password", "wrong")
		require.Error(t, err, "%s\n%s", why, out)
	})
}

func TestNSSReadsExports(t *testing.T) {
	interopExports(t, func(t *testing.T, why, dir string, leaf *testpki.Leaf) {
		out, err := tool(t, dir, "certutil", "-N", "-d", "sql:"+dir, "--empty-password")
		require.NoError(t, err, "%s\n%s", why, out)
		out, err = tool(t, dir, "pk12util", "-i", "mx.p12", "-d", "sql:"+dir, "-W", interopPass, "-K", "")
		require.NoError(t, err, "%s\n%s", why, out)
		out, err = tool(t, dir, "certutil", "-K", "-d", "sql:"+dir)
		require.NoError(t, err, "%s\n%s", why, out)
		require.Contains(t, out, "< 0>", why)
		out, err = tool(t, dir, "certutil", "-L", "-d", "sql:"+dir)
		require.NoError(t, err, "%s\n%s", why, out)
		require.Contains(t, out, "mx.example.com", why)
		out, err = tool(t, dir, "pk12util", "-i", "mx.p12", "-d", "sql:"+dir, "-W", "wrong", "-K", "")
		require.Error(t, err, "%s\n%s", why, out)

		// And what NSS writes, in BER, is imported.
		nick := regexp.MustCompile(`(?m)^(.*\S)\s+u,u,u`).FindStringSubmatch(mustOutput(t, dir, "certutil", "-L", "-d", "sql:"+dir))
		require.NotNil(t, nick, why)
		out, err = tool(t, dir, "pk12util", "-o", "back.p12", "-n", nick[1], "-d", "sql:"+dir, "-W", interopPass, "-K", "")
		require.NoError(t, err, "%s\n%s", why, out)
		requireImports(t, why, filepath.Join(dir, "back.p12"), leaf)
	})
}

func mustOutput(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	out, err := tool(t, dir, name, args...)
	require.NoError(t, err, out)
	return out
}

func requireImports(t *testing.T, why, path string, leaf *testpki.Leaf) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	s := openStore(t, StoreOptions{})
	_, err = s.ImportPKCS12("x", data, ImportOptions{Passphrase: []byte(interopPass)})
	require.NoError(t, err, why)
	require.Equal(t, leaf.Chain(), detail(t, s, "x").Chain, why)
	_, err = s.ImportPKCS12("y", data, ImportOptions{Passphrase: []byte("wrong")})
	require.ErrorIs(t, err, ErrPassphrase, why)
}

func TestKeytoolReadsExports(t *testing.T) {
	interopExports(t, func(t *testing.T, why, dir string, leaf *testpki.Leaf) {
		list := func(pass string) (string, error) {
			return tool(t, dir, "keytool", "-list", "-v", "-keystore", "mx.p12", "-storetype", "PKCS12", "-storepass", pass)
		}
		out, err := list(interopPass)
		require.NoError(t, err, "%s\n%s", why, out)
		require.Contains(t, out, "Your keystore contains 1 entry", why)
		require.Contains(t, out, "PrivateKeyEntry", why)
		require.Contains(t, out, "Certificate chain length: 2", why)
		_, err = list("wrong")
		require.Error(t, err, why)

		// Copied by keytool into a store of its own, then imported.
		out, err = tool(t, dir, "keytool", "-importkeystore", "-noprompt", "-srckeystore", "mx.p12", "-srcstoretype", "PKCS12", "-srcstorepass", interopPass,
			"-destkeystore", "back.p12", "-deststoretype", "PKCS12", "-deststorepass", interopPass)
		require.NoError(t, err, "%s\n%s", why, out)
		requireImports(t, why, filepath.Join(dir, "back.p12"), leaf)
	})
}

// What other programs write is imported: OpenSSL in its variants, GnuTLS with its
// three safes.
func TestImportsOfPrograms(t *testing.T) {
	dir := t.TempDir()
	leaf := testpki.NewRoot("Root").Intermediate("Intermediate").Leaf([]string{"mx.example.com"})
	pair := storePair(t, leaf)
	at := bytes.Index(pair, []byte("-----BEGIN CERT"))
	write(t, dir, "key.pem", pair[:at])
	write(t, dir, "leaf.pem", storedPEM(leaf.Cert))
	write(t, dir, "ca.pem", storedPEM(leaf.Issuer.Cert))
	for _, variant := range [][]string{
		nil, {"-legacy"}, {"-descert"}, {"-macalg", "sha512", "-keypbe", "AES-128-CBC", "-certpbe", "AES-256-CBC"}, {"-certpbe", "NONE"}, {"-keypbe", "NONE"},
		{"-CSP", "Microsoft Enhanced Cryptographic Provider v1.0", "-LMK"}, {"-iter", "100000"},
	} {
		args := append([]string{"pkcs12", "-export", "-inkey", "key.pem", "-in", "leaf.pem", "-certfile", "ca.pem", "-passout", "pass:" + interopPass, "-out", "x.p12"}, variant...)
		openssl(t, dir, args...)
		requireImports(t, strings.Join(variant, " "), filepath.Join(dir, "x.p12"), leaf)
	}
	out, err := tool(t, dir, "certtool", "--to-p12", "--load-privkey", "key.pem", "--load-certificate", "leaf.pem", "--load-ca-certificate", "ca.pem",
		"--p12-name", "mx", "--password", interopPass, "--outder", "--outfile", "gnutls.p12")
	require.NoError(t, err, out)
	requireImports(t, "certtool", filepath.Join(dir, "gnutls.p12"), leaf)
}

// Create, request, `openssl ca`, install, and `openssl s_server` with the file as it
// lies in the store; and our own server for `openssl s_client`.
func TestOpenSSLSignsAndServes(t *testing.T) {
	dir := t.TempDir()
	directory := openDirectory(t, filepath.Join(dir, "store"), DirectoryOptions{})
	s := openStore(t, StoreOptions{Storage: directory})
	_, err := s.CreateSelfSigned("mx", interopForm(Form{}))
	require.NoError(t, err)
	request, err := s.CSR("mx")
	require.NoError(t, err)
	write(t, dir, "request.csr", request)
	write(t, dir, "ca.cnf", []byte(caConfig))
	openssl(t, dir, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
		"-subj", "/CN=Interop Root", "-days", "30", "-config", "ca.cnf", "-extensions", "root")
	write(t, dir, "index.txt", nil)
	write(t, dir, "serial", []byte("01\n"))
	openssl(t, dir, "ca", "-batch", "-config", "ca.cnf", "-in", "request.csr", "-out", "signed.pem", "-cert", "ca.pem", "-keyfile", "ca.key", "-days", "20", "-md", "sha256", "-notext")
	signed, err := os.ReadFile(filepath.Join(dir, "signed.pem"))
	require.NoError(t, err)
	root, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	require.NoError(t, err)
	r, err := s.Install("mx", signed, InstallOptions{Intermediates: root})
	require.NoError(t, err)
	require.False(t, r.Changed.Key)
	require.Equal(t, OriginCASigned, detail(t, s, "mx").Origin)

	pool := x509.NewCertPool()
	ca, err := ReadBytes(root, ReadOptions{})
	require.NoError(t, err)
	pool.AddCert(ca.Certificates[0])
	current := filepath.Join(dir, "store", "entries", "mx", "current.pem")

	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := free.Addr().String()
	require.NoError(t, free.Close())
	server := exec.Command("openssl", "s_server", "-accept", address, "-cert", current, "-key", current, "-cert_chain", current, "-quiet")
	require.NoError(t, server.Start())
	defer func() { _, _ = server.Process.Kill(), server.Wait() }()
	var conn *tls.Conn
	require.Eventually(t, func() bool {
		conn, err = tls.Dial("tcp", address, &tls.Config{RootCAs: pool, ServerName: "mx.example.com"})
		return err == nil
	}, 20e9, 50e6, "%v", err)
	require.Equal(t, detail(t, s, "mx").Chain[0], conn.ConnectionState().PeerCertificates[0])
	conn.Close()

	_, err = s.Assign("server", "mx")
	require.NoError(t, err)
	ours, _ := serveTLS(t, &tls.Config{GetCertificate: s.Source("server").GetCertificate})
	out, err := tool(t, dir, "sh", "-c", "openssl s_client -connect "+ours+" -servername mx.example.com -CAfile ca.pem -verify_return_error </dev/null")
	require.NoError(t, err, out)
	require.Contains(t, out, "Verify return code: 0 (ok)")
}
