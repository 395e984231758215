package dane

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// buffered lets Write return at once. Over a bare net.Pipe a client that sends
// its alert and a server that is still sending would wait for each other.
type buffered struct {
	net.Conn
	queue chan []byte
	done  chan struct{}
}

func newBuffered(conn net.Conn) *buffered {
	b := &buffered{conn, make(chan []byte, 64), make(chan struct{})} // no handshake takes 64 writes
	go func() {
		defer close(b.done)
		for p := range b.queue {
			_, _ = b.Conn.Write(p)
		}
	}()
	return b
}

func (b *buffered) Write(p []byte) (int, error) {
	b.queue <- bytes.Clone(p)
	return len(p), nil
}

// handshake runs a TLS handshake over net.Pipe and reads one octet, so that the
// session tickets of TLS 1.3 have come in.
func handshake(t testing.TB, client, server *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	a, b := net.Pipe()
	out := newBuffered(b)
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn := tls.Server(out, server)
		if conn.Handshake() == nil {
			_, _ = conn.Write([]byte{1})
			_, _ = conn.Read(make([]byte, 1)) // until the client is gone
		}
		close(out.queue)
	}()
	conn := tls.Client(a, client)
	err := conn.Handshake()
	if err == nil {
		_, err = io.ReadFull(conn, make([]byte, 1))
	}
	state := conn.ConnectionState()
	a.Close()
	<-done
	<-out.done
	return state, err
}

func serverConfig(leaf *testpki.Leaf) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{leaf.TLS()}}
}

func clientConfig(t testing.TB, v *Verifier, c ClientConfig) *tls.Config {
	t.Helper()
	if c.RefIDs.Empty() {
		c.RefIDs = refIDs(t, testHost)
	}
	config, err := v.TLSConfig(c)
	require.NoError(t, err)
	return config
}

var tlsVersions = []uint16{tls.VersionTLS12, tls.VersionTLS13}

func TestHandshake(t *testing.T) {
	root := testpki.NewRoot("Root")
	inter := root.Intermediate("Intermediate")
	leaf := newLeaf(inter)
	self := testpki.SelfSigned([]string{"unrelated.example"})
	for _, version := range tlsVersions {
		base := &tls.Config{MaxVersion: version}
		for _, tc := range []struct {
			why    string
			record Record
			server *testpki.Leaf
			reason Reason
		}{
			{"usage 3, self-signed, other name", ee311(t, self.Cert), self, ReasonNone},
			{"usage 2", ta211(t, inter.Cert), leaf, ReasonNone},
			{"mismatch", ee311(t, leaf.Cert), self, ReasonNoMatch},
			{"usage 2 without its anchor", ta211(t, root.Cert), leaf, ReasonNoMatch},
		} {
			var results []Result
			config := clientConfig(t, verifier(t, Options{}, tc.record), ClientConfig{
				Base: base, OnResult: func(r Result) { results = append(results, r) },
			})
			state, err := handshake(t, config, serverConfig(tc.server))
			require.Len(t, results, 1, tc.why)
			require.Equal(t, tc.reason, results[0].Reason, tc.why)
			if tc.reason == ReasonNone {
				require.NoError(t, err, tc.why)
				require.Equal(t, version, state.Version)
				continue
			}
			var failed *VerifyError
			require.ErrorAs(t, err, &failed, tc.why)
			require.ErrorIs(t, err, ErrMismatch)
			require.Equal(t, tc.reason, failed.Reason)
		}
	}
}

func TestHandshakeKeepsCause(t *testing.T) {
	root := testpki.NewRoot("Root")
	leaf := newLeaf(root, testpki.Template(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }))
	server := leaf.TLS()
	server.Certificate = append(server.Certificate, root.Cert.Raw)
	_, err := handshake(t, clientConfig(t, verifier(t, Options{}, ta211(t, root.Cert)), ClientConfig{}), &tls.Config{Certificates: []tls.Certificate{server}})
	var invalid x509.CertificateInvalidError
	require.ErrorAs(t, err, &invalid, "reached through what Handshake returns")
	require.Equal(t, x509.IncompatibleUsage, invalid.Reason)
}

