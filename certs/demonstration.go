package certs

import (
	"crypto/x509"
	"strings"
	"time"
)

// DemonstrationName is the common name of the demonstration certificate and the name of
// its entry. No host has it (RFC 6761 section 6.4).
const DemonstrationName = "demonstration.invalid"

const demonstrationDays = 30

// Demonstration returns the demonstration certificate: self-signed, with a key that
// is made at the first call, valid for 30 days. After their end it is made anew. It
// is an entry like others, and used where it is assigned, nowhere else; each role
// that uses it is an event and a finding: not secure, not for general use.
//
// Errors: those of the storage, [ErrNotOpen].
func (s *Store) Demonstration() (Result, error) {
	st, err := s.read()
	if err != nil {
		return Result{}, err
	}
	former := st.entries[DemonstrationName]
	if former != nil && s.options.Now().Before(former.chain[0].NotAfter) {
		return Result{Name: former.name, Findings: []Finding{demonstrationFinding(former.chain[0])}}, nil
	}
	key, cert, findings, err := SelfSigned(Form{CommonName: DemonstrationName, Days: demonstrationDays}, CreateOptions{Now: s.options.Now, Rand: s.options.Rand})
	if err != nil {
		return Result{}, err
	}
	findings = append(findings, demonstrationFinding(cert))
	p := &pair{key: key, chain: []*x509.Certificate{cert}}
	if former == nil {
		return s.add(DemonstrationName, p, meta{}, findings)
	}
	if st, err = s.begin(); err != nil {
		return Result{}, err
	}
	defer s.end()
	st, e, err := s.own(st, DemonstrationName)
	if err != nil {
		return Result{}, err
	}
	return s.replace(st, e, p, findings)
}

func (e *entry) demonstration() bool { return isDemonstration(e.chain[0]) }

// isDemonstration knows the demonstration certificate of this store and of any other.
func isDemonstration(cert *x509.Certificate) bool {
	return strings.EqualFold(cert.Subject.CommonName, DemonstrationName)
}

func demonstrationFinding(cert *x509.Certificate) Finding {
	return Finding{Code: FindingDemonstration, Severity: SeverityWarning, Cert: fingerprint(cert),
		Detail: "the demonstration certificate is not secure and not for general use; until " + cert.NotAfter.UTC().Format(time.DateOnly)}
}
