package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// startLab starts a world and requires at the end of the test that neither a
// goroutine nor a descriptor is left.
func startLab(t testing.TB, w lab.World) *lab.Lab {
	t.Helper()
	goroutines, files := runtime.NumGoroutine(), openFiles()
	l, err := lab.Start(w)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > goroutines || openFiles() > files; {
			if time.Now().After(end) {
				buf := make([]byte, 1<<16)
				t.Fatalf("left behind: %d goroutines (%d before), %d descriptors (%d before)\n%s",
					runtime.NumGoroutine(), goroutines, openFiles(), files, buf[:runtime.Stack(buf, true)])
			}
			runtime.Gosched()
		}
	})
	return l
}

// openFiles counts descriptors, 0 where the system does not tell.
func openFiles() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}

// labDialer is a Dialer that lives in the lab.
func labDialer(t testing.TB, l *lab.Lab, s tlspolicy.Settings) *Dialer {
	trust, err := tlspolicy.NewPoolVerifier(l.Roots(), tlspolicy.PoolOptions{})
	require.NoError(t, err)
	return &Dialer{
		Hostname: "mta.sender.example", Policy: fixed(s), Resolver: l.Resolver(), DialContext: l.DialContext,
		Trust: trust, MTASTS: labSTS(l),
	}
}

func labSTS(l *lab.Lab) *mtasts.Client {
	return &mtasts.Client{
		Resolver: dnssec.NetResolver{Resolver: l.Resolver()},
		Fetch:    mtasts.FetchConfig{RootCAs: l.Roots(), DialContext: l.DialContext, AllowPrefixes: lab.Prefixes()},
	}
}

var allModes = []tlspolicy.Mode{tlspolicy.No, tlspolicy.Preferred, tlspolicy.Required, tlspolicy.PreferredVerify,
	tlspolicy.RequiredVerify, tlspolicy.RequiredVerifyHosted}

// named returns the value of a tlspolicy enum with the given text.
func named[T ~uint8](t testing.TB, text string, last T, name func(T) string) T {
	for v := T(0); v <= last; v++ {
		if name(v) == text {
			return v
		}
	}
	t.Fatalf("no value is called %q", text)
	return 0
}

// verdict is what the tables say about a whole Dial.
type verdict struct {
	host     string
	decision tlspolicy.Decision
	reasons  []tlspolicy.Reason // of the hosts that policy left, in order
	stop     bool               // no host list
}

// evaluate applies the tables of tlspolicy to declared facts.
func evaluate(t testing.TB, s tlspolicy.Settings, d lab.Destination) (v verdict) {
	if d.MX == "bogus" || d.MX == "lookup-error" {
		mx := named(t, d.MX, tlspolicy.DANELookupError, tlspolicy.DANEState.String)
		v.decision, _ = tlspolicy.PlanDomain(s, mx)
		v.stop = true
		return v
	}
	for _, f := range d.Hosts {
		state := named(t, f.DANE, tlspolicy.DANELookupError, tlspolicy.DANEState.String)
		sts := named(t, f.STS, tlspolicy.STSEnforceMismatch, tlspolicy.STSState.String)
		r := tlspolicy.Plan(s, state, sts)
		if skip, ok := r.Skip(); ok {
			v.reasons = append(v.reasons, skip.Reason)
			continue
		}
		if f.TLS == "unreachable" {
			continue
		}
		o := tlspolicy.Outcome{
			TLS:       named(t, f.TLS, tlspolicy.TLSEstablished, tlspolicy.TLSOutcome.String),
			Chain:     named(t, f.Chain, tlspolicy.ChainExpired, tlspolicy.ChainOutcome.String),
			DANEMatch: f.DANEMatch, STSName: f.STSName, VerifyName: f.VerifyName, HostedName: f.HostedName,
		}
		decision := r.Decide(o)
		if decision.Action == tlspolicy.ReconnectClear {
			v.reasons = append(v.reasons, decision.Reason)
			decision = r.AfterReconnect().Decide(tlspolicy.Outcome{})
		}
		if decision.Action == tlspolicy.Next {
			v.reasons = append(v.reasons, decision.Reason)
			continue
		}
		v.host, v.decision = f.Host, decision
		return v
	}
	return v
}

