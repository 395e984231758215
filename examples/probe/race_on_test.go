//go:build race

package main

// raceEnabled tells that the race detector is on, which makes everything slow and
// takes memory of its own.
const raceEnabled = true
