package dnssec

import (
	"container/list"
	"sync"
	"time"
)

// maxBorders bounds how many names a Validator knows the way through. An entry with keys has about 1 KiB.
const maxBorders = 4096

// A zoneCache keeps what was found on the way down to zones and drops what was not used for the longest time. It holds
// only what was validated. It is safe for concurrent use.
type zoneCache struct {
	disabled bool

	mu      sync.Mutex
	entries map[wireName]*list.Element
	order   list.List // of *zoneEntry, used last first
}

type zoneEntry struct {
	name wireName
	border
}

func (c *zoneCache) get(name wireName, now time.Time) (border, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[name]
	if e == nil {
		return border{}, false
	}
	entry := e.Value.(*zoneEntry)
	if !now.Before(entry.expires) {
		c.order.Remove(e)
		delete(c.entries, name)
		return border{}, false
	}
	c.order.MoveToFront(e)
	return entry.border, true
}

func (c *zoneCache) put(name wireName, b border, now time.Time) {
	if c.disabled || !now.Before(b.expires) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries = make(map[wireName]*list.Element)
	}
	if e := c.entries[name]; e != nil {
		e.Value = &zoneEntry{name, b}
		c.order.MoveToFront(e)
		return
	}
	for len(c.entries) >= maxBorders {
		oldest := c.order.Back()
		delete(c.entries, oldest.Value.(*zoneEntry).name)
		c.order.Remove(oldest)
	}
	c.entries[name] = c.order.PushFront(&zoneEntry{name, b})
}
