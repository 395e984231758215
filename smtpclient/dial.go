package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/hostname"
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
	c, err := d.config()
	if err != nil {
		return nil, configError(domain, err)
	}
	x := c.newDelivery(c.port)
	var hop tlspolicy.NextHop
	if addr, ok := hostname.Literal(domain); ok {
		addr = addr.Unmap().WithZone("")
		x.report.Domain = literal(addr)
		x.hosts = []candidate{{name: addr.String(), literal: addr}}
		hop = tlspolicy.NextHop{Host: literal(addr), Port: x.port}
	} else {
		if x.domain, err = hostname.Parse(domain); err != nil {
			return nil, badName(domain, err)
		}
		x.report.Domain, x.policyDomain = x.domain, x.domain
	}
	return x.dial(ctx, x.domain, hop)
}

// DialHost opens a session to one configured host, without MX lookup. target is
// "host", "host:port" or an address; an IPv6 address with a port stands in
// brackets. The host is the only name that a certificate is compared with, and
// its own MTA-STS policy counts (RFC 8461 section 3.4). Settings are those of the
// next-hop entry of the policy table, if there is one.
//
// Errors are those of Dial.
func (d *Dialer) DialHost(ctx context.Context, target string) (*Session, error) {
	c, err := d.config()
	if err != nil {
		return nil, configError(target, err)
	}
	host, port, err := c.target(target)
	if err != nil {
		return nil, badName(target, err)
	}
	x := c.newDelivery(port)
	one := candidate{local: true}
	hop := tlspolicy.NextHop{Port: port}
	if addr, ok := hostname.Literal(host); ok {
		one.literal = addr.Unmap().WithZone("")
		one.name = one.literal.String()
		hop.Host = literal(one.literal)
	} else {
		if one.name, err = hostname.Parse(host); err != nil {
			return nil, badName(target, err)
		}
		hop.Host, x.policyDomain = one.name, one.name
	}
	x.report.Host = fmt.Sprintf("%s:%d", hop.Host, port)
	x.hosts = []candidate{one}
	return x.dial(ctx, "", hop)
}

// delivery is one Dial in progress. It belongs to one goroutine; prepare alone
// also runs beside it.
type delivery struct {
	conf         *config
	port         uint16
	domain       string // recipient domain; empty if the host is given
	policyDomain string // whose MTA-STS policy counts; empty: nobody's
	settings     tlspolicy.Settings
	useDANE      bool
	useSTS       bool
	resolver     dnssec.Resolver
	sts          mtasts.Result
	noSTS        bool // the policy domain cannot carry a policy
	hosts        []candidate
	budget       int // connections that may still be opened
	report       *Report
}

func (c *config) newDelivery(port uint16) *delivery {
	return &delivery{conf: c, port: port, budget: c.limits.Connections, report: &Report{}}
}

// dial looks up the settings and does the work.
func (x *delivery) dial(ctx context.Context, domain string, hop tlspolicy.NextHop) (*Session, error) {
	begin := time.Now()
	var err error
	x.settings, x.report.Origin, err = x.conf.lookup(domain, hop)
	switch {
	case errors.Is(err, tlspolicy.ErrBadDomain):
		return nil, badName(x.label(), err)
	case err != nil: // the table could not be asked; nothing is known about the destination
		return nil, configError(x.label(), err)
	}
	x.report.Settings = x.settings
	if total := x.conf.timeouts.Total; total > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, total)
		defer cancel()
	}
	s, err := x.run(ctx)
	x.report.Elapsed = time.Since(begin)
	if err != nil {
		e := x.failure(ctx, err)
		x.conf.log.DebugContext(ctx, "no session", "domain", x.label(), "status", e.Status, "reason", e.Reason, "error", e.Err)
		return nil, e
	}
	x.conf.log.DebugContext(ctx, "session", "domain", x.label(), "host", s.host, "action", s.decision.Action, "reason", s.decision.Reason)
	return s, nil
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
	if x.settings.Mode != tlspolicy.No {
		x.useDANE = x.settings.DANE != tlspolicy.DANENone
		x.useSTS = x.settings.MTASTS == tlspolicy.On
	}
	if x.useSTS && x.conf.d.MTASTS == nil {
		return nil, ErrNoMTASTS
	}
	if x.domain != "" || x.policyDomain != "" || x.conf.d.Verify.PTR {
		var err error
		if x.resolver, err = x.conf.resolverFor(ctx); err != nil {
			return nil, err
		}
	}
	if err := x.discover(ctx); err != nil {
		return nil, err
	}
	s, err := x.tryHosts(ctx)
	if err != errNext || !x.failedSTS() {
		return s, err
	}
	// RFC 8461 section 5.1: the policy held may be outdated; ask once more before
	// mail is deferred.
	x.report.Rechecked = true
	fresh, changed, recheckErr := x.conf.d.MTASTS.Recheck(ctx, x.policyDomain)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	// Another Dial may have refreshed the policy since this one looked it up. That
	// there is none any more, or none to be had, is no policy that allows more.
	if recheckErr != nil || fresh.Policy == nil || !changed && sameRules(x.sts, fresh) {
		return nil, err
	}
	x.sts, x.report.MTASTS = fresh, fresh
	return x.tryHosts(ctx)
}

