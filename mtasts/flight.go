package mtasts

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	// queryTimeout bounds a TXT query.
	queryTimeout = 10 * time.Second
	// recheckGap is the least time between two TXT queries that Recheck causes.
	recheckGap = time.Minute
	// maxWarnings is how many warnings of one policy are kept: the owner of the
	// file decides how many there are.
	maxWarnings = 32
)

// engine is the working part of a Client: it feeds the state machine.
type engine struct {
	machine
	clock    Clock
	resolver Resolver
	fetcher  fetcher
	record   Parser
	policy   Mode
	cache    *memory
	stores   Store         // may be nil
	pins     PinSource     // may be nil
	places   chan struct{} // one for each flight that runs
	hook     func(Event)
	logger   *slog.Logger

	mu       sync.Mutex
	flights  map[string]*flight
	releases map[string]chan struct{} // of leases; closed when they have been given back

	rounds sync.Mutex               // one round of refreshes at a time
	paces  map[netip.Addr]time.Time // last GET of a round at an address
}

func newEngine(c *Client) *engine {
	g := &engine{
		machine:  machine{Limits: c.Limits.withDefaults(), trace: c.Trace != nil || c.Logger != nil},
		clock:    c.Clock,
		resolver: c.Resolver,
		record:   Parser{Mode: Strict},
		stores:   c.Store,
		pins:     c.Pins,
		hook:     c.Trace,
		logger:   c.Logger,
		flights:  make(map[string]*flight),
		releases: make(map[string]chan struct{}),
		paces:    make(map[netip.Addr]time.Time),
	}
	if g.clock == nil {
		g.clock = systemClock{}
	}
	if g.resolver == nil {
		g.resolver = net.DefaultResolver
	}
	if c.TolerantRecord {
		g.record.Mode = Tolerant
	}
	if c.StrictPolicy {
		g.policy = Strict
	}
	g.fetcher = fetcher{FetchConfig: c.Fetch.withDefaults(), resolver: g.resolver, clock: g.clock}
	g.cache = newMemory(g.Limits)
	g.places = make(chan struct{}, g.MaxFlights)
	return g
}

// purpose is what a flight is for.
type purpose uint8

const (
	delivery purpose = iota // ask what is due to be asked
	recheck                 // ask for the record though what is cached is recent
	planned                 // fetch the policy again before it is due to a delivery
)

// flight is one discovery for one domain, which any number of callers wait for.
type flight struct {
	purpose purpose

	// Below engine.mu.
	waiting int  // callers
	started bool // has a place

	abandoned chan struct{} // closed when the last caller left before the start
	done      chan struct{} // closed when answer is set
	answer    answer
}

// answer is what a flight brought.
type answer struct {
	result Result
	asked  bool // whether it asked for the TXT record
}

// background starts a flight that nobody waits for. Without a free place there is
// none: the next lookup tries again, and the policy that is held serves.
func (g *engine) background(domain string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.flights[domain] != nil {
		return
	}
	select {
	case g.places <- struct{}{}:
		f := g.add(domain, delivery)
		f.started = true
		go g.fly(domain, f)
	default:
	}
}

func (g *engine) add(domain string, why purpose) *flight {
	f := &flight{purpose: why, abandoned: make(chan struct{}), done: make(chan struct{})}
	g.flights[domain] = f
	return f
}

// wait joins the flight of a domain, or starts one, and waits for its answer or
// the end of ctx. For a recheck the answer comes from a flight that has asked for
// the record, unless that was done just now.
func (g *engine) wait(ctx context.Context, domain string, why purpose) (answer, error) {
	for {
		if err := ctx.Err(); err != nil {
			return answer{}, err
		}
		g.mu.Lock()
		f := g.flights[domain]
		if f == nil {
			f = g.add(domain, why)
			go g.launch(domain, f)
		}
		f.waiting++
		g.mu.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
			if !g.leave(domain, f) {
				return answer{}, ctx.Err()
			}
			<-f.done // it was there already
		}
		if f.answer.result.Outcome == OutcomeUnknown {
			continue // it was a Forget, or a refresh that was given up
		}
		if why != recheck || f.purpose == recheck || f.answer.asked {
			return f.answer, nil
		}
	}
}

