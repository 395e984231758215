package mtasts

import (
	"container/heap"
	"iter"
	"sync"
	"sync/atomic"
	"time"
)

// memory is the first level of the cache: immutable entries by domain, bounded.
// Domains without policy have a bound of their own, so that mail to many
// worthless domains pushes no policy out. Safe for concurrent use; a read takes no
// lock.
type memory struct {
	maxPolicies int
	maxBytes    int64
	maxNegative int

	mu    sync.Mutex // held by those who change anything
	index *index
	ranks [rankEnforce + 1]rankList
	bytes int64 // of all policies
}

// slot is an entry in its place. A changed entry has a new slot. What nearly every
// lookup reads lies together in front, apart from the rest of the entry.
type slot struct {
	lastUsed atomic.Int64 // Unix nanoseconds

	// Read-only.
	span   span            // in which lookups are told steady
	length int8            // of the domain, or longName
	name   [shortName]byte // the domain, if it is short
	steady Result
	entry  *entry

	// Below memory.mu.
	rank   rank
	size   int64
	stamp  int64 // lastUsed as byUse knows it: never later than lastUsed
	inUse  int   // index in byUse
	inSize int   // index in bySize
}

const (
	shortName = 39 // octets; few domains are longer, and a cache line is full
	longName  = -1
)

// newSlot returns the slot of an entry, from what machine.steady says of it.
func newSlot(e *entry, steady Result, during span) *slot {
	s := &slot{span: during, steady: steady, entry: e, length: longName}
	if len(e.Domain) <= shortName {
		s.length = int8(copy(s.name[:], e.Domain))
	}
	return s
}

// is reports whether the slot is that of a domain.
func (s *slot) is(domain string) bool {
	if s.length == longName {
		return s.entry.Domain == domain
	}
	return string(s.name[:s.length]) == domain
}

// use marks the slot used. Once a second is exact enough for an order of eviction,
// and keeps parallel lookups of one domain from writing to the same place.
func (s *slot) use(nanos int64) {
	if nanos-s.lastUsed.Load() >= int64(time.Second) {
		s.lastUsed.Store(nanos)
	}
}

// rank is the order in which kinds of entries are evicted.
type rank uint8

const (
	rankNegative rank = iota
	rankNone
	rankTesting
	rankEnforce
)

func rankOf(e *entry) rank {
	if e.Policy == nil {
		return rankNegative
	}
	switch e.Policy.Mode {
	case ModeEnforce:
		return rankEnforce
	case ModeTesting:
		return rankTesting
	}
	return rankNone
}

type rankList struct {
	byUse  byUse
	bySize bySize
}

func newMemory(l Limits) *memory {
	return &memory{maxPolicies: l.MaxPolicies, maxBytes: l.MaxPolicyBytes, maxNegative: l.MaxNegative, index: newIndex()}
}

// get returns the entry of a domain, nil if there is none, and marks it used.
func (c *memory) get(domain string, now time.Time) *entry {
	s := c.index.get(domain)
	if s == nil {
		return nil
	}
	s.use(now.UnixNano())
	return s.entry
}

// peek returns the entry of a domain, nil if there is none. That is no use of it.
func (c *memory) peek(domain string) *entry {
	if s := c.index.get(domain); s != nil {
		return s.entry
	}
	return nil
}

// infos yields what the planner must know of the policies that are held.
func (c *memory) infos(now time.Time) iter.Seq[EntryInfo] {
	return func(yield func(EntryInfo) bool) {
		for s := range c.index.all() {
			if !s.entry.held(now) {
				continue
			}
			info := s.entry.info(now)
			info.LastUsed = latest(info.LastUsed, time.Unix(0, s.lastUsed.Load()))
			if !yield(info) {
				return
			}
		}
	}
}

// put stores a new slot and returns the entries that had to go for it. A domain that
// is new counts as used at that time.
func (c *memory) put(s *slot, used time.Time) (evicted []*entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.lastUsed.Store(used.UnixNano())
	if old := c.index.set(s); old != nil {
		// A background check is no use of the domain.
		s.lastUsed.Store(old.lastUsed.Load())
		c.unlink(old)
	}
	c.link(s)
	return c.shrink()
}

// remove drops a domain.
func (c *memory) remove(domain string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.index.remove(domain); s != nil {
		c.unlink(s)
	}
}

func (c *memory) link(s *slot) {
	s.rank, s.size, s.stamp = rankOf(s.entry), s.entry.size(), s.lastUsed.Load()
	list := &c.ranks[s.rank]
	heap.Push(&list.byUse, s)
	if s.rank != rankNegative {
		heap.Push(&list.bySize, s)
		c.bytes += s.size
	}
}

func (c *memory) unlink(s *slot) {
	list := &c.ranks[s.rank]
	heap.Remove(&list.byUse, s.inUse)
	if s.rank != rankNegative {
		heap.Remove(&list.bySize, s.inSize)
		c.bytes -= s.size
	}
}

func (c *memory) policies() int {
	n := 0
	for r := rankNone; r <= rankEnforce; r++ {
		n += len(c.ranks[r].byUse)
	}
	return n
}

// shrink evicts until every bound is kept: of the lowest rank the least recently
// used, or over the bound of octets the largest, so that the big files of a few
// owners do not push out everybody's small ones.
func (c *memory) shrink() (evicted []*entry) {
	for len(c.ranks[rankNegative].byUse) > c.maxNegative {
		evicted = append(evicted, c.evict(c.ranks[rankNegative].oldest()))
	}
	for c.policies() > c.maxPolicies {
		evicted = append(evicted, c.evict(c.lowest().oldest()))
	}
	for c.bytes > c.maxBytes {
		evicted = append(evicted, c.evict(c.lowest().bySize[0]))
	}
	return evicted
}

// lowest is the lowest rank of policies that has any.
func (c *memory) lowest() *rankList {
	for r := rankNone; r < rankEnforce; r++ {
		if len(c.ranks[r].byUse) > 0 {
			return &c.ranks[r]
		}
	}
	return &c.ranks[rankEnforce]
}

func (c *memory) evict(s *slot) *entry {
	c.unlink(s)
	c.index.remove(s.entry.Domain)
	return s.entry
}

// oldest returns the least recently used slot. Lookups do not keep the heap in
// order; a slot that was used since it was filed is filed again here.
func (l *rankList) oldest() *slot {
	for {
		s := l.byUse[0]
		used := s.lastUsed.Load()
		if used <= s.stamp {
			return s
		}
		s.stamp = used
		heap.Fix(&l.byUse, 0)
	}
}

// byUse is a heap with the least recently used on top.
type byUse []*slot

func (h byUse) Len() int           { return len(h) }
func (h byUse) Less(i, j int) bool { return h[i].stamp < h[j].stamp }
func (h byUse) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].inUse, h[j].inUse = i, j
}
func (h *byUse) Push(x any) {
	s := x.(*slot)
	s.inUse = len(*h)
	*h = append(*h, s)
}
func (h *byUse) Pop() any {
	last := len(*h) - 1
	s := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return s
}

// bySize is a heap with the largest on top.
type bySize []*slot

func (h bySize) Len() int           { return len(h) }
func (h bySize) Less(i, j int) bool { return h[i].size > h[j].size }
func (h bySize) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].inSize, h[j].inSize = i, j
}
func (h *bySize) Push(x any) {
	s := x.(*slot)
	s.inSize = len(*h)
	*h = append(*h, s)
}
func (h *bySize) Pop() any {
	last := len(*h) - 1
	s := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return s
}
