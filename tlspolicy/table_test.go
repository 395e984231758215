package tlspolicy_test

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

// entries is short for the rows of a table.
type entries = map[string]tlspolicy.Settings

func newTable(t testing.TB, def tlspolicy.Settings, rows entries) *tlspolicy.Table {
	t.Helper()
	table, err := tlspolicy.NewTable(def, rows)
	require.NoError(t, err)
	return table
}

// mode returns settings that state nothing but a mode.
func mode(m tlspolicy.Mode) tlspolicy.Settings { return tlspolicy.Settings{Mode: m} }

func TestLookupSelects(t *testing.T) {
	table := newTable(t, tlspolicy.Settings{}, entries{
		"example.com":             mode(tlspolicy.Required),
		".example.com":            mode(tlspolicy.RequiredVerify),
		".deep.example.com":       mode(tlspolicy.RequiredVerifyHosted),
		"Bücher.Example.":         mode(tlspolicy.PreferredVerify),
		".straße.example":         mode(tlspolicy.PreferredVerify),
		"localhost":               mode(tlspolicy.No),
		"_mail.example.org":       mode(tlspolicy.Required),
		"[relay.example.net]:587": mode(tlspolicy.RequiredVerify),
		"[Relay.Example.Net]":     mode(tlspolicy.Required),
		"[192.0.2.1]:25":          mode(tlspolicy.Required),
		"[192.0.2.2]":             mode(tlspolicy.Required),
		"[2001:DB8::1]:25":        mode(tlspolicy.Required),
		"[IPv6:2001:db8::2]":      mode(tlspolicy.RequiredVerify),
		"[::ffff:192.0.2.9]":      mode(tlspolicy.Required),
		"[fe80::1%eth0]:25":       mode(tlspolicy.Required),
		".corp.example":           mode(tlspolicy.RequiredVerify),
	})
	relay := tlspolicy.NextHop{Host: "relay.example.net", Port: 587}
	for _, c := range []struct {
		why    string
		domain string
		hop    tlspolicy.NextHop
		entry  string
		match  tlspolicy.Match
	}{
		{"exact", "example.com", tlspolicy.NextHop{}, "example.com", tlspolicy.MatchDomain},
		{"letter case and final dot", "EXAMPLE.Com.", tlspolicy.NextHop{}, "example.com", tlspolicy.MatchDomain},
		{"parent", "a.example.com", tlspolicy.NextHop{}, ".example.com", tlspolicy.MatchParent},
		{"parent at any depth", "A.b.c.EXAMPLE.com.", tlspolicy.NextHop{}, ".example.com", tlspolicy.MatchParent},
		{"longest parent", "x.deep.example.com", tlspolicy.NextHop{}, ".deep.example.com", tlspolicy.MatchParent},
		{"a parent is not below itself", "deep.example.com", tlspolicy.NextHop{}, ".example.com", tlspolicy.MatchParent},
		{"a parent does not match the domain itself", "corp.example", tlspolicy.NextHop{}, "default", tlspolicy.MatchDefault},
		{"a parent ends at a label", "notexample.com", tlspolicy.NextHop{}, "default", tlspolicy.MatchDefault},
		{"U-labels", "BÜCHER.example", tlspolicy.NextHop{}, "xn--bcher-kva.example", tlspolicy.MatchDomain},
		{"A-labels", "XN--bcher-KVA.example", tlspolicy.NextHop{}, "xn--bcher-kva.example", tlspolicy.MatchDomain},
		{"ideographic full stop", "bücher。example", tlspolicy.NextHop{}, "xn--bcher-kva.example", tlspolicy.MatchDomain},
		{"parent in U-labels, non-transitional", "post.straße.example", tlspolicy.NextHop{}, ".xn--strae-oqa.example", tlspolicy.MatchParent},
		{"underscore", "_MAIL.example.org", tlspolicy.NextHop{}, "_mail.example.org", tlspolicy.MatchDomain},
		{"one label", "localhost", tlspolicy.NextHop{}, "localhost", tlspolicy.MatchDomain},
		{"last label with a digit in front", "example.4ever", tlspolicy.NextHop{}, "default", tlspolicy.MatchDefault},
		{"nothing matches", "example.net", tlspolicy.NextHop{}, "default", tlspolicy.MatchDefault},

		{"domain before next hop", "example.com", relay, "example.com", tlspolicy.MatchDomain},
		{"parent before next hop", "a.example.com", relay, ".example.com", tlspolicy.MatchParent},
		{"next hop with port", "example.net", relay, "[relay.example.net]:587", tlspolicy.MatchNextHopPort},
		{"next hop without port", "example.net", tlspolicy.NextHop{Host: "RELAY.example.net.", Port: 2525}, "[relay.example.net]", tlspolicy.MatchNextHop},
		{"a next hop is not tried as a domain for a recipient domain", "example.net", tlspolicy.NextHop{Host: "example.com"}, "default", tlspolicy.MatchDefault},
		{"port 0 is 25", "example.net", tlspolicy.NextHop{Host: "192.0.2.1"}, "[192.0.2.1]:25", tlspolicy.MatchNextHopPort},
		{"other port", "example.net", tlspolicy.NextHop{Host: "192.0.2.1", Port: 26}, "default", tlspolicy.MatchDefault},
		{"any port", "example.net", tlspolicy.NextHop{Host: "[192.0.2.2]", Port: 26}, "[192.0.2.2]", tlspolicy.MatchNextHop},
		{"IPv6", "example.net", tlspolicy.NextHop{Host: "2001:db8:0::1", Port: 25}, "[2001:db8::1]:25", tlspolicy.MatchNextHopPort},
		{"IPv6 in brackets with tag", "example.net", tlspolicy.NextHop{Host: "[ipv6:2001:DB8::2]"}, "[2001:db8::2]", tlspolicy.MatchNextHop},
		{"IPv4 in IPv6", "example.net", tlspolicy.NextHop{Host: "192.0.2.9"}, "[192.0.2.9]", tlspolicy.MatchNextHop},
		{"IPv4 in IPv6, the other way", "example.net", tlspolicy.NextHop{Host: "::ffff:192.0.2.2"}, "[192.0.2.2]", tlspolicy.MatchNextHop},
		{"zone", "example.net", tlspolicy.NextHop{Host: "fe80::1%eth0"}, "[fe80::1%eth0]:25", tlspolicy.MatchNextHopPort},
		{"other zone", "example.net", tlspolicy.NextHop{Host: "fe80::1%eth1"}, "default", tlspolicy.MatchDefault},

		{"no domain: next hop", "", relay, "[relay.example.net]:587", tlspolicy.MatchNextHopPort},
		{"no domain: host as domain", "", tlspolicy.NextHop{Host: "Example.COM"}, "example.com", tlspolicy.MatchDomain},
		{"no domain: host below a parent", "", tlspolicy.NextHop{Host: "mx.corp.example", Port: 25}, ".corp.example", tlspolicy.MatchParent},
		{"no domain: unknown host", "", tlspolicy.NextHop{Host: "mx.example.net"}, "default", tlspolicy.MatchDefault},
		{"no domain: address", "", tlspolicy.NextHop{Host: "192.0.2.77"}, "default", tlspolicy.MatchDefault},
		{"literal domain, next hop", "[192.0.2.77]", relay, "[relay.example.net]:587", tlspolicy.MatchNextHopPort},
		{"literal domain is its own next hop", "[192.0.2.1]", tlspolicy.NextHop{}, "[192.0.2.1]:25", tlspolicy.MatchNextHopPort},
		{"literal domain, tagged", "[IPv6:2001:db8::2]", tlspolicy.NextHop{}, "[2001:db8::2]", tlspolicy.MatchNextHop},
		{"literal domain without entry", "[192.0.2.77]", tlspolicy.NextHop{}, "default", tlspolicy.MatchDefault},
	} {
		s, o, err := table.Lookup(c.domain, c.hop)
		require.NoError(t, err, c.why)
		require.Equal(t, c.entry, o.Entry(), c.why)
		require.Equal(t, c.match, o.Match, c.why)
		want := tlspolicy.BuiltIn()
		wantSource := tlspolicy.SourceBuiltIn
		if c.match != tlspolicy.MatchDefault {
			want.Mode, wantSource = s.Mode, tlspolicy.SourceEntry
			require.NotEqual(t, tlspolicy.Preferred, s.Mode, "no entry of this table states it: %s", c.why)
		}
		require.Equal(t, want, s, c.why)
		require.Equal(t, wantSource, o.Mode, c.why)
	}
}

