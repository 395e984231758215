package tlspolicy

// DANEState is what DNSSEC and the TLSA lookup found for one MX host. The zero
// value stands for no finding and fails closed.
type DANEState uint8

const (
	// DANEUnknown is the zero value: nobody has looked.
	DANEUnknown DANEState = iota
	// DANEInsecure: the MX RRset, an address or the TLSA answer is proven
	// unsigned, or the resolver does not validate.
	DANEInsecure
	// DANENoTLSA: a secure answer proves that there is no TLSA RRset (NODATA or
	// NXDOMAIN).
	DANENoTLSA
	// DANEUnusable: a secure TLSA RRset has no record that an SMTP client can
	// apply (RFC 7672 section 2.2).
	DANEUnusable
	// DANEUsable: the chain down to the TLSA RRset is secure, and at least one
	// record can be applied: usage 2 or 3, selector and matching type known,
	// data well-formed (RFC 7672 section 3.1).
	DANEUsable
	// DANEBogus: DNSSEC validation failed for the MX, address or TLSA answer.
	DANEBogus
	// DANELookupError: SERVFAIL, timeout, refusal or a malformed answer. It
	// proves nothing and is never taken for an absent record (RFC 7672
	// section 2.1.2).
	DANELookupError
)

var daneStateNames = [...]string{"unknown", "insecure", "no-tlsa", "unusable", "usable", "bogus", "lookup-error"}

// String returns the name of the state, such as "no-tlsa".
func (s DANEState) String() string { return nameOf(daneStateNames[:], uint8(s), "DANEState") }

// MarshalText returns the name of the state; an unnamed value is an error.
func (s DANEState) MarshalText() ([]byte, error) {
	return appendName(nil, daneStateNames[:], uint8(s), "DANEState")
}

// known reports whether s is a finding.
func (s DANEState) known() bool { return s != DANEUnknown && s <= DANELookupError }

// STSState is what the MTA-STS policy of the recipient domain says about one MX
// host (RFC 8461 section 4.1). The zero value stands for no finding and fails
// closed.
type STSState uint8

const (
	// STSUnknown is the zero value: nobody has looked.
	STSUnknown STSState = iota
	// STSNoPolicy: there is no TXT record, or the policy's mode is none.
	STSNoPolicy
	// STSDiscoveryError: no policy could be had (TXT record invalid or several,
	// DNS or fetch failure, policy invalid, retry held back) and no unexpired
	// policy is in the cache. A cached policy always wins over such an error
	// (RFC 8461 section 3.3).
	STSDiscoveryError
	// STSTestingMatch: mode testing, and a pattern matches the host.
	STSTestingMatch
	// STSTestingMismatch: mode testing, and no pattern matches the host.
	STSTestingMismatch
	// STSEnforceMatch: mode enforce, and a pattern matches the host.
	STSEnforceMatch
	// STSEnforceMismatch: mode enforce, and no pattern matches the host.
	STSEnforceMismatch
)

var stsStateNames = [...]string{"unknown", "no-policy", "discovery-error", "testing-mx-match",
	"testing-mx-mismatch", "enforce-mx-match", "enforce-mx-mismatch"}

// String returns the name of the state, such as "enforce-mx-match".
func (s STSState) String() string { return nameOf(stsStateNames[:], uint8(s), "STSState") }

// MarshalText returns the name of the state; an unnamed value is an error.
func (s STSState) MarshalText() ([]byte, error) {
	return appendName(nil, stsStateNames[:], uint8(s), "STSState")
}

// known reports whether s is a finding.
func (s STSState) known() bool { return s != STSUnknown && s <= STSEnforceMismatch }
