//go:build unix

package main

import (
	"syscall"
	"time"
)

// cpuTime is the processor time, user and system, that this process has taken so
// far, its collector of garbage included. On a machine shared with others it
// says more than the clock, which also runs while somebody else is served.
func cpuTime() time.Duration {
	var u syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
