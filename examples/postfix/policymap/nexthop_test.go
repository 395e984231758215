package policymap

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseKey(t *testing.T) {
	for _, test := range []struct{ key, want, why string }{
		{"example.com", "example.com", "a recipient domain"},
		{"EXAMPLE.Com.", "example.com", "letter case and the final dot do not count"},
		{"bücher.example", "xn--bcher-kva.example", "with SMTPUTF8 Postfix sends U-labels"},
		{"example.com:587", "example.com:587", "MX hosts, at another port"},
		{"example.com:submission", "example.com:587", "transport(5) takes names of services"},
		{"[mx.example.com]", "[mx.example.com]", "a host without MX look-up"},
		{"[MX.example.com.]:25", "[mx.example.com]:25", ""},
		{"[192.0.2.1]", "[192.0.2.1]", "an address"},
		{"[2001:db8:0::1]:587", "[2001:db8::1]:587", "in its shortest form"},
		{"[ipv6:2001:db8::1]", "[2001:db8::1]", "the form of RFC 5321 section 4.1.3"},
		{"[::ffff:192.0.2.1]", "[192.0.2.1]", "one host, one key"},
		{".example.com", ".example.com", "Postfix asks for the parents of a domain"},
		{".com", ".com", ""},
		{"_tls.example", "_tls.example", "an underscore is found in the wild"},

		{"", "", "Postfix has no empty next hop"},
		{".", "", ""},
		{"..", "", ""},
		{"*", "", "not a wildcard of ours"},
		{"a..b", "", "an empty label"},
		{"192.0.2.1", "", "an address stands in brackets; Postfix does not look for MX records of it"},
		{"2001:db8::1", "", ""},
		{"[mx.example.com", "", "brackets"},
		{"[]", "", ""},
		{"[]:25", "", ""},
		{"[mx.example.com]25", "", ""},
		{"[mx.example.com]:", "", "a port that is none"},
		{"example.com:0", "", ""},
		{"example.com:65536", "", ""},
		{"example.com:no-such-service", "", ""},
		{"user@example.com", "", "an address of mail"},
		{"/var/run/lmtp", "", "the socket of an LMTP server"},
		{"example.com example.net", "", ""},
		{"example.com\x00", "", ""},
		{"secure match=evil.example", "", "not an entry"},
	} {
		hop, err := ParseKey(test.key)
		if test.want == "" {
			require.ErrorIs(t, err, ErrKey, "%q %s", test.key, test.why)
			require.Zero(t, hop, test.key)
			continue
		}
		require.NoError(t, err, "%q %s", test.key, test.why)
		require.Equal(t, test.want, hop.String(), "%q %s", test.key, test.why)
	}
}

// What is accepted has one form, and that form is accepted.
func FuzzParseKey(f *testing.F) {
	for _, key := range []string{"example.com", "[mx.example.com]:587", "[::1]", ".com", "bücher.example:25", "[192.0.2.1"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		hop, err := ParseKey(key)
		if err != nil {
			require.ErrorIs(t, err, ErrKey)
			return
		}
		again, err := ParseKey(hop.String())
		require.NoError(t, err)
		require.Equal(t, hop, again)
		require.True(t, (hop.Host == "") != (hop.Domain == ""))
	})
}
