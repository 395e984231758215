package main

import (
	"math"
	"slices"
)

// spread is a median and the interval in which, with 95 % confidence, the true
// median lies: the one that benchstat prints.
type spread struct {
	median, low, high float64
}

// spreadOf finds the interval from ranks alone, so that it holds for noise of
// any distribution. Below six values it is all of them, with less confidence.
func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{math.NaN(), math.NaN(), math.NaN()}
	}
	v := slices.Clone(values)
	slices.Sort(v)
	n := len(v)
	k := margin(n)
	return spread{median: (v[(n-1)/2] + v[n/2]) / 2, low: v[k], high: v[n-1-k]}
}

// margin is how many of n values may be left out at each end of the interval:
// the chance that the true median lies beyond one end, which is that of so few
// heads in n tosses of a coin, stays below 2.5 %.
func margin(n int) int {
	k, below := 0, 0.0                  // chance of fewer than k heads
	chance := math.Pow(0.5, float64(n)) // of exactly k heads
	for below+chance <= 0.025 {
		below += chance
		chance *= float64(n-k) / float64(k+1)
		k++
	}
	return max(k-1, 0)
}