// sameRules tells whether two results allow the same hosts.
func sameRules(a, b mtasts.Result) bool {
	if a.Outcome != b.Outcome || a.Policy == nil || b.Policy == nil {
		return a.Outcome == b.Outcome && a.Policy == b.Policy
	}
	return slices.Equal(a.Policy.MX, b.Policy.MX)
}

// discover finds the hosts and the MTA-STS policy at the same time.
func (x *delivery) discover(ctx context.Context) error {
	waitSTS := func() error { return nil }
	if x.useSTS && x.policyDomain != "" {
		var stop func()
		waitSTS, stop = x.startSTS(ctx)
		defer stop()
	}
	if x.domain != "" {
		var err error
		x.hosts, err = x.findMX(ctx, x.domain)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return x.withoutHosts(err, waitSTS)
		}
	}
	return waitSTS()
}

// startSTS begins the lookup of the MTA-STS policy. wait returns when it is
// there; stop ends it and waits for its end.
func (x *delivery) startSTS(ctx context.Context) (wait func() error, stop func()) {
	stsCtx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	var result mtasts.Result
	var err error
	go func() {
		defer close(done)
		result, err = x.conf.d.MTASTS.Lookup(stsCtx, x.policyDomain)
	}()
	wait = func() error {
		<-done
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, mtasts.ErrDomain):
			x.noSTS = true // the name cannot have a policy: an underscore, say
			return nil
		case err != nil:
			return err // never an absent policy
		}
		x.sts, x.report.MTASTS = result, result
		return nil
	}
	return wait, func() {
		cancel()
		<-done
	}
}

