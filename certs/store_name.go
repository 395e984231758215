package certs

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxEscaped bounds the folder of an entry in octets: half of what file systems
// allow.
const maxEscaped = 128

// reservedNames are devices to some systems, with any suffix behind a dot.
var reservedNames = []string{"con", "prn", "aux", "nul",
	"com0", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9",
	"lpt0", "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9"}

// EscapeName returns the name of the folder in which the directory storage keeps
// the entry of this name: in lower case, since letter case makes no other entry, with
// everything but letters, digits, "-", "_" and "." as %XX. A dot at either end and
// the first letter of a device's name (NUL, COM1) are escaped, too.
//
// A name that is empty, not UTF-8, has control characters or takes more than 128
// octets is a *FieldError.
func EscapeName(name string) (string, error) {
	fail := func(problem string) (string, error) {
		return "", &FieldError{Field: "Name", Value: name, Problem: problem}
	}
	switch {
	case name == "":
		return fail("a name is required")
	case len(name) > maxEscaped:
		return fail(fmt.Sprintf("longer than %d octets", maxEscaped))
	case !utf8.ValidString(name):
		return fail("not valid UTF-8")
	case strings.ContainsFunc(name, unicode.IsControl):
		return fail("control characters are not allowed")
	}
	name = foldName(name)
	base, _, _ := strings.Cut(name, ".")
	device := slices.Contains(reservedNames, base)
	out := make([]byte, 0, len(name))
	for i := range len(name) {
		edge := i == 0 || i == len(name)-1
		switch c := name[i]; {
		case i == 0 && device, c == '.' && edge:
			out = fmt.Appendf(out, "%%%02X", c)
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
			out = append(out, c)
		default:
			out = fmt.Appendf(out, "%%%02X", c)
		}
	}
	if len(out) > maxEscaped {
		return "", &FieldError{Field: "Name", Value: name, Problem: fmt.Sprintf("longer than %d octets when written as a file name", maxEscaped)}
	}
	return string(out), nil
}

// unescapeName is the reverse of EscapeName, false for a folder that it never
// returns: one of somebody else.
func unescapeName(folder string) (string, bool) {
	out := make([]byte, 0, len(folder))
	for i := 0; i < len(folder); i++ {
		if folder[i] != '%' {
			out = append(out, folder[i])
			continue
		}
		if i+2 >= len(folder) {
			return "", false
		}
		hi, lo := strings.IndexByte(hexDigits, folder[i+1]), strings.IndexByte(hexDigits, folder[i+2])
		if hi < 0 || lo < 0 {
			return "", false
		}
		out = append(out, byte(hi<<4|lo))
		i += 2
	}
	name := string(out)
	again, err := EscapeName(name)
	return name, err == nil && again == folder
}

const hexDigits = "0123456789ABCDEF"

// foldName brings names that differ in letter case alone to one form.
func foldName(name string) string {
	return strings.Map(func(r rune) rune {
		least := r // of those that simple folding takes for equal
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return unicode.ToLower(least)
	}, name)
}
