package smtpclient

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// TestConcurrentDials: one Dialer serves many goroutines, and each gets what it
// would get alone.
func TestConcurrentDials(t *testing.T) {
	world, destinations := lab.Destinations()
	l := startLab(t, world)
	s := tlspolicy.Settings{Mode: tlspolicy.PreferredVerify, DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.On, Fallback: tlspolicy.FallbackAfter220}
	d := labDialer(t, l, s)
	d.Rand = rand.NewPCG(1, 2) // a source that is not made for it
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for j := range destinations {
				destination := destinations[(i*7+j)%len(destinations)]
				want := evaluate(t, s, destination)
				session, err := d.Dial(context.Background(), destination.Domain)
				assert.Equal(t, want.host == "", err != nil, destination.Domain)
				if err == nil {
					assert.Equal(t, want.host, session.Host())
					assert.Equal(t, want.decision, session.Decision())
					assert.NoError(t, session.Quit(context.Background()))
				}
			}
		})
	}
	all.Wait()
}

// TestCancelMany: Dials against hosts that stall, on real sockets, are gone when
// their context is.
func TestCancelMany(t *testing.T) {
	var w lab.World
	stalls := []lab.Fault{lab.Blackhole(), lab.SilentGreeting(), lab.StallAt(lab.AtEHLO), lab.StallAt(lab.AtSTARTTLS),
		lab.HandshakeStall(), lab.StallAt(lab.AtTLSEHLO)}
	for i, fault := range stalls {
		name := string(rune('a'+i)) + ".example"
		w.Domains = append(w.Domains, lab.Domain{Name: name, Hosts: []lab.Host{{Name: "mx." + name, Fault: fault}}})
	}
	l := startLab(t, w)
	d := labDialer(t, l, tlspolicy.BuiltIn())
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	var all sync.WaitGroup
	for range 10 {
		for _, domain := range w.Domains {
			all.Go(func() {
				session, err := d.Dial(ctx, domain.Name)
				assert.Nil(t, session)
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				var e *Error
				assert.True(t, errors.As(err, &e) && e.Reason == tlspolicy.ReasonNone && e.Err == context.DeadlineExceeded, "%v", err)
			})
		}
	}
	all.Wait()
	for _, h := range l.Hosts() {
		for _, c := range h.Connections() {
			assert.NotContains(t, c.Clear, "MAIL")
		}
		assert.LessOrEqual(t, h.Dials(), 10, "nobody came a second time for clear text")
	}
}

// TestConcurrentPlans: one Plan serves many goroutines, with TLS sessions that they
// share.
func TestConcurrentPlans(t *testing.T) {
	l := startLab(t, lab.World{Domains: []lab.Domain{{Name: "partner.example", Policy: &lab.Policy{}, Hosts: []lab.Host{
		{Name: "mx1.partner.example", Fault: lab.Greeting(421)}, {Name: "mx2.partner.example"},
	}}}})
	d := labDialer(t, l, tlspolicy.Recommended())
	d.OnEvent = func(context.Context, tlspolicy.Event) {}
	p, err := d.Plan(context.Background(), Target{Domain: "partner.example"})
	assert.NoError(t, err)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 4 {
				s, err := d.DialPlan(context.Background(), p)
				if !assert.NoError(t, err) {
					return
				}
				assert.Len(t, s.Report.Attempts, 2)
				assert.Equal(t, p.Hosts[1].Key, s.ReuseKey())
				assert.NotEmpty(t, p.Explain())
				assert.NoError(t, s.Quit(context.Background()))
			}
		})
	}
	all.Wait()
}
