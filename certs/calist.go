package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// CAList names one of the two lists of a TrustStore.
type CAList uint8

const (
	// SystemCAs is the list that comes from a RootSource. It is replaced as a
	// whole or disabled, never edited.
	SystemCAs CAList = iota + 1
	// CustomCAs is the operator's own list.
	CustomCAs
)

// String returns "system" or "custom".
func (l CAList) String() string {
	switch l {
	case SystemCAs:
		return "system"
	case CustomCAs:
		return "custom"
	}
	return fmt.Sprintf("CAList(%d)", uint8(l))
}

// Authority is one certificate of a list, as it is shown.
type Authority struct {
	Certificate        *x509.Certificate // shared: must not be modified
	List               CAList
	Subject, Issuer    string // RFC 2253 text with control characters escaped
	Serial             string // hexadecimal, octets parted by colons
	NotBefore          time.Time
	NotAfter           time.Time
	KeyKind            string // "RSA", "ECDSA", "Ed25519", or what crypto/x509 calls it
	KeyBits            int    // 0 if unknown
	SignatureAlgorithm string
	SHA256             [sha256.Size]byte
	// DistrustAfter is a constraint that the list puts on the root: certificates
	// issued later are refused. Zero: there is none.
	DistrustAfter time.Time
	Findings      []Finding
}

// ListReport says what a change did to a list.
type ListReport struct {
	Added      []*x509.Certificate // in the order of the new list; must not be modified
	Removed    []*x509.Certificate // in the order of the former list; must not be modified
	Changed    []*x509.Certificate // in both, with another DistrustAfter; must not be modified
	Duplicates int                 // certificates given more than once, or there already
	Findings   []Finding           // about the certificates given
}

// VersionInfo says where a list comes from and how old it is.
type VersionInfo struct {
	Source  string    // "custom", "mozilla", "host", a file's path, "none"
	Version string    // as the source calls it; "unknown" if it does not say; empty for the custom list
	Updated time.Time // the list's own date, or that of the last change; zero if unknown
	Count   int       // certificates; -1 if they cannot be listed
	// SHA256 identifies the certificates and their constraints, whatever their
	// order: two machines with the same value trust the same list. Zero if the
	// certificates cannot be listed.
	SHA256 [sha256.Size]byte
}

// caEntry is one certificate of a list.
type caEntry struct {
	cert          *x509.Certificate
	sum           [sha256.Size]byte
	distrustAfter time.Time // whole seconds, UTC; zero: trusted without limit
}

func (e *caEntry) same(o *caEntry) bool {
	return e.sum == o.sum && e.distrustAfter.Equal(o.distrustAfter)
}

// caList is a list that does not change any more.
type caList struct {
	id      CAList
	source  string
	version string
	updated time.Time
	entries []caEntry
	index   map[[sha256.Size]byte]int
	// opaque holds the host's roots where they cannot be listed; entries is
	// empty then.
	opaque *x509.CertPool
}

// newCAList drops repetitions and returns their number. The earlier place and
// the stricter constraint stay, so that a repetition never widens trust.
func newCAList(id CAList, entries []caEntry) (*caList, int) {
	l := &caList{id: id, index: make(map[[sha256.Size]byte]int, len(entries))}
	duplicates := 0
	for _, e := range entries {
		at, known := l.index[e.sum]
		if !known {
			l.index[e.sum] = len(l.entries)
			l.entries = append(l.entries, e)
			continue
		}
		duplicates++
		l.entries[at].distrustAfter = stricter(l.entries[at].distrustAfter, e.distrustAfter)
	}
	return l, duplicates
}

