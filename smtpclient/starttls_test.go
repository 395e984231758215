package smtpclient

import (
	"context"
	"crypto/elliptic"
	"crypto/tls"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane"
	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// TestSTARTTLSReplies: what may follow each reply, under each fallback.
func TestSTARTTLSReplies(t *testing.T) {
	type want struct {
		action tlspolicy.Action
		reason tlspolicy.Reason
	}
	refused := map[tlspolicy.Fallback]want{
		tlspolicy.FallbackAfter220:  {tlspolicy.Next, tlspolicy.ReasonSTARTTLSRefused},
		tlspolicy.FallbackAlways:    {tlspolicy.DeliverClear, tlspolicy.ReasonSTARTTLSRefused},
		tlspolicy.FallbackBefore220: {tlspolicy.DeliverClear, tlspolicy.ReasonSTARTTLSRefused},
	}
	dead := map[tlspolicy.Fallback]want{
		tlspolicy.FallbackAfter220: {}, tlspolicy.FallbackAlways: {}, tlspolicy.FallbackBefore220: {},
	}
	failed := map[tlspolicy.Fallback]want{
		tlspolicy.FallbackAfter220:  {tlspolicy.ReconnectClear, tlspolicy.ReasonHandshakeFailed},
		tlspolicy.FallbackAlways:    {tlspolicy.ReconnectClear, tlspolicy.ReasonHandshakeFailed},
		tlspolicy.FallbackBefore220: {tlspolicy.Next, tlspolicy.ReasonHandshakeFailed},
	}
	tests := []struct {
		name   string
		run    func(p *peer) // from the STARTTLS command on
		want   map[tlspolicy.Fallback]want
		demand tlspolicy.Reason // what a demanded requirement says; none: not policy's
		cause  HandshakeCause
	}{
		{"250", func(p *peer) { p.say("250 ok\r\n") }, refused, tlspolicy.ReasonModeTLSRefused, 0},
		{"354", func(p *peer) { p.say("354 go on\r\n") }, refused, tlspolicy.ReasonModeTLSRefused, 0},
		{"454", func(p *peer) { p.say("454 4.7.0 not now\r\n") }, refused, tlspolicy.ReasonModeTLSRefused, 0},
		{"502", func(p *peer) { p.say("502 what?\r\n") }, refused, tlspolicy.ReasonModeTLSRefused, 0},
		{"554", func(p *peer) { p.say("554 5.7.1 go away\r\n") }, refused, tlspolicy.ReasonModeTLSRefused, 0},
		{"221", func(p *peer) { p.say("221 bye\r\n") }, refused, tlspolicy.ReasonModeTLSRefused, 0},

		{"421", func(p *peer) { p.say("421 4.3.2 shutting down\r\n") }, dead, 0, 0},
		{"421 and gone", func(p *peer) { p.say("421 4.3.2 shutting down\r\n"); p.Close() }, dead, 0, 0},
		{"EOF", func(p *peer) { p.Close() }, dead, 0, 0},
		{"junk", func(p *peer) { p.say("whatever\r\n") }, dead, 0, 0},
		{"half a reply", func(p *peer) { p.say("220-go"); p.Close() }, dead, 0, 0},
		{"codes change", func(p *peer) { p.say("220-go\r\n502 or not\r\n") }, dead, 0, 0},
		{"refused with bytes behind", func(p *peer) { p.say("454 no\r\n250 ok\r\n") }, dead, 0, 0},
		{"silence", (*peer).swallow, dead, 0, 0},

		{"bytes behind the 220", func(p *peer) { p.say("220 go\r\n250 ok\r\n"); p.swallow() }, failed,
			tlspolicy.ReasonModeTLSHandshakeFailed, CauseInjected},
		{"an EHLO reply behind the 220", func(p *peer) { p.say("220 go\r\n" + offers); p.swallow() }, failed,
			tlspolicy.ReasonModeTLSHandshakeFailed, CauseInjected},
		{"TLS bytes behind the 220", func(p *peer) { p.say("220 go\r\n\x16\x03\x03\x00\x02"); p.swallow() }, failed,
			tlspolicy.ReasonModeTLSHandshakeFailed, CauseInjected},
		{"one byte behind the 220", func(p *peer) { p.say("220 go\r\n2"); p.swallow() }, failed,
			tlspolicy.ReasonModeTLSHandshakeFailed, CauseInjected},
		{"bytes behind the 220 in a second segment", func(p *peer) { p.say("220 go\r\n"); p.say("250 ok\r\n"); p.swallow() }, failed,
			tlspolicy.ReasonModeTLSHandshakeFailed, CauseNotTLS},
		{"the 220 in two segments, bytes in the second", func(p *peer) { p.say("220 g"); p.say("o\r\n250 ok\r\n"); p.swallow() }, failed,
			tlspolicy.ReasonModeTLSHandshakeFailed, CauseInjected},
		{"alert", func(p *peer) { p.say("220 go\r\n"); p.say("\x15\x03\x03\x00\x02\x02\x28"); p.swallow() }, failed,
			tlspolicy.ReasonModeTLSHandshakeFailed, CauseAlert},
		{"EOF in the handshake", func(p *peer) { p.say("220 go\r\n"); p.Close() }, failed,
			tlspolicy.ReasonModeTLSHandshakeFailed, CauseLost},
		{"stall in the handshake", func(p *peer) { p.say("220 go\r\n"); p.swallow() }, failed,
			tlspolicy.ReasonModeTLSHandshakeFailed, CauseTimeout},
		{"no common suite", func(p *peer) {
			p.say("220 go\r\n")
			config := p.stage.cert("mx1.partner.example")
			config.MaxVersion = tls.VersionTLS12
			config.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
			p.tls(config)
			p.swallow()
		}, failed, tlspolicy.ReasonModeTLSHandshakeFailed, CauseAlert},
	}
	for _, test := range tests {
		script := func(p *peer) {
			p.say("220 mx\r\n")
			p.hear()
			p.say(offers)
			p.hear()
			test.run(p)
			afterwards(p)
		}
		for fallback, want := range test.want {
			t.Run(test.name+" "+fallback.String(), func(t *testing.T) {
				for _, mode := range []tlspolicy.Mode{tlspolicy.Preferred, tlspolicy.PreferredVerify} {
					bubble(t, tlspolicy.Settings{Mode: mode, Fallback: fallback}, func(t *testing.T, st *stage) {
						var second []string
						st.mx("partner.example", "10 mx1.partner.example")
						st.at("192.0.2.1", script, server{tls: st.cert("mx1.partner.example"), log: &second}.run)
						s, err := st.dialer.Dial(context.Background(), "partner.example")
						report := reportOf(t, s, err)
						first := report.Attempts[0]
						require.Equal(t, want.action, first.Decision.Action)
						require.Equal(t, want.reason, first.Decision.Reason)
						switch want.action {
						case tlspolicy.Next:
							require.Error(t, err)
							require.Len(t, st.dials, 1)
						case tlspolicy.DeliverClear:
							require.NoError(t, err)
							require.Nil(t, s.TLS())
							require.Len(t, st.dials, 1, "on the session at hand")
							s.Close()
						case tlspolicy.ReconnectClear:
							require.NoError(t, err)
							require.Nil(t, s.TLS())
							require.Equal(t, []string{"192.0.2.1", "192.0.2.1"}, st.dials)
							require.Equal(t, []string{"EHLO mta.sender.example"}, second, "STARTTLS is offered and not asked for")
							require.True(t, report.Attempts[1].Reconnect)
							require.Equal(t, tlspolicy.ReasonHandshakeFailed, s.Decision().Reason)
							var failed *HandshakeError
							require.ErrorAs(t, first.Err, &failed)
							require.Equal(t, test.cause, failed.Cause)
							s.Close()
						}
					})
				}
			})
		}
		t.Run(test.name+" demanded", func(t *testing.T) {
			for _, mode := range []tlspolicy.Mode{tlspolicy.Required, tlspolicy.RequiredVerify, tlspolicy.RequiredVerifyHosted} {
				bubble(t, tlspolicy.Settings{Mode: mode, Fallback: tlspolicy.FallbackAlways}, func(t *testing.T, st *stage) {
					st.mx("partner.example", "10 mx1.partner.example")
					st.at("192.0.2.1", script)
					e := st.dialFail(context.Background())
					require.Len(t, st.dials, 1)
					require.Equal(t, test.demand, e.Reason)
					require.False(t, e.Permanent)
					require.True(t, strings.HasPrefix(e.Status, "4."), e.Status)
				})
			}
		})
	}
}

// afterwards goes on as a regular server in clear, behind whatever came before.
func afterwards(p *peer) {
	for line := p.hear(); line != ""; line = p.hear() {
		if line == "QUIT" {
			p.say("221 bye\r\n")
			return
		}
		p.say("250 ok\r\n")
	}
}

func TestHELO(t *testing.T) {
	tests := []struct {
		name  string
		s     tlspolicy.Settings
		ehlo  string
		helo  string
		heard []string
		ok    bool
	}{
		{"preferred", preferred, "502 what?\r\n", "", []string{"EHLO mta.sender.example", "HELO mta.sender.example"}, true},
		{"mode No", tlspolicy.Settings{Mode: tlspolicy.No}, "500 what?\r\n", "", []string{"EHLO mta.sender.example", "HELO mta.sender.example"}, true},
		{"preferred, HELO refused", preferred, "502 what?\r\n", "550 no\r\n",
			[]string{"EHLO mta.sender.example", "HELO mta.sender.example", "QUIT"}, false},
		{"required: no HELO", required, "502 what?\r\n", "", []string{"EHLO mta.sender.example", "QUIT"}, false},
		{"preferred, 4xx: no HELO", preferred, "450 later\r\n", "", []string{"EHLO mta.sender.example", "QUIT"}, false},
		{"preferred, 421: nothing more", preferred, "421 going\r\n", "", []string{"EHLO mta.sender.example", ""}, false},
		{"preferred, 2xx that is not 250", preferred, "251 hm\r\n", "", []string{"EHLO mta.sender.example", ""}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, test.s, func(t *testing.T, st *stage) {
				var heard []string
				st.mx("partner.example", "10 mx1.partner.example")
				st.at("192.0.2.1", server{ehlo: test.ehlo, helo: test.helo, log: &heard}.run)
				s, err := st.dialer.Dial(context.Background(), "partner.example")
				a := reportOf(t, s, err).Attempts[0]
				if test.ok {
					require.NoError(t, err)
					require.Zero(t, s.Extensions().Len())
					require.Equal(t, tlspolicy.TLSNoESMTP, a.Outcome.TLS)
					require.Equal(t, test.heard, heard)
					s.Close()
				} else {
					require.Error(t, err)
				}
				synctest.Wait()
				if !test.ok {
					require.Equal(t, test.heard, heard)
				}
			})
		})
	}
}

