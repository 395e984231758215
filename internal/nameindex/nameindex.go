// Package nameindex holds tables of millions of domain names in which a lookup
// costs little.
//
// An [Index] does what a map[string]V does. What counts in a large table is how often
// a lookup reads from memory that no cache holds: here that is one octet for a name
// that is not in it, out of an array that is small enough for the cache of a
// processor, and half a cache line more for one that is. There are no pointers for the
// garbage collector to follow.
package nameindex

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"iter"
)

// MaxName is the longest name in octets. A domain name as text has at most 253, and
// may have a dot in front.
const MaxName = 255

// Index maps names to values, which should be small: a few octets. Names are
// compared octet by octet. The zero value is empty and can be read. Reading is safe for
// concurrent use; nobody may add meanwhile.
type Index[V any] struct {
	seed  maphash.Seed
	tags  []uint8   // of the slots: bits of the name's hash, 0 for a free slot
	slots []slot[V] // open addressing; a power of two, at most three quarters in use
	long  []byte    // the names that no slot has room for
	count int
}

// slot holds a name and its value.
type slot[V any] struct {
	value  V
	length uint8
	// text is the name, or for one that is longer its hash (8 octets) and its
	// place in Index.long (8 octets).
	text [maxShort]byte
}

// maxShort is the longest name that has room in a slot; with a value of four octets
// two slots are a cache line.
const maxShort = 27

// Len returns the number of names.
func (x *Index[V]) Len() int { return x.count }

// Get returns the value of a name, and whether there is one. It does not allocate.
func (x *Index[V]) Get(name []byte) (value V, ok bool) {
	if x.count == 0 {
		return value, false
	}
	i, ok := x.find(maphash.Bytes(x.seed, name), name)
	if ok {
		value = x.slots[i].value
	}
	return value, ok
}

// Add stores a name with its value, unless the name is there. It returns the value
// that the index holds now, to be changed in place before the next Add, and whether
// the name is new. A name longer than MaxName panics.
func (x *Index[V]) Add(name string, value V) (held *V, isNew bool) {
	if len(name) > MaxName {
		panic(fmt.Sprintf("nameindex: name of %d octets, %d are possible", len(name), MaxName))
	}
	if x.count >= len(x.slots)/4*3 {
		x.grow()
	}
	text := []byte(name)
	hash := maphash.Bytes(x.seed, text)
	i, found := x.find(hash, text)
	s := &x.slots[i]
	if found {
		return &s.value, false
	}
	x.tags[i] = tagOf(hash)
	s.value, s.length = value, uint8(len(text))
	if len(text) <= maxShort {
		copy(s.text[:], text)
	} else {
		binary.LittleEndian.PutUint64(s.text[:], hash)
		binary.LittleEndian.PutUint64(s.text[8:], uint64(len(x.long)))
		x.long = append(x.long, text...)
	}
	x.count++
	return &s.value, true
}

// All yields the names and their values in no order.
func (x *Index[V]) All() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for i, tag := range x.tags {
			if s := &x.slots[i]; tag != 0 && !yield(string(x.name(s)), s.value) {
				return
			}
		}
	}
}

// find returns the slot that holds a name, or the one that is free for it.
func (x *Index[V]) find(hash uint64, name []byte) (i int, found bool) {
	tag, mask := tagOf(hash), len(x.tags)-1
	for i = int(hash) & mask; ; i = (i + 1) & mask {
		switch x.tags[i] {
		case 0:
			return i, false
		case tag:
			if x.holds(&x.slots[i], hash, name) {
				return i, true
			}
		}
	}
}

// tagOf returns the bits of a hash that have no say in which slot it points to,
// for any table that fits into memory. It is never 0.
func tagOf(hash uint64) uint8 { return uint8(hash>>57) + 1 }

// holds reports whether the name in a slot is the given one.
func (x *Index[V]) holds(s *slot[V], hash uint64, name []byte) bool {
	if int(s.length) != len(name) {
		return false
	}
	if len(name) <= maxShort {
		return string(s.text[:len(name)]) == string(name)
	}
	return binary.LittleEndian.Uint64(s.text[:]) == hash && string(x.name(s)) == string(name)
}

// name returns the name in a slot.
func (x *Index[V]) name(s *slot[V]) []byte {
	if s.length <= maxShort {
		return s.text[:s.length]
	}
	place := binary.LittleEndian.Uint64(s.text[8:])
	return x.long[place : place+uint64(s.length)]
}

// grow makes room for twice as many names.
func (x *Index[V]) grow() {
	if x.slots == nil {
		x.seed = maphash.MakeSeed()
	}
	tags, slots := x.tags, x.slots
	x.tags, x.slots = make([]uint8, max(8, 2*len(tags))), make([]slot[V], max(8, 2*len(slots)))
	for i, tag := range tags {
		if tag != 0 {
			name := x.name(&slots[i])
			to, _ := x.find(maphash.Bytes(x.seed, name), name)
			x.tags[to], x.slots[to] = tag, slots[i]
		}
	}
}
