package smtpclient

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane"
	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// heard is what a Dialer told.
type heard struct {
	events []tlspolicy.Event
	alerts []tlspolicy.Alert
}

func (st *stage) listen() *heard {
	h := &heard{}
	st.dialer.OnEvent = func(_ context.Context, e tlspolicy.Event) { h.events = append(h.events, e) }
	st.dialer.OnAlert = func(_ context.Context, a tlspolicy.Alert) { h.alerts = append(h.alerts, a) }
	return h
}

// kinds returns the names of the events in order, and forgets them.
func (h *heard) kinds() string {
	var kinds []string
	for _, e := range h.events {
		kinds = append(kinds, e.Kind.String())
	}
	h.events = nil
	return strings.Join(kinds, " ")
}

func (h *heard) alertKinds() string {
	var kinds []string
	for _, a := range h.alerts {
		kinds = append(kinds, a.Kind.String())
	}
	h.alerts = nil
	return strings.Join(kinds, " ")
}

// TestEvents: each line once per occasion, and the causes for which there is no TLS
// told apart.
func TestEvents(t *testing.T) {
	plain, noESMTP := server{}, server{ehlo: "502 what?\r\n"}
	refusing := server{ehlo: offers, starttls: "454 4.7.0 not now\r\n"}
	dead := server{ehlo: offers, starttls: "421 bye\r\n"}
	good := func(names ...string) func(st *stage) server {
		return func(st *stage) server { return server{tls: st.cert(names...)} }
	}
	is := func(s server) func(*stage) server { return func(*stage) server { return s } }
	brokenTLS := func(st *stage) server {
		c := st.cert("mx1.partner.example")
		c.Certificates = nil
		return server{tls: c}
	}
	sts := func(mode string, patterns ...string) func(st *stage) {
		return func(st *stage) { st.dialer.MTASTS = found(policyOf(mode, patterns...)) }
	}
	tlsa := func(st *stage) {
		c := st.cert("mx1.partner.example")
		st.tlsa("mx1.partner.example", c.Certificates[0].Leaf, dane.UsageDANEEE)
		st.at("192.0.2.1", server{tls: c}.run)
	}
	both := tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.On}
	tests := []struct {
		name   string
		s      tlspolicy.Settings
		host   func(st *stage) server
		setup  func(st *stage)
		want   string
		alerts string
	}{
		{"verified", modeOnly(tlspolicy.RequiredVerify), good("partner.example"), nil, "connect tls-established decision", ""},
		{"mode No", modeOnly(tlspolicy.No), is(plain), nil, "connect decision", ""},
		{"mode No, no ESMTP", modeOnly(tlspolicy.No), is(noESMTP), nil, "connect decision", ""},
		{"absent, clear", preferred, is(plain), nil, "connect starttls-absent decision", ""},
		{"absent, demanded", required, is(plain), nil, "connect starttls-absent tls-required-unavailable decision", "tls-required-failed"},
		{"no ESMTP, clear", preferred, is(noESMTP), nil, "connect no-esmtp decision", ""},
		{"no ESMTP, demanded", required, is(noESMTP), nil, "connect no-esmtp tls-required-unavailable decision", "tls-required-failed"},
		{"refused", preferred, is(refusing), nil, "connect starttls-refused decision", ""},
		{"refused, demanded", required, is(refusing), nil, "connect starttls-refused tls-required-failed decision", "tls-required-failed"},
		{"421 is no answer about TLS", required, is(dead), nil, "connect", ""},
		{"handshake fails, then clear", preferred, brokenTLS, nil, "connect decision connect decision", ""},
		{"handshake fails, demanded", required, brokenTLS, nil, "connect tls-required-failed decision", "tls-required-failed"},
		{"wrong certificate, demanded", modeOnly(tlspolicy.RequiredVerifyHosted), good("x.example"), nil,
			"connect tls-established tls-required-failed decision", "tls-required-failed"},
		{"wrong certificate, preferred", modeOnly(tlspolicy.PreferredVerify), good("x.example"), nil, "connect tls-established decision", ""},
		{"policy passed", withSTS, good("mx1.partner.example"), sts("enforce", "mx1.partner.example"),
			"sts-apply sts-enforce connect tls-established sts-success decision", ""},
		{"policy failed, certificate", withSTS, good("x.example"), sts("enforce", "mx1.partner.example"),
			"sts-apply sts-enforce connect tls-established tls-required-failed sts-failed decision sts-connection-failed", ""},
		{"policy failed, no TLS", withSTS, is(plain), sts("enforce", "mx1.partner.example"),
			"sts-apply sts-enforce connect starttls-absent tls-required-unavailable sts-failed decision sts-connection-failed", ""},
		{"policy failed, host", withSTS, is(plain), sts("enforce", "other.example"),
			"sts-apply sts-failed decision sts-connection-failed", ""},
		{"policy failed, Required too", tlspolicy.Settings{Mode: tlspolicy.Required, MTASTS: tlspolicy.On}, is(plain), sts("enforce", "other.example"),
			"sts-apply sts-failed decision sts-connection-failed", "tls-required-failed"},
		{"policy tested, passed", withSTS, good("mx1.partner.example"), sts("testing", "mx1.partner.example"),
			"sts-apply connect tls-established sts-success decision", ""},
		{"policy tested, failed", withSTS, is(plain), sts("testing", "mx1.partner.example"),
			"sts-apply connect starttls-absent sts-failed decision", ""},
		{"policy none", withSTS, is(plain), sts("none", "mx1.partner.example"), "connect starttls-absent decision", ""},
		{"DANE before MTA-STS", both, nil, func(st *stage) { sts("enforce", "other.example")(st); tlsa(st) },
			"sts-skipped-dane connect tls-established decision", ""},
		{"DANE without a policy", both, nil, func(st *stage) { sts("none", "other.example")(st); tlsa(st) },
			"connect tls-established decision", ""},
		{"DANE fails", tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEOpportunistic}, nil,
			func(st *stage) { tlsa(st); st.at("192.0.2.1", good("x.example")(st).run) },
			"connect tls-established tls-required-failed decision", "dane-failed-all"},
		{"DANE fails, Required", tlspolicy.Settings{Mode: tlspolicy.Required, DANE: tlspolicy.DANEOpportunistic}, nil,
			func(st *stage) { tlsa(st); st.at("192.0.2.1", plain.run) },
			"connect starttls-absent tls-required-unavailable decision", "tls-required-failed dane-failed-all"},
		{"DANE mandatory, nothing there", tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEMandatory}, is(plain), nil,
			"decision", "dane-failed-all"},
		{"MX lookup fails", tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEOpportunistic}, is(plain),
			func(st *stage) { st.fail("partner.example", dnssec.TypeMX) }, "decision", "dane-failed-all"},
		{"unreachable", required, nil, nil, "", ""},
		{"EHLO inside TLS fails", required, func(st *stage) server {
			return server{tls: st.cert("x"), tlsEHLO: "502 what?\r\n"}
		}, nil, "connect tls-established", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, test.s, func(t *testing.T, st *stage) {
				st.mx("partner.example", "10 mx1.partner.example")
				if test.host != nil {
					st.at("192.0.2.1", test.host(st).run)
				}
				if test.setup != nil {
					test.setup(st)
				}
				h := st.listen()
				s, err := st.dialer.Dial(context.Background(), "partner.example")
				if err == nil {
					s.Close()
				}
				for _, e := range h.events {
					require.Equal(t, "partner.example", e.Domain)
					require.Equal(t, time.Now(), e.Time)
					require.Equal(t, e.Addr.IsValid(), e.ConnID != 0)
					require.NotEmpty(t, e.AsyncOS())
					if e.Kind == tlspolicy.EventSTARTTLSRefused {
						require.Contains(t, e.Detail, "454", "the server's own words")
					}
				}
				require.Equal(t, test.want, h.kinds())
				require.Equal(t, test.alerts, h.alertKinds())
			})
		})
	}
}

