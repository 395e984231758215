package mtasts

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPolicyText(t *testing.T) {
	p := &Policy{
		Mode: ModeEnforce, MaxAge: time.Hour, MX: []string{"*.MAIL.example", "b\u00fccher.example", "m_x.example"},
		Extensions: []Field{{"x", "1"}, {"a.b", "\u00fc : ; ="}},
	}
	const want = "version: STSv1\r\nmode: enforce\r\nmx: *.mail.example\r\nmx: xn--bcher-kva.example\r\nmx: m_x.example\r\nmax_age: 3600\r\nx: 1\r\na.b: \u00fc : ; =\r\n"
	require.Equal(t, want, p.String())
	text, err := p.MarshalText()
	require.NoError(t, err)
	require.Equal(t, want, string(text))
	text, err = p.AppendText([]byte("> "))
	require.NoError(t, err)
	require.Equal(t, "> "+want, string(text))
	require.Equal(t, "version: STSv1\r\nmode: none\r\nmax_age: 0\r\n", (&Policy{Mode: ModeNone}).String())
}

func TestPolicyValidate(t *testing.T) {
	mx := []string{"a.example"}
	for _, tc := range []struct {
		why  string
		p    Policy
		text string
	}{
		{"zero", Policy{}, "mode"},
		{"mode out of range", Policy{Mode: 9, MX: mx}, "mode"},
		{"negative MaxAge", Policy{Mode: ModeNone, MaxAge: -time.Second}, "MaxAge"},
		{"MaxAge above a year", Policy{Mode: ModeNone, MaxAge: MaxAge + time.Second}, "MaxAge"},
		{"MaxAge with a fraction", Policy{Mode: ModeNone, MaxAge: time.Millisecond}, "MaxAge"},
		{"enforce without MX", Policy{Mode: ModeEnforce}, "MX"},
		{"testing without MX", Policy{Mode: ModeTesting}, "MX"},
		{"empty pattern", Policy{Mode: ModeNone, MX: []string{""}}, "MX"},
		{"line break in a pattern", Policy{Mode: ModeNone, MX: []string{"a\nmode: none"}}, "MX"},
		{"trailing dot", Policy{Mode: ModeNone, MX: []string{"a.example."}}, "MX"},
		{"inner star", Policy{Mode: ModeNone, MX: []string{"a.*.example"}}, "MX"},
		{"IDNA refuses", Policy{Mode: ModeNone, MX: []string{"\uff41.example"}}, "MX"},
		{"254 octets", Policy{Mode: ModeNone, MX: []string{"*." + strings.Repeat("a.", 125) + "aa"}}, "MX"},
		{"extension with a defined name", Policy{Mode: ModeNone, Extensions: []Field{{"mode", "enforce"}}}, "extension"},
		{"extension twice", Policy{Mode: ModeNone, Extensions: []Field{{"x", "1"}, {"x", "2"}}}, "extension"},
		{"extension without name", Policy{Mode: ModeNone, Extensions: []Field{{"", "1"}}}, "extension"},
		{"extension name with a colon", Policy{Mode: ModeNone, Extensions: []Field{{"a:b", "1"}}}, "extension"},
		{"extension name of 33", Policy{Mode: ModeNone, Extensions: []Field{{strings.Repeat("n", 33), "1"}}}, "extension"},
		{"extension without value", Policy{Mode: ModeNone, Extensions: []Field{{"x", ""}}}, "extension"},
		{"extension with a line break", Policy{Mode: ModeNone, Extensions: []Field{{"x", "a\nb"}}}, "extension"},
		{"extension with a leading space", Policy{Mode: ModeNone, Extensions: []Field{{"x", " a"}}}, "extension"},
		{"extension, not UTF-8", Policy{Mode: ModeNone, Extensions: []Field{{"x", "\xff"}}}, "extension"},
	} {
		err := tc.p.Validate()
		require.ErrorContains(t, err, tc.text, tc.why)
		text, err := tc.p.MarshalText()
		require.Error(t, err, tc.why)
		require.Nil(t, text, tc.why)
		require.Equal(t, "!invalid: "+err.Error(), tc.p.String(), tc.why)
	}
}

func TestPolicyEqual(t *testing.T) {
	a := Policy{Mode: ModeEnforce, MaxAge: time.Hour, MX: []string{"a"}}
	b := a
	require.True(t, a.Equal(&b))
	b.MX = []string{"b"}
	require.False(t, a.Equal(&b))
	require.False(t, a.Equal(nil))
	require.True(t, (*Policy)(nil).Equal(nil))
}

