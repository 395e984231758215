package mtasts

import (
	"fmt"
	"time"
)

// Outcome sums up what discovery found for a domain.
type Outcome uint8

// The zero Outcome is never returned by a Client: code that meets it has lost a
// result and must not deliver.
const (
	OutcomeUnknown         Outcome = iota
	OutcomeEnforce                 // policy held, mode enforce
	OutcomeTesting                 // policy held, mode testing
	OutcomeNone                    // policy held, mode none: as no policy
	OutcomeNoRecord                // no policy: no TXT record
	OutcomeMultipleRecords         // no policy: several TXT records
	OutcomeInvalidRecord           // no policy: malformed TXT record
	OutcomeDNSError                // no policy: TXT query failed
	OutcomeFetchError              // no policy: GET failed
	OutcomeWebPKI                  // no policy: policy host certificate invalid
	OutcomePolicyInvalid           // no policy: file is not a policy
	OutcomeBackoff                 // no policy: GET failed earlier, not tried again yet
)

var outcomeNames = [...]string{
	"unknown", "enforce", "testing", "none", "no-record", "multiple-records", "invalid-record",
	"dns-error", "fetch-error", "webpki", "policy-invalid", "backoff",
}

// String returns the outcome's stable name, such as "no-record".
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

// Source says where the policy of a Result comes from.
type Source uint8

const (
	SourceNone   Source = iota // no policy is held
	SourceFresh                // fetched during this call, or by the flight that it joined
	SourceCached               // from the cache; the last check is recent and found nothing wrong
	SourceStale                // from the cache and unexpired, but a check or refresh failed or is overdue
	SourcePinned               // from a pin of the operator's
)

var sourceNames = [...]string{"none", "fresh", "cached", "stale", "pinned"}

// String returns the source's stable name, such as "cached".
func (s Source) String() string {
	if int(s) < len(sourceNames) {
		return sourceNames[s]
	}
	return fmt.Sprintf("Source(%d)", uint8(s))
}

// ReportType is a result type of TLS reporting (RFC 8460 section 4.3), or empty.
type ReportType string

// What went wrong with the policy of a domain that has a valid record; the empty
// ReportType says that nothing did.
const (
	ReportFetchError    ReportType = "sts-policy-fetch-error"
	ReportWebPKI        ReportType = "sts-webpki-invalid"
	ReportPolicyInvalid ReportType = "sts-policy-invalid"
)

// Result is what a Client knows about a domain at one moment. The zero Result
// has OutcomeUnknown and matches no host.
type Result struct {
	Domain string // normalised policy domain

	// Policy is non-nil exactly when an unexpired policy is held, one of mode
	// none included, or a pin applies; PinOff applies mode none. It is shared
	// and must not be changed. Match asks it together with a PinFloor.
	Policy *Policy
	// ID is the id of the TXT record under which the policy was fetched;
	// without a policy the id last seen, if any.
	ID      string
	Source  Source
	Outcome Outcome

	FetchedAt time.Time // start of the GET that brought the policy; zero without one
	Expires   time.Time // end of the policy's validity, or of the pin that is its Source; zero without one

	// Body is the policy file as served, which TLS reports quote (RFC 8460
	// section 4.2). It is shared and must not be changed.
	Body     []byte
	Warnings []Warning // what the parser tolerated or found unwise in Body

	// Report is the result type under which the last failed check belongs in a
	// TLS report; empty if nothing failed, if there is no valid TXT record and
	// no policy, and always while mode none is held.
	Report ReportType
	Reason string // why the last check failed, one of the Reason texts
	Err    error  // the same as an error; nil if nothing failed

	floor *Policy // of a PinFloor, where Policy is of mode enforce as well
}

// Match reports whether the policy names host, as Policy.Match, and while a
// PinFloor is in force whether the pin's policy names it too. Without a policy it
// is false.
func (r *Result) Match(host string) bool {
	return r.Policy != nil && r.Policy.Match(host) && (r.floor == nil || r.floor.Match(host))
}
