package tlspolicy

// Outcome holds the facts about one connection, up to and including the TLS
// handshake. A flag is false unless its statement was proven; a check that the
// [Requirement] does not ask for may be left out. The zero value fails closed.
type Outcome struct {
	TLS   TLSOutcome
	Chain ChainOutcome

	DANEMatch   bool // a usable TLSA record matches the presented chain (RFC 7672 section 3)
	STSName     bool // the certificate is for the MX host name (RFC 8461 section 4.2)
	VerifyName  bool // the identity that PreferredVerify and RequiredVerify want
	HostedName  bool // the identity that RequiredVerifyHosted wants
	ExtraFailed bool // an optional certificate check was switched on and failed
	OldTLS      bool // the session is below TLS 1.2
}

// TLSOutcome tells how far the way to a TLS session led.
type TLSOutcome uint8

const (
	// TLSUnknown is the zero value: nothing was reported.
	TLSUnknown TLSOutcome = iota
	// TLSNoESMTP: the host refused EHLO and knows HELO only.
	TLSNoESMTP
	// TLSNotOffered: the answer to EHLO does not list STARTTLS.
	TLSNotOffered
	// TLSRefused: STARTTLS was answered with anything but 220.
	TLSRefused
	// TLSHandshakeFailed: the handshake after 220 failed.
	TLSHandshakeFailed
	// TLSEstablished: there is a TLS session.
	TLSEstablished
)

var tlsOutcomeNames = [...]string{"unknown", "no-esmtp", "not-offered", "refused", "handshake-failed", "established"}

// String returns the name of the outcome, such as "not-offered".
func (o TLSOutcome) String() string { return nameOf(tlsOutcomeNames[:], uint8(o), "TLSOutcome") }

// MarshalText returns the name of the outcome; an unnamed value is an error.
func (o TLSOutcome) MarshalText() ([]byte, error) {
	return appendName(nil, tlsOutcomeNames[:], uint8(o), "TLSOutcome")
}

// ChainOutcome tells whether the certificate chain leads to a trusted root. It
// says nothing about names.
type ChainOutcome uint8

const (
	// ChainUnchecked is the zero value. Where a trusted chain is needed it
	// counts as untrusted.
	ChainUnchecked ChainOutcome = iota
	// ChainOK: the chain leads to a trusted root.
	ChainOK
	// ChainUntrusted: it does not, or the check could not be made.
	ChainUntrusted
	// ChainExpired: the dates of the leaf certificate are its only defect.
	ChainExpired
)

var chainOutcomeNames = [...]string{"unchecked", "ok", "untrusted", "expired"}

// String returns the name of the outcome, such as "untrusted".
func (o ChainOutcome) String() string { return nameOf(chainOutcomeNames[:], uint8(o), "ChainOutcome") }

// MarshalText returns the name of the outcome; an unnamed value is an error.
func (o ChainOutcome) MarshalText() ([]byte, error) {
	return appendName(nil, chainOutcomeNames[:], uint8(o), "ChainOutcome")
}
