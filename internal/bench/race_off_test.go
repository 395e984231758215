//go:build !race

package main

// raceEnabled tells that the race detector is at work, under which more is
// allocated.
const raceEnabled = false
