package tlspolicy

// Requirement is what must hold on one MX host, known before connecting. It is
// made by [Plan], comparable, and has no pointers. The zero value skips the host
// with ReasonInputInvalid.
type Requirement struct {
	// A struct of more than four fields would be kept in memory, and one of more
	// than nine values passed there, which takes longer than all of Decide.
	rule
	shadow   shadowRule
	unusable bool // the host has TLSA records, and none can be applied
	message  messageBits
}

// rule is what governs a host.
type rule struct {
	kind     Kind
	mode     Mode
	fallback Fallback
	reason   Reason // of a skip, and of clear text
}

// shadowRule is the rule that is reported and not enforced: a kind, or the
// reason of the skip that it would have been. It is zero if there is none.
type shadowRule struct {
	kind Kind // KindSTS, KindDANE or KindFloor
	skip Reason
}

// Kind tells which rule governs a host.
type Kind uint8

const (
	// KindSkip is the zero value: do not connect.
	KindSkip Kind = iota
	// KindClear: clear text without STARTTLS.
	KindClear
	// KindOpportunistic: TLS if possible; Fallback says when clear text may be
	// used instead.
	KindOpportunistic
	// KindFloor: TLS without authentication, since the host has TLSA records but
	// none can be applied (RFC 7672 section 2.2).
	KindFloor
	// KindMode: TLS as one of the three Required modes wants it.
	KindMode
	// KindSTS: TLS authenticated by MTA-STS (RFC 8461 section 4.2), and as the
	// mode wants it if that is RequiredVerify or RequiredVerifyHosted.
	KindSTS
	// KindDANE: TLS authenticated by TLSA records (RFC 7672 section 3).
	KindDANE
)

var kindNames = [...]string{"skip", "clear", "opportunistic", "floor", "mode", "sts", "dane"}

// String returns the name of the kind, such as "opportunistic".
func (k Kind) String() string { return nameOf(kindNames[:], uint8(k), "Kind") }

// MarshalText returns the name of the kind; an unnamed value is an error.
func (k Kind) MarshalText() ([]byte, error) {
	return appendName(nil, kindNames[:], uint8(k), "Kind")
}

// PlanDomain tells whether a delivery ends before any host is looked at, since
// the MX lookup itself proved unsafe: mx is DANEBogus or DANELookupError, and
// the settings use DANE. The Decision then holds for the whole domain, which is
// deferred (RFC 7672 section 2.2.1). All other findings go on to [Plan].
//
// With DANE in use, a zero or unnamed mx stops with ReasonInputInvalid; Settings
// that are not resolved stop with ReasonSettingsInvalid.
//
// For a message that takes DANE report-only (see [Settings.For]) nothing but
// such Settings stops. The Decision then is one to report and not to obey: zero
// but for its Shadow.
func PlanDomain(s Settings, mx DANEState) (d Decision, stop bool) {
	switch {
	case !s.resolved():
		d.refuse(ReasonSettingsInvalid)
	case s.message&tlsOptional != 0:
		s.message = 0
		enforced, _ := PlanDomain(s, mx)
		return Decision{Shadow: enforced.asShadow()}, false
	case s.Mode == No || s.DANE == DANENone:
		return d, false
	case mx == DANEBogus:
		d.skip(ReasonDANEBogus)
	case mx == DANELookupError:
		// Not a name is known that a report could be about, so none is made.
		d.refuse(ReasonDANELookupError)
	case !mx.known():
		d.refuse(ReasonInputInvalid)
	default:
		return d, false
	}
	return d, true
}

