//go:build interop && unix

package spool

const (
	// killRounds is how often TestKillAtRandom kills a process.
	killRounds = 600
	// manyMessages is how many TestManyMessages lists.
	manyMessages = 100_000
)