// naivePolicy is RFC 8461 section 3.2 by split and check, and shares no code with
// the parser.
func naivePolicy(text string) (p Policy, ok bool) {
	const alnum = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	only := func(s, set string) bool { return strings.Trim(s, set) == "" }
	extension := func(v string) bool {
		for _, c := range v {
			if c < 0x20 || c == 0x7f {
				return false
			}
		}
		return v != "" && strings.ToValidUTF8(v, "") == v && strings.Trim(v, " ") == v
	}
	if strings.ContainsAny(text, "\v\f\x1c\x1d\x1e") {
		return p, false
	}
	lines := strings.Split(text, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	} else if strings.HasSuffix(text, "\r") {
		return p, false
	}
	seen := map[string]bool{}
	for _, line := range lines {
		line = strings.TrimSuffix(line, "\r")
		if strings.Contains(line, "\r") {
			return p, false
		}
		name, value, colon := strings.Cut(line, ":")
		if !colon || name == "" || len(name) > 32 || !only(name[:1], alnum) || !only(name, alnum+"_-.") {
			return p, false
		}
		value = strings.Trim(value, " \t")
		if name == "mx" {
			labels := strings.Split(strings.TrimPrefix(value, "*."), ".")
			for _, label := range labels {
				if label == "" || len(label) > 63 || !only(label, alnum+"-") || strings.Trim(label, "-") != label {
					return p, false
				}
			}
			if len(value) > 253 {
				return p, false
			}
			p.MX = append(p.MX, strings.ToLower(value))
			continue
		}
		if seen[name] {
			if !extension(value) {
				return p, false
			}
			continue
		}
		seen[name] = true
		switch name {
		case "version":
			if value != "STSv1" {
				return p, false
			}
		case "mode":
			p.Mode = map[string]PolicyMode{"enforce": ModeEnforce, "testing": ModeTesting, "none": ModeNone}[value]
			if p.Mode == ModeUnknown {
				return p, false
			}
		case "max_age":
			if value == "" || len(value) > 10 || !only(value, "0123456789") {
				return p, false
			}
			seconds := 0
			for _, c := range value {
				seconds = 10*seconds + int(c-'0')
			}
			p.MaxAge = time.Duration(min(seconds, 31557600)) * time.Second
		default:
			if !extension(value) {
				return p, false
			}
			p.Extensions = append(p.Extensions, Field{name, value})
		}
	}
	return p, seen["version"] && seen["mode"] && seen["max_age"] && (len(p.MX) > 0 || p.Mode == ModeNone)
}

// FuzzPolicy: strict parsing agrees with the naive reading; strict success is
// tolerant success with the same policy; warnings and errors point inside the
// text; the canonical text reads back and is a fixed point; an unknown field more
// changes nothing else; a line that was ignored may as well be missing.
func FuzzPolicy(f *testing.F) {
	for _, v := range readVectors(f, "policies.txt", policyKeys...) {
		f.Add(strings.Join(v.octets(f, "text"), ""))
	}
	for _, s := range []string{
		rfcPolicy, "version:STSv1\nmode:none\nmax_age:0", "\ufeffversion: STSv1\r\r\n\nmode: testing\nmx: *.B\u00fccher.example.\nmx: ..\nmax_age: 12345678901\n",
		"version: STSv1\nmode: enforce\nmode: none\nmx: a_b.c\nmax_age: 9999999999\nx:\ty\nx: \u2028\n# c\n\x00", "version:STSv1\rmode:none\nmax_age:1",
		"mx:*.a\nmx:192.0.2.1\nmx:xn--a\nversion:STSv1\nmode:enforce\nmax_age:1\nmax_age:-1\nversion:\n", "version :STSv1\n mode:none\nmax_age:1\r",
		"version:STSv1\nmode:enforce\nmx:\u212a\u00fc\nmax_age:1\nmx:-a\n\x0b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want, ok := naivePolicy(text)
		strict, _, err := parse(Strict, text)
		require.Equal(t, ok, err == nil, "strict: %v", err)
		tolerant, warnings, tolerantErr := parse(Tolerant, text)
		for _, w := range warnings {
			requireInside(t, text, w.Line, w.Col)
		}
		if err == nil {
			require.True(t, want.Equal(strict), "got %+v want %+v", strict, want)
			require.NoError(t, tolerantErr)
			require.True(t, strict.Equal(tolerant))
		}
		if tolerantErr != nil {
			var syntax *SyntaxError
			require.ErrorAs(t, tolerantErr, &syntax)
			requireInside(t, text, syntax.Line, syntax.Col)
			return
		}
		silent := new(Policy)
		require.NoError(t, Parser{}.Policy(text, silent))
		require.True(t, tolerant.Equal(silent), "warnings change nothing")

		canonical, err := tolerant.MarshalText()
		require.NoError(t, err)
		mode := Strict
		for _, pattern := range tolerant.MX {
			if strings.Contains(pattern, "_") {
				mode = Tolerant
			}
		}
		again, _, err := parse(mode, string(canonical))
		require.NoError(t, err)
		require.True(t, tolerant.Equal(again), "got %+v want %+v", again, tolerant)
		require.Equal(t, string(canonical), again.String())

		more, _, err := parse(Tolerant, text+"\nzz-unknown: value\n")
		require.NoError(t, err)
		require.Equal(t, [2]any{tolerant.Mode, tolerant.MaxAge}, [2]any{more.Mode, more.MaxAge})
		require.True(t, sameRules(tolerant, more))

		lines := strings.SplitAfter(text, "\n")
		ignored := map[int]bool{}
		for _, w := range warnings {
			switch w.Code {
			case WarnEmptyLine, WarnLineIgnored, WarnFieldIgnored, WarnPatternIgnored:
				ignored[w.Line] = true
			}
		}
		var without strings.Builder
		for i, line := range lines {
			if !ignored[i+1] {
				without.WriteString(line)
			}
		}
		rest, _, err := parse(Tolerant, without.String())
		require.NoError(t, err)
		require.True(t, tolerant.Equal(rest))
	})
}
