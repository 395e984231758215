// Package dsn writes delivery status notifications: what a relay owes the sender
// of a message that it took and could not, or not yet, hand on.
//
// A notification is a message with three parts (RFC 6522): a text for people, the
// same facts for programs (RFC 3464), and the message that it is about, or its
// header. Compose writes it, from a Report and the original:
//
//	needs, err := dsn.Compose(w, &dsn.Report{
//		ReportingMTA: "relay.example",
//		From:         "postmaster@relay.example",
//		To:           envelope.Sender,
//		ID:           spoolID,
//		Recipients: []dsn.Recipient{{
//			Address:    "nobody@partner.example",
//			Action:     dsn.Failed,
//			Status:     "5.1.1",
//			RemoteMTA:  "mx.partner.example",
//			Diagnostic: "550 5.1.1 no such user",
//		}},
//	}, m.Body())
//
// The result is sent with the null reverse-path, MAIL FROM:<>, to the reverse-path
// of the original, and as needs says. Whether a notification is due at all is what
// Due answers: never about a message that has itself the null reverse-path, and
// otherwise as the sender asked with NOTIFY (RFC 3461 section 4.1).
//
// # What is given back
//
// The header always, and all of the message if its delivery has failed, it was not
// sent with RET=HDRS or REQUIRETLS, is not larger than Report.MaxReturned, and is
// fit to stand in another message: one with a NUL or an overlong line is not. Line
// ends that are not CRLF become CRLF.
//
// # Status codes of TLS
//
// The caller passes codes as text. smtpclient.Error.Status is one of
//
//	4.7.4   TLS is needed and the host does not offer STARTTLS
//	4.7.5   any other failure of TLS policy: certificate, DANE, MTA-STS, DNSSEC
//	4.7.30  REQUIRETLS, and no host that would carry it on (RFC 8689 section 4.2.1);
//	        5.7.30 if the message is returned at once (smtpclient.RequireTLSError)
//	4.4.1   no host answered; 4.4.2 a connection broke off; 4.4.3 DNS did not answer
//	4.4.6   a loop; 4.4.0 and 4.4.4 another fault of the network or the way
//	4.3.5   our own set-up is at fault
//	5.1.2   the domain does not exist; 5.1.10 it accepts no mail (RFC 7505)
//
// and 4.4.7, the lifetime is over, is the queue's own word.
//
// A code of class 4 in a recipient that has failed is right: the cause was not
// permanent, and the patience was over (RFC 3464 section 2.3.3).
//
// # What is promised
//
// Replies of other hosts, addresses and the original are strangers' text. Whatever
// they hold, the result has the three parts and no other structure, the fields that
// were given and no others, lines of at most 998 octets that end in CRLF, no NUL and
// no bare CR or LF. The boundary does not occur in any part. Memory is bounded by
// MaxHeader, MaxReturned and the recipients.
package dsn

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/smtpsec/smtpsec/examples/relay/spool"
)

const (
	// MaxHeader is how many octets of the original's header are given back at most.
	MaxHeader = 64 << 10
	// MaxReturned is the largest value of Report.MaxReturned that has an effect: so
	// much of an original is held in memory.
	MaxReturned = 4 << 20
	// MaxDiagnostic is how many octets of a host's reply are given back.
	MaxDiagnostic = 800
	// MaxRecipients of one notification, which are those of one message.
	MaxRecipients = spool.MaxRecipients

	maxLine  = 998 // RFC 5322 section 2.1.1, without CRLF
	softLine = 76
)

var (
	// ErrNullSender: nobody is told of what became of a message with the null
	// reverse-path (RFC 5321 section 4.5.5).
	ErrNullSender = errors.New("dsn: no notification to the null reverse-path")
	// ErrAddress: Report.To is no address that an envelope can have, or Report.From none
	// that a header can have.
	ErrAddress = errors.New("dsn: unusable address")
	// ErrReport: the report has no recipients, too many, or lacks its ReportingMTA or ID.
	ErrReport = errors.New("dsn: incomplete report")
	// ErrBoundary: Report.Rand gave no boundary that is not in the message.
	ErrBoundary = errors.New("dsn: no boundary found")
)

// Action is what became of a recipient (RFC 3464 section 2.3.3).
type Action string

// The actions of a relay; the fifth, expanded, is for mailing lists.
const (
	Failed    Action = "failed"    // given up
	Delayed   Action = "delayed"   // not yet; the attempts go on
	Delivered Action = "delivered" // in the mailbox, only if NOTIFY=SUCCESS asked
	Relayed   Action = "relayed"   // handed to a host that does not notify of success
)

