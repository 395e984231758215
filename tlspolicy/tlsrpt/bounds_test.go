package tlsrpt

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFlushEnded: a flush that was not allowed to write does not look like one that
// had nothing to write.
func TestFlushEnded(t *testing.T) {
	store := new(Memory)
	a := newAggregator(t, store, AggregatorOptions{})
	a.Collect(session("r.example", PolicyResult{Policy: NewNoPolicy("r.example")}))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, a.Flush(ended), context.Canceled)
	require.NoError(t, a.Flush(t.Context()))
	require.Equal(t, []string{"r.example"}, domains(t, store, "2026-03-01"))
}

// hanging is a store that answers nothing until the patience of its client ends.
type hanging struct {
	Memory
	patience time.Duration
	calls    int
	refuse   string // a domain that is never taken
}

func (h *hanging) Save(ctx context.Context, list []*Snapshot) error {
	h.calls++
	if h.patience > 0 {
		time.Sleep(h.patience)
		return context.DeadlineExceeded
	}
	for _, s := range list {
		if s.Domain == h.refuse {
			return fmt.Errorf("%s is not taken", s.Domain)
		}
	}
	return h.Memory.Save(ctx, list)
}

// TestStoreHangs: a store that lets every call wait does not hold up the day for as
// long as there are shards, and one domain that it refuses costs those of other
// shards nothing.
func TestStoreHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &hanging{patience: 20 * time.Second}
		a := newAggregator(t, store, AggregatorOptions{Now: time.Now})
		const count = 3000
		for i := range count {
			name := fmt.Sprintf("r%d.example", i)
			a.Collect(session(name, PolicyResult{Policy: NewNoPolicy(name)}))
		}
		start := time.Now()
		require.ErrorIs(t, a.Flush(t.Context()), context.DeadlineExceeded)
		require.LessOrEqual(t, time.Since(start), 5*time.Minute)
		store.patience, store.refuse = 0, "r7.example"
		require.ErrorContains(t, a.Flush(t.Context()), "r7.example is not taken")
		n := 0
		for range store.Domains(t.Context(), DayOf(start)) {
			n++
		}
		require.Greater(t, n, count-100)
		store.refuse = ""
		require.NoError(t, a.Flush(t.Context()))
	})
}

// TestTimeIsNow: a session without a time is of the day that the clock says, not of
// the day of the last flush.
func TestTimeIsNow(t *testing.T) {
	store, c := new(Memory), newClock("2026-03-01T23:59:50Z")
	a := newAggregator(t, store, AggregatorOptions{Now: c.Now})
	c.set("2026-03-02T00:00:10Z")
	a.Collect(session("r.example", PolicyResult{Policy: NewNoPolicy("r.example")}))
	require.NoError(t, a.Flush(t.Context()))
	require.Empty(t, domains(t, store, "2026-03-01"))
	require.Equal(t, []string{"r.example"}, domains(t, store, "2026-03-02"))
}

// TestSnapshotFits: whatever policies and failures strangers make, a snapshot can be
// written: one that could not would keep those of other domains out of the store.
func TestSnapshotFits(t *testing.T) {
	store := new(Memory)
	a := newAggregator(t, store, AggregatorOptions{})
	for why, line := range map[string]string{"html": strings.Repeat("<", 1000), "control": strings.Repeat("\x01", 1000), "short": "\x01", "plain": "x"} {
		name := why + ".example"
		for i := range 2 * maxPolicies {
			served := fmt.Sprintf("id: %d\n", i) + strings.Repeat(line+"\n", maxPolicyText/(len(line)+1))
			patterns := slicesRepeat(strings.Repeat("\x02", 1000), 64)
			s := session(name, PolicyResult{Policy: NewSTSPolicy(name, []byte(served), patterns), Result: ValidationFailure})
			for n := range 20 {
				s.Helo, s.MXHost = strings.Repeat("<", 200)+fmt.Sprint(i, n), strings.Repeat("&", 255)
				s.Policies[0].Info = strings.Repeat(">", 255)
				a.Collect(s)
			}
		}
	}
	require.NoError(t, a.Flush(t.Context()))
	for _, name := range domains(t, store, "2026-03-01") {
		tally := load(t, store, "2026-03-01", name)
		for _, s := range tally.Snapshots() {
			_, err := s.MarshalText()
			require.NoError(t, err, name)
		}
		_, failures := (&Report{Policies: tally.Policies()}).Totals()
		require.Equal(t, uint64(2*maxPolicies*20), failures, name)
	}
}

// TestPolicyMemoryOfLines: a policy of many short lines is charged what it takes, not
// its octets alone.
func TestPolicyMemoryOfLines(t *testing.T) {
	a := newAggregator(t, new(Memory), AggregatorOptions{})
	const lines = 20000
	policy := NewSTSPolicy("r.example", []byte(strings.Repeat("xy\n", lines)), nil)
	a.Collect(session("r.example", PolicyResult{Policy: policy}))
	require.GreaterOrEqual(t, a.day(day("2026-03-01")).policyMemory.Load(), int64(lines*(16+2)), "a header each")
}

// TestDetailMemory: when a day has enough failure details, a domain keeps a few of
// its own and the rest is folded; the sums stay right.
func TestDetailMemory(t *testing.T) {
	store := new(Memory)
	a := newAggregator(t, store, AggregatorOptions{})
	info := a.day(day("2026-03-01"))
	heap()
	before := heap()
	feed := func(name string) {
		for i := range 100 {
			s := session(name, PolicyResult{Policy: NewNoPolicy(name), Result: ValidationFailure})
			s.Helo = fmt.Sprintf("%s-%d", strings.Repeat("h", 200), i)
			a.Collect(s)
		}
	}
	for i := range 50 {
		feed(fmt.Sprintf("r%d.example", i))
	}
	require.GreaterOrEqual(t, info.detailMemory.Load(), (heap()-before)*9/10, "what is charged is what is taken")
	require.Less(t, info.detailMemory.Load(), int64(50*100*2000))
	info.detailMemory.Store(maxDetailMemory)
	feed("late.example")
	require.NoError(t, a.Flush(t.Context()))
	late := load(t, store, "2026-03-01", "late.example").Policies()[0]
	require.Equal(t, uint64(100), late.DetailSum())
	require.Len(t, late.Details, sureDetails+1)
	require.Len(t, load(t, store, "2026-03-01", "r3.example").Policies()[0].Details, 100)
}
