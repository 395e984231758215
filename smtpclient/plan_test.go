package smtpclient

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// plan makes a Plan for partner.example.
func (st *stage) plan() *Plan {
	p, err := st.dialer.Plan(context.Background(), Target{Domain: "partner.example"})
	require.NoError(st.t, err)
	return p
}

// expire gives every answer of the stage a time to live.
func (st *stage) expire(ttl time.Duration) {
	for q, a := range st.dns.Answers {
		a.Expires = time.Now().Add(ttl)
		st.dns.Answers[q] = a
	}
}

// TestPlan: a Plan knows what Dial would find, and connecting by it asks nothing.
func TestPlan(t *testing.T) {
	bubble(t, modeOnly(tlspolicy.RequiredVerify), func(t *testing.T, st *stage) {
		st.dialer.Family = PreferIPv6
		st.addr("mx1.partner.example", "192.0.2.1", "2001:db8::1")
		st.at("192.0.2.2", server{tls: st.cert("partner.example")}.run)
		p := st.plan()
		require.Empty(t, st.dials)
		require.Equal(t, Target{Domain: "partner.example"}, p.Target)
		require.Len(t, p.Hosts, 2)
		first := p.Hosts[0]
		require.Equal(t, "mx1.partner.example", first.Host)
		require.Equal(t, uint16(10), first.Pref)
		require.Equal(t, []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")}, first.Addrs)
		require.Equal(t, tlspolicy.KindMode, first.Requirement.Kind())
		require.NoError(t, first.Err)
		require.Equal(t, tlspolicy.RequiredVerify, first.Report.Settings.Mode)
		require.NotEqual(t, first.Key, p.Hosts[1].Key)
		asked := len(st.resolved)
		for range 2 { // it can be used more than once
			s, err := st.dialer.DialPlan(context.Background(), p)
			require.NoError(t, err)
			require.Equal(t, "mx2.partner.example", s.Host())
			require.Equal(t, p.Hosts[1].Key, s.ReuseKey())
			require.False(t, s.Expires().Before(p.Expires), "the session rests on one host's facts, the plan on those of all")
			require.Len(t, s.Report.Attempts, 3)
			require.Equal(t, "partner.example", s.Report.Domain)
			require.Len(t, s.Report.MX.Hosts, 2)
			s.Close()
		}
		require.Len(t, st.resolved, asked)
		require.Len(t, st.dials, 6)
		require.Empty(t, p.Hosts[0].Report.Attempts, "a Plan does not change")
	})
}

func TestPlanSkips(t *testing.T) {
	bubble(t, withSTS, func(t *testing.T, st *stage) {
		st.mx("partner.example", "10 mx1.partner.example", "20 mx2.partner.example", "30 gone.partner.example")
		st.dialer.MTASTS = found(policyOf("enforce", "mx1.partner.example", "gone.partner.example"))
		st.at("192.0.2.1", server{tls: st.cert("mx1.partner.example")}.run)
		p := st.plan()
		require.Len(t, p.Hosts, 3)
		require.Equal(t, tlspolicy.KindSTS, p.Hosts[0].Requirement.Kind())
		var policy *PolicyError
		require.ErrorAs(t, p.Hosts[1].Err, &policy)
		require.Equal(t, tlspolicy.ReasonSTSMXMismatch, policy.Decision.Reason)
		require.Zero(t, p.Hosts[1].Key)
		require.ErrorIs(t, p.Hosts[2].Err, ErrNoAddress)
		text := p.Explain()
		require.Contains(t, text, "Host 2: mx2.partner.example")
		require.Contains(t, text, "sts-mx-mismatch")
		require.Contains(t, text, "It is left out: the host has no usable address")
		s, err := st.dialer.DialPlan(context.Background(), p)
		require.NoError(t, err)
		require.Equal(t, tlspolicy.ReasonSTSVerified, s.Decision().Reason)
		s.Close()
	})
	bubble(t, withSTS, func(t *testing.T, st *stage) {
		st.dialer.MTASTS = found(policyOf("enforce", "elsewhere.example"))
		p := st.plan() // that policy leaves out everything is a finding
		_, err := st.dialer.DialPlan(context.Background(), p)
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, tlspolicy.ReasonSTSMXMismatch, e.Reason)
	})
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.dialer.Self = func(_ string, a netip.Addr) bool { return a == netip.MustParseAddr("192.0.2.2") }
		p := st.plan()
		require.Len(t, p.Hosts, 1, "this system ends the list")
		e, ok := func() (*Error, bool) {
			_, err := st.dialer.DialPlan(context.Background(), p)
			e, ok := err.(*Error)
			return e, ok
		}()
		require.True(t, ok)
		require.Equal(t, []string{"192.0.2.1"}, st.dials)
		require.Len(t, e.Report.Attempts, 1)
		st.dialer.Self = nil
	})
}

