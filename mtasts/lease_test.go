package mtasts

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// leaseStore is a textStore with leases.
type leaseStore struct {
	*textStore
	mu    sync.Mutex
	taken map[string]bool
	fails error
	hangs time.Duration // how long a release takes
}

func newLeaseStore() *leaseStore {
	return &leaseStore{textStore: newStore(), taken: map[string]bool{}}
}

func (s *leaseStore) Lease(_ context.Context, domain string, _ time.Duration) (func(), bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil || s.taken[domain] {
		return func() {}, false, s.fails
	}
	s.taken[domain] = true
	return func() {
		time.Sleep(s.hangs)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.taken, domain)
	}, true, nil
}

// set has another process take or give back the lease of the domain.
func (s *leaseStore) set(taken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken["example.com"] = taken
}

// held reports whether anybody has the lease, when all that can go on has gone on.
func (s *leaseStore) held() bool {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken["example.com"]
}

// fleet is two processes over one store, in the time of the bubble.
func fleet() (*world, *world, *leaseStore) {
	w, s := newWorld(), newLeaseStore()
	w.Clock, w.Store = nil, s
	v := w.second()
	v.Clock = nil
	return w, v, s
}

func TestLeaseOneGETForTheFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, v, s := fleet()
		w.block = make(chan struct{})
		var waiting sync.WaitGroup
		waiting.Go(func() { w.lookup(t) })
		synctest.Wait()
		var second Result
		waiting.Go(func() { second = v.lookup(t) })
		time.Sleep(time.Second)
		close(w.block)
		waiting.Wait()
		require.Equal(t, OutcomeEnforce, second.Outcome)
		require.Zero(t, v.gets.Load())
		require.Equal(t, 1, w.dns.count("example.com"))
		require.False(t, s.held(), "given back")
		// A check of a held policy: who has no lease serves what is held.
		time.Sleep(11 * time.Minute)
		s.set(true)
		v.lookup(t)
		synctest.Wait()
		require.Equal(t, OutcomeEnforce, v.lookup(t).Outcome)
		require.Equal(t, 1, w.dns.count("example.com"))
		s.set(false)
		time.Sleep(5 * time.Second)
		v.lookup(t)
		synctest.Wait()
		require.Equal(t, 2, w.dns.count("example.com"), "then it tries again")
		// The planner, too.
		time.Sleep(24 * time.Hour)
		s.set(true)
		_, err := v.Refresh(t.Context())
		require.NoError(t, err)
		require.Zero(t, v.gets.Load())
		s.set(false)
		_, err = w.Refresh(t.Context())
		require.NoError(t, err)
		_, err = v.Refresh(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 2, w.gets.Load()+v.gets.Load(), "one GET a day")
	})
}

// A lost lease costs one GET more, never a delivery.
func TestLeaseThatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, v, s := fleet()
		s.set(true) // by a process that died
		start := time.Now()
		require.Equal(t, SourceFresh, v.lookup(t).Source)
		require.Equal(t, 5*time.Second, time.Since(start))
		time.Sleep(time.Minute)
		start = time.Now()
		v.dns.set("example.com", "v=STSv1; id=2;")
		r, _, err := v.Recheck(t.Context(), "example.com")
		require.NoError(t, err)
		require.Equal(t, "2", r.ID)
		require.Equal(t, 5*time.Second, time.Since(start))
	})
}

func TestLeaseFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, s := fleet()
		s.fails = errors.New("no lease server")
		require.Equal(t, SourceFresh, w.lookup(t).Source)
		require.Contains(t, w.events(), EventStoreError)
	})
}

// A store that hangs when it takes a lease back keeps no delivery waiting, causes no
// second GET anywhere, and is not taken for another process that holds the lease.
func TestLeaseIsGivenBackAfterTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, v, s := fleet()
		s.hangs = 2 * time.Second
		start := time.Now()
		require.Equal(t, SourceFresh, w.lookup(t).Source)
		require.Equal(t, SourceCached, w.lookup(t).Source)
		require.Equal(t, SourceCached, v.lookup(t).Source)
		require.Zero(t, time.Since(start), "nobody waits for the release")
		require.True(t, s.held())
		require.EqualValues(t, 1, w.gets.Load()+v.gets.Load())
		require.Equal(t, 1, w.dns.count("example.com"))

		// Another flight of the same process does: the lease is its own.
		w.dns.set("example.com", "v=STSv1; id=2;")
		time.Sleep(time.Second)
		require.NoError(t, w.Forget(t.Context(), "example.com", ScopeAll))
		start = time.Now()
		require.Equal(t, "2", w.lookup(t).ID)
		require.Equal(t, time.Second, time.Since(start), "until the first lease is given back, and no longer")
		require.True(t, s.held(), "the second one")

		// So does the planner, and a round ends when nothing is under way any more.
		time.Sleep(24 * time.Hour)
		start = time.Now()
		_, err := w.Refresh(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2*time.Second, time.Since(start))
		require.False(t, s.held())
		require.EqualValues(t, 3, w.gets.Load())
		require.Empty(t, w.start().releases)

		// A release that never ends keeps no later flight from asking.
		s.hangs = time.Hour
		time.Sleep(time.Minute)
		_, _, err = w.Recheck(t.Context(), "example.com")
		require.NoError(t, err)
		time.Sleep(time.Minute)
		start = time.Now()
		_, _, err = w.Recheck(t.Context(), "example.com")
		require.NoError(t, err)
		require.Equal(t, storeTimeout+5*time.Second, time.Since(start), "then it is as if another held the lease")
		require.Equal(t, 5, w.dns.count("example.com"))
		time.Sleep(time.Hour) // it ends after all
	})
}
