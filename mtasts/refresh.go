package mtasts

import (
	"context"
	"errors"
	"iter"
	"net"
	"net/netip"
	"slices"
	"time"
)

const (
	// refreshWorkers is how many policies are refreshed at once.
	refreshWorkers = 8
	// addressGap is the time between two GETs at one address: 60 a minute.
	// Thousands of domains may have delegated their policies to one host.
	addressGap = time.Second
	// addressRound is how many policies of one address a round refreshes, so
	// that the round ends in about a minute; the others wait for the next.
	addressRound = 60
	// roundJobs is how many policies a round refreshes. After a long standstill
	// everything is due at once, and the plan should not be older than minutes.
	roundJobs = 1000
	// scanInterval is how often Run looks for entries that only the Store has.
	scanInterval = time.Hour
)

// Refresh fetches again what Plan says is due, in memory and in the Store, and
// returns when to call it next. It is for a timer of the caller's; Run calls it by
// itself. At most 8 GETs run at once, and one at once and 60 a minute for each
// address of a policy host. The error is that of ctx or of the Store.
//
// A refresh that fails is an event, a warning if the policy is not of mode none,
// and is tried again when its back-off ends.
func (c *Client) Refresh(ctx context.Context) (next time.Time, err error) {
	return c.start().round(ctx, true)
}

// Run refreshes policies until ctx ends, so that they do not expire while a domain
// sends no mail, and so that few deliveries meet a change. It returns the error
// of ctx, when the last GET it started has ended. A Client works without Run:
// then policies are refreshed when they are used.
func (c *Client) Run(ctx context.Context) error {
	g := c.start()
	var scanned time.Time
	for {
		now := g.clock.Now()
		scan := scanned.IsZero() || now.Sub(scanned) >= scanInterval || now.Before(scanned)
		next, _ := g.round(ctx, scan) // what the store has to say is an event
		if scan {
			scanned = now
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		now = g.clock.Now()
		wait := scanInterval
		if !next.IsZero() {
			wait = min(scanInterval, max(next.Sub(now), addressGap))
		}
		timer, stop := g.clock.NewTimer(wait)
		select {
		case <-timer:
		case <-ctx.Done():
		}
		stop()
	}
}

// round is one round of the planner; scan tells whether to look into the store.
func (g *engine) round(ctx context.Context, scan bool) (time.Time, error) {
	g.rounds.Lock()
	defer g.rounds.Unlock()
	var stored []EntryInfo
	var failed error
	now := g.clock.Now()
	if scan && g.stores != nil {
		stored, failed = g.scan(ctx, now)
	}
	limits := PlanLimits{RefreshInterval: g.RefreshInterval}
	jobs, next := Plan(now, concat(g.cache.infos(now), slices.Values(stored)), limits)
	jobs = slices.DeleteFunc(jobs, func(j Job) bool { return g.pinned(j.Domain, now) })
	if len(jobs) > 0 && g.refreshAll(ctx, jobs) {
		next = g.clock.Now() // some had to wait for the next round
	}
	if err := ctx.Err(); err != nil {
		return next, err
	}
	return next, failed
}

func concat[T any](seqs ...iter.Seq[T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, seq := range seqs {
			for v := range seq {
				if !yield(v) {
					return
				}
			}
		}
	}
}

// scan lists the policies that the store has and the memory has not.
func (g *engine) scan(ctx context.Context, now time.Time) (infos []EntryInfo, failed error) {
	for e, err := range g.stores.All(ctx) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			g.storeFailed("", err, now)
			failed = errors.Join(failed, err)
			continue
		}
		if e.entry.held(now) && g.cache.peek(e.entry.Domain) == nil {
			infos = append(infos, e.entry.info(now))
		}
	}
	return infos, failed
}

// queue is the jobs at one address, the most urgent first.
type queue struct {
	addr   netip.Addr // invalid if unknown: nothing is known to be shared
	jobs   []Job
	busy   bool
	notYet time.Time
}

