package smtpserver

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
)

// number is an address as an unsigned integer of 128 bits. IPv4 addresses use the
// lower 32.
type number struct{ hi, lo uint64 }

func numberOf(a netip.Addr) number {
	if a.Is4() {
		raw := a.As4()
		return number{0, uint64(binary.BigEndian.Uint32(raw[:]))}
	}
	raw := a.As16()
	return number{binary.BigEndian.Uint64(raw[:8]), binary.BigEndian.Uint64(raw[8:])}
}

func (n number) compare(m number) int {
	if c := cmp.Compare(n.hi, m.hi); c != 0 {
		return c
	}
	return cmp.Compare(n.lo, m.lo)
}

func (n number) less(m number) bool { return n.hi < m.hi || n.hi == m.hi && n.lo < m.lo }

func (n number) plus(m number) number {
	lo, carry := bits.Add64(n.lo, m.lo, 0)
	return number{n.hi + m.hi + carry, lo}
}

// groupStep returns the distance between neighbours of a range in one group of an
// IPv6 address: a one in the group in which the ends differ.
func groupStep(lo, hi number) number {
	for shift := 0; shift < 64; shift += 16 {
		if (lo.lo^hi.lo)>>shift&0xffff != 0 {
			return number{0, 1 << shift}
		}
		if (lo.hi^hi.hi)>>shift&0xffff != 0 {
			return number{1 << shift, 0}
		}
	}
	return number{0, 1}
}

// span is one entry: the addresses from lo to hi, both included, and its group.
type span struct {
	lo, hi number
	group  int32
}

// boundary is where a disjoint interval begins: from here to the next boundary the
// least group is this one.
type boundary struct {
	start number
	group int32
}

// disjoint folds overlapping spans into disjoint intervals, each with the least
// group that any span gives it, in order of address. Neighbours have different
// groups. It takes O(n log n) time and reorders spans.
func disjoint(spans []span) []boundary {
	slices.SortFunc(spans, func(a, b span) int { return a.lo.compare(b.lo) })
	out := []boundary{{group: none}}
	var open spanHeap
	for i, at := 0, (number{}); ; {
		for i < len(spans) && !at.less(spans[i].lo) {
			open.push(spans[i])
			i++
		}
		for len(open) > 0 && open[0].hi.less(at) {
			open.pop()
		}
		group := none
		if len(open) > 0 {
			group = open[0].group
		}
		if last := &out[len(out)-1]; last.start == at {
			last.group = group
		} else if last.group != group {
			out = append(out, boundary{at, group})
		}
		// On to the next place where something changes: a span begins, or the one
		// that counts here ends.
		var next number
		switch {
		case len(open) > 0:
			next = open[0].hi.plus(number{0, 1}) // zero behind the highest address
			if i < len(spans) && (next == number{} || spans[i].lo.less(next)) {
				next = spans[i].lo
			}
		case i < len(spans):
			next = spans[i].lo
		}
		if next == (number{}) {
			return out
		}
		at = next
	}
}

// spanHeap has the span with the least group on top. It is container/heap without
// its boxes: a table has a million spans.
type spanHeap []span

func (h *spanHeap) push(s span) {
	*h = append(*h, s)
	v := *h
	for i := len(v) - 1; i > 0; {
		parent := (i - 1) / 2
		if v[parent].group <= v[i].group {
			return
		}
		v[i], v[parent] = v[parent], v[i]
		i = parent
	}
}

func (h *spanHeap) pop() {
	v := *h
	v[0] = v[len(v)-1]
	v = v[:len(v)-1]
	*h = v
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(v); child++ {
			if v[child].group < v[least].group {
				least = child
			}
		}
		if least == i {
			return
		}
		v[i], v[least] = v[least], v[i]
		i = least
	}
}
