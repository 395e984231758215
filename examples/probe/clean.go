package main

import (
	"reflect"
	"strings"
	"unicode/utf8"
)

const (
	// maxText is the longest text that somebody else wrote, in octets as shown. It
	// holds the longest host name (RFC 1035: 253) twice.
	maxText = 512
	// maxList is how many entries of a list are kept: names in a certificate, patterns
	// of a policy, TLSA records.
	maxList = 64
)

// clean returns text as printable ASCII: control characters, escape sequences, text
// that runs backwards and all else that could deceive whoever reads it on a terminal
// is escaped as in a Go string, and what is too long is cut.
func clean(text string) string {
	if len(text) <= maxText && strings.IndexFunc(text, func(c rune) bool { return c < ' ' || c > '~' }) < 0 {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		c, size := utf8.DecodeRuneInString(text[i:])
		room := maxText - b.Len()
		if room < len(`\U0010ffff...`) {
			b.WriteString("...")
			break
		}
		switch {
		case ' ' <= c && c <= '~':
			b.WriteByte(byte(c))
		case c == utf8.RuneError && size == 1:
			b.WriteString(`\x` + digits(rune(text[i]), 2))
		case c < 0x80:
			b.WriteString(`\x` + digits(c, 2))
		case c < 0x10000:
			b.WriteString(`\u` + digits(c, 4))
		default:
			b.WriteString(`\U` + digits(c, 8))
		}
		i += size
	}
	return b.String()
}

// digits returns the last n hexadecimal digits of c.
func digits(c rune, n int) string {
	const hex = "0123456789abcdef"
	b := make([]byte, n)
	for i := n - 1; i >= 0; i-- {
		b[i] = hex[c&15]
		c >>= 4
	}
	return string(b)
}

// neutralise cleans every text in what p points to and cuts every list, so that no
// field can be forgotten.
func neutralise(p any) { neutraliseValue(reflect.ValueOf(p).Elem()) }

func neutraliseValue(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(clean(v.String()))
	case reflect.Pointer:
		if !v.IsNil() {
			neutraliseValue(v.Elem())
		}
	case reflect.Slice:
		if v.Len() > maxList {
			v.Set(v.Slice(0, maxList).Convert(v.Type()))
		}
		for i := range v.Len() {
			neutraliseValue(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				neutraliseValue(v.Field(i))
			}
		}
	}
}
