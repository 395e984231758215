//go:build interop

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// needs skips a test for want of a program, and fails it in CI.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err == nil {
			continue
		} else if os.Getenv("CI") != "" {
			t.Fatalf("%s is not installed", name)
		}
		t.Skipf("%s is not installed", name)
	}
}

// The README with OpenSSL as the authority, and OpenSSL's opinion on what was made.
func TestREADMEWithOpenSSL(t *testing.T) {
	needs(t, "openssl")
	out, _ := sh(t, blocks(t, "sh", "sh openssl")+`
echo "--- opinions"
openssl x509 -in "$work/mx.pem" -noout -subject -ext subjectAltName
openssl pkcs12 -in "$work/mx.p12" -passin file:"$work/secret" -noout -info
openssl pkcs12 -in "$work/mx.p12" -passin pass:wrong -noout || echo "wrong passphrase refused"
openssl req -in "$work/mx2.csr" -noout -verify
openssl verify -CAfile "$work/root.pem" "$work/mx2.pem"
openssl x509 -in "$work/mx2.pem" -noout -fingerprint -sha256 | tr -d : | tr A-F a-f
openssl x509 -in "$work/mx2.pem" -pubkey -noout | openssl pkey -pubin -outform DER | openssl dgst -sha256 -r
openssl x509 -in "$work/root.pem" -pubkey -noout | openssl pkey -pubin -outform DER | openssl dgst -sha256 -r
openssl storeutl -noout -certs "$work/mozilla.txt"
`)
	commands, opinions, ok := strings.Cut(out, "--- opinions")
	require.True(t, ok, out)
	require.Contains(t, opinions, "DNS:mx.example.org, DNS:mail.example.org")
	require.Contains(t, opinions, "PBES2, PBKDF2, AES-256-CBC")
	require.Contains(t, opinions, "wrong passphrase refused")
	require.Contains(t, opinions, "mx2.pem: OK")
	require.Contains(t, opinions, "self-signature verify OK")
	var digests []string
	for line := range strings.Lines(opinions) {
		if digest, ok := strings.CutSuffix(strings.TrimSpace(line), " *stdin"); ok {
			digests = append(digests, digest)
		}
	}
	require.Len(t, digests, 2)
	require.Contains(t, commands, "_25._tcp.mx2.example.org. 3600 IN TLSA 3 1 1 "+digests[0]+"\n")
	require.Contains(t, commands, "_25._tcp.mx2.example.org. 3600 IN TLSA 2 1 1 "+digests[1]+"\n")
	require.NotContains(t, opinions, "Total found: 0")
	require.Contains(t, opinions, "Total found: ")
}

// What OpenSSL writes comes in, with every kind of protection; a server of OpenSSL
// reads the store itself.
func TestOpenSSLFiles(t *testing.T) {
	needs(t, "openssl")
	b := newBench(t)
	openssl := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "openssl", args...)
		cmd.Dir = b.dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "openssl %q: %s", args, out)
		return string(out)
	}
	openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "30", "-subj", "/CN=mx.example.org", "-addext", "subjectAltName=DNS:mx.example.org")
	b.env["SECRET"] = "pässwörd"
	for i, how := range [][]string{nil, {"-legacy"}, {"-descert"}, {"-certpbe", "NONE"}, {"-macalg", "sha512"}, {"-iter", "100000"}} {
		file, name := fmt.Sprint(i, ".p12"), fmt.Sprint("entry", i)
		openssl(append([]string{"pkcs12", "-export", "-in", "cert.pem", "-inkey", "key.pem", "-out", file, "-name", "Mail Exchanger", "-passout", "pass:" + b.env["SECRET"]}, how...)...)
		b.must("import", b.path(file), "-password-env", "SECRET", "-name", name)
		require.Contains(t, b.must("inspect", b.path(file), "-password-env", "SECRET"), `"Mail Exchanger"`)
	}
	openssl("pkey", "-in", "key.pem", "-aes256", "-passout", "pass:"+b.env["SECRET"], "-out", "locked.pem")
	b.must("import", b.path("cert.pem"), "-key", b.path("locked.pem"), "-password-env", "SECRET", "-name", "locked")
	require.Contains(t, b.fails(exitFailed, "import", b.path("cert.pem"), "-key", b.path("locked.pem"), "-name", "x"), "no terminal")
	openssl("pkcs12", "-export", "-nokeys", "-in", "cert.pem", "-out", "authorities.p12", "-passout", "pass:"+b.env["SECRET"])
	b.must("ca", "import", b.path("authorities.p12"), "-password-env", "SECRET")
	require.Contains(t, b.must("ca", "list"), "mx.example.org")
	require.Contains(t, b.fails(exitFailed, "ca", "import", b.path("0.p12"), "-password-env", "SECRET"), "private key")
	openssl("x509", "-in", "cert.pem", "-outform", "DER", "-out", "cert.der")
	b.must("ca", "import", b.path("cert.der"))
	openssl("crl2pkcs7", "-nocrl", "-certfile", "cert.pem", "-out", "answer.p7b")
	require.Contains(t, b.fails(exitFailed, "install", "locked", b.path("answer.p7b")), "openssl pkcs7", "the command that converts it")

	entries := b.listed()
	require.Len(t, entries, 7)
	fingerprint := openssl("x509", "-in", "cert.pem", "-noout", "-fingerprint", "-sha256")
	_, fingerprint, _ = strings.Cut(strings.ToLower(strings.ReplaceAll(strings.TrimSpace(fingerprint), ":", "")), "=")
	for _, e := range entries {
		require.Equal(t, fingerprint, e.SHA256)
		stored := filepath.Join(b.store, "entries", e.Name, "current.pem")
		require.Contains(t, openssl("pkey", "-in", stored, "-check", "-noout"), "valid")
		require.Contains(t, openssl("x509", "-in", stored, "-noout", "-subject"), "mx.example.org")
	}
}

// Without a flag the passphrase is asked for on the terminal, and not shown there.
func TestTerminal(t *testing.T) {
	needs(t, "script")
	work := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(work, "certs"), ".")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	// terminal runs a command on a terminal, and answers every prompt with the secret.
	terminal := func(command string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "script", "-qec", command, filepath.Join(work, "typescript"))
		cmd.Dir = work
		cmd.Env = append(os.Environ(), "CERTS_DIR="+filepath.Join(work, "store"), "SHELL=/bin/sh")
		stdin, err := cmd.StdinPipe()
		require.NoError(t, err)
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		said := ""
		for buffer := make([]byte, 1024); ; {
			n, err := stdout.Read(buffer)
			if err != nil {
				break
			}
			if said += string(buffer[:n]); strings.HasSuffix(said, ": ") {
				_, err := stdin.Write([]byte("secret word\n"))
				require.NoError(t, err)
			}
		}
		require.NoError(t, cmd.Wait(), "%s: %s", command, said)
		require.NotContains(t, said, "secret word")
		return said
	}
	terminal("./certs self-signed mx.example.org")
	said := terminal("./certs export mx.example.org -o mx.p12 </dev/null")
	require.Contains(t, said, "Passphrase of the new file: ")
	require.Contains(t, said, "Once more: ")
	require.Contains(t, terminal("./certs import mx.p12 -name copy </dev/null"), `Passphrase of "mx.p12": `)
	require.Contains(t, terminal("./certs list"), "copy")
}
