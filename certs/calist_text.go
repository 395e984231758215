package certs

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxCommentText bounds what a comment repeats of a certificate's names.
const maxCommentText = 256

// The text form of a list is a sequence of PEM blocks with comments that say
// which certificate each one is. Two kinds of comment are read back: those of the
// head, and the dates of distrust. The latter name their certificate, so that
// blocks can be deleted and moved in an editor without their comments going over
// to a neighbour.
const (
	headTitle     = "# Certificate authorities"
	headList      = "# List: "
	headVersion   = "# Version: "
	headUpdated   = "# Updated: "
	headCount     = "# Certificates: "
	distrustAfter = "# Distrust-After: " // RFC 3339 time, blank, SHA-256 of the certificate
)

// mozillaDates open the line of curl's cacert.pem that dates it. The wording has
// changed over the years.
var mozillaDates = []string{
	"## Certificate data from Mozilla as of: ",
	"## Certificate data from Mozilla last updated on: ",
}

const mozillaDateLayout = "Mon Jan _2 15:04:05 2006 MST"

// appendText writes the list as text.
func (l *caList) appendText(dst []byte) []byte {
	line := func(parts ...string) {
		for _, part := range parts {
			dst = append(dst, part...)
		}
		dst = append(dst, '\n')
	}
	size := 1024
	for i := range l.entries {
		size += 1024 + len(l.entries[i].cert.Raw)*3/2 // comments; base64 with line ends
	}
	dst = slices.Grow(dst, size)
	line(headTitle)
	line(headList, l.id.String())
	if l.version != "" {
		line(headVersion, printable(l.version))
	}
	if !l.updated.IsZero() {
		line(headUpdated, l.updated.UTC().Format(time.RFC3339))
	}
	line(headCount, strconv.Itoa(len(l.entries)))
	line("#")
	line("# To remove an authority, delete its block from BEGIN to END and import the rest.")
	line("# A Distrust-After line limits the authority that it names, wherever it stands.")
	for i := range l.entries {
		e := &l.entries[i]
		line()
		line("# Subject: ", commentText(subjectText(e.cert)))
		line("# Issuer: ", commentText(issuerText(e.cert)))
		line("# Serial: ", commentText(serialText(e.cert)))
		line("# SHA-256: ", hex.EncodeToString(e.sum[:]))
		line("# Valid: ", e.cert.NotBefore.UTC().Format(time.RFC3339), " to ", e.cert.NotAfter.UTC().Format(time.RFC3339))
		if !e.distrustAfter.IsZero() {
			line(distrustAfter, e.distrustAfter.Format(time.RFC3339), " ", hex.EncodeToString(e.sum[:]))
		}
		dst = appendCertificatePEM(dst, e.cert)
	}
	return dst
}

// caText is what the text form of a list says.
type caText struct {
	entries  []caEntry
	findings []Finding
	version  string
	updated  time.Time
	empty    bool // the text says that the list has no certificate, and has none
}

// parseCAText reads a list from PEM text, or a certificate from DER. It fails as
// a whole; with lenient, unusable blocks are findings.
func parseCAText(data []byte, lenient bool) (caText, error) {
	var t caText
	if len(data) > MaxListInput {
		return t, fmt.Errorf("certs: list of authorities: %w", tooManyOctets(MaxListInput))
	}
	var limits map[[sha256.Size]byte]time.Time
	if !looksLikeDER(data) {
		var err error
		if limits, err = t.readComments(data); err != nil {
			return caText{}, err
		}
		if t.empty {
			return t, nil
		}
	}
	m, err := ReadBytes(data, ReadOptions{List: true, Lenient: lenient})
	if err != nil {
		return caText{}, err
	}
	if len(m.Certificates) == 0 {
		return caText{}, fmt.Errorf("certs: list of authorities: %w", ErrNoCertificate)
	}
	t.findings = m.Findings
	t.entries = make([]caEntry, len(m.Certificates))
	for i, cert := range m.Certificates {
		t.entries[i] = newEntry(cert, time.Time{})
		t.entries[i].distrustAfter = limits[t.entries[i].sum]
	}
	return t, nil
}

