package main

import (
	"context"
	"iter"
)

// inOrder calls work on every item of a list, at most n at a time, and shows the
// results in the order of the items. It holds no more than n results, so that a list
// without end takes no more memory than a short one. When ctx ends no further item is
// begun; those under way are shown. The error is that of the list.
func inOrder[T any](ctx context.Context, n int, items iter.Seq2[string, error], work func(string) T, show func(T)) error {
	type job struct {
		text string
		done chan T
	}
	var failed error
	queue := make(chan job, n-1) // and one is waited for
	go func() {
		defer close(queue)
		for text, err := range items {
			if err != nil {
				failed = err
				return
			}
			if ctx.Err() != nil {
				return
			}
			j := job{text, make(chan T, 1)}
			select {
			case queue <- j:
				go func() { j.done <- work(j.text) }()
			case <-ctx.Done():
				return
			}
		}
	}()
	for ctx.Err() == nil {
		select {
		case j, ok := <-queue:
			if !ok {
				return failed
			}
			show(<-j.done)
		case <-ctx.Done():
		}
	}
	// The reader may hang in a read that nobody ends. What it has queued is under way.
	for {
		select {
		case j, ok := <-queue:
			if !ok {
				return nil
			}
			show(<-j.done)
		default:
			return nil
		}
	}
}
