//go:build unix

package outbound

import (
	"errors"
	"slices"

	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// Result is what became of one recipient in one attempt.
type Result struct {
	// Err is nil if the next host has taken responsibility.
	Err error
	// Permanent says that another attempt would be in vain: on a session with which TLS
	// policy was content the host has said no or lacks what the message needs, or
	// there is proof that nobody takes mail there. Nothing that somebody on the way
	// could send before policy was satisfied makes a Result permanent.
	Permanent bool
	// Status is the enhanced code (RFC 3463); "": there is none.
	Status string
	// Host is the mail host of the session, and Rule what made TLS policy content with
	// it; zero if there was no session.
	Host string
	Rule tlspolicy.Reason
	// Reply is the host's refusal, as it came; "": it did not say no.
	Reply string
	// Unreported says that the sender asked to hear of success and the host knows
	// nothing of that, so that it is for us to tell how far the message came (RFC 3461
	// section 5.2.2).
	Unreported bool

	sent bool // the host may have the message
}

// failedDial turns a dialer's error into results. It is temporary unless DNSSEC proves
// that there is no such domain or that it takes no mail, or every host that was asked
// said inside an authenticated session that it will not carry REQUIRETLS on: nobody
// on the way could have made that up.
func failedDial(err error, n int) []Result {
	res := Result{Err: err}
	var failed *smtpclient.Error
	if errors.As(err, &failed) {
		res.Status = failed.Status
		res.Permanent = failed.Permanent && failed.Secure
		if refusesRequireTLS(failed.Report) {
			res.Permanent, res.Status = true, "5.7.30" // RFC 8689 section 4.2.1
		}
	}
	results := make([]Result, n)
	for i := range results {
		results[i] = res
	}
	return results
}

// refusesRequireTLS reports whether every attempt ended for want of REQUIRETLS.
func refusesRequireTLS(report *smtpclient.Report) bool {
	attempts := 0
	for _, way := range append(slices.Clone(report.Before), report) {
		for _, a := range way.Attempts {
			var refused *smtpclient.RequireTLSError
			if attempts++; !errors.As(a.Err, &refused) {
				return false
			}
		}
	}
	return attempts > 0
}
