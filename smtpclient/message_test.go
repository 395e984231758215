package smtpclient

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane"
	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

const insideREQUIRETLS = "250-mx\r\n250 REQUIRETLS\r\n"

// TestRequireTLS: RFC 8689 section 4.2.1. The host is authenticated, by a name that
// can be relied on, and offers REQUIRETLS inside TLS; or it is the next one's turn.
func TestRequireTLS(t *testing.T) {
	type world struct {
		cert   []string
		inside string
		clear  bool // REQUIRETLS in the clear EHLO
		secure bool // MX records
		sts    string
		tlsa   bool
		mode   tlspolicy.Mode
		noTLS  bool
		noSTS  bool
	}
	tests := []struct {
		name   string
		w      world
		reason tlspolicy.Reason
		status string // "" = a session
	}{
		{"recipient domain", world{cert: []string{"partner.example"}, inside: insideREQUIRETLS}, tlspolicy.ReasonModeVerified, ""},
		{"mode No is raised", world{cert: []string{"partner.example"}, inside: insideREQUIRETLS, mode: tlspolicy.No}, tlspolicy.ReasonModeVerified, ""},
		{"MX host from unprotected DNS", world{cert: []string{"mx1.partner.example"}, inside: insideREQUIRETLS}, tlspolicy.ReasonModeCertNameMismatch, "4.7.5"},
		{"MX host from secure DNS", world{cert: []string{"mx1.partner.example"}, inside: insideREQUIRETLS, secure: true}, tlspolicy.ReasonModeVerified, ""},
		{"MX host from an enforced policy", world{cert: []string{"mx1.partner.example"}, inside: insideREQUIRETLS, sts: "enforce"}, tlspolicy.ReasonSTSModeVerified, ""},
		{"MX host from a tested policy", world{cert: []string{"mx1.partner.example"}, inside: insideREQUIRETLS, sts: "testing"}, tlspolicy.ReasonModeCertNameMismatch, "4.7.5"},
		{"TLSA records", world{cert: []string{"x.example"}, inside: insideREQUIRETLS, tlsa: true}, tlspolicy.ReasonDANEVerified, ""},
		{"no TLS", world{noTLS: true}, tlspolicy.ReasonModeTLSAbsent, "4.7.4"},
		{"not offered", world{cert: []string{"partner.example"}}, 0, "4.7.30"},
		{"offered in clear only", world{cert: []string{"partner.example"}, clear: true}, 0, "4.7.30"},
		{"offered, and no MTA-STS client", world{cert: []string{"partner.example"}, inside: insideREQUIRETLS, noSTS: true}, tlspolicy.ReasonModeVerified, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := tlspolicy.Settings{Mode: tlspolicy.Preferred}
			if test.w.mode != 0 {
				s.Mode = test.w.mode
			}
			bubble(t, s, func(t *testing.T, st *stage) {
				st.mx("partner.example", "10 mx1.partner.example")
				st.dns.Absent = dnssec.Insecure
				if test.w.secure || test.w.tlsa {
					st.secure("partner.example", dnssec.TypeMX)
				}
				if !test.w.noSTS {
					st.dialer.MTASTS = found(mtasts.Result{Outcome: mtasts.OutcomeNoRecord})
				}
				if test.w.sts != "" {
					st.dialer.MTASTS = found(policyOf(test.w.sts, "mx1.partner.example"))
				}
				srv := server{tlsEHLO: test.w.inside}
				if !test.w.noTLS {
					srv.tls = st.cert(test.w.cert...)
					if test.w.tlsa {
						st.tlsa("mx1.partner.example", srv.tls.Certificates[0].Leaf, dane.UsageDANEEE)
					}
				}
				if test.w.clear {
					srv.ehlo = "250-mx\r\n250-REQUIRETLS\r\n250 STARTTLS\r\n"
				}
				st.at("192.0.2.1", srv.run)
				session, err := st.dialer.DialTarget(context.Background(), Target{
					Domain: "partner.example", Message: tlspolicy.Message{RequireTLS: true, TLSOptional: true},
				})
				report := reportOf(t, session, err)
				require.True(t, report.Settings.Message().RequireTLS)
				if test.status != "" {
					e := err.(*Error)
					require.Equal(t, test.status, e.Status)
					require.Equal(t, test.reason, e.Reason)
					require.False(t, e.Permanent)
					var missing *RequireTLSError
					if test.status == "4.7.30" {
						require.ErrorAs(t, err, &missing)
						require.Equal(t, "mx1.partner.example", missing.Host)
						require.Equal(t, StageTLS, report.Attempts[0].Stage)
						require.True(t, report.Attempts[0].Identity.Secure, "it is learned from a host that is authenticated")
						require.Zero(t, report.Attempts[0].Decision)
						require.NotEmpty(t, report.Explain())
					} else {
						require.NotErrorAs(t, err, &missing)
					}
					return
				}
				require.NoError(t, err)
				require.Equal(t, tlspolicy.DeliverVerified, session.Decision().Action)
				require.Equal(t, test.reason, session.Decision().Reason)
				require.True(t, session.Extensions().Has("REQUIRETLS"))
				plain := st.key(Target{Domain: "partner.example"})
				require.NotEqual(t, plain, session.ReuseKey(), "a class of its own")
				session.Close()
			})
		})
	}
	// A host that lacks it is followed by the next one.
	bubble(t, modeOnly(tlspolicy.RequiredVerify), func(t *testing.T, st *stage) {
		st.dialer.MTASTS = found(mtasts.Result{Outcome: mtasts.OutcomeNoRecord})
		st.at("192.0.2.1", server{tls: st.cert("partner.example")}.run)
		st.at("192.0.2.2", server{tls: st.cert("partner.example"), tlsEHLO: insideREQUIRETLS}.run)
		s, err := st.dialer.DialTarget(context.Background(), Target{Domain: "partner.example", Message: tlspolicy.Message{RequireTLS: true}})
		require.NoError(t, err)
		require.Equal(t, "mx2.partner.example", s.Host())
		s.Close()
	})
}

