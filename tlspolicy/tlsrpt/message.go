package tlsrpt

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

// base64Line is how long a line of base64 is (RFC 2045 section 6.8).
const base64Line = 76

// maxHeaderID is the longest id of a report that goes into a Subject: with angle
// brackets it stays on one line of at most 998 octets (RFC 5322 section 2.1.1).
const maxHeaderID = 500

// MessageOptions say how a report becomes a message.
type MessageOptions struct {
	// Domain is the domain that the report is about.
	Domain string
	// To is a mailto target of the domain's record.
	To Target
	// From is the address in From and in the envelope; empty: the contact of the
	// report. Its domain should be that of the contact, for DKIM.
	From string
	// Date is when the message is made; zero: now.
	Date time.Time
}

// Message is a report as mail (RFC 8460 section 5.3), for the caller to sign and
// deliver.
//
// It must carry a DKIM signature of the submitter's domain, that of the report's
// contact, over SignHeaders and without an l= tag; the receiver ignores it
// otherwise. The key record should have s=tlsrpt. It must be delivered whatever TLS
// policy says (the TLS-Required field of RFC 8689 asks the same of relays), since
// the failure of TLS may be what it tells; and the sessions that carry it are not
// counted.
type Message struct {
	From, To string // envelope
	// Header is the header section with CRLF, without the empty line; Body is what
	// follows that line. Both are ASCII.
	Header, Body []byte
	// SignHeaders are the fields to sign.
	SignHeaders []string
}

// Bytes returns the whole message.
func (m *Message) Bytes() []byte {
	return append(append(append([]byte(nil), m.Header...), '\r', '\n'), m.Body...)
}

// BuildMessage makes a message of a report. The error is about addresses, domains
// and an id that could not stand in a header; nothing that somebody else has chosen
// is put there without a look.
func BuildMessage(r *Report, o MessageOptions) (*Message, error) {
	domain, err := hostname.Parse(o.Domain)
	if err != nil {
		return nil, fmt.Errorf("tlsrpt: report domain: %w", err)
	}
	if o.From == "" {
		o.From = r.Contact
	}
	from, _, problem := plainAddress(o.From)
	if problem == "" && strings.Contains(from, "%") {
		problem = "a percent sign may be taken for a route"
	}
	if problem != "" {
		return nil, fmt.Errorf("tlsrpt: %q cannot send reports: %s", clip(o.From), problem)
	}
	_, submitter, problem := plainAddress(r.Contact)
	if problem != "" {
		return nil, fmt.Errorf("tlsrpt: contact %q: %s", clip(r.Contact), problem)
	}
	// A Target can be made by hand.
	to, _, problem := plainAddress(o.To.Address)
	if o.To.Scheme != "mailto" || problem != "" {
		return nil, fmt.Errorf("tlsrpt: %q is no mailto target", clip(o.To.URI))
	}
	if r.ID == "" || len(r.ID) > maxHeaderID || strings.ContainsFunc(r.ID, func(c rune) bool { return c <= ' ' || c > '~' || c == '<' || c == '>' }) {
		return nil, errors.New("tlsrpt: the id of the report cannot stand in a header")
	}
	zipped, err := r.Gzip()
	if err != nil {
		return nil, err
	}
	if o.Date.IsZero() {
		o.Date = time.Now()
	}
	sum := sha256.Sum256([]byte(r.ID + "\x00" + to))
	id := hex.EncodeToString(sum[:12])
	// No base64 and no text of ours has these two octets together.
	boundary := "=_tlsrpt_" + id
	name := r.FileName(domain)

	m := &Message{From: from, To: to}
	var head, body strings.Builder
	for _, field := range [...][2]string{
		{"From", from}, {"To", to},
		{"Date", o.Date.Format("Mon, 02 Jan 2006 15:04:05 -0700")},
		{"Message-ID", "<" + id + "@" + submitter + ">"},
		{"Subject", "Report Domain: " + domain + "\r\n Submitter: " + submitter + "\r\n Report-ID: <" + r.ID + ">"},
		{"TLS-Report-Domain", domain}, {"TLS-Report-Submitter", submitter},
		{"TLS-Required", "No"}, {"Auto-Submitted", "auto-generated"}, {"MIME-Version", "1.0"},
		{"Content-Type", `multipart/report; report-type="tlsrpt";` + "\r\n" + ` boundary="` + boundary + `"`},
	} {
		fmt.Fprintf(&head, "%s: %s\r\n", field[0], field[1])
		m.SignHeaders = append(m.SignHeaders, field[0])
	}
	successes, failures := r.Totals()
	fmt.Fprintf(&body, "--%s\r\nContent-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n\r\n", boundary)
	fmt.Fprintf(&body, "This is an SMTP TLS report (RFC 8460) about %s,\r\nsent by %s.\r\n\r\n", domain, submitter)
	fmt.Fprintf(&body, "From:       %s\r\nTo:         %s\r\nSuccessful: %d sessions\r\nFailed:     %d sessions\r\n\r\n", stamp(r.Begin), stamp(r.End), successes, failures)
	fmt.Fprintf(&body, "The record _smtp._tls.%s asks for it.\r\n", domain)
	fmt.Fprintf(&body, "--%s\r\nContent-Type: %s\r\nContent-Transfer-Encoding: base64\r\n", boundary, TypeGzip)
	fmt.Fprintf(&body, "Content-Disposition: attachment;\r\n filename=\"%s\"\r\n\r\n", name)
	for text := base64.StdEncoding.EncodeToString(zipped); text != ""; {
		n := min(base64Line, len(text))
		body.WriteString(text[:n] + "\r\n")
		text = text[n:]
	}
	fmt.Fprintf(&body, "--%s--\r\n", boundary)
	m.Header, m.Body = []byte(head.String()), []byte(body.String())
	return m, nil
}
