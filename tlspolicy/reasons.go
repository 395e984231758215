package tlspolicy

// Reason names the rule that decided. Names and numbers stay as they are; new
// ones are appended.
type Reason uint8

const (
	// ReasonNone is the zero value: nothing was decided.
	ReasonNone Reason = iota
	// ReasonModeNo: mode No, clear text without asking for TLS.
	ReasonModeNo
	// ReasonDANEBogus: DNSSEC validation failed for the MX, address or TLSA answer.
	ReasonDANEBogus
	// ReasonDANELookupError: the MX, address or TLSA answer could not be had.
	ReasonDANELookupError
	// ReasonDANERequiredInsecure: DANE is mandatory, the DNS answers are not signed.
	ReasonDANERequiredInsecure
	// ReasonDANERequiredNoTLSA: DANE is mandatory, the host has no TLSA records.
	ReasonDANERequiredNoTLSA
	// ReasonDANERequiredUnusable: DANE is mandatory, no TLSA record can be applied.
	ReasonDANERequiredUnusable
	// ReasonSTSMXMismatch: an enforced MTA-STS policy does not list the host.
	ReasonSTSMXMismatch
	// ReasonSTARTTLSAbsent: clear text, since STARTTLS is not offered.
	ReasonSTARTTLSAbsent
	// ReasonSTARTTLSRefused: TLS was preferred, STARTTLS was refused.
	ReasonSTARTTLSRefused
	// ReasonHandshakeFailed: TLS was preferred, the handshake failed.
	ReasonHandshakeFailed
	// ReasonDANEUnusableTLSAbsent: unusable TLSA records demand TLS, and STARTTLS
	// is not offered.
	ReasonDANEUnusableTLSAbsent
	// ReasonDANEUnusableTLSRefused: the same, STARTTLS was refused.
	ReasonDANEUnusableTLSRefused
	// ReasonDANEUnusableTLSHandshakeFailed: the same, the handshake failed.
	ReasonDANEUnusableTLSHandshakeFailed
	// ReasonModeTLSAbsent: the mode demands TLS, and STARTTLS is not offered.
	ReasonModeTLSAbsent
	// ReasonModeTLSRefused: the same, STARTTLS was refused.
	ReasonModeTLSRefused
	// ReasonModeTLSHandshakeFailed: the same, the handshake failed.
	ReasonModeTLSHandshakeFailed
	// ReasonSTSTLSAbsent: an enforced MTA-STS policy demands TLS, and STARTTLS is
	// not offered.
	ReasonSTSTLSAbsent
	// ReasonSTSTLSRefused: the same, STARTTLS was refused.
	ReasonSTSTLSRefused
	// ReasonSTSTLSHandshakeFailed: the same, the handshake failed.
	ReasonSTSTLSHandshakeFailed
	// ReasonDANETLSAbsent: usable TLSA records demand TLS, and STARTTLS is not
	// offered.
	ReasonDANETLSAbsent
	// ReasonDANETLSRefused: the same, STARTTLS was refused.
	ReasonDANETLSRefused
	// ReasonDANETLSHandshakeFailed: the same, the handshake failed.
	ReasonDANETLSHandshakeFailed
	// ReasonDANEVerified: a TLSA record matches the certificate chain.
	ReasonDANEVerified
	// ReasonDANEMismatch: no TLSA record matches the certificate chain.
	ReasonDANEMismatch
	// ReasonSTSCertUntrusted: MTA-STS needs a trusted chain.
	ReasonSTSCertUntrusted
	// ReasonSTSCertNameMismatch: MTA-STS needs a certificate for the MX host.
	ReasonSTSCertNameMismatch
	// ReasonModeCertUntrusted: the mode needs a trusted chain.
	ReasonModeCertUntrusted
	// ReasonModeCertNameMismatch: the mode needs another name in the certificate.
	ReasonModeCertNameMismatch
	// ReasonModeCertInvalid: an optional certificate check failed.
	ReasonModeCertInvalid
	// ReasonSTSModeVerified: both the MTA-STS check and the mode's are passed.
	ReasonSTSModeVerified
	// ReasonModeVerified: the mode's check is passed.
	ReasonModeVerified
	// ReasonSTSVerified: the MTA-STS check is passed.
	ReasonSTSVerified
	// ReasonTLSUnauthenticated: TLS without authentication is enough here.
	ReasonTLSUnauthenticated
	// ReasonSettingsInvalid: the Settings given to Plan are not resolved.
	ReasonSettingsInvalid
	// ReasonInputInvalid: a finding that is needed was not given.
	ReasonInputInvalid
	// ReasonIdentityEmpty: a certificate name must be checked, and there is no
	// name to compare it with.
	ReasonIdentityEmpty
)

