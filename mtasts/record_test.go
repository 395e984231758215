package mtasts

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRecordStrict(t *testing.T) {
	for _, tc := range []struct{ why, in, id string }{
		{"the RFC's own", "v=STSv1; id=20160831085700Z;", "20160831085700Z"},
		{"no final semicolon", "v=STSv1; id=1", "1"},
		{"no blanks", "v=STSv1;id=1;", "1"},
		{"blank before the first semicolon", "v=STSv1 \t;id=1", "1"},
		{"blanks around semicolons", "v=STSv1; \tid=1\t ; ", "1"},
		{"longest id", "v=STSv1; id=" + strings.Repeat("z", 32), strings.Repeat("z", 32)},
		{"id keeps its case", "v=STSv1; id=aBc", "aBc"},
		{"extension before id", "v=STSv1; x=y; id=1", "1"},
		{"extension after id", "v=STSv1; id=1; a-b_c.d=!\"#:<>~", "1"},
		{"second id ignored", "v=STSv1; id=1; id=2", "1"},
		{"second id is none, but extension syntax", "v=STSv1; id=1; id=not-an-id", "1"},
		{"second v ignored", "v=STSv1; v=STSv2; id=1", "1"},
		{"ID is another name", "v=STSv1; ID=2; id=1", "1"},
		{"longest extension name", "v=STSv1; id=1; " + strings.Repeat("n", 32) + "=x", "1"},
	} {
		got, err := ParseRecord(tc.in)
		require.NoError(t, err, tc.why)
		require.Equal(t, tc.id, got.ID, tc.why)
		tolerant, err := Parser{}.Record(tc.in)
		require.NoError(t, err, tc.why)
		require.Equal(t, got, tolerant, tc.why)
		again, err := ParseRecord(got.String())
		require.NoError(t, err, tc.why)
		require.Equal(t, got.ID, again.ID, tc.why)
	}
}

func TestRecordInvalidInBothModes(t *testing.T) {
	for _, tc := range []struct {
		why, in string
		code    ErrorCode
		col     int
	}{
		{"empty", "", RecordVersion, 1},
		{"version alone", "v=STSv1", RecordVersion, 1},
		{"no id", "v=STSv1;", RecordMissingID, 9},
		{"no id, extension", "v=STSv1; x=y", RecordMissingID, 13},
		{"other version", "v=STSv2; id=1", RecordVersion, 1},
		{"version in another case", "v=stsv1; id=1", RecordVersion, 1},
		{"field name V", "V=STSv1; id=1", RecordVersion, 1},
		{"version not first", "id=1; v=STSv1", RecordVersion, 1},
		{"longer version", "v=STSv10; id=1", RecordVersion, 1},
		{"no semicolon after the version", "v=STSv1 id=1", RecordVersion, 1},
		{"junk after the version", "v=STSv1 x; id=1", RecordVersion, 1},
		{"leading blank", " v=STSv1; id=1", RecordVersion, 1},
		{"quotes", `"v=STSv1; id=1"`, RecordVersion, 1},
		{"byte order mark", "\ufeffv=STSv1; id=1", RecordOctet, 1},
		{"NUL at the end", "v=STSv1; id=1;\x00", RecordOctet, 15},
		{"not ASCII in an extension", "v=STSv1; id=1; x=\u00fc", RecordOctet, 18},
		{"id empty", "v=STSv1; id=", RecordID, 10},
		{"id too long", "v=STSv1; id=" + strings.Repeat("z", 33), RecordID, 10},
		{"id with a hyphen", "v=STSv1; id=2016-08-31", RecordID, 10},
		{"first id counts, though the second is good", "v=STSv1; id=a-b; id=1", RecordID, 10},
		{"id with two equals signs", "v=STSv1; id==1", RecordID, 10},
		{"blank inside the id", "v=STSv1; id=1 2", RecordID, 10},
		{"blank after id=", "v=STSv1; id= 1", RecordID, 10},
		{"malformed second id", "v=STSv1; id=1; id=", RecordField, 16},
		{"malformed second v", "v=STSv1; id=1; v", RecordField, 16},
		{"ID is not id", "v=STSv1; ID=1", RecordMissingID, 14},
		{"comma", "v=STSv1, id=1", RecordVersion, 1},
	} {
		for _, mode := range []Mode{Strict, Tolerant} {
			got, err := Parser{Mode: mode}.Record(tc.in)
			var syntax *SyntaxError
			require.ErrorAs(t, err, &syntax, tc.why)
			require.ErrorIs(t, err, ErrRecordSyntax, tc.why)
			require.NotErrorIs(t, err, ErrPolicySyntax, tc.why)
			require.Equal(t, tc.code, syntax.Code, "%s: %v", tc.why, err)
			require.Equal(t, tc.col, syntax.Col, "%s: %v", tc.why, err)
			require.Equal(t, 1, syntax.Line, tc.why)
			require.Zero(t, got, tc.why)
		}
	}
}

