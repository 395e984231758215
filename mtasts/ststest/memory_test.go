package ststest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/smtpsec/smtpsec/mtasts"
)

// memory is a Store and Leaser in a map, whose rules a test can break one by one.
type memory struct {
	mu     sync.Mutex
	texts  map[string]string
	leases map[string]held
	last   mtasts.Version // that was given
	broken string
}

type held struct {
	until time.Time
	token *int
}

func newMemory(broken string) *memory {
	return &memory{texts: map[string]string{}, leases: map[string]held{}, broken: broken}
}

func (m *memory) backend() Backend {
	return Backend{
		Open: func() mtasts.Store { return m },
		Plant: func(domain string, text []byte) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.texts[domain] = string(text)
			return nil
		},
	}
}

func (m *memory) is(fault string) bool { return m.broken == fault }

func checkName(domain string) error {
	if domain == "" || domain[0] == '.' || strings.ContainsFunc(domain, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.'
	}) {
		return fmt.Errorf("bad name %q", domain)
	}
	return nil
}

// read returns an entry and its version. The caller holds the lock.
func (m *memory) read(domain string) (*mtasts.Entry, error) {
	text, ok := m.texts[domain]
	if !ok {
		return nil, mtasts.ErrNotFound
	}
	e := new(mtasts.Entry)
	err := e.UnmarshalText([]byte(text))
	if err == nil && e.Domain() != domain && !m.is("applies entries of others") {
		err = mtasts.ErrCorrupt
	}
	switch {
	case errors.Is(err, mtasts.ErrSchema) && m.is("drops other releases"):
		delete(m.texts, domain)
		return nil, mtasts.ErrNotFound
	case errors.Is(err, mtasts.ErrSchema):
		return nil, fmt.Errorf("%w: %w", mtasts.ErrNotFound, err)
	case err != nil && m.is("tells damage as absence"):
		return nil, mtasts.ErrNotFound
	case err != nil && !m.is("keeps damage"):
		delete(m.texts, domain)
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

func (m *memory) Get(ctx context.Context, domain string) (*mtasts.Entry, error) {
	if m.is("tells an ended context as absence") && ctx.Err() != nil {
		return nil, mtasts.ErrNotFound
	}
	if err := checkName(domain); err != nil && !m.is("takes any name") {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.read(domain)
}

// version returns the version that is stored. The caller holds the lock.
func (m *memory) version(domain string) (mtasts.Version, error) {
	e, err := m.read(domain)
	switch {
	case errors.Is(err, mtasts.ErrSchema):
		return 0, err
	case err != nil:
		return 0, nil
	}
	return e.Version(), nil
}

func (m *memory) Put(_ context.Context, e *mtasts.Entry, old mtasts.Version) (mtasts.Version, error) {
	if err := checkName(e.Domain()); err != nil {
		return 0, err
	}
	m.mu.Lock()
	stored, err := m.version(e.Domain())
	if m.is("compares and swaps apart") {
		m.mu.Unlock()
		runtime.Gosched()
		m.mu.Lock()
	}
	defer m.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if stored != old && !m.is("overwrites") {
		return 0, mtasts.ErrStoreConflict
	}
	m.last++
	version := m.last
	switch {
	case m.is("counts nothing"):
		version = 1
	case m.is("counts from one again"):
		version = old + 1
	}
	text, err := e.WithVersion(version).MarshalText()
	if m.is("cuts bodies") {
		text = text[:min(len(text), 60000)]
	}
	m.texts[e.Domain()] = string(text)
	return version, err
}

func (m *memory) Delete(_ context.Context, domain string, old mtasts.Version) error {
	if err := checkName(domain); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	stored, err := m.version(domain)
	if err != nil {
		return err
	}
	if stored == 0 {
		if m.is("fails to delete nothing") {
			return mtasts.ErrNotFound
		}
		return nil
	}
	if stored != old && !m.is("deletes any version") {
		return mtasts.ErrStoreConflict
	}
	delete(m.texts, domain)
	return nil
}

func (m *memory) All(ctx context.Context) iter.Seq2[*mtasts.Entry, error] {
	return func(yield func(*mtasts.Entry, error) bool) {
		m.mu.Lock()
		domains := slices.Collect(maps.Keys(m.texts))
		m.mu.Unlock()
		if m.is("tells an ended context as the end") && ctx.Err() != nil {
			return
		}
		if m.is("yields some twice") && len(domains) > 1 {
			domains = append(domains, domains[0])
		}
		for _, domain := range domains {
			e, err := m.Get(ctx, domain)
			if errors.Is(err, mtasts.ErrNotFound) {
				continue
			}
			if !yield(e, err) || m.is("stops at an error") && err != nil {
				return
			}
		}
	}
}

func (m *memory) Lease(_ context.Context, domain string, ttl time.Duration) (func(), bool, error) {
	if err := checkName(domain); err != nil {
		return func() {}, false, err
	}
	if ttl <= 0 {
		return func() {}, false, errors.New("no time")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if l, ok := m.leases[domain]; ok && now.Before(l.until) && !m.is("leases to all") {
		return func() {}, false, nil
	}
	mine := held{now.Add(ttl), new(int)}
	m.leases[domain] = mine
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.leases[domain].token == mine.token || m.is("releases for others") {
			delete(m.leases, domain)
		}
	}, true, nil
}
