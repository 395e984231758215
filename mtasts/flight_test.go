package mtasts

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestManyFirstLookupsAreOneDiscovery(t *testing.T) {
	w := newWorld()
	w.block = make(chan struct{})
	const callers = 10000
	var ready, all sync.WaitGroup
	ready.Add(callers)
	results := make([]Result, callers)
	for i := range callers {
		all.Go(func() {
			ready.Done()
			results[i], _ = w.Lookup(context.Background(), "example.com")
		})
	}
	ready.Wait()
	close(w.block)
	all.Wait()
	for i := range results {
		require.Equal(t, OutcomeEnforce, results[i].Outcome)
	}
	require.EqualValues(t, 1, w.gets.Load())
	require.Equal(t, 1, w.dns.count("example.com"))
}

// TestCallerWhoGivesUp: an ended ctx is an error and never "no policy"; the flight
// goes on for the next call.
func TestCallerWhoGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.block = make(chan struct{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, err := w.Lookup(ctx, "example.com")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, OutcomeUnknown, r.Outcome)
		require.Nil(t, r.Policy)
		require.NotErrorIs(t, err, ErrNoRecord)
		_, err = w.Lookup(ctx, "example.com")
		require.Error(t, err, "ended before the call")
		close(w.block)
		synctest.Wait()
		require.Equal(t, SourceCached, w.lookup(t).Source)
		require.EqualValues(t, 1, w.gets.Load())
		require.Equal(t, OutcomeEnforce, func() Outcome { r, _ := w.Lookup(ctx, "example.com"); return r.Outcome }(), "the cache needs no ctx")
	})
}

func TestFlightHasItsOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.block = make(chan struct{})
		defer close(w.block)
		start := time.Now()
		r := w.lookup(t)
		require.Equal(t, OutcomeFetchError, r.Outcome)
		require.Equal(t, ReasonTimeout, r.Reason)
		require.Equal(t, 20*time.Second, time.Since(start), "no header in 20 s")
	})
}

type slowDNS struct{ *fakeDNS }

func (slowDNS) LookupTXT(ctx context.Context, _ string) ([]string, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestQueryTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.Resolver = slowDNS{w.dns}
		start := time.Now()
		r := w.lookup(t)
		require.Equal(t, OutcomeDNSError, r.Outcome)
		require.Equal(t, 10*time.Second, time.Since(start))
	})
}

func TestMaxFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.Limits.MaxFlights = 2
		w.lookup(t)
		w.block = make(chan struct{})
		var waiting sync.WaitGroup
		for i := range 2 {
			domain := fmt.Sprintf("d%d.example", i)
			w.dns.set(domain, "v=STSv1; id=1;")
			waiting.Go(func() { _, _ = w.Lookup(t.Context(), domain) })
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w.dns.set("third.example", "v=STSv1; id=1;")
		r, err := w.Lookup(ctx, "third.example")
		require.ErrorIs(t, err, context.DeadlineExceeded, "no place")
		require.Equal(t, OutcomeUnknown, r.Outcome)
		require.Zero(t, w.dns.count("third.example"), "nobody waits for it any more")
		require.Empty(t, w.start().flights["third.example"])

		w.clock.add(11 * time.Minute)
		require.Equal(t, OutcomeEnforce, w.lookup(t).Outcome, "what is held serves")
		require.Equal(t, 1, w.dns.count("example.com"), "its check waits for the next lookup")

		var third Result
		waiting.Go(func() { third, _ = w.Lookup(t.Context(), "third.example") })
		synctest.Wait()
		close(w.block)
		waiting.Wait()
		require.Equal(t, OutcomeEnforce, third.Outcome)
		w.lookup(t)
		synctest.Wait()
		require.Equal(t, 2, w.dns.count("example.com"))
	})
}

type panicDNS struct{}

func (panicDNS) LookupTXT(context.Context, string) ([]string, error) { panic("boom") }

func TestPanicIsAnError(t *testing.T) {
	w := newWorld()
	w.Resolver = panicDNS{}
	r := w.lookup(t)
	require.Equal(t, OutcomeDNSError, r.Outcome)
	require.ErrorContains(t, r.Err, "boom")
	w = newWorld()
	w.Fetch.Transport = roundTrip(func(*http.Request) (*http.Response, error) { panic("boom") })
	r = w.lookup(t)
	require.Equal(t, OutcomeFetchError, r.Outcome)
	require.ErrorContains(t, r.Err, "boom")
}

func TestForgetWaitsForFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.block = make(chan struct{})
		var waiting sync.WaitGroup
		waiting.Go(func() { w.lookup(t) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, w.Forget(ctx, "example.com", ScopeAll), context.DeadlineExceeded)
		waiting.Go(func() { require.NoError(t, w.Forget(t.Context(), "example.com", ScopeAll)) })
		synctest.Wait()
		close(w.block)
		waiting.Wait()
		require.Nil(t, w.start().cache.get("example.com", epoch))
	})
}