// stricter returns the earlier of two dates, of which zero stands for none.
func stricter(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (l *caList) find(sum [sha256.Size]byte) (caEntry, bool) {
	at, ok := l.index[sum]
	if !ok {
		return caEntry{}, false
	}
	return l.entries[at], true
}

// compare fills in what became of former.
func (l *caList) compare(former *caList, r *ListReport) {
	for _, e := range l.entries {
		switch before, kept := former.find(e.sum); {
		case !kept:
			r.Added = append(r.Added, e.cert)
		case !before.same(&e):
			r.Changed = append(r.Changed, e.cert)
		}
	}
	for _, e := range former.entries {
		if _, kept := l.index[e.sum]; !kept {
			r.Removed = append(r.Removed, e.cert)
		}
	}
}

func (l *caList) versionInfo() VersionInfo {
	v := VersionInfo{Source: l.source, Version: l.version, Updated: l.updated, Count: len(l.entries)}
	if l.opaque != nil {
		v.Count = -1
		return v
	}
	sorted := slices.Clone(l.entries)
	slices.SortFunc(sorted, func(a, b caEntry) int { return bytes.Compare(a.sum[:], b.sum[:]) })
	h := sha256.New()
	for _, e := range sorted {
		h.Write(e.sum[:])
		seconds := int64(0)
		if !e.distrustAfter.IsZero() {
			seconds = e.distrustAfter.Unix()
		}
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(seconds)))
	}
	h.Sum(v.SHA256[:0])
	return v
}

// lifted returns a finding for each custom certificate that is trusted for
// longer than the system list would have it.
func lifted(custom, system *caList) []Finding {
	var findings []Finding
	for _, e := range custom.entries {
		if f, ok := liftedBy(e, system); ok {
			findings = append(findings, f)
		}
	}
	return findings
}

func liftedBy(e caEntry, system *caList) (Finding, bool) {
	s, ok := system.find(e.sum)
	if !ok || s.distrustAfter.IsZero() || stricter(e.distrustAfter, s.distrustAfter).Equal(e.distrustAfter) {
		return Finding{}, false
	}
	return Finding{
		Code:     FindingLiftsConstraint,
		Severity: SeverityWarning,
		Cert:     e.sum,
		Detail: fmt.Sprintf("the system list does not trust %s for certificates issued after %s; the custom list does",
			printable(subjectText(e.cert)), s.distrustAfter.Format(time.DateOnly)),
	}, true
}

// ownEntry parses a certificate again from a copy of its DER: what its owner does
// to it later has no effect, and a struct filled in by hand cannot differ from
// its bytes. What Import would refuse is refused, so that an export can be imported
// and a stored list read again.
func ownEntry(cert *x509.Certificate, distrustAfter time.Time) (caEntry, error) {
	if cert == nil || len(cert.Raw) == 0 {
		return caEntry{}, fmt.Errorf("certs: %w: a certificate without DER", ErrMalformed)
	}
	parsed, err := parseCertificate(bytes.Clone(cert.Raw))
	if err != nil {
		return caEntry{}, fmt.Errorf("certs: %w", err)
	}
	return newEntry(parsed, distrustAfter), nil
}

func newEntry(cert *x509.Certificate, distrustAfter time.Time) caEntry {
	if !distrustAfter.IsZero() {
		// Validity has whole seconds, so a fraction decides nothing.
		distrustAfter = distrustAfter.UTC().Truncate(time.Second)
	}
	return caEntry{cert: cert, sum: sha256.Sum256(cert.Raw), distrustAfter: distrustAfter}
}

// checkEntry returns what is remarkable about a certificate of a list.
func checkEntry(dst []Finding, e caEntry, now time.Time, fqdn bool) []Finding {
	return Check(dst, []*x509.Certificate{e.cert}, CheckOptions{Profile: ProfileCAList, Now: now, FQDN: fqdn})
}

// describe fills in all of an Authority but the findings.
func (e caEntry) describe(list CAList) Authority {
	cert := e.cert
	kind, bits := caKeyKind(cert)
	return Authority{
		Certificate:        cert,
		List:               list,
		Subject:            printable(subjectText(cert)),
		Issuer:             printable(issuerText(cert)),
		Serial:             serialText(cert),
		NotBefore:          cert.NotBefore,
		NotAfter:           cert.NotAfter,
		KeyKind:            kind,
		KeyBits:            bits,
		SignatureAlgorithm: cert.SignatureAlgorithm.String(),
		SHA256:             e.sum,
		DistrustAfter:      e.distrustAfter,
	}
}

func caKeyKind(cert *x509.Certificate) (kind string, bits int) {
	switch key := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		return "RSA", key.N.BitLen()
	case *ecdsa.PublicKey:
		return "ECDSA", key.Curve.Params().BitSize
	case ed25519.PublicKey:
		return "Ed25519", 8 * len(key)
	}
	return cert.PublicKeyAlgorithm.String(), 0
}