func TestLookupResolvesEachField(t *testing.T) {
	def := tlspolicy.Settings{DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.On}
	table := newTable(t, def, entries{
		".example.com":  {Mode: tlspolicy.RequiredVerify, DANE: tlspolicy.DANEMandatory, MTASTS: tlspolicy.Off, Fallback: tlspolicy.FallbackAlways},
		"a.example.com": {DANE: tlspolicy.DANENone},
	})
	s, o, err := table.Lookup("a.example.com", tlspolicy.NextHop{})
	require.NoError(t, err)
	require.Equal(t, tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.On, Fallback: tlspolicy.FallbackAfter220}, s,
		"the parent entry has no say in what the exact entry leaves open")
	require.Equal(t, `entry "a.example.com": mode from built-in, DANE from entry, MTA-STS from default, fallback from built-in`, o.String())

	s, o, err = table.Lookup("b.example.com", tlspolicy.NextHop{})
	require.NoError(t, err)
	require.Equal(t, tlspolicy.Settings{Mode: tlspolicy.RequiredVerify, DANE: tlspolicy.DANEMandatory, MTASTS: tlspolicy.Off, Fallback: tlspolicy.FallbackAlways}, s)
	require.Equal(t, `entry ".example.com": mode from entry, DANE from entry, MTA-STS from entry, fallback from entry`, o.String())

	s, o, err = table.Lookup("example.org", tlspolicy.NextHop{})
	require.NoError(t, err)
	require.Equal(t, tlspolicy.Recommended(), s)
	require.Equal(t, `entry "default": mode from built-in, DANE from default, MTA-STS from default, fallback from built-in`, o.String())
}

