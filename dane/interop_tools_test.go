//go:build interop

package dane

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// command runs a program with a time limit and returns what it prints.
func command(t *testing.T, stdin string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	run := exec.CommandContext(ctx, name, args...)
	run.Stdin = strings.NewReader(stdin)
	out, err := run.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) { // its exit code is told by what it prints
		require.NoError(t, err, "%s: %s", name, out)
	}
	return string(out)
}

// writePEM writes certificates, and a key if there is one, and returns the path.
func writePEM(t *testing.T, key crypto.Signer, certs ...*x509.Certificate) string {
	t.Helper()
	var b bytes.Buffer
	for _, cert := range certs {
		require.NoError(t, pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	}
	if key != nil {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		require.NoError(t, err)
		require.NoError(t, pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	path := filepath.Join(t.TempDir(), "cert.pem")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
	return path
}

// openssl s_client, with STARTTLS, against a server of ours.
func TestOpenSSLClient(t *testing.T) {
	root := testpki.NewRoot("Root")
	leaf := newLeaf(root.Intermediate("Intermediate"))
	chain := leaf.Chain()
	for _, tc := range []struct {
		record Record
		want   string
	}{
		{ee311(t, leaf.Cert), "DANE TLSA 3 1 1"},
		{record(t, 3, 0, 2, leaf.Cert), "DANE TLSA 3 0 2"},
		{ta211(t, chain[1]), "DANE TLSA 2 1 1"},
		{record(t, 2, 0, 0, root.Cert), "DANE TLSA 2 0 0"},
		{damaged(ee311(t, leaf.Cert)), "No matching DANE TLSA records"},
	} {
		addr := starttlsServer(t, leaf.TLS())
		out := command(t, "QUIT\r\n", "openssl", "s_client", "-starttls", "smtp", "-connect", addr, "-dane_tlsa_domain", testHost,
			"-dane_tlsa_rrdata", tc.record.String(), "-dane_ee_no_namechecks", "-verify_return_error")
		ours := verifier(t, Options{}, tc.record).Verify(chain, refIDs(t, testHost), now)
		require.Equal(t, ours.Status == Matched, strings.Contains(out, "Verification: OK"), out)
		require.Contains(t, strings.ToLower(out), strings.ToLower(tc.want), out)
	}
}

// starttlsServer takes one SMTP connection on a loopback port.
func starttlsServer(t *testing.T, cert tls.Certificate) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer listener.Close()
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		lines := bufio.NewReader(conn)
		fmt.Fprint(conn, "220 mx.example.com ESMTP\r\n")
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			if strings.HasPrefix(line, "STARTTLS") {
				break
			}
			fmt.Fprint(conn, "250-mx.example.com\r\n250 STARTTLS\r\n")
		}
		fmt.Fprint(conn, "220 go on\r\n")
		secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}})
		if secure.Handshake() == nil {
			_, _ = bufio.NewReader(secure).ReadString('\n')
			fmt.Fprint(secure, "221 bye\r\n")
			_ = secure.Close()
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-done
	})
	return listener.Addr().String()
}

// Our client against openssl s_server.
func TestOpenSSLServer(t *testing.T) {
	root := testpki.NewRoot("Root")
	leaf := newLeaf(root.Intermediate("Intermediate"))
	chain := leaf.Chain()
	server := exec.Command("openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", writePEM(t, nil, chain...),
		"-key", writePEM(t, leaf.Key), "-cert_chain", writePEM(t, nil, chain[1:]...))
	hold, err := server.StdinPipe()
	require.NoError(t, err)
	out, err := server.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		hold.Close()
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	var addr string
	for lines := bufio.NewScanner(out); addr == "" && lines.Scan(); {
		addr, _ = strings.CutPrefix(lines.Text(), "ACCEPT ")
		if addr == lines.Text() {
			addr = ""
		}
	}
	require.NotEmpty(t, addr)
	go func() { _, _ = io.Copy(io.Discard, out) }()
	for _, tc := range []struct {
		record Record
		ok     bool
	}{
		{ee311(t, leaf.Cert), true}, {ta211(t, chain[1]), true}, {record(t, 2, 0, 0, root.Cert), true},
		{record(t, 2, 1, 0, root.Cert), true}, {ta211(t, root.Cert), false}, {damaged(ee311(t, leaf.Cert)), false},
	} {
		config := clientConfig(t, verifier(t, Options{}, tc.record), ClientConfig{})
		conn, err := tls.Dial("tcp", addr, config)
		require.Equal(t, tc.ok, err == nil, "%v: %v", tc.record, err)
		if err == nil {
			conn.Close()
		} else {
			require.ErrorIs(t, err, ErrMismatch)
		}
	}
}

// The records that GnuTLS makes of a certificate have the same data. It knows
// digests only.
func TestDanetool(t *testing.T) {
	leaf := newLeaf(testpki.NewRoot("Root"))
	file := writePEM(t, nil, leaf.Cert)
	for _, s := range []Selector{SelectorCert, SelectorSPKI} {
		for m, hash := range map[MatchingType]string{MatchingSHA256: "sha256", MatchingSHA512: "sha512"} {
			args := []string{"--tlsa-rr", "--host", testHost, "--load-certificate", file, "--port", "25", "--proto", "tcp", "--hash", hash}
			if s == SelectorCert {
				args = append(args, "--x509")
			}
			out := command(t, "", "danetool", args...)
			_, rr, found := strings.Cut(out, " TLSA ")
			require.True(t, found, out)
			theirs, err := ParseRecord(strings.TrimSpace(rr))
			require.NoError(t, err, out)
			require.Equal(t, record(t, UsageDANEEE, s, m, leaf.Cert).Data, theirs.Data, out)
			require.Equal(t, s, theirs.Selector)
			require.Equal(t, m, theirs.MatchingType)
		}
	}
}

// The vectors say what OpenSSL thinks of them.
func TestOpenSSLVectors(t *testing.T) {
	libssl := newOracle(t)
	file := readVectors(t)
	for _, c := range file.Cases {
		if c.OpenSSL == "" {
			continue // not a question for the SMTP profile
		}
		theirs := libssl.ask(t, c.records(t), file.chain(t, c.Chain), c.refIDs(t), file.Time)
		got := theirs.status.String()
		if theirs.status == Matched {
			got = fmt.Sprintf("matched %d at depth %d", theirs.usage, theirs.depth)
		}
		require.Equal(t, c.OpenSSL, got, c.Why)
	}
}

// And so have the digests that OpenSSL makes.
func TestOpenSSLDigests(t *testing.T) {
	leaf := newLeaf(testpki.NewRoot("Root"))
	file := writePEM(t, nil, leaf.Cert)
	for s, part := range []string{
		"openssl x509 -in " + file + " -outform DER",
		"openssl x509 -in " + file + " -noout -pubkey | openssl pkey -pubin -outform DER",
	} {
		for m, digest := range []string{"od -An -v -tx1", "sha256sum", "sha512sum"} {
			out := command(t, "", "sh", "-c", part+" | "+digest)
			sum, _, _ := strings.Cut(out, "  -") // as sha256sum ends
			want, err := ParseRecord(fmt.Sprintf("3 %d %d %s", s, m, sum))
			require.NoError(t, err)
			require.Equal(t, want, record(t, 3, Selector(s), MatchingType(m), leaf.Cert))
		}
	}
}
