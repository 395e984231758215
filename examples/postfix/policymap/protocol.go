package policymap

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
)

// The names of the table in socketmap requests.
const (
	// Plain is for every Postfix from 3.4 on.
	Plain = "policy"
	// WithAttributes is for Postfix 3.10 and later.
	WithAttributes = "policy-tlsrpt"
)

const (
	// MaxRequest is the longest request in octets: a domain name has at most 253, U-labels
	// up to four times as many, and the rest is brackets, port and name of the table.
	MaxRequest = 1280
	// MaxText is the longest entry in octets. socketmap_table(5) allows replies of
	// 100000.
	MaxText = 99_000
	// maxLine is the longest reply of tcp_table(5), newline included.
	maxLine = 4096
	// maxReason is how much of a reason is told.
	maxReason = 400
)

// A Protocol is one of the two that Postfix speaks.
type Protocol uint8

const (
	// Socketmap is the zero value: socketmap_table(5), netstrings. The name of the table is Plain
	// or WithAttributes.
	Socketmap Protocol = iota
	// TCPTable is tcp_table(5), lines. Entries are those of Plain.
	TCPTable
)

// String returns the name that Postfix has for the protocol.
func (p Protocol) String() string {
	if p == TCPTable {
		return "tcp"
	}
	return "socketmap"
}

// errRequest ends a connection: where the next request begins is not known.
var errRequest = errors.New("policymap: malformed request")

// read reads one request.
func (p Protocol) read(r *bufio.Reader, buf []byte) ([]byte, error) {
	if p == Socketmap {
		request, err := readNetstring(r, buf, MaxRequest)
		if errors.Is(err, ErrNetstring) {
			err = errors.Join(errRequest, err)
		}
		return request, err
	}
	line, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull), err == nil && len(line) > 3*MaxRequest:
		return nil, errRequest
	case err != nil && len(line) > 0:
		return nil, errors.Join(errRequest, err)
	case err != nil:
		return nil, err
	}
	return line[:len(line)-1], nil
}

// respond appends the reply to a request, which is always one whole reply.
func (p Protocol) respond(ctx context.Context, b, request []byte, lookup func(context.Context, string) Answer) []byte {
	if p == TCPTable {
		return respondTCP(ctx, b, request, lookup)
	}
	name, key, ok := bytes.Cut(request, []byte(" "))
	attributes := string(name) == WithAttributes
	switch {
	case !ok:
		return appendNetstring(b, "PERM ", "a request is the name of a table, a space and a key")
	case !attributes && string(name) != Plain:
		return appendNetstring(b, "PERM ", "there are the tables "+Plain+" and "+WithAttributes)
	}
	a := lookup(ctx, string(key))
	switch a.Status {
	case Found:
		return appendNetstring(b, "OK ", a.Text(attributes))
	case NotFound:
		return appendNetstring(b, "NOTFOUND ")
	}
	return appendNetstring(b, a.Status.String(), " ", reason(a))
}

// refuse appends the reply to what is no request.
func (p Protocol) refuse(b []byte) []byte {
	if p == TCPTable {
		return append(b, "400 not%20a%20request\n"...)
	}
	return appendNetstring(b, "PERM ", "not a request")
}

func respondTCP(ctx context.Context, b, request []byte, lookup func(context.Context, string) Answer) []byte {
	encoded, ok := bytes.CutPrefix(request, []byte("get "))
	if !ok {
		return appendLine(b, "400 ", "there is the request get, a space and a key")
	}
	key, ok := unescape(encoded)
	if !ok {
		return appendLine(b, "400 ", "the key is not well encoded")
	}
	a := lookup(ctx, key)
	switch a.Status {
	case Found:
		begin := len(b)
		b = appendLine(b, "200 ", a.Text(false))
		if len(b)-begin > maxLine {
			// A part of the names would be no weaker, but would keep mail waiting without
			// saying why.
			return appendLine(b[:begin], "400 ", "the entry is too long for this protocol: use socketmap")
		}
		return b
	case NotFound:
		return appendLine(b, "500 ", "not found")
	}
	return appendLine(b, "400 ", reason(a))
}

// reason returns what is told of Answer.Why: printable ASCII, not too long.
func reason(a Answer) string {
	why := []byte(a.Why)
	if len(why) > maxReason {
		why = append(why[:maxReason-3], "..."...)
	}
	for i, c := range why {
		if c < ' ' || c > '~' {
			why[i] = '?'
		}
	}
	return string(why)
}

// appendLine appends a reply line, its text encoded.
func appendLine(b []byte, code, text string) []byte {
	const digits = "0123456789ABCDEF"
	b = append(b, code...)
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c > '~' || c == '%' {
			b = append(b, '%', digits[c>>4], digits[c&15])
		} else {
			b = append(b, c)
		}
	}
	return append(b, '\n')
}

// unescape decodes a parameter of tcp_table(5). A blank or an octet that is not
// printable must not stand there as it is.
func unescape(text []byte) (string, bool) {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c <= ' ' || c > '~':
			return "", false
		case c != '%':
			out = append(out, c)
		default:
			var octet [1]byte
			if i+2 >= len(text) {
				return "", false
			}
			if _, err := hex.Decode(octet[:], text[i+1:i+3]); err != nil {
				return "", false
			}
			out = append(out, octet[0])
			i += 2
		}
	}
	return string(out), true
}