// readComments reads the comments that mean something.
func (t *caText) readComments(data []byte) (map[[sha256.Size]byte]time.Time, error) {
	limits := make(map[[sha256.Size]byte]time.Time)
	head, ours, saysNone := true, false, false
	for p := (&pemReader{data: data}); p.advance(); {
		if is, _ := p.comment(); !is {
			kind, _, _ := p.boundary()
			head = head && kind == noBoundary
			continue
		}
		text := string(p.text)
		if rest, ok := cutDistrust(text); ok {
			sum, date, err := parseDistrust(rest)
			if err != nil {
				return nil, &ParseError{Line: p.line, Err: err}
			}
			limits[sum] = stricter(limits[sum], date)
		} else if head {
			ours = ours || text == headTitle
			saysNone = saysNone || text == headCount+"0"
			t.readHead(text)
		}
	}
	t.empty = head && ours && saysNone // head: not one block has begun
	return limits, nil
}

func (t *caText) readHead(line string) {
	if version, ok := strings.CutPrefix(line, headVersion); ok {
		t.version = clip(printable(strings.TrimSpace(version)))
		return
	}
	if text, ok := strings.CutPrefix(line, headUpdated); ok {
		if date, err := time.Parse(time.RFC3339, strings.TrimSpace(text)); err == nil {
			t.updated = date.UTC()
		}
		return
	}
	for _, prefix := range mozillaDates {
		if text, ok := strings.CutPrefix(line, prefix); ok {
			if date, err := time.Parse(mozillaDateLayout, strings.TrimSpace(text)); err == nil {
				t.updated = date.UTC()
			}
		}
	}
}

// validDistrust reports whether a date of distrust can be written and read back:
// RFC 3339 has years of four digits, and time zones that lead out of them.
func validDistrust(date time.Time) bool { return date.Unix() >= 0 && date.UTC().Year() <= 9999 }

// cutDistrust returns what follows the words of a Distrust-After line. Whoever
// edits a list may change its blanks, its case and the number of its signs, and
// must not lose the date by that.
func cutDistrust(comment string) (rest string, ok bool) {
	word := strings.Trim(distrustAfter, "#: ")
	text := strings.TrimLeft(comment, "# \t")
	if len(text) < len(word) || !strings.EqualFold(text[:len(word)], word) {
		return "", false
	}
	return strings.TrimLeft(text[len(word):], ": \t"), true
}

// parseDistrust reads the rest of a Distrust-After line. One that cannot be
// understood is an error: to ignore it would be to trust more than the text asks for.
func parseDistrust(text string) (sum [sha256.Size]byte, date time.Time, err error) {
	fields := strings.Fields(text)
	if len(fields) == 2 && len(fields[1]) == hex.EncodedLen(len(sum)) {
		_, err = hex.Decode(sum[:], []byte(fields[1]))
		if err == nil {
			date, err = time.Parse(time.RFC3339, fields[0])
		}
		if err == nil && validDistrust(date) {
			return sum, date.UTC().Truncate(time.Second), nil
		}
	}
	return sum, date, fmt.Errorf("%w: a Distrust-After line wants a time such as 2026-04-15T23:59:59Z and the SHA-256 of the certificate in 64 hexadecimal digits", ErrMalformed)
}

// commentText returns foreign text for a comment.
func commentText(s string) string { return printable(clipTo(s, maxCommentText)) }

func serialText(cert *x509.Certificate) string {
	if cert.SerialNumber == nil {
		return ""
	}
	octets := cert.SerialNumber.Bytes()
	if len(octets) == 0 {
		octets = []byte{0}
	}
	text := make([]byte, 0, 3*len(octets))
	for i, octet := range octets {
		if i > 0 {
			text = append(text, ':')
		}
		text = hex.AppendEncode(text, []byte{octet})
	}
	return string(text)
}
