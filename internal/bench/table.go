package main

import (
	"fmt"
	"math"
	"strconv"
)

// anyAllocs is the budget of a row in which smtpsec may allocate what it needs.
const anyAllocs = math.MaxUint64

// line is one contender's line of the table.
type line struct {
	name           string
	kind           kind
	ns             spread
	octets, allocs uint64
	// ratio is smtpsec's time divided by this contender's, from samples taken
	// side by side: below 1, smtpsec is the faster one.
	ratio spread
	// verdict says what was demanded and whether it is so; empty if nothing was.
	verdict string
	missed  bool
}

// evaluate turns the samples of a row into its lines. The first contender is
// smtpsec.
func evaluate(r row, all []series) []line {
	var lines []line
	for _, s := range all {
		l := line{name: s.name, kind: s.kind}
		var ns, ratios []float64
		l.octets, l.allocs = math.MaxUint64, math.MaxUint64
		for i, x := range s.samples {
			ns = append(ns, x.ns)
			ratios = append(ratios, all[0].samples[i].ns/x.ns)
			// What else goes on in the process can only add to these.
			l.octets, l.allocs = min(l.octets, x.octets), min(l.allocs, x.allocs)
		}
		l.ns, l.ratio = spreadOf(ns), spreadOf(ratios)
		lines = append(lines, l)
	}
	for i := range lines {
		lines[i].judge(r, lines[0].allocs)
	}
	return lines
}

// judge compares the line with what is demanded of smtpsec, which made so many
// allocations.
func (l *line) judge(r row, allocs uint64) {
	demand := ""
	switch {
	case l.kind == ours && r.allocs != anyAllocs:
		l.missed = l.allocs > r.allocs
		demand = fmt.Sprintf("allocs <= %d", r.allocs)
	case l.kind == peer:
		l.missed = l.ratio.median >= 1
		demand = "ahead of it"
	case l.name == r.limitOf && r.limit > 0:
		l.missed = l.ratio.median > r.limit
		demand = fmt.Sprintf("ratio <= %.2f", r.limit)
		if r.more > 0 {
			l.missed = l.missed || allocs > l.allocs+r.more
			demand += fmt.Sprintf(", %d allocs more", r.more)
		}
	default:
		return
	}
	l.verdict = verdictOf(demand, l.missed)
}

var columns = []string{"job", "contender", "smtpsec ÷ it", "95 %", "allocs/op", "B/op", "ns/op", "time", "asked ns", "demanded"}

// cells are the columns of the table for the lines of a row.
func cells(r row, lines []line) [][]string {
	var out [][]string
	for i, l := range lines {
		job, goal, ratio, interval, time := "", "", "", "", ""
		if i == 0 {
			job, time = r.name, r.clock.String()
			if r.goalNs > 0 {
				goal = figure(r.goalNs)
			}
		} else {
			ratio = fmt.Sprintf("%.2f", l.ratio.median)
			interval = fmt.Sprintf("%.2f-%.2f", l.ratio.low, l.ratio.high)
		}
		name := l.name
		if l.kind == floor {
			name += " (floor)"
		}
		out = append(out, []string{job, name, ratio, interval, strconv.FormatUint(l.allocs, 10), strconv.FormatUint(l.octets, 10),
			figure(l.ns.median), time, goal, l.verdict})
	}
	return out
}
