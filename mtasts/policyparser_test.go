package mtasts

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const rfcPolicy = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmx: backupmx.example.com\r\nmax_age: 604800\r\n"

func parse(mode Mode, text string) (*Policy, []Warning, error) {
	var warnings []Warning
	p := new(Policy)
	err := Parser{Mode: mode, Warn: func(w Warning) { warnings = append(warnings, w) }}.Policy(text, p)
	return p, warnings, err
}

func TestPolicyStrict(t *testing.T) {
	const week = 7 * 24 * time.Hour
	mx := []string{"a.example"}
	enforce := func(extensions ...Field) Policy {
		return Policy{Mode: ModeEnforce, MaxAge: week, MX: mx, Extensions: extensions}
	}
	const head, tail = "version:STSv1\nmode:enforce\nmx:a.example\n", "max_age:604800\n"
	for _, tc := range []struct {
		why, in string
		want    Policy
	}{
		{"the RFC's own", rfcPolicy, Policy{Mode: ModeEnforce, MaxAge: week, MX: []string{"mail.example.com", "*.example.net", "backupmx.example.com"}}},
		{"LF, no blanks", head + tail, enforce()},
		{"no final line end", head + "max_age:604800", enforce()},
		{"mixed line ends", "version:STSv1\r\nmode:enforce\nmx:a.example\r\nmax_age:604800\n", enforce()},
		{"blanks around values", "version:\t STSv1 \t\nmode: enforce \nmx:  a.example\nmax_age: 604800 ", enforce()},
		{"version last", "mode:enforce\nmx:a.example\nmax_age:604800\nversion:STSv1\n", enforce()},
		{"testing", "version:STSv1\nmode:testing\nmx:a.example\nmax_age:604800\n", Policy{Mode: ModeTesting, MaxAge: week, MX: mx}},
		{"none needs no mx", "version:STSv1\nmode:none\nmax_age:86400\n", Policy{Mode: ModeNone, MaxAge: 24 * time.Hour}},
		{"none may have mx", "version:STSv1\nmode:none\nmx:a.example\nmax_age:604800\n", Policy{Mode: ModeNone, MaxAge: week, MX: mx}},
		{"first mode wins", head + "mode:none\n" + tail, enforce()},
		{"first mode wins over a malformed one", head + "mode:what?\n" + tail, enforce()},
		{"first version wins", head + "version:STSv2\n" + tail, enforce()},
		{"first max_age wins", head + tail + "max_age:0\nmax_age:-1\n", enforce()},
		{"mode in another case is unknown", "Mode: none\n" + head + tail, enforce(Field{"Mode", "none"})},
		{"colon in a value", head + tail + "url: https://a.example:1/\n", enforce(Field{"url", "https://a.example:1/"})},
		{"first extension wins", head + tail + "x: 1\nx: 2\n", enforce(Field{"x", "1"})},
		{"UTF-8 in an extension", head + tail + "x: gr\u00fc\u00df \U0001f600\n", enforce(Field{"x", "gr\u00fc\u00df \U0001f600"})},
		{"NEL is no line end", head + tail + "x: a\u0085mode: none\n", enforce(Field{"x", "a\u0085mode: none"})},
		{"U+2028 is no line end", head + tail + "x: a\u2028mode: none\n", enforce(Field{"x", "a\u2028mode: none"})},
		{"leading zeros", head + "max_age:0000604800\n", enforce()},
		{"max_age zero", head + "max_age:0\n", Policy{Mode: ModeEnforce, MX: mx}},
		{"max_age of a year", head + "max_age:31557600\n", Policy{Mode: ModeEnforce, MX: mx, MaxAge: MaxAge}},
		{"above a year is clamped", head + "max_age:31557601\n", Policy{Mode: ModeEnforce, MX: mx, MaxAge: MaxAge}},
		{"ten nines are clamped", head + "max_age:9999999999\n", Policy{Mode: ModeEnforce, MX: mx, MaxAge: MaxAge}},
		{"patterns are lower-cased", "version:STSv1\nmode:enforce\nmx:*.MAIL.Example\n" + tail, Policy{Mode: ModeEnforce, MaxAge: week, MX: []string{"*.mail.example"}}},
		{"duplicate patterns are kept", head + "mx:a.example\n" + tail, Policy{Mode: ModeEnforce, MaxAge: week, MX: []string{"a.example", "a.example"}}},
		{"one label", "version:STSv1\nmode:enforce\nmx:mail\n" + tail, Policy{Mode: ModeEnforce, MaxAge: week, MX: []string{"mail"}}},
		{"dotted quad fits the grammar", "version:STSv1\nmode:enforce\nmx:192.0.2.1\n" + tail, Policy{Mode: ModeEnforce, MaxAge: week, MX: []string{"192.0.2.1"}}},
		{"undecodable A-label is kept", "version:STSv1\nmode:enforce\nmx:xn--a.example\n" + tail, Policy{Mode: ModeEnforce, MaxAge: week, MX: []string{"xn--a.example"}}},
		{"label of 63", "version:STSv1\nmode:enforce\nmx:" + strings.Repeat("a", 63) + ".b\n" + tail, Policy{Mode: ModeEnforce, MaxAge: week, MX: []string{strings.Repeat("a", 63) + ".b"}}},
	} {
		got, _, err := parse(Strict, tc.in)
		require.NoError(t, err, tc.why)
		require.True(t, tc.want.Equal(got), "%s: got %+v want %+v", tc.why, got, tc.want)
		tolerant, _, err := parse(Tolerant, tc.in)
		require.NoError(t, err, tc.why)
		require.Equal(t, got, tolerant, tc.why)
		byBytes, err := ParsePolicy([]byte(tc.in))
		require.NoError(t, err, tc.why)
		require.True(t, tc.want.Equal(byBytes), tc.why)
	}
}

