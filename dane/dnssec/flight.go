package dnssec

import (
	"context"
	"sync"
	"time"
)

// flights lets identical work that is wanted at the same time be done once. The work runs in its own goroutine under its
// own context: a caller that gives up leaves the others undisturbed, and when the last one has given up the work is
// canceled.
type flights[K comparable, V any] struct {
	timeout time.Duration // for one piece of work

	mu     sync.Mutex
	flying map[K]*flight[V]
}

type flight[V any] struct {
	done   chan struct{} // closed when result and err are set
	cancel context.CancelFunc
	result V
	err    error

	callers int // guarded by flights.mu
}

// do returns the result of work for key, its own or that of a flight under way. If ctx ends first, it returns the zero
// value and ctx.Err(), and false.
func (f *flights[K, V]) do(ctx context.Context, key K, work func(context.Context) (V, error)) (V, error, bool) {
	var zero V
	if ctx.Err() != nil {
		return zero, ctx.Err(), false
	}
	fl := f.join(ctx, key, work)
	select {
	case <-fl.done:
		return fl.result, fl.err, true
	case <-ctx.Done():
		f.leave(key, fl)
		return zero, ctx.Err(), false
	}
}

// join finds or starts the flight for key and counts the caller in.
func (f *flights[K, V]) join(ctx context.Context, key K, work func(context.Context) (V, error)) *flight[V] {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl := f.flying[key]; fl != nil {
		fl.callers++
		return fl
	}
	if f.flying == nil {
		f.flying = make(map[K]*flight[V])
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.timeout)
	fl := &flight[V]{done: make(chan struct{}), cancel: cancel, callers: 1}
	f.flying[key] = fl
	go func() {
		defer cancel()
		fl.result, fl.err = work(ctx)
		f.mu.Lock()
		f.forget(key, fl)
		f.mu.Unlock()
		close(fl.done)
	}()
	return fl
}

// leave counts a caller out; the last one stops the flight.
func (f *flights[K, V]) leave(key K, fl *flight[V]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl.callers--; fl.callers == 0 {
		fl.cancel()
		f.forget(key, fl) // who comes now starts anew instead of inheriting the cancellation
	}
}

func (f *flights[K, V]) forget(key K, fl *flight[V]) {
	if f.flying[key] == fl {
		delete(f.flying, key)
	}
}
