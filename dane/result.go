package dane

import (
	"crypto/x509"
	"strconv"
	"time"
)

// Status is the answer to whether a certificate chain satisfies a set of TLSA
// records. There are three, and they must be kept apart: taking Unusable for
// "no DANE" is a downgrade, taking it for Mismatched loses mail.
type Status uint8

const (
	Mismatched Status = iota // a record is usable, none is satisfied; the zero value, so that forgetting fails closed
	Matched                  // a record is satisfied
	Unusable                 // there are records, and none is usable (RFC 7672 section 2.2)
)

// String returns "mismatched", "matched" or "unusable".
func (s Status) String() string {
	switch s {
	case Mismatched:
		return "mismatched"
	case Matched:
		return "matched"
	case Unusable:
		return "unusable"
	}
	return "Status(" + strconv.Itoa(int(s)) + ")"
}

// A Result is the verdict of Verifier.Verify. The zero value is a mismatch.
type Result struct {
	Status Status
	// Record is the record that matched. Its Data is shared with the Verifier and
	// must not be modified.
	Record Record
	// Index is the record's place in what NewVerifier was given, -1 if none
	// matched. Of equal records it is the first.
	Index int
	// Depth is where the match lies on the path: 0 is the server's certificate. A
	// bare key has no certificate; its depth is that of the certificate it
	// signed. -1 if nothing matched.
	Depth int
	// Name is the reference identifier that the certificate carries, "" for usage
	// 3, where names do not count.
	Name string
	// Reason says, unless Matched, what the record that came furthest failed on.
	Reason Reason

	verifier *Verifier
	failure  *failure // what was tried, when more than comparing failed
}

// A failure keeps what Err needs to say more than Reason.
type failure struct {
	chain []*x509.Certificate
	ids   RefIDs
	now   time.Time
	cause error // from crypto/x509
}

// Err returns nil if the records are satisfied, else a *VerifyError. It is made
// only now, with the reason of every record, which may mean building paths
// again.
func (r Result) Err() error {
	if r.Status == Matched {
		return nil
	}
	e := &VerifyError{Status: r.Status, Reason: r.Reason}
	switch {
	case r.failure != nil:
		e.Records = r.verifier.explain(r.failure.chain, r.failure.ids, r.failure.now, r)
		e.Err = r.failure.cause
	case r.verifier != nil:
		e.Records = r.verifier.Records()
		for i := range e.Records {
			if e.Records[i].Reason == ReasonNone {
				e.Records[i].Reason = r.Reason
			}
		}
	}
	return e
}

// A RecordStatus is one record and what is wrong with it.
type RecordStatus struct {
	Record Record // Data is shared with the Verifier and must not be modified
	Reason Reason // ReasonNone if nothing is
}
