package dane

import (
	"bytes"
	"crypto/x509"
)

// maxWalkChecks is how many signatures are checked to find out why there was no
// path. It bounds what an explanation costs, and changes no verdict.
const maxWalkChecks = 32

// A walk finds out why no path leads to any of ends. crypto/x509 keeps what it
// knows about refused issuers to itself, and of several it reports one.
//
// It goes upwards from the leaf by the names of issuers: first over everything
// that is in order, then, without checking more, from what is not.
type walk struct {
	sent
	certs []*x509.Certificate
	ends  []*x509.Certificate
}

// A step is a certificate that the walk came to, and the first defect on the way
// there, ReasonNone if there is none.
type step struct {
	cert  *x509.Certificate
	depth int
	wrong Reason
}

// reason returns the defect of the way that came furthest: one that leads to an
// end, and of several the last of the enumeration. Without such a way it is
// ReasonNoPath. ReasonNone means that the walk finds nothing wrong.
func (w *walk) reason() Reason {
	nodes := append([]*x509.Certificate(nil), w.certs...)
	for _, end := range w.ends {
		if !contains(nodes, end) {
			nodes = append(nodes, end)
		}
	}
	seen := make([]bool, len(nodes))
	sound, defective := []step{{w.leaf, 0, ReasonNone}}, []step(nil)
	if wrong := w.defect(w.leaf, 0); wrong != ReasonNone {
		sound, defective = nil, []step{{w.leaf, 0, wrong}}
	}
	for checks := 0; len(sound) > 0; sound = sound[1:] {
		at := sound[0]
		if contains(w.ends, at.cert) {
			return ReasonNone
		}
		for i, above := range nodes {
			if seen[i] || !bytes.Equal(above.RawSubject, at.cert.RawIssuer) {
				continue
			}
			if checks++; checks > maxWalkChecks {
				return ReasonNoPath
			}
			wrong := signatureDefect(at.cert, above)
			if wrong == ReasonNone {
				wrong = w.defect(above, at.depth+1)
			}
			if wrong != ReasonNone {
				defective = append(defective, step{above, at.depth + 1, wrong})
				continue
			}
			seen[i] = true
			sound = append(sound, step{above, at.depth + 1, ReasonNone})
		}
	}
	furthest := ReasonNoPath
	for ; len(defective) > 0; defective = defective[1:] {
		at := defective[0]
		if contains(w.ends, at.cert) {
			furthest = max(furthest, at.wrong)
		}
		for i, above := range nodes {
			if !seen[i] && bytes.Equal(above.RawSubject, at.cert.RawIssuer) {
				seen[i] = true
				defective = append(defective, step{above, at.depth + 1, at.wrong})
			}
		}
	}
	return furthest
}

// signatureDefect returns what is wrong with the signature of parent on child.
func signatureDefect(child, parent *x509.Certificate) Reason {
	switch child.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return ReasonWeakSignature
	}
	if parent.CheckSignature(child.SignatureAlgorithm, child.RawTBSCertificate, child.Signature) != nil {
		return ReasonBadSignature
	}
	return ReasonNone
}

// defect returns what is wrong with a certificate at this depth, in the order of
// crypto/x509.
func (w *walk) defect(cert *x509.Certificate, depth int) Reason {
	end := contains(w.ends, cert)
	switch {
	case depth > 0 && !(cert.BasicConstraintsValid && cert.IsCA) && !(end && cert.Version < 3 && !cert.BasicConstraintsValid):
		return ReasonNotCA
	case depth > 0 && cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return ReasonKeyUsage
	case len(cert.UnhandledCriticalExtensions) > 0:
		return ReasonCriticalExtension
	case dateReason(cert, w.now) != ReasonNone:
		return dateReason(cert, w.now)
	case depth > 0 && cert.BasicConstraintsValid && cert.MaxPathLen >= 0 && depth-1 > cert.MaxPathLen:
		return ReasonPathLen
	}
	return ReasonNone
}
