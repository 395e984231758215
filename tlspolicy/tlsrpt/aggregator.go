package tlsrpt

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

const (
	// closeAfter is how long after its end a day is open: sessions that were under
	// way at midnight, and clocks that differ.
	closeAfter = 15 * time.Minute
	// flushEvery is how often Run writes.
	flushEvery = 30 * time.Second
	// maxDomains is how many report domains a day has.
	maxDomains = 100_000
	// maxUnwanted is how many domains without a record are remembered besides.
	maxUnwanted = 400_000
	// maxPolicies is how many policies a report domain and day has; further ones
	// are counted without their text.
	maxPolicies = 32
	// maxPolicyMemory bounds what the policies of a day take, and
	// maxDomainPolicies those of one of its domains: a snapshot of them must be
	// writable however its text has to be escaped, see maxSnapshot.
	maxPolicyMemory   = 128 << 20
	maxDomainPolicies = 1 << 20
	// maxDetailMemory bounds what the failure details of a day take. Mail hosts
	// choose the names in them, a new one for each session if they like. Beyond it
	// a domain keeps sureDetails apart, and the rest is folded.
	maxDetailMemory = 256 << 20
	sureDetails     = 4
	// maxFailedSaves is after how many errors of the store a flush goes no further.
	maxFailedSaves = 8
	// heldDays bounds how many days wait for a store that is away.
	heldDays = 3
	// maxNode is the longest name of a node, which begins that of a writer.
	maxNode = 32
	// shardCount spreads the domains over locks.
	shardCount = 256
)

// AggregatorOptions change an Aggregator. The zero value has a default for every
// field.
type AggregatorOptions struct {
	// Node is a name for this process in what is stored, of at most 32 letters in
	// lower case, digits and hyphens; empty: none. Two processes may have the same.
	Node string
	// Resolver looks up whether a domain wants reports at all; nil: nothing is
	// looked up before reports are due, and every domain is counted until then.
	Resolver Resolver
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Trace is told of what happens; nil: nobody is. It must not block and must be
	// safe for concurrent use.
	Trace func(Event)
	// MaxDomains bounds the report domains of a day; 0: 100000.
	MaxDomains int
}

// Stats are what an Aggregator has counted and left out since it was made.
type Stats struct {
	Sessions uint64 // sessions of a recipient domain that is a host name, on an open day
	Late     uint64 // sessions of a closed day, or far in the future
	Invalid  uint64 // sessions without a recipient domain that is a host name
	Refused  uint64 // results dropped because the day had enough domains
	Unwanted uint64 // results of domains that want no reports
}

// Aggregator is a Collector that counts sessions by day and report domain, and
// writes the counts to a Store. It is safe for concurrent use. A nil *Aggregator
// collects nothing.
//
// Its memory is bounded whatever sessions come: for each day 100000 report domains
// of some hundred octets, 128 MiB of policies, 256 MiB of failure details besides
// four of each domain, and the names of 400000 domains without a record. Three days
// are held at most, and more than one only around midnight or while the store is
// away.
//
// A session goes to the report of its recipient domain. Its result of type tlsa
// also goes to that of the TLSA base domain, in which no recipient domain is named.
type Aggregator struct {
	store   Store
	options AggregatorOptions
	writer  string
	seed    maphash.Seed

	flushMu sync.Mutex // held during a flush
	first   int        // shard with which the next flush begins

	// today is the day of the clock and closed the last day that is closed. Both
	// only grow, so a clock that is set back opens nothing again.
	today, closed atomic.Int32

	sessions, late, invalid, refused, unwanted atomic.Uint64
	lateTold                                   atomic.Int32 // day for which EventLate was told

	daysMu sync.Mutex
	days   []*dayInfo // those that are open or not yet written

	shards [shardCount]shard
}

var _ Collector = (*Aggregator)(nil)

// shard has the domains of one part of the hash values.
type shard struct {
	mu   sync.Mutex
	days []shardDay
	_    [64]byte // keeps the locks on cache lines of their own
}

type shardDay struct {
	info    *dayInfo
	domains map[string]*domainCounts
}

// dayInfo is what the shards of a day share.
type dayInfo struct {
	day               Day
	domains, unwanted atomic.Int64
	policyMemory      atomic.Int64
	detailMemory      atomic.Int64
	fullTold          atomic.Bool
}

