package dane

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"time"

	"github.com/smtpsec/smtpsec/internal/certname"
)

// A path is a way from the server's certificate to what a record names.
type path struct {
	verified
	certs []*x509.Certificate // leaf first
}

// validity returns the latest start and the earliest end on the path.
func (p path) validity() (notBefore, notAfter time.Time) {
	for i, cert := range p.certs {
		if i == 0 || cert.NotBefore.After(notBefore) {
			notBefore = cert.NotBefore
		}
		if i == 0 || cert.NotAfter.Before(notAfter) {
			notAfter = cert.NotAfter
		}
	}
	return notBefore, notAfter
}

// An attempt is what looking for a path has led to so far: why not, unless there
// is one.
type attempt struct {
	reason Reason
	cause  error // from crypto/x509
}

// note keeps the attempt that came further.
func (a *attempt) note(reason Reason, cause error) {
	if reason > a.reason {
		a.reason, a.cause = reason, cause
	}
}

// verifyPath judges by the usages that need a path: 2, 1, 0.
func (v *Verifier) verifyPath(chain []*x509.Certificate, ids RefIDs, now time.Time) Result {
	if ids.Empty() {
		return v.failed(attempt{reason: ReasonNoReferenceID}, chain, ids, now)
	}
	if now.IsZero() {
		now = v.now()
	}
	leaf := chain[0]
	key, cacheable := v.options.Cache.key(chain, v.cacheID)
	var found verified
	hit := false
	if cacheable {
		found, hit = v.options.Cache.get(key, now)
	}
	if !hit {
		var tried attempt
		p, ok := v.findPath(chain, now.Truncate(time.Second), &tried)
		if !ok {
			return v.failed(tried, chain, ids, now)
		}
		if found = p.verified; cacheable {
			v.options.Cache.put(key, p, now)
		}
	}
	// The names are the same for all records, so there is no need to look for
	// another path if this one ends at the name.
	name := matchName(leaf, ids, found.cn && v.options.commonName())
	if name == "" {
		return v.failed(attempt{reason: ReasonName}, chain, ids, now)
	}
	e := &v.entries[found.rank]
	return Result{Status: Matched, Record: e.record, Index: e.index, Depth: found.depth, Name: name}
}

func (v *Verifier) now() time.Time {
	if v.options.Now != nil {
		return v.options.Now()
	}
	return time.Now()
}

// failed returns a mismatch. When the certificates were only compared with the
// records, each failed alike, and there is nothing to keep.
func (v *Verifier) failed(tried attempt, chain []*x509.Certificate, ids RefIDs, now time.Time) Result {
	r := v.mismatch(tried.reason)
	if tried.reason > ReasonNoMatch {
		r.failure = &failure{chain, ids, now, tried.cause}
	}
	return r
}

// findPath tries usages 2, 1 and 0, in this order. now is in whole seconds:
// certificates are valid to the end of their last second (RFC 5280 section
// 4.1.2.5).
func (v *Verifier) findPath(chain []*x509.Certificate, now time.Time, tried *attempt) (path, bool) {
	tried.reason = ReasonNoMatch
	s := sent{leaf: chain[0], rest: chain[1:min(len(chain), maxChain)], cut: len(chain) > maxChain, now: now}
	if len(v.groups[UsageDANETA]) > 0 {
		if p, ok := v.trustAnchor(s, tried); ok {
			return p, true
		}
	}
	if len(v.groups[UsagePKIXEE])+len(v.groups[UsagePKIXTA]) > 0 {
		if p, ok := v.publicRoot(s, tried); ok {
			return p, true
		}
	}
	if s.cut {
		tried.note(ReasonLimit, nil)
	}
	return path{}, false
}

// sent is a chain as it came in, and the time to judge it by.
type sent struct {
	leaf *x509.Certificate
	rest []*x509.Certificate // may hold nil, junk, duplicates, copies of the leaf
	cut  bool                // there was more
	now  time.Time
}

