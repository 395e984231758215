// Package tlspolicy decides what protection an SMTP delivery must have, and what
// to do when it is missing.
//
// A mail server asks two questions for every host that it might deliver to: may
// I connect, and what must hold there? And then: given what STARTTLS and the
// handshake produced, do I deliver, reconnect, or move on? The answers follow
// from the settings for the destination, from DNSSEC and DANE (RFC 7672), from
// MTA-STS (RFC 8461), and from the six TLS settings of the AsyncOS chapter on
// encrypting communication with other MTAs. Here they are functions of small
// values. There is no network in them, no clock and no allocation, so that every
// case can be tried out, and is.
//
// A [Table] holds the [Settings] for each destination; [Live] lets it be
// replaced. For a delivery, look up its settings, find out the [DANEState] and
// [STSState] of each MX host, and let [Plan] say what the host must give, or that
// it must be skipped. Connect, note the [Outcome], and do what
// [Requirement.Decide] says:
//
//	settings, origin, err := table.Lookup("example.com", tlspolicy.NextHop{})
//	decision, stop := tlspolicy.PlanDomain(settings, mxState)   // for the domain
//	requirement := tlspolicy.Plan(settings, daneState, stsState) // for each host
//	decision, skip := requirement.Skip()
//	...                                                          // connect, STARTTLS
//	decision = requirement.Decide(outcome)
//
// [Settings.For] adds what a message itself asks for (RFC 8689), and [Route] says
// whose records and names count where the operator routes mail himself.
// [Verifier] and [NewReferences] do the part of the outcome that certificates
// have: the chain, and the names that each rule accepts. [Explain] puts all of
// it into words, with the row of the decision tables and its source; [Event] and
// [AlertsFor] tell log and operator. The tables themselves are in
// docs/decisions.md: rows P before connecting, N without a TLS session, E with
// one.
//
// What is promised: what failed, or was not looked at, is never taken for a
// policy that is absent. Zero values refuse. No decision is permanent, since
// nothing that an attacker can inject before the peer is authenticated may
// bounce mail. Clear text is used only where no finding and no setting forbids
// it.
//
// The package looks nothing up and opens no connections. It does not say how
// long a deferred message waits. For a dialer that does the whole way, see
// package smtpclient.
package tlspolicy
