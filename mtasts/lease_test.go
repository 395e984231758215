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
	return func() { s.mu.Lock(); defer s.mu.Unlock(); delete(s.taken, domain) }, true, nil
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
		require.Empty(t, s.taken, "given back")
		// A check of a held policy: who has no lease serves what is held.
		time.Sleep(11 * time.Minute)
		s.taken["example.com"] = true
		v.lookup(t)
		synctest.Wait()
		require.Equal(t, OutcomeEnforce, v.lookup(t).Outcome)
		require.Equal(t, 1, w.dns.count("example.com"))
		delete(s.taken, "example.com")
		time.Sleep(5 * time.Second)
		v.lookup(t)
		synctest.Wait()
		require.Equal(t, 2, w.dns.count("example.com"), "then it tries again")
		// The planner, too.
		time.Sleep(24 * time.Hour)
		s.taken["example.com"] = true
		_, err := v.Refresh(t.Context())
		require.NoError(t, err)
		require.Zero(t, v.gets.Load())
		delete(s.taken, "example.com")
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
		s.taken["example.com"] = true // by a process that died
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
