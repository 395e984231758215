package mtasts

import (
	"strings"
	"time"
	"unicode/utf8"
)

const (
	byteOrderMark = "\ufeff"
	// maxAgeDigits is the length of sts-policy-max-age (RFC 8461 section 3.2).
	maxAgeDigits = 10
	// maxAgeDigitsTolerant is how many digits still are an honest mistake;
	// their value fits in 63 bits.
	maxAgeDigitsTolerant = 18
	// fewExtensions is up to how many fields a search for a repeated name
	// goes through the list instead of a map.
	fewExtensions = 16
)

// Policy reads a policy file into dst, whose strings then are parts of text and
// whose lists reuse the room they have: nothing is allocated while that suffices
// and the patterns are lower-case already. After an error dst is without use.
// The error is a *SyntaxError that matches ErrPolicySyntax.
//
// Of a repeated field other than mx the first counts (RFC 8461 section 3.2).
// Tolerant mode ignores what it can do without: blank lines, lines that are no
// field, malformed values of unknown fields, malformed mx as long as one is
// good. It never guesses version, mode or max_age.
func (p Parser) Policy(text string, dst *Policy) error {
	*dst = Policy{MX: dst.MX[:0], Extensions: dst.Extensions[:0]}
	r := policyReader{Parser: p, dst: dst}
	if p.Mode != Strict && strings.HasPrefix(text, byteOrderMark) {
		p.warn(WarnBOM, 1, 1, "", byteOrderMark)
		r.col = len(byteOrderMark)
		text = text[r.col:]
	}
	for text != "" {
		var line string
		ended := false
		if i := strings.IndexByte(text, '\n'); i >= 0 {
			line, text, ended = text[:i], text[i+1:], true
		} else {
			line, text = text, ""
		}
		r.line++
		if err := r.readLine(line, ended); err != nil {
			return err
		}
		r.length = r.col + len(line)
		r.col = 0
	}
	return r.finish()
}

// policyReader is the state of one reading.
type policyReader struct {
	Parser
	dst    *Policy
	line   int // number of the current line
	col    int // octets of it that were dropped before reading
	length int // length of the last line read

	seen       [fieldMaxAge + 1]bool
	extensions map[string]struct{} // names in dst.Extensions, once they are many
	patterns   map[string]struct{} // patterns so far, for warnings alone
	badPattern *SyntaxError        // first malformed mx in tolerant mode
	oneLabel   *Warning            // first pattern of one label
}

func (r *policyReader) err(code ErrorCode, offset int, field string) *SyntaxError {
	return &SyntaxError{Code: code, Line: r.line, Col: r.col + offset + 1, Field: field}
}

func (r *policyReader) note(code WarningCode, offset int, field, detail string) {
	r.warn(code, r.line, r.col+offset+1, field, detail)
}

// readLine reads one line, given without LF; ended tells whether it had one.
func (r *policyReader) readLine(line string, ended bool) error {
	line = r.stripCR(line, ended)
	var mixed uint8
	for i := 0; i < len(line); i++ {
		mixed |= class[line[i]]
	}
	if mixed&isBreak != 0 {
		// Elsewhere these end a line, and the file has other fields. What two
		// readers understand differently has no meaning to be tolerant about.
		i := strings.IndexAny(line, "\r\v\f\x1c\x1d\x1e")
		return r.err(PolicyOctet, i, line[i:i+1])
	}
	start := 0
	for start < len(line) && isBlank(line[start]) {
		start++
	}
	if start == len(line) {
		if r.Mode == Strict {
			return r.err(PolicyEmptyLine, 0, line)
		}
		r.note(WarnEmptyLine, 0, "", line)
		return nil
	}
	nameEnd := start + nameLength(line[start:])
	colon := nameEnd
	for colon < len(line) && isBlank(line[colon]) {
		colon++
	}
	if nameEnd == start || colon == len(line) || line[colon] != ':' {
		if r.Mode == Strict {
			return r.err(PolicyName, 0, line)
		}
		r.note(WarnLineIgnored, 0, "", line)
		return nil
	}
	name := line[start:nameEnd]
	if start > 0 || colon > nameEnd {
		if r.Mode == Strict {
			return r.err(PolicyName, 0, line)
		}
		r.note(WarnBlank, 0, name, line[:colon])
	}
	offset := colon + 1
	for offset < len(line) && isBlank(line[offset]) {
		offset++
	}
	return r.field(name, trimBlankRight(line[offset:]), offset, mixed)
}