func TestLookupRefusesBadNames(t *testing.T) {
	table := newTable(t, mode(tlspolicy.No), entries{"example.com": mode(tlspolicy.Required)})
	long := strings.Repeat("a.", 127) + "com"
	for _, c := range []struct {
		domain string
		hop    tlspolicy.NextHop
		why    string
	}{
		{"", tlspolicy.NextHop{}, "nothing to look up"},
		{".", tlspolicy.NextHop{}, "the root"},
		{"example..com", tlspolicy.NextHop{}, "empty label"},
		{".example.com", tlspolicy.NextHop{}, "empty label in front"},
		{"example.com..", tlspolicy.NextHop{}, "two final dots"},
		{strings.Repeat("a", 64) + ".com", tlspolicy.NextHop{}, "label of 64"},
		{"example." + strings.Repeat("a", 64), tlspolicy.NextHop{}, "last label of 64"},
		{long, tlspolicy.NextHop{}, "too long"},
		{"exa mple.com", tlspolicy.NextHop{}, "space"},
		{"user@example.com", tlspolicy.NextHop{}, "an address"},
		{"*.example.com", tlspolicy.NextHop{}, "wildcard"},
		{"192.0.2.1", tlspolicy.NextHop{}, "address without brackets"},
		{"2001:db8::1", tlspolicy.NextHop{}, "address without brackets"},
		{"[example.com]", tlspolicy.NextHop{}, "a name in brackets is no address literal"},
		{"[192.0.2.1", tlspolicy.NextHop{}, "bracket not closed"},
		{"[192.0.2.1]:25", tlspolicy.NextHop{}, "a domain has no port"},
		{"[" + strings.Repeat("x", 5000) + "]", tlspolicy.NextHop{}, "a long text does not fill the log"},
		{"[]", tlspolicy.NextHop{}, "empty literal"},
		{"[X-tag:1]", tlspolicy.NextHop{}, "general address literal"},
		{"xn--a-\xff.example", tlspolicy.NextHop{}, "not UTF-8"},
		{"a\u200d.example", tlspolicy.NextHop{}, "joiner where IDNA forbids it"},
		{"example.com\x00", tlspolicy.NextHop{}, "NUL"},
		{"example.com", tlspolicy.NextHop{Host: "bad host"}, "a bad next hop is not ignored"},
		{"example.com", tlspolicy.NextHop{Port: 25}, "a port without host"},
		{"", tlspolicy.NextHop{Host: "a..b"}, "bad host"},
	} {
		s, o, err := table.Lookup(c.domain, c.hop)
		require.ErrorIs(t, err, tlspolicy.ErrBadDomain, "%s: %q", c.why, c.domain)
		require.Zero(t, s, "no settings come with an error")
		require.Zero(t, o)
		require.Less(t, len(err.Error()), 600)
	}
}

