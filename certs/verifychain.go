package certs

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/smtpsec/smtpsec/internal/chaincache"
	"github.com/smtpsec/smtpsec/internal/chainpath"
)

// MaxPeerCertificates is the number of certificates that a peer may send. Longer
// chains are untrusted without being looked at. GnuTLS draws the line at 16 too
// (DEFAULT_MAX_VERIFY_DEPTH).
const MaxPeerCertificates = 16

// MaxCacheEntries is the most verified chains that a TrustStore remembers.
const MaxCacheEntries = 4096

// cacheTag keeps these entries apart from those of other users of the cache's
// key function.
const cacheTag = "certs.TrustStore"

// VerifyChain decides whether a chain leads to an enabled authority. chain is
// what the peer sent: its own certificate first, the others in any order, all of
// them candidates for a path. usage is the extended key usage that the path must
// allow. The path returned runs from the leaf to the root and must not be
// modified; of several, one without name constraints is preferred, then the
// shortest. Names are not compared.
//
// Verified chains are remembered for as long as every certificate of the path is
// valid, below the maximum age; failures are not.
//
// Errors: those of crypto/x509; [*ConstraintError], joined with an
// [x509.UnknownAuthorityError], for a chain that only a date of distrust rules out;
// [ErrNotOpen]; [ErrNoCertificate], [ErrTooLarge] and [ErrMalformed] for an empty
// chain, one longer than MaxPeerCertificates and one with a certificate that was
// not parsed. An [x509.CertificateInvalidError] with reason Expired on the leaf
// says that the leaf's dates are the only defect.
func (s *Snapshot) VerifyChain(chain []*x509.Certificate, usage x509.ExtKeyUsage) (path []*x509.Certificate, err error) {
	if !s.isOpen() {
		return nil, errTrustNotOpen
	}
	if err := checkPeerChain(chain); err != nil {
		return nil, err
	}
	now := s.now()
	var scope [sha256.Size]byte
	binary.BigEndian.PutUint64(scope[:8], s.generation)
	binary.BigEndian.PutUint64(scope[8:16], uint64(usage))
	key, cacheable := chaincache.Key(cacheTag, chain, scope)
	if cacheable {
		if path, ok := s.cache.Get(key, now); ok {
			return path, nil
		}
	}
	path, err = s.verify(chain, usage, now)
	if err != nil {
		return nil, err
	}
	if cacheable {
		notBefore, notAfter := chainpath.Validity(path)
		s.cache.Put(key, path, notBefore, notAfter, now)
	}
	return path, nil
}

// checkPeerChain refuses what must not reach crypto/x509, whose pools panic on a
// nil certificate.
func checkPeerChain(chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return fmt.Errorf("certs: the peer sent %w", ErrNoCertificate)
	}
	if len(chain) > MaxPeerCertificates {
		return fmt.Errorf("certs: the peer's chain is %w: %d certificates, at most %d are looked at", ErrTooLarge, len(chain), MaxPeerCertificates)
	}
	for i, cert := range chain {
		if cert == nil || len(cert.Raw) == 0 {
			return fmt.Errorf("certs: certificate %d of the peer's chain: %w: it was not parsed from DER", i, ErrMalformed)
		}
	}
	return nil
}

// verify is the slow path of VerifyChain. A path that a date of distrust rules out
// is refused here: crypto/x509 would not say which constraint was in the way.
func (s *Snapshot) verify(chain []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) ([]*x509.Certificate, error) {
	o := chainpath.Options{Roots: s.roots, Usage: usage, Now: now} // roots is never nil, see Pool
	if len(s.limits) > 0 {
		o.Accept = s.checkLimit
	}
	path, err := chainpath.Verify(chain, o)
	if errors.Is(err, chainpath.ErrNeverValid) {
		return nil, fmt.Errorf("certs: %w: %w", ErrMalformed, err)
	}
	return path, err
}

// checkLimit returns a *ConstraintError for a path below a root that was
// distrusted before.
func (s *Snapshot) checkLimit(path []*x509.Certificate) error {
	root := path[len(path)-1]
	below := path[:max(1, len(path)-1)] // a root that is itself the leaf counts as issued
	return checkDistrust(below, root, s.limits[sha256.Sum256(root.Raw)])
}

// checkDistrust returns a *ConstraintError if a certificate below root was issued
// after date, unless that is zero.
func checkDistrust(below []*x509.Certificate, root *x509.Certificate, date time.Time) error {
	if date.IsZero() {
		return nil
	}
	for _, cert := range below {
		if cert.NotBefore.After(date) {
			return &ConstraintError{Root: root, Cutoff: date}
		}
	}
	return nil
}