// Return is the RET parameter (RFC 3461 section 4.3).
type Return string

// The values of RET. Without one a failure gives back what MaxReturned allows.
const (
	ReturnDefault Return = ""
	ReturnFull    Return = "FULL"
	ReturnHeaders Return = "HDRS"
)

// Recipient is what became of one recipient.
type Recipient struct {
	// Address is the one that the delivery was made to, without angle brackets.
	Address string
	// Original is the ORCPT parameter with its xtext decoded, such as
	// "rfc822;somebody@example.com"; "": there was none.
	Original string
	Action   Action
	// Status is the enhanced code (RFC 3463), such as "5.1.1". What is none becomes
	// X.0.0 of the action's class.
	Status string
	// RemoteMTA is the host that gave Diagnostic, or was tried last; "": none was.
	RemoteMTA string
	// Diagnostic is the host's reply, with code; "": there was none. It is cleaned and
	// cut.
	Diagnostic string
	// Reason says in our own words what happened where no host said anything; "": the
	// status has to do.
	Reason string
	// LastAttempt is when the last attempt ended; zero: it is not said.
	LastAttempt time.Time
	// WillRetryUntil is when a delayed delivery will be given up; zero: it is not said.
	WillRetryUntil time.Time
}

// Report is a notification: about one message, for its sender.
type Report struct {
	ReportingMTA string // our host name
	From         string // the address in the From field, and for questions
	To           string // reverse-path of the original, which is told
	ID           string // makes the Message-ID, with ReportingMTA; letters, digits and .-_
	Date         time.Time
	// Arrival is when the original came; zero: it is not said.
	Arrival time.Time
	// ReceivedFrom is the name that its client gave in EHLO; "": it is not said.
	ReceivedFrom string
	// EnvelopeID is the ENVID parameter with its xtext decoded; "": there was none.
	EnvelopeID string
	// Recipients, one at least, in the order in which they are to be told.
	Recipients []Recipient

	// Return is the RET parameter of the original.
	Return Return
	// MaxReturned is the largest original in octets that is given back whole; 0: none.
	MaxReturned int64
	// RequireTLS: the original came with REQUIRETLS. Then only its header is given back
	// (RFC 8689 section 5), and the notification is to be sent with REQUIRETLS.
	RequireTLS bool
	// SMTPUTF8: the original came with SMTPUTF8, so that its sender can read the forms of
	// RFC 6533. A To that is not ASCII has the same effect.
	SMTPUTF8 bool

	// Rand makes the boundary; nil: crypto/rand.
	Rand io.Reader
}

// Needs is what the transport of a notification must be able to do.
type Needs struct {
	EightBit   bool // BODY=8BITMIME
	SMTPUTF8   bool
	RequireTLS bool
}

// Due reports whether the sender of a message is to be told of an action for a
// recipient with this NOTIFY parameter. Nobody is told of a message with the null
// reverse-path, nor of success without having asked (RFC 3461 sections 4.1, 5.2).
// A sender who gave no NOTIFY hears of failure and delay.
func Due(sender string, notify spool.Notify, a Action) bool {
	if sender == "" {
		return false
	}
	switch a {
	case Failed:
		return notify == 0 || notify&spool.NotifyFailure != 0
	case Delayed:
		return notify == 0 || notify&spool.NotifyDelay != 0
	case Delivered, Relayed:
		return notify&spool.NotifySuccess != 0
	}
	return false
}

// Compose writes a notification. original is the message from its first octet; it is
// read as far as needed and nil gives nothing back. The errors are those of this
// package, of r.Rand, original and w; what was written before an error is of no use.
func Compose(w io.Writer, r *Report, original io.Reader) (Needs, error) {
	if err := r.check(); err != nil {
		return Needs{}, err
	}
	c := &composer{Report: r, utf8: r.SMTPUTF8 || !ascii(r.To)}
	var returned returned
	if original != nil {
		var err error
		if returned, err = c.read(original); err != nil {
			return Needs{}, err
		}
	}
	text, status := c.text(returned), c.status()
	boundary, err := c.boundary(text, status, returned.data)
	if err != nil {
		return Needs{}, err
	}
	needs := Needs{
		EightBit:   c.utf8 || !ascii(string(returned.data)),
		SMTPUTF8:   c.utf8,
		RequireTLS: r.RequireTLS,
	}
	var b bytes.Buffer
	c.header(&b, boundary, needs)
	part := func(contentType, encoding string, content []byte) {
		fmt.Fprintf(&b, "\r\n--%s\r\nContent-Type: %s\r\n", boundary, contentType)
		if encoding != "" {
			fmt.Fprintf(&b, "Content-Transfer-Encoding: %s\r\n", encoding)
		}
		b.WriteString("\r\n")
		b.Write(content)
	}
	if c.utf8 {
		part("text/plain; charset=utf-8", "8bit", text)
		part("message/global-delivery-status", "8bit", status)
	} else {
		part("text/plain; charset=us-ascii", "", text)
		part("message/delivery-status", "", status)
	}
	if original != nil {
		part(returned.contentType, returned.encoding, returned.data)
	}
	fmt.Fprintf(&b, "\r\n--%s--\r\n", boundary)
	_, err = w.Write(b.Bytes())
	return needs, err
}

