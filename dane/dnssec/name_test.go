package dnssec

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

func TestNormalName(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	name255 := strings.Repeat(strings.Repeat("a", 49)+".", 5) + "aaa." // 5*50 + 4 + root
	for _, c := range []struct{ in, want, why string }{
		{"mail.example.", "mail.example.", "normal already"},
		{"Mail.EXAMPLE", "mail.example.", "case and final dot are free"},
		{".", ".", "the root"},
		{"_25._tcp.mx.example", "_25._tcp.mx.example.", "underscores are what TLSA names are made of"},
		{"*.example", "*.example.", "a literal wildcard can be asked for"},
		{"0/25.2.0.192.in-addr.arpa", "0/25.2.0.192.in-addr.arpa.", "RFC 2317"},
		{`a\.b.example`, `a\.b.example.`, "an escaped dot is no label border"},
		{`\097\066.example`, "ab.example.", "one octet has one spelling, in lower case"},
		{`a\ b.example`, "", "a raw blank is no escape; it is written \\032"},
		{`a\032b.example`, `a\032b.example.`, "a blank, escaped"},
		{`\255.example`, `\255.example.`, "any octet can be in a label"},
		{`a\@b.example`, `a\@b.example.`, "printable octets are escaped as they are"},
		{label63 + ".example", label63 + ".example.", "the longest label"},
		{label63 + "a.example", "", "a label too long"},
		{name255, name255, "the longest name"},
		{"a" + name255, "", "a name too long"},
		{strings.TrimSuffix(name255, "."), name255, "the longest name, without its dot"},
		{strings.Repeat(`\255.`, 127), strings.Repeat(`\255.`, 127), "the limit is on octets, not on their spelling"},
		{strings.Repeat(`\255.`, 128), "", "128 labels are 257 octets"},
		{"", "", "nothing to ask for"},
		{"..", "", "empty label"},
		{"a..example", "", "empty label inside"},
		{".example", "", "empty label in front"},
		{"bücher.example", "", "U-labels must be converted first"},
		{"user@example", "", "a mail address is no domain"},
		{"a b.example", "", "blank"},
		{"[192.0.2.1]", "", "an address literal is no domain"},
		{"a\x00b.example", "", "control octet"},
		{`a\`, "", "escape without octet"},
		{`a\2`, "", "escape cut short"},
		{`a\256.example`, "", "no octet"},
		{`a\12x.example`, "", "not three digits"},
		{`a\` + "\x01", "", "control octet in an escape"},
	} {
		got, problem := normalName(c.in)
		require.Equal(t, c.want, got, c.why)
		require.Equal(t, c.want == "", problem != "", c.why)
		if c.want != "" {
			again, problem := normalName(got)
			require.Equal(t, got, again, "normal names stay as they are")
			require.Empty(t, problem)
		}
	}
}

func TestNormalNameAllocs(t *testing.T) {
	for _, name := range []string{"_25._tcp.mx.example.", "."} {
		require.Zero(t, testing.AllocsPerRun(100, func() { normalName(name) }), name)
	}
}

func wire(t testing.TB, s string) wireName {
	w, problem := parseName(s)
	require.Empty(t, problem, s)
	return w
}

func TestBelow(t *testing.T) {
	for _, c := range []struct {
		name, ancestor string
		want           bool
		why            string
	}{
		{"a.example", "example", true, "child"},
		{"b.a.example", "example", true, "grandchild"},
		{"example", ".", true, "everything is below the root"},
		{".", ".", false, "strictly below"},
		{"example", "example", false, "strictly below"},
		{"example", "a.example", false, "the wrong way round"},
		{"badexample", "example", false, "a string suffix is no ancestor"},
		{`a\.example`, "example", false, "an escaped dot is no label border"},
		{`a\007example`, "example", false, "the octets of a whole label, inside a label"},
	} {
		require.Equal(t, c.want, wire(t, c.name).below(wire(t, c.ancestor)), c.why)
	}
}

func TestSubstitute(t *testing.T) {
	got, ok := wire(t, "b.a.old.example").substitute(wire(t, "old.example"), wire(t, "new.example"))
	require.True(t, ok)
	require.Equal(t, "b.a.new.example.", got.String())
	got, ok = wire(t, "a.example").substitute(rootName, wire(t, "x"))
	require.True(t, ok)
	require.Equal(t, "a.example.x.", got.String())
	long := strings.Repeat(strings.Repeat("a", 62)+".", 3)
	_, ok = wire(t, long+"old").substitute(wire(t, "old"), wire(t, long+"new"))
	require.False(t, ok, "a name that grows beyond 255 octets is no name")
}

func TestIsHost(t *testing.T) {
	for _, c := range []struct {
		name string
		want bool
	}{
		{"mx-1.example", true}, {"mx_1.example", true}, {".", false}, {"*.example", false}, {`a\032b.example`, false}, {"a/b.example", false},
	} {
		require.Equal(t, c.want, wire(t, c.name).isHost(), c.name)
	}
}

// A name that is accepted has one spelling, which reads back to the same octets, and the octets are those that another
// implementation makes of it.
func FuzzNormalName(f *testing.F) {
	for _, s := range []string{"example", "a.B.", `a\.b`, `\000`, ".", `a\`, strings.Repeat("a.", 127)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		normal, problem := normalName(s)
		w, problem2 := parseName(s)
		require.Equal(t, problem == "", problem2 == "", "the short way and the long way agree on what is a name")
		if problem != "" {
			return
		}
		require.Equal(t, w.String(), normal)
		back, problem := parseName(normal)
		require.Empty(t, problem)
		require.Equal(t, w, back)
		require.LessOrEqual(t, len(w), maxNameOctets)
		if w != rootName {
			require.True(t, w.below(rootName))
		}
		theirs := make([]byte, 300)
		n, err := dns.PackDomainName(dns.Fqdn(normal), theirs, 0, nil, false)
		require.NoError(t, err)
		require.Equal(t, string(w), string(theirs[:n]))
	})
}
