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
	// Shadow is what an MTA-STS policy in mode testing would have decided had it
	// been enforced.
	Shadow Shadow

	// Cause tells why a TLS session counts as unauthenticated or as none.
	Cause Cause
}

// Shadow is the result of an MTA-STS policy that is tested and not enforced.
// The zero value means that no policy is tested here. Reason is
// ReasonSTSVerified and Result empty for a session that would have passed.
type Shadow struct {
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
		return r.skip()
	case r.kind == KindClear:
		d.Action, d.Reason = DeliverClear, r.reason
		return d
	case o.TLS == TLSUnknown || o.TLS > TLSEstablished:
		d = refuse(ReasonInputInvalid)
		r.addFindings(&d)
		return d
	}
	v := r.judge(&o)
	d.Action, d.Reason, d.Result, d.Cause, d.Policy = v.action, v.reason, v.result, v.cause, r.policy()
	if v.action == Next {
		d.Status = StatusCryptoFailure
		if o.TLS == TLSNoESMTP || o.TLS == TLSNotOffered {
			d.Status = StatusNotSupported
		}
	}
	r.addFindings(&d)
	if r.testing == STSTestingMatch {
		enforced := Requirement{kind: KindSTS, mode: Preferred}.judge(&o)
		d.Shadow.Reason, d.Shadow.Result = enforced.reason, enforced.result
	}
	switch v.reason {
	case ReasonModeCertUntrusted, ReasonModeCertNameMismatch, ReasonModeCertInvalid:
		d.Policy, d.Satisfied = PolicyLocal, r.satisfied()
	}
	return d
}

// refuse returns the decision to leave a host for a reason.
func refuse(reason Reason) Decision {
	return Decision{Action: Next, Reason: reason, Status: StatusCryptoFailure}
}

// addFindings adds what was found before connecting and counts beside the
// decision's own result.
func (r Requirement) addFindings(d *Decision) {
	if r.floor {
		d.TLSA = ResultTLSAInvalid
	}
	if r.testing == STSTestingMismatch {
		d.Shadow = Shadow{ReasonSTSMXMismatch, ResultValidationFailure}
	}
}

// satisfied returns the policy type that counts a success where a rule of our
// own rejects a certificate. Where unusable TLSA records or a tested MTA-STS
// policy are counted, "no policy found" is not.
func (r Requirement) satisfied() Policy {
	switch {
	case r.kind == KindSTS:
		return PolicySTS
	case r.floor || r.testing != STSUnknown:
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
func (r Requirement) judge(o *Outcome) verdict {
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
func (r Requirement) withoutSession(tls TLSOutcome) verdict {
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
func (r Requirement) withSession(o *Outcome) verdict {
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
func (r Requirement) checkMode(o *Outcome) verdict {
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

func chainResult(c ChainOutcome) Result {
	if c == ChainExpired {
		return ResultCertificateExpired
	}
	return ResultCertificateNotTrusted
}
