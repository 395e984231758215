package tlsrpt

import "sync/atomic"

// defaultAtOnce is how many reports a Receiver reads at the same time: each may
// take some times what is allowed decompressed.
const defaultAtOnce = 4

// slots counts what is under way. The zero value is empty.
type slots struct{ used atomic.Int64 }

// enter takes a slot of n, if one is free.
func (s *slots) enter(n int) (leave func(), ok bool) {
	if n <= 0 {
		n = defaultAtOnce
	}
	if s.used.Add(1) > int64(n) {
		s.used.Add(-1)
		return nil, false
	}
	return func() { s.used.Add(-1) }, true
}
