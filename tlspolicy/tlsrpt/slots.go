package tlsrpt

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// defaultAtOnce is how many reports a Receiver reads at the same time: each may
	// take some times what is allowed decompressed.
	defaultAtOnce = 4
	// firstBody is how much room a body gets before any of it has come.
	firstBody = 4 << 10
	// bodyShare times Limits.Compressed is the room of each report that is read for
	// bodies that are coming: a body grows into twice its room at most.
	bodyShare = 2
	// slotTime bounds how long a report waits for those that are read.
	slotTime = 10 * time.Second
)

// slots bounds what a Receiver has under way: the reports that are read, and the
// octets of bodies that are still coming. The zero value is empty.
type slots struct {
	once sync.Once
	free chan struct{} // one for each report that is read

	mu   sync.Mutex
	held int64 // octets of bodies
}

// enter waits for one of n slots, not longer than slotTime. Reading what is in memory
// takes no time of a stranger's choice.
func (s *slots) enter(ctx context.Context, n int) (leave func(), ok bool) {
	s.once.Do(func() { s.free = make(chan struct{}, n) })
	ctx, cancel := context.WithTimeout(ctx, slotTime)
	defer cancel()
	select {
	case s.free <- struct{}{}:
		return func() { <-s.free }, true
	case <-ctx.Done():
		return nil, false
	}
}

// take charges octets, if there is room for them below most.
func (s *slots) take(n, most int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held+n > most {
		return false
	}
	s.held += n
	return true
}

func (s *slots) give(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held -= n
}

// body reads a body to its end, while all bodies together are below most. What it
// was charged is given back by free.
func (s *slots) body(r io.Reader, most int64) (body []byte, free func(), err error) {
	charged := int64(0)
	free = func() { s.give(charged) }
	for {
		if len(body) == cap(body) {
			room := max(firstBody, 2*cap(body))
			if !s.take(int64(room-cap(body)), most) {
				return nil, free, errTooMany
			}
			charged += int64(room - cap(body))
			body = append(make([]byte, 0, room), body...)
		}
		n, err := r.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) {
			return body, free, nil
		}
		if err != nil {
			return nil, free, err
		}
	}
}

// tooLarge reports whether a body is larger than its http.MaxBytesReader allows.
func tooLarge(err error) bool {
	_, ok := errors.AsType[*http.MaxBytesError](err)
	return ok
}