// Plan returns what must hold on one MX host, from the settings of the
// destination and what was found about the host.
//
// A finding is needed exactly if its setting is on: with DANE in use a zero or
// unnamed d, and with MTA-STS on a zero or unnamed t, skip the host with
// ReasonInputInvalid. Mode No needs neither, nor does a message that takes both
// report-only. Settings that are not resolved skip it with
// ReasonSettingsInvalid. Plan does not allocate.
func Plan(s Settings, d DANEState, t STSState) Requirement {
	r := Requirement{rule: rule{mode: s.Mode, fallback: s.Fallback}, message: s.message}
	switch {
	case !s.resolved():
		r.reason = ReasonSettingsInvalid
		return r
	case s.message&tlsOptional != 0:
		return planReportOnly(s, d, t)
	case s.Mode == No:
		r.kind, r.reason = KindClear, ReasonModeNo
		return r
	case s.DANE != DANENone && !d.known(), s.MTASTS == On && !t.known():
		r.reason = ReasonInputInvalid
		return r
	}
	if s.DANE != DANENone {
		switch d {
		case DANEBogus:
			r.reason = ReasonDANEBogus
			return r
		case DANELookupError:
			r.reason = ReasonDANELookupError
			return r
		case DANEUsable:
			// MTA-STS must not override a failed DANE check (RFC 8461 section 2),
			// and a passed one is the stronger of the two.
			r.kind = KindDANE
			return r
		}
		if s.DANE == DANEMandatory {
			r.reason = missingDANE(d)
			return r
		}
		// RFC 7672 section 2.2: with unusable records only, TLS stays mandatory.
		r.unusable = d == DANEUnusable
	}
	if s.MTASTS == On {
		switch t {
		case STSEnforceMismatch:
			r.reason = ReasonSTSMXMismatch
			return r
		case STSEnforceMatch:
			r.kind = KindSTS
			return r
		case STSTestingMatch:
			r.shadow.kind = KindSTS
		case STSTestingMismatch:
			r.shadow.skip = ReasonSTSMXMismatch
		}
	}
	switch {
	case s.Mode.required():
		r.kind = KindMode
	case r.unusable:
		r.kind = KindFloor
	default:
		r.kind = KindOpportunistic
	}
	return r
}

// planReportOnly plans as if DANE were none and MTA-STS off, and notes which
// rule of theirs would have governed the host (RFC 8689 section 4.2.2).
func planReportOnly(s Settings, d DANEState, t STSState) Requirement {
	r := Plan(Settings{Mode: s.Mode, DANE: DANENone, MTASTS: Off, Fallback: s.Fallback}, d, t)
	r.message = s.message
	if r.kind == KindClear {
		return r // mode No looks at neither
	}
	enforced := Plan(Settings{Mode: Preferred, DANE: s.DANE, MTASTS: s.MTASTS, Fallback: s.Fallback}, d, t)
	r.unusable, r.shadow = enforced.unusable, enforced.shadow
	switch enforced.kind {
	case KindSkip:
		if enforced.reason != ReasonInputInvalid { // a missing finding has nothing to report
			r.shadow.skip = enforced.reason
		}
	case KindSTS, KindDANE:
		r.shadow.kind = enforced.kind
	case KindFloor:
		if r.shadow == (shadowRule{}) { // a policy in mode testing says more
			r.shadow.kind = KindFloor
		}
	}
	return r
}

// missingDANE returns why mandatory DANE cannot be had.
func missingDANE(d DANEState) Reason {
	switch d {
	case DANEInsecure:
		return ReasonDANERequiredInsecure
	case DANENoTLSA:
		return ReasonDANERequiredNoTLSA
	}
	return ReasonDANERequiredUnusable
}

// Skip returns true if the host must not be connected to, and the Decision that
// says why.
func (r Requirement) Skip() (d Decision, skip bool) {
	if r.kind != KindSkip {
		return d, false
	}
	r.skip(&d)
	return d, true
}

// skip makes d the decision of a Requirement that skips the host.
func (r Requirement) skip(d *Decision) {
	reason := r.reason
	if reason == ReasonNone { // the zero Requirement
		reason = ReasonInputInvalid
	}
	d.skip(reason)
	r.addFindings(d)
}