func TestRecordTolerant(t *testing.T) {
	for _, tc := range []struct {
		why, in string
		code    ErrorCode
		warning Warning
	}{
		{"empty field", "v=STSv1;; id=1", RecordEmptyField, Warning{WarnEmptyField, 1, 9, "", ""}},
		{"blank as last thing", "v=STSv1; id=1 ", RecordTrailing, Warning{WarnTrailing, 1, 14, "", " "}},
		{"line end as last thing", "v=STSv1; id=1;\r\n", RecordTrailing, Warning{WarnTrailing, 1, 15, "", "\r\n"}},
		{"line end after the id", "v=STSv1; id=1\n", RecordTrailing, Warning{WarnTrailing, 1, 14, "", "\n"}},
		{"field without value", "v=STSv1; id=1; x=", RecordField, Warning{WarnFieldIgnored, 1, 16, "x", "x="}},
		{"field without equals sign", "v=STSv1; comment; id=1", RecordField, Warning{WarnFieldIgnored, 1, 10, "comment", "comment"}},
		{"equals sign in a value", "v=STSv1; x=a=b; id=1", RecordField, Warning{WarnFieldIgnored, 1, 10, "x", "x=a=b"}},
		{"blank in a value", "v=STSv1; x=a b; id=1", RecordField, Warning{WarnFieldIgnored, 1, 10, "x", "x=a b"}},
		{"name too long", "v=STSv1; id=1; " + strings.Repeat("n", 33) + "=x", RecordField,
			Warning{WarnFieldIgnored, 1, 16, strings.Repeat("n", 33), strings.Repeat("n", 33) + "=x"}},
		{"name begins with a hyphen", "v=STSv1; id=1; -x=y", RecordField, Warning{WarnFieldIgnored, 1, 16, "-x", "-x=y"}},
	} {
		_, err := ParseRecord(tc.in)
		var syntax *SyntaxError
		require.ErrorAs(t, err, &syntax, tc.why)
		require.Equal(t, tc.code, syntax.Code, tc.why)
		var warnings []Warning
		got, err := Parser{Warn: func(w Warning) { warnings = append(warnings, w) }}.Record(tc.in)
		require.NoError(t, err, tc.why)
		require.Equal(t, "1", got.ID, tc.why)
		require.Equal(t, []Warning{tc.warning}, warnings, tc.why)
	}
}

func TestRecordWarnsOfLegalInput(t *testing.T) {
	var codes []WarningCode
	_, err := Parser{Mode: Strict, Warn: func(w Warning) { codes = append(codes, w.Code) }}.Record("v=STSv1; id=1; x=y; id=2; x=z; v=1")
	require.NoError(t, err)
	require.Equal(t, []WarningCode{WarnUnknownField, WarnDuplicateField, WarnDuplicateField, WarnDuplicateField}, codes)
}

func TestRecordExtensions(t *testing.T) {
	record, err := Parser{}.Record("v=STSv1; a=1; id=x; b=2; a=3; bad; id=9; c=3;")
	require.NoError(t, err)
	var got []string
	for name, value := range record.Extensions() {
		got = append(got, name+"="+value)
	}
	require.Equal(t, []string{"a=1", "b=2", "c=3"}, got)
	for name := range record.Extensions() {
		require.Equal(t, "a", name, "stops when told to")
		break
	}
}