func TestPlanErrors(t *testing.T) {
	bubble(t, preferred, func(t *testing.T, st *stage) {
		for domain, want := range map[string]error{"nowhere.example": ErrNoDomain, "null.example": ErrNullMX, "self.example": ErrMailLoop, "a b": ErrBadName} {
			st.mx("null.example", "0 .")
			st.mx("self.example", "10 mx.self.example")
			st.addr("mx.self.example", "192.0.2.7")
			d := &Dialer{Resolver: st, Hostname: "mta.sender.example", Self: func(_ string, a netip.Addr) bool { return a == netip.MustParseAddr("192.0.2.7") }}
			p, err := d.Plan(context.Background(), Target{Domain: domain})
			require.Nil(t, p)
			require.ErrorIs(t, err, want)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := st.dialer.Plan(ctx, Target{Domain: "partner.example"})
		require.ErrorIs(t, err, context.Canceled)
		p := st.plan()
		for name, foreign := range map[string]*Plan{"another Dialer's": p, "nil": nil, "zero": {}} {
			_, err = (&Dialer{Resolver: st, Hostname: "mta.sender.example"}).DialPlan(context.Background(), foreign)
			require.ErrorIs(t, err, errForeignPlan, name)
		}
		require.Empty(t, st.dials)
	})
}

// TestPlanExpires: what it rests on bounds a Plan, and so does MaxPlanAge.
func TestPlanExpires(t *testing.T) {
	for ttl, want := range map[time.Duration]time.Duration{
		0: minPlanAge, time.Second: minPlanAge, time.Minute: time.Minute, time.Hour: MaxPlanAge,
	} {
		bubble(t, preferred, func(t *testing.T, st *stage) {
			st.at("192.0.2.1", server{}.run)
			st.expire(ttl)
			p := st.plan()
			require.Equal(t, time.Now().Add(want), p.Expires)
			time.Sleep(want - 1)
			s, err := st.dialer.DialPlan(context.Background(), p)
			require.NoError(t, err)
			require.Equal(t, p.Expires, s.Expires())
			s.Close()
			time.Sleep(time.Nanosecond)
			_, err = st.dialer.DialPlan(context.Background(), p)
			require.ErrorIs(t, err, ErrPlanExpired)
		})
	}
	for name, shorten := range map[string]func(st *stage){
		"MX":   func(st *stage) { st.ttl("partner.example", dnssec.TypeMX) },
		"A":    func(st *stage) { st.ttl("mx2.partner.example", dnssec.TypeA) },
		"AAAA": func(st *stage) { st.ttl("mx2.partner.example", dnssec.TypeAAAA) },
		"TLSA": func(st *stage) { st.ttl("_25._tcp.mx1.partner.example", dnssec.TypeTLSA) },
		"MTA-STS": func(st *stage) {
			r := policyOf("enforce", "*.partner.example")
			r.Expires = time.Now().Add(time.Minute)
			st.dialer.MTASTS = found(r)
		},
	} {
		s := tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.On}
		if name != "TLSA" {
			bubble(t, withSTS, func(t *testing.T, st *stage) {
				st.dialer.MTASTS = found(mtasts.Result{Outcome: mtasts.OutcomeNoRecord})
				shorten(st)
				require.Equal(t, time.Now().Add(time.Minute), st.plan().Expires, name)
			})
		}
		bubble(t, s, func(t *testing.T, st *stage) {
			st.dialer.MTASTS = found(mtasts.Result{Outcome: mtasts.OutcomeNoRecord})
			st.tlsa("mx1.partner.example", st.cert("x").Certificates[0].Leaf, 3)
			require.Equal(t, time.Now().Add(MaxPlanAge), st.plan().Expires)
			shorten(st)
			require.Equal(t, time.Now().Add(time.Minute), st.plan().Expires, name)
		})
	}
}