func TestUnusableSetFailsHandshake(t *testing.T) {
	leaf := testpki.SelfSigned([]string{testHost})
	v := verifier(t, Options{}, Record{9, 9, 9, nil})
	_, err := handshake(t, clientConfig(t, v, ClientConfig{}), serverConfig(leaf))
	require.ErrorIs(t, err, ErrUnusable)
	_, err = handshake(t, &tls.Config{InsecureSkipVerify: true, VerifyConnection: v.VerifyConnection(refIDs(t, testHost))}, serverConfig(leaf))
	require.ErrorIs(t, err, ErrUnusable)
	var got Result
	_, err = handshake(t, clientConfig(t, v, ClientConfig{ReportOnly: true, OnResult: func(r Result) { got = r }}), serverConfig(leaf))
	require.NoError(t, err, "the caller chose it")
	require.Equal(t, Unusable, got.Status)
}

func TestVerifyConnection(t *testing.T) {
	leaf := testpki.SelfSigned([]string{testHost})
	for _, tc := range []struct {
		record Record
		ok     bool
	}{{ee311(t, leaf.Cert), true}, {damaged(ee311(t, leaf.Cert)), false}} {
		config := &tls.Config{ServerName: testHost, InsecureSkipVerify: true, VerifyConnection: verifier(t, Options{}, tc.record).VerifyConnection(RefIDs{})}
		_, err := handshake(t, config, serverConfig(leaf))
		require.Equal(t, tc.ok, err == nil)
	}
}

func TestTLSConfigFields(t *testing.T) {
	leaf := testpki.SelfSigned([]string{testHost})
	v := verifier(t, Options{}, ee311(t, leaf.Cert))
	_, err := v.TLSConfig(ClientConfig{})
	require.ErrorIs(t, err, ErrReferenceID)

	base := &tls.Config{ServerName: "other.example", MinVersion: tls.VersionTLS10, EncryptedClientHelloConfigList: []byte{1},
		EncryptedClientHelloRejectionVerify: func(tls.ConnectionState) error { return nil }, NextProtos: []string{"smtp"}}
	config := clientConfig(t, v, ClientConfig{Base: base, RefIDs: refIDs(t, "MX.Example.com", "example.com")})
	require.Equal(t, testHost, config.ServerName, "SNI is the base domain")
	require.EqualValues(t, tls.VersionTLS12, config.MinVersion)
	require.Nil(t, config.EncryptedClientHelloConfigList)
	require.Nil(t, config.EncryptedClientHelloRejectionVerify)
	require.Equal(t, []string{"smtp"}, config.NextProtos)
	require.Nil(t, config.ClientSessionCache)
	require.True(t, config.InsecureSkipVerify)

	require.Equal(t, "other.example", base.ServerName, "the base is not touched")
	require.False(t, base.InsecureSkipVerify)
	require.Nil(t, base.VerifyConnection)
	require.EqualValues(t, tls.VersionTLS13, clientConfig(t, v, ClientConfig{Base: &tls.Config{MinVersion: tls.VersionTLS13}}).MinVersion)
}

// DANE adds failures to those of the base and takes none away.
func TestBaseChecksStay(t *testing.T) {
	leaf := testpki.SelfSigned([]string{testHost})
	refused := errors.New("refused")
	good, bad := verifier(t, Options{}, ee311(t, leaf.Cert)), verifier(t, Options{}, damaged(ee311(t, leaf.Cert)))
	for _, tc := range []struct {
		why  string
		base *tls.Config
	}{
		{"VerifyConnection", &tls.Config{VerifyConnection: func(tls.ConnectionState) error { return refused }}},
		{"VerifyPeerCertificate", &tls.Config{VerifyPeerCertificate: func([][]byte, [][]*x509.Certificate) error { return refused }}},
	} {
		for _, reportOnly := range []bool{false, true} {
			_, err := handshake(t, clientConfig(t, good, ClientConfig{Base: tc.base, ReportOnly: reportOnly}), serverConfig(leaf))
			require.ErrorIs(t, err, refused, tc.why)
		}
	}
	passed := 0
	base := &tls.Config{VerifyConnection: func(tls.ConnectionState) error { passed++; return nil }}
	_, err := handshake(t, clientConfig(t, good, ClientConfig{Base: base}), serverConfig(leaf))
	require.NoError(t, err)
	require.Equal(t, 1, passed)
	_, err = handshake(t, clientConfig(t, bad, ClientConfig{Base: base}), serverConfig(leaf))
	require.ErrorIs(t, err, ErrMismatch)
}