func TestNilAndZeroTables(t *testing.T) {
	var none *tlspolicy.Table
	for _, table := range []*tlspolicy.Table{none, {}, newTable(t, tlspolicy.Settings{}, nil)} {
		s, o, err := table.Lookup("a.example.com", tlspolicy.NextHop{Host: "mx.example.com"})
		require.NoError(t, err)
		require.Equal(t, tlspolicy.BuiltIn(), s)
		require.Equal(t, "default", o.Entry())
		require.Zero(t, o)
		require.Empty(t, table.Warnings())
		_, _, err = table.Lookup("a..b", tlspolicy.NextHop{})
		require.ErrorIs(t, err, tlspolicy.ErrBadDomain)
	}
}

func TestNewTableReportsEveryBadEntry(t *testing.T) {
	rows := entries{
		"":                      {},
		".":                     {},
		"..example.com":         {},
		"*.example.com":         {},
		"exa mple.com":          {},
		"192.0.2.1":             {},
		"mx.example.net:25":     {},
		"[mx.example.net":       {},
		"[mx.example.net]25":    {},
		"[mx.example.net]:":     {},
		"[mx.example.net]:0":    {},
		"[mx.example.net]:025":  {},
		"[mx.example.net]:+25":  {},
		"[mx.example.net]:smtp": {},
		"[mx.example.net]:65536": {
			Mode: 9},
		"[]":          {},
		"[.]:25":      {},
		"xn--\xff":    {},
		"-ü-.example": {},
		"range.example": {
			Mode: 7, DANE: 4, MTASTS: 3, Fallback: 4},
		"no.example":            {Mode: tlspolicy.No, DANE: tlspolicy.DANEMandatory, MTASTS: tlspolicy.On},
		"fine.example":          {Mode: tlspolicy.No, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.Off},
		"good.example":          {Mode: tlspolicy.RequiredVerify, DANE: tlspolicy.DANEOpportunistic},
		"Twin.Example":          {},
		"twin.example":          {},
		"twin.example.":         {},
		"bücher.example":        {},
		"xn--bcher-kva.example": {},
		"[2001:db8::1]":         {},
		"[2001:DB8:0::1]":       {},
		"[192.0.2.1]:25":        {},
		"[::ffff:192.0.2.1]:25": {},
	}
	want := []string{
		`"": destination: empty`,
		`"*.example.com": destination: wildcards are not used here; write ".example.com" for every name below the domain, and a second entry for the domain itself`,
		`"-ü-.example": destination: not a valid internationalized name: idna: invalid label "-ü-"`,
		`".": destination: empty`,
		`"..example.com": destination: empty label`,
		`"192.0.2.1": destination: an address is a next hop; write "[192.0.2.1]"`,
		`"[.]:25": destination: empty`,
		`"[192.0.2.1]:25": destination: occurs more than once, as "[192.0.2.1]:25" and "[::ffff:192.0.2.1]:25"`,
		`"[2001:db8::1]": destination: occurs more than once, as "[2001:DB8:0::1]" and "[2001:db8::1]"`,
		`"[]": destination: empty`,
		`"[mx.example.net": destination: "]" is missing`,
		`"[mx.example.net]25": destination: after "]" comes nothing, or ":" and a port from 1 to 65535`,
		`"[mx.example.net]:": destination: after "]" comes nothing, or ":" and a port from 1 to 65535`,
		`"[mx.example.net]:+25": destination: after "]" comes nothing, or ":" and a port from 1 to 65535`,
		`"[mx.example.net]:0": destination: after "]" comes nothing, or ":" and a port from 1 to 65535`,
		`"[mx.example.net]:025": destination: after "]" comes nothing, or ":" and a port from 1 to 65535`,
		`"[mx.example.net]:65536": destination: after "]" comes nothing, or ":" and a port from 1 to 65535`,
		`"[mx.example.net]:65536": mode: value 9 is out of range`,
		`"[mx.example.net]:smtp": destination: after "]" comes nothing, or ":" and a port from 1 to 65535`,
		`"default": dane: opportunistic has no effect in mode no; choose another mode or switch it off`,
		`"default": fallback: value 200 is out of range`,
		`"exa mple.com": destination: octet ' ' at offset 3 is not allowed`,
		`"mx.example.net:25": destination: a port belongs to a next hop; write "[mx.example.net]:25"`,
		`"no.example": dane: mandatory has no effect in mode no; choose another mode or switch it off`,
		`"no.example": mtasts: on has no effect in mode no; choose another mode or switch it off`,
		`"range.example": dane: value 4 is out of range`,
		`"range.example": fallback: value 4 is out of range`,
		`"range.example": mode: value 7 is out of range`,
		`"range.example": mtasts: value 3 is out of range`,
		`"twin.example": destination: occurs more than once, as "Twin.Example" and "twin.example" and "twin.example."`,
		`"xn--bcher-kva.example": destination: occurs more than once, as "bücher.example" and "xn--bcher-kva.example"`,
		`"xn--\xff": destination: not valid UTF-8`,
	}
	def := tlspolicy.Settings{Mode: tlspolicy.No, DANE: tlspolicy.DANEOpportunistic, Fallback: 200}
	for range 20 { // maps come in another order every time
		table, err := tlspolicy.NewTable(def, rows)
		require.Nil(t, table)
		var got []string
		for line := range strings.SplitSeq(err.Error(), "\n") {
			got = append(got, strings.TrimPrefix(line, "tlspolicy: destination table: entry "))
		}
		require.Equal(t, strings.Join(want, "\n"), strings.Join(got, "\n"))
		var entry *tlspolicy.EntryError
		require.True(t, errors.As(err, &entry))
		require.Equal(t, tlspolicy.EntryError{Destination: "", Field: "destination", Problem: "empty"}, *entry)
	}
}

