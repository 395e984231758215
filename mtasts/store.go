package mtasts

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"time"
)

// Version tells the states of one domain's entry in a Store apart: each write makes it
// greater, and an entry that was deleted and made again has one that it never had
// before. 0 is no entry.
type Version uint64

// Store keeps entries across restarts, or shares them among processes. It is
// trusted storage: whoever can write to it decides over the policies. A Store is
// safe for concurrent use.
type Store interface {
	// Get returns the entry of a domain. The error matches ErrNotFound if there
	// is none, and ErrCorrupt if what was there cannot be used and has been put
	// out of the way.
	Get(ctx context.Context, domain string) (*Entry, error)
	// Put writes an entry if the version that is stored is old, 0 meaning that
	// none is, and returns the new version, which is greater. Otherwise the
	// error matches ErrStoreConflict. The caller does not change e afterwards.
	Put(ctx context.Context, e *Entry, old Version) (Version, error)
	// Delete removes an entry if its version is old. Without entry it does
	// nothing.
	Delete(ctx context.Context, domain string, old Version) error
	// All yields every entry once, in no order, and goes on after an error.
	All(ctx context.Context) iter.Seq2[*Entry, error]
}

// What a Store has to say.
var (
	// ErrNotFound: the store has no entry for the domain.
	ErrNotFound = errors.New("mtasts: no stored entry")
	// ErrStoreConflict: somebody else has written the entry meanwhile.
	ErrStoreConflict = errors.New("mtasts: stored entry has another version")
	// ErrCorrupt: the text is no entry, or its checksum is wrong.
	ErrCorrupt = errors.New("mtasts: stored entry is corrupt")
	// ErrSchema: the text is an entry of another release. It is to be left
	// alone, and to be read as absent.
	ErrSchema = errors.New("mtasts: stored entry has an unknown schema")
)

const (
	// storeTimeout bounds each call of a Store.
	storeTimeout = 5 * time.Second
	// storeTries is how often a write is merged with what others have written.
	storeTries = 3
	// usedInterval is how exactly a store knows when a domain was last used.
	usedInterval = time.Hour
)

// load brings in what the store knows and the memory does not. It reports
// whether that was anything.
func (g *engine) load(e entry, now time.Time) (entry, bool) {
	if g.stores == nil {
		return e, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	stored, err := g.stored(ctx, e.Domain)
	switch {
	case errors.Is(err, ErrNotFound):
		e.Version = 0
		return e, false
	case err != nil:
		g.storeFailed(e.Domain, err, now)
		return e, false
	case stored.entry.Version == e.Version:
		return e, false
	}
	return g.join(e, stored.entry, now), true
}

// stored is Get, and takes no entry for that of another domain.
func (g *engine) stored(ctx context.Context, domain string) (*Entry, error) {
	e, err := g.stores.Get(ctx, domain)
	if err == nil && e.entry.Domain != domain {
		return nil, corruptf("under %q there is an entry of %q", domain, e.entry.Domain)
	}
	return e, err
}

// join merges what is known with what is stored.
func (g *engine) join(e, stored entry, now time.Time) entry {
	if g.policy == Strict && stored.Policy != nil && (Parser{Mode: Strict}).Policy(string(stored.Body), new(Policy)) != nil {
		stored.dropPolicy() // written by a client that is more tolerant
	}
	merged := mergeEntries(e, stored)
	merged.Version = stored.Version
	merged, events := g.settle(merged, now)
	g.emit(events)
	if next := g.nextCheck(&merged, now); merged.held(now) && next.Before(merged.NextCheck) {
		merged.NextCheck = next
	}
	return merged
}

// save writes an entry to the store and returns it with its version, merged with
// what others have written meanwhile. A failure is an event and no more: the
// next observation writes again.
func (g *engine) save(e entry, now time.Time, why purpose) entry {
	if g.stores == nil {
		return e
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	if why != planned && now.Sub(e.LastUsed) >= usedInterval {
		e.LastUsed = now
	}
	var err error
	for range storeTries {
		var version Version
		if version, err = g.stores.Put(ctx, &Entry{entry: e}, e.Version); err == nil {
			e.Version = version
			return e
		}
		if !errors.Is(err, ErrStoreConflict) {
			break
		}
		stored, getErr := g.stored(ctx, e.Domain)
		switch {
		case errors.Is(getErr, ErrNotFound):
			e.Version = 0
		case getErr != nil:
			g.storeFailed(e.Domain, getErr, now)
			return e
		default:
			e = g.join(e, stored.entry, now)
		}
	}
	g.storeFailed(e.Domain, err, now)
	return e
}

// erase removes an entry from the store, whatever its version.
func (g *engine) erase(ctx context.Context, domain string) error {
	if g.stores == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	var err error
	for range storeTries {
		var stored *Entry
		if stored, err = g.stores.Get(ctx, domain); errors.Is(err, ErrNotFound) || errors.Is(err, ErrCorrupt) {
			return nil
		}
		if err == nil {
			err = g.stores.Delete(ctx, domain, stored.entry.Version)
		}
		if err == nil || !errors.Is(err, ErrStoreConflict) {
			break
		}
	}
	return err
}

func (g *engine) storeFailed(domain string, err error, now time.Time) {
	if !g.trace {
		return
	}
	kind := EventStoreError
	if errors.Is(err, ErrCorrupt) {
		kind = EventEntryCorrupt
	}
	g.emit([]Event{{Kind: kind, Level: slog.LevelWarn, Time: now, Domain: domain, Err: err}})
}
