// Package trace is what a relay reads and writes in the header of a message: it counts
// the Received fields, to see a loop, notes "TLS-Required: No", and puts its own
// Received field in front.
//
//	h, err := trace.ReadHeader(in) // in stands behind the header then
//	if h.Hops >= trace.MaxHops {
//		... // refuse: it is going round
//	}
//	_, err = w.Write(h.Behind(trace.Hop{...}))
//	_, err = io.Copy(w, in)
//
// Everything but that field stays as it is, octet for octet; a message without a header
// gets the empty line that ends ours. What clients make up, such as the name in EHLO,
// cannot end the field, go on with it, or add one.
package trace

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"
)

const (
	// MaxHops is how many Received fields a message may have. RFC 5321 section 6.3
	// wants at least 100 to be possible before a loop is assumed.
	MaxHops = 100
	// MaxHeader bounds the header of a message, which is looked at in memory. RFC 5322
	// has no bound; Postfix stops looking at 100 KiB.
	MaxHeader = 256 << 10
)

// ErrHeader: a header section exceeds MaxHeader.
var ErrHeader = errors.New("trace: message header is too large")

// Header is what a relay has to know of a message's header section. Nothing in it is
// changed.
type Header struct {
	Text        []byte // as it came, with the empty line that ends it
	Hops        int    // Received fields
	TLSOptional bool   // "TLS-Required: No" (RFC 8689 section 3)
	MessageID   string // for logs; "": there is none
	// Headless: the first line is no field, so that the body begins with it. An empty
	// line has to go between it and our own field, of which it might else become a part.
	Headless bool
}

// ReadHeader reads the header section from r, and stops behind it. The error is that
// of r or ErrHeader.
func ReadHeader(r *bufio.Reader) (h Header, err error) {
	name, begun := "", true // of a line; of the line that is read now
	for err == nil && len(h.Text) <= MaxHeader {
		var line []byte
		line, err = r.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			err = nil
		}
		h.Text = append(h.Text, line...)
		end := bytes.HasSuffix(line, []byte("\n"))
		if begun {
			field, value, ok := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
			folded := len(line) > 0 && (line[0] == ' ' || line[0] == '\t')
			switch {
			case len(h.Text) == len(line) && len(line) > 0 && (folded || !ok && !empty(line) && (end || err != nil)):
				h.Headless = true
				return h, eof(err)
			case folded && name == "message-id" && h.MessageID == "":
				h.MessageID = string(bytes.TrimSpace(line))
			case folded:
			case !ok && !end && err == nil: // a very long line
			case !ok: // the empty line, or a body without one before it
				return h, eof(err)
			default:
				name = strings.ToLower(string(bytes.TrimRight(field, " \t")))
				h.note(name, strings.TrimSpace(string(value)))
			}
		}
		begun = end
	}
	if err == nil {
		err = ErrHeader
	}
	return h, eof(err)
}

// Behind returns the header section with our Received field in front.
func (h *Header) Behind(hop Hop) []byte {
	text := []byte(hop.String())
	if h.Headless {
		text = append(text, "\r\n"...)
	}
	return append(text, h.Text...)
}

// empty reports whether a line is the one that ends a header.
func empty(line []byte) bool { return len(bytes.TrimRight(line, "\r\n")) == 0 }

// eof makes nil of io.EOF: a message may end in its header.
func eof(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

func (h *Header) note(name, value string) {
	switch name {
	case "received":
		h.Hops++
	case "tls-required":
		h.TLSOptional = strings.EqualFold(value, "No")
	case "message-id":
		h.MessageID = value
	}
}

// Hop is what a Received field tells (RFC 5321 section 4.4).
type Hop struct {
	Helo      string               // what the client said in EHLO; it may be anything
	Address   netip.Addr           // of the client
	Host      string               // its verified name; "": there is none
	TLS       *tls.ConnectionState // nil: clear text
	UTF8      bool                 // MAIL had SMTPUTF8
	By, ID    string               // our name, and our name for the message
	Recipient string               // "": there are several, who must not learn of each other
	At        time.Time
}

// String returns the field, folded, with its line end.
func (h Hop) String() string {
	var b strings.Builder
	literal := "[" + h.Address.String() + "]"
	if h.Address.Is6() {
		literal = "[IPv6:" + h.Address.String() + "]" // RFC 5321 section 4.1.3
	}
	from := literal
	if h.Host != "" {
		from = Plain(h.Host) + " " + literal
	}
	// RFC 3848 and RFC 6531 section 4.3.
	with := "ESMTP"
	if h.UTF8 {
		with = "UTF8SMTP"
	}
	if h.TLS != nil {
		with += "S"
	}
	fmt.Fprintf(&b, "Received: from %s (%s)\r\n\tby %s with %s id %s", Plain(h.Helo), from, h.By, with, h.ID)
	if h.TLS != nil {
		fmt.Fprintf(&b, "\r\n\t(%s %s)", strings.ReplaceAll(tls.VersionName(h.TLS.Version), " ", ""), tls.CipherSuiteName(h.TLS.CipherSuite))
	}
	if h.Recipient != "" {
		fmt.Fprintf(&b, "\r\n\tfor <%s>", h.Recipient)
	}
	fmt.Fprintf(&b, ";\r\n\t%s\r\n", h.At.Format(time.RFC1123Z))
	return b.String()
}

// Plain leaves of a name that somebody made up what can stand in a header field: at most
// 255 letters, digits and ._-:[], and a question mark for everything else.
func Plain(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("-._:[]", r):
			return r
		}
		return '?'
	}, name)
	return name[:min(len(name), 255)]
}
