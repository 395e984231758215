package certs

import (
	"context"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// helloFor is what a client of today sends.
func helloFor(name string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{ServerName: name, SupportedVersions: []uint16{tls.VersionTLS13, tls.VersionTLS12},
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256, tls.PKCS1WithSHA256},
		CipherSuites:     []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
		SupportedCurves:  []tls.CurveID{tls.CurveP256}, SupportedPoints: []uint8{0}}
}

// onlyRSA is a client without ECDSA.
func onlyRSA(name string) *tls.ClientHelloInfo {
	h := helloFor(name)
	h.SignatureSchemes = h.SignatureSchemes[1:]
	h.SupportedVersions = h.SupportedVersions[1:]
	h.CipherSuites = h.CipherSuites[1:2]
	return h
}

func TestChapterOneCertificatePerService(t *testing.T) {
	overBackings(t, func(t *testing.T, storage Storage) {
		s := openStore(t, StoreOptions{Storage: storage})
		roles := []string{ListenerRole("Inboundmail"), ListenerRole("Outboundmail"), RoleHTTPS, RoleLDAP, RoleOutgoing}
		for i, role := range roles {
			name := fmt.Sprintf("cert%d.example", i)
			created(t, s, name)
			source := s.Source(role)
			require.ErrorIs(t, source.Ready(), ErrRoleUnassigned)
			_, err := source.GetCertificate(helloFor(name))
			require.ErrorIs(t, err, ErrRoleUnassigned, "never somebody else's certificate")
			_, err = source.GetClientCertificate(&tls.CertificateRequestInfo{})
			require.ErrorIs(t, err, ErrRoleUnassigned)
			_, err = s.Assign(role, name)
			require.NoError(t, err)
			require.NoError(t, source.Ready())
		}
		for range 2 {
			for i, role := range roles {
				cert, err := s.Source(role).GetCertificate(helloFor("unknown.example"))
				require.NoError(t, err)
				require.Equal(t, fmt.Sprintf("cert%d.example", i), cert.Leaf.Subject.CommonName)
			}
			s = openStore(t, StoreOptions{Storage: storage})
		}
		// One for all.
		for _, role := range roles {
			_, err := s.Assign(role, "cert0.example")
			require.NoError(t, err)
		}
		require.Len(t, detail(t, s, "cert0.example").Roles, len(roles))
		require.NoError(t, s.Unassign(RoleHTTPS))
		require.NoError(t, s.Unassign(RoleHTTPS))
		require.ErrorIs(t, s.Source(RoleHTTPS).Ready(), ErrRoleUnassigned)
		var field *FieldError
		for _, bad := range []string{"", "a\nb", "\xff", fmt.Sprintf("%300s", "x")} {
			_, err := s.Assign(bad, "cert0.example")
			require.ErrorAs(t, err, &field, "%q", bad)
		}
		_, err := s.Assign("x")
		require.ErrorAs(t, err, &field)
		_, err = s.Assign("x", "absent")
		require.ErrorIs(t, err, ErrNotFound)
	})
}

// A certificate for servers alone is reported where a client's is needed.
func TestAssignFindsWrongUse(t *testing.T) {
	s := openStore(t, StoreOptions{})
	_, err := s.ImportPEM("server", storePair(t, testpki.SelfSigned([]string{"a.example"})), ImportOptions{})
	require.NoError(t, err)
	findings, err := s.Assign(RoleOutgoing, "server")
	require.NoError(t, err)
	require.Contains(t, codes(findings), FindingEKU)
	findings, err = s.Assign(RoleHTTPS, "server")
	require.NoError(t, err)
	require.NotContains(t, codes(findings), FindingEKU)
}