// AfterReconnect returns the Requirement for the connection that the Action
// ReconnectClear asks for: clear text with ReasonHandshakeFailed. Where no
// Outcome leads to ReconnectClear it returns the zero Requirement.
func (r Requirement) AfterReconnect() Requirement {
	if r.kind != KindOpportunistic || fallbackActions[r.fallback][2] != ReconnectClear {
		return Requirement{}
	}
	return Requirement{rule: rule{KindClear, r.mode, r.fallback, ReasonHandshakeFailed}, message: r.message}
}

// WithoutReferences returns the Requirement for a host that has no name which a
// certificate could be compared with. It skips with ReasonIdentityEmpty where
// delivery depends on such a name, and is r itself elsewhere.
func (r Requirement) WithoutReferences() Requirement {
	if r.kind == KindSTS || r.kind == KindMode && r.mode.verified() {
		r.kind, r.reason = KindSkip, ReasonIdentityEmpty
	}
	return r
}

// Kind returns the rule that governs the host.
func (r Requirement) Kind() Kind { return r.kind }

// Mode returns the mode of the destination.
func (r Requirement) Mode() Mode { return r.mode }

// Fallback returns the fallback setting of the destination. It has a say for
// KindOpportunistic only.
func (r Requirement) Fallback() Fallback { return r.fallback }

// TLSFloor reports whether the host has TLSA records of which none can be
// applied, with DANE opportunistic: TLS is then mandatory, whatever the Kind.
func (r Requirement) TLSFloor() bool { return r.unusable && !r.ReportOnly() }

// SecureMXOnly reports whether the message demands that a name which came out of
// unprotected DNS proves nothing, whatever [VerifyOptions] say.
// [Verifier.Check] heeds it.
func (r Requirement) SecureMXOnly() bool { return r.message&requireTLS != 0 }

// ReportOnly reports whether the message takes DANE and MTA-STS report-only, so
// that neither has a say.
func (r Requirement) ReportOnly() bool { return r.message&tlsOptional != 0 }

// StrictTLS reports whether clear text is excluded, so that the strict TLS
// profile applies: an old protocol version or a weak cipher suite would be worth
// no more than a failed handshake. Where clear text is the alternative, any TLS
// is better.
func (r Requirement) StrictTLS() bool {
	return r.kind != KindClear && r.kind != KindOpportunistic
}

// NeedsChain reports whether Outcome.Chain is needed.
func (r Requirement) NeedsChain() bool {
	return r.NeedsVerify() || r.NeedsHosted() || r.NeedsSTSName()
}

// NeedsVerify reports whether Outcome.VerifyName is needed.
func (r Requirement) NeedsVerify() bool {
	switch r.kind {
	case KindMode, KindSTS:
		return r.mode == RequiredVerify
	case KindOpportunistic, KindFloor:
		return r.mode == PreferredVerify
	}
	return false
}

// NeedsHosted reports whether Outcome.HostedName is needed.
func (r Requirement) NeedsHosted() bool {
	return r.mode == RequiredVerifyHosted && (r.kind == KindMode || r.kind == KindSTS)
}

// NeedsSTSName reports whether Outcome.STSName is needed: for an enforced
// MTA-STS policy, and for the Shadow result of one that is not enforced.
func (r Requirement) NeedsSTSName() bool {
	return r.kind == KindSTS || r.kind != KindSkip && r.shadow.kind == KindSTS
}

// NeedsDANEMatch reports whether Outcome.DANEMatch is needed: for TLSA records
// that authenticate the host, and for the Shadow result of such records that
// are not enforced.
func (r Requirement) NeedsDANEMatch() bool {
	return r.kind == KindDANE || r.kind != KindSkip && r.shadow.kind == KindDANE
}

// policy returns the policy type under which sessions of the kind count.
func (r Requirement) policy() Policy {
	switch {
	case r.kind == KindSTS:
		return PolicySTS
	case r.kind == KindDANE || r.TLSFloor():
		return PolicyTLSA
	}
	return PolicyNoPolicyFound
}