func TestPolicyInvalidInBothModes(t *testing.T) {
	const good = "version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 604800\n"
	replace := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for _, tc := range []struct {
		why, in   string
		code      ErrorCode
		line, col int
	}{
		{"empty", "", PolicyMissingVersion, 1, 1},
		{"no version", replace("version: STSv1\n", ""), PolicyMissingVersion, 3, 16},
		{"no mode", replace("mode: enforce\n", ""), PolicyMissingMode, 3, 16},
		{"no max_age", replace("max_age: 604800\n", ""), PolicyMissingMaxAge, 3, 14},
		{"enforce without mx", replace("mx: a.example\n", ""), PolicyMissingPattern, 3, 16},
		{"testing without mx", "version:STSv1\nmode:testing\nmax_age:1", PolicyMissingPattern, 3, 10},
		{"other version", replace("STSv1", "STSv2"), PolicyVersion, 1, 10},
		{"version in another case", replace("STSv1", "stsv1"), PolicyVersion, 1, 10},
		{"version empty", replace(" STSv1", ""), PolicyVersion, 1, 9},
		{"mode in another case", replace("enforce", "Enforce"), PolicyModeValue, 2, 7},
		{"mode with a comment", replace("enforce", "enforce # now"), PolicyModeValue, 2, 7},
		{"mode of two", replace("enforce", "enforce, testing"), PolicyModeValue, 2, 7},
		{"first mode counts though the second is good", replace("mode: enforce", "mode: force\nmode: enforce"), PolicyModeValue, 2, 7},
		{"first max_age counts though the second is good", replace("max_age: 604800", "max_age: week\nmax_age: 604800"), PolicyMaxAge, 4, 10},
		{"negative", replace("604800", "-1"), PolicyMaxAge, 4, 10},
		{"plus sign", replace("604800", "+604800"), PolicyMaxAge, 4, 10},
		{"unit", replace("604800", "7d"), PolicyMaxAge, 4, 10},
		{"exponent", replace("604800", "6e5"), PolicyMaxAge, 4, 10},
		{"grouping", replace("604800", "604_800"), PolicyMaxAge, 4, 10},
		{"hexadecimal", replace("604800", "0x10"), PolicyMaxAge, 4, 10},
		{"digits of another script", replace("604800", "\u0661\u0662"), PolicyMaxAge, 4, 10},
		{"empty max_age", replace(" 604800", ""), PolicyMaxAge, 4, 9},
		{"19 digits", replace("604800", "1234567890123456789"), PolicyMaxAge, 4, 10},
		{"overflow", replace("604800", strings.Repeat("9", 40)), PolicyMaxAge, 4, 10},
		{"vertical tab", good + "x: a\vmode: none\n", PolicyOctet, 5, 5},
		{"form feed", good + "x: a\fmode: none\n", PolicyOctet, 5, 5},
		{"file separator", good + "x: a\x1cb\n", PolicyOctet, 5, 5},
		{"group separator", good + "x: a\x1db\n", PolicyOctet, 5, 5},
		{"record separator", good + "x: a\x1eb\n", PolicyOctet, 5, 5},
		{"CR inside a line", "version: STSv1\rmode: enforce\nmx: a.example\nmax_age: 1\n", PolicyOctet, 1, 15},
		{"CR alone as line end", strings.ReplaceAll(good, "\n", "\r"), PolicyOctet, 1, 15},
		{"terminator in a line that would be ignored", good + "#\v\n", PolicyOctet, 5, 2},
		{"two CRs at the end of input", good + "x: y\r\r", PolicyOctet, 5, 5},
		{"every mx malformed", replace("a.example", "a example"), PolicyPattern, 3, 5},
		{"mx list", replace("a.example", "a.example, b.example"), PolicyPattern, 3, 5},
		{"mx with preference", replace("a.example", "10 a.example"), PolicyPattern, 3, 5},
		{"mx in quotes", replace("a.example", `"a.example"`), PolicyPattern, 3, 5},
		{"mx with port", replace("a.example", "a.example:25"), PolicyPattern, 3, 5},
		{"mx empty", replace(" a.example", ""), PolicyPattern, 3, 4},
		{"star alone", replace("a.example", "*"), PolicyPattern, 3, 5},
		{"star and dot", replace("a.example", "*."), PolicyPattern, 3, 5},
		{"partial wildcard", replace("a.example", "mx*.example"), PolicyPattern, 3, 5},
		{"inner wildcard", replace("a.example", "a.*.example"), PolicyPattern, 3, 5},
		{"two wildcards", replace("a.example", "*.*.example"), PolicyPattern, 3, 5},
		{"leading dot", replace("a.example", ".example"), PolicyPattern, 3, 5},
		{"empty label", replace("a.example", "a..example"), PolicyPattern, 3, 5},
		{"two trailing dots", replace("a.example", "a.example.."), PolicyPattern, 3, 5},
		{"hyphen at a label's end", replace("a.example", "a-.example"), PolicyPattern, 3, 5},
		{"hyphen at a label's start", replace("a.example", "-a.example"), PolicyPattern, 3, 5},
		{"address literal", replace("a.example", "[192.0.2.1]"), PolicyPattern, 3, 5},
		{"IPv6", replace("a.example", "2001:db8::1"), PolicyPattern, 3, 5},
		{"label of 64", replace("a.example", strings.Repeat("a", 64)), PolicyPattern, 3, 5},
		{"254 octets", replace("a.example", strings.Repeat("a.", 126)+"aa"), PolicyPattern, 3, 5},
		{"full-width letters vanish in mapping", replace("a.example", "\uff41.example"), PolicyPattern, 3, 5},
		{"Kelvin sign vanishes in mapping", replace("a.example", "\u212a\u00fc.example"), PolicyPattern, 3, 5},
	} {
		for _, mode := range []Mode{Strict, Tolerant} {
			_, _, err := parse(mode, tc.in)
			var syntax *SyntaxError
			require.ErrorAs(t, err, &syntax, "%s (%s)", tc.why, mode)
			require.ErrorIs(t, err, ErrPolicySyntax, tc.why)
			require.NotErrorIs(t, err, ErrRecordSyntax, tc.why)
			require.Equal(t, tc.code, syntax.Code, "%s (%s): %v", tc.why, mode, err)
			require.Equal(t, [2]int{tc.line, tc.col}, [2]int{syntax.Line, syntax.Col}, "%s (%s): %v", tc.why, mode, err)
		}
	}
}

