package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// Dial opens a session to a mail host of a recipient domain, on which MAIL may
// be sent under the domain's policy. domain may be in any letter case, hold
// U-labels, or be an address literal such as "[192.0.2.1]", which is one host
// without MX.
//
// The error is ErrBadName if domain is none, and a *Error otherwise. When ctx
// ends the error wraps ctx.Err().
func (d *Dialer) Dial(ctx context.Context, domain string) (*Session, error) {
	return d.DialTarget(ctx, Target{Domain: domain})
}

// DialHost opens a session to one configured host, without MX lookup. host is
// "host", "host:port" or an address; an IPv6 address with a port stands in
// brackets. The host is the only name that a certificate is compared with, and
// its own MTA-STS policy counts (RFC 8461 section 3.4). Settings are those of the
// next-hop entry of the policy table, if there is one.
//
// Errors are those of Dial.
func (d *Dialer) DialHost(ctx context.Context, host string) (*Session, error) {
	return d.DialTarget(ctx, Target{Host: host})
}

// DialTarget opens a session to a Target, of which a recipient domain and a
// configured host are the plain cases. Errors are those of Dial.
func (d *Dialer) DialTarget(ctx context.Context, t Target) (*Session, error) {
	c, err := d.config()
	if err != nil {
		return nil, configError(t.String(), err)
	}
	ways, err := c.ways(t)
	if err != nil {
		return nil, err
	}
	return c.reach(ctx, ways)
}

// reach takes the ways to a target in turn.
func (c *config) reach(ctx context.Context, ways []*delivery) (*Session, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	for i, x := range ways {
		begin := time.Now()
		var s *Session
		s, x.err = x.run(ctx)
		x.collectMX(ctx)
		x.report.Elapsed += time.Since(begin)
		if x.err == nil {
			together(ways[:i+1])
			c.log.DebugContext(ctx, "session", "domain", x.label(), "host", s.host, "action", s.decision.Action, "reason", s.decision.Reason)
			return s, nil
		}
		if ctx.Err() != nil {
			return nil, c.failure(ctx, ways[:i+1])
		}
	}
	for _, x := range ways {
		x.endEvents(ctx)
	}
	return nil, c.failure(ctx, ways)
}

// together returns the report of the last way, with those of the ways before.
func together(ways []*delivery) *Report {
	last := ways[len(ways)-1].report
	last.Before = nil
	for _, x := range ways[:len(ways)-1] {
		last.Before = append(last.Before, x.report)
	}
	return last
}

// bounded adds the time limit of a whole Dial to ctx.
func (c *config) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if total := c.timeouts.Total; total > 0 {
		return context.WithTimeout(ctx, total)
	}
	return context.WithCancel(ctx)
}

// delivery is one way to the target in progress: through one hop, or to the MX
// hosts. It belongs to one goroutine; prepare alone also runs beside it.
type delivery struct {
	conf     *config
	hop      Hop // zero: no route
	port     uint16
	domain   string // recipient domain, for the names in certificates; empty if there is none
	route    tlspolicy.Route
	message  tlspolicy.Message
	settings tlspolicy.Settings
	useDANE  bool
	useSTS   bool
	resolver dnssec.Resolver
	sts      mtasts.Result
	noSTS    tlspolicy.STSState // what is known about MTA-STS without a lookup; zero: nothing
	hosts    []candidate
	planned  []*hostPlan // of all hosts, for DialPlan; nil: each is prepared in its turn
	budget   *int        // connections that the Dial may still open
	offer    *offer      // our certificate, for servers that ask
	report   *Report
	last     *hostPlan // host of the last attempt recorded
	quiet    bool      // no events: nothing is to be delivered
	noReport bool      // nothing for Dialer.Reports either
	probing  bool      // look at everything, remember nothing
	anyTLS   bool      // old versions of TLS will do
	err      error     // how it ended, or why no host was found
}

// label names the delivery in errors and logs.
func (x *delivery) label() string {
	if x.report.Domain != "" {
		return x.report.Domain
	}
	return x.report.Host
}

// errNext is what a step returns when it found no session and the attempts say
// why.
var errNext = errors.New("no host is left")

// run finds hosts and policy, tries the hosts, and once more if the policy
// turns out to have changed.
func (x *delivery) run(ctx context.Context) (*Session, error) {
	if x.err != nil { // the Plan knows
		return nil, x.err
	}
	if x.planned == nil {
		if err := x.lookup(ctx); err != nil {
			return nil, err
		}
	}
	s, err := x.tryHosts(ctx)
	if err != errNext || !x.failedSTS() {
		return s, err
	}
	changed := x.recheck(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if !changed {
		return nil, err
	}
	return x.tryHosts(ctx)
}

// recheck asks once more for the MTA-STS policy before mail is deferred, because the
// one held may be outdated (RFC 8461 section 5.1). It tells whether another one now
// applies.
func (x *delivery) recheck(ctx context.Context) bool {
	x.report.Rechecked = true
	fresh, changed, err := x.conf.d.MTASTS.Recheck(ctx, x.route.STSDomain())
	// Another Dial may have refreshed the policy since this one looked it up. That
	// there is none any more, or none to be had, is no policy that allows more.
	if ctx.Err() != nil || err != nil || fresh.Policy == nil || !changed && sameRules(x.sts, fresh) {
		return false
	}
	x.sts, x.report.MTASTS, x.planned = fresh, fresh, nil
	return true
}

// lookup finds the hosts and the MTA-STS policy.
func (x *delivery) lookup(ctx context.Context) error {
	if err := x.needResolver(ctx); err != nil {
		return err
	}
	return x.discover(ctx)
}

func (x *delivery) needResolver(ctx context.Context) (err error) {
	if x.route.MXDomain() != "" || x.route.STSDomain() != "" || x.conf.d.Verify.PTR {
		x.resolver, err = x.conf.resolverFor(ctx)
	}
	return err
}

// discover finds the hosts and the MTA-STS policy at the same time.
func (x *delivery) discover(ctx context.Context) error {
	waitSTS := func() error { return nil }
	if x.useSTS && x.route.STSDomain() == "" {
		x.noSTS = tlspolicy.STSNoPolicy
	}
	if x.useSTS && x.noSTS == tlspolicy.STSUnknown {
		var stop func()
		waitSTS, stop = x.startSTS(ctx)
		defer stop()
	}
	if domain := x.route.MXDomain(); domain != "" {
		var err error
		x.hosts, err = x.findMX(ctx, domain)
		awaitEnd(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return x.withoutHosts(err, waitSTS)
		}
	}
	return waitSTS()
}

// withoutHosts decides what a Dial without a list of hosts ends with.
func (x *delivery) withoutHosts(err error, waitSTS func() error) error {
	switch err {
	case ErrNullMX, ErrNoDomain:
		if x.hop != (Hop{}) { // a fact about the hop, not about the recipient
			return fmt.Errorf("%w: %s: %v", ErrRoute, x.route.MXDomain(), err)
		}
		// A domain that has said over HTTPS that it receives mail is not believed
		// to be gone because unprotected DNS says so: that can be forged.
		if x.report.MX.Security != dnssec.Secure {
			if e := waitSTS(); e != nil {
				return e
			}
			if x.sts.Outcome == mtasts.OutcomeEnforce {
				return ErrUnproven
			}
		}
		return err
	case ErrNoHosts, ErrMailLoop:
		return err
	}
	decision, stop := tlspolicy.PlanDomain(x.settings, mxState(err))
	x.report.MX.Decision = decision
	if stop {
		return &PolicyError{Decision: decision, Err: err}
	}
	return err
}
