package dnssec

import (
	"context"
	"strconv"
	"time"
)

// Type is a DNS RR type, with the number IANA gives it. Types without a name here can be asked for by number.
type Type uint16

// The types that mail transport security asks for or meets on the way.
const (
	TypeA      Type = 1
	TypeNS     Type = 2
	TypeCNAME  Type = 5
	TypeSOA    Type = 6
	TypePTR    Type = 12
	TypeMX     Type = 15
	TypeTXT    Type = 16
	TypeAAAA   Type = 28
	TypeDNAME  Type = 39
	TypeDS     Type = 43
	TypeDNSKEY Type = 48
	TypeTLSA   Type = 52
)

// String returns the mnemonic, or TYPEn for a type without one here (RFC 3597 section 5).
func (t Type) String() string {
	switch t {
	case TypeA:
		return "A"
	case TypeNS:
		return "NS"
	case TypeCNAME:
		return "CNAME"
	case TypeSOA:
		return "SOA"
	case TypePTR:
		return "PTR"
	case TypeMX:
		return "MX"
	case TypeTXT:
		return "TXT"
	case TypeAAAA:
		return "AAAA"
	case TypeDNAME:
		return "DNAME"
	case TypeDS:
		return "DS"
	case TypeDNSKEY:
		return "DNSKEY"
	case TypeTLSA:
		return "TLSA"
	}
	return "TYPE" + strconv.Itoa(int(t))
}

// A Resolver answers DNS questions and says how far each answer can be trusted. Implementations are safe for
// concurrent use. Everything else in this module that needs DNS asks for no more than this interface.
type Resolver interface {
	// Lookup asks for the records of type t at name, follows aliases, and returns what is known.
	// That a name or a record does not exist is an answer, not an error. An error means that nothing is known:
	// it must never be read as "insecure" or "absent".
	//
	// The name may lack the final dot and have any case; it is always absolute, there is no search list. Asking for
	// CNAME or DNAME returns that alias and does not follow it. Names that cannot be put into a question, and types
	// that stand for something other than data (ANY, AXFR, RRSIG, NSEC and their like), are a KindBadName error.
	//
	// The Answer may be shared with a cache and other callers and must not be modified.
	Lookup(ctx context.Context, name string, t Type) (*Answer, error)
}

// A Checker is a Resolver that can judge whether it is fit for use.
type Checker interface {
	// Check runs the self-check of the resolver. It returns nil if its answers can carry security. A *Error with
	// KindUnusable says in words what is wrong with the setup; any other error is a lookup that failed.
	Check(ctx context.Context) error
}

// Security says how far a DNS answer, or a part of it, can be trusted. The order is meant: the security of a whole
// is the least of its parts. There is no value for bogus data, because bogus data is never handed out: it is an
// error with KindBogus.
type Security uint8

const (
	Indeterminate Security = iota // nobody has validated it; never trusted, and never taken for Insecure (zero value)
	Insecure                      // shown to be unsigned, or returned without AD by a trusted validating resolver
	Secure                        // validated up to a trust anchor
)

// String returns the word of RFC 4033 section 5 for s, in lower case.
func (s Security) String() string {
	switch s {
	case Indeterminate:
		return "indeterminate"
	case Insecure:
		return "insecure"
	case Secure:
		return "secure"
	}
	return "Security(" + strconv.Itoa(int(s)) + ")"
}

// Outcome says what a question led to. The zero value is no outcome; no Resolver returns it.
type Outcome uint8

const (
	Found    Outcome = iota + 1 // there are records
	NoData                      // the name exists without records of this type
	NXDomain                    // the name does not exist
)

// String returns "found", "nodata" or "nxdomain".
func (o Outcome) String() string {
	switch o {
	case Found:
		return "found"
	case NoData:
		return "nodata"
	case NXDomain:
		return "nxdomain"
	}
	return "Outcome(" + strconv.Itoa(int(o)) + ")"
}

// Source says on whose word the Security of an Answer rests. The zero value names no source.
type Source uint8

const (
	SourceStatic    Source = iota + 1 // a table, see Static
	SourceAD                          // the AD bit of a resolver, see Stub
	SourceValidated                   // signatures checked by the Resolver itself
)

// String returns "static", "ad" or "validated".
func (s Source) String() string {
	switch s {
	case SourceStatic:
		return "static"
	case SourceAD:
		return "ad"
	case SourceValidated:
		return "validated"
	}
	return "Source(" + strconv.Itoa(int(s)) + ")"
}

// A Question is what Lookup was asked. Name is lower case and absolute wherever this package fills it in.
type Question struct {
	Name string
	Type Type
}

// A Step is one hop of an alias chain.
type Step struct {
	From, To string        // the name before and after this hop, lower case and absolute
	Owner    string        // owner of the alias RRset: From for a CNAME, an ancestor of From for a DNAME
	Type     Type          // TypeCNAME or TypeDNAME
	TTL      time.Duration // of the alias RRset, as received
	Security Security      // of this RRset alone; Indeterminate = not established, StepSecurity can ask
}

// A Record is one resource record of an Answer.
type Record struct {
	TTL  uint32 // seconds, as received
	Data []byte // RDATA as received, except that names in it are decompressed; nothing promises that it is well formed
}

// An Answer is what is known about a question. It may be shared and must not be modified.
//
// Names are in presentation form, lower case, absolute; octets that are not letters, digits, hyphen, underscore,
// asterisk or slash are escaped as in a zone file (RFC 1035 section 5.1).
type Answer struct {
	Name      string    // the name asked for
	Type      Type      // the type asked for
	Outcome   Outcome   // of the last name of the chain
	Canonical string    // owner of the final RRset or of the denial; Name if there was no alias
	Chain     []Step    // the aliases from Name to Canonical, in order; nil if there was none
	Records   []Record  // only records of Type at Canonical; empty unless Found
	Final     Security  // of the final RRset or the denial alone; Indeterminate = not established
	Security  Security  // of the answer as a whole: what callers test
	OptOut    bool      // the denial rests on an NSEC3 opt-out span (RFC 5155 section 6), and is Insecure
	Expires   time.Time // when the first part of the answer runs out
	Source    Source    // on whose word Security rests
}

// Aliased reports whether an alias was followed.
func (a *Answer) Aliased() bool { return len(a.Chain) > 0 }
