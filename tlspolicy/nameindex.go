package tlspolicy

import (
	"encoding/binary"
	"hash/maphash"
	"iter"
)

// nameIndex maps names to settings. It does what a map[string]Settings does, for
// tables of millions of names, where a lookup costs what it reads from places in
// memory that no cache holds. Here that is one octet for a name that it has not,
// out of an array that is small enough for the cache of a processor, and half a
// cache line more for one that it has. It has no pointers for the garbage
// collector to follow. The zero value is empty and can be read.
type nameIndex struct {
	seed  maphash.Seed
	tags  []uint8     // of the slots: bits of the name's hash, 0 for a free slot
	slots []indexSlot // open addressing; a power of two, at most three quarters in use
	long  []byte      // the names that no slot has room for
	count int
}

// indexSlot holds a name and its settings.
type indexSlot struct {
	settings packedSettings
	length   uint8 // of the name; no name is empty
	// text is the name, or for one that is longer its hash (8 octets) and its
	// place in nameIndex.long (8 octets).
	text [maxShortName]byte
}

const maxShortName = 29

// packedSettings are Settings of which all fields are in range, as bits.
type packedSettings uint16

func packSettings(s Settings) packedSettings {
	return packedSettings(s.Mode) | packedSettings(s.DANE)<<3 | packedSettings(s.MTASTS)<<5 | packedSettings(s.Fallback)<<7
}

func (p packedSettings) mode() Mode         { return Mode(p & 7) }
func (p packedSettings) dane() DANE         { return DANE(p >> 3 & 3) }
func (p packedSettings) mtasts() MTASTS     { return MTASTS(p >> 5 & 3) }
func (p packedSettings) fallback() Fallback { return Fallback(p >> 7 & 3) }

func (p packedSettings) unpack() Settings {
	return Settings{Mode: p.mode(), DANE: p.dane(), MTASTS: p.mtasts(), Fallback: p.fallback()}
}

// get returns the settings of a name.
func (x *nameIndex) get(name []byte) (packedSettings, bool) {
	if x.count == 0 {
		return 0, false
	}
	i, found := x.find(maphash.Bytes(x.seed, name), name)
	if !found {
		return 0, false
	}
	return x.slots[i].settings, true
}

// find returns the slot that holds a name, or the one that is free for it.
func (x *nameIndex) find(hash uint64, name []byte) (i int, found bool) {
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
func (x *nameIndex) holds(s *indexSlot, hash uint64, name []byte) bool {
	if int(s.length) != len(name) {
		return false
	}
	if len(name) <= maxShortName {
		return string(s.text[:len(name)]) == string(name)
	}
	return binary.LittleEndian.Uint64(s.text[:]) == hash && string(x.name(s)) == string(name)
}

// name returns the name in a slot.
func (x *nameIndex) name(s *indexSlot) []byte {
	if s.length <= maxShortName {
		return s.text[:s.length]
	}
	place := binary.LittleEndian.Uint64(s.text[8:])
	return x.long[place : place+uint64(s.length)]
}

// add stores a canonical name and reports whether it is new; the settings of one
// that is not stay as they are.
func (x *nameIndex) add(text string, settings Settings) bool {
	if x.count >= len(x.slots)/4*3 {
		x.grow()
	}
	name := []byte(text)
	hash := maphash.Bytes(x.seed, name)
	i, found := x.find(hash, name)
	if found {
		return false
	}
	x.tags[i] = tagOf(hash)
	s := &x.slots[i]
	s.settings, s.length = packSettings(settings), uint8(len(name))
	if len(name) <= maxShortName {
		copy(s.text[:], name)
	} else {
		binary.LittleEndian.PutUint64(s.text[:], hash)
		binary.LittleEndian.PutUint64(s.text[8:], uint64(len(x.long)))
		x.long = append(x.long, name...)
	}
	x.count++
	return true
}

// grow makes room for twice as many names.
func (x *nameIndex) grow() {
	if x.slots == nil {
		x.seed = maphash.MakeSeed()
	}
	tags, slots := x.tags, x.slots
	x.tags, x.slots = make([]uint8, max(8, 2*len(tags))), make([]indexSlot, max(8, 2*len(slots)))
	for i, tag := range tags {
		if tag != 0 {
			name := x.name(&slots[i])
			to, _ := x.find(maphash.Bytes(x.seed, name), name)
			x.tags[to], x.slots[to] = tag, slots[i]
		}
	}
}

// all returns the names and their Settings in no order.
func (x *nameIndex) all() iter.Seq2[string, Settings] {
	return func(yield func(string, Settings) bool) {
		for i, tag := range x.tags {
			if s := &x.slots[i]; tag != 0 && !yield(string(x.name(s)), s.settings.unpack()) {
				return
			}
		}
	}
}
