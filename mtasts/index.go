package mtasts

import (
	"hash/maphash"
	"iter"
	"math/bits"
	"sync/atomic"
)

// index finds the slot of a domain. One goroutine at a time may change it; any
// number may read it meanwhile, and a read takes no lock, which would be written to
// by all cores. What costs time in a cache of many domains is memory that is far
// away: a read goes to one cache line here, and from there to the slot, which has
// the name.
type index struct {
	seed   maphash.Seed
	groups atomic.Pointer[[]group] // a domain is in the group of its hash, or one after
	taken  int                     // places that are not free, of removed domains too
	live   int                     // domains
}

// group is one cache line: some slots and a few bits of the hash of each domain. A
// place whose domain was removed has no slot, and keeps its tag as long as the group
// lasts, so that a reader never stops too early.
type group struct {
	tags  atomic.Uint64 // an octet for each place; 0: free
	slots [groupSize]atomic.Pointer[slot]
}

const (
	groupSize = 7
	inGroup   = highBits >> 8 // the high bits of the octets that are tags
	minGroups = 4
	// The places of a group that are taken, on average: when there is to be
	// more room, and after that.
	fullGroups, newGroups = 6, 3
)

func newIndex() *index {
	x := &index{seed: maphash.MakeSeed()}
	x.groups.Store(new(make([]group, minGroups)))
	return x
}

// place is one of the places of a group.
type place struct {
	group *group
	i     int
	tag   uint64
}

// get returns the slot of a domain, nil if there is none.
func (x *index) get(domain string) *slot {
	_, s := x.find(*x.groups.Load(), domain)
	return s
}

// find returns the place of a domain with its slot, or the one that is free for it.
// There always is a free one.
func (x *index) find(groups []group, domain string) (place, *slot) {
	hash := maphash.String(x.seed, domain)
	tag := hash&0x7f + 1
	first, _ := bits.Mul64(hash, uint64(len(groups))) // by the high bits
	for i := int(first); ; i++ {
		if i == len(groups) {
			i = 0
		}
		g := &groups[i]
		tags := g.tags.Load()
		for same := zeroOctets(tags ^ tag*each); same != 0; same &= same - 1 {
			at := bits.TrailingZeros64(same) / 8
			if s := g.slots[at].Load(); s != nil && s.is(domain) {
				return place{g, at, tag}, s
			}
		}
		if free := zeroOctets(tags); free != 0 {
			return place{g, bits.TrailingZeros64(free) / 8, tag}, nil
		}
	}
}

// zeroOctets marks the octets of a group's tags that are zero with their high bits.
// Behind the first there may be marks too many.
func zeroOctets(tags uint64) uint64 { return (tags - each) &^ tags & inGroup }

// put fills a place that find has returned.
func (p place) put(s *slot) {
	p.group.slots[p.i].Store(s)
	shift := 8 * p.i
	p.group.tags.Store(p.group.tags.Load()&^(0xff<<shift) | p.tag<<shift)
}

// set puts a slot in the place of the one that its domain had, which it returns.
func (x *index) set(s *slot) (old *slot) {
	at, old := x.find(*x.groups.Load(), s.entry.Domain)
	if old == nil {
		if x.taken >= fullGroups*len(*x.groups.Load()) {
			x.rebuild()
			at, _ = x.find(*x.groups.Load(), s.entry.Domain)
		}
		x.taken++
		x.live++
	}
	at.put(s)
	return old
}

// remove drops a domain and returns its slot.
func (x *index) remove(domain string) *slot {
	at, s := x.find(*x.groups.Load(), domain)
	if s != nil {
		at.group.slots[at.i].Store(nil)
		x.live--
	}
	return s
}

// rebuild makes room and leaves the places of removed domains behind. Those who are
// reading go on in the old groups.
func (x *index) rebuild() {
	groups := make([]group, max(minGroups, x.live/newGroups+1))
	for s := range x.all() {
		at, _ := x.find(groups, s.entry.Domain)
		at.put(s)
	}
	x.groups.Store(&groups)
	x.taken = x.live
}

// all yields the slots in no order: those that are there all the time once, those
// that come or go meanwhile perhaps.
func (x *index) all() iter.Seq[*slot] {
	return func(yield func(*slot) bool) {
		groups := *x.groups.Load()
		for i := range groups {
			for j := range groups[i].slots {
				if s := groups[i].slots[j].Load(); s != nil && !yield(s) {
					return
				}
			}
		}
	}
}
