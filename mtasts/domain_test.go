package mtasts

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNormalDomain(t *testing.T) {
	l63 := strings.Repeat("a", 63)
	for _, tc := range []struct{ why, in, want string }{
		{"canonical", "example.com", "example.com"},
		{"letter case", "EXAMPLE.com", "example.com"},
		{"one final dot", "example.com.", "example.com"},
		{"U-label", "B\u00fccher.example", "xn--bcher-kva.example"},
		{"A-label is not decoded", "xn--a.example", "xn--a.example"},
		{"one label", "example", "example"},
		{"244 octets", l63 + "." + l63 + "." + l63 + "." + strings.Repeat("a", 52), l63 + "." + l63 + "." + l63 + "." + strings.Repeat("a", 52)},
	} {
		got, err := normalDomain(tc.in)
		require.NoError(t, err, tc.why)
		require.Equal(t, tc.want, got, tc.why)
	}
}

// badDomains must cause no query, no connection and no key.
var badDomains = []struct{ why, in string }{
	{"empty", ""},
	{"root", "."},
	{"two final dots", "example.com.."},
	{"leading dot", ".example.com"},
	{"empty label", "a..example"},
	{"address literal", "[192.0.2.1]"},
	{"IPv6 literal", "[IPv6:2001:db8::1]"},
	{"IPv4", "192.0.2.1"},
	{"IPv4 with dot", "192.0.2.1."},
	{"IPv6", "2001:db8::1"},
	{"underscore", "_mta-sts.example.com"},
	{"NUL", "example.com\x00.evil.example"},
	{"slash", "example.com/.well-known"},
	{"user", "user@example.com"},
	{"port", "example.com:443"},
	{"blank", "example .com"},
	{"line break", "example.com\r\nHost: x"},
	{"wildcard", "*.example.com"},
	{"hyphen at a label's start", "-example.com"},
	{"hyphen at a label's end", "example-.com"},
	{"label of 64", strings.Repeat("a", 64) + ".example"},
	{"245 octets", strings.Repeat("a.", 122) + "a"},
	{"endless", strings.Repeat("\u00fc", 1000)},
	{"Kelvin sign", "\u212a.example"},
	{"full-width", "\uff41.example"},
	{"ideographic full stop", "example\u3002com"},
	{"percent", "example%2ecom"},
	{"not UTF-8", "ex\xffample.com"},
}

func TestNormalDomainRefuses(t *testing.T) {
	for _, tc := range badDomains {
		got, err := normalDomain(tc.in)
		require.ErrorIs(t, err, ErrDomain, tc.why)
		require.NotErrorIs(t, err, ErrFetch, tc.why)
		require.Empty(t, got, tc.why)
		require.Less(t, len(err.Error()), 2000, tc.why)
	}
}
