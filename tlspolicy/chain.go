package tlspolicy

import (
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smtpsec/smtpsec/internal/chaincache"
	"github.com/smtpsec/smtpsec/internal/chainpath"
)

// ErrNoTrust says that there is nothing to trust: a nil certificate pool, which
// crypto/x509 would silently read as the operating system's roots, or a
// verifier that was not made by its constructor.
var ErrNoTrust = errors.New("tlspolicy: no trusted roots: pass a certificate pool, or ask for the operating system's roots by name")

const (
	// MaxCertificates is the number of certificates that a peer may send; more
	// are untrusted without being looked at. Public hierarchies need three or
	// four; the rest is room for servers that send what they have. GnuTLS draws
	// the line at 16 too (DEFAULT_MAX_VERIFY_DEPTH).
	MaxCertificates = 16

	// DefaultCacheEntries is the number of verified chains remembered unless
	// [PoolOptions] says otherwise.
	DefaultCacheEntries = 4096
)

// ChainVerifier decides whether a chain leads to a trusted root. Implementations
// must be safe for concurrent use. [PoolVerifier] is one; the trust lists of
// package certs satisfy the interface too.
//
// chain is what the peer sent: its own certificate first, the others in any
// order and mixed with anything, all of them candidates for a path. usage is the
// extended key usage that the path must allow. The path returned runs from the
// leaf to the root and must not be modified. Names are not the verifier's
// business: [Verifier.Check] compares them.
//
// An [x509.CertificateInvalidError] with reason Expired on the leaf promises that
// the leaf's validity period is the only defect. crypto/x509 looks at dates
// before it looks for a path, so an implementation must verify once more at a
// moment inside the leaf's validity, and return what that finds, if anything.
//
// A verifier whose trust can change should also have a method
// Generation() uint64 that returns another value after each change. It keeps TLS
// sessions and connections made under the former trust from being reused.
type ChainVerifier interface {
	VerifyChain(chain []*x509.Certificate, usage x509.ExtKeyUsage) (path []*x509.Certificate, err error)
}

// PoolOptions are the settings of a [PoolVerifier].
type PoolOptions struct {
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// CacheEntries bounds the number of verified chains remembered. 0 is
	// DefaultCacheEntries, less switches the cache off.
	CacheEntries int
	// MaxAge bounds how long a verified chain is taken as verified. 0 or less is
	// one hour; more than 24 hours is 24 hours.
	MaxAge time.Duration
}

// PoolVerifier is the [ChainVerifier] for callers that hold an [x509.CertPool],
// or that want the operating system's roots. It remembers verified chains: for as
// long as every certificate of the path is valid and MaxAge allows, the same
// chain costs one hash and no allocation. Failures are not remembered.
//
// It is safe for concurrent use. The zero PoolVerifier and a nil *PoolVerifier
// trust nothing.
type PoolVerifier struct {
	now   func() time.Time
	cache *chaincache.Cache[[]*x509.Certificate] // nil: switched off

	trust atomic.Pointer[poolTrust]
	mu    sync.Mutex // serialises Replace
}

// poolTrust is what one generation trusts; it does not change.
type poolTrust struct {
	roots      *x509.CertPool // nil: the operating system's roots
	generation uint64
}

// NewPoolVerifier returns a PoolVerifier that trusts the roots in pool. The pool
// is copied. A nil pool is [ErrNoTrust]; an empty one verifies nothing.
func NewPoolVerifier(pool *x509.CertPool, opts PoolOptions) (*PoolVerifier, error) {
	if pool == nil {
		return nil, ErrNoTrust
	}
	return newPoolVerifier(pool.Clone(), opts), nil
}

// NewSystemVerifier returns a PoolVerifier that trusts the operating system's
// roots, as crypto/x509 finds them; on Windows and macOS the system's own
// verifier is asked. [NewVerifier] uses one when it is given no ChainVerifier.
func NewSystemVerifier(opts PoolOptions) *PoolVerifier {
	return newPoolVerifier(nil, opts)
}

