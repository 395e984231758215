package smtpclient

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// asking is a server configuration that asks for a certificate and notes the
// leaves that it gets, nil for none.
func asking(st *stage, version uint16, got *[][]byte) *tls.Config {
	c := st.cert("mx1.partner.example")
	c.MinVersion, c.MaxVersion = tls.VersionTLS10, version
	c.ClientAuth = tls.RequestClientCert
	// Authorities that never signed our certificate: many servers list some.
	c.ClientCAs = testpki.Pool(testpki.NewRoot("Somebody Else"))
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		var leaf []byte
		if len(cs.PeerCertificates) > 0 {
			leaf = cs.PeerCertificates[0].Raw
		}
		*got = append(*got, leaf)
		return nil
	}
	return c
}

// TestClientCertificate: our certificate is asked of us once, and offered wherever
// it can be.
func TestClientCertificate(t *testing.T) {
	ca := testpki.NewRoot("Client Root")
	cert := func(key crypto.Signer, schemes ...tls.SignatureScheme) tls.Certificate {
		c := ca.Leaf([]string{"mta.sender.example"}, testpki.Key(key)).TLS()
		c.SupportedSignatureAlgorithms = schemes
		return c
	}
	rsa, ecdsa, ed25519 := testpki.NewRSA(2048), testpki.NewECDSA(elliptic.P256()), testpki.NewEd25519()
	tests := []struct {
		name    string
		cert    tls.Certificate
		version uint16
		offered bool
	}{
		{"ECDSA, TLS 1.3", cert(ecdsa), tls.VersionTLS13, true},
		{"ECDSA, TLS 1.2", cert(ecdsa), tls.VersionTLS12, true},
		{"RSA, TLS 1.3", cert(rsa), tls.VersionTLS13, true},
		{"RSA, TLS 1.2", cert(rsa), tls.VersionTLS12, true},
		{"RSA, PKCS #1 only, TLS 1.2", cert(rsa, tls.PKCS1WithSHA256), tls.VersionTLS12, true},
		{"RSA, PKCS #1 only, TLS 1.3 knows no such signature", cert(rsa, tls.PKCS1WithSHA256), tls.VersionTLS13, false},
		{"Ed25519, TLS 1.3", cert(ed25519), tls.VersionTLS13, true},
		{"Ed25519, TLS 1.1 knows no such key", cert(ed25519), tls.VersionTLS11, false},
		{"no chain", tls.Certificate{PrivateKey: rsa}, tls.VersionTLS13, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, preferred, func(t *testing.T, st *stage) {
				calls := 0
				st.dialer.ClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
					calls++
					if len(test.cert.Certificate) > 0 {
						require.NoError(t, info.SupportsCertificate(&test.cert), "the request accepts everything")
					}
					return &test.cert, nil
				}
				var got [][]byte
				st.at("192.0.2.1", server{tls: asking(st, test.version, &got), tlsEHLO: "451 try the next\r\n"}.run)
				st.at("192.0.2.2", server{tls: asking(st, test.version, &got)}.run)
				s := st.dialOK()
				require.NotNil(t, s.TLS(), "the handshake does not fail over it")
				require.Equal(t, 1, calls, "once for two handshakes")
				require.Len(t, got, 2)
				for _, leaf := range got {
					if test.offered {
						require.Equal(t, test.cert.Certificate[0], leaf)
					} else {
						require.Nil(t, leaf)
					}
				}
				s.Close()
			})
		})
	}
	bubble(t, preferred, func(t *testing.T, st *stage) {
		broken := errors.New("the key is gone")
		st.dialer.ClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return nil, broken }
		e := st.dialFail(context.Background())
		require.ErrorIs(t, e, broken)
		require.Equal(t, "4.3.5", e.Status)
		require.Zero(t, e.Reason, "it is no failed handshake")
		require.Empty(t, st.resolved)
	})
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.dialer.ClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return nil, nil }
		var got [][]byte
		st.at("192.0.2.1", server{tls: asking(st, tls.VersionTLS13, &got)}.run)
		s := st.dialOK()
		require.Equal(t, [][]byte{nil}, got)
		s.Close()
	})
	bubble(t, tlspolicy.Settings{Mode: tlspolicy.No}, func(t *testing.T, st *stage) {
		st.dialer.ClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			t.Error("nobody can see it without TLS")
			return nil, nil
		}
		st.at("192.0.2.1", server{}.run)
		st.dialOK().Close()
	})
}

// brokenKey cannot sign.
type brokenKey struct{ crypto.Signer }

var errKey = errors.New("the key module is gone")

func (brokenKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, errKey }

// brokenMessageKey is one that hashes for itself.
type brokenMessageKey struct{ brokenKey }

func (brokenMessageKey) SignMessage(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errKey
}

// TestKeyFails: that our own key does not work is no reason for clear text.
func TestKeyFails(t *testing.T) {
	key := testpki.NewECDSA(elliptic.P256())
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, broken := range []crypto.Signer{brokenKey{key}, brokenMessageKey{brokenKey{key}}} {
			bubble(t, tlspolicy.Settings{Mode: tlspolicy.Preferred, Fallback: tlspolicy.FallbackAlways}, func(t *testing.T, st *stage) {
				st.mx("partner.example", "10 mx1.partner.example")
				cert := testpki.SelfSigned([]string{"mta.sender.example"}, testpki.Key(key)).TLS()
				cert.PrivateKey = broken
				st.dialer.ClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
				var got [][]byte
				st.at("192.0.2.1", server{tls: asking(st, version, &got)}.run)
				e := st.dialFail(context.Background())
				var own *ClientCertificateError
				require.ErrorAs(t, e, &own)
				require.ErrorIs(t, e, errKey)
				require.Equal(t, "4.3.5", e.Status)
				require.Zero(t, e.Reason)
				require.Len(t, st.dials, 1, "no connection in clear")
				require.Zero(t, e.Report.Attempts[0].Outcome)
				require.Zero(t, e.Report.Attempts[0].Decision)
			})
		}
	}
}

// TestOfferFingerprint: it is over the whole chain, certificate by certificate.
func TestOfferFingerprint(t *testing.T) {
	print := func(ders ...string) [sha256.Size]byte {
		var o offer
		c := &tls.Certificate{}
		for _, d := range ders {
			c.Certificate = append(c.Certificate, []byte(d))
		}
		o.set(c)
		return o.fingerprint
	}
	require.Zero(t, print())
	seen := map[[sha256.Size]byte]bool{}
	for _, chain := range [][]string{{"a"}, {"ab"}, {"a", "b"}, {"b", "a"}, {"", "ab"}, {"ab", ""}} {
		require.False(t, seen[print(chain...)], "%q", chain)
		seen[print(chain...)] = true
	}
	require.NotContains(t, seen, [sha256.Size]byte{})
}