// TestWorld compares every Dial into the ready-made world with a direct
// evaluation of the tables on the declared facts, and both with what the mail
// hosts saw.
func TestWorld(t *testing.T) {
	world, destinations := lab.Destinations()
	l := startLab(t, world)
	sts := labSTS(l)
	for _, mode := range allModes {
		for _, daneSetting := range []tlspolicy.DANE{tlspolicy.DANENone, tlspolicy.DANEOpportunistic, tlspolicy.DANEMandatory} {
			for _, stsSetting := range []tlspolicy.MTASTS{tlspolicy.Off, tlspolicy.On} {
				for _, fallback := range []tlspolicy.Fallback{tlspolicy.FallbackAfter220, tlspolicy.FallbackAlways, tlspolicy.FallbackBefore220} {
					s := tlspolicy.Settings{Mode: mode, DANE: daneSetting, MTASTS: stsSetting, Fallback: fallback}
					if fallback != tlspolicy.FallbackAfter220 && mode != tlspolicy.Preferred && mode != tlspolicy.PreferredVerify {
						continue // has no say
					}
					d := labDialer(t, l, s)
					d.MTASTS = sts
					for _, destination := range destinations {
						name := fmt.Sprintf("%s, %v", destination.Domain, s)
						for _, h := range l.Hosts() {
							h.Forget()
						}
						checkDestination(t, l, d, d.Dial, destination, evaluate(t, s, destination), name)
						if t.Failed() {
							return
						}
					}
				}
			}
		}
	}
}

// TestPlannedWorld: a planned delivery ends as an unplanned one, on a session with
// the key that was planned.
func TestPlannedWorld(t *testing.T) {
	world, destinations := lab.Destinations()
	l := startLab(t, world)
	sts := labSTS(l)
	for _, mode := range []tlspolicy.Mode{tlspolicy.Preferred, tlspolicy.PreferredVerify, tlspolicy.RequiredVerifyHosted} {
		s := tlspolicy.Settings{Mode: mode, DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.On, Fallback: tlspolicy.FallbackAfter220}
		d := labDialer(t, l, s)
		d.MTASTS = sts
		for _, destination := range destinations {
			for _, h := range l.Hosts() {
				h.Forget()
			}
			name := fmt.Sprintf("planned %s, %v", destination.Domain, s)
			planned := func(ctx context.Context, domain string) (*Session, error) {
				p, err := d.Plan(ctx, Target{Domain: domain})
				if err != nil {
					return nil, err
				}
				require.NotEmpty(t, p.Explain(), name)
				session, err := d.DialPlan(ctx, p)
				if err == nil {
					require.True(t, slices.ContainsFunc(p.Hosts, func(h PlannedHost) bool {
						return h.Host == session.Host() && h.Key == session.ReuseKey()
					}), name)
				}
				return session, err
			}
			checkDestination(t, l, d, planned, destination, evaluate(t, s, destination), name)
		}
	}
}

