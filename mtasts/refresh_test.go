package mtasts

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRefreshBeforeADelivery(t *testing.T) {
	w := newWorld()
	first := w.lookup(t)
	next, err := w.Refresh(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, w.gets.Load(), "not due")
	age := next.Sub(first.FetchedAt)
	require.Greater(t, age, 18*time.Hour-1)
	require.LessOrEqual(t, age, 24*time.Hour)
	w.clock.add(age)
	_, err = w.Refresh(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, w.gets.Load())
	r := w.lookup(t)
	require.Equal(t, SourceCached, r.Source)
	require.Equal(t, w.clock.Now(), r.FetchedAt)
}

// A forged absence or a DNS outage does not keep the planner from refreshing.
func TestRefreshWithoutRecord(t *testing.T) {
	w := newWorld()
	w.lookup(t)
	w.dns.set("example.com")
	w.clock.add(24 * time.Hour)
	_, err := w.Refresh(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, w.gets.Load())
	r := w.lookup(t)
	require.Equal(t, "1", r.ID)
	require.Equal(t, w.clock.Now().Add(604800*time.Second), r.Expires)
	require.Equal(t, SourceStale, r.Source)
}

func TestRefreshFailure(t *testing.T) {
	w := newWorld()
	w.lookup(t)
	w.setBody("")
	w.clock.add(24 * time.Hour)
	next, err := w.Refresh(t.Context())
	require.NoError(t, err)
	require.Contains(t, w.events(), EventRefreshFailed)
	require.Zero(t, next, "known at the next round")
	next, err = w.Refresh(t.Context())
	require.NoError(t, err)
	require.Equal(t, w.clock.Now().Add(5*time.Minute), next, "the back-off holds for the planner too")
	require.EqualValues(t, 2, w.gets.Load())
}

func TestRefreshLetsUnusedDomainsLapse(t *testing.T) {
	w := newWorld()
	w.setBody("version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 31557600\n")
	w.lookup(t)
	for range 40 {
		w.clock.add(24 * time.Hour)
		_, err := w.Refresh(t.Context())
		require.NoError(t, err)
	}
	require.EqualValues(t, 1+29, w.gets.Load(), "thirty days after the last lookup no more")
}

func TestRefreshOfWhatOnlyTheStoreHas(t *testing.T) {
	w := newWorld()
	w.Store = newStore()
	w.lookup(t)
	v := w.second()
	w.clock.add(24 * time.Hour)
	_, err := v.Refresh(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, v.gets.Load())
	_, err = w.Refresh(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, w.gets.Load(), "the other process has done it")
	require.Equal(t, w.clock.Now(), w.lookup(t).FetchedAt)
	down := errors.New("down")
	w.Store.(*textStore).fail(down)
	_, err = w.Refresh(t.Context())
	require.ErrorIs(t, err, down)
	require.Contains(t, w.events(), EventStoreError)
}

