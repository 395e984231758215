package smtpclient

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

func TestRouteTable(t *testing.T) {
	hub, gate, deep, exact, address := []Hop{{Host: "Hub.example"}}, []Hop{{Host: "gate.example", Literal: true}},
		[]Hop{{Host: "deep.example", Port: 587}}, []Hop{{Host: "exact.example"}}, []Hop{{Host: "[192.0.2.1]"}}
	table, err := NewRouteTable(hub, map[string][]Hop{
		".Example.org":          gate,
		".a.b.example.org":      deep,
		"x.a.b.example.org":     exact,
		"direct.example.org":    nil,
		".direct.b.example.org": {},
		"bücher.example":        exact,
		"[192.0.2.7]":           address,
		"[IPv6:2001:DB8::1]":    address,
	})
	require.NoError(t, err)
	for domain, want := range map[string]string{
		"example.org":               "hub.example", // a parent is not its own child
		"mail.example.org":          "[gate.example]",
		"a.b.example.org":           "[gate.example]",
		"y.a.b.example.org":         "deep.example:587",
		"z.y.a.b.example.org":       "deep.example:587",
		"x.a.b.example.org":         "exact.example",
		"q.x.a.b.example.org":       "deep.example:587",
		"direct.example.org":        "",
		"sub.direct.example.org":    "[gate.example]",
		"sub.direct.b.example.org":  "",
		"xn--bcher-kva.example":     "exact.example",
		"fooexample.org":            "hub.example", // labels, not letters
		"[192.0.2.7]":               "[192.0.2.1]",
		"[192.0.2.8]":               "hub.example",
		"[IPv6:2001:db8::1]":        "[192.0.2.1]",
		"org":                       "hub.example",
		"other.example.org.example": "hub.example",
	} {
		hops, ok := table.Route(domain)
		require.Equal(t, want != "", ok, domain)
		if ok {
			require.Len(t, hops, 1, domain)
			require.Equal(t, want, hops[0].String(), domain)
		}
	}
	_, ok := (*RouteTable)(nil).Route("example.org")
	require.False(t, ok)

	_, err = NewRouteTable([]Hop{{Host: "bad host"}}, map[string][]Hop{
		"a..b": gate, "*.example": gate, "192.0.2.1": gate, ".": gate, "": gate,
		"twice.example": gate, "TWICE.example.": gate, "ok.example": {{Host: ""}, {Host: "*.x.example"}},
	})
	for _, part := range []string{`"default"`, `"a..b"`, `write ".example"`, `write "[192.0.2.1]"`, `"."`, `""`, "two entries", `"ok.example"`} {
		require.ErrorContains(t, err, part, "all that is wrong is named")
	}
}

// routes is a RouteSource with one route for everything.
type routes []Hop

func (r routes) Route(string) ([]Hop, bool) { return r, true }

