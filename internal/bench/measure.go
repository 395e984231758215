package main

import (
	"context"
	"runtime"
	"runtime/pprof"
	"time"
)

// plan says how much is measured.
type plan struct {
	rounds int           // samples of each contender
	sample time.Duration // about how long one takes
}

// A sample is one uninterrupted run of a contender.
type sample struct {
	n              int
	ns             float64 // per operation
	octets, allocs uint64  // per operation, rounded down as package testing does
}

// series are all samples of one contender, in the order of rounds.
type series struct {
	contender
	samples []sample
}

// measure lets the contenders take turns, each once a round. Every round begins
// with another one, so that none always follows the same neighbour. job is for
// profiles.
func measure(job string, contenders []contender, p plan) []series {
	all := make([]series, len(contenders))
	counts := make([]int, len(contenders))
	for i, c := range contenders {
		all[i] = series{contender: c}
		counts[i] = calibrate(c, p.sample)
	}
	for round := range p.rounds {
		for i := range all {
			i = (i + round) % len(all)
			c := all[i].contender
			pprof.Do(context.Background(), pprof.Labels("job", job, "contender", c.name), func(context.Context) {
				all[i].samples = append(all[i].samples, take(c, counts[i]))
			})
		}
	}
	return all
}

// calibrate finds how many operations take about d. Each number is tried twice
// and the shorter time counts: one that the scheduler stretched says nothing.
func calibrate(c contender, d time.Duration) int {
	for n := 1; ; n *= 2 {
		took := min(duration(c, n), duration(c, n))
		if took >= d/4 {
			return max(1, int(float64(n)*float64(d)/float64(took)))
		}
	}
}

func duration(c contender, n int) time.Duration {
	start := time.Now()
	c.run(n)
	return time.Since(start)
}

// take runs a contender n times, with the garbage of the others out of the way.
// It first runs it as long unmeasured: the collector, which walks the whole
// heap, leaves nothing of the contender's data in the caches of the processor.
func take(c contender, n int) sample {
	runtime.GC()
	c.run(n)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	took := duration(c, n)
	runtime.ReadMemStats(&after)
	return sample{
		n:      n,
		ns:     float64(took.Nanoseconds()) / float64(n),
		octets: (after.TotalAlloc - before.TotalAlloc) / uint64(n),
		allocs: (after.Mallocs - before.Mallocs) / uint64(n),
	}
}
