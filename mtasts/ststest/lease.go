package ststest

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/mtasts"
)

const (
	// longLease outlives every test.
	longLease = time.Hour
	// shortLease is for the test that waits for its end.
	shortLease = 50 * time.Millisecond
	// patience is how long that test waits at most.
	patience = 10 * time.Second
)

// lease asks for a lease.
func lease(t testing.TB, s mtasts.Store, domain string, ttl time.Duration) (release func(), held bool) {
	t.Helper()
	release, held, err := s.(mtasts.Leaser).Lease(t.Context(), domain, ttl)
	must(t, err, "Lease(%s)", domain)
	if release == nil {
		t.Fatalf("Lease(%s): release is nil", domain)
	}
	return release, held
}

// leases reports whether the stores of a backend give leases.
func leases(b Backend) bool {
	_, ok := b.Open().(mtasts.Leaser)
	return ok
}

func checkLease(t testing.TB, b Backend) {
	if !leases(b) {
		return
	}
	s, other := b.Open(), b.Open()
	release, held := lease(t, s, "example.com", longLease)
	if !held {
		t.Fatal("Lease of what nobody has: not held")
	}
	refused, held := lease(t, other, "example.com", longLease)
	if held {
		t.Fatal("Lease of what somebody else has: held")
	}
	if _, held := lease(t, s, "example.com", longLease); held {
		t.Fatal("Lease of what one has oneself: held twice")
	}
	refused() // what was not held
	if _, held := lease(t, other, "example.com", longLease); held {
		t.Fatal("the release of one that was refused has ended the lease of another")
	}
	neighbour, held := lease(t, other, "neighbour.example", longLease)
	if !held {
		t.Fatal("the lease of one domain keeps another from being had")
	}
	neighbour()

	// A lease is no entry, and keeps nobody from reading and writing.
	mustLack(t, s, "example.com")
	mustList(t, s)
	e := counterEntry("example.com", 1)
	version := create(t, other, e)
	mustHold(t, s, e, version)
	mustList(t, s, "example.com")

	release()
	again, held := lease(t, other, "example.com", longLease)
	if !held {
		t.Fatal("Lease after a release: not held")
	}
	release() // of a lease that is over
	if _, held := lease(t, s, "example.com", longLease); held {
		t.Fatal("the second release of one lease has ended another")
	}
	again()
	mustHold(t, s, e, version)

	for _, bad := range []string{"", "A.example", "a{b}", "a/b"} {
		if _, held, err := s.(mtasts.Leaser).Lease(t.Context(), bad, longLease); err == nil || held {
			t.Errorf("Lease(%q): held %v, error %v", bad, held, err)
		}
	}
	if _, held, err := s.(mtasts.Leaser).Lease(t.Context(), "example.com", 0); err == nil || held {
		t.Errorf("Lease for no time: held %v, error %v", held, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, held, err := s.(mtasts.Leaser).Lease(ended, "ended.example", longLease); held && err != nil {
		t.Errorf("Lease under an ended context: both held and error %v", err)
	}
}

func checkLeaseEnds(t testing.TB, b Backend) {
	if !leases(b) {
		return
	}
	s, other := b.Open(), b.Open()
	release, held := lease(t, s, "example.com", shortLease)
	if !held {
		t.Fatal("Lease of what nobody has: not held")
	}
	deadline := time.Now().Add(patience)
	next, held := lease(t, other, "example.com", longLease)
	for ; !held; next, held = lease(t, other, "example.com", longLease) {
		if time.Now().After(deadline) {
			t.Fatalf("a lease of %v is still held after %v", shortLease, patience)
		}
	}
	release() // too late: the lease is another's by now
	if _, held := lease(t, s, "example.com", longLease); held {
		t.Fatal("the release of a lease that had run out has ended that of another")
	}
	next()
}

func checkLeaseRace(t testing.TB, b Backend) {
	if !leases(b) {
		return
	}
	for range eachWrites {
		var holders atomic.Int64
		var end atomic.Value
		inParallel(t, b, func(ctx context.Context, s mtasts.Store, _ int) error {
			release, held, err := s.(mtasts.Leaser).Lease(ctx, "example.com", longLease)
			if held {
				holders.Add(1)
				end.Store(release)
			}
			return err
		})
		if holders.Load() != 1 {
			t.Fatalf("%d of %d have the lease, want one", holders.Load(), writers)
		}
		end.Load().(func())()
	}
}
