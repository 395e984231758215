package tlspolicy

// Sources of rules that are not in an RFC.
const (
	chapterTable = "AsyncOS chapter, destination controls"
	chapterModes = "AsyncOS chapter, TLS settings"
	chapterDANE  = "AsyncOS chapter, DANE settings"
	chapterSTS   = "AsyncOS chapter, MTA-STS settings"
)

// row is one row of the decision tables in words. The words in braces are
// replaced by those of the delivery.
type row struct {
	name     string // P4, E1, N; "" for a row without name
	sentence string
	source   string
	goesOn   bool // the next table is consulted
}

var modeWords = [...]string{
	ModeDefault:          "",
	No:                   "",
	Preferred:            "mode preferred takes TLS if it can be had and does not look at the certificate",
	Required:             "mode required needs TLS and does not look at the certificate",
	PreferredVerify:      "mode preferred-verify takes TLS if it can be had and notes whether the certificate is for {domain} or the receiving host",
	RequiredVerify:       "mode required-verify needs TLS, a trusted chain and a certificate for {domain} or the receiving host",
	RequiredVerifyHosted: "mode required-verify-hosted needs TLS, a trusted chain and a certificate for {domain}, its MX host or the configured route",
}

// domainRow returns the row of an MX lookup that ends the delivery.
func domainRow(state DANEState) row {
	switch state {
	case DANEBogus:
		return row{"P0", "DNSSEC validation of the MX lookup for {domain} failed, so no host in the answer can be trusted", "RFC 7672 section 2.2.1", false}
	case DANELookupError:
		return row{"P0", "the MX lookup for {domain} failed, which does not prove that DANE is absent", "RFC 7672 section 2.1.2", false}
	}
	return row{}
}

// daneRow returns the row of what was found about a host.
func daneRow(setting DANE, state DANEState) row {
	mandatory := setting == DANEMandatory
	switch state {
	case DANEBogus:
		return row{"P2", "DNSSEC validation of the MX, address or TLSA answer for {host} failed, so the host is skipped", "RFC 7672 section 2.1.2", false}
	case DANELookupError:
		return row{"P3", "the address or TLSA lookup for {host} failed, which does not prove that there are no TLSA records, so the host is skipped", "RFC 7672 section 2.1.2", false}
	case DANEUsable:
		return row{"P4", "{host} has usable TLSA records, so one of them must match its certificate chain, and MTA-STS is skipped", "RFC 7672 section 2.2, RFC 8461 section 2", false}
	case DANEUnusable:
		if mandatory {
			return row{"P6", "DANE is mandatory and none of the TLSA records of {host} can be applied, so the host is skipped", chapterDANE, false}
		}
		return row{"P7", "{host} has TLSA records and none of them can be applied, so TLS is required, without authentication", "RFC 7672 section 2.2", true}
	case DANEInsecure:
		if mandatory {
			return row{"P5", "DANE is mandatory and the DNS answers for {host} are not signed, so the host is skipped", chapterDANE, false}
		}
		return row{"P8", "the DNS answers for {host} are not signed, so DANE has no say", "RFC 7672 section 2.2", true}
	case DANENoTLSA:
		if mandatory {
			return row{"P5", "DANE is mandatory and {host} has no TLSA records, so the host is skipped", chapterDANE, false}
		}
		return row{"P8", "{host} has no TLSA records, so DANE has no say", "RFC 7672 section 2.2", true}
	}
	return row{}
}

// stsRow returns the row of what the MTA-STS policy says about a host.
func stsRow(state STSState) row {
	switch state {
	case STSEnforceMismatch:
		return row{"P9", "{policy} is enforce and does not list {host}, so the host is skipped", "RFC 8461 section 5", false}
	case STSEnforceMatch:
		return row{"P10", "{policy} is enforce and lists {host}, so TLS with a certificate for {host} is required", "RFC 8461 section 5", false}
	case STSTestingMatch:
		return row{"P11", "{policy} is testing and lists {host}, so what it would have said is only reported", "RFC 8461 section 5", true}
	case STSTestingMismatch:
		return row{"P11", "{policy} is testing and does not list {host}, which is only reported", "RFC 8461 section 5", true}
	case STSNoPolicy:
		return row{"P12", "{domain} has no MTA-STS policy, or one of mode none, so the mode decides", "RFC 8461 section 5", true}
	case STSDiscoveryError:
		return row{"P12", "no MTA-STS policy of {domain} could be had and none is cached, so the mode decides", "RFC 8461 section 3.3", true}
	}
	return row{}
}

