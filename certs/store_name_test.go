package certs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestEscapeName(t *testing.T) {
	for _, tc := range []struct{ why, name, want string }{
		{"as it is", "mx1.example.com", "mx1.example.com"},
		{"letter case makes no other entry", "MX1.Example.com", "mx1.example.com"},
		{"Kelvin sign folds to k", "\u212ay", "ky"},
		{"long s folds to s", "\u017ft", "st"},
		{"wildcard", "*.example.com", "%2A.example.com"},
		{"parent folder", "..", "%2E%2E"},
		{"this folder", ".", "%2E"},
		{"hidden", ".tmp-1", "%2Etmp-1"},
		{"final dot, which some systems drop", "a.", "a%2E"},
		{"separator", "../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"},
		{"the other separator", `a\b`, "a%5Cb"},
		{"percent", "100%", "100%25"},
		{"already escaped", "%2F", "%252f"},
		{"blank", "Inbound mail", "inbound%20mail"},
		{"colon: stream or drive", "c:x", "c%3Ax"},
		{"device", "NUL", "%6Eul"},
		{"device with suffix", "com1.example.com", "%63om1.example.com"},
		{"no device", "com1x.example.com", "com1x.example.com"},
		{"umlaut", "bücher", "b%C3%BCcher"},
		{"longest", strings.Repeat("a", 128), strings.Repeat("a", 128)},
	} {
		got, err := EscapeName(tc.name)
		require.NoError(t, err, tc.why)
		require.Equal(t, tc.want, got, tc.why)
		name, ok := unescapeName(got)
		require.True(t, ok, tc.why)
		require.Equal(t, foldName(tc.name), name, tc.why)
	}
	for why, name := range map[string]string{
		"empty": "", "NUL octet": "a\x00b", "line feed": "a\nb", "not UTF-8": "\xff",
		"too long": strings.Repeat("a", 129), "too long when escaped": strings.Repeat("*", 43),
	} {
		_, err := EscapeName(name)
		var field *FieldError
		require.ErrorAs(t, err, &field, why)
		require.Equal(t, "Name", field.Field)
	}
	for why, folder := range map[string]string{
		"upper case": "MX", "small hex digits": "%2a", "escaped without need": "%61b", "cut short": "a%2",
		"dot in front": ".tmp-1", "empty": "", "not hex": "%zz",
	} {
		_, ok := unescapeName(folder)
		require.False(t, ok, why)
	}
}

// Names and folders go back and forth, and no folder leads out of its place.
func FuzzEscapeName(f *testing.F) {
	for _, s := range []string{"mx.example.com", "..", "../x", "a/b", `a\b`, "NUL", "com1.x", "%41", "\u212a", "\u0130", "a.", ".a", "*"} {
		f.Add(s)
	}
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, name string) {
		folder, err := EscapeName(name)
		if err != nil {
			return
		}
		require.NotEmpty(t, folder)
		require.LessOrEqual(t, len(folder), maxEscaped)
		require.True(t, utf8.ValidString(folder))
		require.True(t, filepath.IsLocal(folder))
		require.Equal(t, folder, filepath.Base(folder))
		require.Equal(t, root, filepath.Dir(filepath.Join(root, folder)))
		require.NotContains(t, folder, string(os.PathSeparator))
		back, ok := unescapeName(folder)
		require.True(t, ok)
		require.Equal(t, foldName(name), back)
		again, err := EscapeName(strings.ToUpper(back))
		if err == nil && strings.EqualFold(strings.ToUpper(back), back) {
			require.Equal(t, folder, again, "letter case makes no other folder")
		}
	})
}
