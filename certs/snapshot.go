package certs

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/smtpsec/smtpsec/internal/chaincache"
)

// Snapshot is what a [TrustStore] trusts and lists at one moment. It does not
// change, whatever happens to the store, and is safe for concurrent use. A nil
// *Snapshot and the zero Snapshot trust nothing and list nothing.
type Snapshot struct {
	generation     uint64
	system, custom *caList
	settings       listSettings
	now            func() time.Time

	effective []caEntry      // the enabled lists in order of precedence, each certificate once
	opaque    *x509.CertPool // the host's roots, if they are enabled and cannot be listed
	roots     *x509.CertPool // both as a pool without constraints; never nil, never handed out
	bySubject map[string][]int
	limits    map[[sha256.Size]byte]time.Time // constraints of effective
	cache     *chaincache.Cache[[]*x509.Certificate]
}

// newSnapshot puts the lists together. The custom list comes first: for a
// certificate that both have, the operator's entry counts. If the trust is that
// of the former snapshot, so are the generation and the verified chains.
func newSnapshot(former *Snapshot, system, custom *caList, settings listSettings, o *TrustOptions) *Snapshot {
	s := &Snapshot{
		generation: 1,
		system:     system, custom: custom, settings: settings,
		now:       o.Now,
		roots:     x509.NewCertPool(),
		bySubject: make(map[string][]int),
		limits:    make(map[[sha256.Size]byte]time.Time),
	}
	if settings.System && system.opaque != nil {
		s.opaque = system.opaque
		s.roots = system.opaque.Clone()
	}
	if settings.Custom {
		s.effective = slices.Clone(custom.entries)
	}
	if settings.System {
		for _, e := range system.entries {
			if _, listed := custom.index[e.sum]; !listed || !settings.Custom {
				s.effective = append(s.effective, e)
			}
		}
	}
	for i := range s.effective {
		e := &s.effective[i]
		s.roots.AddCert(e.cert)
		subject := string(e.cert.RawSubject)
		s.bySubject[subject] = append(s.bySubject[subject], i)
		if !e.distrustAfter.IsZero() {
			s.limits[e.sum] = e.distrustAfter
		}
	}
	switch {
	case former == nil:
		s.cache = o.newCache()
	case s.sameTrust(former):
		s.generation, s.cache = former.generation, former.cache
	default:
		s.generation, s.cache = former.generation+1, o.newCache()
	}
	return s
}

func (s *Snapshot) sameTrust(o *Snapshot) bool {
	return s.opaque == o.opaque &&
		slices.EqualFunc(s.effective, o.effective, func(a, b caEntry) bool { return a.same(&b) })
}

func (s *Snapshot) isOpen() bool { return s != nil && s.roots != nil }

// Generation returns a number that is another one after each change of what is
// trusted. It is 0 for a Snapshot that was not taken from an open TrustStore.
func (s *Snapshot) Generation() uint64 {
	if s == nil {
		return 0
	}
	return s.generation
}

// Enabled reports whether the list takes part in verification.
func (s *Snapshot) Enabled(list CAList) bool {
	if !s.isOpen() {
		return false
	}
	switch list {
	case SystemCAs:
		return s.settings.System
	case CustomCAs:
		return s.settings.Custom
	}
	return false
}

// Pool returns a new pool of everything that is trusted, with the constraints of
// the lists, for a [crypto/tls.Config] and the like. It is never nil, since a nil pool
// means the operating system's roots to Go: where nothing is trusted, it is
// empty. A date of distrust that the custom list puts on one of the host's roots
// is missing in it where these cannot be listed; VerifyChain knows it.
func (s *Snapshot) Pool() *x509.CertPool {
	if !s.isOpen() {
		return x509.NewCertPool()
	}
	pool := x509.NewCertPool()
	if s.opaque != nil {
		pool = s.opaque.Clone()
	}
	for i := range s.effective {
		e := &s.effective[i]
		if e.distrustAfter.IsZero() {
			pool.AddCert(e.cert)
			continue
		}
		pool.AddCertWithConstraint(e.cert, func(chain []*x509.Certificate) error {
			return checkDistrust(chain, e.cert, e.distrustAfter)
		})
	}
	return pool
}

