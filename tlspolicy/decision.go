package tlspolicy

// Decision is what to do with a host or a connection, and why. The zero value
// sends nothing. It is comparable and has no pointers.
//
// No Decision is permanent: what an attacker can inject before the peer is
// authenticated must not bounce mail (RFC 7672 section 2.2, RFC 8461
// section 5.1).
type Decision struct {
	Action Action
	Reason Reason
	Status Status // enhanced status code for a delivery that is deferred in the end

	// Result and Policy are the finding in the terms of SMTP TLS Reporting.
	// Counts puts them together with the three fields below.
	Result Result
	Policy Policy
	// TLSA is tlsa-invalid if the host has TLSA records of which none can be
	// applied and DANE is opportunistic. The tlsa policy then counts this,
	// and Result only if Policy is another.
	TLSA Result
	// Satisfied is set with PolicyLocal: the policy that was kept and counts a
	// success, although a rule of our own was not.
	Satisfied Policy
	// Shadow is what DANE or MTA-STS would have decided had it been enforced.
	Shadow Shadow

	// Cause tells why a TLS session counts as unauthenticated or as none.
	Cause Cause
}

// Shadow is the result of a policy that was looked at and not enforced: MTA-STS
// in mode testing, and DANE or MTA-STS for a message that takes them
// report-only (see [Settings.For]). The zero value means that there is none. For
// a session that would have passed Result is empty and Reason says so, such as
// ReasonSTSVerified.
type Shadow struct {
	Policy Policy // PolicyTLSA or PolicySTS
	Reason Reason
	Result Result
}

// Action is what the caller must do next.
type Action uint8

const (
	// Next is the zero value: send no MAIL FROM; go on with the next address or
	// host, and defer if none is left.
	Next Action = iota
	// DeliverClear: send on this session in clear text.
	DeliverClear
	// DeliverUnverified: send on this session; it is encrypted only.
	DeliverUnverified
	// DeliverVerified: send on this session; the peer is authenticated.
	DeliverVerified
	// ReconnectClear: close, connect again to the same address and port, and send
	// no STARTTLS there; [Requirement.AfterReconnect] decides on that connection.
	ReconnectClear
)

var actionNames = [...]string{"next-mx-then-defer", "deliver-clear", "deliver-tls-unverified",
	"deliver-tls-verified", "reconnect-clear"}

// String returns the name of the action, such as "deliver-tls-verified".
func (a Action) String() string { return nameOf(actionNames[:], uint8(a), "Action") }

// MarshalText returns the name of the action; an unnamed value is an error.
func (a Action) MarshalText() ([]byte, error) {
	return appendName(nil, actionNames[:], uint8(a), "Action")
}

// Status is the enhanced mail system status code (RFC 3463) of a Decision. All
// are of class 4.
type Status uint8

const (
	// StatusNone goes with every delivery.
	StatusNone Status = iota
	// StatusNotSupported is 4.7.4, security features not supported: TLS was
	// needed and STARTTLS not offered.
	StatusNotSupported
	// StatusCryptoFailure is 4.7.5, cryptographic failure: everything else.
	StatusCryptoFailure
)

var statusNames = [...]string{"", "4.7.4", "4.7.5"}

// String returns the code, such as "4.7.5", or "".
func (s Status) String() string { return nameOf(statusNames[:], uint8(s), "Status") }

// MarshalText returns the text of String; an unnamed value is an error.
func (s Status) MarshalText() ([]byte, error) {
	return appendName(nil, statusNames[:], uint8(s), "Status")
}

// Cause tells why the peer of a TLS session is not authenticated.
type Cause uint8

const (
	// CauseNone: there is no TLS session, or its peer is authenticated, or the
	// Reason says it all.
	CauseNone Cause = iota
	// CauseNotChecked: the mode does not look at the certificate.
	CauseNotChecked
	// CauseChainUntrusted: no chain to a trusted root.
	CauseChainUntrusted
	// CauseChainExpired: the dates of the leaf are its only defect.
	CauseChainExpired
	// CauseNameMismatch: the certificate is for other names.
	CauseNameMismatch
	// CauseExtraFailed: an optional certificate check failed.
	CauseExtraFailed
	// CauseOldTLS: the session is below TLS 1.2, where nothing is verified.
	CauseOldTLS
)

var causeNames = [...]string{"none", "not-checked", "chain-untrusted", "chain-expired",
	"name-mismatch", "extra-failed", "old-tls"}

// String returns the name of the cause, such as "name-mismatch".
func (c Cause) String() string { return nameOf(causeNames[:], uint8(c), "Cause") }

// MarshalText returns the name of the cause; an unnamed value is an error.
func (c Cause) MarshalText() ([]byte, error) {
	return appendName(nil, causeNames[:], uint8(c), "Cause")
}