// TestSTSPassedModeFailed: the MTA-STS policy of a host that the mode refuses was
// satisfied all the same.
func TestSTSPassedModeFailed(t *testing.T) {
	bubble(t, tlspolicy.Settings{Mode: tlspolicy.RequiredVerify, MTASTS: tlspolicy.On}, func(t *testing.T, st *stage) {
		st.mx("partner.example", "10 mx1.partner.example")
		st.dialer.MTASTS = found(policyOf("enforce", "mx1.partner.example"))
		c := st.cert()
		c.Certificates[0] = st.pki.Leaf([]string{"mx1.partner.example"}, testpki.CommonName("")).TLS()
		st.at("192.0.2.1", server{tls: c}.run)
		h := st.listen()
		e := st.dialFail(context.Background())
		require.Equal(t, tlspolicy.ReasonModeCertNameMismatch, e.Reason)
		require.Equal(t, "sts-apply sts-enforce connect tls-established tls-required-failed sts-success decision sts-connection-failed", h.kinds())
		require.Equal(t, "tls-required-failed", h.alertKinds())
	})
}

// TestEventsOfManyHosts: a host that failed before another one delivered gives no
// alert, each connection has a number of its own, and nothing is told of what the
// end of ctx interrupted.
func TestEventsOfManyHosts(t *testing.T) {
	bubble(t, required, func(t *testing.T, st *stage) {
		h := st.listen()
		st.at("192.0.2.1", server{}.run)
		st.at("192.0.2.2", server{tls: st.cert("x")}.run)
		s := st.dialOK()
		require.Equal(t, uint64(1), s.Report.Attempts[0].ConnID)
		require.Equal(t, uint64(2), s.Report.Attempts[1].ConnID)
		s.Close()
		require.Empty(t, h.alerts)
		require.Equal(t, "connect starttls-absent tls-required-unavailable decision connect tls-established decision", h.kinds())
	})
	bubble(t, required, func(t *testing.T, st *stage) {
		h := st.listen()
		st.at("192.0.2.1", server{}.run)
		st.at("192.0.2.2", (*peer).swallow)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		e := st.dialFail(ctx)
		require.Equal(t, context.DeadlineExceeded, e.Err)
		var policy *PolicyError
		require.ErrorAs(t, e, &policy, "what failed before can be reached")
		require.Equal(t, "connect starttls-absent tls-required-unavailable decision connect", h.kinds())
		require.Empty(t, h.alerts, "the delivery is not finished")
	})
	bubble(t, required, func(t *testing.T, st *stage) {
		h := st.listen()
		st.at("192.0.2.1", server{}.run)
		st.at("192.0.2.2", server{}.run)
		st.dialFail(context.Background())
		require.Len(t, h.alerts, 1)
		require.Equal(t, "partner.example", h.alerts[0].Domain)
		require.Len(t, h.alerts[0].Hosts, 2)
		require.Equal(t, required.Mode, h.alerts[0].Settings.Mode)
	})
	bubble(t, preferred, func(t *testing.T, st *stage) {
		h := st.listen() // hops of a route have settings and alerts of their own
		table, err := tlspolicy.NewTable(tlspolicy.Settings{}, map[string]tlspolicy.Settings{"[192.0.2.8]": {Mode: tlspolicy.Required}})
		require.NoError(t, err)
		st.dialer.Policy, st.dialer.Routes = table, routes{{Host: "192.0.2.8", Pref: 1}, {Host: "192.0.2.9", Pref: 2}}
		st.at("192.0.2.8", server{}.run)
		st.dialFail(context.Background())
		require.Equal(t, "tls-required-failed", h.alertKinds())
		st.at("192.0.2.9", server{}.run)
		st.dialOK().Close()
		require.Empty(t, h.alerts)
	})
}