// Anchored reports whether an enabled list has the certificate or the issuer that
// signed it. Dates of the certificates do not matter, those of distrust do.
func (s *Snapshot) Anchored(cert *x509.Certificate) bool {
	if !s.isOpen() || cert == nil || len(cert.Raw) == 0 {
		return false
	}
	for _, i := range s.bySubject[string(cert.RawSubject)] {
		if s.effective[i].cert.Equal(cert) {
			return true
		}
	}
	for _, i := range s.bySubject[string(cert.RawIssuer)] {
		e := &s.effective[i]
		if cert.CheckSignatureFrom(e.cert) == nil && checkDistrust([]*x509.Certificate{cert}, e.cert, e.distrustAfter) == nil {
			return true
		}
	}
	if s.opaque == nil {
		return false
	}
	at := s.now()
	if at.Before(cert.NotBefore) {
		at = cert.NotBefore
	} else if at.After(cert.NotAfter) {
		at = cert.NotAfter
	}
	paths, err := cert.Verify(x509.VerifyOptions{
		Roots:         s.opaque,
		Intermediates: x509.NewCertPool(),
		CurrentTime:   at,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	return err == nil && slices.ContainsFunc(paths, func(path []*x509.Certificate) bool { return s.checkLimit(path) == nil })
}

// list returns one of the lists for viewing.
func (s *Snapshot) list(list CAList) (*caList, error) {
	if !s.isOpen() {
		return nil, errTrustNotOpen
	}
	l := s.custom
	switch list {
	case CustomCAs:
	case SystemCAs:
		l = s.system
	default:
		return nil, fmt.Errorf("certs: %w: %v", ErrNotFound, list)
	}
	if l.opaque != nil {
		return nil, fmt.Errorf("certs: %w", ErrNotEnumerable)
	}
	return l, nil
}

// Count returns the number of certificates in a list, enabled or not. Errors:
// [ErrNotEnumerable], [ErrNotOpen], [ErrNotFound] for a list that does not exist.
func (s *Snapshot) Count(list CAList) (int, error) {
	l, err := s.list(list)
	if err != nil {
		return 0, err
	}
	return len(l.entries), nil
}

// Authorities returns all certificates of a list, enabled or not, in the list's
// order, with what is remarkable about each at this time. Errors as Count.
func (s *Snapshot) Authorities(list CAList) ([]Authority, error) {
	l, err := s.list(list)
	if err != nil {
		return nil, err
	}
	authorities := make([]Authority, len(l.entries))
	for i, e := range l.entries {
		authorities[i] = s.view(e, list)
	}
	return authorities, nil
}

func (s *Snapshot) view(e caEntry, list CAList) Authority {
	a := e.describe(list)
	a.Findings = checkEntry(nil, e, s.now(), false)
	if list == CustomCAs {
		if f, ok := liftedBy(e, s.system); ok {
			a.Findings = append(a.Findings, f)
		}
	}
	return a
}

func (s *Snapshot) find(sum [sha256.Size]byte) (caEntry, CAList, error) {
	if !s.isOpen() {
		return caEntry{}, 0, errTrustNotOpen
	}
	if e, ok := s.custom.find(sum); ok {
		return e, CustomCAs, nil
	}
	if e, ok := s.system.find(sum); ok {
		return e, SystemCAs, nil
	}
	return caEntry{}, 0, fmt.Errorf("certs: authority %x: %w", sum, ErrNotFound)
}

// Detail returns the certificate with this SHA-256, from the custom list if both
// have it. Errors: [ErrNotFound], [ErrNotOpen].
func (s *Snapshot) Detail(sum [sha256.Size]byte) (Authority, error) {
	e, list, err := s.find(sum)
	if err != nil {
		return Authority{}, err
	}
	return s.view(e, list), nil
}

// PEM returns the certificate with this SHA-256 as a PEM block. Errors:
// [ErrNotFound], [ErrNotOpen].
func (s *Snapshot) PEM(sum [sha256.Size]byte) ([]byte, error) {
	e, _, err := s.find(sum)
	if err != nil {
		return nil, err
	}
	return appendCertificatePEM(nil, e.cert), nil
}

// Export writes a list as text: a head with its name, version, date and count,
// then each certificate as a PEM block below comments that describe it. Import
// reads it back to the same list; blocks may be deleted from it in any editor.
// Errors as Count, and those of w.
func (s *Snapshot) Export(w io.Writer, list CAList) error {
	l, err := s.list(list)
	if err != nil {
		return err
	}
	if _, err := w.Write(l.appendText(nil)); err != nil {
		return fmt.Errorf("certs: export of the %v list: %w", list, err)
	}
	return nil
}

// VersionInfo returns where a list comes from, its version and date. It is zero
// for a Snapshot that was not taken from an open TrustStore.
func (s *Snapshot) VersionInfo(list CAList) VersionInfo {
	switch {
	case !s.isOpen():
	case list == SystemCAs:
		return s.system.versionInfo()
	case list == CustomCAs:
		return s.custom.versionInfo()
	}
	return VersionInfo{}
}
