package tlsrpt

import (
	"fmt"
	"time"
)

// Day is a day in UTC, which is what a report is about (RFC 8460 section 4.1),
// counted from 1970-01-01.
type Day int32

const daySeconds = 24 * 60 * 60

// DayOf returns the day in UTC of a moment, whatever its zone.
func DayOf(t time.Time) Day {
	seconds := t.Unix()
	day := seconds / daySeconds
	if seconds%daySeconds < 0 {
		day--
	}
	return Day(day)
}

// ParseDay reads the text of Day.String.
func ParseDay(s string) (Day, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, fmt.Errorf("tlsrpt: %q is no day: %w", clip(s), err)
	}
	return DayOf(t), nil
}

// Begin returns the first second of the day.
func (d Day) Begin() time.Time { return time.Unix(int64(d)*daySeconds, 0).UTC() }

// End returns the last second of the day.
func (d Day) End() time.Time { return time.Unix(int64(d)*daySeconds+daySeconds-1, 0).UTC() }

// Next returns the day after.
func (d Day) Next() Day { return d + 1 }

// String returns the day as "2026-03-01".
func (d Day) String() string { return d.Begin().Format(time.DateOnly) }

// MarshalText returns the text of String.
func (d Day) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the text of String.
func (d *Day) UnmarshalText(text []byte) error {
	day, err := ParseDay(string(text))
	if err != nil {
		return err
	}
	*d = day
	return nil
}
