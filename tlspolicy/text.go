package tlspolicy

import (
	"strconv"
	"strings"
)

// MaxText is the longest text in octets that the Parse functions and
// UnmarshalText methods look at. The longest spelling in use, "TLS – Required
// Verify Hosted Domains", has 38.
const MaxText = 64

// ParseError says that a text does not name a value of a settings type.
type ParseError struct {
	Type  string // the settings type: "Mode", "DANE", "MTASTS" or "Fallback"
	Input string // the text as it came in
}

// Error names the text and lists the canonical values. "default" stands apart,
// since it is a value of entries in a destination table only: settings that
// still have it are refused by [Plan].
func (e *ParseError) Error() string {
	input := e.Input
	if len(input) > MaxText {
		input = input[:MaxText] + "..."
	}
	text := "tlspolicy: " + strconv.Quote(input) + " is no value of " + e.Type
	if names := canonical(e.Type); len(names) > 1 {
		text += "; use one of " + strings.Join(names[1:], ", ") + "; or " + names[0] + " in a destination table, to inherit"
	}
	return text
}

var (
	modeNames = [...]string{"default", "no", "preferred", "required", "preferred-verify",
		"required-verify", "required-verify-hosted"}
	daneNames     = [...]string{"default", "none", "opportunistic", "mandatory"}
	mtastsNames   = [...]string{"default", "off", "on"}
	fallbackNames = [...]string{"default", "after-220", "always", "before-220"}
)

// canonical returns the texts that the values of a settings type are written as.
func canonical(typ string) []string {
	switch typ {
	case "Mode":
		return modeNames[:]
	case "DANE":
		return daneNames[:]
	case "MTASTS":
		return mtastsNames[:]
	case "Fallback":
		return fallbackNames[:]
	}
	return nil
}

// fold returns what is left of text without letter case, without the separators
// that people put between words, and without "tls" in front if something
// follows it. It is written to buf. A text that is too long or has any other
// octet gives nil, which names no value.
func fold(buf *[MaxText]byte, text string) []byte {
	if len(text) > MaxText {
		return nil
	}
	key := buf[:0]
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			key = append(key, c)
		case 'A' <= c && c <= 'Z':
			key = append(key, c+'a'-'A')
		case c == ' ', c == '\t', c == '-', c == '_', c == '(', c == ')', c == '.':
		case strings.HasPrefix(text[i:], "\u00a0"): // no-break space
			i += len("\u00a0") - 1
		case strings.HasPrefix(text[i:], "\u2013"), strings.HasPrefix(text[i:], "\u2014"): // en dash, em dash
			i += len("\u2013") - 1
		default:
			return nil
		}
	}
	if len(key) > 3 && string(key[:3]) == "tls" {
		key = key[3:]
	}
	return key
}

// ParseMode returns the Mode that a text names. Letter case, spaces, hyphens,
// dashes, underscores, dots and parentheses do not count, nor does "TLS" in
// front, so that the spellings of the AsyncOS chapter, its menus and its
// command line are all read: "required-verify", "Required (Verify)",
// "TLS Required - Verify", "5", "5. Required (Verify)". A number must agree
// with the name behind it.
//
// Empty text is an error: what nobody has set must not choose a policy. All
// errors are *[ParseError]. It does not allocate on success.
func ParseMode(text string) (Mode, error) {
	var buf [MaxText]byte
	if v, ok := lookupMode(fold(&buf, text)); ok {
		return v, nil
	}
	return 0, &ParseError{"Mode", text}
}

// UnmarshalText reads the texts that [ParseMode] reads. On error m keeps its
// value.
func (m *Mode) UnmarshalText(text []byte) error {
	v, err := ParseMode(string(text))
	if err == nil {
		*m = v
	}
	return err
}

func lookupMode(key []byte) (Mode, bool) {
	if len(key) == 0 {
		return 0, false
	}
	if key[0] < '0' || key[0] > '9' {
		return modeByName(key)
	}
	number := Mode(key[0] - '0')
	if number < No || number > RequiredVerifyHosted {
		return 0, false
	}
	if len(key) == 1 {
		return number, true
	}
	named, ok := modeByName(key[1:])
	return number, ok && named == number
}

func modeByName(key []byte) (Mode, bool) {
	switch string(key) {
	case "default", "inherit":
		return ModeDefault, true
	case "no", "none", "off":
		return No, true
	case "preferred", "on":
		return Preferred, true
	case "required", "require":
		return Required, true
	case "preferredverify", "onverify":
		return PreferredVerify, true
	case "requiredverify", "requireverify":
		return RequiredVerify, true
	case "requiredverifyhosted", "requiredverifyhosteddomain", "requiredverifyhosteddomains":
		return RequiredVerifyHosted, true
	}
	return 0, false
}

