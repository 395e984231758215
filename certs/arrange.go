package certs

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// maxLinkChecks bounds the signatures that one call of Arrange verifies. An honest
// bag of MaxCertificates needs one for each certificate; only a bag made to waste
// time, or one full of certificates that share their names, needs more.
const maxLinkChecks = 4 * MaxCertificates

// ArrangeOptions says what Arrange prefers. The zero value knows no anchors and
// leaves the root out.
type ArrangeOptions struct {
	// IncludeRoot keeps the self-signed certificate at the end. Clients do not
	// need it, with one exception: a zone that publishes TLSA usage 2 with a
	// digest of the root (RFC 7671 section 5.2.2).
	IncludeRoot bool

	// Anchored reports whether the certificate is an enabled trust anchor or
	// issued by one. Nil: no anchors are known.
	Anchored func(*x509.Certificate) bool

	Now time.Time // zero: time.Now()
}

// Arrange picks the certificate of the key out of a bag and puts its issuers
// behind it: the order in which a server sends them (RFC 8446 section 4.4.2).
// The order of the bag has no influence.
//
// Of several certificates for the key it takes one that is not an authority's,
// that is valid now, that ends last. An issuer must have the name and verify the
// signature; of several it takes one behind which an anchor stands, that ends last.
// The chain ends at a self-signed certificate, which is left out unless it is the
// leaf or IncludeRoot is set. No name and key come twice in a chain, so mutual
// cross-signatures end.
//
// Findings: duplicate and unused for what is not in the chain, chain-incomplete if
// neither a self-signed certificate nor an anchor was reached.
//
// Errors: ErrNoKey for a nil key, ErrNoCertificate for an empty bag, ErrMalformed
// for one with a nil in it, ErrKeyMismatch if no certificate belongs to the key, ErrTooLarge for more than MaxCertificates,
// or so many with equal names that finding the path is a matter of luck.
func Arrange(key crypto.PublicKey, bag []*x509.Certificate, o ArrangeOptions) (chain []*x509.Certificate, findings []Finding, err error) {
	switch {
	case key == nil:
		return nil, nil, fmt.Errorf("certs: arranging a chain: %w", ErrNoKey)
	case len(bag) == 0:
		return nil, nil, fmt.Errorf("certs: arranging a chain: %w", ErrNoCertificate)
	case len(bag) > MaxCertificates:
		return nil, nil, fmt.Errorf("certs: arranging a chain: %w: more than %d certificates", ErrTooLarge, MaxCertificates)
	case slices.Contains(bag, nil):
		return nil, nil, fmt.Errorf("certs: arranging a chain: %w: a nil certificate", ErrMalformed)
	}
	o.Now = wholeSecond(o.Now)
	a := &arranger{options: o, named: map[string][]*entity{}}
	findings = a.fill(bag)
	leaf := a.leaf(key)
	if leaf == nil {
		return nil, nil, mismatch(key, bag)
	}
	if err := a.link(leaf); err != nil {
		return nil, nil, err
	}
	path := a.path(leaf)
	for _, n := range path {
		n.used = true
	}
	for _, n := range a.nodes {
		if !n.used {
			findings = append(findings, n.finding(FindingUnused, SeverityInfo, "%q is not part of the chain"))
		}
	}
	top := path[len(path)-1]
	switch {
	case top.selfSigned && len(path) > 1 && !o.IncludeRoot:
		path = path[:len(path)-1]
	case !top.selfSigned && !top.anchored:
		findings = append(findings, top.finding(FindingChainIncomplete, SeverityWarning, "the issuer of %q is not among the certificates"+obtain(top.cert)))
	}
	for _, n := range path {
		chain = append(chain, n.cert)
	}
	return chain, findings, nil
}

// obtain says where the certificate claims that its issuer can be had. Nobody
// fetches it.
func obtain(cert *x509.Certificate) string {
	if len(cert.IssuingCertificateURL) == 0 {
		return ""
	}
	return fmt.Sprintf("; the certificate says that it is at %q", clip(cert.IssuingCertificateURL[0]))
}

