package dane

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
)

// maxBareChecks is how many signatures are checked with bare keys. Every honest
// server needs one or two: the key signed a certificate close to its own.
const maxBareChecks = 32

// bareKey judges by the keys that are published as a whole (2 1 0) when no
// certificate that carries one leads to a path: such a key is an anchor without
// certificate (RFC 7671 section 5.2.3). What it signed ends the path. A key has
// no name, dates or constraints, so the name of the issuer is not compared;
// everything about the signed certificate and those below it is checked.
func (v *Verifier) bareKey(s sent, certs []*x509.Certificate, tried *attempt) (path, bool) {
	signed, limited := v.signedByKeys(s, certs)
	if len(signed) > 0 {
		var ends []*x509.Certificate
		roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
		for _, c := range signed {
			ends = append(ends, c.cert)
			roots.AddCert(c.cert)
		}
		for _, cert := range certs {
			if !contains(ends, cert) {
				intermediates.AddCert(cert)
			}
		}
		chains, err := s.build(roots, intermediates)
		if err == nil {
			return v.choose(s.leaf, chains, func(end *x509.Certificate) int { return signedRank(signed, end) }), true
		}
		v.noteFailure(s, certs, ends, err, tried)
	}
	if limited {
		tried.note(ReasonLimit, nil)
	}
	return path{}, false
}

// keySigned is a certificate signed by the bare key of the record with this
// rank.
type keySigned struct {
	cert *x509.Certificate
	rank int
}

func signedRank(signed []keySigned, cert *x509.Certificate) int {
	for _, c := range signed {
		if bytes.Equal(c.cert.Raw, cert.Raw) {
			return c.rank
		}
	}
	return -1
}

// signedByKeys returns the certificates that a bare key signed, nearest to the
// leaf first, and whether it gave up at the limit. It goes upwards by the names
// of issuers, so that certificates that have nothing to do with the leaf cost no
// signature check.
func (v *Verifier) signedByKeys(s sent, certs []*x509.Certificate) (signed []keySigned, limited bool) {
	var keys []int
	for rank := range v.entries {
		if v.entries[rank].record.Usage == UsageDANETA && v.entries[rank].key != nil {
			keys = append(keys, rank)
		}
	}
	if len(keys) == 0 {
		return nil, false
	}
	checks := 0
	queue := []*x509.Certificate{s.leaf}
	seen := make([]bool, len(certs))
	for len(queue) > 0 {
		cert := queue[0]
		queue = queue[1:]
		// crypto/x509 takes a version 1 root without basicConstraints. Here only what
		// says that it is a CA may stand above the leaf.
		if cert == s.leaf || cert.BasicConstraintsValid && cert.IsCA {
			for _, rank := range keys {
				if !fits(v.entries[rank].key, cert.SignatureAlgorithm) {
					continue
				}
				if checks++; checks > maxBareChecks {
					return signed, true
				}
				if signedBy(cert, v.entries[rank].key) {
					signed = append(signed, keySigned{cert, rank})
					break
				}
			}
		}
		for i, above := range certs {
			if !seen[i] && bytes.Equal(above.RawSubject, cert.RawIssuer) {
				seen[i] = true
				queue = append(queue, above)
			}
		}
	}
	return signed, false
}

// signedBy checks one signature. The algorithm must have passed fits:
// x509.Certificate.CheckSignature still accepts SHA-1.
func signedBy(cert *x509.Certificate, key any) bool {
	signer := x509.Certificate{PublicKey: key}
	return signer.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil
}

// fits reports whether a signature of this algorithm can be from the key, and
// may count: MD5 and SHA-1 do not.
func fits(key any, algorithm x509.SignatureAlgorithm) bool {
	ok := false
	switch algorithm {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS:
		_, ok = key.(*rsa.PublicKey)
	case x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512:
		_, ok = key.(*ecdsa.PublicKey)
	case x509.PureEd25519:
		_, ok = key.(ed25519.PublicKey)
	}
	return ok
}
