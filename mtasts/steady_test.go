package mtasts

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSteady holds what lookups are told without being worked out against what is
// worked out, at random times and at the ends of the span.
func TestSteady(t *testing.T) {
	m := machine{Limits: Limits{}.withDefaults()}
	random := rand.New(rand.NewPCG(1, 2))
	around := func() time.Time {
		if random.IntN(8) == 0 {
			return time.Time{}
		}
		// Often the same, and often at a limit's distance from another.
		return epoch.Add(time.Duration(random.IntN(6)) * m.RecordInterval).Add(time.Duration(random.IntN(3)-1) * time.Nanosecond)
	}
	spans := 0
	for range 20000 {
		e := entry{Domain: "example.com", FetchedAt: around(), Expires: around(), SeenAt: around(), NextCheck: around(), SeenID: "1", AppliedID: "1"}
		if random.IntN(3) > 0 {
			e.Policy = &Policy{Mode: PolicyMode(1 + random.IntN(3))}
		}
		if random.IntN(2) == 0 {
			e.Check = failure{Outcome: OutcomeNoRecord, Reason: "record-absent"}
		}
		if random.IntN(4) == 0 {
			e.SeenID = "2"
		}
		told, during := m.steady(&e)
		if during.until <= during.from {
			continue
		}
		spans++
		for _, nanos := range []int64{during.from, during.until - 1, during.from + random.Int64N(during.until-during.from)} {
			require.True(t, during.has(nanos))
			now := time.Unix(0, nanos)
			require.Equal(t, needNothing, m.asks(&e, now), "%+v", e)
			require.Equal(t, m.result(&e, now), told, "%+v", e)
		}
		require.False(t, during.has(during.from-1))
		require.False(t, during.has(during.until))
	}
	require.Greater(t, spans, 500, "some entries are steady for a while")
}

func TestSteadyFarTimes(t *testing.T) {
	m := machine{Limits: Limits{}.withDefaults()}
	absent := failure{Outcome: OutcomeNoRecord}
	for _, tc := range []struct {
		why         string
		seen, check time.Time
	}{
		{"before Unix nanoseconds", time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC), epoch},
		{"after them", epoch, time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		_, during := m.steady(&entry{SeenAt: tc.seen, NextCheck: tc.check, Check: absent})
		require.Zero(t, during, tc.why)
	}
}
