package main

import (
	"io"
	"strings"
	"unicode/utf8"
)

// A tone is what a cell means; on a terminal each has a colour.
type tone uint8

const (
	plain tone = iota
	verified
	encrypted
	inClear
	deferred
	wrong // not what the decision tables say
)

var colours = [...]string{
	verified:  "\x1b[32m",   // green
	encrypted: "\x1b[36m",   // cyan
	inClear:   "\x1b[33m",   // yellow
	deferred:  "\x1b[35m",   // magenta
	wrong:     "\x1b[1;31m", // bold red
}

type cell struct {
	text string
	tone tone
}

// A grid is a table with a head row. All rows have the length of the head.
type grid struct {
	head []cell
	rows [][]cell
}

// A look says how a grid is drawn.
type look struct {
	box    bool // box drawing, wrapped to width; otherwise columns parted by blanks
	colour bool
	width  int // of the terminal; only used with box
}

func (g *grid) render(w io.Writer, l look) {
	widths := g.widths(l)
	var b strings.Builder
	if l.box && l.width > 0 && total(widths) > l.width {
		g.stack(&b, l)
		_, _ = io.WriteString(w, b.String())
		return
	}
	rule := func(left, middle, right string) {
		if !l.box {
			return
		}
		for i, width := range widths {
			b.WriteString(pick(i == 0, left, middle))
			b.WriteString(strings.Repeat("─", width+2))
		}
		b.WriteString(right + "\n")
	}
	rule("┌", "┬", "┐")
	g.line(&b, g.head, widths, l)
	rows := g.wraps(widths)
	for i, row := range g.rows {
		if i == 0 || rows {
			rule("├", "┼", "┤")
		}
		g.line(&b, row, widths, l)
	}
	rule("└", "┴", "┘")
	_, _ = io.WriteString(w, b.String())
}

// line draws one row, which may take several lines of text.
func (g *grid) line(b *strings.Builder, row []cell, widths []int, l look) {
	wrapped := make([][]string, len(row))
	lines := 1
	for i, c := range row {
		wrapped[i] = wrap(c.text, widths[i])
		lines = max(lines, len(wrapped[i]))
	}
	for n := range lines {
		var text strings.Builder
		for i, c := range row {
			part := ""
			if n < len(wrapped[i]) {
				part = wrapped[i][n]
			}
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(part))
			if l.colour && c.tone != plain && part != "" {
				part = colours[c.tone] + part + "\x1b[0m"
			}
			if l.box {
				text.WriteString("│ " + part + pad + " ")
			} else {
				text.WriteString(part + pad + "  ")
			}
		}
		if l.box {
			text.WriteString("│")
		}
		b.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
}

// stack draws the rows one below the other, for terminals that are too narrow for
// a table.
func (g *grid) stack(b *strings.Builder, l look) {
	for _, row := range g.rows {
		for i, c := range row {
			text := c.text
			if l.colour && c.tone != plain {
				text = colours[c.tone] + text + "\x1b[0m"
			}
			if i > 0 {
				text = "  " + g.head[i].text + ": " + text
			}
			b.WriteString(text + "\n")
		}
	}
}

// wraps tells whether a row takes more than one line, so that rows need a rule
// between them.
func (g *grid) wraps(widths []int) bool {
	for _, row := range g.rows {
		for i, c := range row {
			if len(wrap(c.text, widths[i])) > 1 {
				return true
			}
		}
	}
	return false
}

// widths gives each column its natural width and, where the terminal is too
// narrow for that, takes from the widest ones until a word would not fit.
func (g *grid) widths(l look) []int {
	natural, least := make([]int, len(g.head)), make([]int, len(g.head))
	for _, row := range append([][]cell{g.head}, g.rows...) {
		for i, c := range row {
			natural[i] = max(natural[i], utf8.RuneCountInString(c.text))
			for _, word := range words(c.text) {
				least[i] = max(least[i], utf8.RuneCountInString(word))
			}
		}
	}
	if !l.box || l.width <= 0 {
		return natural
	}
	for {
		widest := -1
		for i, width := range natural {
			if width > least[i] && (widest < 0 || width > natural[widest]) {
				widest = i
			}
		}
		if total(natural) <= l.width || widest < 0 {
			return natural
		}
		natural[widest]--
	}
}

// total is the width of a box with columns of these widths.
func total(widths []int) int {
	sum := 1
	for _, width := range widths {
		sum += width + 3
	}
	return sum
}

// wrap breaks text at blanks into lines of at most width runes, as far as words
// allow.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range words(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}

// words splits text where a line may end; a dash in front stays with its word.
func words(text string) []string {
	all := strings.Fields(text)
	if len(all) > 1 && all[0] == "-" {
		all[1] = "- " + all[1]
		return all[1:]
	}
	return all
}

func pick(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}