// counts reports whether a certificate behind the first can be part of a path.
func (s *sent) counts(cert *x509.Certificate) bool {
	return cert != nil && len(cert.Raw) > 0 && !bytes.Equal(cert.Raw, s.leaf.Raw)
}

// candidates returns the distinct certificates that can be part of a path.
func (s *sent) candidates() []*x509.Certificate {
	var list []*x509.Certificate
next:
	for _, cert := range s.rest {
		if !s.counts(cert) {
			continue
		}
		for _, known := range list {
			if bytes.Equal(known.Raw, cert.Raw) {
				continue next
			}
		}
		list = append(list, cert)
	}
	return list
}

// build asks crypto/x509 for every path from the leaf to one of roots. The names
// are not its business; roots is never nil, which would mean those of the
// system.
func (s *sent) build(roots, intermediates *x509.CertPool) ([][]*x509.Certificate, error) {
	return s.leaf.Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: intermediates,
		CurrentTime:   s.now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

// unconstrained reports whether no certificate of the path has name
// constraints, so that the common name may be looked at.
func unconstrained(certs []*x509.Certificate) bool {
	for _, cert := range certs {
		if certname.HasNameConstraints(cert) {
			return false
		}
	}
	return true
}

var oidKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 15}

// tlsKeyUsage is what a TLS server does with its key, depending on version and
// cipher suite (RFC 5246 section 7.4.2, RFC 8446 section 4.4.2.2).
const tlsKeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement

// servesTLS reports whether keyUsage, which crypto/x509 ignores in a leaf,
// leaves one of the uses that TLS has.
func servesTLS(leaf *x509.Certificate) bool {
	if leaf.KeyUsage&tlsKeyUsage != 0 {
		return true
	}
	for i := range leaf.Extensions {
		if leaf.Extensions[i].Id.Equal(oidKeyUsage) {
			return false
		}
	}
	return true
}

// chainReason returns the reason in an error of crypto/x509 about whole chains
// or about the leaf, and false if the error says nothing certain: it may speak
// of any one of several candidates.
func chainReason(err error, leaf *x509.Certificate, now time.Time) (Reason, bool) {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var critical x509.UnhandledCriticalExtension
	switch {
	case errors.As(err, &invalid):
		switch invalid.Reason {
		case x509.IncompatibleUsage, x509.CANotAuthorizedForExtKeyUsage:
			return ReasonExtKeyUsage, true
		case x509.CANotAuthorizedForThisName, x509.UnconstrainedName, x509.NameConstraintsWithoutSANs:
			return ReasonNameConstraint, true
		case x509.TooManyConstraints:
			return ReasonLimit, true
		case x509.NoValidChains: // no path keeps the certificate policies
			return ReasonCriticalExtension, true
		case x509.Expired:
			return dateReason(invalid.Cert, now), invalid.Cert == leaf
		case x509.TooManyIntermediates:
			return ReasonPathLen, false
		case x509.NotAuthorizedToSign:
			return ReasonNotCA, false
		}
		return ReasonNoPath, false
	case errors.As(err, &unknown):
		return ReasonNoPath, false
	case errors.As(err, &critical):
		return ReasonCriticalExtension, len(leaf.UnhandledCriticalExtensions) > 0
	case isSignatureError(err):
		return ReasonBadSignature, false
	}
	// crypto/x509 exports no value for its bound of 100 signature checks.
	return ReasonLimit, true
}

func isSignatureError(err error) bool {
	var violation x509.ConstraintViolationError
	var weak x509.InsecureAlgorithmError
	return errors.As(err, &violation) || errors.As(err, &weak) || errors.Is(err, x509.ErrUnsupportedAlgorithm)
}

// dateReason returns which end of its validity the certificate is past, or
// ReasonNone.
func dateReason(cert *x509.Certificate, now time.Time) Reason {
	switch {
	case now.Before(cert.NotBefore):
		return ReasonNotYetValid
	case now.After(cert.NotAfter):
		return ReasonExpired
	}
	return ReasonNone
}