func TestModeNoAndWhatItIgnores(t *testing.T) {
	on := tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.On}
	off := mode(tlspolicy.No)
	for _, c := range []struct {
		why   string
		def   tlspolicy.Settings
		entry tlspolicy.Settings
		bad   string // fields of the errors
		warn  string // fields of the warnings
	}{
		{"stated next to a stated No", tlspolicy.Settings{}, tlspolicy.Settings{Mode: tlspolicy.No, DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.On}, "dane mtasts", ""},
		{"stated next to an inherited No", off, tlspolicy.Settings{DANE: tlspolicy.DANEMandatory}, "dane", ""},
		{"stated off next to No", on, tlspolicy.Settings{Mode: tlspolicy.No, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.Off}, "", ""},
		{"inherited", on, tlspolicy.Settings{Mode: tlspolicy.No}, "", "dane mtasts"},
		{"one of them inherited", on, tlspolicy.Settings{Mode: tlspolicy.No, DANE: tlspolicy.DANENone}, "", "mtasts"},
		{"stated where the mode is not No", off, tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEMandatory}, "", ""},
		{"nothing is on", off, tlspolicy.Settings{}, "", ""},
		{"built-in mode", tlspolicy.Settings{}, tlspolicy.Settings{DANE: tlspolicy.DANEMandatory, MTASTS: tlspolicy.On}, "", ""},
	} {
		for _, key := range []string{"example.com", ".example.com", "[mx.example.com]", "[mx.example.com]:26", "[192.0.2.1]", "[192.0.2.1]:26"} {
			table, err := tlspolicy.NewTable(c.def, entries{key: c.entry})
			var bad, warn []string
			if err != nil {
				for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
					entry := e.(*tlspolicy.EntryError)
					require.Equal(t, key, entry.Destination)
					bad = append(bad, entry.Field)
				}
			}
			for _, w := range table.Warnings() {
				require.Equal(t, key, w.Destination)
				require.Contains(t, w.String(), fmt.Sprintf("entry %q: %s: ", key, w.Field))
				warn = append(warn, w.Field)
			}
			require.Equal(t, c.bad, strings.Join(bad, " "), c.why)
			require.Equal(t, c.warn, strings.Join(warn, " "), c.why)
		}
	}
}

func TestWarningsAreSorted(t *testing.T) {
	table := newTable(t, tlspolicy.Recommended(), entries{
		"b.example": mode(tlspolicy.No), "a.example": mode(tlspolicy.No), ".a.example": mode(tlspolicy.No)})
	var got []string
	for _, w := range table.Warnings() {
		got = append(got, w.String())
	}
	require.Equal(t, []string{
		`destination table: entry ".a.example": dane: opportunistic of the default entry has no effect in mode no`,
		`destination table: entry ".a.example": mtasts: on of the default entry has no effect in mode no`,
		`destination table: entry "a.example": dane: opportunistic of the default entry has no effect in mode no`,
		`destination table: entry "a.example": mtasts: on of the default entry has no effect in mode no`,
		`destination table: entry "b.example": dane: opportunistic of the default entry has no effect in mode no`,
		`destination table: entry "b.example": mtasts: on of the default entry has no effect in mode no`,
	}, got)
}

