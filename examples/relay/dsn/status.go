package dsn

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// status returns the part for programs: fields about the message, then for each
// recipient (RFC 3464 section 2.1).
func (c *composer) status() []byte {
	var b bytes.Buffer
	field := func(name, value string) {
		if value != "" {
			b.WriteString(fold(name + ": " + value))
			b.WriteString("\r\n")
		}
	}
	field("Reporting-MTA", "dns; "+c.ReportingMTA)
	field("Original-Envelope-Id", c.clean(c.EnvelopeID, 100))
	if name := c.clean(c.ReceivedFrom, 255); name != "" {
		field("Received-From-MTA", "dns; "+name)
	}
	field("Arrival-Date", dateOf(c.Arrival))
	for _, r := range c.Recipients {
		b.WriteString("\r\n")
		// Addresses are not folded: a blank in a quoted string is theirs.
		if kind, address, ok := strings.Cut(r.Original, ";"); ok && atom(kind) && c.line(address, 1) != "" {
			fmt.Fprintf(&b, "Original-Recipient: %s\r\n", c.address(kind, strings.TrimSpace(address)))
		}
		fmt.Fprintf(&b, "Final-Recipient: %s\r\n", c.address("rfc822", r.Address))
		field("Action", string(r.action()))
		field("Status", r.code())
		if name := c.clean(r.RemoteMTA, 255); name != "" {
			field("Remote-MTA", "dns; "+name)
		}
		if text := c.clean(r.Diagnostic, MaxDiagnostic); text != "" {
			field("Diagnostic-Code", "smtp; "+text)
		}
		field("Last-Attempt-Date", dateOf(r.LastAttempt))
		if r.Action == Delayed {
			field("Will-Retry-Until", dateOf(r.WillRetryUntil))
		}
	}
	return b.Bytes()
}

func dateOf(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC1123Z)
}

// atom reports whether s can be the type of an address.
func atom(s string) bool {
	return s != "" && len(s) <= 32 && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-')
	})
}

// action is the one given; what is none is a failure, so that nothing is lost.
func (r *Recipient) action() Action {
	switch r.Action {
	case Delayed, Delivered, Relayed:
		return r.Action
	}
	return Failed
}

// code is the status if it is one that fits the action: X.0.0 otherwise.
func (r *Recipient) code() string {
	classes, other := "45", "5.0.0"
	switch r.action() {
	case Delayed:
		classes, other = "4", "4.0.0"
	case Delivered, Relayed:
		classes, other = "2", "2.0.0"
	}
	parts := strings.Split(r.Status, ".")
	if len(parts) != 3 || len(parts[0]) != 1 || !strings.Contains(classes, parts[0]) || !number(parts[1]) || !number(parts[2]) {
		return other
	}
	return r.Status
}

// number reports whether s is a number of one to three digits, without zeros in front
// (RFC 3463 section 2).
func number(s string) bool {
	if s == "" || len(s) > 3 || len(s) > 1 && s[0] == '0' {
		return false
	}
	return strings.Trim(s, "0123456789") == ""
}