func checkDestination(t *testing.T, l *lab.Lab, d *Dialer, dial func(context.Context, string) (*Session, error), destination lab.Destination, want verdict, name string) {
	ctx := context.Background()
	s, err := dial(ctx, destination.Domain)
	report := reportOf(t, s, err)
	require.NotEmpty(t, report.Explain(), name)
	var reasons []tlspolicy.Reason
	for i, a := range report.Attempts {
		if i > 0 && report.Attempts[i-1].Host == a.Host && report.Attempts[i-1].Addr.Addr() != a.Addr.Addr() {
			continue // another address of the host
		}
		if a.Err != nil && a.Decision.Reason != tlspolicy.ReasonNone {
			reasons = append(reasons, a.Decision.Reason)
		}
	}
	require.Equal(t, want.reasons, reasons, name)
	if want.host == "" {
		var e *Error
		require.ErrorAs(t, err, &e, name)
		require.False(t, e.Permanent, name)
		require.True(t, strings.HasPrefix(e.Status, "4."), name)
		switch {
		case want.stop:
			require.Equal(t, want.decision.Reason, e.Reason, name)
			require.Empty(t, report.Attempts, name)
		case len(want.reasons) > 0:
			require.Equal(t, want.reasons[0], e.Reason, name)
			require.Contains(t, []string{"4.7.4", "4.7.5"}, e.Status, name)
		}
	} else {
		require.NoError(t, err, name)
		require.Equal(t, want.host, s.Host(), name)
		require.Equal(t, want.decision, s.Decision(), name)
		require.Equal(t, want.decision.Action == tlspolicy.DeliverClear, s.TLS() == nil, name)
		deliver(t, s, destination.Domain)
	}
	for _, h := range l.Hosts() {
		require.NoError(t, h.Idle(ctx), name)
		box := h.Mailbox()
		if h.Name() == want.host {
			require.Len(t, box, 1, name)
			require.Equal(t, []string{"postmaster@" + destination.Domain}, box[0].To, name)
			require.Equal(t, want.decision.Action == tlspolicy.DeliverClear, box[0].TLS == nil, name)
		} else {
			require.Empty(t, box, name)
		}
		for _, c := range h.Connections() {
			clear := strings.Join(c.Clear, "\n") + "\n"
			if want.host != h.Name() || want.decision.Action != tlspolicy.DeliverClear {
				require.NotContains(t, clear, "MAIL", "%s: MAIL in clear text", name)
			}
			if d.settings().Mode == tlspolicy.No {
				require.NotContains(t, clear, "STARTTLS", name)
			}
		}
	}
}

func (d *Dialer) settings() tlspolicy.Settings { return tlspolicy.Settings(d.Policy.(fixed)) }

// deliver sends a message with net/smtp.
func deliver(t testing.TB, s *Session, domain string) {
	t.Helper()
	defer s.Close()
	c, err := s.NetSMTP()
	require.NoError(t, err)
	require.NoError(t, c.Mail("alice@sender.example"))
	require.NoError(t, c.Rcpt("postmaster@"+domain))
	w, err := c.Data()
	require.NoError(t, err)
	_, err = w.Write([]byte("Subject: hello\r\n\r\nHello.\r\n"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, c.Quit())
}

// TestDANEServerName: the TLSA base domain is the name sent and the first one
// compared, also where the MX host is an alias.
func TestDANEServerName(t *testing.T) {
	l := startLab(t, lab.World{Domains: []lab.Domain{
		{
			Name: "alias.example", DNSSEC: lab.Signed,
			MX:      []lab.MX{{Host: "mx.alias.example", Pref: 10}},
			Records: []string{"mx IN CNAME real.alias.example."},
			Hosts: []lab.Host{{
				Name: "real.alias.example", TLSA: []lab.TLSA{lab.TLSAMatchTA},
				Cert: lab.Cert{Names: []string{"real.alias.example"}},
			}},
		},
		{
			Name: "plain.example",
			MX:   []lab.MX{{Host: "mx.plain.example", Pref: 10}},
			// RFC 8461 section 4.1: the name in the MX record, not what it is an alias of.
			Records: []string{"mx IN CNAME real.plain.example."},
			Hosts:   []lab.Host{{Name: "real.plain.example", Cert: lab.Cert{Names: []string{"mx.plain.example"}}}},
			Policy:  &lab.Policy{},
		},
	}})
	s := tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.On, Fallback: tlspolicy.FallbackAfter220}
	d := labDialer(t, l, s)
	session, err := d.Dial(context.Background(), "alias.example")
	require.NoError(t, err)
	require.Equal(t, tlspolicy.ReasonDANEVerified, session.Decision().Reason)
	require.Equal(t, "mx.alias.example", session.Host())
	a := session.Report.Attempts[0]
	require.Equal(t, "real.alias.example", a.TLSABase)
	require.NoError(t, a.TLSA.Err())
	session.Close()
	require.Equal(t, "real.alias.example", l.Host("real.alias.example").Connections()[0].SNI)

	session, err = d.Dial(context.Background(), "plain.example")
	require.NoError(t, err)
	require.Equal(t, tlspolicy.ReasonSTSVerified, session.Decision().Reason)
	require.Equal(t, "mx.plain.example", session.Identity().Name)
	require.True(t, session.Identity().Secure)
	session.Close()
	require.Equal(t, "mx.plain.example", l.Host("real.plain.example").Connections()[0].SNI)
}