// outcomeWords tells what happened on the connection, "" if that is not known.
func outcomeWords(o Outcome) string {
	switch o.TLS {
	case TLSNoESMTP:
		return "{host} refused EHLO, so it cannot offer STARTTLS"
	case TLSNotOffered:
		return "{host} does not offer STARTTLS"
	case TLSRefused:
		return "{host} refused STARTTLS"
	case TLSHandshakeFailed:
		return "The TLS handshake with {host} failed"
	case TLSEstablished:
	default:
		return ""
	}
	words := "TLS is established with {host}"
	if o.OldTLS {
		words += " in a version below TLS 1.2"
	}
	if o.Chain != ChainUnchecked {
		words += ", certificate chain " + o.Chain.String()
	}
	return words
}

// reasonRows has the row that led to each reason; reasons whose row is known
// before connecting have none here.
var reasonRows = [len(reasonNames)]row{
	ReasonSTARTTLSAbsent:  {"N", "without an offer of TLS mode {mode} delivers in clear text", chapterModes, false},
	ReasonSTARTTLSRefused: {"N", "STARTTLS was refused, and fallback {fallback} ", chapterModes, false},
	ReasonHandshakeFailed: {"N", "the handshake failed, and fallback {fallback} ", chapterModes, false},

	ReasonDANEUnusableTLSAbsent:          {"N", "the TLSA records of {host} require TLS, and it is not offered", "RFC 7672 section 2.2", false},
	ReasonDANEUnusableTLSRefused:         {"N", "the TLSA records of {host} require TLS, and it was refused", "RFC 7672 section 2.2", false},
	ReasonDANEUnusableTLSHandshakeFailed: {"N", "the TLSA records of {host} require TLS, and there is no session", "RFC 7672 section 2.2", false},

	ReasonModeTLSAbsent:          {"N", "mode {mode} requires TLS, and it is not offered", chapterModes, false},
	ReasonModeTLSRefused:         {"N", "mode {mode} requires TLS, and it was refused", chapterModes, false},
	ReasonModeTLSHandshakeFailed: {"N", "mode {mode} requires TLS, and there is no session that counts", chapterModes, false},

	ReasonSTSTLSAbsent:          {"N", "{policy} requires TLS, and it is not offered", "RFC 8461 section 5", false},
	ReasonSTSTLSRefused:         {"N", "{policy} requires TLS, and it was refused", "RFC 8461 section 5", false},
	ReasonSTSTLSHandshakeFailed: {"N", "{policy} requires TLS, and there is no session that counts", "RFC 8461 section 5", false},

	ReasonDANETLSAbsent:          {"N", "the TLSA records of {host} require TLS, and it is not offered", "RFC 7672 section 2.2", false},
	ReasonDANETLSRefused:         {"N", "the TLSA records of {host} require TLS, and it was refused", "RFC 7672 section 2.2", false},
	ReasonDANETLSHandshakeFailed: {"N", "the TLSA records of {host} require TLS, and there is no session that counts", "RFC 7672 section 2.2", false},

	ReasonDANEVerified: {"E1", "a TLSA record matches the certificate chain of {host}, which authenticates it whatever the mode", "RFC 7672 section 3", false},
	ReasonDANEMismatch: {"E2", "no TLSA record matches the certificate chain of {host}", "RFC 7672 section 3", false},

	ReasonSTSCertUntrusted:    {"E3", "MTA-STS needs a certificate chain that leads to a trusted root", "RFC 8461 section 4.2", false},
	ReasonSTSCertNameMismatch: {"E4", "MTA-STS needs a certificate for {host}", "RFC 8461 section 4.2", false},

	ReasonModeCertUntrusted:    {"E5", "mode {mode} needs a certificate chain that leads to a trusted root", chapterModes, false},
	ReasonModeCertNameMismatch: {"E6", "the certificate has none of the names that mode {mode} accepts", chapterModes, false},
	ReasonModeCertInvalid:      {"E7", "an optional certificate check that is switched on failed", chapterModes, false},

	ReasonSTSModeVerified: {"E8", "the certificate passes both the check of MTA-STS and that of mode {mode}", "RFC 8461 section 4.2 and the AsyncOS chapter, TLS settings", false},
	ReasonModeVerified:    {"E8", "the certificate passes the check of mode {mode}", chapterModes, false},
	ReasonSTSVerified:     {"E9", "the certificate passes the check of MTA-STS", "RFC 8461 section 4.2", false},

	ReasonTLSUnauthenticated: {"E11", "the session is encrypted, which is enough here, and its peer is not authenticated: ", chapterModes, false},

	ReasonSettingsInvalid: {"", "The settings have a field that is default or out of range, so nothing can be decided", "", false},
	ReasonInputInvalid:    {"", "A finding that the settings call for was not given, so nothing can be decided", "", false},
	ReasonIdentityEmpty:   {"", "A name in the certificate must be checked, and no name is known to compare it with", "RFC 9525 section 6", false},
}