// stripCR removes what belongs to the line end.
func (r *policyReader) stripCR(line string, ended bool) string {
	n := len(line)
	for n > 0 && line[n-1] == '\r' {
		n--
	}
	crs := len(line) - n
	if crs == 0 || crs == 1 && ended {
		return line[:n]
	}
	if r.Mode == Strict || !ended && crs > 1 {
		return line // readLine refuses the CR
	}
	r.note(WarnLineEnd, n, "", line[n:])
	return line[:n]
}

// field takes one field; mixed holds the classes of all octets in its line.
func (r *policyReader) field(name, value string, offset int, mixed uint8) error {
	kind := known(name)
	if kind == fieldUnknown {
		return r.extension(name, value, offset, mixed)
	}
	if kind == fieldMX {
		return r.pattern(value, offset)
	}
	if r.seen[kind] {
		if r.Mode == Strict && !validExtension(value) {
			return r.err(PolicyValue, offset, value)
		}
		r.note(WarnDuplicateField, 0, name, value)
		return nil
	}
	r.seen[kind] = true
	switch kind {
	case fieldVersion:
		if value != "STSv1" {
			return r.err(PolicyVersion, offset, value)
		}
	case fieldMode:
		switch value {
		case "enforce":
			r.dst.Mode = ModeEnforce
		case "testing":
			r.dst.Mode = ModeTesting
		case "none":
			r.dst.Mode = ModeNone
		default:
			return r.err(PolicyModeValue, offset, value)
		}
	case fieldMaxAge:
		return r.maxAge(value, offset)
	}
	return nil
}

func (r *policyReader) maxAge(value string, offset int) error {
	if value == "" || len(value) > maxAgeDigitsTolerant || len(value) > maxAgeDigits && r.Mode == Strict {
		return r.err(PolicyMaxAge, offset, value)
	}
	var seconds int64
	for i := 0; i < len(value); i++ {
		if value[i] < '0' || value[i] > '9' {
			return r.err(PolicyMaxAge, offset, value)
		}
		seconds = seconds*10 + int64(value[i]-'0')
	}
	if len(value) > maxAgeDigits {
		r.note(WarnMaxAgeDigits, offset, "max_age", value)
	}
	// Clamped before it becomes a Duration: refusing the policy would leave
	// the domain without protection, and the value as it is may overflow.
	const most = int64(MaxAge / time.Second)
	if seconds > most {
		r.note(WarnMaxAgeClamped, offset, "max_age", value)
		seconds = most
	}
	r.dst.MaxAge = time.Duration(seconds) * time.Second
	if r.dst.MaxAge < 24*time.Hour {
		r.note(WarnMaxAgeShort, offset, "max_age", value)
	}
	return nil
}

func (r *policyReader) pattern(value string, offset int) error {
	pattern, code := value, WarningCode(0)
	if !validPattern(value, false) {
		if pattern, code = blemishedPattern(value); code == 0 || r.Mode == Strict {
			bad := r.err(PolicyPattern, offset, value)
			if r.Mode == Strict {
				return bad
			}
			if r.badPattern == nil {
				r.badPattern = bad
			}
			r.note(WarnPatternIgnored, offset, "mx", value)
			return nil
		}
		r.note(code, offset, "mx", value)
	}
	pattern = lowerASCII(pattern)
	r.dst.MX = append(r.dst.MX, pattern)
	if r.Warn != nil {
		r.judgePattern(pattern, value, offset)
	}
	return nil
}

// validPattern reports whether s is "*." and a name, or a name, of LDH labels
// (RFC 8461 section 3.2: sts-policy-mx-value).
func validPattern(s string, underscore bool) bool {
	return len(s) <= maxName && validName(strings.TrimPrefix(s, "*."), underscore)
}