// withoutHosts decides what a Dial without a list of hosts ends with.
func (x *delivery) withoutHosts(err error, waitSTS func() error) error {
	switch err {
	case ErrNullMX, ErrNoDomain:
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
	if decision, stop := tlspolicy.PlanDomain(x.settings, mxState(err)); stop {
		x.report.MX.Decision = decision
		return &PolicyError{Decision: decision, Err: err}
	}
	return err
}

// stsState is what the MTA-STS policy says about a host.
func (x *delivery) stsState(host candidate) tlspolicy.STSState {
	if !x.useSTS {
		return tlspolicy.STSUnknown
	}
	if x.policyDomain == "" || x.noSTS {
		return tlspolicy.STSNoPolicy
	}
	match := x.sts.Match(host.name)
	switch x.sts.Outcome {
	case mtasts.OutcomeEnforce:
		if match {
			return tlspolicy.STSEnforceMatch
		}
		return tlspolicy.STSEnforceMismatch
	case mtasts.OutcomeTesting:
		if match {
			return tlspolicy.STSTestingMatch
		}
		return tlspolicy.STSTestingMismatch
	case mtasts.OutcomeNone, mtasts.OutcomeNoRecord:
		return tlspolicy.STSNoPolicy
	case mtasts.OutcomeMultipleRecords, mtasts.OutcomeInvalidRecord, mtasts.OutcomeDNSError, mtasts.OutcomeFetchError,
		mtasts.OutcomeWebPKI, mtasts.OutcomePolicyInvalid, mtasts.OutcomeBackoff:
		return tlspolicy.STSDiscoveryError
	}
	return tlspolicy.STSUnknown // fails closed
}

// failedSTS tells whether a host was left because of the MTA-STS policy.
func (x *delivery) failedSTS() bool {
	for i := range x.report.Attempts {
		a := &x.report.Attempts[i]
		if a.Err != nil && a.Decision.Reason.Class() == tlspolicy.ClassSTS {
			return true
		}
	}
	return false
}

// tryHosts goes through the hosts in order. While one is being tried the next
// may be resolved, but no other.
func (x *delivery) tryHosts(ctx context.Context) (*Session, error) {
	var ahead chan *plan
	var cancel context.CancelFunc // of ahead
	defer func() {
		if ahead != nil {
			cancel()
			<-ahead
		}
	}()
	for i, host := range x.hosts {
		var p *plan
		if ahead != nil {
			p, ahead = <-ahead, nil
			cancel()
		} else {
			p = x.prepare(ctx, host)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if p.self {
			if len(x.report.Attempts) == 0 {
				return nil, ErrMailLoop
			}
			break // what follows is no better than this system itself
		}
		late := func() {
			if ahead == nil && i+1 < len(x.hosts) {
				ahead = make(chan *plan, 1)
				var aheadCtx context.Context
				aheadCtx, cancel = context.WithCancel(ctx)
				go func(c chan<- *plan) { c <- x.prepare(aheadCtx, x.hosts[i+1]) }(ahead)
			}
		}
		if s, err := x.tryHost(ctx, p, late); err != errNext {
			return s, err
		}
	}
	return nil, errNext
}

// tryHost goes through the addresses of a host.
func (x *delivery) tryHost(ctx context.Context, p *plan, late func()) (*Session, error) {
	if p.err != nil {
		x.record(Attempt{Stage: p.stage, Decision: p.decision, Err: p.err}, p)
		return nil, errNext
	}
	r := race{
		connect: func(ctx context.Context, a netip.Addr) (net.Conn, error) {
			return x.conf.connect(ctx, netip.AddrPortFrom(a, x.port), netip.Addr{})
		},
		stagger: x.conf.timeouts.Stagger,
		timeout: x.conf.timeouts.Connect,
		budget:  &x.budget,
		todo:    p.addrs,
		late:    late,
		failed:  func(d dialed) { x.unreached(p, d, false) },
	}
	for {
		won, ok := r.take(ctx)
		if ctx.Err() != nil {
			if ok {
				won.conn.Close()
			}
			return nil, ctx.Err()
		}
		if !ok {
			if len(r.todo) > 0 { // not for want of addresses
				x.record(Attempt{Stage: StageConnect, Err: ErrConnections}, p)
			}
			return nil, errNext
		}
		if s, err := x.tryConnection(ctx, p, won); err != errNext {
			return s, err
		}
		late()
	}
}

// unreached records an address to which no connection could be made.
func (x *delivery) unreached(p *plan, d dialed, again bool) {
	addr := netip.AddrPortFrom(d.addr, x.port)
	x.record(Attempt{
		Addr: addr, Reconnect: again, Stage: StageConnect,
		Timings: Timings{Connect: d.elapsed},
		Err:     &ConnectError{Addr: addr, Err: d.err},
	}, p)
}

// record adds an attempt to the report, with what is known about its host.
func (x *delivery) record(a Attempt, p *plan) {
	a.Host, a.Pref = p.host.name, p.host.pref
	a.DANEState, a.STSState, a.STSPolicy = p.daneState, p.stsState, p.stsID
	a.DANEReason, a.TLSABase = p.dane.Reason, p.dane.Base
	if a.Requirement == (tlspolicy.Requirement{}) {
		a.Requirement = p.requirement
	}
	a.Timings.DNS, p.dns = p.dns, 0
	x.report.Attempts = append(x.report.Attempts, a)
	x.conf.log.Debug("attempt", "domain", x.label(), "host", a.Host, "address", a.Addr, "stage", a.Stage,
		"action", a.Decision.Action, "reason", a.Decision.Reason, "error", a.Err)
}
