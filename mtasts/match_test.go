package mtasts

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

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

// TestMatchEveryOctetEverywhere: the matcher, which looks at several octets at
// once, sees each octet and each two neighbours wherever they stand.
func TestMatchEveryOctetEverywhere(t *testing.T) {
	check := func(pattern, host string) {
		require.Equal(t, referenceMatch(pattern, host), MatchPattern(pattern, host), "%q, %q", pattern, host)
	}
	const name = "mx-1.relay-9.Example.org"
	for at := range len(name) {
		for c := range 0x80 {
			host := name[:at] + string(rune(c)) + name[at+1:]
			check(name, host)
			check(host, host)
			check("*"+host[4:], host)
			check("*"+host[4:], name)
			for _, next := range ".-_*x" {
				pair := host[:at] + string(rune(c)) + string(next) + host[at+1:]
				check(pair, pair)
				check("*"+pair[4:], pair)
			}
		}
	}
	for n := 1; n < 70; n++ { // around the lengths of a word and of a label
		label := strings.Repeat("x", n)
		for _, host := range []string{label, label + ".a", "a." + label, label + "-.example", "example.-" + label, label + ".1"} {
			check(host, strings.ToUpper(host))
			check("*."+host, "mx."+host)
			check(host, host+"x")
		}
	}
}

// FuzzMatch: the matcher agrees with the reference, letter case never matters,
// the parser stores what matches, and nothing panics.
func FuzzMatch(f *testing.F) {
	for _, v := range readVectors(f, "matches.txt", matchKeys...) {
		f.Add(v.octets(f, "pattern")[0], v.octets(f, "host")[0])
	}
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
