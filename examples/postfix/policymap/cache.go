package policymap

import (
	"sync"
	"time"

	"github.com/smtpsec/smtpsec/smtpclient"
)

// A cache holds answers by canonical key, and the look-ups that are under way. Its
// mutex is held for a map access; answers are not changed once they are in it.
type cache struct {
	limit int

	mu      sync.RWMutex
	answers map[string]*remembered
	flights map[string]*flight
}

type remembered struct {
	answer Answer
	renew  time.Time // from then on it is looked up again while it still serves
}

// A flight is a look-up that others may wait for. answer is set when done is closed.
type flight struct {
	done   chan struct{}
	answer Answer
	// stale is set, under the mutex of the cache, when the table was replaced meanwhile.
	stale bool
}

// get returns an answer that has not expired. early tells that it will soon, so that
// it should be looked up again.
func (c *cache) get(key string, now time.Time) (a Answer, early, ok bool) {
	c.mu.RLock()
	r := c.answers[key]
	c.mu.RUnlock()
	if r == nil || !now.Before(r.answer.Expires) {
		return Answer{}, false, false
	}
	return r.answer, !now.Before(r.renew), true
}

// join returns the look-up of a key that is under way, or a new one for which the
// caller is responsible.
func (c *cache) join(key string) (f *flight, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flights[key]; f != nil {
		return f, false
	}
	f = &flight{done: make(chan struct{})}
	if c.flights == nil {
		c.flights = map[string]*flight{}
	}
	c.flights[key] = f
	return f, true
}

// land ends a look-up.
func (c *cache) land(key string, f *flight, a Answer) {
	now := time.Now()
	c.mu.Lock()
	if c.flights[key] == f {
		delete(c.flights, key)
	}
	switch held := c.answers[key]; {
	case f.stale || !now.Before(a.Expires):
	case a.Status == Temp && held != nil && held.answer.Status != Temp && now.Before(held.answer.Expires) && !(a.enforced && held.answer.asksLess()):
		// What is held rests on facts that have not run out. That they cannot be
		// looked up again right now does not make them wrong.
		c.answers[key] = &remembered{answer: held.answer, renew: now.Add(failedAge)}
	default:
		c.put(key, a, now)
	}
	c.mu.Unlock()
	f.answer = a
	close(f.done)
}

// asksLess tells whether mail may go to a host that is not authenticated. Such an
// answer does not outlive the discovery that a MTA-STS policy is enforced.
func (a *Answer) asksLess() bool { return a.Level != Secure && a.Level != DANEOnly }

// put keeps an answer, for MaxPlanAge at most and by a clock that nobody sets. A full cache drops what has expired among some, and one in any
// case: which one is left to the order of maps, since a wrong choice costs one
// look-up.
func (c *cache) put(key string, a Answer, now time.Time) {
	if c.answers == nil {
		c.answers = map[string]*remembered{}
	}
	if _, there := c.answers[key]; !there && len(c.answers) >= c.limit {
		const sample = 16
		n := 0
		for old, r := range c.answers {
			if n == 0 || !now.Before(r.answer.Expires) {
				delete(c.answers, old)
			}
			if n++; n == sample {
				break
			}
		}
	}
	a.Expires = now.Add(min(a.Expires.Sub(now), smtpclient.MaxPlanAge))
	r := &remembered{answer: a, renew: a.Expires}
	// The last fifth of its life is the time to look again; a TEMP has none, since the
	// reason for it should not be asked for more than needed.
	if a.Status != Temp {
		r.renew = a.Expires.Add(-a.Expires.Sub(now) / 5)
	}
	c.answers[key] = r
}

// clear forgets all answers. Look-ups that are under way serve those who wait for
// them and are not remembered.
func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.answers)
	for _, f := range c.flights {
		f.stale = true
	}
	clear(c.flights)
}

// len returns how many answers are held.
func (c *cache) len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.answers)
}
