package smtpserver

import (
	"net/netip"
	"sync"
	"time"
)

// limitKey returns what limits per address count by: an IPv4 address, or the prefix
// of an IPv6 address that one customer has. Peers without an address count together.
func limitKey(addr netip.Addr, prefix int) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if !addr.Is6() {
		return addr
	}
	return netip.PrefixFrom(addr, prefix).Masked().Addr()
}

// recipientCounts counts recipients per address in windows of an hour, each of
// which begins with the first recipient.
type recipientCounts struct {
	mu     sync.Mutex
	counts map[netip.Addr]recipientCount
	swept  time.Time
}

type recipientCount struct {
	since time.Time
	n     int
}

const (
	recipientWindow = time.Hour
	// maxRecipientCounts bounds the addresses that are counted at a time. When there
	// are more, some of those that have used least are forgotten.
	maxRecipientCounts = 1 << 17
)

// take takes one from the hour's recipients of an address. It returns false and
// takes nothing when limit has been reached.
func (r *recipientCounts) take(key netip.Addr, limit int, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	count, ok := r.counts[key]
	if !ok || now.Sub(count.since) >= recipientWindow {
		count = recipientCount{since: now}
	}
	if count.n >= limit {
		return false
	}
	count.n++
	if !ok {
		r.makeRoom(now)
	}
	if r.counts == nil {
		r.counts = make(map[netip.Addr]recipientCount)
	}
	r.counts[key] = count
	return true
}

// makeRoom forgets windows that are over, at most once a minute, and when that is
// not enough the one of a few that has counted least.
func (r *recipientCounts) makeRoom(now time.Time) {
	full := len(r.counts) >= maxRecipientCounts
	if now.Sub(r.swept) >= recipientWindow || full && now.Sub(r.swept) >= time.Minute {
		r.swept = now
		for key, count := range r.counts {
			if now.Sub(count.since) >= recipientWindow {
				delete(r.counts, key)
			}
		}
	}
	if len(r.counts) < maxRecipientCounts {
		return
	}
	const candidates = 16
	var least netip.Addr
	seen, n := 0, 0
	for key, count := range r.counts {
		if seen == 0 || count.n < n {
			least, n = key, count.n
		}
		if seen++; seen == candidates {
			break
		}
	}
	delete(r.counts, least)
}
