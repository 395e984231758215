package smtpclient

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseHop(t *testing.T) {
	for given, want := range map[string]Hop{
		"example.net":               {Host: "example.net"},
		"BÜCHER.example.:587":       {Host: "xn--bcher-kva.example", Port: 587},
		"[mx.example.net]":          {Host: "mx.example.net", Literal: true},
		"[MX.example.net]:2525":     {Host: "mx.example.net", Port: 2525, Literal: true},
		"192.0.2.1":                 {Host: "192.0.2.1", Literal: true},
		"[192.0.2.1]":               {Host: "192.0.2.1", Literal: true},
		"192.0.2.1:587":             {Host: "192.0.2.1", Port: 587, Literal: true},
		"[192.0.2.1]:587":           {Host: "192.0.2.1", Port: 587, Literal: true},
		"2001:DB8::1":               {Host: "2001:db8::1", Literal: true},
		"[2001:db8::1]:25":          {Host: "2001:db8::1", Port: 25, Literal: true},
		"[IPv6:2001:db8::1]":        {Host: "2001:db8::1", Literal: true},
		"[IPv6:2001:db8::1]:25":     {Host: "2001:db8::1", Port: 25, Literal: true},
		"[::ffff:192.0.2.1]:25":     {Host: "192.0.2.1", Port: 25, Literal: true},
		"_under.score.example:1":    {Host: "_under.score.example", Port: 1},
		"[xn--bcher-kva.example]:1": {Host: "xn--bcher-kva.example", Port: 1, Literal: true},
	} {
		hop, err := ParseHop(given)
		require.NoError(t, err, given)
		require.Equal(t, want, hop, given)
		again, err := ParseHop(hop.String())
		require.NoError(t, err, hop)
		require.Equal(t, hop, again, given)
	}
	for given, why := range map[string]string{
		"":                  "empty",
		":25":               "no host",
		"[]":                "no host",
		"[":                 "half a bracket",
		"[mx.example.net":   "no closing bracket",
		"mx.example.net]":   "no opening bracket",
		"a b.example":       "a space",
		"host:0":            "port 0",
		"host:65536":        "port too large",
		"host:+25":          "a sign",
		"host:25:25":        "two ports",
		"::1:x":             "neither address nor port",
		"[mx]25":            "no colon",
		"*.example":         "a wildcard",
		".example":          "a parent is no hop",
		"mx\r\nRCPT.exampl": "a line end",
	} {
		_, err := ParseHop(given)
		require.ErrorIs(t, err, ErrBadName, "%q: %s", given, why)
	}
}

// FuzzParseHop: what is accepted comes out the same from its own text.
func FuzzParseHop(f *testing.F) {
	for _, seed := range []string{"example.net", "[mx.example.net]:587", "192.0.2.1:25", "[IPv6:2001:db8::1]:25", "2001:db8::1", "bücher.example:1", "[a]", "[::1%eth0]:25"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		hop, err := ParseHop(s)
		if err != nil {
			require.Zero(t, hop)
			return
		}
		require.NotEmpty(t, hop.Host)
		again, err := ParseHop(hop.String())
		require.NoError(t, err)
		require.Equal(t, hop, again)
	})
}
