package mtasts

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMatchPattern(t *testing.T) {
	long63 := strings.Repeat("a", 63)
	for _, tc := range []struct {
		why, pattern, host string
		want               bool
	}{
		{"equal", "mx.example", "mx.example", true},
		{"letter case", "MX.example", "mx.EXAMPLE", true},
		{"trailing dot on the host", "mx.example", "mx.example.", true},
		{"trailing dot on the pattern", "mx.example.", "mx.example", true},
		{"two trailing dots on the host", "mx.example", "mx.example..", false},
		{"two trailing dots on the pattern", "mx.example..", "mx.example", false},
		{"no implicit subdomain", "example", "mx.example", false},
		{"no implicit parent", "mx.example", "example", false},
		{"suffix without dot", "example.com", "badexample.com", false},
		{"wildcard, one label", "*.example", "mx.example", true},
		{"wildcard, letter case", "*.Example", "mx.eXAMPLE", true},
		{"wildcard, dots", "*.example.", "mx.example.", true},
		{"wildcard is not the parent", "*.example", "example", false},
		{"wildcard is not two labels", "*.example", "a.mx.example", false},
		{"wildcard, empty label", "*.example", ".example", false},
		{"wildcard under a public suffix", "*.com", "example.com", true},
		{"wildcard, underscore and hyphens in the label", "*.example", "-a_b-.example", true},
		{"wildcard, label of 63", "*.example", long63 + ".example", true},
		{"wildcard, label of 64", "*.example", long63 + "a.example", false},
		{"wildcard, star as label", "*.example", "*.example", false},
		{"wildcard, NUL in the label", "*.example", "a\x00b.example", false},
		{"wildcard, blank in the label", "*.example", "a b.example", false},
		{"wildcard, colon in the label", "*.example", "a:b.example", false},
		{"wildcard, bracket in the label", "*.example", "[a].example", false},
		{"star alone", "*", "example", false},
		{"star alone, star as host", "*", "*", false},
		{"star and dot", "*.", "example", false},
		{"partial wildcard", "m*.example", "mx.example", false},
		{"inner wildcard", "a.*.example", "a.b.example", false},
		{"two wildcards", "*.*.example", "a.b.example", false},
		{"double star", "**.example", "mx.example", false},
		{"dot first", ".example", "mx.example", false},
		{"dot first, equal", ".example", ".example", false},
		{"empty label, equal", "a..b", "a..b", false},
		{"empty pattern", "", "mx.example", false},
		{"empty host", "mx.example", "", false},
		{"dot as host", "mx.example", ".", false},
		{"both empty", "", "", false},
		{"both a dot", ".", ".", false},
		{"blank in the pattern", "mx.example ", "mx.example ", false},
		{"hyphen at a label's edge in the pattern", "-mx.example", "-mx.example", false},
		{"underscore in the pattern", "m_x.example", "m_x.example", true},
		{"address", "192.0.2.1", "192.0.2.1", false},
		{"wildcard over an address", "*.0.2.1", "192.0.2.1", false},
		{"last label of digits", "mx.123", "mx.123", false},
		{"digits in other labels", "123.example", "123.example", true},
		{"254 octets", strings.Repeat("a.", 126) + "aa", strings.Repeat("a.", 126) + "aa", false},
		{"253 octets", strings.Repeat("a.", 126) + "a", strings.Repeat("a.", 126) + "a", true},
		{"253 octets and a dot", strings.Repeat("a.", 126) + "a", strings.Repeat("a.", 126) + "a.", true},
		{"A-label and itself", "xn--bcher-kva.example", "XN--BCHER-KVA.example", true},
		{"A-label and U-label", "xn--bcher-kva.example", "b\u00fccher.example", true},
		{"A-label and upper-case U-label", "xn--bcher-kva.example", "B\u00dcCHER.example", true},
		{"A-label and decomposed U-label", "xn--bcher-kva.example", "bu\u0308cher.example", true},
		{"wildcard and U-label host", "*.xn--bcher-kva.example", "mx.b\u00fccher.example", true},
		{"wildcard for the U-label", "*.example", "b\u00fccher.example", true},
		{"wildcard and A-label host", "*.example", "xn--bcher-kva.example", true},
		{"wildcard and undecodable A-label host", "*.example", "xn--a.example", true},
		{"undecodable A-label matches itself", "xn--a.example", "xn--a.example", true},
		{"U-label pattern is not converted", "b\u00fccher.example", "b\u00fccher.example", false},
		{"non-transitional: sharp s is not ss", "strasse.example", "stra\u00dfe.example", false},
		{"non-transitional: sharp s", "xn--strae-oqa.example", "stra\u00dfe.example", true},
		{"Kelvin sign is not k", "k.example", "\u212a.example", false},
		{"Kelvin sign beside a U-label", "xn--k-eha.example", "\u212a\u00fc.example", false},
		{"dotted capital I is not i", "i.example", "\u0130.example", false},
		{"full-width letter is not a letter", "a.example", "\uff41.example", false},
		{"ideographic full stop is no dot", "a.example", "a\u3002example", false},
		{"wildcard and ideographic full stop", "*.example", "a\u3002b.example", false},
		{"soft hyphen does not vanish", "ab.example", "a\u00adb.example", false},
		{"not UTF-8", "*.example", "a\xff.example", false},
		{"emptied by mapping", "*.example", "\u00ad.example", false},
	} {
		require.Equal(t, tc.want, MatchPattern(tc.pattern, tc.host), "%s: pattern %q host %q", tc.why, tc.pattern, tc.host)
		p := &Policy{MX: []string{"other.example.org", tc.pattern}}
		require.Equal(t, tc.want, p.Match(tc.host), "%s: in a policy", tc.why)
		r := &Result{Policy: p}
		require.Equal(t, tc.want, r.Match(tc.host), "%s: in a result", tc.why)
	}
}

