package tlsrpt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	// flushBatch is how many snapshots go to the store at once.
	flushBatch = 256
	// lookupsAtOnce bounds the lookups of records during a flush.
	lookupsAtOnce = 8
	// lookupTime bounds one of them.
	lookupTime = 10 * time.Second
	// lookupBudget bounds all lookups of a flush: a resolver that is away must not
	// keep the counts from the store. What was not looked up is counted on.
	lookupBudget = 20 * time.Second
	// finalFlush bounds the flush at the end of Run.
	finalFlush = 30 * time.Second
)

// Run writes the counts every 30 seconds, and once more when ctx ends. It returns
// the error of that last flush; the others are told as events and the counts
// written later.
func (a *Aggregator) Run(ctx context.Context) error {
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			_ = a.Flush(ctx) // told as an event
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), finalFlush)
			defer cancel()
			return a.Flush(last)
		}
	}
}

// Flush writes what was counted since the last flush, and closes the day before 15
// minutes after it has ended. nil tells that everything is written. After an error
// the counts are still there and are written with the next flush. A process that ends calls it, or ends Run.
func (a *Aggregator) Flush(ctx context.Context) error {
	a.flushMu.Lock()
	defer a.flushMu.Unlock()
	a.advance(a.options.Now())
	a.daysMu.Lock()
	days := slices.Clone(a.days)
	a.daysMu.Unlock()
	lookups, cancel := context.WithTimeout(ctx, lookupBudget)
	defer cancel()
	var failed error
	patience := maxFailedSaves
	for _, info := range days {
		if err := a.flushDay(ctx, lookups, info, &patience); err != nil {
			a.trace(Event{Kind: EventFlushFailed, Level: slog.LevelError, Day: info.day, Err: err})
			failed = errors.Join(failed, err)
		}
		a.release(info)
	}
	return failed
}

// flushDay writes what has changed of a day. A store that is away must not hold up
// the clock for as long as there are shards, so it ends when patience does, and the
// next flush begins where this one ended: what a store refuses for a reason of its
// own does not stand before the rest for ever.
func (a *Aggregator) flushDay(ctx, lookups context.Context, info *dayInfo, patience *int) error {
	var failed error
	first := a.first
	for i := range shardCount {
		if err := ctx.Err(); err != nil {
			return errors.Join(failed, fmt.Errorf("tlsrpt: flush: %w", err))
		}
		if *patience == 0 {
			return errors.Join(failed, errors.New("tlsrpt: flush: the rest is tried with the next flush"))
		}
		shard := (first + i) % shardCount
		if err := a.flushShard(ctx, lookups, &a.shards[shard], info, patience); err != nil {
			failed = errors.Join(failed, err)
			a.first = (shard + 1) % shardCount
		}
	}
	return failed
}

// advance moves the days on with the clock, and never back.
func (a *Aggregator) advance(now time.Time) {
	a.today.Store(max(a.today.Load(), int32(DayOf(now))))
	a.closed.Store(max(a.closed.Load(), int32(closedDay(now))))
}

// flushShard writes the domains of a shard that have changed. Records are looked up
// while the second context lasts. Each error of the store takes from patience.
func (a *Aggregator) flushShard(ctx, lookups context.Context, sh *shard, info *dayInfo, patience *int) error {
	var dirty, unknown []string
	sh.mu.Lock()
	day := sh.day(info)
	if day != nil {
		for name, d := range day.domains {
			if !d.dirty {
				continue
			}
			dirty = append(dirty, name)
			if !d.wanted && a.options.Resolver != nil {
				unknown = append(unknown, name)
			}
		}
	}
	sh.mu.Unlock()
	if len(dirty) == 0 {
		return nil
	}
	a.lookUp(lookups, sh, info, unknown)
	var failed error
	for names := range slices.Chunk(dirty, flushBatch) {
		if *patience == 0 {
			break
		}
		snapshots := make([]*Snapshot, 0, len(names))
		sh.mu.Lock()
		for _, name := range names {
			if d := day.domains[name]; d != nil && !d.unwanted {
				d.dirty = false
				snapshots = append(snapshots, d.snapshot(info.day, name, a.writer))
			}
		}
		sh.mu.Unlock()
		if len(snapshots) == 0 {
			continue
		}
		if err := a.store.Save(ctx, snapshots); err != nil {
			*patience--
			failed = errors.Join(failed, fmt.Errorf("tlsrpt: flush: %w", err))
			sh.mu.Lock()
			for _, s := range snapshots {
				day.domains[s.Domain].dirty = true
			}
			sh.mu.Unlock()
		}
	}
	return failed
}

// day returns what the shard has of a day. The lock is held.
func (sh *shard) day(info *dayInfo) *shardDay {
	for i := range sh.days {
		if sh.days[i].info == info {
			return &sh.days[i]
		}
	}
	return nil
}

// lookUp finds out which domains want reports, and forgets the counts of those that
// do not. A lookup that fails says nothing: the domain is counted on.
func (a *Aggregator) lookUp(ctx context.Context, sh *shard, info *dayInfo, names []string) {
	slots := make(chan struct{}, lookupsAtOnce)
	var all sync.WaitGroup
	for _, name := range names {
		if ctx.Err() != nil {
			break
		}
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, lookupTime)
			defer cancel()
			_, err := Lookup(ctx, a.options.Resolver, name)
			unwanted := errors.Is(err, ErrNoRecord) || errors.Is(err, ErrMultipleRecords) || errors.Is(err, ErrRecordSyntax)
			if err == nil || unwanted {
				a.settle(sh, info, name, unwanted)
			}
		})
	}
	all.Wait()
}

// settle notes whether a domain wants reports.
func (a *Aggregator) settle(sh *shard, info *dayInfo, name string, unwanted bool) {
	sh.mu.Lock()
	day := sh.day(info)
	d := day.domains[name]
	if !unwanted {
		d.wanted = true
		sh.mu.Unlock()
		return
	}
	info.policyMemory.Add(-d.policyMemory)
	info.detailMemory.Add(-d.detailMemory)
	*d = domainCounts{unwanted: true}
	info.domains.Add(-1)
	if info.unwanted.Add(1) > maxUnwanted {
		// It is looked up again when it comes again.
		info.unwanted.Add(-1)
		delete(day.domains, name)
	}
	sh.mu.Unlock()
	a.trace(Event{Kind: EventNoRecord, Level: slog.LevelDebug, Day: info.day, Domain: name})
}

// release forgets a closed day of which everything is written, or one for which the
// store was away too long.
func (a *Aggregator) release(info *dayInfo) {
	closed, today := Day(a.closed.Load()), Day(a.today.Load())
	if info.day > closed {
		return
	}
	lost := info.day <= today-heldDays
	clean := true
	for i := range a.shards {
		sh := &a.shards[i]
		sh.mu.Lock()
		if day := sh.day(info); day != nil {
			for _, d := range day.domains {
				clean = clean && !d.dirty
			}
		}
		sh.mu.Unlock()
	}
	if !clean && !lost {
		return
	}
	if !clean {
		a.trace(Event{Kind: EventLost, Level: slog.LevelError, Day: info.day})
	}
	for i := range a.shards {
		sh := &a.shards[i]
		sh.mu.Lock()
		sh.days = slices.DeleteFunc(sh.days, func(d shardDay) bool { return d.info == info })
		sh.mu.Unlock()
	}
	a.daysMu.Lock()
	a.days = slices.DeleteFunc(a.days, func(d *dayInfo) bool { return d == info })
	a.daysMu.Unlock()
}