// TestChanges: what changed in DNS or in the policy counts from the next Dial on.
func TestChanges(t *testing.T) {
	l := startLab(t, lab.World{Domains: []lab.Domain{
		{Name: "dane.example", DNSSEC: lab.Signed, Hosts: []lab.Host{{Name: "mx.dane.example", TLSA: []lab.TLSA{lab.TLSAMismatch}}}},
		{Name: "sts.example", Policy: &lab.Policy{MX: []string{"old.sts.example"}},
			Hosts: []lab.Host{{Name: "mx.sts.example"}}},
	}})
	s := tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.On, Fallback: tlspolicy.FallbackAfter220}
	d := labDialer(t, l, s)
	_, err := d.Dial(context.Background(), "dane.example")
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, tlspolicy.ReasonDANEMismatch, e.Reason)
	require.Equal(t, "4.7.5", e.Status)
	require.NoError(t, l.SetTLSA("mx.dane.example", lab.TLSAMatch))
	session, err := d.Dial(context.Background(), "dane.example")
	require.NoError(t, err)
	require.Equal(t, tlspolicy.ReasonDANEVerified, session.Decision().Reason)
	session.Close()

	clock := &setClock{now: time.Now()}
	sts := labSTS(l)
	sts.Clock = clock
	d = labDialer(t, l, s)
	d.MTASTS = sts
	held, err := sts.Lookup(context.Background(), "sts.example")
	require.NoError(t, err)
	require.False(t, held.Match("mx.sts.example"))
	clock.now = clock.now.Add(2 * time.Minute) // one TXT query a minute is enough for anybody
	require.NoError(t, l.SetPolicy("sts.example", lab.Policy{ID: "2"}))
	session, err = d.Dial(context.Background(), "sts.example")
	require.NoError(t, err)
	require.Equal(t, tlspolicy.ReasonSTSVerified, session.Decision().Reason)
	require.True(t, session.Report.Rechecked)
	require.Equal(t, "2", session.Report.MTASTS.ID)
	require.Equal(t, "1", session.Report.Attempts[0].STSPolicy)
	require.Equal(t, tlspolicy.ReasonSTSMXMismatch, session.Report.Attempts[0].Decision.Reason)
	session.Close()
}

// setClock is a clock that a test sets while nobody looks.
type setClock struct{ now time.Time }

func (c *setClock) Now() time.Time { return c.now }