func TestMatchWithoutPolicy(t *testing.T) {
	require.False(t, new(Result).Match("mx.example"))
	require.False(t, new(Policy).Match("mx.example"))
	require.False(t, new(Policy).Match("m\u00fc.example"))
}

// referenceMatch compares label by label and shares no code with the matcher;
// host is ASCII.
func referenceMatch(pattern, host string) bool {
	ldh := func(label string, edges bool) bool {
		if label == "" || len(label) > 63 || edges && (strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-")) {
			return false
		}
		return strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
	}
	pattern, host = strings.TrimSuffix(pattern, "."), strings.TrimSuffix(host, ".")
	p, h := strings.Split(pattern, "."), strings.Split(host, ".")
	if len(host) > 253 || len(p) != len(h) || strings.Trim(h[len(h)-1], "0123456789") == "" {
		return false
	}
	for i := range p {
		switch {
		case i == 0 && p[0] == "*" && len(p) > 1:
			if !ldh(h[0], false) {
				return false
			}
		case !ldh(p[i], true) || !ldh(h[i], true) || !strings.EqualFold(p[i], h[i]):
			return false
		}
	}
	return true
}

// FuzzMatch: the matcher agrees with the reference, letter case never matters,
// the parser stores what matches, and nothing panics.
func FuzzMatch(f *testing.F) {
	for _, s := range [][2]string{
		{"*.example.com", "mx.b\u00fccher.example.com"}, {"*.example.com", "xn--bcher-kva.example.com"}, {"*.", "."}, {"*", ""}, {"*.a", ".a"},
		{"a.b.", "A.B"}, {"*.0.2.1", "192.0.2.1"}, {"\u212a", "k"}, {"*.a", strings.Repeat("x", 64) + ".a"}, {"a..b", "a..b"}, {"*.*.a", "b.c.a"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, host string) {
		got := MatchPattern(pattern, host)
		require.Equal(t, got, (&Policy{MX: []string{pattern}}).Match(host))
		if isASCII(host) {
			require.Equal(t, referenceMatch(pattern, host), got)
			require.Equal(t, got, MatchPattern(pattern, strings.ToUpper(host)))
			if isASCII(pattern) {
				require.Equal(t, got, MatchPattern(strings.ToUpper(pattern), host))
				require.Equal(t, got, MatchPattern(strings.ToLower(pattern), strings.ToLower(host)))
			}
		}
		if got {
			stored, ok := writtenPattern(strings.TrimSuffix(pattern, "."))
			require.True(t, ok)
			require.True(t, MatchPattern(stored, host))
		}
	})
}