func TestNewTableSeq(t *testing.T) {
	rows := func(yield func(string, tlspolicy.Settings) bool) {
		_ = yield("example.com", mode(tlspolicy.Required)) &&
			yield("example.com", mode(tlspolicy.No)) &&
			yield("[mx.example.com]:25", mode(tlspolicy.No))
	}
	_, err := tlspolicy.NewTableSeq(tlspolicy.Settings{}, rows)
	require.EqualError(t, err, `tlspolicy: destination table: entry "example.com": destination: occurs more than once, as "example.com" and "example.com"`)

	table, err := tlspolicy.NewTableSeq(tlspolicy.Settings{}, maps.All(entries{"example.com": mode(tlspolicy.Required)}))
	require.NoError(t, err)
	s, _, err := table.Lookup("example.com", tlspolicy.NextHop{})
	require.NoError(t, err)
	require.Equal(t, tlspolicy.Required, s.Mode)
}

// TestTableGrows: nothing is lost or mixed up while a table grows, and twins are
// found however large it is.
func TestTableGrows(t *testing.T) {
	const n = 20_000
	name := func(i int) string { return fmt.Sprintf("d%d.%s.example", i, strings.Repeat("x", i%60+1)) }
	settings := func(i int) tlspolicy.Settings {
		return tlspolicy.Settings{Mode: tlspolicy.Mode(i%5 + 2), DANE: tlspolicy.DANE(i % 4), MTASTS: tlspolicy.MTASTS(i % 3), Fallback: tlspolicy.Fallback(i / 3 % 4)}
	}
	all := func(extra ...string) func(func(string, tlspolicy.Settings) bool) {
		return func(yield func(string, tlspolicy.Settings) bool) {
			for i := range n {
				if !yield(name(i), settings(i)) || !yield("."+name(i), settings(i+1)) {
					return
				}
			}
			for _, key := range extra {
				if !yield(key, tlspolicy.Settings{}) {
					return
				}
			}
		}
	}
	def := tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.Off, Fallback: tlspolicy.FallbackAlways}
	table, err := tlspolicy.NewTableSeq(def, all())
	require.NoError(t, err)
	for i := range n + 1000 {
		want, wantBelow := settings(i), settings(i+1)
		if i >= n {
			want, wantBelow = tlspolicy.Settings{}, tlspolicy.Settings{}
		}
		for domain, want := range map[string]tlspolicy.Settings{name(i): want, "a.b." + name(i): wantBelow} {
			fill(&want.Mode, def.Mode, 0)
			fill(&want.DANE, def.DANE, 0)
			fill(&want.MTASTS, def.MTASTS, 0)
			fill(&want.Fallback, def.Fallback, 0)
			got, _, err := table.Lookup(domain, tlspolicy.NextHop{})
			require.NoError(t, err)
			require.Equal(t, want, got, domain)
		}
	}
	_, err = tlspolicy.NewTableSeq(def, all(strings.ToUpper(name(7)), "."+name(n-1)))
	require.Len(t, err.(interface{ Unwrap() []error }).Unwrap(), 2)
	require.ErrorContains(t, err, strconv.Quote(name(7)))
	require.ErrorContains(t, err, strconv.Quote("."+name(n-1)))
}

func TestTableKeepsNothingOfTheCallersMap(t *testing.T) {
	rows := entries{"example.com": mode(tlspolicy.Required)}
	table := newTable(t, tlspolicy.Settings{}, rows)
	rows["example.com"] = mode(tlspolicy.No)
	rows["example.net"] = mode(tlspolicy.No)
	s, _, err := table.Lookup("example.com", tlspolicy.NextHop{})
	require.NoError(t, err)
	require.Equal(t, tlspolicy.Required, s.Mode)
	s, _, err = table.Lookup("example.net", tlspolicy.NextHop{})
	require.NoError(t, err)
	require.Equal(t, tlspolicy.Preferred, s.Mode)
}