// composer is one call of Compose.
type composer struct {
	*Report
	utf8 bool // in the forms of RFC 6533
}

// check refuses what no notification can be made of.
func (r *Report) check() error {
	switch {
	case r.To == "":
		return ErrNullSender
	case !utf8.ValidString(r.To) || strings.ContainsFunc(r.To, unicode.IsControl) || len(r.To) > spool.MaxAddress:
		return fmt.Errorf("%w: recipient %.80q", ErrAddress, r.To)
	case !ascii(r.From) || !parses(r.From):
		return fmt.Errorf("%w: From %.80q", ErrAddress, r.From)
	case len(r.Recipients) == 0 || len(r.Recipients) > MaxRecipients:
		return fmt.Errorf("%w: %d recipients", ErrReport, len(r.Recipients))
	case !word(r.ReportingMTA) || len(r.ReportingMTA) > spool.MaxDomain:
		return fmt.Errorf("%w: ReportingMTA %.80q is no host name", ErrReport, r.ReportingMTA)
	case !word(r.ID) || len(r.ID) > spool.MaxDomain:
		return fmt.Errorf("%w: ID %.80q", ErrReport, r.ID)
	}
	return nil
}

// word reports whether s is made of what host names and ids are made of.
func word(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(".-_[]:", r))
	})
}

// parses reports whether an address can stand in a header as it is.
func parses(address string) bool {
	_, err := mail.ParseAddress("<" + address + ">")
	return err == nil
}

// header writes the header of the notification (RFC 3464 section 2).
func (c *composer) header(b *bytes.Buffer, boundary string, needs Needs) {
	date := c.Date
	if date.IsZero() {
		date = time.Now()
	}
	// An address that cannot stand here is in the envelope all the same.
	to := "undisclosed-recipients:;"
	if printable(c.To) && parses(c.To) {
		to = "<" + c.To + ">"
	}
	fmt.Fprintf(b, "Date: %s\r\n", date.Format(time.RFC1123Z))
	fmt.Fprintf(b, "From: Mail Delivery System <%s>\r\n", c.From)
	fmt.Fprintf(b, "To: %s\r\n", to)
	fmt.Fprintf(b, "Subject: %s\r\n", c.subject())
	fmt.Fprintf(b, "Message-ID: <dsn.%s@%s>\r\n", c.ID, c.ReportingMTA)
	b.WriteString("Auto-Submitted: auto-replied\r\n") // RFC 3834 section 5
	b.WriteString("MIME-Version: 1.0\r\n")
	fmt.Fprintf(b, "Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=%q\r\n", boundary)
	if needs.EightBit {
		b.WriteString("Content-Transfer-Encoding: 8bit\r\n")
	}
	b.WriteString("\r\nThis is a notification in the format of MIME.\r\n")
}

// has reports whether an action occurs.
func (c *composer) has(a Action) bool {
	for _, r := range c.Recipients {
		if r.Action == a {
			return true
		}
	}
	return false
}

func (c *composer) subject() string {
	switch {
	case c.has(Failed):
		return "Undelivered: your message could not be delivered"
	case c.has(Delayed):
		return "Delayed: your message has not been delivered yet"
	}
	return "Delivered: your message has been handed on"
}

// boundary returns one that occurs in no part. "=_" cannot stand in quoted-printable
// text.
func (c *composer) boundary(parts ...[]byte) (string, error) {
	source := c.Rand
	if source == nil {
		source = rand.Reader
	}
	for range 4 {
		var raw [16]byte
		if _, err := io.ReadFull(source, raw[:]); err != nil {
			return "", fmt.Errorf("dsn: boundary: %w", err)
		}
		boundary := "=_" + hex.EncodeToString(raw[:])
		taken := false
		for _, p := range parts {
			taken = taken || bytes.Contains(p, []byte(boundary))
		}
		if !taken {
			return boundary, nil
		}
	}
	return "", ErrBoundary
}
