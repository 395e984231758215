package mtasts

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEqualPlain puts every octet, and every pair of those that matter, at every place
// of names of several lengths: what equalPlain calls a name and equal is so for the
// functions that look at one octet after the other.
func TestEqualPlain(t *testing.T) {
	agrees := func(lower, text []byte) bool {
		if !equalPlain(string(lower), string(text)) {
			return true
		}
		name := strings.TrimPrefix(string(lower), ".")
		return validName(name, false) && equalFold(string(lower), string(text)) && lowerASCII(name) == name
	}
	said := 0
	for _, name := range []string{"mx1.a.de", ".mail.example", "mx-1.mail2.example", "a.b.c.d.e.f.g.h.i.j.k", strings.Repeat("long-label.", 5) + "example"} {
		require.True(t, equalPlain(name, strings.ToUpper(name)), name)
		for i := range name {
			for c := range 256 {
				lower, text := []byte(name), []byte(name)
				text[i] = byte(c)
				require.True(t, agrees(lower, text), "%q %q", lower, text)
				lower[i] = byte(c)
				require.True(t, agrees(lower, text), "%q", lower)
				if equalPlain(string(lower), string(text)) {
					said++
				}
				for _, d := range []byte(".-_/@Za0\x80") {
					if i+1 < len(name) {
						lower[i+1], text[i+1] = d, d
						require.True(t, agrees(lower, text), "%q", lower)
					}
				}
			}
		}
	}
	require.Greater(t, said, 2000, "it is not idle")
}

func TestIsASCII(t *testing.T) {
	for n := range 40 {
		text := []byte(strings.Repeat("a", n))
		require.True(t, isASCII(string(text)))
		for i := range text {
			text[i] = 0x80
			require.False(t, isASCII(string(text)), "%d of %d", i, n)
			text[i] = 'a'
		}
	}
}
