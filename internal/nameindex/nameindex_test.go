package nameindex

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

// An Index is a map, for names of every length.
func TestIndexIsAMap(t *testing.T) {
	var x Index[int32]
	_, ok := x.Get([]byte("example.com"))
	require.False(t, ok, "the zero value is empty")
	want := map[string]int32{}
	for n := 6; n <= MaxName; n++ {
		for i := range 7 {
			name, value := nameOfLength(n, i), int32(100*n+i)
			_, twice := want[name]
			held, isNew := x.Add(name, value)
			require.Equal(t, !twice, isNew, "%q", name)
			if isNew {
				want[name] = value
			}
			require.Equal(t, want[name], *held)
		}
	}
	_, isNew := x.Add("", -1)
	require.True(t, isNew, "the empty name is a name")
	want[""] = -1
	require.Equal(t, want, maps.Collect(x.All()))
	require.Equal(t, len(want), x.Len())
	for name, value := range want {
		held, isNew := x.Add(name, 0)
		require.False(t, isNew, "%q is there", name)
		require.Equal(t, value, *held, "and keeps its value")
		*held = -value
		got, ok := x.Get([]byte(name))
		require.True(t, ok, "%q", name)
		require.Equal(t, -value, got, "changed in place")
		for _, other := range []string{name[min(1, len(name)):], name + "x", "x" + name, strings.Replace(name, ".x", ".y", 1), name[:max(len(name)-1, 0)]} {
			_, there := want[other]
			_, ok := x.Get([]byte(other))
			require.Equal(t, there, ok, "%q", other)
		}
	}
	require.Panics(t, func() { x.Add(strings.Repeat("a", MaxName+1), 0) })
	for range x.All() {
		break // an early end is no harm
	}
}

// Names that share a tag and a slot are told apart, short ones and long ones.
func TestCollisions(t *testing.T) {
	x := Index[uint16]{tags: make([]uint8, 8), slots: make([]slot[uint16], 8)}
	put := func(name string, value uint16) {
		i, found := x.find(0, []byte(name))
		require.False(t, found)
		x.tags[i] = tagOf(0)
		s := &x.slots[i]
		s.value, s.length = value, uint8(len(name))
		if len(name) <= maxShort {
			copy(s.text[:], name)
			return
		}
		copy(s.text[:8], make([]byte, 8)) // the hash
		s.text[8] = uint8(len(x.long))
		x.long = append(x.long, name...)
	}
	names := []string{"a.example", "b.example", "ab.example", strings.Repeat("a", maxShort), strings.Repeat("a", maxShort+1),
		strings.Repeat("b", maxShort+1), strings.Repeat("a", maxShort+2)}
	for i, name := range names {
		put(name, uint16(i))
	}
	for i, name := range names {
		at, found := x.find(0, []byte(name))
		require.True(t, found, "%q", name)
		require.EqualValues(t, i, x.slots[at].value)
	}
	_, found := x.find(0, []byte("c.example"))
	require.False(t, found)
}

func TestGetDoesNotAllocate(t *testing.T) {
	var x Index[int32]
	names := [][]byte{[]byte("example.com"), []byte(nameOfLength(100, 1)), []byte("other.example")}
	for _, name := range names[:2] {
		x.Add(string(name), 1)
	}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		for _, name := range names {
			x.Get(name)
		}
	}))
}

// FuzzIndex: whatever is added, in whatever order, the index is a map.
func FuzzIndex(f *testing.F) {
	f.Add("a.example b.example a.example", "b.example")
	f.Add(strings.Repeat("a", 28)+" "+strings.Repeat("a", 29), strings.Repeat("a", 28))
	f.Fuzz(func(t *testing.T, names, asked string) {
		var x Index[int32]
		want := map[string]int32{}
		for i, name := range strings.Split(names, " ") {
			if len(name) > MaxName {
				continue
			}
			_, isNew := x.Add(name, int32(i))
			if _, there := want[name]; !there {
				require.True(t, isNew)
				want[name] = int32(i)
			} else {
				require.False(t, isNew)
			}
		}
		require.Equal(t, want, maps.Collect(x.All()))
		value, ok := x.Get([]byte(asked))
		wanted, there := want[asked]
		require.Equal(t, there, ok)
		require.Equal(t, wanted, value)
	})
}
