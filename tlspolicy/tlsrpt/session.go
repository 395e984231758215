package tlsrpt

import (
	"net/netip"
	"time"
)

// Collector takes the sessions of a mail client, as an [Aggregator] does.
//
// Collect must not block, must not fail and must not keep the pointer. It is
// called by many goroutines at once.
type Collector interface {
	Collect(*Session)
}

// Session is one attempt to reach a mail host that came to the point where
// STARTTLS was due, was stopped before by a check of policy, or never began
// because no policy could be fetched (RFC 8460 section 4.3).
//
// A connection counts once however many messages it carries, at its handshake;
// a resumed TLS session counts too. Clear text is never a success. A delivery
// that repeats a failed attempt in clear text does not count again, and what
// became of the message does not matter.
//
// Not counted (section 4.3.4): connections that never came to an EHLO, failures of
// the sender's own, such as a cancelled context, and sessions that carry TLS
// reports.
//
// Nothing in it is allocated for a session: the value can live on the stack.
type Session struct {
	// Time is the end of the handshake, or of the attempt; zero: now.
	Time time.Time
	// RecipientDomain is the domain of the recipients, or of the smart host that
	// takes mail for it.
	RecipientDomain string
	// MXHost is the mail host that was tried; empty if none was.
	MXHost string
	// Helo is the name that the host gave in its greeting or reply to EHLO.
	Helo string
	// LocalIP and RemoteIP are the ends of the connection; invalid without one.
	LocalIP, RemoteIP netip.Addr

	// Policies are those that applied, each with its own result, and NPolicies is
	// how many there are: at most one of each type.
	Policies  [3]PolicyResult
	NPolicies int
}

// PolicyResult is how a session fared under one policy.
type PolicyResult struct {
	Policy *PolicyInfo
	Result ResultType
	// Reason says more about a failure: see ResultOf and the Reason constants.
	Reason string
	// Info is a URI with more about a failure, if there is one.
	Info string
}

// Add adds the result of a policy. A fourth is not counted: no session is under
// more than one policy of each type.
func (s *Session) Add(r PolicyResult) {
	if s.NPolicies < len(s.Policies) {
		s.Policies[s.NPolicies] = r
		s.NPolicies++
	}
}
