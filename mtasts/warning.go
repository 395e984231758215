package mtasts

import "fmt"

// WarningCode says what a parser tolerated, or found legal but unwise.
type WarningCode uint8

// Those marked (tolerant) mark text that strict parsing refuses.
const (
	WarnBOM               WarningCode = iota + 1 // (tolerant) byte order mark at the start, dropped
	WarnEmptyLine                                // (tolerant) line without field, dropped
	WarnBlank                                    // (tolerant) blank before a name or before the colon
	WarnLineEnd                                  // (tolerant) CR too many before LF, or CR at the end
	WarnLineIgnored                              // (tolerant) line without colon or with a malformed name
	WarnFieldIgnored                             // (tolerant) field with a malformed value, ignored
	WarnPatternIgnored                           // (tolerant) malformed mx, ignored
	WarnPatternDot                               // (tolerant) trailing dot on a pattern, dropped
	WarnPatternUnderscore                        // (tolerant) underscore in a pattern
	WarnPatternULabel                            // (tolerant) U-label in a pattern, converted
	WarnMaxAgeDigits                             // (tolerant) max_age of more than ten digits, clamped
	WarnEmptyField                               // (tolerant) nothing between two semicolons of a record
	WarnTrailing                                 // (tolerant) blank, CR or LF after the last field of a record

	WarnMaxAgeClamped    // max_age above a year, clamped (RFC 8461 section 3.2)
	WarnMaxAgeShort      // max_age below a day
	WarnDuplicateField   // field given twice, the first counts
	WarnDuplicatePattern // pattern given twice
	WarnNeverMatches     // pattern whose last label is a number: an address, not a name
	WarnALabel           // xn-- label that cannot be decoded: matches only itself
	WarnWildcardTLD      // wildcard directly below a top-level domain
	WarnUnknownField     // field that RFC 8461 does not define
	WarnOneLabel         // enforce with a pattern of one label
	WarnLineSeparator    // NEL, U+2028 or U+2029 inside a value: not a line end here, but elsewhere
)

var warningNames = [...]string{
	WarnBOM: "bom", WarnEmptyLine: "empty-line", WarnBlank: "blank", WarnLineEnd: "line-end",
	WarnLineIgnored: "line-ignored", WarnFieldIgnored: "field-ignored", WarnPatternIgnored: "pattern-ignored",
	WarnPatternDot: "pattern-dot", WarnPatternUnderscore: "pattern-underscore", WarnPatternULabel: "pattern-u-label",
	WarnMaxAgeDigits: "max-age-digits", WarnEmptyField: "empty-field", WarnTrailing: "trailing",
	WarnMaxAgeClamped: "max-age-clamped", WarnMaxAgeShort: "max-age-short", WarnDuplicateField: "duplicate-field",
	WarnDuplicatePattern: "duplicate-pattern", WarnNeverMatches: "never-matches", WarnALabel: "a-label",
	WarnWildcardTLD: "wildcard-tld", WarnUnknownField: "unknown-field", WarnOneLabel: "one-label",
	WarnLineSeparator: "line-separator",
}

// String returns the code's stable name, such as "max-age-clamped".
func (c WarningCode) String() string {
	if int(c) < len(warningNames) && warningNames[c] != "" {
		return warningNames[c]
	}
	return fmt.Sprintf("WarningCode(%d)", uint8(c))
}

// Warning is something in a record or policy that did not stop its parser.
type Warning struct {
	Code   WarningCode
	Line   int    // from 1
	Col    int    // octet in the line, from 1
	Field  string // name of the field, if it has one
	Detail string // the text in question
}

// String returns the warning as one line of text.
func (w Warning) String() string {
	return fmt.Sprintf("line %d column %d: %s: %s %q", w.Line, w.Col, w.Code, w.Field, clip(w.Detail))
}