// Decide returns what to do after EHLO, STARTTLS and the handshake, from the
// facts about the connection. On a Requirement that skips the host it returns
// that skip. It does not allocate.
func (r Requirement) Decide(o Outcome) (d Decision) {
	switch {
	case r.kind == KindSkip:
		r.skip(&d)
		return d
	case r.kind == KindClear:
		d.Action, d.Reason = DeliverClear, r.reason
		return d
	case o.TLS == TLSUnknown || o.TLS > TLSEstablished:
		d.refuse(ReasonInputInvalid)
		r.addFindings(&d)
		return d
	}
	v := r.rule.judge(&o)
	d.Action, d.Reason, d.Result, d.Cause, d.Policy = v.action, v.reason, v.result, v.cause, r.policy()
	if v.action == Next {
		d.Status = StatusCryptoFailure
		if o.TLS == TLSNoESMTP || o.TLS == TLSNotOffered {
			d.Status = StatusNotSupported
		}
	}
	r.addFindings(&d)
	if r.shadow.kind != KindSkip {
		d.Shadow = r.shadow.judge(&o)
	}
	switch v.reason {
	case ReasonModeCertUntrusted, ReasonModeCertNameMismatch, ReasonModeCertInvalid:
		d.Policy, d.Satisfied = PolicyLocal, r.satisfied()
	}
	return d
}

// refuse makes d the decision to leave a host for a reason.
func (d *Decision) refuse(reason Reason) {
	d.Action, d.Reason, d.Status = Next, reason, StatusCryptoFailure
}

// skip makes d the decision to leave a host before connecting.
func (d *Decision) skip(reason Reason) {
	d.refuse(reason)
	switch reason {
	case ReasonDANEBogus:
		d.Policy, d.Result = PolicyTLSA, ResultDNSSECInvalid
	case ReasonDANELookupError, ReasonDANERequiredUnusable:
		d.Policy, d.Result = PolicyTLSA, ResultTLSAInvalid
	case ReasonDANERequiredInsecure, ReasonDANERequiredNoTLSA:
		d.Policy, d.Result = PolicyTLSA, ResultDANERequired
	case ReasonSTSMXMismatch:
		d.Policy, d.Result = PolicySTS, ResultValidationFailure
	}
}

// addFindings adds what was found before connecting and counts beside the
// decision's own result.
func (r Requirement) addFindings(d *Decision) {
	if r.unusable {
		d.TLSA = ResultTLSAInvalid
	}
	if r.shadow.skip != ReasonNone {
		var enforced Decision
		enforced.skip(r.shadow.skip)
		d.Shadow = enforced.asShadow()
	}
}

// asShadow returns what is kept of a decision that is reported and not
// enforced: nothing if it counts under no policy.
func (d Decision) asShadow() Shadow {
	switch d.Policy {
	case PolicyTLSA, PolicySTS:
		return Shadow{d.Policy, d.Reason, d.Result}
	}
	return Shadow{}
}

// judge decides as the rule would that is not enforced, with a mode that asks
// for nothing of its own.
func (s shadowRule) judge(o *Outcome) Shadow {
	v := rule{kind: s.kind, mode: Preferred}.judge(o)
	switch s.kind {
	case KindSTS:
		return Shadow{PolicySTS, v.reason, v.result}
	case KindFloor: // the tlsa policy counts the records, not what came of them
		return Shadow{PolicyTLSA, v.reason, ResultTLSAInvalid}
	}
	return Shadow{PolicyTLSA, v.reason, v.result}
}

// satisfied returns the policy type that counts a success where a rule of our
// own rejects a certificate. Where unusable TLSA records or a shadow result
// are counted, "no policy found" is not.
func (r Requirement) satisfied() Policy {
	switch {
	case r.kind == KindSTS:
		return PolicySTS
	case r.unusable || r.shadow != (shadowRule{}):
		return PolicyNone
	}
	return PolicyNoPolicyFound
}

// verdict is the part of a Decision that depends on the connection. It is kept
// to four fields, which the compiler holds in registers.
type verdict struct {
	action Action
	reason Reason
	result Result
	cause  Cause
}

// judge decides on a connection with or without a TLS session. Nothing is ever
// verified below TLS 1.2 (RFC 8996), so where the peer must be authenticated
// such a session counts as a failed handshake.
func (r rule) judge(o *Outcome) verdict {
	if o.TLS != TLSEstablished {
		return r.withoutSession(o.TLS)
	}
	authenticates := r.kind == KindDANE || r.kind == KindSTS || r.kind == KindMode && r.mode.verified()
	if o.OldTLS && authenticates {
		v := r.withoutSession(TLSHandshakeFailed)
		v.cause = CauseOldTLS
		return v
	}
	return r.withSession(o)
}

