package mtasts

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

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
	for _, v := range readVectors(f, "records.txt", recordKeys...) {
		f.Add(strings.Join(v.octets(f, "text"), ""))
	}
	for _, s := range []string{"v=STSv1 ; id=1 ; x=y", "v=STSv1;;id=1", "v=STSv1;\tid=1\t", "v=STSv1;id=1;v=;", "v=STSv1; id=1; \x00", "v=STSv1; id=1;\n\t "} {
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
