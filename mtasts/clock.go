package mtasts

import "time"

// Clock is where all time of a Client comes from. Validity is a matter of wall
// clock time.
type Clock interface {
	Now() time.Time
	// NewTimer returns a channel that receives after d, and a function that
	// releases the timer.
	NewTimer(d time.Duration) (c <-chan time.Time, stop func())
}

type systemClock struct{}

// Now leaves out the monotonic reading: it stands still while the machine
// sleeps, and policies would outlive their end.
func (systemClock) Now() time.Time { return time.Now().Round(0) }

func (systemClock) NewTimer(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}
