package tlsrpt

// indexDetails is from how many details on they are found by hash. Most domains
// fail in one or two ways, for which a map costs a thousand octets more.
const indexDetails = 16

// detailMemory is what a detail takes besides its text: its place in the list and
// in the index, and the room that both have in advance.
const detailMemory = 640

// memory is what the key takes as a detail, in octets.
func (k *DetailKey) memory() int64 {
	return int64(detailMemory + len(k.ReceivingMX) + len(k.ReceivingHelo) + len(k.Reason) + len(k.Info))
}

// detailList counts failure details. The zero value is empty.
type detailList struct {
	list  []detailCount
	index map[DetailKey]int32 // places in list; nil while there are few
}

type detailCount struct {
	key   DetailKey
	count uint64
}

// find returns the counter of a key, nil if there is none.
func (l *detailList) find(key *DetailKey) *uint64 {
	if l.index != nil {
		if i, ok := l.index[*key]; ok {
			return &l.list[i].count
		}
		return nil
	}
	for i := range l.list {
		if l.list[i].key == *key {
			return &l.list[i].count
		}
	}
	return nil
}

// add adds a key that is not there, counted once.
func (l *detailList) add(key DetailKey) {
	l.list = append(l.list, detailCount{key, 1})
	if l.index == nil && len(l.list) > indexDetails {
		l.index = make(map[DetailKey]int32, 2*indexDetails)
		for i := range l.list {
			l.index[l.list[i].key] = int32(i)
		}
	}
	if l.index != nil {
		l.index[key] = int32(len(l.list) - 1)
	}
}

// counts returns the details as a snapshot has them, nil if there are none.
func (l *detailList) counts() map[DetailKey]uint64 {
	if len(l.list) == 0 {
		return nil
	}
	counts := make(map[DetailKey]uint64, len(l.list))
	for i := range l.list {
		counts[l.list[i].key] = l.list[i].count
	}
	return counts
}