// ttl makes one answer expire in a minute.
func (st *stage) ttl(name string, typ dnssec.Type) {
	q := dnssec.Question{Name: name, Type: typ}
	a, ok := st.dns.Answers[q]
	require.True(st.t, ok)
	a.Expires = time.Now().Add(time.Minute)
	st.dns.Answers[q] = a
}

// TestPlanRecheck: RFC 8461 section 5.1 holds for planned deliveries, too.
func TestPlanRecheck(t *testing.T) {
	bubble(t, withSTS, func(t *testing.T, st *stage) {
		updated := policyOf("enforce", "mx2.partner.example")
		st.dialer.MTASTS = stsFunc{found(policyOf("enforce", "mx9.partner.example")).lookup,
			func(context.Context, string) (mtasts.Result, bool, error) { return updated, true, nil }}
		st.at("192.0.2.2", server{tls: st.cert("mx2.partner.example")}.run)
		s, err := st.dialer.DialPlan(context.Background(), st.plan())
		require.NoError(t, err)
		require.True(t, s.Report.Rechecked)
		require.Equal(t, tlspolicy.ReasonSTSVerified, s.Decision().Reason)
		s.Close()
	})
}

// TestPlanRoutes: a hop whose hosts cannot be found is a failed one, not none.
func TestPlanRoutes(t *testing.T) {
	bubble(t, preferred, func(t *testing.T, st *stage) {
		st.dialer.Routes = routes{{Host: "gone.example", Pref: 1}, {Host: "192.0.2.8", Pref: 2, Port: 587}, {Host: "partner.example", Pref: 3}}
		st.at("192.0.2.1", server{}.run)
		p := st.plan()
		require.Len(t, p.Hosts, 3)
		require.Equal(t, "192.0.2.8", p.Hosts[0].Report.Route.Host)
		require.Contains(t, p.Explain(), "routed to gone.example")
		require.Contains(t, p.Explain(), "There is no host to try: the route leads nowhere")
		s, err := st.dialer.DialPlan(context.Background(), p)
		require.NoError(t, err)
		require.Equal(t, []string{"192.0.2.8", "192.0.2.1"}, st.dials)
		require.Len(t, s.Report.Before, 2)
		s.Close()
	})
}

// TestPlanPTR: the names of the addresses are looked up with everything else.
func TestPlanPTR(t *testing.T) {
	bubble(t, modeOnly(tlspolicy.RequiredVerify), func(t *testing.T, st *stage) {
		st.dialer.Verify.PTR = true
		st.mx("partner.example", "10 mx1.partner.example")
		st.dns.Answers[dnssec.Question{Name: "1.2.0.192.in-addr.arpa", Type: dnssec.TypePTR}] = dnssec.Answer{
			Security: dnssec.Insecure, Records: []dnssec.Record{{Data: mxData(t, "0", "real.host.example")[2:]}},
		}
		st.addr("real.host.example", "192.0.2.1")
		config := st.cert()
		config.Certificates[0] = st.pki.Leaf([]string{"x.example"}, testpki.CommonName("real.host.example")).TLS()
		st.at("192.0.2.1", server{tls: config}.run)
		p := st.plan()
		asked := len(st.resolved)
		s, err := st.dialer.DialPlan(context.Background(), p)
		require.NoError(t, err)
		require.Equal(t, tlspolicy.ReferencePTR, s.Identity().Kind)
		require.Len(t, st.resolved, asked)
		s.Close()
	})
}
