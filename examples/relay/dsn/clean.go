package dsn

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ascii reports whether all octets are below 0x80.
func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// printable reports whether s is UTF-8 without control characters and the like.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !harmless(r) })
}

// harmless reports whether a character can be shown in a line of text: neither a
// control character nor one that is invisible or changes the direction of writing.
func harmless(r rune) bool { return r == ' ' || unicode.IsPrint(r) }

// clean makes one line of printable text of what a stranger wrote: everything else
// becomes a question mark, white space one blank. In the ASCII form that holds for
// all that is not ASCII. It is cut at so many octets.
func (c *composer) clean(s string, most int) string {
	var b strings.Builder
	blank := 0 // of which one is due before the next character
	for _, r := range s {
		switch {
		case r == ' ' || r == '\t' || r == '\r' || r == '\n':
			blank = min(b.Len(), 1)
			continue
		case r == utf8.RuneError || !harmless(r) || !c.utf8 && r >= utf8.RuneSelf:
			r = '?'
		}
		if b.Len()+blank+utf8.RuneLen(r) > most {
			break
		}
		if blank > 0 {
			b.WriteByte(' ')
			blank = 0
		}
		b.WriteRune(r)
	}
	return b.String()
}

// address is an address as it stands in a field: with its type in front. One that is
// not ASCII is "utf-8", in the ASCII form with its characters as \x{...} (RFC 6533
// section 3).
func (c *composer) address(kind, address string) string {
	const most = 600
	if ascii(address) && !strings.EqualFold(kind, "utf-8") {
		return kind + "; " + c.line(address, most)
	}
	if c.utf8 {
		return "utf-8; " + c.line(address, most)
	}
	var b strings.Builder
	for _, r := range address {
		if b.Len() > most {
			break
		}
		if r > ' ' && r < 0x7f && !strings.ContainsRune(`+=\`, r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\x{%X}`, r)
		}
	}
	return "utf-8; " + b.String()
}

// line is clean for addresses, in which a blank may be part of a quoted string.
func (c *composer) line(s string, most int) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if !harmless(r) || !c.utf8 && r >= utf8.RuneSelf {
			return '?'
		}
		return r
	}, s)
	for len(s) > most {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return strings.TrimSpace(s)
}

// fold breaks a line at blanks, so that it comes apart again by leaving out CRLF. A
// word that is longer than a line stays whole.
func fold(s string) string {
	var b strings.Builder
	at := 0
	for i, w := range strings.Split(s, " ") {
		if i > 0 {
			if at+1+len(w) > softLine {
				b.WriteString("\r\n")
				at = 0
			}
			b.WriteByte(' ')
			at++
		}
		b.WriteString(w)
		at += len(w)
	}
	return b.String()
}