func TestSelection(t *testing.T) {
	s := openStore(t, StoreOptions{})
	root := testpki.NewRoot("r")
	add := func(name string, dnsNames []string, mods ...testpki.Mod) {
		_, err := s.ImportPEM(name, storePair(t, root.Leaf(dnsNames, mods...)), ImportOptions{})
		require.NoError(t, err)
	}
	rsaKey := testpki.NewRSA(2048)
	add("default", []string{"mx.example.com"})
	add("default rsa", []string{"MX.example.com"}, testpki.Key(rsaKey))
	add("exact", []string{"host.wild.example", "Second.Example"})
	add("wild", []string{"*.wild.example", "wild.example"})
	add("wild rsa", []string{"*.wild.example"}, testpki.Key(rsaKey))
	add("cn", nil, testpki.CommonName("cn.example"))
	add("odd", []string{"bad name", "odd.example."})
	_, err := s.Assign("role", "default", "exact", "wild", "wild rsa", "default rsa", "cn", "odd", "default")
	require.NoError(t, err)
	source := s.Source("role")
	for _, tc := range []struct {
		why, sni, want string
		hello          func(string) *tls.ClientHelloInfo
	}{
		{"exact name", "second.example", "exact", helloFor},
		{"letter case", "SECOND.example", "exact", helloFor},
		{"final dot", "second.example.", "exact", helloFor},
		{"exact before wildcard", "host.wild.example", "exact", helloFor},
		{"wildcard", "other.wild.example", "wild", helloFor},
		{"wildcard covers one label", "a.b.wild.example", "default", helloFor},
		{"wildcard does not cover its own domain", "wild.example", "wild", helloFor},
		{"wildcard, client without ECDSA", "x.wild.example", "wild rsa", onlyRSA},
		{"no name", "", "default", helloFor},
		{"no name, client without ECDSA", "", "default rsa", onlyRSA},
		{"unknown name", "unknown.example", "default", helloFor},
		{"unknown name, client without ECDSA", "unknown.example", "default rsa", onlyRSA},
		{"exact, client without ECDSA gets the wildcard that it can use", "host.wild.example", "wild rsa", onlyRSA},
		{"client without ECDSA gets another name rather than no handshake", "second.example", "default rsa", onlyRSA},
		{"client that can use nothing gets what is right", "second.example", "exact", func(name string) *tls.ClientHelloInfo {
			h := onlyRSA(name)
			h.SignatureSchemes = []tls.SignatureScheme{tls.Ed25519}
			return h
		}},
		{"common name without dNSNames", "cn.example", "cn", helloFor},
		{"dNSName that is none", "odd.example", "default", helloFor},
		{"a dot", ".", "default", helloFor},
		{"empty label", ".wild.example", "default", helloFor},
		{"too long", string(make([]byte, 300)), "default", helloFor},
		{"address", "192.0.2.1", "default", helloFor},
		{"a star is no name", "*.wild.example", "wild", helloFor},
	} {
		cert, err := source.GetCertificate(tc.hello(tc.sni))
		require.NoError(t, err, tc.why)
		require.NotNil(t, cert.Leaf, tc.why)
		require.Equal(t, fingerprint(detail(t, s, tc.want).Chain[0]), fingerprint(cert.Leaf), tc.why)
	}
}

func TestClientCertificate(t *testing.T) {
	s := openStore(t, StoreOptions{})
	ours, theirs := testpki.NewRoot("Ours"), testpki.NewRoot("Theirs")
	for name, root := range map[string]*testpki.Authority{"ours": ours, "theirs": theirs} {
		_, err := s.ImportPEM(name, storePair(t, root.Leaf([]string{"mx.example.com"})), ImportOptions{})
		require.NoError(t, err)
	}
	_, err := s.Assign(RoleOutgoing, "ours", "theirs")
	require.NoError(t, err)
	request := func(authorities ...*testpki.Authority) *tls.CertificateRequestInfo {
		r := &tls.CertificateRequestInfo{Version: tls.VersionTLS13, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}}
		for _, a := range authorities {
			r.AcceptableCAs = append(r.AcceptableCAs, a.Cert.RawSubject)
		}
		return r
	}
	source := s.Source(RoleOutgoing)
	for want, r := range map[string]*tls.CertificateRequestInfo{"ours": request(), "theirs": request(theirs)} {
		cert, err := source.GetClientCertificate(r)
		require.NoError(t, err)
		require.Equal(t, fingerprint(detail(t, s, want).Chain[0]), fingerprint(cert.Leaf), want)
	}
	cert, err := source.GetClientCertificate(request(testpki.NewRoot("Stranger")))
	require.NoError(t, err)
	require.Empty(t, cert.Certificate, "none is sent rather than one that the server does not want")
}

// handshake connects over TCP and returns the chain that the server sent.
func handshake(address string, config *tls.Config) ([]*x509.Certificate, error) {
	conn, err := tls.Dial("tcp", address, config)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := io.ReadAll(conn); err != nil {
		return nil, err
	}
	return conn.ConnectionState().PeerCertificates, nil
}

// serveTLS accepts connections, finishes the handshakes and closes.
func serveTLS(t *testing.T, config *tls.Config) (address string, serverSaw chan *x509.Certificate) {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	require.NoError(t, err)
	serverSaw = make(chan *x509.Certificate, 1000)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				if conn.(*tls.Conn).HandshakeContext(context.Background()) == nil {
					if peers := conn.(*tls.Conn).ConnectionState().PeerCertificates; len(peers) > 0 {
						serverSaw <- peers[0]
					}
				}
			})
		}
	})
	t.Cleanup(func() { listener.Close(); all.Wait() })
	return listener.Addr().String(), serverSaw
}

