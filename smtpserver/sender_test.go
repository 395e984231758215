package smtpserver

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseSender(t *testing.T) {
	for _, c := range []struct {
		text, lo, hi string // an interval of addresses
		canonical    string // "" is text itself
	}{
		{text: "192.0.2.7", lo: "192.0.2.7", hi: "192.0.2.7"},
		{text: "10", lo: "10.0.0.0", hi: "10.255.255.255", canonical: "10.0.0.0/8"},
		{text: "10.", lo: "10.0.0.0", hi: "10.255.255.255", canonical: "10.0.0.0/8"},
		{text: "10.1", lo: "10.1.0.0", hi: "10.1.255.255", canonical: "10.1.0.0/16"},
		{text: "10.1.2.", lo: "10.1.2.0", hi: "10.1.2.255", canonical: "10.1.2.0/24"},
		{text: "10.1.2.3-9", lo: "10.1.2.3", hi: "10.1.2.9"},
		{text: "10.1.2.4-7", lo: "10.1.2.4", hi: "10.1.2.7", canonical: "10.1.2.4/30"},
		{text: "10.1.2-5", lo: "10.1.2.0", hi: "10.1.5.255"},
		{text: "10.1.2-5.", lo: "10.1.2.0", hi: "10.1.5.255", canonical: "10.1.2-5"},
		{text: "10.1-3", lo: "10.1.0.0", hi: "10.3.255.255"},
		{text: "10-12.", lo: "10.0.0.0", hi: "12.255.255.255", canonical: "10-12"},
		{text: "0-255", lo: "0.0.0.0", hi: "255.255.255.255", canonical: "0.0.0.0/0"},
		{text: "10/8", lo: "10.0.0.0", hi: "10.255.255.255", canonical: "10.0.0.0/8"},
		{text: "10.1/16", lo: "10.1.0.0", hi: "10.1.255.255", canonical: "10.1.0.0/16"},
		{text: "10.1.2.3/8", lo: "10.0.0.0", hi: "10.255.255.255", canonical: "10.0.0.0/8"},
		{text: "10.1.2.3/32", lo: "10.1.2.3", hi: "10.1.2.3", canonical: "10.1.2.3"},
		{text: "2001:db8::1", lo: "2001:db8::1", hi: "2001:db8::1"},
		{text: "2001:DB8:0::1", lo: "2001:db8::1", hi: "2001:db8::1", canonical: "2001:db8::1"},
		{text: "2001:db8::1-2001:db8::ff", lo: "2001:db8::1", hi: "2001:db8::ff"},
		{text: "2001:db8::/32", lo: "2001:db8::", hi: "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"},
		{text: "2001:db8::1/32", lo: "2001:db8::", hi: "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", canonical: "2001:db8::/32"},
		{text: "::/0", lo: "::", hi: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{text: "2001:db8:1-4::1", lo: "2001:db8:1::1", hi: "2001:db8:4::1", canonical: "2001:db8:1-4:0:0:0:0:1"},
		{text: "2001:db8::1-4", lo: "2001:db8::1", hi: "2001:db8::4", canonical: "2001:db8::1-2001:db8::4"},
		{text: "1::2-3:4", lo: "1::2:4", hi: "1::3:4", canonical: "1:0:0:0:0:0:2-3:4"},
		{text: "::1-2::3", lo: "::1", hi: "2::3"},
		{text: "::ffff:10.1.2.3", lo: "10.1.2.3", hi: "10.1.2.3", canonical: "10.1.2.3"},
		{text: "::ffff:10.1.2.3/104", lo: "10.0.0.0", hi: "10.255.255.255", canonical: "10.0.0.0/8"},
		{text: "::ffff:10.1.2.3/90", lo: "::ffc0:0:0", hi: "::ffff:ffff:ffff", canonical: "::ffc0:0:0/90"},
	} {
		s, err := ParseSender(c.text)
		require.NoError(t, err, c.text)
		require.Equal(t, netip.MustParseAddr(c.lo).String(), s.lo.String(), c.text)
		require.Equal(t, netip.MustParseAddr(c.hi).String(), s.hi.String(), c.text)
		if c.canonical == "" {
			c.canonical = c.text
		}
		require.Equal(t, c.canonical, s.String(), c.text)
	}
	for text, want := range map[string]string{
		"ALL": "ALL", "all": "ALL",
		"mx.example.com": "mx.example.com", "MX.Example.COM.": "mx.example.com",
		".example.com": ".example.com", ".Bücher.example": ".xn--bcher-kva.example",
		"localhost": "localhost", "1und1.de": "1und1.de", "sbrs.example.com": "sbrs.example.com",
	} {
		s, err := ParseSender(text)
		require.NoError(t, err, text)
		require.Equal(t, want, s.String(), text)
	}
}

func TestParseSenderRefuses(t *testing.T) {
	for _, c := range []struct{ text, because string }{
		{"", "empty"},
		{".", "lone dot"},
		{"10.1-2.3", "last octet only"},
		{"10.1.2.9-3", "backwards"},
		{"10.1.2.256", "up to 255"},
		{"10.01.2.3", "leading zero"},
		{"10.1.2.3-09", "leading zero"},
		{"10..2", "missing"},
		{".10", "missing"},
		{"10.1.2.3.", "four octets"},
		{"1.2.3.4.5", "four octets"},
		{"10.1.2.3/33", "up to 32"},
		{"10.1.2.3/", "up to 32"},
		{"10.1.2.3/08", "up to 32"},
		{"10.1.2-3/24", "exclude each other"},
		{"10.0.0.1-10.0.0.9", "last octet alone"},
		{"-", "missing"},
		{"fe80::1%eth0", "zone"},
		{"[2001:db8::1]", "brackets"},
		{"2001:db8::/129", "up to 128"},
		{"2001:db8::ff-2001:db8::1", "backwards"},
		{"2001:db8:4-1::1", "backwards"},
		{"2001:db8:1-4:1-4::1", "more than one range"},
		{"2001:db8:1-4", "neither"},
		{"2001:db8:1-fffff::1", "neither"},
		{"::ffff:10.1.2.3-9", "neither"},
		{"::ffff:10.1.2.3-::ffff:10.1.2.9", "IPv6 form"},
		{"::ffff:10.1.2.3-2001::", "one end"},
		{"*.example.com", "wildcards"},
		{"mx.*.example.com", "wildcards"},
		{"mx example.com", ""},
		{"-mx.example.com/24", ""},
		{strings.Repeat("a", 64) + ".example.com", ""},
		{"..example.com", ""},
	} {
		s, err := ParseSender(c.text)
		require.Error(t, err, "%q gave %v", c.text, s)
		require.ErrorContains(t, err, c.because, c.text)
	}
	for _, text := range []string{"SBRS[-10:-3]", "sbrs[none]", "SBO:2", "dnslist[bl.example.net]", "SBRS"} {
		_, err := ParseSender(text)
		require.ErrorIs(t, err, ErrUnsupportedCondition, text)
	}
}

func FuzzParseSender(f *testing.F) {
	for _, s := range []string{"10.1.2.3-9", "10.1/16", "2001:db8:1-4::1", "::1-2::3", ".example.com", "ALL", "::ffff:1.2.3.4/100", "10-12."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSender(text)
		if err != nil {
			require.Zero(t, s)
			return
		}
		again, err := ParseSender(s.String())
		require.NoError(t, err, "%q gave %q", text, s.String())
		require.Equal(t, s, again, "%q gave %q", text, s.String())
		if s.kind == senderRange || s.kind == senderGroup {
			require.False(t, s.hi.Less(s.lo))
			require.False(t, s.lo.Is4In6(), "a mapped address is IPv4")
		}
	})
}
