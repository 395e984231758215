package smtpclient

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"
)

// inFlight is how many connects of one Dial run at the same time.
const inFlight = 2

// dialed is the end of one connect.
type dialed struct {
	addr    netip.Addr
	conn    net.Conn
	err     error
	elapsed time.Duration
}

// race connects to the addresses of one host. take hands out the winner; the
// addresses that were not won or lost keep their turn.
type race struct {
	connect func(context.Context, netip.Addr) (net.Conn, error)
	stagger time.Duration // negative: one after the other
	timeout time.Duration // per connect
	budget  *int          // connects that the Dial may still start
	todo    []netip.Addr
	late    func()       // called when a connect is slow or fails
	failed  func(dialed) // called for each address that could not be reached
}

// take returns a connection to the next address that accepts one. ok is false
// when none is left, the budget is spent or ctx ended. All connects that it
// started have ended when it returns, and all connections but the one returned
// are closed without a byte read or written on them.
func (r *race) take(ctx context.Context) (win dialed, ok bool) {
	if len(r.todo) == 0 || ctx.Err() != nil {
		return dialed{}, false
	}
	if len(r.todo) == 1 || r.stagger < 0 {
		return r.oneByOne(ctx)
	}
	runCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Room for every connect: no goroutine ever waits to deliver its result.
	results := make(chan dialed, inFlight)
	running := 0
	var flying []netip.Addr // started and not ended, in order
	start := func() bool {
		if len(r.todo) == 0 || running == inFlight || *r.budget == 0 || ctx.Err() != nil {
			return false
		}
		addr := r.todo[0]
		r.todo = r.todo[1:]
		*r.budget--
		running++
		flying = append(flying, addr)
		go func() { results <- r.dial(runCtx, addr) }()
		return true
	}
	if !start() {
		return dialed{}, false
	}
	var tick <-chan time.Time
	if r.stagger >= 0 {
		t := time.NewTicker(max(r.stagger, time.Nanosecond))
		defer t.Stop()
		tick = t.C
	}
	for running > 0 {
		select {
		case <-tick:
			if ctx.Err() == nil {
				r.late()
				start()
			}
		case d := <-results:
			running--
			flying = slices.DeleteFunc(flying, func(a netip.Addr) bool { return a == d.addr })
			if d.err == nil && ctx.Err() == nil {
				cancel()
				// The losers keep their turn, which is before the addresses
				// that have not been tried yet.
				r.todo = append(slices.Clone(flying), r.todo...)
				for ; running > 0; running-- {
					if loser := <-results; loser.err == nil {
						loser.conn.Close()
					}
				}
				return d, true
			}
			if d.err == nil {
				d.conn.Close()
			}
			if ctx.Err() != nil {
				cancel()
				continue // wait for the rest, start nothing
			}
			r.failed(d)
			r.late()
			start()
		}
	}
	return dialed{}, false
}

// oneByOne is take without anything to race against.
func (r *race) oneByOne(ctx context.Context) (win dialed, ok bool) {
	for len(r.todo) > 0 && *r.budget > 0 && ctx.Err() == nil {
		addr := r.todo[0]
		r.todo = r.todo[1:]
		*r.budget--
		d := r.dial(ctx, addr)
		switch {
		case ctx.Err() != nil:
			if d.err == nil {
				d.conn.Close()
			}
		case d.err == nil:
			return d, true
		default:
			r.failed(d)
			r.late()
		}
	}
	return dialed{}, false
}

func (r *race) dial(ctx context.Context, addr netip.Addr) dialed {
	connectCtx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	begin := time.Now()
	conn, err := r.connect(connectCtx, addr)
	awaitEnd(ctx)
	return dialed{addr, conn, err, time.Since(begin)}
}

// awaitEnd lets a ctx end whose deadline has passed. What is bound by the same
// deadline, as a connect of package net is, may fail a moment before ctx has an error,
// and would be taken for a fault of the server.
func awaitEnd(ctx context.Context) {
	if end, ok := ctx.Deadline(); ok && !time.Now().Before(end) {
		<-ctx.Done()
	}
}
