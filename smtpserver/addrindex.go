package smtpserver

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// ipv4Index finds the group of an IPv4 address. starts holds where each disjoint
// interval begins; groups, its group.
type ipv4Index struct {
	starts []uint32
	groups []int32
	// first has, for each value of the upper 16 bits, the number of starts below
	// it, so that the search begins with few candidates. Small tables do without.
	first []int32
}

// indexedFrom is the number of intervals from which the 256 KiB of first pay.
const indexedFrom = 4096

func newIPv4Index(spans []span) ipv4Index {
	folded := disjoint(spans)
	x := ipv4Index{make([]uint32, len(folded)), make([]int32, len(folded)), nil}
	for i, b := range folded {
		// A span that ends at the highest address leaves a boundary behind it, at
		// 2^32, that no address reaches.
		if b.start.lo > 0xffffffff {
			x.starts, x.groups = x.starts[:i], x.groups[:i]
			break
		}
		x.starts[i], x.groups[i] = uint32(b.start.lo), b.group
	}
	if len(x.starts) < indexedFrom {
		return x
	}
	x.first = make([]int32, 1<<16+1)
	i := 0
	for top := range x.first {
		for i < len(x.starts) && uint64(x.starts[i]) < uint64(top)<<16 {
			i++
		}
		x.first[top] = int32(i)
	}
	return x
}

func (x *ipv4Index) lookup(peer netip.Addr) int32 {
	raw := peer.As4()
	at := binary.BigEndian.Uint32(raw[:])
	lo, hi := 0, len(x.starts)
	if x.first != nil {
		lo, hi = int(x.first[at>>16]), int(x.first[at>>16+1])
	}
	// The interval of at begins at the last start that is not above it.
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); x.starts[mid] <= at {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return x.groups[lo-1]
}

// ipv6Index finds the group of an IPv6 address.
type ipv6Index struct {
	starts []number
	groups []int32
	// first has, for each value of the 16 bits behind those that all starts but the
	// lowest have in common, the number of starts below it. Small tables do without.
	first []int32
	skip  uint // the number of common bits, at most 48
}

func newIPv6Index(spans []span) ipv6Index {
	folded := disjoint(spans)
	x := ipv6Index{starts: make([]number, len(folded)), groups: make([]int32, len(folded))}
	for i, b := range folded {
		x.starts[i], x.groups[i] = b.start, b.group
	}
	if len(x.starts) < indexedFrom {
		return x
	}
	low, high := x.starts[1].hi, x.starts[len(x.starts)-1].hi
	x.skip = min(uint(bits.LeadingZeros64(low^high)), 48)
	x.first = make([]int32, 1<<16+1)
	i := 1
	for key := range x.first {
		for i < len(x.starts) && x.key(x.starts[i]) < key {
			i++
		}
		x.first[key] = int32(i)
	}
	return x
}

// key returns the bits that first goes by, for a number between the starts.
func (x *ipv6Index) key(n number) int { return int(n.hi << x.skip >> 48) }

func (x *ipv6Index) lookup(peer netip.Addr) int32 {
	at := numberOf(peer)
	lo, hi := 0, len(x.starts)
	if x.first != nil {
		switch {
		case at.less(x.starts[1]):
			return x.groups[0]
		case !at.less(x.starts[hi-1]):
			return x.groups[hi-1]
		}
		key := x.key(at)
		lo, hi = int(x.first[key]), int(x.first[key+1])
	}
	// The interval of at begins at the last start that is not above it.
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); at.less(x.starts[mid]) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return x.groups[lo-1]
}