func TestPolicyTolerant(t *testing.T) {
	const good = "version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 604800\n"
	base := Policy{Mode: ModeEnforce, MaxAge: 7 * 24 * time.Hour, MX: []string{"a.example"}}
	with := func(mx ...string) Policy {
		p := base
		p.MX = append([]string{"a.example"}, mx...)
		return p
	}
	clamped := base
	clamped.MaxAge = MaxAge
	for _, tc := range []struct {
		why, in string
		code    ErrorCode // of strict parsing
		want    Policy
		warning WarningCode
		line    int
		col     int
	}{
		{"byte order mark", "\ufeff" + good, PolicyName, base, WarnBOM, 1, 1},
		{"empty line", good + "\n", PolicyEmptyLine, base, WarnEmptyLine, 5, 1},
		{"empty line with CR", "\r\n" + good, PolicyEmptyLine, base, WarnEmptyLine, 1, 1},
		{"line of blanks", good + " \t", PolicyEmptyLine, base, WarnEmptyLine, 5, 1},
		{"blank before a name", strings.Replace(good, "mode", " mode", 1), PolicyName, base, WarnBlank, 2, 1},
		{"blank before the colon", strings.Replace(good, "mode:", "mode\t:", 1), PolicyName, base, WarnBlank, 2, 1},
		{"several CRs before LF", strings.Replace(good, "STSv1\n", "STSv1\r\r\n", 1), PolicyOctet, base, WarnLineEnd, 1, 15},
		{"CR at the end of input", good[:len(good)-1] + "\r", PolicyOctet, base, WarnLineEnd, 4, 16},
		{"comment", "# ours\n" + good, PolicyName, base, WarnLineIgnored, 1, 1},
		{"line without colon", good + "hello\n", PolicyName, base, WarnLineIgnored, 5, 1},
		{"name too long", good + strings.Repeat("n", 33) + ": x\n", PolicyName, base, WarnLineIgnored, 5, 1},
		{"name with a blank", good + "max age: 1\n", PolicyName, base, WarnLineIgnored, 5, 1},
		{"continuation line", strings.Replace(good, "a.example\n", "a.example\n  b.example\n", 1), PolicyName, base, WarnLineIgnored, 4, 1},
		{"trailing NUL", good + "\x00", PolicyName, base, WarnLineIgnored, 5, 1},
		{"unknown field without value", good + "x:\n", PolicyValue, base, WarnFieldIgnored, 5, 1},
		{"unknown field, not UTF-8", good + "x: \xff\n", PolicyValue, base, WarnFieldIgnored, 5, 1},
		{"unknown field with surrogate", good + "x: \xed\xa0\x80\n", PolicyValue, base, WarnFieldIgnored, 5, 1},
		{"unknown field with tab", good + "x: a\tb\n", PolicyValue, base, WarnFieldIgnored, 5, 1},
		{"unknown field with NUL", good + "x: a\x00b\n", PolicyValue, base, WarnFieldIgnored, 5, 1},
		{"unknown field with DEL", good + "x: a\x7fb\n", PolicyValue, base, WarnFieldIgnored, 5, 1},
		{"one mx malformed", good + "mx: b..example\n", PolicyPattern, base, WarnPatternIgnored, 5, 5},
		{"malformed mx in mode none", "version: STSv1\nmode: none\nmx: *\nmax_age: 604800\n", PolicyPattern, Policy{Mode: ModeNone, MaxAge: base.MaxAge}, WarnPatternIgnored, 3, 5},
		{"trailing dot", good + "mx: B.example.\n", PolicyPattern, with("b.example"), WarnPatternDot, 5, 5},
		{"underscore", good + "mx: *.b_c.example\n", PolicyPattern, with("*.b_c.example"), WarnPatternUnderscore, 5, 5},
		{"U-label", good + "mx: *.B\u00dccher.example\n", PolicyPattern, with("*.xn--bcher-kva.example"), WarnPatternULabel, 5, 5},
		{"decomposed U-label", good + "mx: bu\u0308cher.example\n", PolicyPattern, with("xn--bcher-kva.example"), WarnPatternULabel, 5, 5},
		{"sharp s is not mapped", good + "mx: fa\u00df.example\n", PolicyPattern, with("xn--fa-hia.example"), WarnPatternULabel, 5, 5},
		{"eleven digits", strings.Replace(good, "604800", "00000604800", 1), PolicyMaxAge, base, WarnMaxAgeDigits, 4, 10},
		{"eighteen digits", strings.Replace(good, "604800", strings.Repeat("9", 18), 1), PolicyMaxAge, clamped, WarnMaxAgeDigits, 4, 10},
	} {
		_, _, err := parse(Strict, tc.in)
		var syntax *SyntaxError
		require.ErrorAs(t, err, &syntax, tc.why)
		require.Equal(t, tc.code, syntax.Code, "%s: %v", tc.why, err)
		got, warnings, err := parse(Tolerant, tc.in)
		require.NoError(t, err, tc.why)
		require.True(t, tc.want.Equal(got), "%s: got %+v", tc.why, got)
		require.NotEmpty(t, warnings, tc.why)
		w := warnings[0]
		require.Equal(t, tc.warning, w.Code, "%s: %v", tc.why, w)
		require.Equal(t, [2]int{tc.line, tc.col}, [2]int{w.Line, w.Col}, "%s: %v", tc.why, w)
	}
}