// blemishedPattern repairs a pattern that strict parsing refuses. The code is
// zero if that cannot be done.
func blemishedPattern(s string) (string, WarningCode) {
	code := WarnPatternUnderscore
	if n := len(s); n > 0 && s[n-1] == '.' {
		s, code = s[:n-1], WarnPatternDot
	}
	if !isASCII(s) {
		suffix, wild := strings.CutPrefix(s, "*.")
		converted, ok := toALabels(suffix)
		if !ok {
			return "", 0
		}
		if wild {
			converted = "*." + converted
		}
		s, code = converted, WarnPatternULabel
	}
	if !validPattern(s, true) {
		return "", 0
	}
	return s, code
}

// judgePattern warns of a pattern that is valid and probably not meant.
func (r *policyReader) judgePattern(pattern, value string, offset int) {
	if r.patterns == nil {
		r.patterns = make(map[string]struct{})
	}
	if _, twice := r.patterns[pattern]; twice {
		r.note(WarnDuplicatePattern, offset, "mx", value)
	}
	r.patterns[pattern] = struct{}{}
	name, wild := strings.CutPrefix(pattern, "*.")
	oneLabel := !strings.Contains(name, ".")
	switch {
	case numericTLD(name):
		r.note(WarnNeverMatches, offset, "mx", value)
	case wild && oneLabel:
		r.note(WarnWildcardTLD, offset, "mx", value)
	case oneLabel && r.oneLabel == nil:
		r.oneLabel = &Warning{Code: WarnOneLabel, Line: r.line, Col: r.col + offset + 1, Field: "mx", Detail: value}
	}
	for label := range strings.SplitSeq(name, ".") {
		if strings.HasPrefix(label, "xn--") && !decodable(label) {
			r.note(WarnALabel, offset, "mx", value)
		}
	}
}

func (r *policyReader) extension(name, value string, offset int, mixed uint8) error {
	valid := value != "" && mixed&(isControl|isHigh) == 0 || validExtension(value)
	if !valid {
		if r.Mode == Strict {
			return r.err(PolicyValue, offset, value)
		}
		r.note(WarnFieldIgnored, 0, name, value)
		return nil
	}
	if r.Warn != nil && mixed&isHigh != 0 {
		for i, c := range value {
			if c == '\u0085' || c == '\u2028' || c == '\u2029' {
				r.note(WarnLineSeparator, offset+i, name, value[i:i+utf8.RuneLen(c)])
			}
		}
	}
	if r.hasExtension(name) {
		r.note(WarnDuplicateField, 0, name, value)
		return nil
	}
	r.note(WarnUnknownField, 0, name, value)
	r.dst.Extensions = append(r.dst.Extensions, Field{Name: name, Value: value})
	if r.extensions != nil {
		r.extensions[name] = struct{}{}
	}
	return nil
}

func (r *policyReader) hasExtension(name string) bool {
	if len(r.dst.Extensions) < fewExtensions {
		for i := range r.dst.Extensions {
			if r.dst.Extensions[i].Name == name {
				return true
			}
		}
		return false
	}
	if r.extensions == nil {
		r.extensions = make(map[string]struct{}, 2*fewExtensions)
		for i := range r.dst.Extensions {
			r.extensions[r.dst.Extensions[i].Name] = struct{}{}
		}
	}
	_, ok := r.extensions[name]
	return ok
}

// finish checks what only the whole file shows.
func (r *policyReader) finish() error {
	missing := func(code ErrorCode, field string) error {
		return &SyntaxError{Code: code, Line: max(r.line, 1), Col: r.length + 1, Field: field}
	}
	switch {
	case !r.seen[fieldVersion]:
		return missing(PolicyMissingVersion, "version")
	case !r.seen[fieldMode]:
		return missing(PolicyMissingMode, "mode")
	case !r.seen[fieldMaxAge]:
		return missing(PolicyMissingMaxAge, "max_age")
	case len(r.dst.MX) == 0 && r.dst.Mode != ModeNone:
		if r.badPattern != nil {
			return r.badPattern
		}
		return missing(PolicyMissingPattern, "mx")
	}
	if r.oneLabel != nil && r.dst.Mode == ModeEnforce {
		r.Warn(*r.oneLabel)
	}
	return nil
}