func TestReportOnly(t *testing.T) {
	leaf := testpki.SelfSigned([]string{testHost})
	var got []Result
	config := clientConfig(t, verifier(t, Options{}, damaged(ee311(t, leaf.Cert))), ClientConfig{
		ReportOnly: true, OnResult: func(r Result) { got = append(got, r) },
	})
	_, err := handshake(t, config, serverConfig(leaf))
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, Mismatched, got[0].Status)
}

func TestResumption(t *testing.T) {
	leaf := newLeaf(testpki.NewRoot("Root"))
	good := ee311(t, leaf.Cert)
	bad := damaged(good)
	for _, version := range tlsVersions {
		server := serverConfig(leaf)
		base := &tls.Config{MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(32)}
		calls := 0
		connect := func(reportOnly bool, records ...Record) (bool, error) {
			config := clientConfig(t, verifier(t, Options{}, records...), ClientConfig{
				Base: base, ReportOnly: reportOnly, OnResult: func(Result) { calls++ },
			})
			state, err := handshake(t, config, server)
			return state.DidResume, err
		}
		step := func(why string, resumed bool, reportOnly bool, records ...Record) {
			t.Helper()
			got, err := connect(reportOnly, records...)
			require.NoError(t, err, why)
			require.Equal(t, resumed, got, why)
		}
		step("first", false, false, good)
		step("second: resumed, and judged again", true, false, good)
		require.Equal(t, 2, calls)
		step("another Verifier of the same set", true, false, good, good)
		step("another set that the server satisfies too", false, false, good, bad)
		_, err := connect(false, bad)
		require.ErrorIs(t, err, ErrMismatch, "a set that the server does not satisfy")
		step("report only, a partition of its own", false, true, bad)
		step("report only, resumed", true, true, bad)
		_, err = connect(false, bad)
		require.ErrorIs(t, err, ErrMismatch, "what report only let pass helps nobody else")
		step("the first set still has its session", true, false, good)
	}
}

// Even a session from outside of any partition is judged by the set of now.
func TestResumedSessionIsJudged(t *testing.T) {
	leaf := newLeaf(testpki.NewRoot("Root"))
	for _, version := range tlsVersions {
		server := serverConfig(leaf)
		shared := tls.NewLRUClientSessionCache(1)
		base := &tls.Config{MaxVersion: version, InsecureSkipVerify: true, ServerName: testHost, ClientSessionCache: shared}
		_, err := handshake(t, base, server)
		require.NoError(t, err)
		base.VerifyConnection = verifier(t, Options{}, damaged(ee311(t, leaf.Cert))).VerifyConnection(refIDs(t, testHost))
		_, err = handshake(t, base, server)
		require.ErrorIs(t, err, ErrMismatch)
	}
}

func TestHandshakeClock(t *testing.T) {
	root := testpki.NewRoot("Root", testpki.Valid(now.AddDate(-10, 0, 0), now.AddDate(10, 0, 0)))
	leaf := newLeaf(root)
	server := leaf.TLS()
	server.Certificate = append(server.Certificate, root.Cert.Raw)
	later := func() time.Time { return now.AddDate(1, 0, 0) }
	config := clientConfig(t, verifier(t, Options{Now: later}, ta211(t, root.Cert)), ClientConfig{})
	_, err := handshake(t, config, &tls.Config{Certificates: []tls.Certificate{server}})
	var failed *VerifyError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, ReasonExpired, failed.Reason)
}
