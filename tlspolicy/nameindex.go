package tlspolicy

import (
	"hash/maphash"
	"iter"
)

// nameIndex maps names to Settings. It does what a map[string]Settings does, for
// tables of millions of names: it takes half the memory, has no pointers for the
// garbage collector to follow, and looks at two places in memory for a name that
// it has and at one for a name that it has not, which is what such a lookup
// costs. The zero value is empty and can be read.
type nameIndex struct {
	seed  maphash.Seed
	slots []indexSlot // open addressing; a power of two, at most three quarters in use
	names []byte      // one after the other, each behind an octet with its length
	count int
}

// indexSlot holds, from the lowest bit, the place of a name in nameIndex.names
// plus one (40 bits, so that 0 is an empty slot), its Settings (9 bits) and the
// upper bits of its hash (15 bits).
type indexSlot uint64

const (
	slotPlaceBits    = 40
	slotSettingsBits = 9
	slotHashShift    = slotPlaceBits + slotSettingsBits
)

func (s indexSlot) place() int { return int(s&(1<<slotPlaceBits-1)) - 1 }

func (s indexSlot) sameHash(hash uint64) bool { return uint64(s)>>slotHashShift == hash>>slotHashShift }

// settings unpacks what packSettings packed.
func (s indexSlot) settings() Settings {
	bits := s >> slotPlaceBits
	return Settings{Mode(bits & 7), DANE(bits >> 3 & 3), MTASTS(bits >> 5 & 3), Fallback(bits >> 7 & 3)}
}

// packSettings packs Settings whose fields are all in range.
func packSettings(s Settings) indexSlot {
	return (indexSlot(s.Mode)&7 | indexSlot(s.DANE)&3<<3 | indexSlot(s.MTASTS)&3<<5 | indexSlot(s.Fallback)&3<<7) << slotPlaceBits
}

// name returns the name at a place.
func (x *nameIndex) name(place int) []byte {
	return x.names[place+1 : place+1+int(x.names[place])]
}

// get returns the Settings of a name.
func (x *nameIndex) get(name []byte) (Settings, bool) {
	if x.count == 0 {
		return Settings{}, false
	}
	hash := maphash.Bytes(x.seed, name)
	s := x.slots[x.find(hash, name)]
	return s.settings(), s != 0
}

// find returns the slot that holds a name or is free for it.
func (x *nameIndex) find(hash uint64, name []byte) uint64 {
	mask := uint64(len(x.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := x.slots[i]
		if s == 0 || s.sameHash(hash) && string(x.name(s.place())) == string(name) {
			return i
		}
	}
}

// add stores a canonical name and reports whether it is new; the Settings of one
// that is not stay as they are.
func (x *nameIndex) add(name string, s Settings) bool {
	if x.count >= len(x.slots)/4*3 {
		x.grow()
	}
	place := len(x.names)
	x.names = append(append(x.names, byte(len(name))), name...)
	added := x.name(place)
	hash := maphash.Bytes(x.seed, added)
	i := x.find(hash, added)
	if x.slots[i] != 0 {
		x.names = x.names[:place]
		return false
	}
	x.slots[i] = indexSlot(hash>>slotHashShift<<slotHashShift) | packSettings(s) | indexSlot(place+1)
	x.count++
	return true
}

// grow makes room for twice as many names.
func (x *nameIndex) grow() {
	if x.slots == nil {
		x.seed = maphash.MakeSeed()
	}
	old := x.slots
	x.slots = make([]indexSlot, max(8, 2*len(old)))
	for _, s := range old {
		if s != 0 {
			name := x.name(s.place())
			x.slots[x.find(maphash.Bytes(x.seed, name), name)] = s
		}
	}
}

// all returns the names and their Settings in no order.
func (x *nameIndex) all() iter.Seq2[string, Settings] {
	return func(yield func(string, Settings) bool) {
		for _, s := range x.slots {
			if s != 0 && !yield(string(x.name(s.place())), s.settings()) {
				return
			}
		}
	}
}
