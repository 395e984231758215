package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestGrid(t *testing.T) {
	g := grid{
		head: []cell{{text: "where"}, {text: "preferred"}},
		rows: [][]cell{{{text: "a.example"}, {"- starttls refused", deferred}}, {{text: "b.example"}, {"tls", encrypted}}},
	}
	var plain strings.Builder
	g.render(&plain, look{})
	require.Equal(t, "where      preferred\na.example  - starttls refused\nb.example  tls\n", plain.String())

	var boxed strings.Builder
	g.render(&boxed, look{box: true, width: 26})
	require.Equal(t, ""+
		"┌───────────┬────────────┐\n"+
		"│ where     │ preferred  │\n"+
		"├───────────┼────────────┤\n"+
		"│ a.example │ - starttls │\n"+
		"│           │ refused    │\n"+
		"├───────────┼────────────┤\n"+
		"│ b.example │ tls        │\n"+
		"└───────────┴────────────┘\n", boxed.String())

	var wide strings.Builder
	g.render(&wide, look{box: true, width: 40})
	require.Equal(t, ""+
		"┌───────────┬────────────────────┐\n"+
		"│ where     │ preferred          │\n"+
		"├───────────┼────────────────────┤\n"+
		"│ a.example │ - starttls refused │\n"+
		"│ b.example │ tls                │\n"+
		"└───────────┴────────────────────┘\n", wide.String(), "no rules where no row wraps")

	var narrow strings.Builder
	g.render(&narrow, look{box: true, colour: true, width: 20})
	require.Equal(t, ""+
		"a.example\n  preferred: \x1b[35m- starttls refused\x1b[0m\n"+
		"b.example\n  preferred: \x1b[36mtls\x1b[0m\n", narrow.String(), "too narrow for a table")
}

// FuzzGrid: whatever the cells hold, every line of a box has the same width, and
// no word is lost.
func FuzzGrid(f *testing.F) {
	f.Add("a b c", "tls: name", 20)
	f.Add("", "ü ü", 0)
	f.Fuzz(func(t *testing.T, a, b string, width int) {
		if !utf8.ValidString(a+b) || strings.ContainsAny(a+b, "\n\r\v\f\u0085\u2028\u2029│") || width > 1000 {
			return
		}
		g := grid{head: []cell{{text: "x"}, {text: "y"}}, rows: [][]cell{{{text: a}, {text: b}}}}
		var out strings.Builder
		g.render(&out, look{box: true, width: width})
		if !strings.HasPrefix(out.String(), "┌") {
			require.Contains(t, out.String(), a, "stacked")
			return
		}
		first := -1
		for line := range strings.Lines(out.String()) {
			n := utf8.RuneCountInString(line)
			if first < 0 {
				first = n
			}
			require.Equal(t, first, n)
		}
		for word := range strings.FieldsSeq(a + " " + b) {
			require.Contains(t, out.String(), word)
		}
	})
}
