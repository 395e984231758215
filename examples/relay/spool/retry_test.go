//go:build unix

package spool

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRetryNext(t *testing.T) {
	received := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	for _, test := range []struct {
		why      string
		r        Retry
		age      time.Duration
		attempts int
		random   float64
		want     time.Duration // after now
		ok       bool
	}{
		{"first wait", Retry{}, 0, 1, 0.5, 30 * time.Minute, true},
		{"a tenth shorter", Retry{}, 0, 1, 0, 27 * time.Minute, true},
		{"a tenth longer", Retry{}, 0, 1, 1, 33 * time.Minute, true},
		{"doubled", Retry{}, time.Hour, 2, 0.5, time.Hour, true},
		{"doubled again", Retry{}, time.Hour, 3, 0.5, 2 * time.Hour, true},
		{"the longest", Retry{}, time.Hour, 4, 0.5, 3 * time.Hour, true},
		{"still the longest", Retry{}, time.Hour, math.MaxInt, 0.5, 3 * time.Hour, true},
		{"no attempt counted", Retry{}, 0, 0, 0.5, 30 * time.Minute, true},
		{"negative attempts", Retry{}, 0, math.MinInt, 0.5, 30 * time.Minute, true},
		{"the last attempt is at the end", Retry{}, 5*day - time.Minute, 9, 0.5, time.Minute, true},
		{"the end", Retry{}, 5 * day, 9, 0.5, 0, false},
		{"past the end", Retry{}, 50 * day, 1, 0.5, 0, false},
		{"clock went back behind the receipt", Retry{}, -50 * day, 1, 0.5, 30 * time.Minute, true},
		{"own values", Retry{First: time.Second, Longest: 3 * time.Second, Lifetime: time.Minute}, 0, 3, 0.5, 3 * time.Second, true},
		{"first above longest", Retry{First: time.Hour, Longest: time.Minute}, 0, 1, 0.5, time.Minute, true},
		{"random that is none", Retry{}, 0, 1, math.NaN(), 30 * time.Minute, true},
		{"random too large", Retry{}, 0, 1, 1e300, 30 * time.Minute, true},
		{"durations at the limit", Retry{First: math.MaxInt64, Longest: math.MaxInt64, Lifetime: math.MaxInt64}, 0, math.MaxInt, 1, century, true},
		{"shortest durations", Retry{First: 1, Longest: 1, Lifetime: math.MaxInt64}, 0, 1, 0, 1, true},
	} {
		now := received.Add(test.age)
		next, ok := test.r.Next(received, now, test.attempts, test.random)
		require.Equal(t, test.ok, ok, test.why)
		if ok {
			require.Equal(t, test.want, next.Sub(now), test.why)
		}
	}
}

// TestRetryLife plays whole lives of messages: time goes on with each attempt, no wait
// exceeds the longest, there is an attempt at the very end, and then none.
func TestRetryLife(t *testing.T) {
	received := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, r := range []Retry{{}, {First: time.Second}, {First: time.Hour, Longest: time.Hour, Lifetime: 2 * time.Hour}} {
		for _, random := range []float64{0, 0.3, 1} {
			now, attempts := received, 1
			for {
				next, ok := r.Next(received, now, attempts, random)
				if !ok {
					break
				}
				require.True(t, next.After(now))
				require.LessOrEqual(t, next.Sub(now), or(r.Longest, DefaultLongest)*11/10)
				now, attempts = next, attempts+1
				require.Less(t, attempts, 1000)
			}
			require.Equal(t, r.End(received, received), now)
		}
	}
}

func TestRetryDueAndLate(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	require.Equal(t, now.Add(time.Hour), Retry{}.Due(now.Add(time.Hour), now))
	require.Equal(t, now.Add(-time.Hour), Retry{}.Due(now.Add(-time.Hour), now))
	require.Equal(t, now.Add(198*time.Minute), Retry{}.Due(now.Add(20*365*24*time.Hour), now), "the clock was ahead then")

	require.False(t, Retry{}.Late(now, now.Add(DefaultDelayAfter-1)))
	require.True(t, Retry{}.Late(now, now.Add(DefaultDelayAfter)))
	require.False(t, Retry{Lifetime: time.Hour}.Late(now, now.Add(time.Hour)), "it bounces then")
	require.False(t, Retry{DelayAfter: century}.Late(now, now.Add(century)))
	require.False(t, Retry{}.Late(now, now.Add(-century)))
}