// leave takes a caller off a flight. It reports whether the flight is over.
func (g *engine) leave(domain string, f *flight) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-f.done:
		return true
	default:
	}
	if f.waiting--; f.waiting == 0 && !f.started {
		close(f.abandoned)
		delete(g.flights, domain)
	}
	return false
}

// launch waits for a place, as long as anybody waits for the flight.
func (g *engine) launch(domain string, f *flight) {
	select {
	case g.places <- struct{}{}:
	case <-f.abandoned:
		return
	}
	g.mu.Lock()
	select {
	case <-f.abandoned:
		g.mu.Unlock()
		<-g.places
		return
	default:
		f.started = true
	}
	g.mu.Unlock()
	g.fly(domain, f)
}

// fly makes a flight that has a place.
func (g *engine) fly(domain string, f *flight) {
	var release func()
	f.answer, release = g.discover(context.Background(), domain, f.purpose)
	g.land(domain, f, release)
	<-g.places
}

// land ends a flight: it gives the answer to those who wait, and then the lease back, if
// there is one. Other processes find the answer in the store meanwhile, and the next
// flight waits for the lease.
func (g *engine) land(domain string, f *flight, release func()) {
	given := make(chan struct{})
	g.mu.Lock()
	delete(g.flights, domain)
	close(f.done)
	if release != nil {
		g.releases[domain] = given
	}
	g.mu.Unlock()
	if release == nil {
		return
	}
	release()
	g.mu.Lock()
	if g.releases[domain] == given {
		delete(g.releases, domain)
	}
	g.mu.Unlock()
	close(given)
}

// store puts an entry into the cache. A planned refresh is no use of the domain.
func (g *engine) store(e *entry, now time.Time, why purpose) {
	used := now
	if why == planned {
		used = e.LastUsed
	}
	kept := *e
	told, during := g.steady(&kept)
	for _, gone := range g.cache.put(newSlot(&kept, told, during), used) {
		if g.trace && gone.held(now) && gone.Policy.Mode == ModeEnforce && gone.Version == 0 {
			g.emit([]Event{{Kind: EventEvicted, Level: slog.LevelWarn, Time: now, Domain: gone.Domain, ID: gone.AppliedID, Old: gone.Policy}})
		}
	}
}

// forgetDomain drops what is known of a domain. It takes the place of a flight, so
// that none brings back what it started from.
func (g *engine) forgetDomain(ctx context.Context, domain string, what Scope) error {
	var f *flight
	for f == nil {
		g.mu.Lock()
		running := g.flights[domain]
		if running == nil {
			f = &flight{started: true, done: make(chan struct{})}
			g.flights[domain] = f
		}
		g.mu.Unlock()
		if f != nil {
			break
		}
		select {
		case <-running.done:
		case <-running.abandoned:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer g.land(domain, f, nil)
	if what == ScopeAll {
		g.cache.remove(domain)
		return g.erase(ctx, domain)
	}
	now := g.clock.Now()
	e := entry{Domain: strings.Clone(domain)}
	if cached := g.cache.get(domain, now); cached != nil {
		e = *cached
	}
	e, news := g.load(e, now)
	if changed := g.forget(e, now, what); news || !changed.NextCheck.Equal(e.NextCheck) {
		changed = g.save(changed, now, delivery)
		g.store(&changed, now, delivery)
	}
	return nil
}

// cached is what the cache says of a domain now. The zero Result is nothing.
func (g *engine) cached(domain string) Result {
	now := g.clock.Now()
	e := g.cache.get(domain, now)
	if e == nil {
		return Result{}
	}
	settled, _ := g.settle(*e, now)
	return g.result(&settled, now)
}

// emit passes events on.
func (g *engine) emit(events []Event) {
	for _, event := range events {
		if g.hook != nil {
			g.hook(event)
		}
		if ctx := context.Background(); g.logger != nil && g.logger.Enabled(ctx, event.Level) {
			g.logger.LogAttrs(ctx, event.Level, event.AsyncOS(), slog.Any("mtasts", event))
		}
	}
}
