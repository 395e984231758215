package ststest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/mtasts"
)

const (
	writers    = 8
	eachWrites = 10
	// mostTries bounds how often one write is tried again: of the writers one
	// gets through each time.
	mostTries = writers * eachWrites * 10
)

// inParallel runs f once for each writer, each with a Store of its own, and fails
// the test with what they return.
func inParallel(t testing.TB, b Backend, f func(ctx context.Context, s mtasts.Store, writer int) error) {
	t.Helper()
	var all sync.WaitGroup
	errs := make([]error, writers)
	start := make(chan struct{})
	for i := range writers {
		s := b.Open()
		all.Go(func() {
			<-start
			errs[i] = f(t.Context(), s, i)
		})
	}
	close(start)
	all.Wait()
	must(t, errors.Join(errs...), "%d writers", writers)
}

func checkCreateRace(t testing.TB, b Backend) {
	var won atomic.Int64
	inParallel(t, b, func(ctx context.Context, s mtasts.Store, i int) error {
		_, err := s.Put(ctx, counterEntry("example.com", i), 0)
		switch {
		case err == nil:
			won.Add(1)
		case !errors.Is(err, mtasts.ErrStoreConflict):
			return err
		}
		return nil
	})
	if won.Load() != 1 {
		t.Fatalf("%d of %d created the entry, want one", won.Load(), writers)
	}
}

// checkCounter counts in an entry: an update that is lost is missing in the end.
func checkCounter(t testing.TB, b Backend) {
	inParallel(t, b, func(ctx context.Context, s mtasts.Store, _ int) error {
		var last mtasts.Version
		for range eachWrites {
			version, err := increment(ctx, s)
			if err != nil {
				return err
			}
			if version <= last {
				return fmt.Errorf("version %d after %d", version, last)
			}
			last = version
		}
		return nil
	})
	e, err := b.Open().Get(t.Context(), "example.com")
	must(t, err, "Get")
	n, err := counter(e)
	must(t, err, "the entry that was counted in")
	if n != writers*eachWrites {
		t.Fatalf("counted to %d, want %d: an update was lost", n, writers*eachWrites)
	}
}

func increment(ctx context.Context, s mtasts.Store) (mtasts.Version, error) {
	for range mostTries {
		n, old := 0, mtasts.Version(0)
		e, err := s.Get(ctx, "example.com")
		switch {
		case err == nil:
			if n, err = counter(e); err != nil {
				return 0, err
			}
			old = e.Version()
		case !errors.Is(err, mtasts.ErrNotFound):
			return 0, err
		}
		version, err := s.Put(ctx, counterEntry("example.com", n+1), old)
		if err == nil && version <= old {
			return 0, fmt.Errorf("version %d after a Put over %d", version, old)
		}
		if !errors.Is(err, mtasts.ErrStoreConflict) {
			return version, err
		}
	}
	return 0, fmt.Errorf("no write came through in %d tries", mostTries)
}

// checkMerge lets every writer bring in what it has seen, as Clients do: in the
// end the store has all of it, whatever the order was.
func checkMerge(t testing.TB, b Backend) {
	start := time.Now().Add(-time.Hour)
	seen := make([]*mtasts.Entry, writers)
	var want *mtasts.Entry
	for i := range writers {
		at := start.Add(time.Duration(i) * time.Minute)
		d := policyDraft("example.com", fmt.Sprintf("id%d", i), enforceBody, at)
		d.lines = append(d.lines, fmt.Sprintf("backoff failed%d 1 %s %s fetch-error status", i, stamp(at.Add(30*time.Minute)), stamp(at.Add(35*time.Minute))))
		seen[i] = d.entry()
		if want = seen[i]; i > 0 {
			want = mtasts.Merge(want, seen[i-1])
		}
		seen[i] = want
	}
	inParallel(t, b, func(ctx context.Context, s mtasts.Store, i int) error {
		mine, old := seen[i], mtasts.Version(0)
		for range mostTries {
			_, err := s.Put(ctx, mine, old)
			if !errors.Is(err, mtasts.ErrStoreConflict) {
				return err
			}
			stored, err := s.Get(ctx, "example.com")
			if err != nil {
				return err
			}
			mine, old = mtasts.Merge(mine, stored), stored.Version()
		}
		return fmt.Errorf("no write came through in %d tries", mostTries)
	})
	e, err := b.Open().Get(t.Context(), "example.com")
	must(t, err, "Get")
	mustHold(t, b.Open(), want, e.Version())
}
