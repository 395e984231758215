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
// found within LeaseWait. release is to be called in any case.
func (g *engine) lease(ctx context.Context, e entry, now time.Time, why purpose) (got entry, release func(), done bool) {
	nothing := func() {}
	leaser, ok := g.stores.(Leaser)
	if !ok {
		return e, nothing, false
	}
	release, held, err := g.tryLease(ctx, leaser, e.Domain)
	switch {
	case err != nil:
		g.storeFailed(e.Domain, err, now)
		return e, nothing, false
	case held:
		// Between the last look and the lease its former holder may have saved
		// what he found, and nobody need ask again.
		e, news := g.load(e, now)
		if _, enough := g.enough(&e, news, now, why); news && enough {
			return e, release, true
		}
		return e, release, false
	case why == planned:
		return e, nothing, true
	case why == delivery && e.held(now):
		e.NextCheck = now.Add(g.LeaseWait) // the answer will be there
		return e, nothing, true
	}
	for end := now.Add(g.LeaseWait); now.Before(end); now = g.clock.Now() {
		timer, stop := g.clock.NewTimer(leasePoll)
		<-timer
		stop()
		now = g.clock.Now()
		var news bool
		if e, news = g.load(e, now); news {
			if _, need := g.serve(&e, now); need != needAnswer {
				return e, nothing, true
			}
		}
	}
	return e, nothing, false
}

func (g *engine) tryLease(ctx context.Context, leaser Leaser, domain string) (func(), bool, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return leaser.Lease(ctx, domain, leaseTTL)
}
