package mtasts

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPlan(t *testing.T) {
	const day = 24 * time.Hour
	at := func(name string, age, life time.Duration) EntryInfo {
		return EntryInfo{Domain: name, FetchedAt: epoch.Add(-age), Expires: epoch.Add(life - age), LastUsed: epoch.Add(-time.Hour)}
	}
	unused := at("unused.example", 5*day, 100*day)
	unused.LastUsed = epoch.Add(-30 * day)
	usedOnce := at("used-once.example", 5*day, 100*day)
	usedOnce.LastUsed = epoch.Add(-30*day + 1)
	backedOff := at("backed-off.example", 5*day, 100*day)
	backedOff.NotBefore = epoch.Add(time.Hour)
	tooLate := at("too-late.example", day, day+time.Minute)
	tooLate.NotBefore = epoch.Add(time.Hour)
	for _, tc := range []struct {
		why     string
		entries []EntryInfo
		jobs    []string
		next    time.Time
	}{
		{"nothing", nil, nil, time.Time{}},
		{"a day old", []EntryInfo{at("a.example", day, 7*day)}, []string{"a.example"}, time.Time{}},
		{"half of its life", []EntryInfo{at("a.example", time.Hour, 2*time.Hour)}, []string{"a.example"}, time.Time{}},
		{"expired", []EntryInfo{at("a.example", day, day)}, nil, time.Time{}},
		{"unused for thirty days", []EntryInfo{unused}, nil, time.Time{}},
		{"unused for a little less", []EntryInfo{usedOnce}, []string{"used-once.example"}, time.Time{}},
		{"backed off", []EntryInfo{backedOff}, nil, epoch.Add(time.Hour)},
		{"backed off beyond its end", []EntryInfo{tooLate}, nil, time.Time{}},
		{"least left first", []EntryInfo{at("b.example", day, 7*day), at("c.example", day, 7*day), at("a.example", 6*day, 7*day)}, []string{"a.example", "b.example", "c.example"}, time.Time{}},
	} {
		jobs, next := Plan(epoch, slices.Values(tc.entries), PlanLimits{})
		var names []string
		for _, job := range jobs {
			names = append(names, job.Domain)
			require.False(t, job.Due.After(epoch), tc.why)
		}
		require.Equal(t, tc.jobs, names, tc.why)
		require.Equal(t, tc.next, next, tc.why)
	}
	jobs, _ := Plan(epoch, slices.Values([]EntryInfo{at("a.example", 3*time.Hour, 4*time.Hour)}), PlanLimits{})
	require.InDelta(t, 0.25, jobs[0].Left, 1e-9)
}

// TestPlanSpreads: due between three quarters of the interval and all of it, the
// same in every run, and not all at once.
func TestPlanSpreads(t *testing.T) {
	quarters := [4]int{}
	for i := range 4000 {
		e := EntryInfo{Domain: fmt.Sprintf("d%d.example", i), FetchedAt: epoch, Expires: epoch.Add(7 * 24 * time.Hour), LastUsed: epoch}
		_, next := Plan(epoch, slices.Values([]EntryInfo{e}), PlanLimits{})
		_, again := Plan(epoch.Add(time.Hour), slices.Values([]EntryInfo{e}), PlanLimits{})
		require.Equal(t, next, again)
		age := next.Sub(epoch)
		require.Greater(t, age, 18*time.Hour-1)
		require.LessOrEqual(t, age, 24*time.Hour)
		quarters[min(3, int((age-18*time.Hour)/(90*time.Minute)))]++
		jobs, _ := Plan(next, slices.Values([]EntryInfo{e}), PlanLimits{})
		require.Len(t, jobs, 1)
		jobs, _ = Plan(next.Add(-1), slices.Values([]EntryInfo{e}), PlanLimits{})
		require.Empty(t, jobs)
	}
	for _, n := range quarters {
		require.InDelta(t, 1000, n, 150)
	}
}

func manyInfos(n int) []EntryInfo {
	infos := make([]EntryInfo, n)
	for i := range infos {
		infos[i] = EntryInfo{Domain: fmt.Sprintf("d%d.example", i), FetchedAt: epoch, Expires: epoch.Add(7 * 24 * time.Hour), LastUsed: epoch}
	}
	return infos
}

func TestAllocsOfPlan(t *testing.T) {
	allocs := func(n int) float64 {
		entries := slices.Values(manyInfos(n))
		return testing.AllocsPerRun(10, func() { Plan(epoch, entries, PlanLimits{}) })
	}
	require.Equal(t, allocs(1), allocs(1000), "nothing for an entry that is not due")
}

func BenchmarkPlan(b *testing.B) {
	entries := slices.Values(manyInfos(100000))
	b.ReportAllocs()
	for b.Loop() {
		Plan(epoch, entries, PlanLimits{})
	}
}
