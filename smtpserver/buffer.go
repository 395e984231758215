package smtpserver

import "sync"

// buffers lends the octets that lines and replies are gathered in. A connection
// that has them lent gives them back when TLS starts.
type buffers struct {
	small, large, text sync.Pool
}

func newBuffers(small int) *buffers {
	lend := func(size int) func() any {
		return func() any { b := make([]byte, size); return &b }
	}
	return &buffers{sync.Pool{New: lend(small)}, sync.Pool{New: lend(MaxAuthLine)}, sync.Pool{New: lend(1024)}}
}

// give takes a buffer back. Those that have grown far beyond their size are left to
// the garbage collector.
func give(pool *sync.Pool, b *[]byte, most int) {
	if b != nil && cap(*b) <= most {
		*b = (*b)[:cap(*b)]
		pool.Put(b)
	}
}