// Real handshakes, with RSA and ECDSA, TLS 1.2 and 1.3, as server and as client.
func TestHandshakes(t *testing.T) {
	root := testpki.NewRoot("Root")
	intermediate := root.Intermediate("Intermediate")
	pool := testpki.Pool(root)
	for why, key := range map[string]testpki.Mod{
		"ECDSA": testpki.Key(testpki.NewECDSA(elliptic.P256())), "RSA": testpki.Key(testpki.NewRSA(2048)), "Ed25519": testpki.Key(testpki.NewEd25519()),
	} {
		s := openStore(t, StoreOptions{})
		leaf := intermediate.Leaf([]string{"mx.example.com"}, key, testpki.Template(func(c *x509.Certificate) {
			c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
		}))
		_, err := s.ImportPEM("mx", storePair(t, leaf), ImportOptions{})
		require.NoError(t, err)
		for _, role := range []string{"server", RoleOutgoing} {
			_, err = s.Assign(role, "mx")
			require.NoError(t, err)
		}
		address, saw := serveTLS(t, &tls.Config{GetCertificate: s.Source("server").GetCertificate, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			chain, err := handshake(address, &tls.Config{RootCAs: pool, ServerName: "mx.example.com", MaxVersion: version,
				GetClientCertificate: s.Source(RoleOutgoing).GetClientCertificate})
			require.NoError(t, err, "%s %x", why, version)
			require.Len(t, chain, 2)
			require.Equal(t, leaf.Cert, <-saw)
		}
	}
}

// Certificates are swapped while clients connect: every handshake gets a whole chain, the
// former or the new one.
func TestHotReloadUnderLoad(t *testing.T) {
	root := testpki.NewRoot("Root")
	one, two := root.Intermediate("One"), root.Intermediate("Two")
	s := openStore(t, StoreOptions{})
	created(t, s, "mx.example.com")
	_, err := s.Assign("server", "mx.example.com")
	require.NoError(t, err)
	request, err := s.CSR("mx.example.com")
	require.NoError(t, err)
	inputs := [][]byte{storedPEM(signRequest(t, one, request), one.Cert), storedPEM(signRequest(t, two, request), two.Cert)}
	_, err = s.Install("mx.example.com", inputs[0], InstallOptions{})
	require.NoError(t, err)
	address, _ := serveTLS(t, &tls.Config{GetCertificate: s.Source("server").GetCertificate})
	const clients, each = 8, 25
	var all sync.WaitGroup
	failed := make(chan error, clients*each)
	for range clients {
		all.Go(func() {
			for range each {
				if _, err := handshake(address, &tls.Config{RootCAs: testpki.Pool(root), ServerName: "mx.example.com"}); err != nil {
					failed <- err
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	swaps := 0
	for running := true; running; swaps++ {
		_, err := s.Install("mx.example.com", inputs[(swaps+1)%2], InstallOptions{})
		require.NoError(t, err)
		select {
		case <-done:
			running = false
		default:
		}
	}
	require.Empty(t, failed)
	require.Greater(t, swaps, 1)
	// The next handshake sees the last change.
	_, err = s.Install("mx.example.com", inputs[0], InstallOptions{})
	require.NoError(t, err)
	chain, err := handshake(address, &tls.Config{RootCAs: testpki.Pool(root), ServerName: "mx.example.com"})
	require.NoError(t, err)
	require.Equal(t, one.Cert, chain[1])
}

// 100 readers look at a store during 1,000 swaps; key and certificate always belong
// together.
func TestSourcesDuringSwaps(t *testing.T) {
	root := testpki.NewRoot("Root")
	s := openStore(t, StoreOptions{})
	for _, name := range []string{"a", "b"} {
		_, err := s.ImportPEM(name, storePair(t, root.Leaf([]string{"mx.example.com"})), ImportOptions{})
		require.NoError(t, err)
	}
	_, err := s.Assign("role", "a")
	require.NoError(t, err)
	source, hello := s.Source("role"), helloFor("mx.example.com")
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			for {
				cert, err := source.GetCertificate(hello)
				if err != nil || !publicEqual(cert.PrivateKey.(PrivateKey).Public(), cert.Leaf.PublicKey) {
					t.Error("a blend", err)
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for i := range 1000 {
		_, err := s.Assign("role", []string{"a", "b"}[i%2])
		require.NoError(t, err)
	}
	close(stop)
	all.Wait()
}

// manyNames is a role whose one certificate has 1,000 names.
func manyNames(t testing.TB) *Source {
	s := openStore(t, StoreOptions{})
	for i := range 3 {
		var names []string
		for n := range 1000 {
			names = append(names, fmt.Sprintf("host%d.part%d.example.com", n, i))
		}
		_, err := s.ImportPEM(fmt.Sprint("entry", i), storePair(t, testpki.SelfSigned(names)), ImportOptions{})
		require.NoError(t, err)
	}
	_, err := s.Assign("many", "entry0", "entry1", "entry2")
	require.NoError(t, err)
	return s.Source("many")
}

func TestGetCertificateDoesNotAllocate(t *testing.T) {
	source := manyNames(t)
	for _, name := range []string{"host500.part1.example.com", "HOST500.part1.Example.com.", "unknown.example", ""} {
		hello := helloFor(name)
		require.Zero(t, testing.AllocsPerRun(100, func() {
			if _, err := source.GetCertificate(hello); err != nil {
				t.Fatal(err)
			}
		}), name)
	}
}

func BenchmarkGetCertificate(b *testing.B) {
	source := manyNames(b)
	hello := helloFor("host500.part1.example.com")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := source.GetCertificate(hello); err != nil {
			b.Fatal(err)
		}
	}
}
