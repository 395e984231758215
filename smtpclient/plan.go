package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

const (
	// MaxPlanAge bounds how long a Plan can be used, and a Session be reused,
	// however long the DNS records and policies that it rests on are valid: that
	// there is no MTA-STS policy yet, or no TLSA record, may change at any time.
	MaxPlanAge = 5 * time.Minute

	// minPlanAge lets answers with a TTL of 0 serve the delivery that they were
	// asked for (RFC 1035 section 3.2.1).
	minPlanAge = 10 * time.Second
)

// Plan is a Dial up to connecting: the hosts, what is known about them and what
// must hold there. A connection pool compares its keys with those of the Sessions
// that it has, and DialPlan connects. A Plan is immutable, safe for concurrent
// use, and can be used more than once.
type Plan struct {
	// Target is what the Plan was made for.
	Target Target
	// Hosts are the hosts in the order in which they are tried, with those that
	// are left out and why. It must not be changed.
	Hosts []PlannedHost
	// Expires is when the first of the facts runs out. DialPlan then refuses.
	Expires time.Time

	conf *config
	ways []*delivery
}

// PlannedHost is one host of a Plan.
type PlannedHost struct {
	Host        string       // MX host, or the configured host
	Pref        uint16       // preference of the MX record
	Addrs       []netip.Addr // in the order in which they are tried
	DANEState   tlspolicy.DANEState
	STSState    tlspolicy.STSState
	Requirement tlspolicy.Requirement
	// Key is that of a Session to the host; zero if the host is left out.
	Key ReuseKey
	// Err is why the host is left out; nil if it is not. It is a *PolicyError if
	// policy says so.
	Err error
	// Report is what is known about the way to the host: route, settings, MX
	// records, MTA-STS policy. Hosts of one hop share it.
	Report *Report
}

// ErrPlanExpired: the Plan was not used in time. Make a new one. It is returned by
// itself, not in a *Error.
var ErrPlanExpired = errors.New("smtpclient: the plan has expired")

// errForeignPlan is the fault of a caller.
var errForeignPlan = errors.New("the plan was not made by this Dialer")

// Plan looks up everything that a Dial to t needs and connects to nothing. Unlike
// Dial it resolves all hosts at once. That policy leaves out some or all of them
// is no error. Errors are those of Dial.
func (d *Dialer) Plan(ctx context.Context, t Target) (*Plan, error) {
	c, err := d.config()
	if err != nil {
		return nil, configError(t.String(), err)
	}
	ways, err := c.ways(t)
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	p := &Plan{Target: t, conf: c, ways: ways, Expires: time.Now().Add(MaxPlanAge)}
	generation := c.verifier.Generation()
	for i, x := range ways {
		begin := time.Now()
		x.err = x.planAll(ctx)
		x.report.Elapsed = time.Since(begin)
		if ctx.Err() != nil {
			return nil, c.failure(ctx, ways[:i+1])
		}
		for _, h := range x.planned {
			p.add(x, h, generation)
		}
	}
	if len(p.Hosts) == 0 {
		return nil, c.failure(ctx, ways)
	}
	return p, nil
}

// planAll prepares every host.
func (x *delivery) planAll(ctx context.Context) error {
	if err := x.lookup(ctx); err != nil {
		return err
	}
	var planned []*hostPlan
	for _, host := range x.hosts {
		h := x.prepare(ctx, host)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if h.self {
			if len(planned) == 0 {
				return ErrMailLoop
			}
			break
		}
		if x.conf.d.Verify.PTR && h.requirement.NeedsVerify() {
			h.ptr = make(map[netip.Addr][]tlspolicy.PTRName, len(h.addrs))
			for _, a := range h.addrs {
				h.ptr[a] = x.confirmedPTR(ctx, a)
			}
		}
		planned = append(planned, h)
	}
	x.planned = planned
	return nil
}

func (p *Plan) add(x *delivery, h *hostPlan, generation uint64) {
	host := PlannedHost{
		Host: h.host.name, Pref: h.host.pref, Addrs: h.addrs, DANEState: h.daneState, STSState: h.stsState,
		Requirement: h.requirement, Err: h.err, Report: x.report,
	}
	if h.err == nil {
		host.Key = x.keyParts(h, generation).reuseKey()
	}
	p.Hosts = append(p.Hosts, host)
	p.Expires = earlier(p.Expires, h.expires)
}

// DialPlan connects to the hosts of a Plan, which asks nothing of DNS, unless
// every host fails a MTA-STS policy that turns out to have changed. Errors are
// those of Dial, and ErrPlanExpired.
func (d *Dialer) DialPlan(ctx context.Context, p *Plan) (*Session, error) {
	c, err := d.config()
	switch {
	case p == nil:
		return nil, configError("", errForeignPlan)
	case err == nil && p.conf != c:
		err = errForeignPlan
	}
	if err != nil {
		return nil, configError(p.Target.String(), err)
	}
	if !time.Now().Before(p.Expires) {
		return nil, ErrPlanExpired
	}
	ways := make([]*delivery, len(p.ways))
	budget := c.limits.Connections
	for i, x := range p.ways {
		again, report := *x, *x.report
		again.budget, again.report = &budget, &report
		ways[i] = &again
	}
	return c.reach(ctx, ways)
}

// Explain tells in plain sentences what was found and what must hold at each host.
// The text is for people and its wording may change.
func (p *Plan) Explain() string {
	var b strings.Builder
	for _, x := range p.ways {
		x.report.explainRoute(&b)
		x.report.explainMX(&b)
		if x.err != nil && x.report.MX.Err == nil {
			fmt.Fprintf(&b, "There is no host to try: %s.\n", printable([]byte(x.err.Error()), peerText))
		}
		governs := ""
		for i, h := range x.planned {
			fmt.Fprintf(&b, "Host %d: %s\n", i+1, h.host.name)
			a := Attempt{Err: h.err, Stage: h.stage, Decision: h.decision}
			h.describe(&a)
			governs = withoutRepeat(&b, tlspolicy.Explain(x.report.explanation(&a)), governs)
			if h.err != nil && h.decision.Reason == tlspolicy.ReasonNone {
				fmt.Fprintf(&b, "It is left out: %s.\n", printable([]byte(h.err.Error()), peerText))
			}
		}
	}
	return b.String()
}

// earlier returns the earlier time; zero stands for never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