// TestInsideTLS: nothing but an EHLO that is answered with 250 makes a session,
// and no other way is tried.
func TestInsideTLS(t *testing.T) {
	for _, reply := range []string{"502 what?\r\n", "450 later\r\n", "421 bye\r\n", "250-a\r\n251 b\r\n", "250 ok\r\n250 more\r\n", "junk\r\n", "251 hm\r\n"} {
		for _, s := range []tlspolicy.Settings{preferred, required, {Mode: tlspolicy.Preferred, Fallback: tlspolicy.FallbackAlways}} {
			bubble(t, s, func(t *testing.T, st *stage) {
				var heard []string
				st.mx("partner.example", "10 mx1.partner.example")
				st.at("192.0.2.1", server{tls: st.cert("mx1.partner.example"), tlsEHLO: reply, log: &heard}.run)
				e := st.dialFail(context.Background())
				synctest.Wait()
				require.Len(t, st.dials, 1, reply)
				require.NotContains(t, heard, "HELO mta.sender.example")
				require.Zero(t, e.Reason, reply)
				require.Equal(t, StageTLS, e.Report.Attempts[0].Stage)
				require.True(t, strings.HasPrefix(e.Status, "4."), e.Status)
			})
		}
	}
}

// TestClientCertificateRefused: TLS 1.2 says so in the handshake, TLS 1.3 after
// it; both count as a failed handshake.
func TestClientCertificateRefused(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		run := func(st *stage) *tls.Config {
			c := st.cert("mx1.partner.example")
			c.MaxVersion, c.ClientAuth = version, tls.RequireAnyClientCert
			return c
		}
		bubble(t, preferred, func(t *testing.T, st *stage) {
			st.at("192.0.2.1", server{tls: run(st)}.run, server{}.run)
			s := st.dialOK()
			defer s.Close()
			require.Equal(t, tlspolicy.ReasonHandshakeFailed, s.Decision().Reason)
			require.Nil(t, s.TLS())
			var failed *HandshakeError
			require.ErrorAs(t, s.Report.Attempts[0].Err, &failed)
			require.Equal(t, CauseAlert, failed.Cause)
			require.Equal(t, tlspolicy.TLSHandshakeFailed, s.Report.Attempts[0].Outcome.TLS)
		})
		bubble(t, required, func(t *testing.T, st *stage) {
			st.at("192.0.2.1", server{tls: run(st)}.run)
			st.at("192.0.2.2", server{tls: st.cert()}.run)
			s := st.dialOK()
			defer s.Close()
			require.Equal(t, "mx2.partner.example", s.Host())
			require.Equal(t, tlspolicy.ReasonModeTLSHandshakeFailed, s.Report.Attempts[0].Decision.Reason)
		})
	}
}

