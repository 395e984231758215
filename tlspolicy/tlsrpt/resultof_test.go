package tlsrpt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// handshake returns the error of a client that meets a server over loopback.
func handshake(t testing.TB, config *tls.Config, timeout time.Duration, serve func(net.Conn)) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		serve(conn)
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	err = tls.Client(conn, config).HandshakeContext(ctx)
	conn.Close()
	l.Close()
	<-done
	return err
}

func serveTLS(config *tls.Config) func(net.Conn) {
	return func(conn net.Conn) { _ = tls.Server(conn, config).Handshake() } // the client's error counts
}

const patience = 30 * time.Second

// TestResultOfCertificates: every defect is shown by a server.
func TestResultOfCertificates(t *testing.T) {
	const name = "mx.receiver.example"
	now := time.Now()
	root := testpki.NewRoot("root")
	expired := testpki.Valid(now.Add(-2*time.Hour), now.Add(-time.Hour))
	early := testpki.Valid(now.Add(time.Hour), now.Add(2*time.Hour))
	template := func(change func(*x509.Certificate)) testpki.Mod { return testpki.Template(change) }
	for _, tc := range []struct {
		why    string
		leaf   *testpki.Leaf
		roots  *testpki.Authority
		result ResultType
		reason string
	}{
		{"right", root.Leaf([]string{name}), root, Success, ""},
		{"expired", root.Leaf([]string{name}, expired), root, CertificateExpired, ""},
		{"not yet valid", root.Leaf([]string{name}, early), root, CertificateExpired, "not-yet-valid"},
		{"issuer expired", root.Intermediate("old", expired).Leaf([]string{name}), root, CertificateExpired, "issuer-expired"},
		{"wrong name", root.Leaf([]string{"other.example"}), root, CertificateHostMismatch, ""},
		{"common name alone", root.Leaf(nil, testpki.CommonName(name)), root, CertificateHostMismatch, ""},
		{"unknown authority", testpki.NewRoot("other").Leaf([]string{name}), root, CertificateNotTrusted, "unknown-authority"},
		{"self-signed", testpki.SelfSigned([]string{name}), root, CertificateNotTrusted, "unknown-authority"},
		{"for clients", root.Leaf([]string{name}, template(func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		})), root, CertificateNotTrusted, "incompatible-usage"},
		{"name constraints", root.Intermediate("narrow", template(func(c *x509.Certificate) {
			c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"else.example"}, true
		})).Leaf([]string{name}), root, CertificateNotTrusted, "ca-not-authorized-for-this-name"},
		{"path too long", root.Intermediate("short", template(func(c *x509.Certificate) { c.MaxPathLenZero = true })).Intermediate("more").Leaf([]string{name}), root,
			CertificateNotTrusted, "too-many-intermediates"},
		{"critical extension", root.Leaf([]string{name}, template(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		})), root, CertificateNotTrusted, "unhandled-critical-extension"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			client := &tls.Config{ServerName: name, RootCAs: testpki.Pool(tc.roots)}
			err := handshake(t, client, patience, serveTLS(&tls.Config{Certificates: []tls.Certificate{tc.leaf.TLS()}}))
			result, reason := ResultOf(err)
			require.Equal(t, tc.result, result, "%v", err)
			require.Equal(t, tc.reason, reason, "%v", err)
			result, _ = ResultOf(fmt.Errorf("wrapped: %w", err))
			if err != nil {
				require.Equal(t, tc.result, result)
			}
		})
	}
	// An issuer that may not sign is passed over for want of a chain; what Verify
	// says then depends on the pool.
	leaf := root.Leaf([]string{name})
	below := (&testpki.Authority{Cert: leaf.Cert, Key: leaf.Key, Issuer: root}).Leaf([]string{name})
	pool := x509.NewCertPool()
	pool.AddCert(leaf.Cert)
	_, err := below.Cert.Verify(x509.VerifyOptions{Roots: testpki.Pool(root), Intermediates: pool})
	result, reason := ResultOf(err)
	require.Equal(t, CertificateNotTrusted, result, "%v", err)
	require.NotEmpty(t, reason)
	// CheckSignatureFrom of the same.
	result, reason = ResultOf(below.Cert.CheckSignatureFrom(leaf.Cert))
	require.Equal(t, CertificateNotTrusted, result)
	require.Equal(t, "constraint-violation", reason)
	result, reason = ResultOf(leaf.Cert.CheckSignature(x509.MD5WithRSA, nil, nil))
	require.Equal(t, [2]string{"certificate-not-trusted", "insecure-algorithm"}, [2]string{string(result), reason})
}

// TestResultOfAlerts: a server sends every number that an alert can have.
func TestResultOfAlerts(t *testing.T) {
	named := 0
	for number := range 256 {
		err := handshake(t, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, patience, func(conn net.Conn) {
			hello := make([]byte, 5)
			if _, err := io.ReadFull(conn, hello); err != nil {
				return
			}
			_, _ = io.CopyN(io.Discard, conn, int64(hello[3])<<8|int64(hello[4]))
			_, _ = conn.Write([]byte{21, 3, 3, 0, 2, 2, byte(number)})
			_, _ = io.Copy(io.Discard, conn)
		})
		result, reason := ResultOf(err)
		require.Equal(t, ValidationFailure, result, "%d: %v", number, err)
		text, ok := alertTexts[uint8(number)]
		switch {
		case number == 0: // the end, not an error
			require.Equal(t, ReasonConnectionClosed, reason, "%v", err)
		case ok:
			named++
			require.ErrorContains(t, err, "remote error: tls: "+text, "%d", number)
			require.Equal(t, "tls-remote-"+strings.ToLower(strings.ReplaceAll(text, " ", "-")), reason)
			require.True(t, validReason(reason))
		default:
			require.Equal(t, "tls-remote-error", reason, "%d: %v", number, err)
		}
	}
	require.Equal(t, len(alertTexts)-1, named)
}

