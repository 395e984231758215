package dane

import "crypto/x509"

// publicRoot judges by usages 1 and 0: the path must be valid to one of
// Options.Roots, and the record must name the leaf (usage 1) or an issuer on a
// valid path (usage 0), which is more than having been sent (RFC 6698 section
// 2.1.1, RFC 7671 sections 5.3 and 5.4).
func (v *Verifier) publicRoot(s sent, tried *attempt) (path, bool) {
	leafRank := match(v.groups[UsagePKIXEE], s.leaf)
	if leafRank < 0 && len(v.groups[UsagePKIXTA]) == 0 {
		return path{}, false
	}
	switch {
	case v.options.Roots == nil:
		tried.note(ReasonNoRoots, nil)
		return path{}, false
	case !servesTLS(s.leaf):
		tried.note(ReasonKeyUsage, nil)
		return path{}, false
	}
	intermediates := x509.NewCertPool()
	for _, cert := range s.rest {
		if s.counts(cert) {
			intermediates.AddCert(cert)
		}
	}
	for i := range v.entries {
		if e := &v.entries[i]; e.record.Usage == UsagePKIXTA && e.cert != nil && s.counts(e.cert) {
			intermediates.AddCert(e.cert)
		}
	}
	chains, err := s.build(v.options.Roots, intermediates)
	if err != nil {
		reason, certain := chainReason(err, s.leaf, s.now)
		if reason == ReasonNoPath && !certain {
			reason = ReasonUntrustedRoot
		}
		tried.note(reason, err)
		return path{}, false
	}
	if leafRank >= 0 {
		return path{verified{rank: leafRank}, shortest(chains)}, true
	}
	return v.issuer(chains)
}

// issuer looks for a usage 0 record of a certificate on one of the valid paths.
// The one nearest to the leaf decides. Usage 0 is not for SMTP, so there is no
// common name to care about.
func (v *Verifier) issuer(chains [][]*x509.Certificate) (path, bool) {
	var best path
	found := false
	for _, certs := range chains {
		for depth := 1; depth < len(certs); depth++ {
			rank := match(v.groups[UsagePKIXTA], certs[depth])
			if rank < 0 {
				continue
			}
			p := path{verified{rank: rank, depth: depth}, certs}
			if !found || p.betterThan(best, false) {
				best, found = p, true
			}
			break
		}
	}
	return best, found
}

func shortest(chains [][]*x509.Certificate) []*x509.Certificate {
	best := chains[0]
	for _, certs := range chains[1:] {
		if len(certs) < len(best) {
			best = certs
		}
	}
	return best
}
