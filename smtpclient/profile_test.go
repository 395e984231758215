package smtpclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

// TestGivenProfiles: each profile governs the sessions that it is for, and what it
// verifies itself can only refuse, resumed sessions included.
func TestGivenProfiles(t *testing.T) {
	for _, s := range []tlspolicy.Settings{preferred, required} {
		bubble(t, s, func(t *testing.T, st *stage) {
			st.at("192.0.2.1", server{tls: st.cert("x.example")}.run)
			st.dialer.OpportunisticTLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS12, SessionTicketsDisabled: true}
			want := uint16(tls.VersionTLS13)
			if s.Mode == tlspolicy.Preferred {
				want = tls.VersionTLS12
			}
			for i := range 2 {
				session := st.dialOK()
				require.Equal(t, want, session.TLS().Version)
				require.Equal(t, i == 1 && s.Mode == tlspolicy.Required, session.TLS().DidResume)
				session.Close()
			}
		})
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, s := range []tlspolicy.Settings{preferred, required} {
			bubble(t, s, func(t *testing.T, st *stage) {
				st.mx("partner.example", "10 mx1.partner.example")
				config := st.cert("x.example")
				config.MaxVersion = version
				st.at("192.0.2.1", server{tls: config}.run)
				var verdict error
				var resumed []bool
				given := &tls.Config{MinVersion: tls.VersionTLS12, VerifyConnection: func(cs tls.ConnectionState) error {
					resumed = append(resumed, cs.DidResume)
					return verdict
				}}
				st.dialer.StrictTLS, st.dialer.OpportunisticTLS = given, given
				require.False(t, st.resumed("partner.example"))
				verdict = errors.New("not today")
				session, err := st.dialer.Dial(context.Background(), "partner.example")
				a := reportOf(t, session, err).Attempts[0]
				require.Equal(t, []bool{false, true}, resumed, "asked again")
				require.ErrorIs(t, a.Err, verdict)
				require.Equal(t, tlspolicy.Outcome{TLS: tlspolicy.TLSHandshakeFailed}, a.Outcome)
				require.Equal(t, s.Mode == tlspolicy.Required, err != nil)
				if err == nil {
					require.Nil(t, session.TLS(), "what is refused may go in clear text instead")
					session.Close()
				}
				verdict = nil
				require.False(t, st.resumed("partner.example"), "a session that was refused is forgotten")
			})
		}
	}
}

// TestVerifyOptions: the optional rules reach the checks.
func TestVerifyOptions(t *testing.T) {
	tests := []struct {
		name   string
		verify tlspolicy.VerifyOptions
		cert   []string
		want   tlspolicy.Reason
	}{
		{"none", tlspolicy.VerifyOptions{}, []string{"partner.example", "localhost"}, tlspolicy.ReasonModeVerified},
		{"FQDN", tlspolicy.VerifyOptions{FQDN: true}, []string{"partner.example", "localhost"}, tlspolicy.ReasonModeCertInvalid},
		{"FQDN, met", tlspolicy.VerifyOptions{FQDN: true}, []string{"partner.example"}, tlspolicy.ReasonModeVerified},
		{"signature", tlspolicy.VerifyOptions{X509: tlspolicy.X509Checks{Signature: true, Algorithms: []x509.SignatureAlgorithm{x509.PureEd25519}}},
			[]string{"partner.example"}, tlspolicy.ReasonModeCertInvalid},
		{"signature, met", tlspolicy.VerifyOptions{X509: tlspolicy.X509Checks{Signature: true}}, []string{"partner.example"}, tlspolicy.ReasonModeVerified},
		{"server name", tlspolicy.VerifyOptions{X509: tlspolicy.X509Checks{ServerName: true}}, []string{"partner.example"}, tlspolicy.ReasonModeCertInvalid},
		{"server name, met", tlspolicy.VerifyOptions{X509: tlspolicy.X509Checks{ServerName: true}}, []string{"partner.example", "mx1.partner.example"}, tlspolicy.ReasonModeVerified},
		{"version", tlspolicy.VerifyOptions{X509: tlspolicy.X509Checks{Version: true}}, []string{"partner.example"}, tlspolicy.ReasonModeVerified},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, modeOnly(tlspolicy.RequiredVerify), func(t *testing.T, st *stage) {
				st.mx("partner.example", "10 mx1.partner.example")
				st.dialer.Verify = test.verify
				st.at("192.0.2.1", server{tls: st.cert(test.cert...)}.run)
				for range 2 { // the second time on a resumed session, if there is one
					s, err := st.dialer.Dial(context.Background(), "partner.example")
					require.Equal(t, test.want, reportOf(t, s, err).Attempts[0].Decision.Reason)
					require.Equal(t, test.want == tlspolicy.ReasonModeVerified, err == nil)
					if s != nil {
						s.Close()
					}
				}
			})
		})
	}
}