// mismatch names the kinds of keys if they differ, which is the usual mistake of
// those who have an RSA and an ECDSA certificate for one name.
func mismatch(key crypto.PublicKey, bag []*x509.Certificate) error {
	var kinds []string
	for _, cert := range bag {
		if kind := keyKind(cert.PublicKey); !cert.IsCA && !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	if have := keyKind(key); len(kinds) > 0 && !slices.Contains(kinds, have) {
		return fmt.Errorf("certs: %w: the key is %s, the certificates have %s", ErrKeyMismatch, have, nameList(kinds))
	}
	return fmt.Errorf("certs: %w", ErrKeyMismatch)
}

// arranger is a bag as a graph: an arrow goes from a certificate to the entity
// that signed it.
type arranger struct {
	options ArrangeOptions
	nodes   []*node              // without duplicates, by their digests
	named   map[string][]*entity // by subject
	checks  int                  // signatures verified
}

// entity is a name with a key. Several certificates may certify it.
type entity struct {
	key     []byte // SubjectPublicKeyInfo
	nodes   []*node
	signed  []*node // what its key signed, as far as that can be reached from the leaf
	visited bool    // on the path
	reaches bool    // an anchor, by way of entities that are not visited
}

type node struct {
	cert       *x509.Certificate
	sum        [sha256.Size]byte
	self       *entity
	issuers    []*entity
	selfSigned bool
	anchored   bool
	linked     bool
	used       bool
}

func (n *node) finding(code Code, severity Severity, format string) Finding {
	return Finding{Code: code, Severity: severity, Cert: n.sum, Detail: fmt.Sprintf(format, clip(subjectText(n.cert)))}
}

// fill makes the nodes, and the findings about duplicates.
func (a *arranger) fill(bag []*x509.Certificate) (findings []Finding) {
	for _, cert := range bag {
		a.nodes = append(a.nodes, &node{cert: cert, sum: fingerprint(cert)})
	}
	slices.SortStableFunc(a.nodes, func(x, y *node) int { return bytes.Compare(x.sum[:], y.sum[:]) })
	a.nodes = slices.CompactFunc(a.nodes, func(first, again *node) bool {
		if first.sum != again.sum {
			return false
		}
		if n := len(findings); n == 0 || findings[n-1].Cert != again.sum {
			findings = append(findings, again.finding(FindingDuplicate, SeverityInfo, "%q is there more than once"))
		}
		return true
	})
	for _, n := range a.nodes {
		subject := string(n.cert.RawSubject)
		same := a.named[subject]
		if i := slices.IndexFunc(same, func(e *entity) bool { return bytes.Equal(e.key, n.cert.RawSubjectPublicKeyInfo) }); i >= 0 {
			n.self = same[i]
		} else {
			n.self = &entity{key: n.cert.RawSubjectPublicKeyInfo}
			a.named[subject] = append(same, n.self)
		}
		n.self.nodes = append(n.self.nodes, n)
	}
	return findings
}

// leaf returns the best certificate for the key, nil if there is none.
func (a *arranger) leaf(key crypto.PublicKey) *node {
	var best *node
	for _, n := range a.nodes {
		if publicEqual(key, n.cert.PublicKey) && (best == nil || a.compareLeaves(n, best) < 0) {
			best = n
		}
	}
	return best
}

func (a *arranger) compareLeaves(x, y *node) int {
	return cmp.Or(
		compareBool(!x.cert.IsCA, !y.cert.IsCA),
		compareBool(validAt(x.cert, a.options.Now), validAt(y.cert, a.options.Now)),
		compareAge(x, y))
}

// compareBool puts true first.
func compareBool(x, y bool) int {
	switch {
	case x == y:
		return 0
	case x:
		return -1
	}
	return 1
}

// compareAge puts first what ends last, then the lower digest.
func compareAge(x, y *node) int {
	return cmp.Or(y.cert.NotAfter.Compare(x.cert.NotAfter), bytes.Compare(x.sum[:], y.sum[:]))
}

func validAt(cert *x509.Certificate, now time.Time) bool {
	return !now.Before(cert.NotBefore) && !now.After(cert.NotAfter)
}

// link finds the issuers of everything that can be reached from the leaf. What it
// verifies, and how often, does not depend on the order of the bag.
func (a *arranger) link(leaf *node) error {
	leaf.linked = true
	for queue := []*node{leaf}; len(queue) > 0; queue = queue[1:] {
		n := queue[0]
		n.anchored = a.options.Anchored != nil && a.options.Anchored(n.cert)
		for _, e := range a.named[string(n.cert.RawIssuer)] {
			if a.checks++; a.checks > maxLinkChecks {
				return fmt.Errorf("certs: arranging a chain: %w: more than %d pairs of certificates fit by their names", ErrTooLarge, maxLinkChecks)
			}
			err := e.nodes[0].cert.CheckSignature(n.cert.SignatureAlgorithm, n.cert.RawTBSCertificate, n.cert.Signature)
			switch {
			case e == n.self && (err == nil || unverifiable(err)):
				n.selfSigned = true
			case err == nil:
				n.issuers = append(n.issuers, e)
			}
		}
		if n.selfSigned {
			n.issuers = nil
		}
		for _, e := range n.issuers {
			e.signed = append(e.signed, n)
			for _, next := range e.nodes {
				if !next.linked {
					next.linked = true
					queue = append(queue, next)
				}
			}
		}
	}
	return nil
}

// unverifiable reports whether a signature is of a kind that Go does not verify
// any more, or never did.
func unverifiable(err error) bool {
	_, insecure := errors.AsType[x509.InsecureAlgorithmError](err)
	return insecure || errors.Is(err, x509.ErrUnsupportedAlgorithm)
}

// path walks from the leaf to the end.
func (a *arranger) path(leaf *node) []*node {
	path := []*node{leaf}
	leaf.self.visited = true
	for n := leaf; !n.selfSigned; {
		n = a.next(n)
		if n == nil {
			break
		}
		n.self.visited = true
		path = append(path, n)
	}
	return path
}

// next returns the best issuer's certificate, nil if there is none.
func (a *arranger) next(n *node) *node {
	var best *node
	var anchored bool
	for _, e := range n.issuers {
		if e.visited {
			continue
		}
		if len(n.issuers) > 1 || len(e.nodes) > 1 {
			e.visited = true // a way back through the issuer itself is none
			a.mark()
			e.visited = false
		}
		for _, c := range e.nodes {
			reaches := c.anchored || slices.ContainsFunc(c.issuers, func(e *entity) bool { return e.reaches })
			if best == nil || cmp.Or(compareBool(reaches, anchored), compareAge(c, best)) < 0 {
				best, anchored = c, reaches
			}
		}
	}
	return best
}

// mark finds all entities from which an anchor can be reached without those that
// are visited. It goes against the arrows, from the anchors.
func (a *arranger) mark() {
	var queue []*entity
	reach := func(e *entity) {
		if !e.reaches && !e.visited {
			e.reaches = true
			queue = append(queue, e)
		}
	}
	for _, n := range a.nodes {
		n.self.reaches = false
	}
	for _, n := range a.nodes {
		if n.anchored {
			reach(n.self)
		}
	}
	for ; len(queue) > 0; queue = queue[1:] {
		for _, n := range queue[0].signed {
			reach(n.self)
		}
	}
}
