package tlspolicy

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// nameOfLength returns a name of n octets that ends in the number i.
func nameOfLength(n, i int) string {
	end := fmt.Sprintf(".x%03d", i)
	return strings.Repeat("abcdefghi.", 26)[:max(n-len(end), 1)] + end
}

// A nameIndex is a map, for names of every length and with all settings.
func TestNameIndexIsAMap(t *testing.T) {
	var x nameIndex
	_, ok := x.get([]byte("example.com"))
	require.False(t, ok, "the zero value is empty")
	want := map[string]Settings{}
	for n := 6; n <= 253; n++ {
		for i := range 7 {
			s := Settings{Mode: Mode(i), DANE: DANE(n % 4), MTASTS: MTASTS(n % 3), Fallback: Fallback(i % 4)}
			name := nameOfLength(n, i)
			_, twice := want[name]
			require.Equal(t, !twice, x.add(name, s), "%q", name)
			if !twice {
				want[name] = s
			}
		}
	}
	require.Equal(t, want, maps.Collect(x.all()))
	for name, s := range want {
		require.False(t, x.add(name, Settings{}), "%q is there", name)
		got, ok := x.get([]byte(name))
		require.True(t, ok, "%q", name)
		require.Equal(t, s, got.unpack())
		for _, other := range []string{name[1:], name + "x", "x" + name, strings.Replace(name, ".x", ".y", 1), name[:len(name)-1]} {
			_, there := want[other]
			_, ok := x.get([]byte(other))
			require.Equal(t, there, ok, "%q", other)
		}
	}
	require.Len(t, want, x.count)
}

// Names that share a tag and a slot are told apart, short ones and long ones.
func TestNameIndexCollisions(t *testing.T) {
	x := nameIndex{tags: make([]uint8, 8), slots: make([]indexSlot, 8)}
	put := func(name string, mode Mode) {
		i, found := x.find(0, []byte(name))
		require.False(t, found)
		x.tags[i] = tagOf(0)
		s := &x.slots[i]
		s.settings, s.length = packSettings(Settings{Mode: mode}), uint8(len(name))
		if len(name) <= maxShortName {
			copy(s.text[:], name)
			return
		}
		copy(s.text[:8], make([]byte, 8)) // the hash
		s.text[8] = uint8(len(x.long))
		x.long = append(x.long, name...)
	}
	names := []string{"a.example", "b.example", "ab.example", strings.Repeat("a", 29), strings.Repeat("a", 30), strings.Repeat("b", 30), strings.Repeat("a", 31)}
	for i, name := range names {
		put(name, Mode(i))
	}
	for i, name := range names {
		at, found := x.find(0, []byte(name))
		require.True(t, found, "%q", name)
		require.Equal(t, Mode(i), x.slots[at].settings.mode())
	}
	_, found := x.find(0, []byte("c.example"))
	require.False(t, found)
}
