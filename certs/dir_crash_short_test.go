//go:build unix && !interop

package certs

const (
	crashRounds = 40 // how often TestKillAtRandomMoments kills
	crashStride = 3  // TestKillAtEveryStep kills at every third step only
)
