package certs

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLabel bounds the label of a PEM boundary; the longest one in use has 23 octets.
const maxLabel = 40

// The labels that are read (RFC 7468 sections 5, 10, 11 and 13, and the forms
// that OpenSSL writes).
const (
	labelCertificate  = "CERTIFICATE"
	labelPKCS8        = "PRIVATE KEY"
	labelEncrypted    = "ENCRYPTED PRIVATE KEY"
	labelPKCS1        = "RSA PRIVATE KEY"
	labelSEC1         = "EC PRIVATE KEY"
	labelECParameters = "EC PARAMETERS"
	labelRequest      = "CERTIFICATE REQUEST"
)

// pemReader goes through a text line by line. The zero values of its positions
// are the start.
type pemReader struct {
	data   []byte
	pos    int
	line   int    // number of the line in text
	text   []byte // the line, without blanks at either end
	unread bool   // the line is to be delivered again
	base64 []byte // the current block's lines, joined
	key    bool   // a boundary, good or bad, spoke of a private key
}

// pemBlock is what stands between two boundaries.
type pemBlock struct {
	label     string
	line      int // of BEGIN
	start     int // offset of the line behind BEGIN
	number    int // counted from 1
	headers   bool
	encrypted bool // by the old scheme of OpenSSL, with Proc-Type and DEK-Info
	der       []byte
}

type boundaryKind uint8

const (
	noBoundary boundaryKind = iota
	beginBoundary
	endBoundary
	badBoundary
)

var (
	begin         = []byte("-----BEGIN ")
	end           = []byte("-----END ")
	dashes        = []byte("-----")
	byteOrderMark = []byte("\xef\xbb\xbf")
)

// advance goes to the next line; lines end with LF, CRLF or a lone CR.
func (p *pemReader) advance() bool {
	if p.unread {
		p.unread = false
		return true
	}
	if p.pos == 0 && bytes.HasPrefix(p.data, byteOrderMark) {
		p.pos = len(byteOrderMark)
	}
	if p.pos >= len(p.data) {
		return false
	}
	rest := p.data[p.pos:]
	n := bytes.IndexAny(rest, "\r\n")
	switch {
	case n < 0:
		n = len(rest)
		p.pos += n
	case rest[n] == '\r' && n+1 < len(rest) && rest[n+1] == '\n':
		p.pos += n + 2
	default:
		p.pos += n + 1
	}
	p.line++
	p.text = trimBlanks(rest[:n])
	return true
}

func trimBlanks(b []byte) []byte { return bytes.Trim(b, " \t\v\f") }

// comment reports whether the line is one, and whether a boundary stands in it.
func (p *pemReader) comment() (is, boundary bool) {
	if len(p.text) == 0 || p.text[0] != '#' {
		return false, false
	}
	return true, bytes.Contains(p.text, begin) || bytes.Contains(p.text, end)
}

// boundary says what the line is, and what is wrong with a boundary that is none.
func (p *pemReader) boundary() (kind boundaryKind, label, problem string) {
	kind, label, problem = boundary(p.text)
	if kind != noBoundary && bytes.Contains(bytes.ToUpper(p.text), []byte(labelPKCS8)) {
		p.key = true
	}
	return kind, label, problem
}

// boundary judges one line. What a person would take for a boundary is never passed
// over as text: that would drop a block in silence.
func boundary(t []byte) (kind boundaryKind, label, problem string) {
	for _, edge := range []struct {
		prefix []byte
		kind   boundaryKind
		name   string
	}{{begin, beginBoundary, "BEGIN"}, {end, endBoundary, "END"}} {
		i := bytes.Index(t, edge.prefix)
		if i < 0 {
			continue
		}
		if i > 0 {
			return badBoundary, "", "text in front of " + edge.name + " on the same line"
		}
		name, closed := bytes.CutSuffix(t[len(edge.prefix):], dashes)
		if !closed || !validLabel(name) {
			return badBoundary, "", "malformed " + edge.name + " line"
		}
		return edge.kind, string(name), ""
	}
	if looksLikeBoundary(t) {
		return badBoundary, "", "malformed boundary: it needs five hyphens, BEGIN or END, a label and five hyphens"
	}
	return noBoundary, "", ""
}

// validLabel is narrower than RFC 7468 section 3, which allows everything
// printable: errors repeat labels, and a line of base64 in the place of a label may
// be part of a key.
func validLabel(label []byte) bool {
	if len(label) == 0 || len(label) > maxLabel || label[0] == ' ' || label[len(label)-1] == ' ' {
		return false
	}
	for _, c := range label {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != ' ' && c != '#' {
			return false
		}
	}
	return true
}

// looksLikeBoundary finds boundaries with too few hyphens, in lower case, or with
// the dashes of a word processor, and lets pass what is text: "- end certificate" in a
// list of items, "--- end of the chain ---".
func looksLikeBoundary(t []byte) bool {
	rest := bytes.TrimLeftFunc(t, isDash)
	count := utf8.RuneCount(t[:len(t)-len(rest)])
	if count == 0 || count == 1 && len(trimBlanks(rest)) < len(rest) {
		return false
	}
	words := bytes.ToUpper(trimBlanks(rest[:min(len(rest), 2*maxLabel)]))
	label, ok := bytes.CutPrefix(words, []byte("BEGIN"))
	if !ok {
		label, ok = bytes.CutPrefix(words, []byte("END"))
	}
	if !ok {
		return false
	}
	label = trimBlanks(label)
	for _, kind := range []string{"RSA ", "EC ", "DSA ", "ENCRYPTED ", "OPENSSH ", "TRUSTED ", "X509 "} {
		label = bytes.TrimPrefix(label, []byte(kind))
	}
	return bytes.HasPrefix(label, []byte(labelCertificate)) || bytes.HasPrefix(label, []byte(labelPKCS8))
}

