package tlspolicy

import (
	"crypto/tls"
	"net/netip"
	"strconv"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

// AsyncOS returns the line that the AsyncOS chapter shows for the event, and for
// kinds that the chapter does not know a line of the same manner, without
// timestamp and line end. It is printable text of at most a few hundred octets.
func (e Event) AsyncOS() string { return string(e.AppendAsyncOS(make([]byte, 0, 128))) }

// AppendAsyncOS appends the line that AsyncOS returns to b. It does not allocate
// if b has room for it, but for the name of a cipher suite, which crypto/tls
// looks up at a price.
func (e Event) AppendAsyncOS(b []byte) []byte {
	name := e.Domain
	if name == "" {
		name = e.Host
	}
	switch e.Kind {
	case EventConnect:
		b = strconv.AppendUint(append(b, "New SMTP DCID "...), e.ConnID, 10)
		b = appendAddr(append(b, " interface "...), e.Local)
		b = appendAddr(append(b, " address "...), e.Addr.Addr())
		return strconv.AppendUint(append(b, " port "...), uint64(e.Addr.Port()), 10)
	case EventSTARTTLSAbsent:
		return append(appendConn(b, e.ConnID), "STARTTLS command not supported"...)
	case EventNoESMTP:
		return appendDetail(append(appendConn(b, e.ConnID), "EHLO command not supported"...), e.Detail)
	case EventSTARTTLSRefused:
		return appendDetail(append(appendConn(b, e.ConnID), "STARTTLS command refused"...), e.Detail)
	case EventTLSRequiredUnavailable:
		return append(appendConn(b, e.ConnID), "TLS failed: TLS required, STARTTLS unavailable, destination is TLS disabled"...)
	case EventTLSRequiredFailed:
		return append(appendConn(b, e.ConnID), "TLS was required but could not be successfully negotiated"...)
	case EventSTSApply:
		return append(appendHost(append(b, "Applying MTA-STS policy for the domain ("...), name), ")."...)
	case EventSTSEnforce:
		return append(b, "Enforcing TLS for MTA-STS Policy"...)
	case EventSTSSuccess:
		return append(appendHost(append(b, "MTA-STS policy for the domain ("...), name), ") Successful."...)
	case EventSTSFailed:
		return append(appendHost(append(b, "Applying MTA-STS policy for the domain ("...), name), ") Failed."...)
	case EventSTSConnectionFailed:
		return append(appendHost(append(b, "Connection for the domain ("...), name), ") failed when MTA-STS Policy was enforced."...)
	case EventSTSSkippedDANE:
		return append(appendHost(append(b, "MTA-STS policy will be skipped for the ("...), name), ") due to DANE being enforced."...)
	case EventTLSEstablished:
		b = append(append(appendConn(b, e.ConnID), "TLS success protocol "...), tls.VersionName(e.Version)...)
		return append(append(b, " cipher "...), tls.CipherSuiteName(e.Suite)...)
	case EventDecision:
		return e.appendDecision(b)
	case EventDANEUnavailable:
		return appendDetail(append(appendHost(append(b, "DANE is not available for the domain ("...), name), ')'), e.Detail)
	}
	return append(append(b, "TLS event "...), e.Kind.String()...)
}

// appendDecision appends what is done with a host, and why.
func (e Event) appendDecision(b []byte) []byte {
	d := e.Decision
	if e.ConnID != 0 { // else the host was skipped without a connection
		b = appendConn(b, e.ConnID)
	}
	b = append(append(b, "TLS decision "...), d.Action.String()...)
	if e.Host != "" {
		b = append(appendHost(append(b, " for the host ("...), e.Host), ')')
	}
	b = append(append(b, ": "...), d.Reason.String()...)
	if d.Cause != CauseNone {
		b = append(append(b, ", "...), d.Cause.String()...)
	}
	if d.Status != StatusNone {
		b = append(append(b, ", "...), d.Status.String()...)
	}
	return appendDetail(b, e.Detail)
}

// appendConn appends the number of the connection.
func appendConn(b []byte, id uint64) []byte {
	return append(strconv.AppendUint(append(b, "DCID "...), id, 10), ' ')
}

// appendAddr appends an address without its zone, which is free text; "-" if
// there is none.
func appendAddr(b []byte, addr netip.Addr) []byte {
	if !addr.IsValid() {
		return append(b, '-')
	}
	return addr.Unmap().WithZone("").AppendTo(b)
}

// appendHost appends a host or domain name, cut to the length that a name may
// have. What cannot stand in a name or an address becomes "?", so that no name
// ends the parentheses around it.
func appendHost(b []byte, name string) []byte {
	for i := range min(len(name), hostname.MaxName) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '-', c == '_', c == '.', c == ':', c == '[', c == ']':
			b = append(b, c)
		default:
			b = append(b, '?')
		}
	}
	return b
}

// appendDetail appends a text of others in quotes, as Go writes strings.
func appendDetail(b []byte, detail string) []byte {
	if detail == "" {
		return b
	}
	return strconv.AppendQuoteToASCII(append(b, ": "...), detail[:min(len(detail), maxDetail)])
}