// ParseDANE returns the DANE setting that a text names. It reads text as
// [ParseMode] does, but no numbers: the chapter's menus give none.
func ParseDANE(text string) (DANE, error) {
	var buf [MaxText]byte
	if v, ok := lookupDANE(fold(&buf, text)); ok {
		return v, nil
	}
	return 0, &ParseError{"DANE", text}
}

// UnmarshalText reads the texts that [ParseDANE] reads. On error d keeps its
// value.
func (d *DANE) UnmarshalText(text []byte) error {
	v, err := ParseDANE(string(text))
	if err == nil {
		*d = v
	}
	return err
}

func lookupDANE(key []byte) (DANE, bool) {
	switch string(key) {
	case "default", "inherit":
		return DANEDefault, true
	case "none", "no", "off":
		return DANENone, true
	case "opportunistic":
		return DANEOpportunistic, true
	case "mandatory":
		return DANEMandatory, true
	}
	return 0, false
}

// ParseMTASTS returns the MTA-STS setting that a text names. It reads text as
// [ParseMode] does, but no numbers.
func ParseMTASTS(text string) (MTASTS, error) {
	var buf [MaxText]byte
	if v, ok := lookupMTASTS(fold(&buf, text)); ok {
		return v, nil
	}
	return 0, &ParseError{"MTASTS", text}
}

// UnmarshalText reads the texts that [ParseMTASTS] reads. On error m keeps its
// value.
func (m *MTASTS) UnmarshalText(text []byte) error {
	v, err := ParseMTASTS(string(text))
	if err == nil {
		*m = v
	}
	return err
}

func lookupMTASTS(key []byte) (MTASTS, bool) {
	switch string(key) {
	case "default", "inherit":
		return MTASTSDefault, true
	case "off", "no", "disabled", "false":
		return Off, true
	case "on", "yes", "enabled", "true":
		return On, true
	}
	return 0, false
}

// ParseFallback returns the Fallback setting that a text names. It reads text as
// [ParseMode] does, but no numbers in front.
func ParseFallback(text string) (Fallback, error) {
	var buf [MaxText]byte
	if v, ok := lookupFallback(fold(&buf, text)); ok {
		return v, nil
	}
	return 0, &ParseError{"Fallback", text}
}

// UnmarshalText reads the texts that [ParseFallback] reads. On error f keeps its
// value.
func (f *Fallback) UnmarshalText(text []byte) error {
	v, err := ParseFallback(string(text))
	if err == nil {
		*f = v
	}
	return err
}

func lookupFallback(key []byte) (Fallback, bool) {
	switch string(key) {
	case "default", "inherit":
		return FallbackDefault, true
	case "after220":
		return FallbackAfter220, true
	case "always":
		return FallbackAlways, true
	case "before220":
		return FallbackBefore220, true
	}
	return 0, false
}

// String returns the canonical text, such as "required-verify".
func (m Mode) String() string { return nameOf(modeNames[:], uint8(m), "Mode") }

// AppendText appends the canonical text; a value out of range is an error.
func (m Mode) AppendText(b []byte) ([]byte, error) {
	return appendName(b, modeNames[:], uint8(m), "Mode")
}

// MarshalText returns the canonical text; a value out of range is an error.
func (m Mode) MarshalText() ([]byte, error) { return m.AppendText(nil) }

// String returns the canonical text, such as "opportunistic".
func (d DANE) String() string { return nameOf(daneNames[:], uint8(d), "DANE") }

// AppendText appends the canonical text; a value out of range is an error.
func (d DANE) AppendText(b []byte) ([]byte, error) {
	return appendName(b, daneNames[:], uint8(d), "DANE")
}

// MarshalText returns the canonical text; a value out of range is an error.
func (d DANE) MarshalText() ([]byte, error) { return d.AppendText(nil) }

// String returns the canonical text: "default", "off" or "on".
func (m MTASTS) String() string { return nameOf(mtastsNames[:], uint8(m), "MTASTS") }

// AppendText appends the canonical text; a value out of range is an error.
func (m MTASTS) AppendText(b []byte) ([]byte, error) {
	return appendName(b, mtastsNames[:], uint8(m), "MTASTS")
}

// MarshalText returns the canonical text; a value out of range is an error.
func (m MTASTS) MarshalText() ([]byte, error) { return m.AppendText(nil) }

// String returns the canonical text, such as "after-220".
func (f Fallback) String() string { return nameOf(fallbackNames[:], uint8(f), "Fallback") }

// AppendText appends the canonical text; a value out of range is an error.
func (f Fallback) AppendText(b []byte) ([]byte, error) {
	return appendName(b, fallbackNames[:], uint8(f), "Fallback")
}

// MarshalText returns the canonical text; a value out of range is an error.
func (f Fallback) MarshalText() ([]byte, error) { return f.AppendText(nil) }
