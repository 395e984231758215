package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/certs"
	"github.com/smtpsec/smtpsec/dane"
	"github.com/smtpsec/smtpsec/internal/testpki"
)

func pemOf(list ...*x509.Certificate) (out []byte) {
	for _, c := range list {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

func keyOf(t *testing.T, leaf *testpki.Leaf) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(leaf.Key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// signed is an authority's answer to a request in PEM.
func signed(t *testing.T, a *testpki.Authority, request string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(request))
	require.NotNil(t, block)
	require.Equal(t, "CERTIFICATE REQUEST", block.Type)
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	require.NoError(t, err)
	return a.Leaf(csr.DNSNames, testpki.Key(publicOnly{csr.PublicKey})).Cert
}

func (b *bench) listed() (entries []entryJSON) {
	b.t.Helper()
	require.NoError(b.t, json.Unmarshal([]byte(b.must("list", "-json", "-system", "none")), &entries))
	return entries
}

// record is a line of a zone.
func record(t *testing.T, p dane.Params, cert *x509.Certificate) string {
	t.Helper()
	r, err := dane.NewRecord(p.Usage, p.Selector, p.MatchingType, cert)
	require.NoError(t, err)
	return dane.FormatRR("_25._tcp.mx.example.org.", 3600, r) + "\n"
}

// Self-signed, request, answer of an authority, records.
func TestFromSelfSignedToAuthority(t *testing.T) {
	b := newBench(t)
	root := testpki.NewRoot("Example Root")
	middle := root.Intermediate("Example CA")
	require.Equal(t, "[]\n", func() string {
		b.must("ca", "import", b.file("root.pem", pemOf(root.Cert)))
		return b.must("list", "-json")
	}())
	b.must("self-signed", "mx.example.org", "-dns", "a.example,b.example", "-dns", "c.example", "-organization", "Example", "-unit", "Mail", "-city", "Oslo", "-state", "Oslo",
		"-country", "no", "-algorithm", "sha256WithRSAEncryption", "-key-size", "2048", "-days", "90", "-fqdn")
	before := b.listed()[0]
	require.Equal(t, "RSA-2048", before.Key)
	require.Equal(t, "CN=mx.example.org,OU=Mail,O=Example,L=Oslo,ST=Oslo,C=NO", before.Issuer)
	require.Equal(t, []string{"mx.example.org", "a.example", "b.example", "c.example"}, before.DNSNames)
	require.Equal(t, "self-signed", before.Origin)
	require.Contains(t, b.fails(exitFailed, "self-signed", "MX.example.org"), "taken")
	for _, bad := range [][]string{{"-country", "NOR"}, {"-days", "0"}, {"-algorithm", "sha1WithRSAEncryption"}, {"-key-size", "1024"}, {"-dns", "a b"}} {
		b.fails(exitFailed, append([]string{"self-signed", "bad.example"}, bad...)...)
	}
	require.Contains(t, b.fails(exitFailed, "self-signed", "localhost", "-fqdn"), "localhost")

	csr := b.must("csr", "mx.example.org")
	require.Equal(t, csr, b.must("csr", "mx.example.org"), "it stays the same")
	b.must("csr", "mx.example.org", "-o", b.path("csr.pem"))
	data, err := os.ReadFile(b.path("csr.pem"))
	require.NoError(t, err)
	require.Equal(t, csr, string(data))
	require.Contains(t, b.fails(exitFailed, "csr", "mx.example.org", "-o", b.path("csr.pem")), "not overwritten")
	require.Contains(t, b.fails(exitFailed, "csr", "other.example"), `"other.example"`)

	leaf := signed(t, middle, csr)
	stranger := testpki.SelfSigned([]string{"mx.example.org"})
	for _, tc := range []struct {
		name    string
		content []byte
		says    string
	}{
		{"stranger.pem", pemOf(stranger.Cert), "no certificate for the key"},
		{"key.pem", keyOf(t, stranger), "this is a key file"},
		{"empty.pem", nil, "PEM"},
		{"broken.pem", []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "line 1"},
		{"csr again.pem", []byte(csr), "CERTIFICATE REQUEST"},
	} {
		message := b.fails(exitFailed, "install", "mx.example.org", b.file(tc.name, tc.content))
		require.Contains(t, message, tc.says, tc.name)
		require.Contains(t, message, tc.name)
	}
	require.Contains(t, b.fails(exitFailed, "install", "mx.example.org", b.path("missing.pem")), "missing.pem")
	require.Contains(t, b.fails(exitFailed, "install", "mx.example.org", b.dir), "not a regular file")
	require.Equal(t, before, b.listed()[0], "nothing has changed")

	_, _, remarks := b.run("install", "mx.example.org", b.file("signed.pem", pemOf(leaf)))
	require.Contains(t, remarks, "chain-incomplete")
	require.Contains(t, remarks, "3 1 1 stay right")
	_, _, remarks = b.run("install", "mx.example.org", b.path("signed.pem"), "-intermediates", b.file("middle.pem", pemOf(middle.Cert)))
	require.NotContains(t, remarks, "warning", "the custom list has the root")
	after := b.listed()[0]
	require.Equal(t, before.TLSA311, after.TLSA311)
	require.NotEqual(t, before.SHA256, after.SHA256)
	require.Equal(t, 2, after.Chain)
	require.Equal(t, fmt.Sprintf("%x", sha256.Sum256(leaf.RawSubjectPublicKeyInfo)), after.TLSA311)

	own, anchor := record(t, leafParams[0], leaf), record(t, anchorParams[0], middle.Cert)
	require.Equal(t, own, b.must("tlsa", "mx.example.org"))
	require.Equal(t, anchor+own, b.must("tlsa", "mx.example.org", "-ca"))
	require.Equal(t, strings.ReplaceAll(own, "_25._tcp.mx.example.org. 3600", "_465._tcp.xn--mx-mka.example. 60"),
		b.must("tlsa", "mx.example.org", "-host", "MXø.example", "-port", "465", "-ttl", "1m"))
	require.Equal(t, own, b.must("tlsa", "-cert", b.path("signed.pem")))
	require.Contains(t, b.fails(exitFailed, "tlsa", "-cert", b.path("signed.pem"), "-ca"), "no authority")
	require.Contains(t, b.fails(exitFailed, "tlsa", "-cert", b.path("key.pem")), "this is a key file")
	for _, bad := range [][]string{{"-port", "0"}, {"-port", "65536"}, {"-ttl", "0"}, {"-ttl", "1500ms"}, {"-host", "192.0.2.1"}, {"-host", "*.example"}} {
		b.fails(exitUsage, append([]string{"tlsa", "mx.example.org"}, bad...)...)
	}
	b.must("self-signed", "*.wild.example")
	require.Contains(t, b.fails(exitUsage, "tlsa", "*.wild.example"), "-host")
	require.Contains(t, b.fails(exitFailed, "tlsa", "*.wild.example", "-ca", "-host", "mx.wild.example"), "no authority")
}

func TestRenewAssignRemove(t *testing.T) {
	b := newBench(t)
	b.must("self-signed", "mx.example.org", "-days", "10", "-organization", "Example")
	before := b.listed()[0]
	b.now = b.now.Add(11 * 24 * time.Hour)
	require.True(t, b.listed()[0].Expired)
	b.must("renew", "mx.example.org", "-days", "20")
	after := b.listed()[0]
	require.False(t, after.Expired)
	require.Equal(t, before.TLSA311, after.TLSA311)
	require.Equal(t, before.Issuer, after.Issuer)
	require.Equal(t, before.DNSNames, after.DNSNames)
	b.fails(exitFailed, "renew", "mx.example.org", "-days", "0")
	b.must("assign", "https", "mx.example.org")
	require.Equal(t, []string{"https"}, b.listed()[0].Roles)
	require.Contains(t, b.must("list"), "https")
	require.Contains(t, b.fails(exitFailed, "assign", "https", "nobody"), "nobody")
	require.Contains(t, b.fails(exitFailed, "remove", "mx.example.org"), "https")
	b.must("assign", "https")
	b.must("remove", "mx.example.org")
	require.Empty(t, b.listed())
}

func TestImportAndExport(t *testing.T) {
	b := newBench(t)
	root := testpki.NewRoot("Example Root")
	leaf := root.Leaf([]string{"mx.example.org"})
	certFile, keyFile := b.file("cert.pem", pemOf(leaf.Cert)), b.file("key.pem", keyOf(t, leaf))
	b.must("import", certFile, "-key", keyFile)
	b.must("import", b.file("both.pem", append(keyOf(t, leaf), pemOf(leaf.Cert)...)), "-name", "both")
	for _, tc := range []struct {
		args []string
		says string
	}{
		{[]string{keyFile, "-key", certFile}, "this is a key file"},
		{[]string{certFile, "-key", certFile}, "this is a certificate file"},
		{[]string{certFile}, "this is a certificate file"},
		{[]string{keyFile}, "this is a key file"},
		{[]string{b.file("cert.der", leaf.Cert.Raw)}, "certificate in DER, without its key"},
		{[]string{b.file("noise.p12", []byte("\x30\x03\x02\x01\x00"))}, "noise.p12"},
		{[]string{b.file("text", []byte("hello"))}, "no PEM block"},
		{[]string{certFile, "-key", b.file("other.pem", keyOf(t, testpki.SelfSigned([]string{"a.example"})))}, "no certificate belongs"},
		{[]string{certFile, "-key", keyFile, "-name", "BOTH"}, "taken"},
		{[]string{b.path("missing")}, "missing"},
	} {
		require.Contains(t, b.fails(exitFailed, append([]string{"import"}, tc.args...)...), tc.says, "%q", tc.args)
	}

	// The passphrase of a new file, from each place.
	secret := b.file("secret", []byte("first line\r\nsecond line\n"))
	b.env["SECRET"] = "first line"
	b.must("export", "both", "-o", b.path("file.p12"), "-password-file", secret)
	b.must("export", "both", "-o", b.path("env.p12"), "-password-env", "SECRET", "-legacy")
	b.terminal = []string{"first line", "first line"}
	b.must("export", "both", "-o", b.path("tty.p12"))
	require.Len(t, b.prompts, 2)
	b.stdin = "first line"
	b.must("export", "both", "-o", b.path("stdin.p12"), "-password-file", "-")
	b.terminal = []string{"first line", "other line"}
	require.Contains(t, b.fails(exitFailed, "export", "both", "-o", b.path("x.p12")), "differ")
	require.Contains(t, b.fails(exitFailed, "export", "both", "-o", b.path("x.p12")), "no terminal")
	require.Contains(t, b.fails(exitFailed, "export", "both", "-o", b.path("x.p12"), "-password-env", "NONE"), `"NONE"`)
	require.Contains(t, b.fails(exitFailed, "export", "both", "-o", b.path("x.p12"), "-password-file", b.file("empty", nil)), "empty")
	require.Contains(t, b.fails(exitFailed, "export", "both", "-o", b.path("x.p12"), "-password-file", b.file("long", []byte(strings.Repeat("x", maxPassphrase+1)))), "too large")
	require.NoFileExists(t, b.path("x.p12"))
	require.Contains(t, b.fails(exitFailed, "export", "both", "-o", b.path("file.p12"), "-password-file", secret), "not overwritten")
	b.prompts = nil
	require.Contains(t, b.fails(exitFailed, "export", "nobody", "-o", b.path("x.p12")), "nobody")
	require.Empty(t, b.prompts, "nothing is asked in vain")
	require.NoError(t, os.Chmod(secret, 0o644))
	_, _, remarks := b.run("export", "both", "-o", b.path("open.p12"), "-password-file", secret)
	require.Contains(t, remarks, "others than its owner")

	for i, name := range []string{"file.p12", "env.p12", "tty.p12", "stdin.p12", "open.p12"} {
		info, err := os.Stat(b.path(name))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		require.Contains(t, b.must("inspect", b.path(name), "-password-env", "SECRET"), "mx.example.org")
		b.terminal = []string{"first line"}
		b.must("import", b.path(name), "-name", fmt.Sprint("copy", i))
	}
	b.env["WRONG"] = "wrong"
	require.Contains(t, b.fails(exitFailed, "import", b.path("file.p12"), "-password-env", "WRONG", "-name", "x"), "wrong passphrase")
	require.Contains(t, b.fails(exitFailed, "inspect", b.path("file.p12"), "-password-env", "WRONG"), "wrong passphrase")
	for _, e := range b.listed() {
		require.Equal(t, fmt.Sprintf("%x", sha256.Sum256(leaf.Cert.Raw)), e.SHA256)
	}
	require.Equal(t, string(pemOf(leaf.Cert)), b.must("export", "both", "-pem"))
}

// The whole change of a key, held to its times.
func TestRolloverSteps(t *testing.T) {
	b := newBench(t)
	const host = "mx.example.org"
	root := testpki.NewRoot("Example Root")
	b.must("self-signed", host)
	first := b.listed()[0].TLSA311
	require.Equal(t, "no rollover\n", b.must("rollover", "status", host))
	for _, step := range [][]string{{"csr", host}, {"switch", host}, {"install", host, "-self-signed"}, {"published", host, "-ttl", "1h"}, {"abandon", host}, {"finish", host}} {
		b.fails(exitFailed, append([]string{"rollover"}, step...)...)
	}
	b.fails(exitUsage, "rollover", "start", host, "-port", "0")
	require.False(t, b.listed()[0].Next, "a command line that is none makes no key")

	records := b.must("rollover", "start", host)
	require.Equal(t, 2, strings.Count(records, "\n"))
	require.Contains(t, records, first)
	require.Equal(t, records, b.must("rollover", "start", host), "no second key")
	require.Equal(t, records, b.must("tlsa", host))
	require.Contains(t, b.fails(exitFailed, "rollover", "start", host, "-algorithm", "ecdsa-with-sha384"), "abandon")
	require.Contains(t, b.must("rollover", "status", host), "publish: now")
	b.fails(exitFailed, "rollover", "switch", host)

	csr := b.must("rollover", "csr", host)
	require.Contains(t, b.fails(exitFailed, "rollover", "install", host, b.file("wrong.pem", pemOf(signed(t, root, b.must("csr", host))))), "wrong.pem")
	b.must("rollover", "install", host, b.file("next.pem", pemOf(signed(t, root, csr))), "-intermediates", b.file("root.pem", pemOf(root.Cert)), "-include-root")
	require.Equal(t, first, b.listed()[0].TLSA311, "not served yet")
	require.Contains(t, b.fails(exitFailed, "rollover", "switch", host), "confirmed")
	require.Contains(t, b.must("rollover", "published", host, "-ttl", "1h"), "switch:  from "+moment(b.now.Add(2*time.Hour))+" on")
	b.now = b.now.Add(2*time.Hour - time.Second)
	require.Contains(t, b.fails(exitFailed, "rollover", "switch", host), moment(b.now.Add(time.Second)))
	b.now = b.now.Add(time.Second)
	require.Contains(t, b.must("rollover", "status", host), "switch:  now")
	require.Equal(t, "finish:  from "+moment(b.now.Add(2*time.Hour))+" on\n", b.must("rollover", "switch", host))
	require.NotEqual(t, first, b.listed()[0].TLSA311)
	require.Equal(t, records, b.must("tlsa", host), "both, until the former key is dropped")
	require.Equal(t, 3, strings.Count(b.must("tlsa", host, "-ca"), "\n"), "and the authority of the one that has one")
	b.fails(exitFailed, "rollover", "finish", host)
	b.now = b.now.Add(2 * time.Hour)
	left := b.must("rollover", "finish", host)
	require.Equal(t, 1, strings.Count(left, "\n"))
	require.Contains(t, left, b.listed()[0].TLSA311)

	b.must("rollover", "start", host, "-algorithm", "sha256WithRSAEncryption")
	b.must("rollover", "abandon", host)
	require.Equal(t, left, b.must("tlsa", host))
	b.must("rollover", "start", host)
	b.must("rollover", "install", host, "-self-signed", "-days", "30")
	b.must("rollover", "switch", host, "-force")
	b.fails(exitFailed, "rollover", "finish", host)
	b.must("rollover", "finish", host, "-force")
	require.Equal(t, "self-signed", b.listed()[0].Origin)
}

func TestAuthorities(t *testing.T) {
	b := newBench(t)
	one, two := testpki.NewRoot("One"), testpki.NewRoot("Two")
	file := b.file("list.txt", pemOf(one.Cert, two.Cert, one.Cert))
	_, _, remarks := b.run("ca", "import", file)
	require.Contains(t, remarks, "2 added, 0 removed, 0 with another date of distrust, 1 twice")
	var list listJSON
	require.NoError(t, json.Unmarshal([]byte(b.must("ca", "list", "-json")), &list))
	require.Equal(t, 2, list.Count)
	require.Len(t, list.Authorities, 2)
	require.True(t, list.Enabled)
	b.must("ca", "export", "-o", b.path("out.txt"))
	require.Contains(t, b.fails(exitFailed, "ca", "export", "-o", b.path("out.txt")), "not overwritten")
	b.must("ca", "remove", list.Authorities[0].SHA256[:leastDigits])
	require.NotContains(t, b.must("ca", "list"), "CN=One")
	_, _, remarks = b.run("ca", "import", b.path("out.txt"))
	require.Contains(t, remarks, "1 added, 0 removed")
	_, _, remarks = b.run("ca", "import", "-add", b.file("three.pem", pemOf(testpki.NewRoot("Three").Cert)))
	require.Contains(t, remarks, "1 added, 0 removed")

	leaf := one.Leaf([]string{"mx.example.org"})
	for _, tc := range []struct {
		args []string
		says string
	}{
		{[]string{"import", b.file("key.pem", keyOf(t, leaf))}, "private key in a list"},
		{[]string{"import", b.file("none.pem", nil)}, "none.pem"},
		{[]string{"import", b.file("bad.pem", append(pemOf(one.Cert), "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"...))}, "line"},
		{[]string{"remove", strings.Repeat("0", 64)}, certs.ErrNotFound.Error()},
		{[]string{"remove", systemSum(b)}, certs.ErrSystemList.Error()},
	} {
		require.Contains(t, b.fails(exitFailed, append([]string{"ca"}, tc.args...)...), tc.says)
	}
	for _, bad := range []string{"0123456", "not hexadecimal", strings.Repeat("0", 65)} {
		b.fails(exitUsage, "ca", "remove", bad)
	}
	b.must("ca", "import", "-lenient", b.path("bad.pem"))
	b.must("ca", "disable", "system")
	require.Contains(t, b.must("ca", "list", "-list", "system"), "list: system, disabled")
	b.must("ca", "enable", "system")
	require.Contains(t, b.must("ca", "list", "-list", "system"), "list: system, enabled")
	require.Contains(t, b.must("ca", "list", "-list", "system", "-system", b.path("list.txt")), "authorities: 2")
}

// systemSum returns an authority of the system list.
func systemSum(b *bench) string {
	var list listJSON
	require.NoError(b.t, json.Unmarshal([]byte(b.must("ca", "list", "-list", "system", "-json")), &list))
	require.NotEmpty(b.t, list.Authorities)
	return list.Authorities[0].SHA256
}
