// Package chaincache remembers certificate chains that were verified, so that a
// mail host seen again costs one hash of its chain and no signature check.
//
// Only successes are stored: a failure may be over at the next try. Names are
// never part of an entry and must be compared on every hit. An entry counts only
// inside the validity of the verified path and below a maximum age, both judged
// by the now of the call, and never for a now before it was stored: a clock that
// steps back finds nothing rather than something from its future.
//
// The one implementation serves DANE trust anchors and ordinary trust lists.
package chaincache

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"sync"
	"time"
)

const (
	// DefaultMaxAge is how long an entry serves when New is given no age.
	DefaultMaxAge = time.Hour
	// MaxMaxAge caps the age that New accepts: a change of trust that no key
	// shows is then honoured within a day.
	MaxMaxAge = 24 * time.Hour
	// MaxChain is the most certificates that Key hashes. Longer chains are not
	// cached.
	MaxChain = 256
)

// Cache is a bounded map from chain keys to what their verification gave. It is
// safe for concurrent use. The nil Cache stores nothing.
type Cache[V any] struct {
	limit  int
	maxAge time.Duration

	mu      sync.RWMutex
	entries map[[sha256.Size]byte]entry[V]
}

type entry[V any] struct {
	value               V
	notBefore, notAfter time.Time
	stored              time.Time
}

// New returns a Cache of at most limit entries (at least one) that each serve
// for maxAge at the most: 0 or less is DefaultMaxAge, more than MaxMaxAge is
// MaxMaxAge.
func New[V any](limit int, maxAge time.Duration) *Cache[V] {
	if maxAge <= 0 {
		maxAge = DefaultMaxAge
	}
	return &Cache[V]{
		limit:   max(limit, 1),
		maxAge:  min(maxAge, MaxMaxAge),
		entries: make(map[[sha256.Size]byte]entry[V]),
	}
}

// Get returns what was stored under key and still counts at now. It does not
// allocate.
func (c *Cache[V]) Get(key [sha256.Size]byte, now time.Time) (V, bool) {
	var none V
	if c == nil {
		return none, false
	}
	c.mu.RLock()
	e, ok := c.entries[key]
	c.mu.RUnlock()
	if !ok || !e.counts(now, c.maxAge) {
		return none, false
	}
	return e.value, true
}

// counts: X.509 validity has whole seconds and includes both ends (RFC 5280
// section 4.1.2.5), so a fraction of a second does not end it early.
func (e *entry[V]) counts(now time.Time, maxAge time.Duration) bool {
	second := now.Truncate(time.Second)
	return !second.Before(e.notBefore) && !second.After(e.notAfter) &&
		!now.Before(e.stored) && now.Sub(e.stored) < maxAge
}

// Put stores the value of a verification that succeeded at now. notBefore and
// notAfter are the latest start and the earliest end of the verified path. A
// full cache first drops what no longer counts, and if nothing is found among a
// few entries, an arbitrary one.
func (c *Cache[V]) Put(key [sha256.Size]byte, value V, notBefore, notAfter, now time.Time) {
	if c == nil {
		return
	}
	e := entry[V]{value, notBefore, notAfter, now}
	if !e.counts(now, c.maxAge) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.entries[key]; !known && len(c.entries) >= c.limit {
		c.evict(now)
	}
	c.entries[key] = e
}

// evictLook bounds the search for an entry that no longer counts, so that Put
// stays cheap in a cache full of good ones.
const evictLook = 16

func (c *Cache[V]) evict(now time.Time) {
	var victim [sha256.Size]byte
	looked := 0
	for key, e := range c.entries { // Go starts each walk at a random place
		victim = key
		if looked++; looked == evictLook || !e.counts(now, c.maxAge) {
			break
		}
	}
	delete(c.entries, victim)
}

// Len returns the number of entries, those that no longer count included.
func (c *Cache[V]) Len() int {
	if c == nil {
		return 0
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.entries)
}

// Key returns the SHA-256 over the tag, whatever else the verdict depends on
// (trust generation, record set, usage: each hashed to 32 octets by the caller)
// and the chain as received, every certificate with its length, so that no two
// chains run together. The tag must have at most 255 octets; it keeps users of
// one cache apart.
//
// It returns false, and the chain must be verified without cache, when the chain
// is empty, longer than MaxChain, or has a certificate without DER. It does not
// allocate: the copy of small inputs goes through a buffer on the stack, and the
// digest does not escape.
func Key(tag string, chain []*x509.Certificate, more ...[sha256.Size]byte) ([sha256.Size]byte, bool) {
	var key [sha256.Size]byte
	if len(chain) == 0 || len(chain) > MaxChain || len(tag) > 255 {
		return key, false
	}
	h := sha256.New()
	var buf [1 + 255 + 2]byte
	b := append(buf[:0], byte(len(tag)))
	b = append(b, tag...)
	b = append(b, byte(len(more)>>8), byte(len(more)))
	h.Write(b)
	for i := range more {
		h.Write(append(buf[:0], more[i][:]...))
	}
	for _, cert := range chain {
		if cert == nil || len(cert.Raw) == 0 {
			return key, false
		}
		h.Write(binary.BigEndian.AppendUint32(buf[:0], uint32(len(cert.Raw))))
		h.Write(cert.Raw)
	}
	h.Sum(key[:0])
	return key, true
}