func TestResultOfConnections(t *testing.T) {
	insecure := &tls.Config{InsecureSkipVerify: true}
	root := testpki.NewRoot("root")
	readHello := func(conn net.Conn) {
		hello := make([]byte, 5)
		_, _ = io.ReadFull(conn, hello)
		_, _ = io.CopyN(io.Discard, conn, int64(hello[3])<<8|int64(hello[4]))
	}
	for _, tc := range []struct {
		why     string
		timeout time.Duration
		serve   func(net.Conn)
		reason  string
	}{
		{"closed", patience, func(conn net.Conn) { readHello(conn) }, ReasonConnectionClosed},
		{"reset", patience, func(conn net.Conn) { readHello(conn); _ = conn.(*net.TCPConn).SetLinger(0) }, ReasonConnectionClosed},
		{"cut in a record", patience, func(conn net.Conn) { readHello(conn); _, _ = conn.Write([]byte{22, 3, 3}) }, ReasonConnectionClosed},
		{"stall", 50 * time.Millisecond, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, ReasonHandshakeTimeout},
		{"no TLS", patience, func(conn net.Conn) {
			readHello(conn)
			_, _ = conn.Write([]byte("220 ready when you are\r\n"))
		}, "tls-record-header"},
		{"record too large", patience, func(conn net.Conn) {
			readHello(conn)
			_, _ = conn.Write(append([]byte{22, 3, 3, 0xff, 0xff}, make([]byte, 0xffff)...))
			_, _ = io.Copy(io.Discard, conn)
		}, "tls-record-header"},
		{"malformed ServerHello", patience, func(conn net.Conn) {
			readHello(conn)
			_, _ = conn.Write([]byte{22, 3, 3, 0, 4, 2, 0, 0, 0})
			_, _ = io.Copy(io.Discard, conn)
		}, "tls-local-error-decoding-message"},
		{"no common version", patience, serveTLS(&tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10,
			Certificates: []tls.Certificate{root.Leaf([]string{"a.example"}).TLS()}}), "tls-remote-protocol-version-not-supported"},
		// RFC 5246 section 7.4.6.
		{"client certificate wanted", patience, func(conn net.Conn) {
			server := tls.Server(conn, &tls.Config{MaxVersion: tls.VersionTLS12, ClientAuth: tls.RequireAnyClientCert,
				Certificates: []tls.Certificate{root.Leaf([]string{"a.example"}).TLS()}})
			_ = server.Handshake()
		}, "tls-remote-handshake-failure"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			err := handshake(t, insecure, tc.timeout, tc.serve)
			result, reason := ResultOf(err)
			require.Equal(t, ValidationFailure, result)
			require.Equal(t, tc.reason, reason, "%#v", err)
		})
	}
	for why, err := range map[string]error{"unknown": errors.New("peer says <b>hello</b>"), "no cause": &net.OpError{Op: "remote error"}} {
		_, reason := ResultOf(err)
		require.Equal(t, "tls-error", reason, why)
	}
}

func TestResultOfDNS(t *testing.T) {
	for _, tc := range []struct {
		err    *net.DNSError
		reason string
	}{
		{&net.DNSError{IsTimeout: true, IsTemporary: true}, "tlsa-lookup-timeout"},
		{&net.DNSError{IsTemporary: true}, "tlsa-lookup-servfail"},
		{&net.DNSError{}, "tlsa-lookup-failed"},
	} {
		result, reason := ResultOf(fmt.Errorf("tlsa: %w", tc.err))
		require.Equal(t, TLSAInvalid, result)
		require.Equal(t, tc.reason, reason)
	}
	require.Equal(t, "tlsa-lookup-refused", LookupReason(5))
	require.Equal(t, "tlsa-lookup-23", LookupReason(23))
	require.Equal(t, "tlsa-lookup-0", LookupReason(-1))
	require.Equal(t, "ede-7", BogusReason(7))
	require.Empty(t, BogusReason(-1))
}

// usualErrors are those that a mail client meets every day.
func usualErrors() []error {
	return []error{
		&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}},
		&tls.CertificateVerificationError{Err: x509.HostnameError{}},
		x509.CertificateInvalidError{Reason: x509.Expired},
		io.EOF,
		fmt.Errorf("handshake: %w", context.DeadlineExceeded),
	}
}

func TestResultOfAllocations(t *testing.T) {
	for _, err := range usualErrors() {
		require.Zero(t, testing.AllocsPerRun(100, func() { ResultOf(err) }), "%T", err)
	}
}

func BenchmarkResultOf(b *testing.B) {
	usual := usualErrors()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		ResultOf(usual[i%len(usual)])
		i++
	}
}
