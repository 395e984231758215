package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// Origin says where the certificate of an entry comes from.
type Origin string

const (
	OriginSelfSigned    Origin = "self-signed"
	OriginCASigned      Origin = "CA-signed"     // an authority's answer to a request
	OriginImported      Origin = "imported"      // it came with its key
	OriginDemonstration Origin = "demonstration" // not secure, not for general use
)

// Entry is a line in the list of a [Store]. It says nothing of intermediates.
type Entry struct {
	Name       string
	CommonName string // of the leaf; its first dNSName if it has none
	Issuer     string
	NotAfter   time.Time
	KeyKind    string // "RSA-2048", "ECDSA P-256", "Ed25519"
	Origin     Origin
	Roles      []string // that use it
	Findings   int      // how many there are that the operator has not accepted
	Worst      Finding  // of them; its Code is "" if there is none
}

// EntryDetail is everything about an entry but its key.
type EntryDetail struct {
	Entry
	Chain     []*x509.Certificate // leaf first, as it is sent
	DNSNames  []string
	Serial    string // hexadecimal, upper case
	NotBefore time.Time
	SHA256    [sha256.Size]byte // of the leaf
	KeySHA256 [sha256.Size]byte // of its SubjectPublicKeyInfo: what TLSA 3 1 1 publishes
	Created   time.Time         // zero if the notes about the entry are lost
	Level     Level
	Hosts     []string  // of the cluster, with LevelCluster
	All       []Finding // with those that the operator accepted
	Accepted  []Code

	Next     []*x509.Certificate // the chain for the next key, once it is signed
	HasNext  bool                // there is a next key
	Previous []*x509.Certificate // what Rollback would bring back

	// When Promote and, if the previous generation has another key, Retire will
	// not be too early. Zero: there is nothing to wait for, or nobody has
	// confirmed the publication.
	PromoteFrom, RetireFrom time.Time
}

// List returns a line for each entry, in the order of the names.
func (s *Store) List() ([]Entry, error) {
	st, err := s.read()
	if err != nil {
		return nil, err
	}
	list := make([]Entry, 0, len(st.entries))
	for _, e := range st.sorted() {
		line, _ := s.describe(st, e)
		list = append(list, line)
	}
	return list, nil
}

// Detail returns everything about one entry. Errors: [ErrNotFound], [ErrNotOpen].
func (s *Store) Detail(name string) (EntryDetail, error) {
	st, err := s.read()
	if err != nil {
		return EntryDetail{}, err
	}
	e, err := st.find(name)
	if err != nil {
		return EntryDetail{}, err
	}
	line, findings := s.describe(st, e)
	leaf := e.chain[0]
	d := EntryDetail{
		Entry: line, Chain: slices.Clone(e.chain), DNSNames: slices.Clone(leaf.DNSNames), Serial: fmt.Sprintf("%X", leaf.SerialNumber),
		NotBefore: leaf.NotBefore, SHA256: fingerprint(leaf), KeySHA256: keySum(leaf),
		Created: e.meta.Created, Level: e.level(), Hosts: slices.Clone(e.meta.Hosts), All: findings, Accepted: slices.Clone(e.meta.Accepted),
	}
	if e.next != nil {
		d.HasNext, d.Next = true, slices.Clone(e.next.chain)
		if d.PromoteFrom, err = e.promoteFrom(); err != nil {
			return EntryDetail{}, err
		}
	}
	if e.previous != nil {
		d.Previous = slices.Clone(e.previous.chain)
		if !publicEqual(e.key.Public(), e.previous.key.Public()) {
			d.RetireFrom = e.retireFrom()
		}
	}
	return d, nil
}

// Signer returns the key of an entry. Errors: [ErrNotFound], [ErrNotOpen].
func (s *Store) Signer(name string) (PrivateKey, error) {
	st, err := s.read()
	if err != nil {
		return PrivateKey{}, err
	}
	e, err := st.find(name)
	if err != nil {
		return PrivateKey{}, err
	}
	return e.key, nil
}

// describe returns the line of an entry and all its findings.
func (s *Store) describe(st *storeState, e *entry) (Entry, []Finding) {
	leaf := e.chain[0]
	line := Entry{Name: e.name, CommonName: displayName(leaf), Issuer: issuerText(leaf), NotAfter: leaf.NotAfter,
		KeyKind: keyKind(leaf.PublicKey), Origin: e.origin(), Roles: st.rolesOf(e.folder)}
	findings := s.findings(st, e)
	for _, f := range findings {
		if slices.Contains(e.meta.Accepted, f.Code) {
			continue
		}
		if line.Findings++; line.Worst.Code == "" || f.Severity > line.Worst.Severity {
			line.Worst = f
		}
	}
	return line, findings
}

// findings returns what there is to say about an entry now.
func (s *Store) findings(st *storeState, e *entry) []Finding {
	findings := slices.Clone(e.problems)
	_, arranged, err := Arrange(e.key.Public(), e.bag, s.options.arrange(true))
	if err == nil { // as it was when the entry was loaded
		for _, f := range arranged {
			// The root is not kept with the chain, so where no authorities are
			// known, only a leaf that stands alone is a sign that something is
			// missing.
			if f.Code != FindingChainIncomplete || s.options.Trust != nil || len(e.chain) == 1 {
				findings = append(findings, f)
			}
		}
	}
	findings = Check(findings, e.chain, s.options.check())
	findings = s.expiring(findings, e.chain)
	if e.demonstration() {
		findings = append(findings, demonstrationFinding(e.chain[0]))
	}
	var reusing []string
	for _, other := range st.entries {
		if other != e && bytes.Equal(other.chain[0].RawSubjectPublicKeyInfo, e.chain[0].RawSubjectPublicKeyInfo) {
			reusing = append(reusing, other.name)
		}
	}
	if len(reusing) > 0 {
		slices.Sort(reusing)
		findings = append(findings, Finding{Code: FindingKeyReused, Cert: fingerprint(e.chain[0]), Detail: "the same key is in " + nameList(reusing)})
	}
	return findings
}

func (e *entry) origin() Origin {
	switch {
	case e.demonstration():
		return OriginDemonstration
	case e.files != nil, e.meta.imports(e.chain[0]):
		return OriginImported
	case selfSigned(e.chain[0]):
		return OriginSelfSigned
	}
	return OriginCASigned
}

// displayName names a certificate: by its common name, else by its first dNSName.
func displayName(cert *x509.Certificate) string {
	switch {
	case cert.Subject.CommonName != "":
		return cert.Subject.CommonName
	case len(cert.DNSNames) > 0:
		return cert.DNSNames[0]
	}
	return ""
}

// CertificatePEM returns the chain of an entry as PEM, leaf first, for download.
// Errors: [ErrNotFound], [ErrNotOpen].
func (s *Store) CertificatePEM(name string) ([]byte, error) {
	st, err := s.read()
	if err != nil {
		return nil, err
	}
	e, err := st.find(name)
	if err != nil {
		return nil, err
	}
	var out []byte
	for _, cert := range e.chain {
		out = appendCertificatePEM(out, cert)
	}
	return out, nil
}
