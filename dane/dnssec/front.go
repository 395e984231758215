package dnssec

import (
	"context"
	"time"
)

// A front is what stands before the work of a Stub or Validator: the cache, and the lookups under way that others may
// join.
type front struct {
	common  *Common
	cache   *cache
	lookups flights[Question, *Answer]
}

// A finder does the work behind a front.
type finder interface {
	// settled reports whether the cache was filled by the servers that are asked now.
	settled(now time.Time) bool
	// find answers q, on behalf of all who wait for it, and puts into the cache what may be kept.
	find(ctx context.Context, q Question) (*Answer, *Error)
}

func (f *front) init(c *Common) {
	f.common, f.cache = c, newCache(c.Cache)
	f.lookups.timeout = c.Timeout
}

// lookup is Lookup of a Resolver. A hit in the cache allocates nothing.
func (f *front) lookup(ctx context.Context, by finder, name string, t Type) (*Answer, error) {
	q, failed := newQuestion(name, t)
	if failed != nil {
		return nil, failed
	}
	if ctx.Err() != nil {
		return nil, canceled(ctx, q)
	}
	if now := f.common.Now(); by.settled(now) {
		answer, failed := f.cache.get(q, now)
		if answer != nil {
			f.common.Trace(Event{Kind: EventCache, Question: q, Security: answer.Security})
			return answer, nil
		}
		if failed != nil {
			f.common.Trace(Event{Kind: EventCache, Question: q, Err: failed})
			return nil, failed
		}
	}
	answer, err, ok := f.lookups.do(ctx, q, func(ctx context.Context) (*Answer, error) {
		start := time.Now()
		answer, failed := by.find(ctx, q)
		f.tell(ctx, q, answer, failed, time.Since(start))
		if failed != nil {
			return nil, failed
		}
		return answer, nil
	})
	if !ok {
		return nil, canceled(ctx, q)
	}
	return answer, err
}

// has reports whether lookup would find name in the cache.
func (f *front) has(by finder, name string, t Type) bool {
	q, failed := newQuestion(name, t)
	if failed != nil {
		return false
	}
	now := f.common.Now()
	if !by.settled(now) {
		return false
	}
	answer, failed := f.cache.get(q, now)
	return answer != nil || failed != nil
}

// tell reports a verdict to Trace, and a failure to Logger too.
func (f *front) tell(ctx context.Context, q Question, answer *Answer, failed *Error, elapsed time.Duration) {
	event := Event{Kind: EventVerdict, Question: q, Elapsed: elapsed}
	if failed == nil {
		event.Security = answer.Security
		f.common.Trace(event)
		return
	}
	event.Err = failed
	if failed.Kind == KindLimit || failed.Kind == KindLoop {
		event.Kind = EventLimit
	}
	f.common.Logger.DebugContext(ctx, "DNS lookup failed", "name", q.Name, "type", q.Type, "error", failed)
	f.common.Trace(event)
}
