package dane

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"sync"
	"time"
	"weak"

	"github.com/smtpsec/smtpsec/internal/chaincache"
)

// defaultCachedChains is the size of a ChainCache that is given none. An entry
// takes about 150 octets.
const defaultCachedChains = 1024

// A ChainCache remembers which certificate chains satisfied which records, so
// that a mail host seen again costs hashes and a comparison of names instead of
// signature checks. It serves usages 0, 1 and 2; usage 3 is faster without.
//
// Only successes are kept. An entry holds for exactly the same chain, records,
// profile and roots, within the validity of the certificates on the path and a
// maximum age. Names are compared each time. Nothing else differs from a check
// without cache.
//
// It is safe for concurrent use, and meant to be shared by Verifiers. The zero
// value remembers nothing; NewChainCache makes a useful one.
type ChainCache struct {
	verified *chaincache.Cache[verified]

	mu    sync.Mutex
	roots map[weak.Pointer[x509.CertPool]]uint64 // a number for each pool
	next  uint64
}

// verified is what is remembered about a chain. The rank is that of the sorted
// set, so that Verifiers made from the same records in another order can share
// it.
type verified struct {
	rank, depth int
	cn          bool // no certificate on the path has name constraints
}

// NewChainCache returns a cache of so many chains, 1,024 if chains is 0 or less,
// that each serve for maxAge at most: one hour if maxAge is 0 or less, and never
// more than 24 hours.
func NewChainCache(chains int, maxAge time.Duration) *ChainCache {
	if chains <= 0 {
		chains = defaultCachedChains
	}
	return &ChainCache{verified: chaincache.New[verified](chains, maxAge)}
}

// identity returns what, besides the chain, decides about a verdict.
func (c *ChainCache) identity(partition [sha256.Size]byte, o *Options) [sha256.Size]byte {
	if c == nil {
		return [sha256.Size]byte{}
	}
	b := append(make([]byte, 0, 64), partition[:]...)
	if o.commonName() { // chains with name constraints are passed over for it
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	return sha256.Sum256(binary.BigEndian.AppendUint64(b, c.poolNumber(o.Roots)))
}

// maxDeadPools is how many pools may be gone before their numbers are swept out.
const maxDeadPools = 64

// poolNumber returns a number that no other pool has or will have. The address
// alone would not do: that of a freed pool is used again, while weak pointers to
// two pools are never equal.
func (c *ChainCache) poolNumber(pool *x509.CertPool) uint64 {
	if pool == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	id := weak.Make(pool)
	if n, ok := c.roots[id]; ok {
		return n
	}
	if len(c.roots) >= maxDeadPools {
		for p := range c.roots {
			if p.Value() == nil {
				delete(c.roots, p)
			}
		}
	}
	if c.roots == nil {
		c.roots = make(map[weak.Pointer[x509.CertPool]]uint64)
	}
	c.next++
	c.roots[id] = c.next
	return c.next
}

func (c *ChainCache) get(key [sha256.Size]byte, now time.Time) (verified, bool) {
	if c == nil {
		return verified{}, false
	}
	return c.verified.Get(key, now)
}

// key returns the place of a chain in the cache, and false if it has none.
func (c *ChainCache) key(chain []*x509.Certificate, identity [sha256.Size]byte) ([sha256.Size]byte, bool) {
	if c == nil || c.verified == nil {
		return [sha256.Size]byte{}, false
	}
	return chaincache.Key("dane", chain, identity)
}

func (c *ChainCache) put(key [sha256.Size]byte, p path, now time.Time) {
	notBefore, notAfter := p.validity()
	c.verified.Put(key, p.verified, notBefore, notAfter, now)
}