func (c *setClock) NewTimer(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

func TestDialHost(t *testing.T) {
	l := startLab(t, lab.World{Domains: []lab.Domain{
		{Name: "hub.example", DNSSEC: lab.Signed, MX: []lab.MX{{Host: "elsewhere.hub.example", Pref: 1}},
			Hosts: []lab.Host{{Name: "smart.hub.example", Addrs: []netip.Addr{netip.MustParseAddr("203.0.113.5")}, TLSA: []lab.TLSA{lab.TLSAMatch}}}},
	}})
	s := tlspolicy.Settings{Mode: tlspolicy.RequiredVerify, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.Off, Fallback: tlspolicy.FallbackAfter220}
	ctx := context.Background()
	d := labDialer(t, l, s)
	for _, target := range []string{"smart.hub.example", "Smart.Hub.example.:25"} {
		session, err := d.DialHost(ctx, target)
		require.NoError(t, err, target)
		require.Equal(t, tlspolicy.ReasonModeVerified, session.Decision().Reason)
		require.Equal(t, "smart.hub.example", session.Identity().Name)
		require.Equal(t, "smart.hub.example:25", session.Report.Host)
		require.Empty(t, session.Report.Domain)
		require.Contains(t, session.Report.Explain(), "configured host")
		session.Close()
	}
	for _, target := range []string{"203.0.113.5", "203.0.113.5:25", "[203.0.113.5]", "[203.0.113.5]:25", "[::ffff:203.0.113.5]:25"} {
		_, err := d.DialHost(ctx, target)
		var e *Error
		require.ErrorAs(t, err, &e, target)
		require.Equal(t, tlspolicy.ReasonIdentityEmpty, e.Reason, "an address is no name to compare")
		require.Empty(t, l.Host("smart.hub.example").Connections()[2:], "and is not connected to")
	}
	s.Mode = tlspolicy.Required
	d = labDialer(t, l, s)
	session, err := d.DialHost(ctx, "[203.0.113.5]:25")
	require.NoError(t, err)
	require.Equal(t, tlspolicy.ReasonTLSUnauthenticated, session.Decision().Reason)
	session.Close()
	session, err = d.Dial(ctx, "[203.0.113.5]")
	require.NoError(t, err)
	require.Equal(t, "[203.0.113.5]", session.Report.Domain)
	session.Close()
	connections := l.Host("smart.hub.example").Connections()
	require.Empty(t, connections[len(connections)-1].SNI, "an address is never sent as a name")

	s.DANE = tlspolicy.DANEMandatory
	d = labDialer(t, l, s)
	session, err = d.DialHost(ctx, "smart.hub.example")
	require.NoError(t, err)
	require.Equal(t, tlspolicy.ReasonDANEVerified, session.Decision().Reason, "a configured host needs no secure MX")
	session.Close()

	_, err = d.DialHost(ctx, "smart.hub.example:26")
	require.Error(t, err)
	for _, target := range []string{"", ":25", "a b", "host:0", "host:port", "host:65536", "host:25:25", "*.example", "::1:x"} {
		_, err := d.DialHost(ctx, target)
		require.ErrorIs(t, err, ErrBadName, target)
		var e *Error
		require.False(t, errors.As(err, &e), target)
	}
	for _, domain := range []string{"", ".", "a..b", "a b.example", "*.example", "x\r\nMAIL.example", strings.Repeat("a", 64) + ".example"} {
		_, err := d.Dial(ctx, domain)
		require.ErrorIs(t, err, ErrBadName, domain)
	}
}

func TestIDN(t *testing.T) {
	l := startLab(t, lab.World{Domains: []lab.Domain{{Name: "bücher.example", Hosts: []lab.Host{{Name: "mx.bücher.example"}}}}})
	s := tlspolicy.Settings{Mode: tlspolicy.RequiredVerifyHosted, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.Off, Fallback: tlspolicy.FallbackAfter220}
	session, err := labDialer(t, l, s).Dial(context.Background(), "BÜCHER.example")
	require.NoError(t, err)
	require.Equal(t, "xn--bcher-kva.example", session.Report.Domain)
	require.Equal(t, "mx.xn--bcher-kva.example", session.Host())
	session.Close()
	require.True(t, slices.ContainsFunc(l.Hosts(), func(h *lab.MailHost) bool {
		return len(h.Connections()) == 1 && h.Connections()[0].SNI == "mx.xn--bcher-kva.example"
	}))
}
