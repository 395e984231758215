package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// markdown writes a table that can be read as it is. The first line is its head;
// columns of figures stand to the right.
func markdown(lines [][]string) string {
	columns := len(lines[0])
	width, right := make([]int, columns), make([]bool, columns)
	for i := range columns {
		right[i] = len(lines) > 1
		for n, line := range lines {
			width[i] = max(width[i], utf8.RuneCountInString(line[i]))
			if n > 0 && line[i] != "" && (line[i][0] < '0' || line[i][0] > '9') {
				right[i] = false
			}
		}
	}
	text := new(strings.Builder)
	put := func(line []string, filler string) {
		for i, cell := range line {
			fill := strings.Repeat(filler, width[i]-utf8.RuneCountInString(cell))
			if right[i] {
				cell = fill + cell
			} else {
				cell += fill
			}
			text.WriteString("| " + cell + " ")
		}
		text.WriteString("|\n")
	}
	put(lines[0], " ")
	for i := range columns {
		rule := strings.Repeat("-", width[i])
		if right[i] {
			rule = rule[1:] + ":"
		}
		text.WriteString("| " + rule + " ")
	}
	text.WriteString("|\n")
	for _, line := range lines[1:] {
		put(line, " ")
	}
	return text.String()
}

// figure writes a time with three figures.
func figure(ns float64) string {
	if ns >= 100 {
		return strconv.FormatFloat(ns, 'f', 0, 64)
	}
	return strconv.FormatFloat(ns, 'g', 3, 64)
}

// round2 keeps two figures of what is no more exact than that.
func round2(v float64) int {
	if v < 1 {
		return int(math.Round(v))
	}
	step := math.Pow(10, math.Floor(math.Log10(v))-1)
	return int(math.Round(math.Round(v/step) * step))
}

// verdictOf says what was demanded and whether it is so.
func verdictOf(demand string, missed bool) string {
	if missed {
		return demand + ": MISSED"
	}
	return demand + ": yes"
}

// missedLine tells of a demand that was not met.
func missedLine(job, contender, verdict string) string {
	return fmt.Sprintf("%s, %s: %s", job, contender, verdict)
}