// secure makes one answer a secure one.
func (st *stage) secure(name string, typ dnssec.Type) {
	q := dnssec.Question{Name: name, Type: typ}
	a := st.dns.Answers[q]
	a.Security, a.Final = dnssec.Secure, dnssec.Secure
	st.dns.Answers[q] = a
}

// key returns the key of a target's first host.
func (st *stage) key(to Target) ReuseKey {
	p, err := st.dialer.Plan(context.Background(), to)
	require.NoError(st.t, err)
	return p.Hosts[0].Key
}

// TestTLSOptional: RFC 8689 section 3. DANE and MTA-STS are looked at and have no
// say; what they would have said is kept for the report.
func TestTLSOptional(t *testing.T) {
	optional := tlspolicy.Message{TLSOptional: true}
	override := tlspolicy.Message{TLSOptional: true, OverrideLocal: true}
	tests := []struct {
		name    string
		s       tlspolicy.Settings
		message tlspolicy.Message
		setup   func(st *stage)
		action  tlspolicy.Action
		shadow  tlspolicy.Reason
	}{
		{"enforced policy, another certificate", withSTS, optional, func(st *stage) {
			st.dialer.MTASTS = found(policyOf("enforce", "mx1.partner.example"))
			st.at("192.0.2.1", server{tls: st.cert("x.example")}.run)
		}, tlspolicy.DeliverUnverified, tlspolicy.ReasonSTSCertNameMismatch},
		{"enforced policy, host not listed", withSTS, optional, func(st *stage) {
			st.dialer.MTASTS = found(policyOf("enforce", "other.example"))
			st.at("192.0.2.1", server{}.run)
		}, tlspolicy.DeliverClear, tlspolicy.ReasonSTSMXMismatch},
		{"TLSA records, another certificate", tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEMandatory}, optional, func(st *stage) {
			st.tlsa("mx1.partner.example", st.cert("y.example").Certificates[0].Leaf, dane.UsageDANEEE)
			st.at("192.0.2.1", server{tls: st.cert("x.example")}.run)
		}, tlspolicy.DeliverUnverified, tlspolicy.ReasonDANEMismatch},
		{"TLSA records that match", tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEMandatory}, optional, func(st *stage) {
			c := st.cert("x.example")
			st.tlsa("mx1.partner.example", c.Certificates[0].Leaf, dane.UsageDANEEE)
			st.at("192.0.2.1", server{tls: c}.run)
		}, tlspolicy.DeliverUnverified, tlspolicy.ReasonDANEVerified},
		{"DANE mandatory and nothing there", tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEMandatory}, optional, func(st *stage) {
			st.at("192.0.2.1", server{}.run)
		}, tlspolicy.DeliverClear, tlspolicy.ReasonDANERequiredInsecure},
		{"the operator's own mode stays", modeOnly(tlspolicy.Required), optional, func(st *stage) {
			st.at("192.0.2.1", server{}.run)
		}, tlspolicy.Next, 0},
		{"unless that is lifted", modeOnly(tlspolicy.Required), override, func(st *stage) {
			st.at("192.0.2.1", server{}.run)
		}, tlspolicy.DeliverClear, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, test.s, func(t *testing.T, st *stage) {
				st.mx("partner.example", "10 mx1.partner.example")
				test.setup(st)
				s, err := st.dialer.DialTarget(context.Background(), Target{Domain: "partner.example", Message: test.message})
				report := reportOf(t, s, err)
				a := report.Attempts[0]
				require.Equal(t, test.action, a.Decision.Action, "%v", err)
				require.Equal(t, test.shadow, a.Decision.Shadow.Reason)
				require.Equal(t, test.action == tlspolicy.Next, err != nil)
				require.Contains(t, report.Explain(), "TLS-Required: No")
				if s != nil {
					if test.action == tlspolicy.DeliverUnverified {
						require.NoError(t, s.Report.Attempts[0].Err)
						require.Equal(t, strings.HasSuffix(test.name, "that match"), a.TLSA.Status == dane.Matched)
					}
					require.NotEqual(t, st.key(Target{Domain: "partner.example", Message: test.message}), st.key(Target{Domain: "partner.example"}))
					s.Close()
				}
			})
		})
	}
	// A bogus or failed MX lookup leaves no host to deliver to; it is temporary, and
	// DANE has nothing to do with it.
	bubble(t, tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEOpportunistic}, func(t *testing.T, st *stage) {
		st.fail("partner.example", dnssec.TypeMX)
		_, err := st.dialer.DialTarget(context.Background(), Target{Domain: "partner.example", Message: optional})
		e := err.(*Error)
		require.Equal(t, "4.4.3", e.Status)
		require.Zero(t, e.Reason)
		require.False(t, e.Permanent)
	})
}
