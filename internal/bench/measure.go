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
	quick  bool          // small sizes, to see that everything runs
}

// A sample is one uninterrupted run of a contender.
type sample struct {
	n              int
	ns             float64 // per operation, by the clock that counts
	passed         float64 // nanoseconds per operation that passed meanwhile
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
func measure(job string, contenders []contender, by clock, p plan) []series {
	all := make([]series, len(contenders))
	counts := make([]int, len(contenders))
	for i, c := range contenders {
		all[i] = series{contender: c}
		counts[i] = max(calibrate(c, p.sample), c.least)
	}
	for round := range p.rounds {
		for i := range all {
			i = (i + round) % len(all)
			c := all[i].contender
			pprof.Do(context.Background(), pprof.Labels("job", job, "contender", c.name), func(context.Context) {
				all[i].samples = append(all[i].samples, take(c, counts[i], by))
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
func take(c contender, n int, by clock) sample {
	runtime.GC()
	c.run(n)
	spent := func() time.Duration {
		if by == bothEnds {
			return cpuTime() + c.end.cpuTime()
		}
		return cpuTime()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begun := spent()
	passed := duration(c, n)
	took := spent() - begun
	runtime.ReadMemStats(&after)
	if by == wall {
		took = passed
	}
	return sample{
		n:      n,
		ns:     float64(took.Nanoseconds()) / float64(n),
		passed: float64(passed.Nanoseconds()) / float64(n),
		octets: (after.TotalAlloc - before.TotalAlloc) / uint64(n),
		allocs: (after.Mallocs - before.Mallocs) / uint64(n),
	}
}
