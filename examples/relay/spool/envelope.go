//go:build unix

package spool

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of an envelope.
const (
	// MaxRecipients of one message. RFC 5321 section 4.5.3.1.8 asks for 100 at least.
	MaxRecipients = 1000
	// MaxAddress is the longest address in octets: a local part of 64, the sign
	// and a domain of 255 (RFC 5321 sections 4.5.3.1.1 and 4.5.3.1.2).
	MaxAddress = 64 + 1 + 255
	// MaxDomain is the longest HELO name in octets (RFC 5321 section 4.5.3.1.2).
	MaxDomain = 255
	// MaxEnvelopeID is the longest ENVID in octets (RFC 3461 section 4.4).
	MaxEnvelopeID = 100
	// MaxOriginalRecipient is the longest ORCPT in octets (RFC 3461 section 4.2).
	MaxOriginalRecipient = 500
	// MaxErrorText is how many octets of LastError are kept: two lines of a reply
	// (RFC 5321 section 4.5.3.1.5).
	MaxErrorText = 1024
)

// State is what became of a recipient.
type State string

// The states of a recipient.
const (
	// Queued: to be tried at NextAttempt.
	Queued State = "queued"
	// Delivered: the next host has taken responsibility with its 250.
	Delivered State = "delivered"
	// Bounced: given up, and whoever is to know of it was told.
	Bounced State = "bounced"
	// Held: not tried until somebody releases it.
	Held State = "held"
)

// Notify is the set of the NOTIFY parameter (RFC 3461 section 4.1). Zero: there was
// no such parameter. In text it is as in the command, such as "FAILURE,DELAY".
type Notify uint8

// The values of NOTIFY. NotifyNever stands alone.
const (
	NotifySuccess Notify = 1 << iota
	NotifyFailure
	NotifyDelay
	NotifyNever
)

var notifyNames = []struct {
	bit  Notify
	name string
}{{NotifySuccess, "SUCCESS"}, {NotifyFailure, "FAILURE"}, {NotifyDelay, "DELAY"}, {NotifyNever, "NEVER"}}

// String returns the value as it stands in a command, "" for zero.
func (n Notify) String() string {
	var names []string
	for _, v := range notifyNames {
		if n&v.bit != 0 {
			names = append(names, v.name)
		}
	}
	return strings.Join(names, ",")
}

// MarshalText returns the text of String, or an error if it would not be valid.
func (n Notify) MarshalText() ([]byte, error) {
	if n >= NotifyNever<<1 || n&NotifyNever != 0 && n != NotifyNever {
		return nil, fmt.Errorf("spool: NOTIFY %#x is not valid: NEVER stands alone", uint8(n))
	}
	return []byte(n.String()), nil
}

// UnmarshalText reads the value of a NOTIFY parameter, in any case and order.
func (n *Notify) UnmarshalText(text []byte) error {
	var got Notify
	for word := range strings.SplitSeq(string(text), ",") {
		i := slices.IndexFunc(notifyNames, func(v struct {
			bit  Notify
			name string
		}) bool {
			return strings.EqualFold(v.name, word)
		})
		if i < 0 {
			return fmt.Errorf("spool: NOTIFY has no value %q", word)
		}
		got |= notifyNames[i].bit
	}
	if _, err := got.MarshalText(); err != nil {
		return err
	}
	*n = got
	return nil
}

// Client is the host that handed the message in.
type Client struct {
	// Address is its IP address; zero for a message of our own, such as a DSN.
	Address netip.Addr `json:"address,omitzero"`
	// Helo is the name that it gave in EHLO or HELO.
	Helo string `json:"helo,omitzero"`
}

// Recipient is one RCPT command and what became of it.
type Recipient struct {
	// Address without angle brackets.
	Address string `json:"address"`
	// State; a message is committed with Queued, which is also what "" means there.
	State State `json:"state"`
	// Attempts made so far.
	Attempts int `json:"attempts"`
	// NextAttempt is when a queued recipient is due; Commit makes the time of
	// receipt of zero.
	NextAttempt time.Time `json:"next-attempt,omitzero"`
	// LastAttempt is when the last attempt ended; zero: there was none.
	LastAttempt time.Time `json:"last-attempt,omitzero"`
	// LastError says why the last attempt failed. It is cut at MaxErrorText, and
	// control characters become spaces.
	LastError string `json:"last-error,omitzero"`
	// DelayTold: the sender was told that the message is late.
	DelayTold bool `json:"delay-told,omitzero"`
	// Notify is the NOTIFY parameter (RFC 3461 section 4.1).
	Notify Notify `json:"notify,omitzero"`
	// OriginalRecipient is the ORCPT parameter, such as "rfc822;a@example.com", with
	// its xtext decoded (RFC 3461 section 4.2); "": there was none.
	OriginalRecipient string `json:"orcpt,omitzero"`
}