func TestSelectRecord(t *testing.T) {
	const good, other = "v=STSv1; id=1", "v=STSv1; id=2"
	for _, tc := range []struct {
		why string
		rrs []string
		err error
		id  string
	}{
		{"nothing there", nil, ErrNoRecord, ""},
		{"one", []string{good}, nil, "1"},
		{"one foreign", []string{"v=spf1 -all"}, ErrNoRecord, ""},
		{"one empty", []string{""}, ErrNoRecord, ""},
		{"one of a later version is foreign", []string{"v=STSv2; id=1"}, ErrNoRecord, ""},
		{"version without delimiter is foreign", []string{"v=STSv1"}, ErrNoRecord, ""},
		{"one with a blank before the semicolon", []string{"v=STSv1 ; id=1"}, nil, "1"},
		{"one malformed is not absent", []string{"v=STSv1; id="}, ErrRecordSyntax, ""},
		{"malformed after a blank is not absent", []string{"v=STSv1 id=1"}, ErrRecordSyntax, ""},
		{"foreign ones beside it do not count", []string{"v=spf1 -all", good, "google-site-verification=x"}, nil, "1"},
		{"only foreign ones", []string{"v=spf1 -all", "x"}, ErrNoRecord, ""},
		{"two", []string{good, other}, ErrMultipleRecords, ""},
		{"two identical", []string{good, good}, ErrMultipleRecords, ""},
		{"two, one malformed", []string{good, "v=STSv1; id="}, ErrMultipleRecords, ""},
		{"among several only eight octets count", []string{"v=STSv1 ; id=1", other}, nil, "2"},
		{"one malformed among foreign", []string{"x", "v=STSv1;"}, ErrRecordSyntax, ""},
		{"records are not joined", []string{"v=STSv1;", " id=1;"}, ErrRecordSyntax, ""},
	} {
		got, err := SelectRecord(tc.rrs, Strict)
		require.ErrorIs(t, err, tc.err, tc.why)
		require.Equal(t, tc.id, got.ID, tc.why)
	}
	got, err := SelectRecord([]string{"v=STSv1;; id=1"}, Tolerant)
	require.NoError(t, err)
	require.Equal(t, "1", got.ID)
}

// naiveRecord is RFC 8461 section 3.1 by split and check, and shares no code
// with the parser.
func naiveRecord(s string) (id string, ok bool) {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	const alnum = letters + "0123456789"
	only := func(s, set string) bool { return strings.Trim(s, set) == "" }
	parts := strings.Split(s, ";")
	if strings.TrimRight(parts[0], " \t") != "v=STSv1" || len(parts) < 2 {
		return "", false
	}
	parts = parts[1:]
	if last := len(parts) - 1; only(parts[last], " \t") {
		parts = parts[:last]
	} else if strings.TrimRight(parts[last], " \t") != parts[last] {
		return "", false
	}
	found := false
	for _, part := range parts {
		name, value, _ := strings.Cut(strings.Trim(part, " \t"), "=")
		switch {
		case name == "id" && !found:
			if value == "" || len(value) > 32 || !only(value, alnum) {
				return "", false
			}
			id, found = value, true
			continue
		case name == "" || len(name) > 32 || !only(name[:1], alnum) || !only(name, alnum+"_-."):
			return "", false
		case value == "":
			return "", false
		}
		for _, c := range []byte(value) {
			if c < 0x21 || c > 0x7e || c == ';' || c == '=' {
				return "", false
			}
		}
	}
	return id, found
}

// FuzzRecord: strict parsing agrees with the naive reading, strict success is
// tolerant success with the same record, warnings point inside the text, and the
// canonical text reads back.
func FuzzRecord(f *testing.F) {
	for _, s := range []string{
		"v=STSv1; id=20160831085700Z;", "v=STSv1 ; id=1 ; x=y", "v=STSv1;;id=1", "v=STSv1;id=1;id=;", "v=STSv1; id=1\r\n",
		"v=STSv1; id=a-b; id=1", "v=STSv1;\tid=1\t", "v=STSv1;id=1;v=;", "v=STSv1", "v=STSv1;x=a=b;id=1", "v=STSv1; id=1; \x00", "v=STSv1; id=1;\n\t ",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		strict, err := ParseRecord(s)
		id, ok := naiveRecord(s)
		require.Equal(t, ok, err == nil, "strict: %v", err)
		require.Equal(t, id, strict.ID)
		var warnings []Warning
		tolerant, tolerantErr := Parser{Warn: func(w Warning) { warnings = append(warnings, w) }}.Record(s)
		oneLine := strings.ReplaceAll(s, "\n", " ") // a record has no lines
		for _, w := range warnings {
			requireInside(t, oneLine, w.Line, w.Col)
		}
		if tolerantErr != nil {
			var syntax *SyntaxError
			require.ErrorAs(t, tolerantErr, &syntax)
			requireInside(t, oneLine, syntax.Line, syntax.Col)
		}
		if err != nil {
			return
		}
		require.NoError(t, tolerantErr)
		require.Equal(t, strict, tolerant)
		again, err := ParseRecord(strict.String())
		require.NoError(t, err)
		require.Equal(t, strict.ID, again.ID)
		for name, value := range strict.Extensions() {
			require.Contains(t, s, name+"="+value)
		}
	})
}

// requireInside: line and column point at an octet of the text or just behind a
// line.
func requireInside(t *testing.T, text string, line, col int) {
	t.Helper()
	lines := strings.Split(text, "\n")
	require.GreaterOrEqual(t, line, 1)
	require.LessOrEqual(t, line, len(lines))
	require.GreaterOrEqual(t, col, 1)
	require.LessOrEqual(t, col, len(lines[line-1])+1)
}