// TestDANEUnavailable: a resolver that does not validate is complained of once.
func TestDANEUnavailable(t *testing.T) {
	for _, test := range []struct {
		security dnssec.Security
		s        tlspolicy.Settings
		want     int
	}{
		{dnssec.Indeterminate, tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEOpportunistic}, 1},
		{dnssec.Indeterminate, tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEMandatory}, 1},
		{dnssec.Insecure, tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEOpportunistic}, 0},
		{dnssec.Indeterminate, preferred, 0},
		{dnssec.Indeterminate, tlspolicy.Settings{Mode: tlspolicy.No, DANE: tlspolicy.DANEOpportunistic}, 0},
	} {
		bubble(t, test.s, func(t *testing.T, st *stage) {
			for q, a := range st.dns.Answers {
				a.Security, a.Final = test.security, test.security
				st.dns.Answers[q] = a
			}
			st.dns.Absent = test.security
			st.at("192.0.2.1", server{}.run)
			h := st.listen()
			for range 3 {
				s, err := st.dialer.Dial(context.Background(), "partner.example")
				if err == nil {
					s.Close()
				}
				s, err = st.dialer.DialHost(context.Background(), "mx1.partner.example")
				if err == nil {
					s.Close()
				}
			}
			require.Equal(t, test.want, strings.Count(h.kinds(), "dane-unavailable"), "%v %v", test.security, test.s)
		})
	}
}

// TestLoggedLines: the log has the chapter's lines, with attributes.
func TestLoggedLines(t *testing.T) {
	bubble(t, required, func(t *testing.T, st *stage) {
		var out bytes.Buffer
		st.dialer.Logger = slog.New(slog.NewTextHandler(&out, nil))
		st.mx("partner.example", "10 mx1.partner.example")
		st.at("192.0.2.1", server{greeting: "220 mx\" ESMTP\r\n"}.run)
		st.dialFail(context.Background())
		for _, line := range []string{
			`msg="New SMTP DCID 1 interface - address 192.0.2.1 port 25" kind=connect`,
			`msg="DCID 1 STARTTLS command not supported" kind=starttls-absent`,
			`msg="DCID 1 TLS failed: TLS required, STARTTLS unavailable, destination is TLS disabled"`,
			`level=WARN msg="TLS is required for the domain (partner.example)`,
		} {
			require.Equal(t, 1, strings.Count(out.String(), line), "%s\n%s", line, out.String())
		}
		require.NotContains(t, out.String(), "DEBUG")
		require.NotContains(t, out.String(), "decision", "that is debug")
	})
}