func newPoolVerifier(roots *x509.CertPool, opts PoolOptions) *PoolVerifier {
	v := &PoolVerifier{now: opts.Now}
	if v.now == nil {
		v.now = time.Now
	}
	switch {
	case opts.CacheEntries == 0:
		v.cache = chaincache.New[[]*x509.Certificate](DefaultCacheEntries, opts.MaxAge)
	case opts.CacheEntries > 0:
		v.cache = chaincache.New[[]*x509.Certificate](opts.CacheEntries, opts.MaxAge)
	}
	v.trust.Store(&poolTrust{roots: roots, generation: 1})
	return v
}

// Replace makes the verifier trust the roots in pool, of which it keeps a copy,
// and nothing else, from the next call of VerifyChain on. What was verified
// before no longer counts. A nil pool is [ErrNoTrust] and changes nothing.
func (v *PoolVerifier) Replace(pool *x509.CertPool) error {
	if pool == nil {
		return ErrNoTrust
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	former := v.trust.Load()
	if former == nil {
		return ErrNoTrust
	}
	v.trust.Store(&poolTrust{roots: pool.Clone(), generation: former.generation + 1})
	return nil
}

// Generation returns 1, and one more for every Replace. A verifier that trusts
// nothing because it was not made by a constructor has generation 0.
func (v *PoolVerifier) Generation() uint64 {
	if v == nil {
		return 0
	}
	trust := v.trust.Load()
	if trust == nil {
		return 0
	}
	return trust.generation
}

// cacheTag keeps these entries apart from those of other users of the cache's
// key function.
const cacheTag = "tlspolicy.PoolVerifier"

// VerifyChain implements [ChainVerifier]. If several paths exist, one without
// name constraints is preferred, since constraints rule out the common name, then
// the shortest. Signatures with SHA-1 or MD5 are refused, as crypto/x509 does.
//
// Errors: [ErrNoTrust], those of crypto/x509, and plain ones for an empty chain,
// one of more than [MaxCertificates] and one with a certificate that was not
// parsed.
func (v *PoolVerifier) VerifyChain(chain []*x509.Certificate, usage x509.ExtKeyUsage) ([]*x509.Certificate, error) {
	if v == nil {
		return nil, ErrNoTrust
	}
	trust := v.trust.Load()
	if trust == nil {
		return nil, ErrNoTrust
	}
	if err := checkChainShape(chain); err != nil {
		return nil, err
	}
	now := v.now()
	key, cacheable := chaincache.Key(cacheTag, chain, trust.scope(usage))
	if cacheable {
		if path, ok := v.cache.Get(key, now); ok {
			return path, nil
		}
	}
	path, err := chainpath.Verify(chain, chainpath.Options{Roots: trust.roots, Usage: usage, Now: now})
	if err != nil {
		return nil, err
	}
	if cacheable {
		notBefore, notAfter := chainpath.Validity(path)
		v.cache.Put(key, path, notBefore, notAfter, now)
	}
	return path, nil
}

// scope is what a verdict depends on besides chain and time.
func (t *poolTrust) scope(usage x509.ExtKeyUsage) [32]byte {
	var scope [32]byte
	binary.BigEndian.PutUint64(scope[:8], t.generation)
	binary.BigEndian.PutUint64(scope[8:16], uint64(usage))
	return scope
}

// checkChainShape refuses what must not reach crypto/x509, whose pools panic on
// a nil certificate.
func checkChainShape(chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return errors.New("tlspolicy: the peer sent no certificate")
	}
	if len(chain) > MaxCertificates {
		return fmt.Errorf("tlspolicy: the peer sent %d certificates, at most %d are looked at", len(chain), MaxCertificates)
	}
	for i, cert := range chain {
		if cert == nil || len(cert.Raw) == 0 {
			return fmt.Errorf("tlspolicy: certificate %d of the chain was not parsed from DER", i)
		}
	}
	return nil
}
