package tlspolicy

import (
	"crypto/tls"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/testpki"
)

// finding is what Check said during one handshake.
type finding struct {
	outcome  Outcome
	identity Identity
	err      error
	resumed  bool
}

// handshake runs one TLS session through a pipe and returns what the client's
// VerifyConnection found.
func handshake(t *testing.T, v *Verifier, req Requirement, refs *References, client, server *tls.Config) finding {
	t.Helper()
	near, far := net.Pipe()
	served := make(chan error, 1)
	go func() {
		conn := tls.Server(far, server)
		err := conn.Handshake()
		if err == nil {
			_, err = conn.Write([]byte{'.'}) // behind it the client has any session ticket
		}
		served <- err
		far.Close()
	}()

	var found []finding
	config := client.Clone()
	config.VerifyConnection = func(cs tls.ConnectionState) error {
		o, id, err := v.Check(req, &cs, refs)
		found = append(found, finding{o, id, err, cs.DidResume})
		return nil // a finding, not a failed handshake
	}
	conn := tls.Client(near, config)
	require.NoError(t, conn.Handshake())
	_, err := io.ReadFull(conn, make([]byte, 1))
	require.NoError(t, err)
	require.NoError(t, <-served)
	near.Close()
	require.Len(t, found, 1, "once per handshake, resumed or not")
	return found[0]
}

func TestHandshakeAndResumption(t *testing.T) {
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			root, other := testpki.NewRoot("Root"), testpki.NewRoot("Other")
			leaf := root.Intermediate("Inner").Leaf(names{"mx.example.net"})
			server := &tls.Config{Certificates: []tls.Certificate{leaf.TLS()}, MaxVersion: version}
			client := &tls.Config{
				ServerName:         "mx.example.net",
				InsecureSkipVerify: true, // VerifyConnection looks at everything
				ClientSessionCache: tls.NewLRUClientSessionCache(4),
			}
			trust := poolVerifier(t, PoolOptions{}, root.Cert)
			v := NewVerifier(trust, VerifyOptions{})
			req, refs := plan(RequiredVerifyHosted, STSNoPolicy), references(t, toMX)

			first := handshake(t, v, req, refs, client, server)
			require.NoError(t, first.err)
			require.False(t, first.resumed)
			require.Equal(t, Outcome{TLS: TLSEstablished, Chain: ChainOK, HostedName: true}, first.outcome)
			require.Equal(t, Identity{true, ReferenceMXHost, "mx.example.net", NameSourceSAN, "mx.example.net", false}, first.identity)
			require.Equal(t, DeliverVerified, req.Decide(first.outcome).Action)

			again := handshake(t, v, req, refs, client, server)
			require.True(t, again.resumed)
			again.resumed = false
			require.Equal(t, first, again, "the stored chain is looked at as the first one was")

			elsewhere := handshake(t, v, req, references(t, PeerNames{Domain: "example.org"}), client, server)
			require.True(t, elsewhere.resumed)
			require.False(t, elsewhere.outcome.HostedName, "other names wanted on the same session")
			require.Error(t, elsewhere.err)

			require.NoError(t, trust.Replace(pool(other.Cert)))
			untrusted := handshake(t, v, req, refs, client, server)
			require.True(t, untrusted.resumed)
			require.Equal(t, Outcome{TLS: TLSEstablished, Chain: ChainUntrusted}, untrusted.outcome, "a root that was removed counts at once")
			require.Equal(t, Next, req.Decide(untrusted.outcome).Action)
		})
	}
}

func TestHandshakeBelowTLS12(t *testing.T) {
	root := testpki.NewRoot("Root")
	server := &tls.Config{Certificates: []tls.Certificate{root.Leaf(names{"example.com"}).TLS()}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	client := &tls.Config{ServerName: "example.com", InsecureSkipVerify: true, MinVersion: tls.VersionTLS10}
	v := NewVerifier(poolVerifier(t, PoolOptions{}, root.Cert), VerifyOptions{})
	req := plan(PreferredVerify, STSNoPolicy)
	got := handshake(t, v, req, references(t, toMX), client, server)
	require.Equal(t, Outcome{TLS: TLSEstablished, OldTLS: true}, got.outcome)
	require.ErrorContains(t, got.err, "TLS 1.1")
	require.Equal(t, DeliverUnverified, req.Decide(got.outcome).Action, "nothing is verified below TLS 1.2")
}