func TestPolicyWarnsOfLegalInput(t *testing.T) {
	for _, tc := range []struct {
		why, in string
		want    []Warning
	}{
		{"nothing to say", rfcPolicy, nil},
		{"clamped", "version:STSv1\nmode:none\nmax_age:9999999999", []Warning{{WarnMaxAgeClamped, 3, 9, "max_age", "9999999999"}}},
		{"short", "version:STSv1\nmode:none\nmax_age:86399", []Warning{{WarnMaxAgeShort, 3, 9, "max_age", "86399"}}},
		{"duplicates", "version:STSv1\nmode:enforce\nmx:a.b\nmx:A.b\nmode:none\nx:1\nx:2\nmax_age:86400", []Warning{
			{WarnDuplicatePattern, 4, 4, "mx", "A.b"}, {WarnDuplicateField, 5, 1, "mode", "none"},
			{WarnUnknownField, 6, 1, "x", "1"}, {WarnDuplicateField, 7, 1, "x", "2"}}},
		{"patterns", "version:STSv1\nmode:enforce\nmx:192.0.2.1\nmx:*.com\nmx:xn--a.b.c\nmx:mail\nmx:host\nmax_age:86400", []Warning{
			{WarnNeverMatches, 3, 4, "mx", "192.0.2.1"}, {WarnWildcardTLD, 4, 4, "mx", "*.com"},
			{WarnALabel, 5, 4, "mx", "xn--a.b.c"}, {WarnOneLabel, 6, 4, "mx", "mail"}}},
		{"one label is no matter in testing", "version:STSv1\nmode:testing\nmx:mail\nmax_age:86400", nil},
		{"line separator", "version:STSv1\nmode:none\nmax_age:86400\nx: a\u2028b", []Warning{{WarnLineSeparator, 4, 5, "x", "\u2028"}, {WarnUnknownField, 4, 1, "x", "a\u2028b"}}},
	} {
		_, warnings, err := parse(Strict, tc.in)
		require.NoError(t, err, tc.why)
		require.Equal(t, tc.want, warnings, tc.why)
	}
}

func TestPolicyManyFieldsTakeLinearTime(t *testing.T) {
	var b strings.Builder
	b.WriteString("version:STSv1\nmode:enforce\nmax_age:86400\n")
	for i := range 20000 {
		fmt.Fprintf(&b, "x%d:y\nmx:a%d.b\n", i, i)
	}
	b.WriteString("x7:z\n")
	p := new(Policy)
	require.NoError(t, Parser{}.Policy(b.String(), p))
	require.Len(t, p.Extensions, 20000, "the last is a repetition")
	require.Len(t, p.MX, 20000)
	require.Equal(t, Field{"x7", "y"}, p.Extensions[7])
}

func TestPolicyReuse(t *testing.T) {
	p := new(Policy)
	require.NoError(t, Parser{}.Policy(rfcPolicy+"x: y\n", p))
	require.Error(t, Parser{}.Policy("version: STSv1\nmode: none\n", p))
	require.NoError(t, Parser{}.Policy("version: STSv1\nmode: none\nmax_age: 1\n", p))
	require.True(t, p.Equal(&Policy{Mode: ModeNone, MaxAge: time.Second}), "nothing is left of the policies before")
}