// Domain returns what follows the last @ of the address, in lower case; "" if
// nothing does.
func (r *Recipient) Domain() string {
	i := strings.LastIndexByte(r.Address, '@')
	if i < 0 {
		return ""
	}
	return strings.ToLower(r.Address[i+1:])
}

// Envelope is everything about a message that is not in it.
type Envelope struct {
	// ID names the message. Create makes it.
	ID string `json:"id"`
	// Received is when the message was committed; Commit sets it if it is zero.
	Received time.Time `json:"received"`
	// Client handed the message in.
	Client Client `json:"client"`
	// Sender is the reverse-path without angle brackets; "" is the null
	// reverse-path, to which no DSN is sent (RFC 5321 section 4.5.5).
	Sender string `json:"sender"`
	// Recipients, at least one.
	Recipients []Recipient `json:"recipients"`
	// RequireTLS: the REQUIRETLS option was given (RFC 8689 section 4.2.1).
	RequireTLS bool `json:"requiretls,omitzero"`
	// TLSOptional: the message has the field "TLS-Required: No" (RFC 8689 section 3).
	TLSOptional bool `json:"tls-required-no,omitzero"`
	// BodyType is the BODY parameter: "7BIT", "8BITMIME" (RFC 6152), "BINARYMIME"
	// (RFC 3030), or "" if there was none.
	BodyType string `json:"body-type,omitzero"`
	// SMTPUTF8: the option was given (RFC 6531). An address that is not ASCII needs it.
	SMTPUTF8 bool `json:"smtputf8,omitzero"`
	// Return is the RET parameter: "FULL", "HDRS" or "" (RFC 3461 section 4.3).
	Return string `json:"ret,omitzero"`
	// EnvelopeID is the ENVID parameter with its xtext decoded (RFC 3461 section 4.4).
	EnvelopeID string `json:"envid,omitzero"`
	// Size is the length of the body in octets. Commit sets it.
	Size int64 `json:"size"`
	// SHA256 is the hash of the body in hexadecimal. Commit sets it.
	SHA256 string `json:"body-sha256"`
}

// Done reports whether every recipient is delivered or bounced, so that the message
// can be removed.
func (e *Envelope) Done() bool {
	return !slices.ContainsFunc(e.Recipients, func(r Recipient) bool { return r.State != Delivered && r.State != Bounced })
}

// Due returns the earliest NextAttempt of the queued recipients of each domain, the
// name of which is as Domain returns it. It is nil if none is queued.
func (e *Envelope) Due() map[string]time.Time {
	var due map[string]time.Time
	for i := range e.Recipients {
		r := &e.Recipients[i]
		if r.State != Queued {
			continue
		}
		if due == nil {
			due = make(map[string]time.Time, 1)
		}
		domain := r.Domain()
		if t, ok := due[domain]; !ok || r.NextAttempt.Before(t) {
			due[domain] = r.NextAttempt
		}
	}
	return due
}

func (e *Envelope) clone() Envelope {
	c := *e
	c.Recipients = slices.Clone(e.Recipients)
	return c
}

// tidy brings times and texts into the form in which they are stored.
func (e *Envelope) tidy() {
	e.Received = e.Received.UTC().Round(0)
	for i := range e.Recipients {
		r := &e.Recipients[i]
		r.NextAttempt = tidyTime(r.NextAttempt)
		r.LastAttempt = tidyTime(r.LastAttempt)
		r.LastError = tidyText(r.LastError)
	}
}

func tidyTime(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Round(0)
}

