package smtpclient

import (
	"context"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane"
	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// resumed dials domain and tells whether the TLS session was resumed.
func (st *stage) resumed(domain string) bool {
	s, err := st.dialer.Dial(context.Background(), domain)
	require.NoError(st.t, err)
	require.NotNil(st.t, s.TLS())
	a := s.Report.Attempts[len(s.Report.Attempts)-1]
	require.Equal(st.t, s.TLS().DidResume, a.Resumed)
	require.NoError(st.t, s.Close())
	return a.Resumed
}

// settingsOf is a policy table by recipient domain.
type settingsOf map[string]tlspolicy.Settings

func (s settingsOf) Lookup(domain string, _ tlspolicy.NextHop) (tlspolicy.Settings, tlspolicy.Origin, error) {
	return s[domain], tlspolicy.Origin{}, nil
}

func modeOnly(m tlspolicy.Mode) tlspolicy.Settings {
	return tlspolicy.Settings{Mode: m, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.Off, Fallback: tlspolicy.FallbackAfter220}
}

// TestResumption: a session is resumed where nothing has changed, and only there.
func TestResumption(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		// host makes both domains' mail go to one host.
		host := func(st *stage) *tls.Config {
			st.mx("partner.example", "10 mx1.partner.example")
			st.mx("other.example", "10 mx1.partner.example")
			c := st.cert("mx1.partner.example", "partner.example", "other.example")
			c.MaxVersion = version
			st.at("192.0.2.1", server{tls: c}.run)
			return c
		}
		t.Run(tls.VersionName(version), func(t *testing.T) {
			for _, mode := range allModes[1:] {
				bubble(t, modeOnly(mode), func(t *testing.T, st *stage) {
					host(st)
					require.False(t, st.resumed("partner.example"))
					require.True(t, st.resumed("partner.example"), mode)
					require.True(t, st.resumed("partner.example"), "also a second time")
					unverified := mode == tlspolicy.Preferred || mode == tlspolicy.Required
					require.Equal(t, unverified, st.resumed("other.example"), "%v: a name that was checked is another domain's business", mode)
				})
			}
			bubble(t, preferred, func(t *testing.T, st *stage) {
				host(st)
				st.dialer.Sessions = -1
				require.False(t, st.resumed("partner.example"))
				require.False(t, st.resumed("partner.example"))
			})
			bubble(t, preferred, func(t *testing.T, st *stage) {
				host(st)
				st.dialer.Sessions = 2
				c := st.cert("x")
				c.MaxVersion = version
				for i := range 3 {
					name := fmt.Sprintf("mx.d%d.example", i)
					st.mx(fmt.Sprintf("d%d.example", i), "10 "+name)
					st.addr(name, "192.0.2.9")
				}
				st.at("192.0.2.9", server{tls: c}.run)
				for i := range 3 {
					require.False(t, st.resumed(fmt.Sprintf("d%d.example", i)))
				}
				require.True(t, st.resumed("d2.example"))
				require.True(t, st.resumed("d1.example"))
				require.False(t, st.resumed("d0.example"), "the oldest had to go")
			})
			t.Run("modes are kept apart", func(t *testing.T) {
				for _, first := range allModes[1:] {
					for _, second := range allModes[1:] {
						bubble(t, preferred, func(t *testing.T, st *stage) {
							host(st)
							table := settingsOf{"partner.example": modeOnly(first)}
							st.dialer.Policy = table
							require.False(t, st.resumed("partner.example"))
							table["partner.example"] = modeOnly(second)
							require.Equal(t, first == second, st.resumed("partner.example"), "%v, then %v", first, second)
						})
					}
				}
			})
			t.Run("trust", func(t *testing.T) {
				bubble(t, modeOnly(tlspolicy.RequiredVerify), func(t *testing.T, st *stage) {
					host(st)
					pool, err := tlspolicy.NewPoolVerifier(testpki.Pool(st.pki), tlspolicy.PoolOptions{})
					require.NoError(t, err)
					st.dialer.Trust = pool
					require.False(t, st.resumed("partner.example"))
					require.True(t, st.resumed("partner.example"))
					require.NoError(t, pool.Replace(testpki.Pool(st.pki, testpki.NewRoot("one more"))))
					require.False(t, st.resumed("partner.example"), "another generation")
					require.NoError(t, pool.Replace(testpki.Pool(testpki.NewRoot("another"))))
					e := st.dialFail(context.Background())
					require.Equal(t, tlspolicy.ReasonModeCertUntrusted, e.Reason)
					require.False(t, e.Report.Attempts[0].Resumed)
				})
				bubble(t, modeOnly(tlspolicy.RequiredVerify), func(t *testing.T, st *stage) {
					host(st)
					trust := &fickle{ChainVerifier: st.dialer.Trust}
					st.dialer.Trust = trust // without generations
					require.False(t, st.resumed("partner.example"))
					trust.err = errors.New("revoked")
					e := st.dialFail(context.Background())
					require.True(t, e.Report.Attempts[0].Resumed, "the session is the old one")
					require.Equal(t, tlspolicy.ReasonModeCertUntrusted, e.Reason, "and its certificate is checked again")
					trust.err = nil
					st.resumed("partner.example")
				})
			})
			t.Run("a refused session is not remembered", func(t *testing.T) {
				bubble(t, modeOnly(tlspolicy.RequiredVerify), func(t *testing.T, st *stage) {
					host(st)
					trust := &fickle{ChainVerifier: st.dialer.Trust, err: errors.New("not yet")}
					st.dialer.Trust = trust
					require.Equal(t, tlspolicy.ReasonModeCertUntrusted, st.dialFail(context.Background()).Reason)
					trust.err = nil
					require.False(t, st.resumed("partner.example"), "that would resume what was never accepted")
				})
			})
			t.Run("dane", func(t *testing.T) {
				s := tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEOpportunistic}
				bubble(t, s, func(t *testing.T, st *stage) {
					leaf := host(st).Certificates[0].Leaf
					require.False(t, st.resumed("partner.example"), "no records: opportunistic")
					st.tlsa("mx1.partner.example", leaf, dane.UsageDANEEE)
					require.False(t, st.resumed("partner.example"), "an unverified session does not serve a verified one")
					require.True(t, st.resumed("partner.example"))
					require.True(t, st.resumed("other.example"), "the host is authenticated for whoever sends there")
					st.tlsa("mx1.partner.example", leaf, dane.UsageDANETA)
					e := st.dialFail(context.Background())
					require.Equal(t, tlspolicy.ReasonDANEMismatch, e.Reason)
					require.False(t, e.Report.Attempts[0].Resumed, "other records, other sessions")
				})
			})
			t.Run("mta-sts", func(t *testing.T) {
				bubble(t, withSTS, func(t *testing.T, st *stage) {
					host(st)
					st.dialer.MTASTS = found(policyOf("none", "mx1.partner.example"))
					require.False(t, st.resumed("partner.example"))
				})
				bubble(t, withSTS, func(t *testing.T, st *stage) {
					host(st)
					policy := policyOf("none", "mx1.partner.example")
					st.dialer.MTASTS = stsFunc{lookup: func(ctx context.Context, d string) (mtasts.Result, error) { return policy, nil }}
					require.False(t, st.resumed("partner.example"))
					policy = policyOf("enforce", "mx1.partner.example")
					require.False(t, st.resumed("partner.example"))
					require.True(t, st.resumed("partner.example"))
					require.False(t, st.resumed("other.example"), "another policy domain")
				})
			})
			t.Run("client certificate", func(t *testing.T) {
				bubble(t, preferred, func(t *testing.T, st *stage) {
					host(st)
					var mine *tls.Certificate
					st.dialer.ClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return mine, nil }
					require.False(t, st.resumed("partner.example"))
					own := testpki.SelfSigned([]string{"mta.sender.example"}, testpki.Key(testpki.NewECDSA(elliptic.P256()))).TLS()
					mine = &own
					require.False(t, st.resumed("partner.example"))
					require.True(t, st.resumed("partner.example"))
				})
			})
			t.Run("ports", func(t *testing.T) {
				bubble(t, preferred, func(t *testing.T, st *stage) {
					host(st)
					require.False(t, st.resumed("partner.example"))
					s, err := st.dialer.DialHost(context.Background(), "mx1.partner.example:587")
					require.NoError(t, err)
					require.False(t, s.Report.Attempts[0].Resumed)
					s.Close()
				})
			})
		})
	}
}

// fickle is trust that changes without saying so.
type fickle struct {
	tlspolicy.ChainVerifier
	err error
}

func (f *fickle) VerifyChain(chain []*x509.Certificate, usage x509.ExtKeyUsage) ([]*x509.Certificate, error) {
	if f.err != nil {
		return nil, f.err
	}
	return f.ChainVerifier.VerifyChain(chain, usage)
}

// TestFailedResumption: a session that the server no longer knows costs a full
// handshake, not the connection.
func TestFailedResumption(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		bubble(t, required, func(t *testing.T, st *stage) {
			configs := []*tls.Config{st.cert("mx1.partner.example"), st.cert("mx1.partner.example")}
			for _, c := range configs {
				c.MaxVersion = version
			}
			st.at("192.0.2.1", server{tls: configs[0]}.run, server{tls: configs[1]}.run)
			require.False(t, st.resumed("partner.example"))
			require.False(t, st.resumed("partner.example"), "another key for tickets")
			require.True(t, st.resumed("partner.example"))
		})
	}
}
