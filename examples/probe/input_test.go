package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func list(t *testing.T, text string) []string {
	t.Helper()
	var all []string
	for line, err := range lines(strings.NewReader(text)) {
		require.NoError(t, err)
		all = append(all, line)
	}
	return all
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for _, c := range []struct {
		why, in string
		want    []string
	}{
		{"nothing", "", nil},
		{"no line end at the end", "a\nb", []string{"a", "b"}},
		{"line ends of Windows, blanks and empty lines", " a \r\n\r\n\t\nb\r\n", []string{"a", "b"}},
		{"comments", "# all\na # some\n#\n", []string{"a"}},
		{"the rest of a long line is no line of its own", long + "yy\nb\n", []string{long, "b"}},
		{"a line of exactly the most", long[1:] + "\nb", []string{long[1:], "b"}},
		{"a very long line", strings.Repeat(long, 5) + "\nb", []string{long, "b"}},
	} {
		require.Equal(t, c.want, list(t, c.in), c.why)
	}
}

// TestArguments: "-" stands for standard input wherever it is, and an early end of the
// reading ends it everywhere.
func TestArguments(t *testing.T) {
	var all []string
	for text, err := range arguments([]string{"a", "-", "d"}, strings.NewReader("b\nc\n")) {
		require.NoError(t, err)
		all = append(all, text)
	}
	require.Equal(t, []string{"a", "b", "c", "d"}, all)
	for text := range arguments([]string{"-", "d"}, strings.NewReader("b\nc\n")) {
		require.Equal(t, "b", text)
		break
	}
}

// FuzzLines: what comes out is never empty, of bounded length, of one line and without
// blanks at its ends, and comes from a line of the input in its order.
func FuzzLines(f *testing.F) {
	for _, s := range []string{"", "a\nb", "# x\n", " \r\n", strings.Repeat("x", maxLine+1), "a#\n#b\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		rest := strings.Split(in, "\n")
		for _, line := range list(t, in) {
			require.NotEmpty(t, line)
			require.LessOrEqual(t, len(line), maxLine)
			require.NotContains(t, line, "\n")
			require.NotContains(t, line, "#")
			require.Equal(t, strings.TrimSpace(line), line)
			found := false
			for len(rest) > 0 && !found {
				found = strings.Contains(rest[0], line)
				rest = rest[1:]
			}
			require.True(t, found, "%q", line)
		}
	})
}

// FuzzParagraph: no line is wider than the screen, and no word is lost.
func FuzzParagraph(f *testing.F) {
	f.Add("  MX      ", "mx.test.example (10); secure", 0)
	f.Add("          a label of some length ", strings.Repeat("x", 200), 3)
	f.Fuzz(func(t *testing.T, label, text string, more int) {
		label, text = clean(label), clean(text)
		width := narrowest + int(uint(more)%80)
		if len(label) >= width/2 {
			return // labels are the page's own
		}
		w := page{width: width}.writer()
		w.paragraph(label, text)
		out := string(w.bytes())
		require.True(t, strings.HasPrefix(out, label))
		for line := range strings.Lines(out) {
			require.LessOrEqual(t, len(strings.TrimSuffix(line, "\n")), width, "%q", line)
		}
		pressed := func(s string) string { return strings.Join(strings.Fields(s), "") }
		require.Equal(t, pressed(label+" "+text), pressed(out))
	})
}