// TestRefreshPaces: one GET a second at one address, one at once, eight in all.
func TestRefreshPaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := newDNS()
		var mu sync.Mutex
		starts := map[string][]time.Time{}
		running, most, runningAt := 0, 0, map[string]int{}
		c := &Client{Resolver: dns, Fetch: FetchConfig{DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
			mu.Lock()
			starts[address] = append(starts[address], time.Now())
			running++
			runningAt[address]++
			most = max(most, running)
			if runningAt[address] > 1 {
				t.Errorf("two at once at %s", address)
			}
			mu.Unlock()
			time.Sleep(500 * time.Millisecond) // the time that a GET takes
			mu.Lock()
			running--
			runningAt[address]--
			mu.Unlock()
			return nil, errors.New("refused")
		}}}
		g, now := c.start(), time.Now()
		add := func(domain, addr string) {
			dns.set(domain, "v=STSv1; id=1;")
			dns.addrs["mta-sts."+domain+"."] = []netip.Addr{netip.MustParseAddr(addr)}
			e, _, _ := g.observeRecord(entry{Domain: domain}, now, seenID("1"))
			e, _ = g.observePolicy(e, fetched("1", now, enforcePolicy(7*24*time.Hour)))
			g.store(&e, now, delivery)
		}
		for i := range 70 {
			add(fmt.Sprintf("shared%d.example", i), "8.8.8.8")
		}
		for i := range 30 {
			add(fmt.Sprintf("own%d.example", i), fmt.Sprintf("9.9.9.%d", i))
		}
		time.Sleep(25 * time.Hour)
		next, err := c.Refresh(t.Context())
		require.NoError(t, err)
		require.Equal(t, refreshWorkers, most)
		shared := starts["8.8.8.8:443"]
		require.Len(t, shared, addressRound)
		for i := range shared[1:] {
			require.GreaterOrEqual(t, shared[i+1].Sub(shared[i]), time.Second)
		}
		require.Len(t, starts, 31)
		require.False(t, next.After(time.Now()), "ten are left")
		_, err = c.Refresh(t.Context())
		require.NoError(t, err)
		shared = starts["8.8.8.8:443"]
		require.Len(t, shared, 70)
		require.GreaterOrEqual(t, shared[60].Sub(shared[59]), time.Second, "over the end of a round")
	})
}

// TestRun lives a month: a policy is kept fresh without a lookup, and nothing is
// left running when Run has ended, which the bubble checks.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.Clock = nil
		ctx, cancel := context.WithCancel(t.Context())
		r := w.lookup(t)
		ended := make(chan error)
		go func() { ended <- w.Run(ctx) }()
		time.Sleep(20 * 24 * time.Hour)
		synctest.Wait()
		require.True(t, w.lookup(t).FetchedAt.After(r.FetchedAt.Add(19*24*time.Hour)))
		gets := w.gets.Load()
		require.GreaterOrEqual(t, gets, int64(20))
		require.LessOrEqual(t, gets, int64(28))
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
	})
}

// TestRunGivenUp: a refresh that is cut off by the end of Run is no failed GET.
func TestRunGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.Clock = nil
		w.lookup(t)
		w.block = make(chan struct{})
		time.Sleep(24 * time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.Run(ctx) }()
		synctest.Wait()
		require.EqualValues(t, 2, w.gets.Load(), "under way")
		// A recheck meanwhile does not take the answer that never comes.
		var again Result
		var rechecked sync.WaitGroup
		rechecked.Go(func() { again, _, _ = w.Recheck(t.Context(), "example.com") })
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		close(w.block)
		rechecked.Wait()
		require.Equal(t, OutcomeEnforce, again.Outcome)
		require.Empty(t, w.start().cache.peek("example.com").Backoff)
		_, err := w.Refresh(ctx)
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestPolicyAddress(t *testing.T) {
	w := newWorld()
	require.False(t, w.start().policyAddress(t.Context(), "example.com").IsValid(), "a Transport of the caller's connects as it likes")
	dns := newDNS()
	dns.addrs["mta-sts.example.com."] = []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("::ffff:8.8.8.8")}
	c := &Client{Resolver: dns}
	require.Equal(t, netip.MustParseAddr("8.8.8.8"), c.start().policyAddress(t.Context(), "example.com"))
	require.False(t, c.start().policyAddress(t.Context(), "unknown.example").IsValid())
	c = &Client{Resolver: panicResolver{}}
	require.False(t, c.start().policyAddress(t.Context(), "example.com").IsValid())
}

type panicResolver struct{ panicDNS }

func (panicResolver) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	panic("boom")
}

func TestRefreshJoinsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.Clock = nil
		w.lookup(t)
		time.Sleep(25 * time.Hour)
		w.block = make(chan struct{})
		w.lookup(t) // the check that a delivery starts does the refresh
		synctest.Wait()
		_, err := w.Refresh(t.Context())
		require.NoError(t, err)
		close(w.block)
		synctest.Wait()
		require.EqualValues(t, 2, w.gets.Load())
	})
}
