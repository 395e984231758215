package certs

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The clock of a machine is wrong at its start and set right later. What was told
// under the wrong time keeps nothing from being told under the right one.
func TestExpiryAfterClockWasWrong(t *testing.T) {
	for _, tc := range []struct {
		why   string
		wrong time.Duration
	}{
		{"the wrong time is near the end", 89 * day},
		{"the wrong time is behind the end", 100 * day},
	} {
		clock := newStoreClock()
		s := openStore(t, StoreOptions{Now: clock.Now})
		created(t, s, "a.example") // for 90 days
		clock.advance(75*day + 12*time.Hour)
		right := clock.Now()
		clock.advance(tc.wrong - 75*day)
		check := func(want ...EventKind) {
			t.Helper()
			events, err := s.CheckExpiry()
			require.NoError(t, err)
			var kinds []EventKind
			for _, e := range events {
				kinds = append(kinds, e.Kind)
			}
			require.Equal(t, want, kinds, tc.why)
		}
		_, err := s.CheckExpiry()
		require.NoError(t, err)
		clock.advance(right.Sub(clock.Now()))
		_, err = s.CheckExpiry() // 14 days are near
		require.NoError(t, err)
		clock.advance(8 * day)
		check(EventExpiring) // 7 days
		clock.advance(4 * day)
		check(EventExpiring) // 3 days
		clock.advance(2 * day)
		check(EventExpiring) // 1 day
		clock.advance(2 * day)
		check(EventExpired)
		clock.advance(-time.Hour)
		check()
		clock.advance(25 * time.Hour)
		check(EventExpired)
	}
}
