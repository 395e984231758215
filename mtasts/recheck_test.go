package mtasts

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRecheck(t *testing.T) {
	w := newWorld()
	// Nothing known: as a lookup.
	r, changed, err := w.Recheck(t.Context(), "example.com")
	require.NoError(t, err)
	require.True(t, changed, "a policy more")
	require.Equal(t, OutcomeEnforce, r.Outcome)
	w.events()
	// At most once a minute.
	w.dns.set("example.com", "v=STSv1; id=2;")
	w.setBody("version: STSv1\nmode: enforce\nmx: new.example.net\nmax_age: 604800\n")
	w.clock.add(59 * time.Second)
	r, changed, err = w.Recheck(t.Context(), "example.com")
	require.NoError(t, err)
	require.False(t, changed)
	require.Equal(t, "1", r.ID)
	require.Equal(t, 1, w.dns.count("example.com"))
	// Then at once, though the interval has not passed.
	w.clock.add(time.Second)
	r, changed, err = w.Recheck(t.Context(), "example.com")
	require.NoError(t, err)
	require.True(t, changed)
	require.Equal(t, "2", r.ID)
	require.True(t, r.Match("new.example.net"))
	require.Contains(t, w.events(), EventRecheckChanged)
	// Same id: no GET, nothing changed.
	w.clock.add(time.Minute)
	_, changed, err = w.Recheck(t.Context(), "example.com")
	require.NoError(t, err)
	require.False(t, changed)
	require.EqualValues(t, 2, w.gets.Load())
	// A failing GET changes nothing, and is backed off.
	w.clock.add(time.Minute)
	w.dns.set("example.com", "v=STSv1; id=3;")
	w.setBody("")
	for range 3 {
		r, changed, err = w.Recheck(t.Context(), "example.com")
		require.NoError(t, err)
		require.False(t, changed)
		require.Equal(t, OutcomeEnforce, r.Outcome)
		require.Equal(t, SourceStale, r.Source)
		w.clock.add(time.Minute)
	}
	require.EqualValues(t, 3, w.gets.Load())
}

func TestRecheckIgnoresNegativeEntries(t *testing.T) {
	w := newWorld()
	w.dns.set("example.com")
	require.Equal(t, OutcomeNoRecord, w.lookup(t).Outcome)
	w.clock.add(time.Minute)
	w.dns.set("example.com", "v=STSv1; id=1;")
	require.Equal(t, OutcomeNoRecord, w.lookup(t).Outcome)
	r, changed, err := w.Recheck(t.Context(), "example.com")
	require.NoError(t, err)
	require.True(t, changed)
	require.Equal(t, OutcomeEnforce, r.Outcome)
}

func TestRecheckThatIsGivenUp(t *testing.T) {
	w := newWorld()
	w.lookup(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, changed, err := w.Recheck(ctx, "example.com")
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, changed)
	require.Equal(t, OutcomeEnforce, r.Outcome, "what the cache has")
}

// TestRecheckDoesNotTakeAnOldAnswer: a flight that found nothing to do is not an
// answer for Recheck.
func TestRecheckJoinsBackgroundCheck(t *testing.T) {
	w := newWorld()
	w.lookup(t)
	w.clock.add(11 * time.Minute)
	w.dns.set("example.com", "v=STSv1; id=2;")
	w.mu.Lock()
	w.block = make(chan struct{})
	w.mu.Unlock()
	w.lookup(t) // starts the check
	w.mu.Lock()
	close(w.block)
	w.mu.Unlock()
	r, _, err := w.Recheck(t.Context(), "example.com")
	require.NoError(t, err)
	require.Equal(t, "2", r.ID)
	require.Equal(t, 2, w.dns.count("example.com"), "one more query for both")
}

func TestForget(t *testing.T) {
	w := newWorld()
	w.setBody("")
	w.lookup(t)
	w.setBody(goodBody)
	require.NoError(t, w.Forget(t.Context(), "example.com", ScopeNegative))
	require.Equal(t, OutcomeBackoff, w.lookup(t).Outcome, "a back-off is no negative entry")
	require.NoError(t, w.Forget(t.Context(), "example.com", ScopeBackoff))
	require.Equal(t, OutcomeEnforce, w.lookup(t).Outcome)
	require.NoError(t, w.Forget(t.Context(), "example.com", ScopeBackoff))
	require.NoError(t, w.Forget(t.Context(), "example.com", ScopeNegative))
	require.Equal(t, SourceCached, w.lookup(t).Source, "a policy is neither")
	require.NoError(t, w.Forget(t.Context(), "example.com", ScopeAll))
	w.dns.set("example.com")
	require.Equal(t, OutcomeNoRecord, w.lookup(t).Outcome)
	w.dns.set("example.com", "v=STSv1; id=1;")
	require.NoError(t, w.Forget(t.Context(), "example.com", ScopeNegative))
	require.Equal(t, OutcomeEnforce, w.lookup(t).Outcome)
	require.NoError(t, w.Forget(t.Context(), "unknown.example", ScopeBackoff))
}
