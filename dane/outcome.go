package dane

import (
	"log/slog"
	"strconv"
)

// Outcome is what DiscoverHost found out about one mail host. It states a fact;
// what follows from it is a matter of policy, and of the sender's DANE setting:
//
//	outcome       opportunistic DANE                        mandatory DANE
//	usable        TLS and a match, MTA-STS is not asked     the same
//	unusable      TLS without authentication by DANE        host not usable
//	no-tlsa       as if there were no DANE                  host not usable
//	insecure      as if there were no DANE                  host not usable
//	bogus         do not connect                            the same
//	lookup-error  do not connect                            the same
//	no-address    there is nothing to connect to            the same
//
// Every failure is temporary for the message (RFC 7672 section 2.1).
type Outcome uint8

// The outcomes.
const (
	OutcomeLookupError Outcome = iota // nothing is known; the zero value, so that forgetting fails closed
	OutcomeUsable                     // a secure TLSA set with a usable record
	OutcomeUnusable                   // a secure TLSA set without one (RFC 7672 section 2.2)
	OutcomeNoTLSA                     // securely proven: there are no TLSA records
	OutcomeInsecure                   // DNSSEC protects the MX, address or TLSA records not
	OutcomeBogus                      // DNSSEC validation failed
	OutcomeNoAddress                  // the host has neither A nor AAAA records
)

var outcomeTexts = [...]string{
	OutcomeLookupError: "lookup-error",
	OutcomeUsable:      "usable",
	OutcomeUnusable:    "unusable",
	OutcomeNoTLSA:      "no-tlsa",
	OutcomeInsecure:    "insecure",
	OutcomeBogus:       "bogus",
	OutcomeNoAddress:   "no-address",
}

// String returns the name of the outcome in lower case: "usable", "no-tlsa".
func (o Outcome) String() string {
	if int(o) >= len(outcomeTexts) {
		return "Outcome(" + strconv.Itoa(int(o)) + ")"
	}
	return outcomeTexts[o]
}

// LogValue returns the name, so that logs do not show a number.
func (o Outcome) LogValue() slog.Value { return slog.StringValue(o.String()) }

// DiscoverReason says what an Outcome rests on, where the Outcome leaves that
// open.
type DiscoverReason uint8

// What an outcome can rest on.
const (
	DiscoverReasonNone      DiscoverReason = iota // the outcome says it all
	ReasonBadName                                 // lookup-error: the host, or what it is an alias of, is no host name
	ReasonAddressLookup                           // lookup-error, bogus: the addresses
	ReasonAliasLookup                             // lookup-error, bogus: the first alias of the host
	ReasonTLSALookup                              // lookup-error, bogus: the TLSA records
	ReasonAddressLiteral                          // insecure: the host is an IP address
	ReasonInsecureMX                              // insecure: the MX records, or that there are none
	ReasonInsecureAddress                         // insecure: the addresses of the host
	ReasonInsecureTLSA                            // insecure: the TLSA records, or that there are none
	ReasonResolverUntrusted                       // insecure: the resolver cannot tell; something for its operator to repair
)

var discoverReasonTexts = [...]string{
	DiscoverReasonNone:      "none",
	ReasonBadName:           "bad name",
	ReasonAddressLookup:     "address lookup failed",
	ReasonAliasLookup:       "alias lookup failed",
	ReasonTLSALookup:        "TLSA lookup failed",
	ReasonAddressLiteral:    "the host is an IP address",
	ReasonInsecureMX:        "MX records without DNSSEC",
	ReasonInsecureAddress:   "address records without DNSSEC",
	ReasonInsecureTLSA:      "TLSA records without DNSSEC",
	ReasonResolverUntrusted: "the resolver does not validate or is not trusted",
}

// String returns the reason in a few words.
func (r DiscoverReason) String() string {
	if int(r) >= len(discoverReasonTexts) {
		return "DiscoverReason(" + strconv.Itoa(int(r)) + ")"
	}
	return discoverReasonTexts[r]
}

// LogValue returns the reason in words, so that logs do not show a number.
func (r DiscoverReason) LogValue() slog.Value { return slog.StringValue(r.String()) }
