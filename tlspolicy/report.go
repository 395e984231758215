package tlspolicy

import "iter"

// Result is a result type of SMTP TLS Reporting (RFC 8460 section 4.3). The
// zero value is the empty result: success on a TLS session, nothing to report
// without one.
type Result uint8

const (
	// ResultNone is the empty result.
	ResultNone Result = iota
	// ResultSTARTTLSNotSupported: STARTTLS is not offered or was refused.
	ResultSTARTTLSNotSupported
	// ResultCertificateHostMismatch: the certificate is for other names.
	ResultCertificateHostMismatch
	// ResultCertificateExpired: the dates of the server's own certificate are its
	// only defect.
	ResultCertificateExpired
	// ResultCertificateNotTrusted: no chain to a trusted root.
	ResultCertificateNotTrusted
	// ResultValidationFailure: a failure that has no type of its own.
	ResultValidationFailure
	// ResultTLSAInvalid: no TLSA record can be applied, or the lookup failed.
	ResultTLSAInvalid
	// ResultDNSSECInvalid: DNSSEC validation failed.
	ResultDNSSECInvalid
	// ResultDANERequired: DANE is mandatory here and not published there.
	ResultDANERequired
	// ResultSTSPolicyFetchError: the MTA-STS policy could not be fetched. Found
	// in discovery; no Decision carries it.
	ResultSTSPolicyFetchError
	// ResultSTSPolicyInvalid: the MTA-STS policy is invalid. Found in discovery;
	// no Decision carries it.
	ResultSTSPolicyInvalid
	// ResultSTSWebPKIInvalid: the policy host has no valid certificate. Found in
	// discovery; no Decision carries it.
	ResultSTSWebPKIInvalid
)

var resultNames = [...]string{
	"", "starttls-not-supported", "certificate-host-mismatch", "certificate-expired",
	"certificate-not-trusted", "validation-failure", "tlsa-invalid", "dnssec-invalid",
	"dane-required", "sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid",
}

// String returns the result type as RFC 8460 writes it, "" for the empty result.
func (r Result) String() string { return nameOf(resultNames[:], uint8(r), "Result") }

// MarshalText returns the text of String; an unnamed value is an error.
func (r Result) MarshalText() ([]byte, error) {
	return appendName(nil, resultNames[:], uint8(r), "Result")
}

// Policy is the policy type under which SMTP TLS Reporting counts a session
// (RFC 8460 section 4.4, "policy-type").
type Policy uint8

const (
	// PolicyNone: the session is not counted.
	PolicyNone Policy = iota
	// PolicyTLSA is DANE.
	PolicyTLSA
	// PolicySTS is MTA-STS.
	PolicySTS
	// PolicyNoPolicyFound: the receiver publishes neither.
	PolicyNoPolicyFound
	// PolicyLocal is not a type of RFC 8460: the session failed a rule of the
	// sender's own, which is never reported as a failure of the receiver.
	PolicyLocal
)

var policyNames = [...]string{"", "tlsa", "sts", "no-policy-found", "local"}

// String returns the policy type as RFC 8460 writes it, "local" or "".
func (p Policy) String() string { return nameOf(policyNames[:], uint8(p), "Policy") }

// MarshalText returns the text of String; an unnamed value is an error.
func (p Policy) MarshalText() ([]byte, error) {
	return appendName(nil, policyNames[:], uint8(p), "Policy")
}

// Counts returns what SMTP TLS Reporting counts for the session that d ended or
// let pass: a policy type and its result, at most once for each type. An empty
// result counts as a success. Nothing is returned for a session that counts
// nowhere, such as one in clear text that policy asked for.
//
// Several policies may apply to one session, and each has its own result. The
// sender's own rules count as no failure of the receiver. A policy that is not
// enforced counts as an enforced one would (RFC 8460 section 4).
func (d Decision) Counts() iter.Seq2[Policy, Result] {
	return func(yield func(Policy, Result) bool) {
		if d.TLSA != ResultNone && !yield(PolicyTLSA, d.TLSA) {
			return
		}
		policy, result := d.Policy, d.Result
		if policy == PolicyLocal {
			policy, result = d.Satisfied, ResultNone
		}
		counted := policy == PolicyTLSA && d.TLSA == ResultNone ||
			policy == PolicySTS ||
			policy == PolicyNoPolicyFound && d.Shadow.Reason == ReasonNone
		if counted && !yield(policy, result) {
			return
		}
		if d.Shadow.Reason != ReasonNone && (d.Shadow.Policy != PolicyTLSA || d.TLSA == ResultNone) {
			yield(d.Shadow.Policy, d.Shadow.Result)
		}
	}
}
