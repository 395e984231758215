package tlspolicy

// Settings say what protection deliveries to one destination must have.
//
// In an entry of a [Table] each field may be left at Default, which is the zero
// value and means "inherit". Settings that come out of [Table.Lookup],
// [BuiltIn] or [Recommended] are resolved: no field is Default. [Plan] accepts
// only resolved Settings; others make it refuse the host.
type Settings struct {
	Mode     Mode     // what TLS must give, apart from DANE and MTA-STS
	DANE     DANE     // whether TLSA records are looked up, and needed
	MTASTS   MTASTS   // whether MTA-STS policies are looked up and obeyed
	Fallback Fallback // when Preferred and PreferredVerify may use clear text

	message messageBits // what For added for one message
}

// BuiltIn returns the Settings used where neither the selected entry nor the
// default entry of a table says anything: TLS is preferred, DANE and MTA-STS
// are not looked at, and clear text follows a failed handshake.
func BuiltIn() Settings {
	return Settings{Mode: Preferred, DANE: DANENone, MTASTS: Off, Fallback: FallbackAfter220}
}

// Recommended returns the Settings for a sender whose resolver can be trusted
// to tell secure DNS answers from others: as [BuiltIn], with opportunistic DANE
// and MTA-STS on.
//
// The AsyncOS chapter advises against MTA-STS in the default entry, because it
// costs a TXT query for every recipient domain.
func Recommended() Settings {
	return Settings{Mode: Preferred, DANE: DANEOpportunistic, MTASTS: On, Fallback: FallbackAfter220}
}

// resolved reports whether every field has a value that is neither Default nor
// out of range. It takes a pointer because a copy costs more than the answer.
func (s *Settings) resolved() bool {
	// What is subtracted from the zero value wraps around to one out of range.
	return s.Mode-No <= RequiredVerifyHosted-No && s.DANE-DANENone <= DANEMandatory-DANENone &&
		s.MTASTS-Off <= On-Off && s.Fallback-FallbackAfter220 <= FallbackBefore220-FallbackAfter220
}

// String returns the canonical texts of the fields for logs, such as
// "mode preferred, DANE none, MTA-STS off, fallback after-220". What
// [Settings.For] added stands behind them.
func (s Settings) String() string {
	text := "mode " + s.Mode.String() + ", DANE " + s.DANE.String() +
		", MTA-STS " + s.MTASTS.String() + ", fallback " + s.Fallback.String()
	switch {
	case s.message&requireTLS != 0:
		text += ", REQUIRETLS"
	case s.message&tlsOptional != 0:
		text += ", TLS-Required: No"
	}
	return text
}

// Mode is the TLS setting of a destination. The numbers are those of the
// AsyncOS chapter and its destconfig command.
type Mode uint8

const (
	// ModeDefault inherits the mode.
	ModeDefault Mode = iota
	// No never sends STARTTLS. DANE and MTA-STS are not evaluated, and mail
	// goes out in clear text.
	No
	// Preferred uses TLS if the host offers it and does not look at the
	// certificate. [Fallback] tells what happens if TLS fails.
	Preferred
	// Required delivers over TLS or not at all, and does not look at the
	// certificate.
	Required
	// PreferredVerify delivers in the same cases as Preferred. The certificate
	// is checked and the result recorded, but it never blocks.
	PreferredVerify
	// RequiredVerify delivers only over TLS with a trusted chain and a
	// certificate for the recipient domain or the receiving host.
	RequiredVerify
	// RequiredVerifyHosted delivers only over TLS with a trusted chain and a
	// certificate whose names match the recipient domain, the MX host or the
	// configured route. It is the strict mode for domains that are hosted under
	// another provider's names.
	RequiredVerifyHosted
)

// required reports whether m excludes clear text by itself.
func (m Mode) required() bool {
	return m == Required || m.verified()
}

// verified reports whether m excludes an unauthenticated peer by itself.
func (m Mode) verified() bool {
	return m == RequiredVerify || m == RequiredVerifyHosted
}

// DANE tells whether TLSA records (RFC 7672) are used for a destination.
type DANE uint8

const (
	// DANEDefault inherits the setting.
	DANEDefault DANE = iota
	// DANENone looks up no TLSA records.
	DANENone
	// DANEOpportunistic obeys TLSA records where a secure answer has them, and
	// goes on without where DNSSEC proves that there are none (RFC 7672
	// section 2.2).
	DANEOpportunistic
	// DANEMandatory delivers only to hosts that usable TLSA records
	// authenticate.
	DANEMandatory
)

// MTASTS tells whether MTA-STS policies (RFC 8461) are used for a destination.
type MTASTS uint8

const (
	// MTASTSDefault inherits the setting.
	MTASTSDefault MTASTS = iota
	// Off looks up no policy.
	Off
	// On looks up and obeys the policy of the recipient domain.
	On
)

// Fallback tells when [Preferred] and [PreferredVerify] may use clear text
// although the host offers STARTTLS. A host that does not offer it gets clear
// text in these modes, whatever Fallback says.
//
// A session whose handshake failed is never continued, since its state is
// undefined (RFC 3207 section 4): clear text then takes a new connection.
type Fallback uint8

const (
	// FallbackDefault inherits the setting.
	FallbackDefault Fallback = iota
	// FallbackAfter220 uses clear text, on a new connection, after a handshake
	// that failed, but not after STARTTLS was refused. The AsyncOS chapter.
	FallbackAfter220
	// FallbackAlways uses clear text after a refused STARTTLS and after a failed
	// handshake. What Exim, mox and chasquid do.
	FallbackAlways
	// FallbackBefore220 uses clear text after a refused STARTTLS, but not after
	// a failed handshake. Older AsyncOS guides.
	FallbackBefore220
)
