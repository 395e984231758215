package dane

import (
	"bytes"
	"crypto/x509"
)

// trustAnchor judges by usage 2: a valid path from the leaf to a published
// anchor (RFC 7671 section 5.2, RFC 7672 section 3.1.2). The public roots have no
// part in it.
//
// Whatever was sent behind the leaf can be an anchor as well as a link, in any
// order. Having the published data proves nothing yet, anybody can send a
// genuine root: the anchor must be the end of a path. The leaf is never its own
// anchor.
func (v *Verifier) trustAnchor(s sent, tried *attempt) (path, bool) {
	groups := v.groups[UsageDANETA]
	possible := false
	for i := range v.entries {
		e := &v.entries[i]
		possible = possible || e.record.Usage == UsageDANETA && (e.cert != nil || e.key != nil)
	}
	for _, cert := range s.rest {
		possible = possible || s.counts(cert) && match(groups, cert) >= 0
	}
	if !possible { // hashes were compared and nothing else was done
		return path{}, false
	}
	if !servesTLS(s.leaf) {
		tried.note(ReasonKeyUsage, nil)
		return path{}, false
	}
	certs := s.candidates()
	if p, ok := v.sentAnchor(s, certs, tried); ok {
		return p, true
	}
	return v.bareKey(s, certs, tried)
}

// sentAnchor looks for a path to any certificate that a record names: one that
// was sent, or one that stands in the DNS as a whole (2 0 0) and need not be
// sent (RFC 7671 section 5.2.2).
func (v *Verifier) sentAnchor(s sent, certs []*x509.Certificate, tried *attempt) (path, bool) {
	var anchors []*x509.Certificate
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	add := func(cert *x509.Certificate) {
		anchors = append(anchors, cert)
		roots.AddCert(cert)
	}
	for _, cert := range certs {
		if match(v.groups[UsageDANETA], cert) >= 0 {
			add(cert)
		} else {
			intermediates.AddCert(cert)
		}
	}
	for i := range v.entries {
		e := &v.entries[i]
		if e.record.Usage == UsageDANETA && e.cert != nil && s.counts(e.cert) {
			add(e.cert)
		}
	}
	if len(anchors) == 0 {
		return path{}, false
	}
	chains, err := s.build(roots, intermediates)
	if err != nil {
		v.noteFailure(s, certs, anchors, err, tried)
		return path{}, false
	}
	return v.choose(s.leaf, chains, func(end *x509.Certificate) int {
		return match(v.groups[UsageDANETA], end)
	}), true
}

// choose returns the best of several valid paths: the shortest, and among those
// the one with the record of the least rank, so that the order of what was sent
// has no influence. If the name of the leaf can only be its common name, paths
// with name constraints, which rule that out, come after all others.
func (v *Verifier) choose(leaf *x509.Certificate, chains [][]*x509.Certificate, rank func(end *x509.Certificate) int) path {
	needCN := len(leaf.DNSNames) == 0 && v.options.commonName()
	var best path
	for i, certs := range chains {
		p := path{verified{rank(certs[len(certs)-1]), len(certs) - 1, unconstrained(certs)}, certs}
		if i == 0 || p.betterThan(best, needCN) {
			best = p
		}
	}
	return best
}

func (p path) betterThan(other path, needCN bool) bool {
	switch {
	case needCN && p.cn != other.cn:
		return p.cn
	case p.depth != other.depth:
		return p.depth < other.depth
	}
	return p.rank < other.rank
}

// noteFailure finds out why there is no path to one of ends.
func (v *Verifier) noteFailure(s sent, certs, ends []*x509.Certificate, err error, tried *attempt) {
	reason, certain := chainReason(err, s.leaf, s.now)
	if !certain {
		w := walk{sent: s, certs: certs, ends: ends}
		if found := w.reason(); found != ReasonNone {
			reason = found
		}
	}
	tried.note(reason, err)
}

func contains(list []*x509.Certificate, cert *x509.Certificate) bool {
	for _, c := range list {
		if bytes.Equal(c.Raw, cert.Raw) {
			return true
		}
	}
	return false
}
