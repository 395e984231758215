package dnssec

import (
	"sync"
	"time"
)

// maxCachedOctets bounds the RDATA of one cached answer, and so, with the number of entries, the memory of the cache.
// Larger answers exist only to fill caches: the root DNSKEY set has about 1,200 octets.
const maxCachedOctets = 16 << 10

// A cache keeps answers and failures up to a number of entries and drops the one not used for the longest time. It is
// safe for concurrent use.
type cache struct {
	conf CacheConfig

	mu         sync.Mutex
	generation uint64
	entries    map[Question]*entry
	ring       entry // sentinel: ring.next was used last, ring.prev the longest time ago
}

type entry struct {
	question   Question
	answer     *Answer // nil if failed is set
	failed     *Error
	expires    time.Time
	prev, next *entry
}

func newCache(conf CacheConfig) *cache {
	c := &cache{conf: conf, entries: make(map[Question]*entry)}
	c.ring.prev, c.ring.next = &c.ring, &c.ring
	return c
}

// get returns what is known about q at the time now: an answer, a failure, or neither.
func (c *cache) get(q Question, now time.Time) (*Answer, *Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[q]
	if e == nil {
		return nil, nil
	}
	if !now.Before(e.expires) { // nothing stale is served
		c.remove(e)
		return nil, nil
	}
	e.unlink()
	c.pushFront(e)
	return e.answer, e.failed
}

// put stores the result of a lookup that was begun in the given generation. It stores nothing that must not be kept: TTL
// 0, an answer from before a purge, what the caller gave up.
func (c *cache) put(q Question, a *Answer, failed *Error, now time.Time, generation uint64) {
	expires := c.expiry(a, failed, now)
	if c.conf.Disable || !now.Before(expires) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if generation != c.generation {
		return
	}
	if old := c.entries[q]; old != nil {
		c.remove(old)
	}
	for len(c.entries) >= c.conf.Entries && c.ring.prev != &c.ring {
		c.remove(c.ring.prev)
	}
	e := &entry{question: q, answer: a, failed: failed, expires: expires}
	c.entries[q] = e
	c.pushFront(e)
}

// expiry returns until when a result may be kept; now if not at all.
func (c *cache) expiry(a *Answer, failed *Error, now time.Time) time.Time {
	if failed != nil {
		if failed.Kind == KindCanceled || failed.Kind == KindBadName || failed.Kind == KindUnusable {
			return now // these are not about the question
		}
		return now.Add(c.conf.FailTTL)
	}
	octets := 0
	for _, r := range a.Records {
		octets += len(r.Data)
	}
	if octets > maxCachedOctets {
		return now
	}
	limit := c.conf.MaxTTL
	if a.Outcome != Found {
		limit = min(limit, c.conf.MaxNegTTL)
	}
	if expires := now.Add(limit); expires.Before(a.Expires) {
		return expires
	}
	return a.Expires
}

// purge forgets everything, and keeps out what lookups still under way will find. It returns the new generation.
func (c *cache) purge() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries)
	c.ring.prev, c.ring.next = &c.ring, &c.ring
	c.generation++
	return c.generation
}

func (c *cache) remove(e *entry) {
	e.unlink()
	delete(c.entries, e.question)
}

func (e *entry) unlink() {
	e.prev.next, e.next.prev = e.next, e.prev
}

func (c *cache) pushFront(e *entry) {
	e.prev, e.next = &c.ring, c.ring.next
	e.prev.next, e.next.prev = e, e
}