// isDash takes octets that are not UTF-8 for the dashes of other encodings.
func isDash(r rune) bool { return unicode.Is(unicode.Pd, r) || r == '\u2212' || r == utf8.RuneError }

// block reads on from a BEGIN line to its END and decodes what is between. With
// an error the reader stands behind the block, or in front of the next BEGIN.
func (p *pemReader) block(label string, number int) (pemBlock, error) {
	b := pemBlock{label: label, line: p.line, start: p.pos, number: number}
	fail := func(line int, format string, args ...any) (pemBlock, error) {
		return b, b.fail(line, fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...))
	}
	p.makeRoom()
	inHeaders := true
	for p.advance() {
		switch kind, name, problem := p.boundary(); {
		case kind == beginBoundary:
			p.unread = true
			return fail(b.line, "no END before the next BEGIN in line %d", p.line)
		case kind == badBoundary:
			return fail(p.line, "%s", problem)
		case kind == endBoundary && name != label:
			return fail(p.line, "END %q closes BEGIN %q", name, label)
		case kind == endBoundary:
			return b, p.decode(&b)
		}
		if inHeaders && bytes.IndexByte(p.text, ':') > 0 {
			b.headers = true
			b.encrypted = b.encrypted || bytes.HasPrefix(p.text, []byte("Proc-Type:")) && bytes.Contains(p.text, []byte("ENCRYPTED"))
			continue
		}
		inHeaders = false
		p.base64 = append(p.base64, p.text...)
	}
	return fail(b.line, "no END")
}

// makeRoom empties base64 and makes it large enough for the block, so that it does not
// grow: growing would leave copies of a key behind.
func (p *pemReader) makeRoom() {
	rest := p.data[p.pos:]
	if n := bytes.Index(rest, dashes); n >= 0 {
		rest = rest[:n]
	}
	if len(rest) > cap(p.base64) {
		zero(p.base64[:cap(p.base64)])
		p.base64 = make([]byte, 0, len(rest))
	}
	p.base64 = p.base64[:0]
}

func (p *pemReader) decode(b *pemBlock) error {
	if len(p.base64) == 0 {
		return b.fail(b.line, fmt.Errorf("%w: nothing between BEGIN and END", ErrMalformed))
	}
	b.der = make([]byte, base64.StdEncoding.DecodedLen(len(p.base64)))
	n, err := base64.StdEncoding.Strict().Decode(b.der, p.base64)
	if err != nil {
		zero(b.der)
		line := b.line
		if at, ok := errors.AsType[base64.CorruptInputError](err); ok {
			line = p.lineOf(b, int(at))
		}
		return b.fail(line, fmt.Errorf("%w: bad base64", ErrMalformed))
	}
	b.der = b.der[:n]
	return nil
}

// lineOf finds the line of an offset into the block's joined base64 lines.
func (p *pemReader) lineOf(b *pemBlock, offset int) int {
	again := pemReader{data: p.data, pos: b.start, line: b.line}
	inHeaders := true
	for again.advance() && again.line < p.line {
		if inHeaders && bytes.IndexByte(again.text, ':') > 0 {
			continue
		}
		inHeaders = false
		if offset < len(again.text) {
			return again.line
		}
		offset -= len(again.text)
	}
	return p.line
}

func (b *pemBlock) fail(line int, err error) error {
	return &ParseError{Line: line, Block: b.number, Label: b.label, Err: err}
}

// labelError says why a label is not read, and what to do.
func labelError(label string) error {
	what := fmt.Sprintf("a PEM block %q", label)
	switch label {
	case "TRUSTED CERTIFICATE", "X509 CERTIFICATE":
		return &UnsupportedError{What: what, Hint: "openssl x509 -in old.pem -out new.pem"}
	case "PKCS7", "PKCS #7 SIGNED DATA":
		return &UnsupportedError{What: what, Hint: hintPKCS7PEM}
	case "CMS":
		return &UnsupportedError{What: what, Hint: hintCMS}
	case "OPENSSH PRIVATE KEY":
		return &UnsupportedError{What: what, Hint: "ssh-keygen -p -m PKCS8 -f key"}
	case labelRequest, "NEW " + labelRequest:
		return errRequest
	case "PUBLIC KEY", "RSA PUBLIC KEY":
		return &UnsupportedError{What: what + ", which is neither a certificate nor a private key,"}
	}
	return &UnsupportedError{What: what}
}

// errRequest is for those who mix up the two things that go to and fro.
var errRequest = &UnsupportedError{What: "a certificate request (it goes to the authority, and what it sends back is the certificate)"}

func isKeyLabel(label string) bool { return strings.HasSuffix(label, labelPKCS8) }

// appendPEMBlock appends a block with lines of 64 characters (RFC 7468 section 2).
func appendPEMBlock(dst []byte, label string, der []byte) []byte {
	block := pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
	dst = append(dst, block...)
	zero(block)
	return dst
}