// fallbackWords complete the sentences on fallback, by action.
var fallbackWords = [...]string{
	Next:           "allows no clear text then",
	DeliverClear:   "allows clear text then",
	ReconnectClear: "allows clear text on a new connection",
}

// causeWords complete the sentence on sessions that are not authenticated.
var causeWords = [len(causeNames)]string{
	CauseNotChecked:     "mode {mode} does not look at the certificate",
	CauseChainUntrusted: "no chain leads to a trusted root",
	CauseChainExpired:   "the certificate is outside its dates",
	CauseNameMismatch:   "the certificate is for other names",
	CauseExtraFailed:    "an optional certificate check failed",
	CauseOldTLS:         "nothing is verified below TLS 1.2",
}

// remedies complete "It would pass if" for every reason not to deliver.
var remedies = [len(reasonNames)]string{
	ReasonDANEBogus:                      "the DNS zone had valid DNSSEC signatures, or DANE were none here",
	ReasonDANELookupError:                "the DNS servers answered",
	ReasonDANERequiredInsecure:           "the zones of {domain} and {host} were signed, or DANE were opportunistic here",
	ReasonDANERequiredNoTLSA:             "{host} published TLSA records, or DANE were opportunistic here",
	ReasonDANERequiredUnusable:           "{host} published a TLSA record of usage 2 or 3, or DANE were opportunistic here",
	ReasonSTSMXMismatch:                  "the policy listed {host}, or the MX records of {domain} named a host that it lists",
	ReasonSTARTTLSRefused:                "{host} accepted STARTTLS, or fallback were always",
	ReasonHandshakeFailed:                "the handshake succeeded, or fallback were always",
	ReasonDANEUnusableTLSAbsent:          "{host} offered STARTTLS, or removed its TLSA records",
	ReasonDANEUnusableTLSRefused:         "{host} accepted STARTTLS",
	ReasonDANEUnusableTLSHandshakeFailed: "the handshake succeeded",
	ReasonModeTLSAbsent:                  "{host} offered STARTTLS",
	ReasonModeTLSRefused:                 "{host} accepted STARTTLS",
	ReasonModeTLSHandshakeFailed:         "the handshake succeeded with TLS 1.2 or later",
	ReasonSTSTLSAbsent:                   "{host} offered STARTTLS",
	ReasonSTSTLSRefused:                  "{host} accepted STARTTLS",
	ReasonSTSTLSHandshakeFailed:          "the handshake succeeded with TLS 1.2 or later",
	ReasonDANETLSAbsent:                  "{host} offered STARTTLS",
	ReasonDANETLSRefused:                 "{host} accepted STARTTLS",
	ReasonDANETLSHandshakeFailed:         "the handshake succeeded with TLS 1.2 or later",
	ReasonDANEMismatch:                   "{host} presented a chain that matches its TLSA records, or published records for the chain it has",
	ReasonSTSCertUntrusted:               "{host} presented a valid certificate of a trusted authority",
	ReasonSTSCertNameMismatch:            "{host} presented a certificate with the DNS name {host}",
	ReasonModeCertUntrusted:              "{host} presented a valid certificate of a trusted authority, or its root were added to the trust list",
	ReasonModeCertNameMismatch:           "{host} presented a certificate with one of these names",
	ReasonModeCertInvalid:                "{host} presented a certificate that passes the check, or the check were switched off",
	ReasonSettingsInvalid:                "the settings came from a destination table or were complete",
	ReasonInputInvalid:                   "the caller looked up what the settings call for",
	ReasonIdentityEmpty:                  "the delivery had a recipient domain or went to a host with a name",
}
