package dnstest

import (
	"time"

	"github.com/miekg/dns"
)

// Flaw says what is wrong with the DNSSEC data of a zone ([ZoneOptions].Flaw) or of one RRset
// ([Zone.Spoil]). The zero value is [Sound].
type Flaw uint8

const (
	Sound        Flaw = iota // nothing is wrong
	Expired                  // signatures ended a week before they were made
	NotYetValid              // signatures begin a week after they were made
	BadSignature             // one octet of each signature is changed
	NoSignature              // RRSIG records are left out
	WrongDS                  // zones only: the DS in the parent matches no key of the zone
	NoKeys                   // zones only: the parent has a DS, the zone has no DNSKEY and no signature
	NoDenial                 // zones only: NSEC and NSEC3 records are left out of replies
)

var flawNames = [...]string{"sound", "expired", "not yet valid", "bad signature", "no signature", "wrong DS", "no keys", "no denial"}

// String gives the flaw in words.
func (f Flaw) String() string {
	if int(f) < len(flawNames) {
		return flawNames[f]
	}
	return "unknown flaw"
}

// ofSet reports whether f can be said of a single RRset.
func (f Flaw) ofSet() bool { return f <= NoSignature }

// flawDistance is how far the dates are off: more than any validator allows for wrong clocks
// (unbound: a day at most).
const flawDistance = 7 * 24 * time.Hour

// dates returns the validity that a signature with flaw f gets instead of [from, until].
func (f Flaw) dates(now, from, until time.Time) (time.Time, time.Time) {
	switch f {
	case Expired:
		return now.Add(-5 * flawDistance), now.Add(-flawDistance)
	case NotYetValid:
		return now.Add(flawDistance), now.Add(5 * flawDistance)
	}
	return from, until
}

// ede is the extended error (RFC 8914 section 4) that a validating resolver reports for f.
func (f Flaw) ede() uint16 {
	switch f {
	case Expired:
		return dns.ExtendedErrorCodeSignatureExpired
	case NotYetValid:
		return dns.ExtendedErrorCodeSignatureNotYetValid
	case NoSignature:
		return dns.ExtendedErrorCodeRRSIGsMissing
	case WrongDS, NoKeys:
		return dns.ExtendedErrorCodeDNSKEYMissing
	case NoDenial:
		return dns.ExtendedErrorCodeNSECMissing
	}
	return dns.ExtendedErrorCodeDNSBogus
}
