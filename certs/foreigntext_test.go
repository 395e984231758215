package certs

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClip(t *testing.T) {
	for _, tc := range []struct{ why, in, want string }{
		{"short", "abc", "abc"},
		{"just as long", "abcdef", "abcdef"},
		{"longer", "abcdefg", "abcdef..."},
		{"not within a character", "abcdeö", "abcde..."},
		{"nor within one of four octets", "abc\U0001f600", "abc..."},
		{"octets that are no text", "\x80\x80\x80\x80\x80\x80\x80\x80", "\x80\x80..."},
	} {
		require.Equal(t, tc.want, clipTo(tc.in, 6), tc.why)
	}
	long := clip(strings.Repeat("a", 1000))
	require.Equal(t, long, clip(long), "what is stored and read again does not shrink")
}

func TestNameList(t *testing.T) {
	require.Equal(t, "none", nameList(nil))
	require.Equal(t, `"a", "b"`, nameList([]string{"a", "b"}))
	require.Equal(t, strings.Repeat(`"a", `, listedNames)+"and 2 more", nameList(strings.Split(strings.Repeat("a", listedNames+2), "")))
}

func TestNameText(t *testing.T) {
	cert := &x509.Certificate{Subject: pkix.Name{CommonName: "a"}, RawSubject: make([]byte, maxNameOctets), RawIssuer: make([]byte, maxNameOctets+1)}
	require.Equal(t, "CN=a", subjectText(cert))
	require.Equal(t, "(a name of 4097 octets)", issuerText(cert))
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"CN=Főtanúsítvány": "CN=Főtanúsítvány",
		"":                 "",
		"a\nb\rc\td":       `a\nb\rc\td`,
		"a\xffb":           `a\xffb`,
		"\ufffd":           "\ufffd",
		"\u202e":           `\u202e`,
		"\U000e0001":       `\U000e0001`,
		"\x00":             `\x00`,
	} {
		require.Equal(t, want, printable(in), "%q", in)
	}
}
