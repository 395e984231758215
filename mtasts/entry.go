package mtasts

import (
	"slices"
	"time"
)

// entry is all that is known of one domain. Entries are values: the state
// machine makes new ones, and nobody changes one that is shared.
type entry struct {
	// The times that every lookup compares come first.
	FetchedAt time.Time // start of the GET that brought the policy
	Expires   time.Time
	SeenAt    time.Time // when the TXT record, or its lack, was last seen
	NextCheck time.Time // when a lookup looks again

	Domain string

	// The policy, held until Expires. Policy is nil when none is held.
	Policy    *Policy
	AppliedID string
	Body      []byte // as served
	Warnings  []Warning

	SeenID string  // id of the last valid record; AppliedID if a policy outlived it
	Check  failure // what was wrong at SeenAt, or with the GET after it

	Backoff []attempt // failed GETs by id, newest first
	LastGET time.Time // end of the last GET, whatever came of it
	IDs     []idAt    // ids of the last hour, for the alarm of many ids

	LastUsed time.Time // last lookup, as far as a store is told
	Version  Version   // of the copy in the store; 0: none
}

// failure is a failed check. The zero failure is none.
type failure struct {
	Outcome Outcome
	Reason  string
	Err     error
	// Later is the error to tell while the attempt is backed off, made once so
	// that a lookup does not allocate.
	Later error
}

func (f *failure) failed() bool { return f.Outcome != OutcomeUnknown }

// ofFetch tells a failed GET from a failed look at the record.
func (f *failure) ofFetch() bool {
	return f.Outcome == OutcomeFetchError || f.Outcome == OutcomeWebPKI || f.Outcome == OutcomePolicyInvalid
}

// report returns the result type of a failure while an enforce or testing
// policy is held, or of a failed GET. RFC 8460 section 4.3.2.2.
func (f *failure) report() ReportType {
	switch f.Outcome {
	case OutcomeUnknown:
		return ""
	case OutcomeWebPKI:
		return ReportWebPKI
	case OutcomePolicyInvalid:
		return ReportPolicyInvalid
	}
	return ReportFetchError
}

// attempt is the back-off record of one id.
type attempt struct {
	ID       string
	Failures int       // in a row
	At       time.Time // end of the last one
	Until    time.Time // no GET before
	Last     failure
}

type idAt struct {
	ID string
	At time.Time
}

func (e *entry) held(now time.Time) bool {
	return e.Policy != nil && now.Before(e.Expires)
}

// backedOff returns the record that forbids a GET for the id, nil if none does.
func (e *entry) backedOff(id string, now time.Time) *attempt {
	i := slices.IndexFunc(e.Backoff, func(a attempt) bool { return a.ID == id })
	if i < 0 || !now.Before(e.Backoff[i].Until) {
		return nil
	}
	return &e.Backoff[i]
}

// dropPolicy keeps FetchedAt: an older copy of the entry that still has its
// policy must not win when the two are merged.
func (e *entry) dropPolicy() {
	e.Policy, e.Body, e.Warnings, e.AppliedID = nil, nil, nil, ""
	e.Expires = time.Time{}
}

// size is the memory of the policy: the body, the text that the parsed policy
// points into, and its lists.
func (e *entry) size() int64 {
	if e.Policy == nil {
		return 0
	}
	const perString, perWarning = 16, 72
	return int64(len(e.Domain) + 2*len(e.Body) + perString*cap(e.Policy.MX) + 2*perString*cap(e.Policy.Extensions) + perWarning*cap(e.Warnings))
}