// tidyText makes one line of valid UTF-8 of what a peer said.
func tidyText(s string) string {
	if len(s) <= MaxErrorText && problemWith(s, MaxErrorText) == "" {
		return s
	}
	if len(s) > 4*MaxErrorText {
		s = s[:4*MaxErrorText] // what is dropped below can only make it shorter
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > MaxErrorText {
		n := MaxErrorText
		for !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	return s
}

// problemWith says why a text is not one line of valid UTF-8 of so many octets, ""
// if it is. What goes into an SMTP command must not end it.
func problemWith(s string, limit int) string {
	if len(s) > limit {
		return fmt.Sprintf("has %d octets, %d are allowed", len(s), limit)
	}
	for i, r := range s {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return fmt.Sprintf("has the control character %U", r)
		}
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return "is not valid UTF-8"
			}
		}
	}
	return ""
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

// Check returns an error that names the first field that cannot be stored, such as
// an address with a line break in it. The fields that Commit fills in may be empty.
func (e *Envelope) Check() error {
	e2 := *e
	e2.Recipients = slices.Clone(e.Recipients)
	e2.ID, e2.Size, e2.SHA256 = sampleID, 0, strings.Repeat("0", 64)
	e2.fill(time.Unix(0, 0))
	e2.tidy()
	return e2.check()
}

// fill gives the fields their first values.
func (e *Envelope) fill(now time.Time) {
	if e.Received.IsZero() {
		e.Received = now
	}
	for i := range e.Recipients {
		r := &e.Recipients[i]
		if r.State == "" {
			r.State = Queued
		}
		if r.State == Queued && r.NextAttempt.IsZero() {
			r.NextAttempt = e.Received
		}
	}
}

func (e *Envelope) check() error {
	text := func(field, value string, limit int) error {
		if p := problemWith(value, limit); p != "" {
			return fmt.Errorf("spool: %s %.*q %s", field, limit, value, p)
		}
		return nil
	}
	address := func(field, value string) error {
		err := text(field, value, MaxAddress)
		if err == nil && !e.SMTPUTF8 && !isASCII(value) {
			err = fmt.Errorf("spool: %s %q is not ASCII and SMTPUTF8 was not given", field, value) // RFC 6531 section 3.4
		}
		return err
	}
	switch {
	case !validID(e.ID):
		return fmt.Errorf("spool: %.64q is no id", e.ID)
	case e.Size < 0:
		return fmt.Errorf("spool: size %d", e.Size)
	case !isHash(e.SHA256):
		return fmt.Errorf("spool: %.80q is no SHA-256", e.SHA256)
	case !slices.Contains([]string{"", "7BIT", "8BITMIME", "BINARYMIME"}, e.BodyType):
		return fmt.Errorf("spool: BODY has no value %.32q", e.BodyType)
	case !slices.Contains([]string{"", "FULL", "HDRS"}, e.Return):
		return fmt.Errorf("spool: RET has no value %.32q", e.Return)
	case len(e.Recipients) == 0:
		return errors.New("spool: no recipients")
	case len(e.Recipients) > MaxRecipients:
		return fmt.Errorf("spool: %d recipients, %d are allowed", len(e.Recipients), MaxRecipients)
	case e.Client.Address.Zone() != "" && problemWith(e.Client.Address.Zone(), 64) != "":
		return fmt.Errorf("spool: zone of the client %.64q", e.Client.Address.Zone())
	}
	err := errors.Join(text("HELO name", e.Client.Helo, MaxDomain),
		text("ENVID", e.EnvelopeID, MaxEnvelopeID), address("sender", e.Sender))
	for i := 0; err == nil && i < len(e.Recipients); i++ {
		r := &e.Recipients[i]
		switch {
		case r.Address == "":
			err = fmt.Errorf("spool: recipient %d is empty", i+1)
		case !slices.Contains([]State{Queued, Delivered, Bounced, Held}, r.State):
			err = fmt.Errorf("spool: state %.32q of recipient %q", string(r.State), r.Address)
		case r.Attempts < 0:
			err = fmt.Errorf("spool: %d attempts for recipient %q", r.Attempts, r.Address)
		default:
			err = errors.Join(address("recipient", r.Address), text("ORCPT", r.OriginalRecipient, MaxOriginalRecipient),
				text("error text", r.LastError, MaxErrorText))
		}
	}
	return err
}

func isHash(s string) bool {
	return len(s) == 64 && !strings.ContainsFunc(s, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') })
}
