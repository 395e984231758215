//go:build unix

package spool

import "time"

// Retry says when a message is tried again, when its sender is told that it is late,
// and when it is given up. It is a value without a clock; its methods are pure. The
// zero value has the defaults below.
type Retry struct {
	// First is the wait after the first attempt; it doubles with each further one.
	// 0: DefaultFirst.
	First time.Duration
	// Longest is the longest wait. 0: DefaultLongest.
	Longest time.Duration
	// Lifetime is how long after its receipt a message is tried. 0: DefaultLifetime.
	Lifetime time.Duration
	// DelayAfter is how long after the receipt the sender is told that a message
	// is late. 0: DefaultDelayAfter; from Lifetime on: never.
	DelayAfter time.Duration
}

// Defaults of a Retry. RFC 5321 section 4.5.4.1 speaks of 30 minutes, two attempts in
// the first hour, one every two or three hours later, and at least 4 to 5 days.
const (
	DefaultFirst      = 30 * time.Minute
	DefaultLongest    = 3 * time.Hour
	DefaultLifetime   = 5 * 24 * time.Hour
	DefaultDelayAfter = 4 * time.Hour
)

// spread is by how much of itself a wait is made longer or shorter, so that messages
// that failed together do not come back together.
const spread = 0.1

// century is the longest duration of a Retry: sums of some of them still fit.
const century = 100 * 365 * 24 * time.Hour

func or(d, preset time.Duration) time.Duration {
	if d <= 0 {
		return preset
	}
	return min(d, century)
}

// wait returns the wait after so many attempts, without spread.
func (r Retry) wait(attempts int) time.Duration {
	wait, longest := or(r.First, DefaultFirst), or(r.Longest, DefaultLongest)
	for i := 1; i < attempts && wait < longest; i++ {
		wait *= 2
	}
	return min(wait, longest)
}

// Next returns when a message is tried again after so many attempts, the last of
// which ended at now. Random is from 0 to 1, such as rand.Float64(), and moves the
// wait by up to a tenth down or up. The last attempt is made when the lifetime ends,
// so no wait is longer than what is left; after that ok is false: give up.
func (r Retry) Next(received, now time.Time, attempts int, random float64) (next time.Time, ok bool) {
	end := r.End(received, now)
	if !now.Before(end) {
		return time.Time{}, false
	}
	if !(random >= 0 && random <= 1) {
		random = 0.5
	}
	wait := r.wait(attempts)
	wait += time.Duration(float64(wait) * spread * (2*random - 1))
	next = now.Add(max(wait, 1))
	if next.After(end) {
		next = end
	}
	return next, true
}

// End returns when a message is given up. A clock that was ahead at its receipt makes
// it no older than now.
func (r Retry) End(received, now time.Time) time.Time {
	if received.After(now) {
		received = now
	}
	return received.Add(or(r.Lifetime, DefaultLifetime))
}

// Due returns when to make the attempt that was planned for next: then, but never
// later than the longest wait from now, in case that the clock was ahead when next
// was computed.
func (r Retry) Due(next, now time.Time) time.Time {
	longest := or(r.Longest, DefaultLongest)
	if latest := now.Add(longest + time.Duration(float64(longest)*spread)); next.After(latest) {
		return latest
	}
	return next
}

// Late reports whether the sender is to be told at now that a message is late. Whether
// he was told before is in [Recipient.DelayTold], and whether he wants to know in
// [Recipient.Notify] (RFC 3461 section 4.1).
func (r Retry) Late(received, now time.Time) bool {
	after := or(r.DelayAfter, DefaultDelayAfter)
	return after < or(r.Lifetime, DefaultLifetime) && now.Sub(received) >= after
}