// withoutSession decides where there is no TLS session.
func (r rule) withoutSession(tls TLSOutcome) verdict {
	column, result := 0, ResultSTARTTLSNotSupported
	switch tls {
	case TLSRefused:
		column = 1
	case TLSHandshakeFailed:
		column, result = 2, ResultValidationFailure
	}
	v := verdict{reason: noSessionReasons[r.kind][column], result: result}
	if r.kind == KindOpportunistic {
		v.action = fallbackActions[r.fallback][column]
	}
	return v
}

// noSessionReasons has a row for each kind; the columns are STARTTLS absent,
// STARTTLS refused, handshake failed.
var noSessionReasons = [...][3]Reason{
	KindOpportunistic: {ReasonSTARTTLSAbsent, ReasonSTARTTLSRefused, ReasonHandshakeFailed},
	KindFloor:         {ReasonDANEUnusableTLSAbsent, ReasonDANEUnusableTLSRefused, ReasonDANEUnusableTLSHandshakeFailed},
	KindMode:          {ReasonModeTLSAbsent, ReasonModeTLSRefused, ReasonModeTLSHandshakeFailed},
	KindSTS:           {ReasonSTSTLSAbsent, ReasonSTSTLSRefused, ReasonSTSTLSHandshakeFailed},
	KindDANE:          {ReasonDANETLSAbsent, ReasonDANETLSRefused, ReasonDANETLSHandshakeFailed},
}

// fallbackActions has the columns of noSessionReasons.
var fallbackActions = [...][3]Action{
	FallbackAfter220:  {DeliverClear, Next, ReconnectClear},
	FallbackAlways:    {DeliverClear, DeliverClear, ReconnectClear},
	FallbackBefore220: {DeliverClear, DeliverClear, Next},
}

// withSession decides on a TLS session.
func (r rule) withSession(o *Outcome) verdict {
	switch {
	case r.kind == KindDANE:
		if o.DANEMatch {
			return verified(ReasonDANEVerified)
		}
		return rejected(ReasonDANEMismatch, ResultValidationFailure)
	case r.kind == KindSTS:
		v := checkSTS(o)
		if v.action == DeliverVerified && r.mode.verified() {
			// Both identities must hold. Beside an enforced policy the laxer
			// modes have no say.
			if v = r.checkMode(o); v.action == DeliverVerified {
				v.reason = ReasonSTSModeVerified
			}
		}
		return v
	case r.mode.verified():
		return r.checkMode(o)
	case r.mode == PreferredVerify:
		return checkPreferred(o)
	}
	return unverified(CauseNotChecked)
}

func verified(reason Reason) verdict { return verdict{action: DeliverVerified, reason: reason} }

func rejected(reason Reason, result Result) verdict {
	return verdict{action: Next, reason: reason, result: result}
}

func unverified(cause Cause) verdict {
	return verdict{action: DeliverUnverified, reason: ReasonTLSUnauthenticated, cause: cause}
}

// checkSTS applies RFC 8461 section 4.2 to a TLS session: the chain before the
// name.
func checkSTS(o *Outcome) verdict {
	switch {
	case o.Chain != ChainOK:
		return rejected(ReasonSTSCertUntrusted, chainResult(o.Chain))
	case !o.STSName:
		return rejected(ReasonSTSCertNameMismatch, ResultCertificateHostMismatch)
	}
	return verified(ReasonSTSVerified)
}

// checkMode does the same for RequiredVerify and RequiredVerifyHosted.
func (r rule) checkMode(o *Outcome) verdict {
	name := o.VerifyName
	if r.mode == RequiredVerifyHosted {
		name = o.HostedName
	}
	switch {
	case o.Chain != ChainOK:
		return rejected(ReasonModeCertUntrusted, chainResult(o.Chain))
	case !name:
		return rejected(ReasonModeCertNameMismatch, ResultCertificateHostMismatch)
	case o.ExtraFailed:
		return rejected(ReasonModeCertInvalid, ResultValidationFailure)
	}
	return verified(ReasonModeVerified)
}

// checkPreferred tells for PreferredVerify whether the peer is authenticated; it
// never blocks.
func checkPreferred(o *Outcome) verdict {
	switch {
	case o.OldTLS:
		return unverified(CauseOldTLS)
	case o.Chain == ChainExpired:
		return unverified(CauseChainExpired)
	case o.Chain != ChainOK:
		return unverified(CauseChainUntrusted)
	case !o.VerifyName:
		return unverified(CauseNameMismatch)
	case o.ExtraFailed:
		return unverified(CauseExtraFailed)
	}
	return verified(ReasonModeVerified)
}

// chainResult tells "the certificate has expired" from "certificate chain errors"
// (RFC 8460 section 4.3.1, certificate-expired and certificate-not-trusted): the one
// is about the certificate that the server presents for itself, which its owner has
// to renew, so an issuer whose time is over belongs to the other.
func chainResult(c ChainOutcome) Result {
	if c == ChainExpired {
		return ResultCertificateExpired
	}
	return ResultCertificateNotTrusted
}
