package smtpclient

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func ehlo(t testing.TB, lines ...string) (Extensions, []string) {
	t.Helper()
	var b strings.Builder
	for i, line := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		b.WriteString("250" + sep + line + "\r\n")
	}
	r, _, err := readReply(t, strings.NewReader(b.String()))
	require.NoError(t, err)
	return parseEHLO(r, testLimits(t))
}

func TestEHLO(t *testing.T) {
	tests := []struct {
		name     string
		lines    []string
		starttls bool
		keywords []string
	}{
		{"plain", []string{"mx", "SIZE 100", "STARTTLS"}, true, []string{"SIZE", "STARTTLS"}},
		{"first line never counts", []string{"STARTTLS"}, false, nil},
		{"first line never counts, with more", []string{"STARTTLS", "SIZE"}, false, []string{"SIZE"}},
		{"case folds", []string{"mx", "startTLS"}, true, []string{"STARTTLS"}},
		{"a parameter does not hide it", []string{"mx", "STARTTLS now"}, true, []string{"STARTTLS"}},
		{"trailing space", []string{"mx", "STARTTLS "}, true, []string{"STARTTLS"}},
		{"mangled", []string{"mx", "XXXXXXXA"}, false, []string{"XXXXXXXA"}},
		{"a longer word is another keyword", []string{"mx", "STARTTLSX"}, false, []string{"STARTTLSX"}},
		{"in a parameter it is none", []string{"mx", "X STARTTLS"}, false, []string{"X"}},
		{"leading space is no keyword", []string{"mx", " STARTTLS"}, false, nil},
		{"old AUTH form is no keyword", []string{"mx", "AUTH=LOGIN", "AUTH PLAIN"}, false, []string{"AUTH"}},
		{"control octets are no keyword", []string{"mx", "START\x01TLS"}, false, nil},
		{"other alphabets are no keyword", []string{"mx", "\u017fTARTTLS"}, false, nil},
		{"hyphen inside", []string{"mx", "X-ANYTHING"}, false, []string{"X-ANYTHING"}},
		{"hyphen in front", []string{"mx", "-X"}, false, nil},
		{"empty line", []string{"mx", ""}, false, nil},
	}
	for _, test := range tests {
		ext, raw := ehlo(t, test.lines...)
		require.Equal(t, test.starttls, ext.Has("starttls"), test.name)
		var keywords []string
		for keyword := range ext.All() {
			keywords = append(keywords, keyword)
		}
		require.Equal(t, test.keywords, keywords, test.name)
		require.Len(t, raw, len(test.lines)-1, test.name)
		require.Equal(t, len(test.keywords), ext.Len(), test.name)
	}
}

func TestEHLOParameters(t *testing.T) {
	ext, _ := ehlo(t, "mx", "SIZE  1000 ", "AUTH PLAIN LOGIN", "auth OTHER")
	params, ok := ext.Lookup("size")
	require.True(t, ok)
	require.Equal(t, "1000", params)
	params, _ = ext.Lookup("AUTH")
	require.Equal(t, "PLAIN LOGIN", params, "the first of several counts")
	_, ok = ext.Lookup("DSN")
	require.False(t, ok)
	for range ext.All() {
		break // stopping early is fine
	}
}

func TestEHLOLimit(t *testing.T) {
	lines := []string{"mx"}
	for range 90 {
		lines = append(lines, "X")
	}
	ext, raw := ehlo(t, append(lines, "Y")...)
	require.Equal(t, DefaultEHLOKeywords, ext.Len())
	require.Len(t, raw, DefaultEHLOKeywords)
	ext, raw = ehlo(t, append(lines, "Y", "starttls on", "STARTTLS", "Z")...)
	require.True(t, ext.Has("STARTTLS"), "what our limit leaves out must not be missed")
	require.False(t, ext.Has("Z"))
	require.Equal(t, "starttls on", raw[DefaultEHLOKeywords])
	require.Len(t, raw, DefaultEHLOKeywords+1)
}

func FuzzEHLO(f *testing.F) {
	f.Add("mx\nSTARTTLS\nSIZE 10")
	f.Add("STARTTLS")
	f.Add("mx\nstarttls x\n\x80\n-\nA=B")
	f.Add("mx\n" + strings.Repeat("B", peerText+1) + "\nC")
	f.Fuzz(func(t *testing.T, text string) {
		var wire strings.Builder
		lines := strings.Split(text, "\n")
		for i, line := range lines {
			sep := "-"
			if i == len(lines)-1 {
				sep = " "
			}
			wire.WriteString("250" + sep + line + "\n")
		}
		r, _, err := readReply(t, strings.NewReader(wire.String()))
		if err != nil {
			return
		}
		ext, raw := parseEHLO(r, testLimits(t))
		require.LessOrEqual(t, len(raw), DefaultEHLOKeywords+1)
		require.LessOrEqual(t, ext.Len(), len(raw))
		for keyword, params := range ext.All() {
			require.Regexp(t, `^[A-Z0-9][A-Z0-9-]*$`, keyword)
			require.Regexp(t, `^[ -~]*$`, params)
			found := false
			for _, line := range lines[1:] { // never the first
				first, _, _ := strings.Cut(strings.TrimRight(line, "\r"), " ")
				found = found || strings.EqualFold(first, keyword)
			}
			require.True(t, found, "%q is in no line but the first", keyword)
		}
	})
}
