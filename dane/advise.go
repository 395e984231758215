package dane

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"strconv"
)

// AdviceKind says what an Advice is about.
type AdviceKind uint8

// What can be said about a set of records for a mail server.
const (
	AdvicePKIXUsage       AdviceKind = iota + 1 // usages 0 and 1 are ignored by senders of mail (RFC 7672 section 3.1.3)
	AdviceUnusable                              // no sender can use the record
	AdviceFullData                              // whole certificates and keys make answers that do not fit into a UDP packet
	AdviceDigestAsymmetry                       // what the weaker digest names cannot be seen beside the stronger one (RFC 7671 section 9)
	AdviceAnchorNotServed                       // a digest cannot stand for an anchor that is not sent (RFC 7671 section 5.2.2)
	AdviceLeafOnly                              // usage 2 names the server's own certificate, which is no trust anchor
)

var adviceTexts = [...]string{
	AdvicePKIXUsage:       "usages 0 and 1 are not used for mail; publish 3 1 1, or 2 1 1 for an issuer",
	AdviceUnusable:        "no sender can use this record",
	AdviceFullData:        "matching type 0 makes large DNS answers; publish a SHA2-256 digest",
	AdviceDigestAsymmetry: "senders look at the strongest digest only and will not see this one; publish both digests for each key",
	AdviceAnchorNotServed: "no certificate behind the server's own has this digest; the server must send the trust anchor",
	AdviceLeafOnly:        "usage 2 names an issuer; the server's own certificate needs usage 3",
}

// String returns a sentence on what is wrong and what to publish instead.
func (k AdviceKind) String() string {
	if k == 0 || int(k) >= len(adviceTexts) {
		return "AdviceKind(" + strconv.Itoa(int(k)) + ")"
	}
	return adviceTexts[k]
}

// An Advice is a warning about one record of a set.
type Advice struct {
	Kind   AdviceKind
	Index  int    // of the record, in what Advise was given
	Record Record // the record; Data is shared
	Reason Reason // for AdviceUnusable: why
}

// String returns one line that names the record and what to do.
func (a Advice) String() string {
	if a.Kind == AdviceUnusable {
		return fmt.Sprintf("record %d (%s): %s: %s", a.Index, clipRecord(a.Record), a.Kind, a.Reason)
	}
	return fmt.Sprintf("record %d (%s): %s", a.Index, clipRecord(a.Record), a.Kind)
}

// Advise looks over the TLSA records of a mail server before they are
// published, and returns what is unwise about them, in the order of the records.
// chain is what the server sends, its own certificate first; without it only
// what the records say by themselves is judged. The recommended set, 3 1 1 and
// perhaps 2 1 1 (RFC 7672 section 3.1), gets no advice.
func Advise(records []Record, chain []*x509.Certificate) []Advice {
	var list []Advice
	chain = chain[:min(len(chain), maxChain)]
	for i, r := range records {
		add := func(kind AdviceKind, reason Reason) {
			list = append(list, Advice{kind, i, r, reason})
		}
		switch reason := r.Check(ProfileSMTP); reason {
		case ReasonNone:
		case ReasonPKIXUsage:
			add(AdvicePKIXUsage, ReasonNone)
			continue
		default:
			add(AdviceUnusable, reason)
			continue
		}
		if r.MatchingType == MatchingFull {
			add(AdviceFullData, ReasonNone)
		}
		if unseen(r, records, chain) {
			add(AdviceDigestAsymmetry, ReasonNone)
		}
		if len(chain) == 0 || r.Usage != UsageDANETA || anyMatches(r, chain[1:]) {
			continue
		}
		switch {
		case r.matches(chain[0]):
			add(AdviceLeafOnly, ReasonNone)
		case r.MatchingType != MatchingFull:
			add(AdviceAnchorNotServed, ReasonNone)
		}
	}
	return list
}

// unseen reports whether a certificate of the chain is named by r and by no
// record with the strongest digest of the same usage and selector.
func unseen(r Record, records []Record, chain []*x509.Certificate) bool {
	if r.MatchingType != MatchingSHA256 {
		return false
	}
	var stronger []Record
	for _, other := range records {
		if other.Usage == r.Usage && other.Selector == r.Selector &&
			other.MatchingType == MatchingSHA512 && other.Check(ProfileSMTP) == ReasonNone {
			stronger = append(stronger, other)
		}
	}
	if len(stronger) == 0 {
		return false
	}
	for _, cert := range chain {
		if !r.matches(cert) {
			continue
		}
		seen := false
		for _, other := range stronger {
			seen = seen || other.matches(cert)
		}
		if !seen {
			return true
		}
	}
	return false
}

func anyMatches(r Record, certs []*x509.Certificate) bool {
	for _, cert := range certs {
		if r.matches(cert) {
			return true
		}
	}
	return false
}

// matches reports whether the record has the data of this certificate.
func (r Record) matches(cert *x509.Certificate) bool {
	made, err := NewRecord(r.Usage, r.Selector, r.MatchingType, cert)
	return err == nil && bytes.Equal(made.Data, r.Data)
}
