//go:build unix && interop

package certs

const (
	crashRounds = 200 // how often TestKillAtRandomMoments kills
	crashStride = 1   // TestKillAtEveryStep kills at every step
)
