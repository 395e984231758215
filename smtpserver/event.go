package smtpserver

import (
	"crypto/tls"
	"log/slog"
	"net/netip"
	"strconv"
	"time"
)

// Kind says what an Event is about. The names are stable.
type Kind uint8

const (
	KindAccepted            Kind = iota // a connection is the server's
	KindRefused                         // reset: TCPRefuse, no group, or too much to refuse politely
	KindRejected                        // told that it is not welcome
	KindLimit                           // a limit was reached: Reason says which
	KindHostVerified                    // the peer's name leads back to its address
	KindHostUnverified                  // it does not: HostStatus says why
	KindSTARTTLSOffered                 // the EHLO reply offers STARTTLS
	KindCommandRefused                  // the filter or an adapter refused a command: Code
	KindTLSEstablished                  // the handshake is complete
	KindTLSFailed                       // it failed
	KindTLSRequiredUnmet                // the chapter's log line: the peer did not get over "Must issue a STARTTLS command first"
	KindInjection                       // octets behind STARTTLS
	KindBareNewline                     // bare CR or LF
	KindBadRecord                       // something else than TLS records in a handshake
	KindTimeout                         // the peer took too long
	KindUnexpected220                   // the server's 220 made no sense
	KindServerLacksSTARTTLS             // alert: TLS is set and the server does not offer it
	KindCertificateUnusable             // alert: no certificate, or an expired one
	KindDemonstration                   // alert: a demonstration certificate is in use
	KindTableSwapped                    // a new table is in force
	KindTableRejected                   // alert: a new table is not
	KindClosed                          // the connection is over: Reason says who or what ended it
	kinds                               // their number
)

// String returns the kind as a few words with hyphens.
func (k Kind) String() string {
	return enumName(uint8(k), "Kind", "accepted", "refused", "rejected", "limit", "host-verified", "host-unverified",
		"starttls-offered", "command-refused", "tls-established", "tls-failed", "tls-required-unmet", "injection",
		"bare-newline", "bad-record", "timeout", "unexpected-220", "server-lacks-starttls", "certificate-unusable",
		"demonstration", "table-swapped", "table-rejected", "closed")
}

// Event is something that happened on a listener. Fields that do not apply are
// zero. No event holds commands, credentials, message data or keys.
type Event struct {
	Kind  Kind
	Alert bool // somebody should look: the caller decides whom to tell, and how often
	Time  time.Time

	Listener string // Options.Name
	ConnID   uint64 // counts the connections of the listener, from 1; 0: the listener itself
	Peer     netip.AddrPort
	Local    netip.AddrPort
	Group    string
	Policy   string
	// Host is a verified name of the peer, the first in alphabetical order.
	Host       string
	HostStatus HostStatus

	TLSVersion  uint16
	CipherSuite uint16
	ServerName  string // as the client sent it
	Stage       Stage  // of a handshake that failed
	// TLSAlert is the alert that ended a handshake. 0 with ReasonClientAlert or
	// ReasonServerAlert: it was encrypted, or a close_notify.
	TLSAlert uint8

	Reply  Reply // of the filter
	Code   int   // of the reply: that of Reply, or the one an adapter gave; 0 without a reply
	Reason Reason
	Err    error
}

// Level returns Warn for alerts, Debug for what happens on every good connection,
// and Info for the rest.
func (e Event) Level() slog.Level {
	if e.Alert {
		return slog.LevelWarn
	}
	return levelOf(e.Kind)
}

func levelOf(k Kind) slog.Level {
	switch k {
	case KindAccepted, KindHostVerified, KindSTARTTLSOffered, KindTLSEstablished, KindCommandRefused, KindClosed:
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// LogValue returns the fields that are set.
func (e Event) LogValue() slog.Value {
	attrs := make([]slog.Attr, 0, 16)
	add := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, printable(value)))
		}
	}
	add("kind", e.Kind.String())
	add("listener", e.Listener)
	if e.ConnID != 0 {
		attrs = append(attrs, slog.Uint64("conn", e.ConnID))
	}
	if e.Peer.IsValid() {
		add("peer", e.Peer.String())
	}
	if e.Local.IsValid() {
		add("local", e.Local.String())
	}
	add("group", e.Group)
	add("policy", e.Policy)
	add("host", e.Host)
	if e.HostStatus != HostUnknown {
		add("hoststatus", e.HostStatus.String())
	}
	if e.TLSVersion != 0 {
		add("tls", tls.VersionName(e.TLSVersion))
		add("cipher", tls.CipherSuiteName(e.CipherSuite))
	}
	add("sni", e.ServerName)
	add("reply", e.Reply.String())
	if e.Code != 0 && e.Reply == ReplyNone {
		attrs = append(attrs, slog.Int("code", e.Code))
	}
	if e.Reason != ReasonNone {
		add("reason", e.Reason.String())
	}
	if e.Stage != StageNone {
		add("stage", e.Stage.String())
	}
	if e.TLSAlert != 0 {
		attrs = append(attrs, slog.Int("alert", int(e.TLSAlert)))
	}
	if e.Err != nil {
		add("err", e.Err.Error())
	}
	return slog.GroupValue(attrs...)
}

// printable returns text with everything but printable ASCII escaped.
func printable(text string) string {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			quoted := strconv.QuoteToASCII(text)
			return quoted[1 : len(quoted)-1]
		}
	}
	return text
}