// NewAggregator returns an Aggregator that writes to store. The error is about the
// arguments. Call Run for it to write.
func NewAggregator(store Store, o AggregatorOptions) (*Aggregator, error) {
	if store == nil {
		return nil, errors.New("tlsrpt: no store")
	}
	if len(o.Node) > maxNode || o.Node != "" && CheckKey("localhost", o.Node) != nil {
		return nil, fmt.Errorf("tlsrpt: %q is no name of a node", clip(o.Node))
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Trace == nil {
		o.Trace = func(Event) {}
	}
	if o.MaxDomains <= 0 {
		o.MaxDomains = maxDomains
	}
	var random [12]byte
	rand.Read(random[:])
	a := &Aggregator{store: store, options: o, seed: maphash.MakeSeed(), writer: hex.EncodeToString(random[:])}
	if o.Node != "" {
		a.writer = o.Node + "-" + a.writer
	}
	now := o.Now()
	a.today.Store(int32(DayOf(now)))
	a.closed.Store(int32(closedDay(now)))
	return a, nil
}

// closedDay returns the last day that is closed at a moment.
func closedDay(now time.Time) Day { return DayOf(now.Add(-closeAfter)) - 1 }

// Writer returns the name under which the Aggregator writes. No other has it.
func (a *Aggregator) Writer() string { return a.writer }

// Stats returns what was counted and left out so far.
func (a *Aggregator) Stats() Stats {
	return Stats{a.sessions.Load(), a.late.Load(), a.invalid.Load(), a.refused.Load(), a.unwanted.Load()}
}

// Collect counts a session. It keeps nothing of s but the pointers to policies,
// and allocates nothing for what it has seen before.
func (a *Aggregator) Collect(s *Session) {
	if a == nil || s == nil || s.NPolicies <= 0 {
		return
	}
	today, day := Day(a.today.Load()), DayOf(s.Time)
	if s.Time.IsZero() {
		day = max(today, DayOf(a.options.Now()))
	}
	if day > today+1 || day <= Day(a.closed.Load()) {
		a.tooLate(day)
		return
	}
	results := s.Policies[:min(s.NPolicies, len(s.Policies))]
	name := a.collect(day, s, s.RecipientDomain, "", results)
	if name == "" {
		return
	}
	a.sessions.Add(1)
	for i := range results {
		if p := results[i].Policy; p != nil && p.Type == PolicyTLSA && p.Domain != name {
			a.collect(day, s, p.Domain, name, results[i:i+1])
		}
	}
}

func (a *Aggregator) tooLate(day Day) {
	a.late.Add(1)
	if a.lateTold.Swap(int32(day)) != int32(day) {
		a.trace(Event{Kind: EventLate, Level: slog.LevelWarn, Day: day})
	}
}

func (a *Aggregator) trace(e Event) {
	e.Time = a.options.Now()
	a.options.Trace(e)
}

// collect counts results in the report of a domain: that of the recipients, or
// with a source the TLSA base domain of their mail host. It returns the domain in
// canonical form, empty if it is none.
func (a *Aggregator) collect(day Day, s *Session, domain, source string, results []PolicyResult) string {
	sh := a.shardOf(domain)
	sh.mu.Lock()
	d, info := sh.find(day, domain)
	if d == nil {
		// Only a name that has not been met in this form is looked at.
		sh.mu.Unlock()
		name, err := hostname.Parse(domain)
		if err != nil || name == source {
			if err != nil {
				a.invalid.Add(1)
			}
			return ""
		}
		domain = name
		sh = a.shardOf(domain)
		sh.mu.Lock()
		if d, info = sh.find(day, domain); d == nil {
			d, info = a.add(sh, day, domain)
		}
	}
	switch {
	case d == nil:
		a.refused.Add(uint64(len(results)))
	case d.unwanted:
		a.unwanted.Add(uint64(len(results)))
	default:
		d.addSource(source)
		for i := range results {
			d.count(info, s, &results[i])
		}
	}
	sh.mu.Unlock()
	if d == nil && !info.fullTold.Swap(true) {
		a.trace(Event{Kind: EventDomainsFull, Level: slog.LevelWarn, Day: day})
	}
	return domain
}

func (a *Aggregator) shardOf(domain string) *shard {
	return &a.shards[maphash.String(a.seed, domain)%shardCount]
}

// find returns the counts of a domain, nil if there are none. The lock is held.
func (sh *shard) find(day Day, domain string) (*domainCounts, *dayInfo) {
	for i := range sh.days {
		if d := &sh.days[i]; d.info.day == day {
			return d.domains[domain], d.info
		}
	}
	return nil, nil
}

// add makes counts for a domain, none if the day has enough of them. The lock of
// the shard is held.
func (a *Aggregator) add(sh *shard, day Day, domain string) (*domainCounts, *dayInfo) {
	info := a.day(day)
	if info.domains.Add(1) > int64(a.options.MaxDomains) {
		info.domains.Add(-1)
		return nil, info
	}
	d := new(domainCounts)
	for i := range sh.days {
		if sh.days[i].info == info {
			sh.days[i].domains[strings.Clone(domain)] = d
			return d, info
		}
	}
	sh.days = append(sh.days, shardDay{info, map[string]*domainCounts{strings.Clone(domain): d}})
	return d, info
}

// day returns what the shards share for a day.
func (a *Aggregator) day(day Day) *dayInfo {
	a.daysMu.Lock()
	defer a.daysMu.Unlock()
	for _, info := range a.days {
		if info.day == day {
			return info
		}
	}
	info := &dayInfo{day: day}
	a.days = append(a.days, info)
	return info
}
