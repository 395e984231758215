package main

import (
	"context"
	"iter"

	"github.com/smtpsec/smtpsec/mtasts"
)

// lastEntry is a Store that is always empty and keeps what was written last, so
// that it can be looked at.
type lastEntry struct{ entry *mtasts.Entry }

func (s *lastEntry) Get(context.Context, string) (*mtasts.Entry, error) {
	return nil, mtasts.ErrNotFound
}

func (s *lastEntry) Put(_ context.Context, e *mtasts.Entry, old mtasts.Version) (mtasts.Version, error) {
	s.entry = e
	return old + 1, nil
}

func (s *lastEntry) Delete(context.Context, string, mtasts.Version) error { return nil }

func (s *lastEntry) All(context.Context) iter.Seq2[*mtasts.Entry, error] {
	return func(func(*mtasts.Entry, error) bool) {}
}
