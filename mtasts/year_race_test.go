//go:build race

package mtasts

// yearDomains is small: the race detector makes all of it ten times slower.
const yearDomains = 100