var reasonNames = [...]string{
	ReasonNone:                           "none",
	ReasonModeNo:                         "mode-no",
	ReasonDANEBogus:                      "dane-bogus",
	ReasonDANELookupError:                "dane-lookup-error",
	ReasonDANERequiredInsecure:           "dane-required-insecure",
	ReasonDANERequiredNoTLSA:             "dane-required-no-tlsa",
	ReasonDANERequiredUnusable:           "dane-required-unusable",
	ReasonSTSMXMismatch:                  "sts-mx-mismatch",
	ReasonSTARTTLSAbsent:                 "starttls-absent",
	ReasonSTARTTLSRefused:                "starttls-refused",
	ReasonHandshakeFailed:                "handshake-failed",
	ReasonDANEUnusableTLSAbsent:          "dane-unusable-tls-required-absent",
	ReasonDANEUnusableTLSRefused:         "dane-unusable-tls-required-refused",
	ReasonDANEUnusableTLSHandshakeFailed: "dane-unusable-tls-required-handshake-failed",
	ReasonModeTLSAbsent:                  "mode-tls-required-absent",
	ReasonModeTLSRefused:                 "mode-tls-required-refused",
	ReasonModeTLSHandshakeFailed:         "mode-tls-required-handshake-failed",
	ReasonSTSTLSAbsent:                   "sts-tls-required-absent",
	ReasonSTSTLSRefused:                  "sts-tls-required-refused",
	ReasonSTSTLSHandshakeFailed:          "sts-tls-required-handshake-failed",
	ReasonDANETLSAbsent:                  "dane-tls-required-absent",
	ReasonDANETLSRefused:                 "dane-tls-required-refused",
	ReasonDANETLSHandshakeFailed:         "dane-tls-required-handshake-failed",
	ReasonDANEVerified:                   "dane-verified",
	ReasonDANEMismatch:                   "dane-mismatch",
	ReasonSTSCertUntrusted:               "sts-cert-untrusted",
	ReasonSTSCertNameMismatch:            "sts-cert-name-mismatch",
	ReasonModeCertUntrusted:              "mode-cert-untrusted",
	ReasonModeCertNameMismatch:           "mode-cert-name-mismatch",
	ReasonModeCertInvalid:                "mode-cert-invalid",
	ReasonSTSModeVerified:                "sts+mode-verified",
	ReasonModeVerified:                   "mode-verified",
	ReasonSTSVerified:                    "sts-verified",
	ReasonTLSUnauthenticated:             "tls-unauthenticated",
	ReasonSettingsInvalid:                "settings-invalid",
	ReasonInputInvalid:                   "input-invalid",
	ReasonIdentityEmpty:                  "identity-empty",
}

// String returns the stable name of the reason, such as "dane-mismatch".
func (r Reason) String() string { return nameOf(reasonNames[:], uint8(r), "Reason") }

// MarshalText returns the name of the reason; an unnamed value is an error.
func (r Reason) MarshalText() ([]byte, error) {
	return appendName(nil, reasonNames[:], uint8(r), "Reason")
}

// Class is the part of the policy that a [Reason] belongs to.
type Class uint8

const (
	// ClassNone: no rule asked for more than was there.
	ClassNone Class = iota
	// ClassMode: the mode of the destination decided.
	ClassMode
	// ClassDANE: DANE decided.
	ClassDANE
	// ClassSTS: MTA-STS decided, alone or together with the mode.
	ClassSTS
	// ClassFallback: TLS was preferred, was not to be had, and the Fallback
	// setting decided.
	ClassFallback
	// ClassConfig: the caller or the configuration is at fault, not the peer.
	ClassConfig
)

var classNames = [...]string{"none", "mode", "dane", "sts", "fallback", "config"}

// String returns the name of the class, such as "fallback".
func (c Class) String() string { return nameOf(classNames[:], uint8(c), "Class") }

// MarshalText returns the name of the class; an unnamed value is an error.
func (c Class) MarshalText() ([]byte, error) {
	return appendName(nil, classNames[:], uint8(c), "Class")
}

// Class returns the part of the policy that the reason belongs to. A value
// without a name is of class config.
func (r Reason) Class() Class {
	switch r {
	case ReasonNone, ReasonTLSUnauthenticated:
		return ClassNone
	case ReasonModeNo, ReasonModeTLSAbsent, ReasonModeTLSRefused, ReasonModeTLSHandshakeFailed,
		ReasonModeCertUntrusted, ReasonModeCertNameMismatch, ReasonModeCertInvalid, ReasonModeVerified:
		return ClassMode
	case ReasonDANEBogus, ReasonDANELookupError,
		ReasonDANERequiredInsecure, ReasonDANERequiredNoTLSA, ReasonDANERequiredUnusable,
		ReasonDANEUnusableTLSAbsent, ReasonDANEUnusableTLSRefused, ReasonDANEUnusableTLSHandshakeFailed,
		ReasonDANETLSAbsent, ReasonDANETLSRefused, ReasonDANETLSHandshakeFailed,
		ReasonDANEVerified, ReasonDANEMismatch:
		return ClassDANE
	case ReasonSTSMXMismatch, ReasonSTSTLSAbsent, ReasonSTSTLSRefused, ReasonSTSTLSHandshakeFailed,
		ReasonSTSCertUntrusted, ReasonSTSCertNameMismatch, ReasonSTSModeVerified, ReasonSTSVerified:
		return ClassSTS
	case ReasonSTARTTLSAbsent, ReasonSTARTTLSRefused, ReasonHandshakeFailed:
		return ClassFallback
	}
	return ClassConfig
}
