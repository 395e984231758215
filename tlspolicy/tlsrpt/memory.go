package tlsrpt

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// memoryDays and memoryDomains bound a Memory.
	memoryDays    = 10
	memoryDomains = 2 * maxDomains
)

// Memory is a Store in the memory of one process: for tests, and for senders that
// can do without the reports of a day in which they restart. The zero value is
// empty and ready.
type Memory struct {
	mu   sync.Mutex
	days map[Day]map[string]*memoryEntry
	// leases end by a timer of their own.
	leases map[memoryKey]struct{}
}

var _ Store = (*Memory)(nil)

type memoryKey struct {
	day    Day
	domain string
}

type memoryEntry struct {
	tally    Tally
	progress []byte
}

// entry returns what is held of a domain, and makes it if there is room.
func (m *Memory) entry(day Day, domain string) (*memoryEntry, error) {
	e := m.days[day][domain]
	if e != nil {
		return e, nil
	}
	if m.days[day] == nil {
		if len(m.days) >= memoryDays {
			return nil, fmt.Errorf("tlsrpt: memory holds %d days: prune it", memoryDays)
		}
		if m.days == nil {
			m.days = make(map[Day]map[string]*memoryEntry)
		}
		m.days[day] = make(map[string]*memoryEntry)
	}
	if len(m.days[day]) >= memoryDomains {
		return nil, fmt.Errorf("tlsrpt: memory holds %d domains of %s", memoryDomains, day)
	}
	e = new(memoryEntry)
	m.days[day][domain] = e
	return e, nil
}

// Save stores snapshots.
func (m *Memory) Save(ctx context.Context, snapshots []*Snapshot) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range snapshots {
		if err := CheckKey(s.Domain, s.Writer); err != nil {
			return err
		}
		e, err := m.entry(s.Day, s.Domain)
		if err != nil {
			return err
		}
		if old := e.tally.writers[s.Writer]; old != nil && old.Weight() > s.Weight() {
			continue
		}
		if err := e.tally.Add(s); err != nil {
			return err
		}
	}
	return nil
}

// Load returns the snapshots of all writers.
func (m *Memory) Load(ctx context.Context, day Day, domain string) (*Tally, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t := new(Tally)
	if e := m.days[day][domain]; e != nil {
		if err := t.Merge(&e.tally); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Days returns the days of which there is something.
func (m *Memory) Days(ctx context.Context) ([]Day, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.days)), ctx.Err()
}

// Domains yields the report domains of a day.
func (m *Memory) Domains(ctx context.Context, day Day) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var domains []string
		m.mu.Lock()
		for domain, e := range m.days[day] {
			if len(e.tally.writers) > 0 {
				domains = append(domains, domain)
			}
		}
		m.mu.Unlock()
		for _, domain := range domains {
			if err := ctx.Err(); err != nil {
				yield("", err)
				return
			}
			if !yield(domain, nil) {
				return
			}
		}
	}
}

// Progress returns how far a report has come.
func (m *Memory) Progress(ctx context.Context, day Day, domain string) (p Progress, err error) {
	if err := ctx.Err(); err != nil {
		return p, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.days[day][domain]; e != nil && e.progress != nil {
		err = p.UnmarshalText(e.progress)
	}
	return p, err
}

// SetProgress notes how far a report has come.
func (m *Memory) SetProgress(ctx context.Context, day Day, domain string, p Progress) error {
	text, err := p.MarshalText() // a copy that shares nothing
	if err := cmp.Or(ctx.Err(), err); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e, err := m.entry(day, domain)
	if err != nil {
		return err
	}
	e.progress = text
	return nil
}

// Lease takes the right to send a report.
func (m *Memory) Lease(ctx context.Context, day Day, domain string, ttl time.Duration) (release func(), held bool, err error) {
	key := memoryKey{day, domain}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, taken := m.leases[key]; taken || ctx.Err() != nil {
		return func() {}, false, ctx.Err()
	}
	if m.leases == nil {
		m.leases = make(map[memoryKey]struct{})
	}
	m.leases[key] = struct{}{}
	var once sync.Once
	free := func() {
		once.Do(func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			delete(m.leases, key)
		})
	}
	timer := time.AfterFunc(ttl, free)
	return func() { timer.Stop(); free() }, true, nil
}

// Prune removes the days before day.
func (m *Memory) Prune(ctx context.Context, day Day) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.days, func(d Day, _ map[string]*memoryEntry) bool { return d < day })
	return ctx.Err()
}