// TestStolenCertificate: a certificate without its key proves nothing, though
// crypto/tls has it checked before it asks for the proof.
func TestStolenCertificate(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, s := range []tlspolicy.Settings{{Mode: tlspolicy.PreferredVerify}, {Mode: tlspolicy.RequiredVerify},
			{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEOpportunistic}} {
			bubble(t, s, func(t *testing.T, st *stage) {
				config := st.cert("partner.example")
				st.mx("partner.example", "10 mx1.partner.example")
				if s.DANE != tlspolicy.DANEDefault {
					st.tlsa("mx1.partner.example", config.Certificates[0].Leaf, dane.UsageDANEEE)
				}
				config.Certificates[0].PrivateKey = testpki.NewECDSA(elliptic.P256())
				config.MaxVersion = version
				st.at("192.0.2.1", server{tls: config}.run, server{}.run)
				session, err := st.dialer.Dial(context.Background(), "partner.example")
				require.Equal(t, s.Mode != tlspolicy.PreferredVerify, err != nil)
				if err == nil {
					session.Close()
				}
				a := reportOf(t, session, err).Attempts[0]
				require.Equal(t, tlspolicy.Outcome{TLS: tlspolicy.TLSHandshakeFailed}, a.Outcome)
				require.Zero(t, a.Identity, "nothing has been proven")
				require.Zero(t, a.TLSA)
				require.Zero(t, a.Version, "there was no TLS")
				require.Zero(t, a.Suite)
			})
		}
	}
}

