package dsn

import (
	"bytes"
	"fmt"
	"io"
	"mime/quotedprintable"
)

// returned is the third part.
type returned struct {
	contentType, encoding string
	data                  []byte
	// whole: it is the message; otherwise its header.
	whole bool
	// why there is no more than the header, for people; "": nobody has to know.
	why string
}

// read takes from the original what is given back. It holds at most MaxReturned or
// MaxHeader octets of it.
func (c *composer) read(original io.Reader) (returned, error) {
	limit := min(c.MaxReturned, MaxReturned)
	wanted := c.failed() && c.Return != ReturnHeaders && !c.RequireTLS && limit > 0
	most := int64(MaxHeader)
	if wanted {
		most = max(most, limit)
	}
	data, err := io.ReadAll(io.LimitReader(original, most+1))
	if err != nil {
		return returned{}, fmt.Errorf("dsn: original: %w", err)
	}
	why := ""
	if wanted {
		body := crlf(data)
		switch {
		case int64(len(data)) > limit:
			why = "it is too large"
		case bytes.IndexByte(body, 0) >= 0:
			why = "it holds octets that mail cannot carry"
		case longest(body) > maxLine:
			why = "it has lines that mail cannot carry"
		default:
			return c.wholeMessage(body), nil
		}
	}
	r := c.headerOnly(headerOf(crlf(data)))
	r.why = why
	return r, nil
}

// failed reports whether a recipient has failed; otherwise RET has no say and the
// header is enough (RFC 3461 section 4.3).
func (c *composer) failed() bool {
	for i := range c.Recipients {
		if c.Recipients[i].action() == Failed {
			return true
		}
	}
	return false
}

// wholeMessage is a message as it is. RFC 2046 section 5.2.1 allows no encoding of it.
func (c *composer) wholeMessage(data []byte) returned {
	r := returned{contentType: "message/rfc822", data: data, whole: true}
	if !ascii(string(data)) {
		r.encoding = "8bit"
	}
	if c.utf8 {
		r.contentType, r.encoding = "message/global", "8bit"
	}
	return r
}

// headerOnly is the header alone. What is not ASCII is encoded, so that no transport
// can mind, or in the forms of RFC 6533 stays as it is.
func (c *composer) headerOnly(data []byte) returned {
	if c.utf8 {
		return returned{contentType: "message/global-headers", encoding: "8bit", data: data}
	}
	r := returned{contentType: "text/rfc822-headers", data: data}
	if !ascii(string(data)) {
		var b bytes.Buffer
		w := quotedprintable.NewWriter(&b)
		w.Write(data) // a bytes.Buffer takes everything
		w.Close()
		r.encoding, r.data = "quoted-printable", b.Bytes()
	}
	return r
}

// crlf makes CRLF of every line end: CRLF, CR or LF.
func crlf(data []byte) []byte {
	out := make([]byte, 0, len(data)+len(data)/32)
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '\r':
			if i+1 < len(data) && data[i+1] == '\n' {
				i++
			}
			out = append(out, '\r', '\n')
		case '\n':
			out = append(out, '\r', '\n')
		default:
			out = append(out, data[i])
		}
	}
	return out
}

// longest returns the length of the longest line.
func longest(data []byte) int {
	most := 0
	for line := range bytes.SplitSeq(data, []byte("\r\n")) {
		most = max(most, len(line))
	}
	return most
}

// headerOf returns the header of a message, which ends at an empty line, at the first
// line that belongs to no field, or at MaxHeader. NUL becomes a question mark, and
// lines that are too long are folded.
func headerOf(data []byte) []byte {
	var out []byte
	for i, line := range bytes.SplitAfter(data, []byte("\r\n")) {
		text, complete := bytes.CutSuffix(line, []byte("\r\n"))
		if len(text) == 0 || !(i > 0 && len(out) > 0 && (text[0] == ' ' || text[0] == '\t')) && !isField(text) {
			break
		}
		if len(out)+len(line) > MaxHeader {
			break
		}
		text = bytes.ReplaceAll(text, []byte{0}, []byte("?"))
		for len(text) > maxLine {
			out = append(out, text[:maxLine]...)
			out = append(out, '\r', '\n')
			text = append([]byte{' '}, text[maxLine:]...)
		}
		out = append(out, text...)
		out = append(out, '\r', '\n')
		if !complete {
			break
		}
	}
	return out
}

// isField reports whether a line begins a header field (RFC 5322 section 2.2).
func isField(line []byte) bool {
	name, _, ok := bytes.Cut(line, []byte(":"))
	name = bytes.TrimRight(name, " \t") // the obsolete syntax of section 4.5
	if !ok || len(name) == 0 {
		return false
	}
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}
