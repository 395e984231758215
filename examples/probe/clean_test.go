package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		"mx.example (10)":        "mx.example (10)",
		"\x1b[31mred\x1b[0m":     `\x1b[31mred\x1b[0m`, // a colour
		"\x1b]0;title\a":         `\x1b]0;title\x07`,   // the title of the terminal
		"a\r\nFake: line\x00":    `a\x0d\x0aFake: line\x00`,
		"\u202egnp.exe":          `\u202egnp.exe`, // text that runs backwards
		"\u2066x\u2069":          `\u2066x\u2069`,
		"\u009b31m":              `\u009b31m`, // an escape sequence in one character (C1)
		"\x9b31m":                `\x9b31m`,   // and as a bare octet
		"caf\xe9":                `caf\xe9`,
		"b\u00fccher.example":    `b\u00fccher.example`,
		"\U0001f600":             `\U0001f600`,
		"del\x7f":                `del\x7f`,
		strings.Repeat("a", 512): strings.Repeat("a", 512),
		strings.Repeat("a", 513): strings.Repeat("a", maxText-12) + "...",
	} {
		require.Equal(t, want, clean(in), "%q", in)
	}
}

func printable(text string) bool {
	return strings.IndexFunc(text, func(c rune) bool { return c < ' ' || c > '~' }) < 0 && utf8.ValidString(text)
}

// FuzzClean: whatever comes in, what goes out is printable, bounded, stays as it is if
// it was that before, and does not change when it is cleaned again.
func FuzzClean(f *testing.F) {
	for _, s := range []string{"", "mx.example", "\x1b[2J", "\u202e", "\xff\xfe", strings.Repeat("\U0010ffff", 100)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		out := clean(in)
		require.True(t, printable(out), "%q", out)
		require.LessOrEqual(t, len(out), maxText)
		require.Equal(t, out, clean(out))
		if printable(in) && len(in) <= maxText {
			require.Equal(t, in, out)
		}
	})
}

// TestNeutralise: no field of a Result is left out, however deep.
func TestNeutralise(t *testing.T) {
	const evil = "\x1b[2J"
	long := make([]string, maxList+1)
	for i := range long {
		long[i] = evil
	}
	r := &Result{Domain: evil, MTASTS: &MTASTS{MX: long, Findings: []Finding{{Detail: evil}}}, TLSRPT: &TLSRPT{Record: evil},
		MX: MX{Lookup: Lookup{Error: evil}, Dropped: []Dropped{{Name: evil}}}, Notes: []string{evil},
		Hosts: []Host{{Lookups: []Lookup{{Error: evil}}, Addresses: []Address{{Greeting: evil, Certificates: []Certificate{{Names: []string{evil}}}}}}}}
	neutralise(r)
	require.Len(t, r.MTASTS.MX, maxList)
	for _, text := range []string{r.Domain, r.MTASTS.MX[0], r.MTASTS.Findings[0].Detail, r.TLSRPT.Record, r.MX.Lookup.Error, r.MX.Dropped[0].Name,
		r.Notes[0], r.Hosts[0].Lookups[0].Error, r.Hosts[0].Addresses[0].Greeting, r.Hosts[0].Addresses[0].Certificates[0].Names[0]} {
		require.Equal(t, `\x1b[2J`, text)
	}
}