// refreshAll makes jobs, and reports whether it left some for the next round.
func (g *engine) refreshAll(ctx context.Context, jobs []Job) (left bool) {
	if len(jobs) > roundJobs {
		jobs, left = jobs[:roundJobs], true
	}
	queues := g.byAddress(ctx, jobs)
	for _, q := range queues {
		q.notYet = g.paces[q.addr].Add(addressGap)
		if q.addr.IsValid() && len(q.jobs) > addressRound {
			q.jobs, left = q.jobs[:addressRound], true
		}
	}
	done := make(chan *queue)
	running := 0
	for {
		if ctx.Err() != nil {
			queues = nil
		}
		queues = slices.DeleteFunc(queues, func(q *queue) bool { return len(q.jobs) == 0 && !q.busy })
		if len(queues) == 0 && running == 0 {
			return left
		}
		var timer <-chan time.Time
		stop := func() {}
		if running < refreshWorkers {
			now := g.clock.Now()
			q, wait := pick(queues, now)
			switch {
			case q != nil && wait > 0:
				timer, stop = g.clock.NewTimer(wait)
			case q != nil:
				domain := q.jobs[0].Domain
				q.jobs = q.jobs[1:]
				q.busy, q.notYet = true, now.Add(addressGap)
				g.pace(q.addr, now)
				running++
				go func() {
					g.refresh(ctx, domain)
					done <- q
				}()
				continue
			}
		}
		select {
		case q := <-done:
			q.busy = false
			running--
		case <-timer:
		}
		stop()
	}
}

// pick returns the first queue whose time has come, or else that whose time comes
// next and how long that takes; nil if all are busy.
func pick(queues []*queue, now time.Time) (next *queue, wait time.Duration) {
	for _, q := range queues {
		if q.busy || len(q.jobs) == 0 {
			continue
		}
		if !q.addr.IsValid() || !q.notYet.After(now) {
			return q, 0
		}
		if next == nil || q.notYet.Before(next.notYet) {
			next = q
		}
	}
	if next == nil {
		return nil, 0
	}
	return next, next.notYet.Sub(now)
}

// pace notes a GET at an address, and forgets those that no longer matter.
func (g *engine) pace(addr netip.Addr, now time.Time) {
	if !addr.IsValid() {
		return
	}
	for a, at := range g.paces {
		if now.Sub(at) > addressGap {
			delete(g.paces, a)
		}
	}
	g.paces[addr] = now
}

// byAddress finds out which jobs go to the same policy host address. The order of
// queues is that of their most urgent jobs.
func (g *engine) byAddress(ctx context.Context, jobs []Job) []*queue {
	addrs := make([]netip.Addr, len(jobs))
	places := make(chan struct{}, refreshWorkers)
	for i := range jobs {
		places <- struct{}{}
		go func() {
			addrs[i] = g.policyAddress(ctx, jobs[i].Domain)
			<-places
		}()
	}
	for range refreshWorkers {
		places <- struct{}{} // all have come back
	}
	var queues []*queue
	known := make(map[netip.Addr]*queue)
	for i, job := range jobs {
		q := known[addrs[i]]
		if q == nil || !addrs[i].IsValid() {
			q = &queue{addr: addrs[i]}
			known[addrs[i]] = q
			queues = append(queues, q)
		}
		q.jobs = append(q.jobs, job)
	}
	return queues
}

// policyAddress returns the address at which a policy host is asked first, an
// invalid one if that is not known, as with a Transport of the caller's.
func (g *engine) policyAddress(ctx context.Context, domain string) (addr netip.Addr) {
	defer func() {
		if recover() != nil {
			addr = netip.Addr{} // a resolver that panics; the GET will tell
		}
	}()
	resolver, ok := g.resolver.(addressResolver)
	if !ok && g.fetcher.DialContext == nil {
		resolver, ok = net.DefaultResolver, true
	}
	if !ok || g.fetcher.Transport != nil {
		return netip.Addr{}
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	addrs, err := resolver.LookupNetIP(ctx, "ip", policyHostPrefix+domain+".")
	if err != nil {
		return netip.Addr{}
	}
	for _, a := range addrs {
		if g.fetcher.guard().Check(a) == nil {
			return a.Unmap()
		}
	}
	return netip.Addr{}
}

// refresh is the flight of a planned job. Another flight of the domain does its
// work.
func (g *engine) refresh(ctx context.Context, domain string) {
	g.mu.Lock()
	if g.flights[domain] != nil {
		g.mu.Unlock()
		return
	}
	f := g.add(domain, planned)
	f.started = true
	g.mu.Unlock()
	select {
	case g.places <- struct{}{}:
	case <-ctx.Done():
		g.land(domain, f, nil)
		return
	}
	var release func()
	f.answer, release = g.discover(ctx, domain, planned)
	g.land(domain, f, release)
	<-g.places
}
