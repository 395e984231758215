//go:build !interop && unix

package spool

const (
	// killRounds is how often TestKillAtRandom kills a process.
	killRounds = 100
	// manyMessages is how many TestManyMessages lists.
	manyMessages = 5_000
)
