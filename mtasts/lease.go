package mtasts

import (
	"context"
	"time"
)

// Leaser is what a Store that a fleet shares may have besides: a lock for each
// domain that goes by itself, so that one process of the fleet asks and the others
// read what it has found.
type Leaser interface {
	// Lease tries to get the lease of a domain for at most ttl and does not
	// wait for it. held tells whether it was got. release gives it back; it
	// does nothing if the lease was not got, or has run out and is another's.
	// It is called after the answer that the lease was for has been given out.
	Lease(ctx context.Context, domain string, ttl time.Duration) (release func(), held bool, err error)
}

const (
	// leaseTTL is longer than a discovery can take.
	leaseTTL = 2 * time.Minute
	// leasePoll is how often a process without the lease looks for the answer
	// of the one that has it.
	leasePoll = 100 * time.Millisecond
)

// lease gets the lease of a domain, or the right to do without: a lost lease
// costs one GET more, never a delivery. Otherwise done is true and the entry is
// what there is to serve: the policy that was held, or what another process has
// found within LeaseWait. release is nil if there is no lease to give back.
func (g *engine) lease(ctx context.Context, e entry, why purpose) (got entry, release func(), done bool) {
	leaser, ok := g.stores.(Leaser)
	if !ok {
		return e, nil, false
	}
	g.awaitRelease(ctx, e.Domain)
	release, held, err := g.tryLease(ctx, leaser, e.Domain)
	now := g.clock.Now()
	switch {
	case err != nil:
		g.storeFailed(e.Domain, err, now)
		return e, nil, false
	case held:
		// Between the last look and the lease its former holder may have saved
		// what he found, and nobody need ask again.
		e, news := g.load(e, now)
		if _, enough := g.enough(&e, news, now, why); news && enough {
			return e, release, true
		}
		return e, release, false
	case why == planned:
		return e, nil, true
	case why == delivery && e.held(now):
		e.NextCheck = now.Add(g.LeaseWait) // the answer will be there
		return e, nil, true
	}
	for end := now.Add(g.LeaseWait); now.Before(end); now = g.clock.Now() {
		timer, stop := g.clock.NewTimer(leasePoll)
		<-timer
		stop()
		now = g.clock.Now()
		var news bool
		if e, news = g.load(e, now); news {
			if _, need := g.serve(&e, now); need != needAnswer {
				return e, nil, true
			}
		}
	}
	return e, nil, false
}

// awaitRelease waits until the last flight of a domain has given its lease back, which
// would be taken for that of another process.
func (g *engine) awaitRelease(ctx context.Context, domain string) {
	g.mu.Lock()
	given := g.releases[domain]
	g.mu.Unlock()
	if given == nil {
		return
	}
	timer, stop := g.clock.NewTimer(storeTimeout)
	select {
	case <-given:
	case <-timer:
	case <-ctx.Done():
	}
	stop()
}

func (g *engine) tryLease(ctx context.Context, leaser Leaser, domain string) (func(), bool, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return leaser.Lease(ctx, domain, leaseTTL)
}