// TestRouteEffects: the table of section 10. What a route changes about the names
// in certificates, the DANE base and the MTA-STS policy domain.
func TestRouteEffects(t *testing.T) {
	world := func(names ...string) lab.World {
		return lab.World{Domains: []lab.Domain{
			{Name: "recipient.example", MX: []lab.MX{{Host: "never.recipient.example", Pref: 1}},
				Policy: &lab.Policy{MX: []string{"nobody.example"}}},
			{Name: "hub.example", DNSSEC: lab.Signed, Policy: &lab.Policy{MX: []string{"mx.hub.example"}}, Hosts: []lab.Host{{
				Name: "mx.hub.example", TLSA: []lab.TLSA{lab.TLSAMatch}, Cert: lab.Cert{Names: names},
			}}},
			{Name: "plain.example", MX: []lab.MX{{Host: "mx.hub.example", Pref: 1}}},
		}}
	}
	toHost, toDomain, toPlain := Hop{Host: "mx.hub.example", Literal: true}, Hop{Host: "hub.example"}, Hop{Host: "plain.example"}
	verify := tlspolicy.Settings{Mode: tlspolicy.RequiredVerify, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.Off, Fallback: tlspolicy.FallbackAfter220}
	hosted, daneOnly, sts := verify, verify, verify
	hosted.Mode = tlspolicy.RequiredVerifyHosted
	daneOnly.Mode, daneOnly.DANE = tlspolicy.Preferred, tlspolicy.DANEMandatory
	sts.Mode, sts.MTASTS = tlspolicy.Preferred, tlspolicy.On
	tests := []struct {
		name  string
		names []string
		s     tlspolicy.Settings
		hop   Hop
		want  tlspolicy.Reason
		ref   tlspolicy.ReferenceKind
	}{
		{"hosted, host, D", []string{"recipient.example"}, hosted, toHost, tlspolicy.ReasonModeVerified, tlspolicy.ReferenceRecipientDomain},
		{"hosted, host, route host", []string{"mx.hub.example"}, hosted, toHost, tlspolicy.ReasonModeVerified, tlspolicy.ReferenceRouteHost},
		{"hosted, host, domain of the host", []string{"hub.example"}, hosted, toHost, tlspolicy.ReasonModeCertNameMismatch, 0},
		{"hosted, domain, D", []string{"recipient.example"}, hosted, toDomain, tlspolicy.ReasonModeVerified, tlspolicy.ReferenceRecipientDomain},
		{"hosted, domain, H", []string{"mx.hub.example"}, hosted, toDomain, tlspolicy.ReasonModeVerified, tlspolicy.ReferenceMXHost},
		{"hosted, domain, route domain", []string{"hub.example"}, hosted, toDomain, tlspolicy.ReasonModeVerified, tlspolicy.ReferenceRouteHost},
		{"verify, domain, D", []string{"recipient.example"}, verify, toDomain, tlspolicy.ReasonModeVerified, tlspolicy.ReferenceRecipientDomain},
		{"verify, domain, route domain is not enough", []string{"hub.example"}, verify, toDomain, tlspolicy.ReasonModeCertNameMismatch, 0},
		{"dane, host: no MX to be secure", []string{"x.example"}, daneOnly, toHost, tlspolicy.ReasonDANEVerified, 0},
		{"dane, domain, secure MX of the route", []string{"x.example"}, daneOnly, toDomain, tlspolicy.ReasonDANEVerified, 0},
		{"dane, domain, insecure MX of the route", []string{"x.example"}, daneOnly, toPlain, tlspolicy.ReasonDANERequiredInsecure, 0},
		{"sts, domain: the route domain's policy", []string{"mx.hub.example"}, sts, toDomain, tlspolicy.ReasonSTSVerified, tlspolicy.ReferenceMXHost},
		{"sts, host: the host's policy, and it has none", []string{"mx.hub.example"}, sts, toHost, tlspolicy.ReasonTLSUnauthenticated, 0},
		{"sts, plain: no policy", []string{"mx.hub.example"}, sts, toPlain, tlspolicy.ReasonTLSUnauthenticated, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := startLab(t, world(test.names...))
			d := labDialer(t, l, test.s)
			d.Routes = routes{test.hop}
			s, err := d.Dial(context.Background(), "recipient.example")
			report := reportOf(t, s, err)
			a := report.Attempts[0]
			require.Equal(t, test.want, a.Decision.Reason, "%v", err)
			require.Equal(t, test.ref, a.Identity.Kind)
			require.Equal(t, "mx.hub.example", a.Host)
			require.Equal(t, "recipient.example", report.Domain)
			require.Equal(t, test.hop, report.Route)
			require.Equal(t, test.hop.Literal, report.Host != "")
			if !test.hop.Literal {
				require.Equal(t, test.hop.Host, report.MX.Domain)
			}
			require.Contains(t, report.Explain(), "recipient.example is routed to "+test.hop.String())
			if s != nil {
				deliver(t, s, "recipient.example")
			}
		})
	}
}

// TestRouteOrder: hops come in the order of their preference, each with settings of
// its own, and the route of a Target comes before any.
func TestRouteOrder(t *testing.T) {
	table := func(t *testing.T, entries map[string]tlspolicy.Settings) *tlspolicy.Table {
		table, err := tlspolicy.NewTable(tlspolicy.Settings{}, entries)
		require.NoError(t, err)
		return table
	}
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.addr("gate.example", "192.0.2.9")
		st.dialer.Routes = routes{{Host: "partner.example", Pref: 20}, {Host: "gate.example", Literal: true, Pref: 10, Port: 587}, {Host: "192.0.2.8", Pref: 15}}
		st.dialer.Policy = table(t, map[string]tlspolicy.Settings{
			"[gate.example]:587": {Mode: tlspolicy.Required}, "[192.0.2.8]": {Mode: tlspolicy.RequiredVerifyHosted},
		})
		st.at("192.0.2.9", server{}.run)
		st.at("192.0.2.8", server{}.run)
		st.at("192.0.2.1", server{}.run)
		s, err := st.dialer.Dial(context.Background(), "recipient.example")
		require.NoError(t, err)
		require.Equal(t, []string{"192.0.2.9", "192.0.2.8", "192.0.2.1"}, st.dials, "an address serves where the recipient's domain may be on the certificate")
		require.Equal(t, tlspolicy.ReasonSTARTTLSAbsent, s.Decision().Reason)
		require.Equal(t, "partner.example", s.Report.Route.Host)
		require.Len(t, s.Report.Before, 2)
		gate, address := s.Report.Before[0], s.Report.Before[1]
		require.Equal(t, tlspolicy.Required, gate.Settings.Mode)
		require.Equal(t, tlspolicy.MatchNextHopPort, gate.Origin.Match)
		require.Equal(t, uint16(587), gate.Attempts[0].Addr.Port())
		require.Equal(t, "gate.example:587", gate.Host)
		require.Equal(t, tlspolicy.ReasonModeTLSAbsent, gate.Attempts[0].Decision.Reason)
		require.Equal(t, tlspolicy.RequiredVerifyHosted, address.Settings.Mode)
		require.Contains(t, s.Report.Explain(), "routed to [gate.example]:587")
		require.False(t, st.asked("recipient.example"), "its MX hosts have no part in it")
		s.Close()
	})
	bubble(t, required, func(t *testing.T, st *stage) {
		st.addr("gate.example", "192.0.2.9")
		st.dialer.Routes = routes{{Host: "gone.example", Pref: 1}, {Host: "192.0.2.8", Pref: 2}, {Host: "gate.example", Literal: true, Pref: 3}}
		st.at("192.0.2.9", server{}.run)
		e := st.dialFail(context.Background())
		require.Equal(t, tlspolicy.ReasonModeTLSAbsent, e.Reason, "the first refusal by policy is the headline")
		require.ErrorIs(t, e, ErrRoute, "and everything else can be reached")
		var connect *ConnectError
		require.ErrorAs(t, e, &connect)
		require.Equal(t, "gate.example", e.Report.Route.Host)
		require.Equal(t, dnssec.NXDomain, e.Report.Before[0].MX.Outcome)
	})
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.dialer.Routes = routes{{Host: "partner.example"}}
		st.addr("once.example", "192.0.2.9")
		st.at("192.0.2.9", server{}.run)
		s, err := st.dialer.DialTarget(context.Background(), Target{Domain: "recipient.example", Host: "once.example:587"})
		require.NoError(t, err)
		require.Equal(t, []string{"192.0.2.9"}, st.dials)
		require.Equal(t, "recipient.example", s.Report.Domain)
		require.Equal(t, "once.example:587", s.Report.Host)
		s.Close()
	})
}

