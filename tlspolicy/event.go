package tlspolicy

import (
	"crypto/tls"
	"log/slog"
	"net/netip"
	"time"
)

// EventKind names what happened in a delivery. The names are stable; new kinds
// are appended.
type EventKind uint8

const (
	// EventNone is the zero value: nothing happened.
	EventNone EventKind = iota
	// EventConnect: a connection to a host was opened.
	EventConnect
	// EventSTARTTLSAbsent: the answer to EHLO does not list STARTTLS.
	EventSTARTTLSAbsent
	// EventNoESMTP: the host refused EHLO and knows HELO only.
	EventNoESMTP
	// EventSTARTTLSRefused: STARTTLS was answered with anything but 220.
	EventSTARTTLSRefused
	// EventTLSRequiredUnavailable: TLS is required, and STARTTLS not offered.
	EventTLSRequiredUnavailable
	// EventTLSRequiredFailed: TLS is required, and there is no session that is
	// good enough.
	EventTLSRequiredFailed
	// EventSTSApply: an MTA-STS policy is about to be applied to a host.
	EventSTSApply
	// EventSTSEnforce: that policy is enforced, so TLS is required.
	EventSTSEnforce
	// EventSTSSuccess: the host passed the MTA-STS policy.
	EventSTSSuccess
	// EventSTSFailed: the host failed the MTA-STS policy.
	EventSTSFailed
	// EventSTSConnectionFailed: no session with the domain came about under an
	// enforced MTA-STS policy.
	EventSTSConnectionFailed
	// EventSTSSkippedDANE: the host has usable TLSA records, so MTA-STS has no
	// say there.
	EventSTSSkippedDANE
	// EventTLSEstablished: there is a TLS session.
	EventTLSEstablished
	// EventDecision: what is done with a host or a connection.
	EventDecision
	// EventDANEUnavailable: DANE is switched on, and the resolver cannot tell
	// secure DNS answers from others.
	EventDANEUnavailable
)

var eventKindNames = [...]string{
	EventNone:                   "none",
	EventConnect:                "connect",
	EventSTARTTLSAbsent:         "starttls-absent",
	EventNoESMTP:                "no-esmtp",
	EventSTARTTLSRefused:        "starttls-refused",
	EventTLSRequiredUnavailable: "tls-required-unavailable",
	EventTLSRequiredFailed:      "tls-required-failed",
	EventSTSApply:               "sts-apply",
	EventSTSEnforce:             "sts-enforce",
	EventSTSSuccess:             "sts-success",
	EventSTSFailed:              "sts-failed",
	EventSTSConnectionFailed:    "sts-connection-failed",
	EventSTSSkippedDANE:         "sts-skipped-dane",
	EventTLSEstablished:         "tls-established",
	EventDecision:               "decision",
	EventDANEUnavailable:        "dane-unavailable",
}

// String returns the stable name of the kind, such as "starttls-absent".
func (k EventKind) String() string { return nameOf(eventKindNames[:], uint8(k), "EventKind") }

// MarshalText returns the name of the kind; an unnamed value is an error.
func (k EventKind) MarshalText() ([]byte, error) {
	return appendName(nil, eventKindNames[:], uint8(k), "EventKind")
}

// Level returns the level that events of the kind are logged at.
func (k EventKind) Level() slog.Level {
	switch k {
	case EventDecision:
		return slog.LevelDebug
	case EventDANEUnavailable:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// Event is something that happened in a delivery, for logs and metrics. Fields
// that do not apply are zero. To make one allocates nothing; text is written
// only by LogValue, AsyncOS and AppendAsyncOS, and nothing that a peer said can
// break a line of it or make it long.
type Event struct {
	Kind EventKind
	Time time.Time
	// ConnID numbers the connection, in the AsyncOS chapter the DCID. 0: there
	// is none.
	ConnID uint64
	Domain string         // recipient domain; the configured host if there is none
	Host   string         // MX host or configured host
	Addr   netip.AddrPort // of the host
	Local  netip.Addr     // the address connected from
	// Decision is that of a decision, and the one that an event about a failure
	// led to.
	Decision Decision
	Version  uint16 // of TLS, as in crypto/tls
	Suite    uint16 // cipher suite of TLS, as in crypto/tls
	// Detail is a few words on what happened, such as the host's reply.
	Detail string
}

// LogValue returns the event as attributes, without the time and without those
// that are empty.
func (e Event) LogValue() slog.Value {
	attrs := make([]slog.Attr, 0, 14)
	add := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	add("kind", e.Kind.String())
	if e.ConnID != 0 {
		attrs = append(attrs, slog.Uint64("conn", e.ConnID))
	}
	add("domain", printable(e.Domain))
	add("host", printable(e.Host))
	if e.Addr.IsValid() {
		add("addr", e.Addr.String())
	}
	if e.Local.IsValid() {
		add("local", e.Local.String())
	}
	if d := e.Decision; d.Reason != ReasonNone {
		add("action", d.Action.String())
		add("reason", d.Reason.String())
		add("status", d.Status.String())
		if d.Cause != CauseNone {
			add("cause", d.Cause.String())
		}
		if d.Shadow.Reason != ReasonNone {
			add("not_enforced", d.Shadow.Reason.String())
		}
	}
	if e.Version != 0 {
		add("tls", tls.VersionName(e.Version))
	}
	if e.Suite != 0 {
		add("cipher", tls.CipherSuiteName(e.Suite))
	}
	add("detail", printable(e.Detail))
	return slog.GroupValue(attrs...)
}
