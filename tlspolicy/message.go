package tlspolicy

// Message is what one message asks of its transport, beside what the
// destination table says (RFC 8689). The zero value asks for nothing.
type Message struct {
	// RequireTLS: the message came with the REQUIRETLS option (RFC 8689 section
	// 4.2.1), so it is delivered to an authenticated host or not at all.
	RequireTLS bool
	// TLSOptional: the message has the header field "TLS-Required: No" (RFC 8689
	// section 3), so DANE and MTA-STS are looked at for the report and have no
	// say. It counts for nothing next to RequireTLS.
	TLSOptional bool
	// OverrideLocal lets TLSOptional lift the Required modes of the operator too,
	// which otherwise stay in force.
	OverrideLocal bool
}

// messageBits are what a Message did to Settings. Only [Settings.For] sets them.
type messageBits uint8

const (
	requireTLS messageBits = 1 << iota
	tlsOptional
	overrideLocal
)

// For returns the resolved Settings s as they are for one message.
//
// RequireTLS raises the mode to RequiredVerifyHosted, unless it is
// RequiredVerify, DANE to DANEOpportunistic at least, and MTA-STS to On. A name
// that came out of unprotected DNS then proves nothing, as with
// [VerifyOptions.SecureMXOnly]: mail goes only to a host that TLSA records, an
// enforced MTA-STS policy or a certificate for a protected name authenticates
// (RFC 8689 section 4.2.1). Mode No is raised too.
//
// TLSOptional makes DANE and MTA-STS report-only. They decide nothing, even if
// DANE is mandatory; what they would have decided is in [Decision.Shadow]. With
// OverrideLocal Required becomes Preferred, and the two modes that need a
// verified peer become PreferredVerify.
//
// Once RequireTLS was given TLSOptional has no effect, in whatever order. For
// applied twice is For applied once. Fields that are not resolved stay as they
// are, and [Plan] refuses them; [NewTable] refuses Settings that For returned,
// unless m is zero.
func (s Settings) For(m Message) Settings {
	switch {
	case m.RequireTLS || s.message&requireTLS != 0:
		s.message = requireTLS
		if No <= s.Mode && s.Mode < RequiredVerify {
			s.Mode = RequiredVerifyHosted
		}
		if s.DANE == DANENone {
			s.DANE = DANEOpportunistic
		}
		if s.MTASTS == Off {
			s.MTASTS = On
		}
	case m.TLSOptional:
		s.message |= tlsOptional
		if m.OverrideLocal {
			s.message |= overrideLocal
			switch s.Mode {
			case Required:
				s.Mode = Preferred
			case RequiredVerify, RequiredVerifyHosted:
				s.Mode = PreferredVerify
			}
		}
	}
	return s
}

// Message returns what [Settings.For] was asked for, as far as it has an
// effect. It is zero for the settings of a destination.
func (s Settings) Message() Message {
	return Message{
		RequireTLS:    s.message&requireTLS != 0,
		TLSOptional:   s.message&tlsOptional != 0,
		OverrideLocal: s.message&overrideLocal != 0,
	}
}