// TestReconnectClear: the second connection either works in clear text or the
// next address has its turn.
func TestReconnectClear(t *testing.T) {
	broken := func(p *peer) { server{ehlo: offers, starttls: "220 go\r\n"}.run(p) }
	tests := []struct {
		name   string
		second script
	}{
		{"refused", nil},
		{"greets 554", server{greeting: "554 no\r\n"}.run},
		{"EHLO 450", server{ehlo: "450 no\r\n"}.run},
		{"gone", func(*peer) {}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, preferred, func(t *testing.T, st *stage) {
				st.dialer.Timeouts.Handshake = time.Second
				st.addr("mx1.partner.example", "192.0.2.1", "2001:db8::1")
				st.at("192.0.2.1", broken, test.second)
				if test.second == nil {
					st.at("192.0.2.1", func(p *peer) {
						st.mu.Lock()
						delete(st.scripts, "192.0.2.1")
						st.mu.Unlock()
						broken(p)
					})
				}
				st.at("2001:db8::1", server{}.run)
				s := st.dialOK()
				defer s.Close()
				require.Equal(t, []string{"192.0.2.1", "192.0.2.1", "2001:db8::1"}, st.dials)
				require.True(t, s.Report.Attempts[1].Reconnect)
				require.Error(t, s.Report.Attempts[1].Err)
				require.False(t, s.Report.Attempts[2].Reconnect)
			})
		})
	}
	t.Run("connections spent", func(t *testing.T) {
		bubble(t, preferred, func(t *testing.T, st *stage) {
			st.dialer.Timeouts.Handshake = time.Second
			st.dialer.Limits.Connections = 1
			st.at("192.0.2.1", broken)
			e := st.dialFail(context.Background())
			require.Len(t, st.dials, 1)
			require.ErrorIs(t, e, ErrConnections)
		})
	})
}

func TestGreetings(t *testing.T) {
	for _, greeting := range []string{"421 busy\r\n", "521 no mail\r\n", "554 go away\r\n", "250 hm\r\n", "", "junk\r\n", "220 mx\r\n220 again\r\n"} {
		bubble(t, preferred, func(t *testing.T, st *stage) {
			st.at("192.0.2.1", func(p *peer) {
				if greeting != "" {
					server{greeting: greeting}.run(p)
				}
			})
			st.at("192.0.2.2", server{}.run)
			s := st.dialOK()
			defer s.Close()
			require.Equal(t, "mx2.partner.example", s.Host(), "%q", greeting)
			require.Zero(t, s.Report.Attempts[0].Decision, "%q: not a finding about TLS", greeting)
			require.Equal(t, StageGreeting, s.Report.Attempts[0].Stage)
		})
	}
}
