package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
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
		l.judge(r)
		lines = append(lines, l)
	}
	return lines
}

// judge compares the line with what is demanded of smtpsec.
func (l *line) judge(r row) {
	switch {
	case l.kind == ours && r.allocs != anyAllocs:
		l.missed = l.allocs > r.allocs
		l.verdict = fmt.Sprintf("allocs <= %d", r.allocs)
	case l.kind == peer:
		l.missed = l.ratio.median >= 1
		l.verdict = "ahead of it"
	case l.name == r.limitOf && r.limit > 0:
		l.missed = l.ratio.median > r.limit
		l.verdict = fmt.Sprintf("ratio <= %.2f", r.limit)
	default:
		return
	}
	if l.missed {
		l.verdict += ": MISSED"
	} else {
		l.verdict += ": yes"
	}
}

var columns = []string{"job", "contender", "smtpsec ÷ it", "95 %", "allocs/op", "B/op", "ns/op", "asked ns", "demanded"}

// cells are the columns of the table for the lines of a row.
func cells(r row, lines []line) [][]string {
	var out [][]string
	for i, l := range lines {
		job, goal, ratio, interval := "", "", "", ""
		if i == 0 {
			job = r.name
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
			figure(l.ns.median), goal, l.verdict})
	}
	return out
}

// figure writes a time with three figures.
func figure(ns float64) string {
	if ns >= 100 {
		return strconv.FormatFloat(ns, 'f', 0, 64)
	}
	return strconv.FormatFloat(ns, 'g', 3, 64)
}

// write writes a Markdown table that can be read as it is.
func write(w io.Writer, table [][]string) error {
	width := make([]int, len(columns))
	for _, row := range append(table, columns) {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	text := new(strings.Builder)
	put := func(row []string, filler string) {
		for i, cell := range row {
			fill := strings.Repeat(filler, width[i]-utf8.RuneCountInString(cell))
			if right(i) {
				cell = fill + cell
			} else {
				cell += fill
			}
			text.WriteString("| " + cell + " ")
		}
		text.WriteString("|\n")
	}
	put(columns, " ")
	for i := range columns {
		rule := strings.Repeat("-", width[i])
		if right(i) {
			rule = rule[1:] + ":"
		}
		text.WriteString("| " + rule + " ")
	}
	text.WriteString("|\n")
	for _, row := range table {
		put(row, " ")
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// right reports whether a column holds figures.
func right(column int) bool { return column >= 2 && column <= 7 }
