//go:build interop

package smtpserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/testpki"
)

// program skips the test where a program is missing, but not in CI.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") != "" {
			require.NoError(t, err)
		}
		t.Skipf("%s is not installed", name)
	}
	return path
}

// output runs a program and returns all that it printed.
func output(t *testing.T, input, path string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = strings.NewReader(input)
	out, _ := cmd.CombinedOutput() // the exit code says less than the output
	require.NoError(t, ctx.Err(), "%s", out)
	return string(out)
}

func pemFile(t *testing.T, name string, blocks ...*pem.Block) string {
	t.Helper()
	var b bytes.Buffer
	for _, block := range blocks {
		require.NoError(t, pem.Encode(&b, block))
	}
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
	return path
}

func certFile(t *testing.T, cert *x509.Certificate) string {
	return pemFile(t, "cert.pem", &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

func TestInteropOpenSSL(t *testing.T) {
	openssl := program(t, "openssl")
	root := certFile(t, testRoot.Cert)
	clients := testpki.NewRoot("Clients")
	auth := testpki.Template(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	pair := func(a *testpki.Authority) []string {
		leaf := a.Leaf([]string{"client.example"}, auth)
		key, err := x509.MarshalPKCS8PrivateKey(leaf.Key)
		require.NoError(t, err)
		return []string{"-cert", certFile(t, leaf.Cert), "-key", pemFile(t, "key.pem", &pem.Block{Type: "PRIVATE KEY", Bytes: key})}
	}
	demanded := Policy{TLS: TLSRequired, ClientCert: ClientCertRequired, ClientCAs: testpki.Pool(clients)}
	for _, c := range []struct {
		why    string
		policy Policy
		args   []string
		want   string
	}{
		{"Preferred", tlsPreferred, nil, "Verify return code: 0 (ok)"},
		{"Required", tlsRequired, nil, "Verify return code: 0 (ok)"},
		{"Required, TLS 1.2", tlsRequired, []string{"-tls1_2"}, "Verify return code: 0 (ok)"},
		{"TLS 1.1", tlsRequired, []string{"-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"}, "alert number 70"},
		{"setting No", tlsNo, nil, "STARTTLS"},
		{"a certificate", demanded, pair(clients), "250 SIZE"},
		{"no certificate", demanded, nil, "alert number 116"},
		{"no certificate, TLS 1.2", demanded, []string{"-tls1_2"}, "alert number 40"},
		{"a foreign certificate", demanded, pair(testpki.NewRoot("Foreign")), "alert number 42"},
	} {
		t.Run(c.why, func(t *testing.T) {
			w := serve(t, forAll(t, c.policy))
			args := append([]string{"s_client", "-connect", w.addr, "-starttls", "smtp", "-CAfile", root,
				"-servername", "mx.example.com", "-verify_return_error", "-crlf", "-ign_eof"}, c.args...)
			out := output(t, "EHLO client.example\nQUIT\n", openssl, args...)
			require.Contains(t, out, c.want)
			if c.policy.TLS == TLSNo {
				require.Contains(t, out, "no peer certificate available")
			}
		})
	}
	t.Run("implicit TLS", func(t *testing.T) {
		o := forAll(t, tlsRequired)
		o.ImplicitTLS = true
		hl, _ := filter(t, o)
		goSMTP(t, tls.NewListener(hl, hl.TLSConfig()), nil)
		out := output(t, "QUIT\n", openssl, "s_client", "-connect", hl.Addr().String(), "-CAfile", root, "-crlf", "-ign_eof")
		require.Contains(t, out, strings.TrimSpace(greeting))
		require.Contains(t, out, strings.TrimSpace(bye))
	})
}

func TestInteropSwaks(t *testing.T) {
	swaks := program(t, "swaks")
	for _, c := range []struct {
		why    string
		policy Policy
		tls    bool
		want   string
		mails  int
	}{
		{"Required without TLS", tlsRequired, false, "530 5.7.0 Must issue a STARTTLS command first", 0},
		{"Required", tlsRequired, true, "250 2.0.0 OK: queued", 1},
		{"No", tlsNo, false, "250 2.0.0 OK: queued", 1},
		{"No with TLS", tlsNo, true, "STARTTLS", 0},
		{"Preferred without TLS", tlsPreferred, false, "250 2.0.0 OK: queued", 1},
		{"Preferred", tlsPreferred, true, "250 2.0.0 OK: queued", 1},
		{"Reject", Policy{Access: Reject}, false, "554 5.7.1", 0},
	} {
		t.Run(c.why, func(t *testing.T) {
			w := serve(t, forAll(t, c.policy))
			host, port, err := net.SplitHostPort(w.addr)
			require.NoError(t, err)
			args := []string{"--server", host, "--port", port, "--from", "a@example.com", "--to", "b@example.com", "--timeout", "10"}
			if c.tls {
				args = append(args, "-tls")
			}
			out := output(t, "", swaks, args...)
			if strings.Contains(out, "requires Net::SSLeay") && os.Getenv("CI") == "" {
				t.Skip("swaks has no TLS here: install libnet-ssleay-perl")
			}
			require.Contains(t, out, c.want)
			w.backend.see(func() { require.Len(t, w.backend.messages, c.mails) })
		})
	}
}
