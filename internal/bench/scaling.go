package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
)

// A series of measurements over some quantity: sizes, cores, destinations.
type study struct {
	name string
	// setup makes the contenders of all points. They take turns as those of a
	// row do.
	setup func() []studied
	clock clock
	chart chart // without curves
	// perSecond turns the times of the chart into rates.
	perSecond bool
	// twice demands that smtpsec takes at most twice as long at the largest size
	// as at 1,000.
	twice bool
}

// studied is the contender of one point of a curve.
type studied struct {
	curve string
	x     int
	contender
}

// measured is a point with everything that is known of it.
type measured struct {
	curve string
	x     int
	// cost is by the clock of the study, toThousand the same as a multiple of the
	// cost at 1,000 on the same curve. passed is the time that passed.
	cost, toThousand, passed spread
	allocs                   uint64
}

// sizes are those of tables, up to a million.
func sizes(p plan) []int {
	if p.quick {
		return []int{10, thousand, 10_000}
	}
	return []int{10, 100, thousand, 10_000, 100_000, million}
}

// few is how many names are asked for where caches are to be warm.
const few = 16

// studies are all series.
func studies(p plan) []study {
	return []study{
		{name: "Destination table by size", twice: true,
			chart: chart{file: "table", title: "Lookup in the destination table", x: "entries", y: "ns of processor time per lookup"},
			setup: func() (all []studied) {
				for _, n := range sizes(p) {
					d := newDestinations(n, true)
					all = append(all,
						studied{"names at random", n, d.ours(us, ours)},
						studied{"the same 16 names", n, d.again(few).ours(us, ours)},
						studied{"map, names at random", n, d.bare()})
				}
				return all
			}},
		{name: "HAT by size", twice: true,
			chart: chart{file: "hat", title: "Lookup in the host access table", x: "entries", y: "ns of processor time per lookup"},
			setup: func() (all []studied) {
				for _, n := range sizes(p) {
					nets, names := newNets(n), newHostNames(n)
					all = append(all,
						studied{"addresses at random", n, nets.ours(us, ours)},
						studied{"the same 16 addresses", n, addresses{nets.again(few)}.ours(us, ours)},
						studied{"host names at random", n, names.ours(us, ours)},
						studied{"the same 16 host names", n, hostNames{names.again(few)}.ours(us, ours)})
				}
				return all
			}},
		{name: "MTA-STS cache hits by cores", clock: wall, perSecond: true,
			chart: chart{file: "sts", title: "Hits in the MTA-STS cache", x: "cores at work", y: "lookups per second"},
			setup: func() (all []studied) {
				small, large := newCaches(thousand), newCaches(cached(p))
				for cores := 1; cores <= min(runtime.NumCPU(), 8); cores *= 2 {
					all = append(all,
						studied{"1,000 domains", cores, small.ours(us, ours, cores)},
						studied{grouped(cached(p)) + " domains", cores, large.ours(us, ours, cores)},
						studied{"map of " + grouped(cached(p)) + " domains", cores, large.bare("map lookup", cores)})
				}
				return all
			}},
	}
}

// cached is how many domains the large policy cache holds.
func cached(p plan) int {
	if p.quick {
		return 2 * thousand
	}
	return 100_000
}

// again asks for some names of d over and over.
func (d destinations) again(names int) destinations {
	kept := destinations{table: d.table, plain: d.plain, names: make([]string, len(d.names))}
	for i := range kept.names {
		kept.names[i] = d.names[i%names]
	}
	return kept
}

func (p peers[K]) again(keys int) peers[K] {
	kept := peers[K]{table: p.table, plain: p.plain, ask: make([]K, len(p.ask))}
	for i := range kept.ask {
		kept.ask[i] = p.ask[i%keys]
	}
	return kept
}

// newNets is a table of n addresses and nets, and peers from anywhere, of which
// most are in no entry.
func newNets(n int) addresses {
	random := rand.New(rand.NewPCG(5, 6))
	a := addresses{peers[netip.Addr]{table: compiled(netGroups(n)), ask: make([]netip.Addr, ask)}}
	for i := range a.ask {
		if a.ask[i] = randomIPv4(random); i%2 == 1 {
			a.ask[i] = randomIPv6(random)
		}
	}
	return a
}

// examine measures a study.
func (s study) examine(p plan) []measured {
	points := s.setup()
	contenders := make([]contender, len(points))
	for i := range points {
		contenders[i] = points[i].contender
	}
	defer done(contenders)
	all := measure(s.name, contenders, s.clock, p)
	var out []measured
	for i, point := range points {
		m := measured{curve: point.curve, x: point.x, allocs: ^uint64(0)}
		var base *series
		for j := range points {
			if points[j].curve == point.curve && points[j].x == thousand {
				base = &all[j]
			}
		}
		var cost, ratio, passed []float64
		for round, x := range all[i].samples {
			cost, passed = append(cost, x.ns), append(passed, x.passed)
			m.allocs = min(m.allocs, x.allocs)
			if base != nil {
				ratio = append(ratio, x.ns/base.samples[round].ns)
			}
		}
		m.cost, m.toThousand, m.passed = spreadOf(cost), spreadOf(ratio), spreadOf(passed)
		out = append(out, m)
	}
	return out
}

// names of the curves in the order of their first points.
func curveNames(points []measured) (names []string) {
	seen := make(map[string]bool)
	for _, m := range points {
		if !seen[m.curve] {
			seen[m.curve] = true
			names = append(names, m.curve)
		}
	}
	return names
}

// draw fills the chart of a study.
func (s study) draw(points []measured) chart {
	c := s.chart
	for _, name := range curveNames(points) {
		line := curve{name: name}
		for _, m := range points {
			if m.curve != name {
				continue
			}
			y := m.cost
			if s.perSecond {
				y = rate(m.passed)
			}
			line.points = append(line.points, point{float64(m.x), y})
		}
		c.curves = append(c.curves, line)
	}
	return c
}

// rate turns nanoseconds per operation into operations per second.
func rate(ns spread) spread {
	return spread{median: 1e9 / ns.median, low: 1e9 / ns.high, high: 1e9 / ns.low}
}

// table is the study as a Markdown table, a line for each curve, and what was
// missed.
func (s study) table(points []measured) (lines [][]string, missed []string) {
	head, done := []string{s.chart.x}, make(map[int]bool)
	for _, m := range points {
		if !done[m.x] {
			done[m.x] = true
			head = append(head, grouped(m.x))
		}
	}
	if s.twice {
		head = append(head, "largest ÷ 1,000", "95 %", "demanded")
	}
	lines = append(lines, head)
	for _, name := range curveNames(points) {
		line := []string{name}
		var last measured
		for _, m := range points {
			if m.curve != name {
				continue
			}
			last = m
			if s.perSecond {
				line = append(line, grouped(round2(rate(m.passed).median)))
			} else {
				line = append(line, figure(m.cost.median))
			}
		}
		if s.twice {
			verdict := ""
			if name[:3] != "map" {
				verdict = verdictOf("at most 2", last.toThousand.median > 2)
				if last.toThousand.median > 2 {
					missed = append(missed, missedLine(s.name, name, fmt.Sprintf("%s (%.2f)", verdict, last.toThousand.median)))
				}
			}
			line = append(line, fmt.Sprintf("%.2f", last.toThousand.median),
				fmt.Sprintf("%.2f-%.2f", last.toThousand.low, last.toThousand.high), verdict)
		}
		lines = append(lines, line)
	}
	return lines, missed
}
