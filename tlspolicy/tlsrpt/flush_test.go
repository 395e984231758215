package tlsrpt

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// silent is a resolver that does not answer.
type silent struct{}

func (silent) LookupTXT(ctx context.Context, _ string) ([]string, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestResolverAway: a resolver that does not answer keeps no counts from the store.
func TestResolverAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(Memory)
		a := newAggregator(t, store, AggregatorOptions{Resolver: silent{}, Now: time.Now})
		const count = 2000
		for i := range count {
			name := fmt.Sprintf("r%d.example", i)
			a.Collect(session(name, PolicyResult{Policy: NewNoPolicy(name)}))
		}
		start := time.Now()
		require.NoError(t, a.Flush(t.Context()))
		require.LessOrEqual(t, time.Since(start), lookupBudget)
		n := 0
		for _, err := range store.Domains(t.Context(), DayOf(start)) {
			require.NoError(t, err)
			n++
		}
		require.Equal(t, count, n)
	})
}

// TestPolicyMemory: when a day has enough policy text, further policies are counted
// without theirs, and what an unwanted domain had is free again.
func TestPolicyMemory(t *testing.T) {
	store := new(Memory)
	a := newAggregator(t, store, AggregatorOptions{Resolver: &dns{records: map[string][]string{"r.example": {"v=TLSRPTv1;rua=mailto:a@b.example"}}}})
	info := a.day(day("2026-03-01"))
	policy := func(name string) *PolicyInfo { return NewSTSPolicy(name, []byte("version: STSv1"), nil) }
	a.Collect(session("unwanted.example", PolicyResult{Policy: policy("unwanted.example")}))
	require.Equal(t, policy("unwanted.example").memory(), info.policyMemory.Load())
	require.NoError(t, a.Flush(t.Context()))
	require.Zero(t, info.policyMemory.Load())
	info.policyMemory.Store(maxPolicyMemory)
	for range 3 {
		a.Collect(session("r.example", PolicyResult{Policy: policy("r.example")}))
	}
	require.Equal(t, int64(maxPolicyMemory), info.policyMemory.Load())
	require.NoError(t, a.Flush(t.Context()))
	require.Equal(t, []PolicyReport{{Policy: PolicyInfo{PolicySTS, "r.example", []string{}, []string{}}, Successes: 3, Details: []FailureDetail{}}},
		load(t, store, "2026-03-01", "r.example").Policies())
}

// TestUnwantedOverflow: domains that want no reports are forgotten when there are
// too many to remember, and looked up again.
func TestUnwantedOverflow(t *testing.T) {
	resolver := new(dns)
	a := newAggregator(t, new(Memory), AggregatorOptions{Resolver: resolver})
	a.day(day("2026-03-01")).unwanted.Store(maxUnwanted)
	for range 2 {
		a.Collect(session("r.example", PolicyResult{Policy: NewNoPolicy("r.example")}))
		require.NoError(t, a.Flush(t.Context()))
	}
	require.Equal(t, 2, resolver.asked["r.example"])
	require.Equal(t, int64(maxUnwanted), a.day(day("2026-03-01")).unwanted.Load())
	require.Zero(t, a.day(day("2026-03-01")).domains.Load())
}
