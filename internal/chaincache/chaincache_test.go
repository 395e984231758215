package chaincache

import (
	"crypto/x509"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func chainOf(raws ...string) []*x509.Certificate {
	var chain []*x509.Certificate
	for _, raw := range raws {
		chain = append(chain, &x509.Certificate{Raw: []byte(raw)})
	}
	return chain
}

func key(t testing.TB, tag string, chain []*x509.Certificate, more ...[32]byte) [32]byte {
	t.Helper()
	k, ok := Key(tag, chain, more...)
	require.True(t, ok)
	return k
}

func TestEntryCounts(t *testing.T) {
	notBefore, notAfter := noon.Add(-time.Hour), noon.Add(30*time.Minute)
	for _, tc := range []struct {
		why    string
		maxAge time.Duration
		at     time.Time
		want   bool
	}{
		{"at once", time.Hour, noon, true},
		{"inside", time.Hour, noon.Add(29 * time.Minute), true},
		{"last second of the path, fraction included", time.Hour, notAfter.Add(999 * time.Millisecond), true},
		{"path ended", time.Hour, notAfter.Add(time.Second), false},
		{"maximum age reached", 10 * time.Minute, noon.Add(10 * time.Minute), false},
		{"just below the maximum age", 10 * time.Minute, noon.Add(10*time.Minute - 1), true},
		{"clock stepped back behind the store", time.Hour, noon.Add(-time.Second), false},
		{"clock stepped back before the path began", time.Hour, notBefore.Add(-time.Second), false},
		{"default age", 0, noon.Add(29 * time.Minute), true},
	} {
		c := New[string](4, tc.maxAge)
		k := key(t, "t", chainOf("a"))
		c.Put(k, "v", notBefore, notAfter, noon)
		v, ok := c.Get(k, tc.at)
		require.Equal(t, tc.want, ok, tc.why)
		if ok {
			require.Equal(t, "v", v)
		} else {
			require.Empty(t, v, tc.why)
		}
	}
}

func TestMaxAgeCapped(t *testing.T) {
	c := New[int](1, 1000*time.Hour)
	k := key(t, "t", chainOf("a"))
	c.Put(k, 1, noon.Add(-time.Hour), noon.Add(1000*time.Hour), noon)
	_, ok := c.Get(k, noon.Add(MaxMaxAge-1))
	require.True(t, ok)
	_, ok = c.Get(k, noon.Add(MaxMaxAge))
	require.False(t, ok)
}

func TestPutOutsideThePath(t *testing.T) {
	c := New[int](1, 0)
	k := key(t, "t", chainOf("a"))
	c.Put(k, 1, noon.Add(-2*time.Hour), noon.Add(-time.Hour), noon)
	require.Zero(t, c.Len(), "an expired path is not stored")
}

func TestEviction(t *testing.T) {
	const limit = 8
	c := New[int](limit, time.Hour)
	expired := key(t, "t", chainOf("short"))
	c.Put(expired, -1, noon.Add(-time.Hour), noon.Add(time.Second), noon)
	for i := range limit - 1 {
		c.Put(key(t, "t", chainOf(string(rune('a'+i)))), i, noon.Add(-time.Hour), noon.Add(time.Hour), noon)
	}
	c.Put(key(t, "t", chainOf("one more")), 99, noon.Add(-time.Hour), noon.Add(time.Hour), noon.Add(time.Minute))
	require.Equal(t, limit, c.Len())
	_, ok := c.Get(expired, noon)
	require.False(t, ok, "what no longer counts goes first")
	for i := range 1000 {
		c.Put(key(t, "t", chainOf("x", string(rune(i)))), i, noon.Add(-time.Hour), noon.Add(time.Hour), noon)
		require.LessOrEqual(t, c.Len(), limit)
	}
}

func TestKeysApart(t *testing.T) {
	seen := map[[32]byte]string{}
	for why, k := range map[string][32]byte{
		"plain":             key(t, "t", chainOf("ab", "c")),
		"other cut":         key(t, "t", chainOf("a", "bc")),
		"other order":       key(t, "t", chainOf("c", "ab")),
		"one certificate":   key(t, "t", chainOf("abc")),
		"other tag":         key(t, "u", chainOf("ab", "c")),
		"one more":          key(t, "t", chainOf("ab", "c"), [32]byte{}),
		"other more":        key(t, "t", chainOf("ab", "c"), [32]byte{1}),
		"two more, swapped": key(t, "t", chainOf("ab", "c"), [32]byte{1}, [32]byte{2}),
		"two more":          key(t, "t", chainOf("ab", "c"), [32]byte{2}, [32]byte{1}),
	} {
		require.NotContains(t, seen, k, why)
		seen[k] = why
	}
	for why, chain := range map[string][]*x509.Certificate{
		"empty":           nil,
		"nil certificate": {nil},
		"no DER":          {{}},
		"too long":        make([]*x509.Certificate, MaxChain+1),
	} {
		_, ok := Key("t", chain)
		require.False(t, ok, why)
	}
}

func TestNilCache(t *testing.T) {
	var c *Cache[int]
	k := key(t, "t", chainOf("a"))
	c.Put(k, 1, noon, noon.Add(time.Hour), noon)
	_, ok := c.Get(k, noon)
	require.False(t, ok)
	require.Zero(t, c.Len())
}

func TestConcurrent(t *testing.T) {
	c := New[int](16, time.Hour)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				k, _ := Key("t", chainOf(string(rune(i%40+g%2))))
				c.Put(k, i%40+g%2, noon.Add(-time.Hour), noon.Add(time.Hour), noon)
				if v, ok := c.Get(k, noon); ok && v != i%40+g%2 {
					t.Errorf("got %d, want %d", v, i%40+g%2)
				}
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, c.Len(), 16)
}

func TestAllocs(t *testing.T) {
	c := New[[4]int](16, time.Hour)
	chain := chainOf("leaf", "intermediate", "root")
	more := [32]byte{7}
	k := key(t, "t", chain, more)
	c.Put(k, [4]int{1}, noon.Add(-time.Hour), noon.Add(time.Hour), noon)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		k, _ := Key("t", chain, more)
		if _, ok := c.Get(k, noon); !ok {
			t.Error("no hit")
		}
	}))
}

func BenchmarkHit(b *testing.B) {
	b.ReportAllocs()
	c := New[int](16, time.Hour)
	chain := chainOf(string(make([]byte, 1200)), string(make([]byte, 1100)), string(make([]byte, 1000)))
	c.Put(key(b, "t", chain), 1, noon.Add(-time.Hour), noon.Add(time.Hour), noon)
	for b.Loop() {
		k, _ := Key("t", chain)
		if _, ok := c.Get(k, noon); !ok {
			b.Fatal("no hit")
		}
	}
}
