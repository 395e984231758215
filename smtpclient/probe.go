package smtpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/hostname"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// Probe connects to every address of every host of a target, one after the other
// up to the Limits, says EHLO and STARTTLS, makes all checks that there are on the
// certificate, whether policy asks for them or not, and takes its leave. No mail is
// sent, no TLS session resumed or remembered, no event emitted, and no second
// connection made for clear text; what a delivery would do is in each attempt's
// Decision. Hosts that policy leaves out are not connected to.
//
// The Report tells everything. The error is nil if any host was looked at, whatever
// was found there, and otherwise that of Dial; the Report is nil only if the target
// or the configuration is at fault.
func (d *Dialer) Probe(ctx context.Context, t Target) (*Report, error) {
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
	looked := false
	for i, x := range ways {
		begin := time.Now()
		x.quiet, x.probing = true, true
		if x.err = x.lookup(ctx); x.err == nil {
			_, x.err = x.connectAll(ctx, func(s *Session) bool { return false })
		}
		x.report.Elapsed = time.Since(begin)
		if ctx.Err() != nil {
			e := c.failure(ctx, ways[:i+1])
			return e.Report, e
		}
		looked = looked || len(x.report.Attempts) > 0
	}
	if looked {
		return together(ways), nil
	}
	e := c.failure(ctx, ways)
	return e.Report, e
}

// ProbeMX connects to one mail host, asks for TLS with the host's name as SNI and
// returns what the first handshake that succeeded brought, unverified. It is the
// mtasts.MXProber. Destination table and routes have no part in it. Errors are those
// of Dial.
func (d *Dialer) ProbeMX(ctx context.Context, host string) (tls.ConnectionState, error) {
	c, err := d.config()
	if err != nil {
		return tls.ConnectionState{}, configError(host, err)
	}
	name, err := hostname.Parse(host)
	if err != nil {
		return tls.ConnectionState{}, badName(host, err)
	}
	x := &delivery{
		conf: c, port: c.port, budget: new(c.limits.Connections), offer: &offer{},
		quiet: true, probing: true, anyTLS: true, // whether it is good enough is for others to say
		settings: tlspolicy.Settings{Mode: tlspolicy.Required, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.Off, Fallback: tlspolicy.FallbackAfter220},
		route:    tlspolicy.Route{Host: name},
		hosts:    []candidate{{name: name, named: true}},
	}
	x.report = &Report{Host: name, Settings: x.settings}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	var state tls.ConnectionState
	if x.err = x.needResolver(ctx); x.err == nil {
		var found bool
		found, x.err = x.connectAll(ctx, func(s *Session) bool {
			state = *s.TLS()
			return true
		})
		if found {
			return state, nil
		}
	}
	return state, c.failure(ctx, []*delivery{x})
}

// connectAll makes an attempt at every address, until enough says that one session
// will do. Each session is ended politely.
func (x *delivery) connectAll(ctx context.Context, enough func(*Session) bool) (found bool, err error) {
	for _, host := range x.hosts {
		p := x.prepare(ctx, host)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if p.self {
			break
		}
		if p.err != nil {
			x.leave(ctx, p)
			continue
		}
		for _, addr := range p.addrs {
			if *x.budget == 0 {
				x.noneLeft(ctx, p)
				return false, errNext
			}
			*x.budget--
			r := race{timeout: x.conf.timeouts.Connect, connect: func(ctx context.Context, a netip.Addr) (net.Conn, error) {
				return x.conf.connect(ctx, netip.AddrPortFrom(a, x.port), netip.Addr{})
			}}
			dialed := r.dial(ctx, addr)
			if ctx.Err() != nil {
				if dialed.err == nil {
					dialed.conn.Close()
				}
				return false, ctx.Err()
			}
			if dialed.err != nil {
				x.unreached(ctx, p, dialed, false)
				continue
			}
			s, err := (&attempt{x: x, plan: p, requirement: p.requirement}).run(ctx, dialed)
			if err == nil {
				done := enough(s)
				s.Quit(ctx)
				if done {
					return true, nil
				}
			} else if err != errNext {
				return false, err
			}
		}
	}
	if len(x.report.Attempts) == 0 {
		return false, ErrMailLoop
	}
	return false, errNext
}

// checkAll makes the findings that the requirement has no need for.
func (t *attempt) checkAll(cs *tls.ConnectionState) {
	refs, _ := tlspolicy.NewReferences(t.plan.names) // nil matches nothing
	for _, s := range [...]tlspolicy.Settings{
		{Mode: tlspolicy.RequiredVerify, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.On, Fallback: tlspolicy.FallbackAfter220},
		{Mode: tlspolicy.RequiredVerifyHosted, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.On, Fallback: tlspolicy.FallbackAfter220},
	} {
		o, _, err := t.x.conf.verifier.Check(tlspolicy.Plan(s, tlspolicy.DANEUnknown, tlspolicy.STSEnforceMatch), cs, refs)
		all := &t.a.Outcome
		all.Chain = o.Chain
		all.STSName = all.STSName || o.STSName
		all.VerifyName = all.VerifyName || o.VerifyName
		all.HostedName = all.HostedName || o.HostedName
		if t.a.Unverified == nil && t.requirement.Kind() != tlspolicy.KindDANE {
			t.a.Unverified = err
		}
	}
}

// ErrNoSelfCheck: the Resolver is no dnssec.Checker, so that nobody knows whether
// its answers can carry security.
var ErrNoSelfCheck = errors.New("smtpclient: the resolver cannot check itself")

// CheckResolver lets the resolver check itself, which belongs in the code that
// starts a program: with a resolver that does not validate, DANE protects nobody
// when it is opportunistic, and stops all mail when it is mandatory. The error
// says why answers cannot be trusted: a *dnssec.Error of KindUnusable if it is the
// set-up, another one if the check itself failed, or ErrNoSelfCheck.
func (d *Dialer) CheckResolver(ctx context.Context) error {
	c, err := d.config()
	if err != nil {
		return err
	}
	r, err := c.resolverFor(ctx)
	if err != nil {
		return err
	}
	checker, ok := r.(dnssec.Checker)
	if !ok {
		return ErrNoSelfCheck
	}
	return checker.Check(ctx)
}
