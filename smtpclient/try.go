package smtpclient

import (
	"context"
	"net"
	"net/netip"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

// tryHosts goes through the hosts in order. While one is being tried the next
// may be resolved, but no other.
func (x *delivery) tryHosts(ctx context.Context) (*Session, error) {
	var ahead chan *hostPlan
	var cancel context.CancelFunc // of ahead
	defer func() {
		if ahead != nil {
			cancel()
			<-ahead
		}
	}()
	for i, host := range x.hosts {
		var p *hostPlan
		switch {
		case x.planned != nil:
			if i == len(x.planned) {
				return nil, errNext // what follows is this system itself
			}
			p = x.planned[i]
		case ahead != nil:
			p, ahead = <-ahead, nil
			cancel()
		default:
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
			if x.planned == nil && ahead == nil && i+1 < len(x.hosts) {
				ahead = make(chan *hostPlan, 1)
				var aheadCtx context.Context
				aheadCtx, cancel = context.WithCancel(ctx)
				go func(c chan<- *hostPlan) { c <- x.prepare(aheadCtx, x.hosts[i+1]) }(ahead)
			}
		}
		if s, err := x.tryHost(ctx, p, late); err != errNext {
			return s, err
		}
	}
	return nil, errNext
}

// tryHost goes through the addresses of a host.
func (x *delivery) tryHost(ctx context.Context, p *hostPlan, late func()) (*Session, error) {
	x.hostEvents(ctx, p)
	if p.err != nil {
		x.leave(ctx, p)
		return nil, errNext
	}
	r := race{
		connect: func(ctx context.Context, a netip.Addr) (net.Conn, error) {
			return x.conf.connect(ctx, netip.AddrPortFrom(a, x.port), netip.Addr{})
		},
		stagger: x.conf.timeouts.Stagger,
		timeout: x.conf.timeouts.Connect,
		budget:  x.budget,
		todo:    p.addrs,
		late:    late,
		failed:  func(d dialed) { x.unreached(ctx, p, d, false) },
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
				x.noneLeft(ctx, p)
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
func (x *delivery) unreached(ctx context.Context, p *hostPlan, d dialed, again bool) {
	addr := netip.AddrPortFrom(d.addr, x.port)
	x.record(ctx, &Attempt{
		Addr: addr, Reconnect: again, Stage: StageConnect,
		Timings: Timings{Connect: d.elapsed},
		Err:     &ConnectError{Addr: addr, Err: d.err},
	}, p)
}

// leave records and counts a host that is not connected to. It is not inlined, as
// noneLeft, because an Attempt would take room on the stack of every Dial that waits.
//
//go:noinline
func (x *delivery) leave(ctx context.Context, p *hostPlan) {
	a := Attempt{Stage: p.stage, Decision: p.decision, Err: p.err}
	x.record(ctx, &a, p)
	x.collect(ctx, p, p.decision, &a, nil)
}

// noneLeft records a host for which no connection is left.
//
//go:noinline
func (x *delivery) noneLeft(ctx context.Context, p *hostPlan) {
	x.record(ctx, &Attempt{Stage: StageConnect, Err: ErrConnections}, p)
}

// record completes an attempt with what is known about its host and adds it to the
// report.
func (x *delivery) record(ctx context.Context, a *Attempt, p *hostPlan) {
	p.describe(a)
	if x.last != p {
		x.last, a.Timings.DNS = p, p.dns
	}
	x.report.Attempts = append(x.report.Attempts, *a)
	if ctx.Err() == nil {
		x.attemptEvents(ctx, a)
	}
	if a.Err != nil && a.Decision.Reason == tlspolicy.ReasonNone && !x.quiet {
		x.conf.log.DebugContext(ctx, "attempt failed", "domain", x.label(), "host", a.Host, "address", a.Addr, "stage", a.Stage, "error", a.Err)
	}
}