// TestRouteFaults: a route that is wrong defers mail; it neither bounces it nor
// sends it where it was not meant for.
func TestRouteFaults(t *testing.T) {
	for name, test := range map[string]struct {
		hops   routes
		status string
	}{
		"no hops":            {routes{}, "4.3.5"},
		"no host":            {routes{{}}, "4.3.5"},
		"bad host":           {routes{{Host: "a b"}}, "4.3.5"},
		"domain is gone":     {routes{{Host: "gone.example"}}, "4.4.4"},
		"domain has null MX": {routes{{Host: "null.example"}}, "4.4.4"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, preferred, func(t *testing.T, st *stage) {
				st.dns.Absent = dnssec.Secure
				st.mx("null.example", "0 .")
				st.dialer.Routes = test.hops
				st.at("192.0.2.1", server{}.run)
				e := st.dialFail(context.Background())
				require.ErrorIs(t, e, ErrRoute)
				require.False(t, e.Permanent, "it says nothing about the recipient")
				require.NotErrorIs(t, e, ErrNoDomain)
				require.NotErrorIs(t, e, ErrNullMX)
				require.Equal(t, test.status, e.Status)
				require.Equal(t, "partner.example", e.Domain)
				require.Empty(t, st.dials)
			})
		})
	}
	bubble(t, preferred, func(t *testing.T, st *stage) {
		var many routes
		for i := range 100 {
			many = append(many, Hop{Host: "192.0.2.8", Port: uint16(i + 1)})
		}
		st.dialer.Routes = many
		e := st.dialFail(context.Background())
		require.Len(t, st.dials, DefaultHosts)
		require.Len(t, e.Report.Before, DefaultHosts-1)
	})
	bubble(t, tlspolicy.Settings{Mode: tlspolicy.Preferred, MTASTS: tlspolicy.On}, func(t *testing.T, st *stage) {
		// A failed MTA-STS lookup of one hop is not the end of the next.
		st.dialer.Routes = routes{{Host: "partner.example", Pref: 1}, {Host: "192.0.2.8", Pref: 2}}
		st.dialer.MTASTS = stsFunc{lookup: func(context.Context, string) (mtasts.Result, error) { return mtasts.Result{}, mtasts.ErrPin }}
		st.at("192.0.2.8", server{}.run)
		s := st.dialOK()
		require.Equal(t, "192.0.2.8", s.Host())
		s.Close()
	})
}

// TestRouteForLiterals: an address literal as recipient domain can be routed, too.
func TestRouteForLiterals(t *testing.T) {
	bubble(t, preferred, func(t *testing.T, st *stage) {
		table, err := NewRouteTable(nil, map[string][]Hop{"[192.0.2.77]": {{Host: "partner.example"}}})
		require.NoError(t, err)
		st.dialer.Routes = table
		st.at("192.0.2.1", server{}.run)
		st.at("192.0.2.78", server{}.run)
		s, err := st.dialer.Dial(context.Background(), "[192.0.2.77]")
		require.NoError(t, err)
		require.Equal(t, "mx1.partner.example", s.Host())
		s.Close()
		s, err = st.dialer.Dial(context.Background(), "[192.0.2.78]")
		require.NoError(t, err)
		require.Equal(t, "192.0.2.78", s.Host())
		s.Close()
	})
}
