package tlspolicy_test

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/hostname"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// linearTable is a destination table that walks through all entries on every
// lookup. It knows the rules for selection and nothing of how Table does it.
type linearTable struct {
	def  tlspolicy.Settings
	rows []linearRow
}

type linearRow struct {
	name   string // canonical; addresses as netip writes them
	parent bool
	hop    bool
	port   uint64 // 0 for any
	s      tlspolicy.Settings
}

// linearKey reads a key, with regular string functions only.
func linearKey(key string) (linearRow, bool) {
	if inner, ok := strings.CutPrefix(key, "["); ok {
		end := strings.LastIndex(inner, "]")
		if end < 0 {
			return linearRow{}, false
		}
		row := linearRow{hop: true}
		if tail := inner[end+1:]; tail != "" {
			port, err := strconv.ParseUint(strings.TrimPrefix(tail, ":"), 10, 16)
			if err != nil || port == 0 || tail != ":"+strconv.FormatUint(port, 10) {
				return linearRow{}, false
			}
			row.port = port
		}
		row.name = linearHost(inner[:end])
		return row, row.name != ""
	}
	name, parent := strings.CutPrefix(key, ".")
	canonical, err := hostname.Parse(name)
	return linearRow{name: canonical, parent: parent}, err == nil
}

// linearHost returns a host name or an address without brackets in canonical
// form, "" if it is neither.
func linearHost(host string) string {
	address := host
	if len(host) > 5 && strings.EqualFold(host[:5], "IPv6:") {
		address = host[5:]
	}
	if addr, err := netip.ParseAddr(address); err == nil {
		return addr.Unmap().String()
	}
	name, err := hostname.Parse(host)
	if err != nil {
		return ""
	}
	return name
}

func newLinearTable(def tlspolicy.Settings, rows entries) (*linearTable, bool) {
	t := &linearTable{def: def}
	ok := linearSettings(def, def.Mode)
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		row, keyOK := linearKey(key)
		row.s = rows[key]
		mode := row.s.Mode
		if mode == tlspolicy.ModeDefault {
			mode = def.Mode
		}
		ok = ok && keyOK && linearSettings(row.s, mode)
		for _, other := range t.rows {
			a, b := row, other
			a.s, b.s = tlspolicy.Settings{}, tlspolicy.Settings{}
			ok = ok && a != b
		}
		t.rows = append(t.rows, row)
	}
	return t, ok
}

func linearSettings(s tlspolicy.Settings, mode tlspolicy.Mode) bool {
	if s.Mode > 6 || s.DANE > 3 || s.MTASTS > 2 || s.Fallback > 3 {
		return false
	}
	return mode != tlspolicy.No || s.DANE <= tlspolicy.DANENone && s.MTASTS <= tlspolicy.Off
}

func (t *linearTable) lookup(domain string, hop tlspolicy.NextHop) (tlspolicy.Settings, bool) {
	literal := ""
	if strings.HasPrefix(domain, "[") {
		if literal = linearHost(strings.TrimSuffix(domain[1:], "]")); literal == "" || !strings.HasSuffix(domain, "]") {
			return tlspolicy.Settings{}, false
		}
		if _, err := netip.ParseAddr(literal); err != nil {
			return tlspolicy.Settings{}, false
		}
		domain = ""
	}
	host, port := "", uint64(hop.Port)
	switch {
	case hop == tlspolicy.NextHop{}:
		host = literal
	case strings.HasPrefix(hop.Host, "[") && strings.HasSuffix(hop.Host, "]"):
		if host = linearHost(hop.Host[1 : len(hop.Host)-1]); host == "" {
			return tlspolicy.Settings{}, false
		}
		if _, err := netip.ParseAddr(host); err != nil {
			return tlspolicy.Settings{}, false // brackets are for addresses
		}
	default:
		if _, err := netip.ParseAddr(hop.Host); err != nil && strings.Contains(hop.Host, ":") {
			return tlspolicy.Settings{}, false // the tag goes with brackets
		}
		if host = linearHost(hop.Host); host == "" {
			return tlspolicy.Settings{}, false
		}
	}
	if port == 0 {
		port = 25
	}
	name := ""
	if domain != "" {
		parsed, err := hostname.Parse(domain)
		if err != nil {
			return tlspolicy.Settings{}, false
		}
		name = parsed
	} else if host == "" {
		return tlspolicy.Settings{}, false
	}

	best, bestRank := tlspolicy.Settings{}, 0
	for _, row := range t.rows {
		rank := 0
		tried := func(n string, base int) {
			switch {
			case n == "" || row.hop:
			case !row.parent && row.name == n:
				rank = base + 500
			case row.parent && strings.HasSuffix(n, "."+row.name):
				rank = base + len(row.name)
			}
		}
		tried(name, 2000)
		if name == "" {
			if _, err := netip.ParseAddr(host); err != nil {
				tried(host, 0)
			}
		}
		if row.hop && row.name == host && host != "" {
			switch row.port {
			case port:
				rank = 1001
			case 0:
				rank = 1000
			}
		}
		if rank > bestRank {
			best, bestRank = row.s, rank
		}
	}
	fill(&best.Mode, t.def.Mode, tlspolicy.Preferred)
	fill(&best.DANE, t.def.DANE, tlspolicy.DANENone)
	fill(&best.MTASTS, t.def.MTASTS, tlspolicy.Off)
	fill(&best.Fallback, t.def.Fallback, tlspolicy.FallbackAfter220)
	return best, true
}

func fill[T ~uint8](field *T, def, builtIn T) {
	if *field == 0 {
		*field = def
	}
	if *field == 0 {
		*field = builtIn
	}
}

// FuzzNewTable reads a table from lines "key settings", where settings is a
// number, and asks it and the linear one for every name in question.
func FuzzNewTable(f *testing.F) {
	const sample = "example.com 3\n.example.com 5\n.b.example.com 6\n[mx.example.net]:587 2\n[mx.example.net] 4\n" +
		"[192.0.2.1]:25 12\n[IPv6:2001:db8::1] 31\nbücher.example 33"
	for _, domain := range []string{"example.com", "A.Example.Com.", "x.b.example.com", "example.net", "", "[192.0.2.1]",
		"[IPv6:2001:db8::1]", "a..b", "BÜCHER.example", "mx.example.net", "x.4", "[::ffff:192.0.2.1]", "192.0.2.1"} {
		for _, host := range []string{"", "mx.example.net", "192.0.2.1", "[2001:db8::1]", "a.example.com", "IPv6:::1"} {
			f.Add(uint16(0), sample, domain, host, uint16(587))
		}
	}
	f.Add(uint16(1), "a.example 8\nA.example 9", "a.example", "", uint16(0))
	f.Add(uint16(9), "[a.example]:0 8", "a.example", "", uint16(0))
	f.Fuzz(func(t *testing.T, def uint16, text, domain, host string, port uint16) {
		rows := entries{}
		for line := range strings.SplitSeq(text, "\n") {
			key, number, _ := strings.Cut(line, " ")
			n, _ := strconv.ParseUint(number, 10, 16)
			rows[key] = settingsOf(uint16(n))
		}
		table, err := tlspolicy.NewTable(settingsOf(def), rows)
		linear, ok := newLinearTable(settingsOf(def), rows)
		require.Equal(t, ok, err == nil, "%v", err)
		if err != nil {
			var entry *tlspolicy.EntryError
			require.True(t, errors.As(err, &entry))
			require.Nil(t, table)
			return
		}
		for _, name := range append(slices.Collect(maps.Keys(rows)), domain, "sub."+domain, strings.ToUpper(domain)) {
			for _, hop := range []tlspolicy.NextHop{{}, {Host: host, Port: port}, {Host: name, Port: port}} {
				got, origin, err := table.Lookup(name, hop)
				want, ok := linear.lookup(name, hop)
				require.Equal(t, ok, err == nil, "%q %q: %v", name, hop, err)
				require.Equal(t, want, got, "%q %q", name, hop)
				if err != nil {
					require.ErrorIs(t, err, tlspolicy.ErrBadDomain)
					continue
				}
				checkEntry(t, linear, origin)
			}
		}
	})
}

// settingsOf spreads a number over the fields, with values out of range too.
func settingsOf(n uint16) tlspolicy.Settings {
	return tlspolicy.Settings{Mode: tlspolicy.Mode(n % 8), DANE: tlspolicy.DANE(n / 8 % 5),
		MTASTS: tlspolicy.MTASTS(n / 40 % 4), Fallback: tlspolicy.Fallback(n / 160 % 5)}
}

// checkEntry asserts that the entry which is said to govern is one of the table
// and of the kind that is said.
func checkEntry(t *testing.T, linear *linearTable, o tlspolicy.Origin) {
	t.Helper()
	if o.Match == tlspolicy.MatchDefault {
		require.Equal(t, "default", o.Entry())
		return
	}
	row, ok := linearKey(o.Entry())
	require.True(t, ok, "%q", o.Entry())
	require.True(t, slices.ContainsFunc(linear.rows, func(r linearRow) bool {
		row.s = r.s
		return r == row
	}), "%q", o.Entry())
	require.Equal(t, map[tlspolicy.Match]linearRow{
		tlspolicy.MatchDomain:      {},
		tlspolicy.MatchParent:      {parent: true},
		tlspolicy.MatchNextHop:     {hop: true},
		tlspolicy.MatchNextHopPort: {hop: true, port: row.port},
	}[o.Match], linearRow{parent: row.parent, hop: row.hop, port: row.port})
}

// FuzzLookupName: a name is looked up exactly if hostname.Parse accepts it, as
// the name that it returns.
func FuzzLookupName(f *testing.F) {
	for _, s := range []string{"example.com", "EXAMPLE.com.", "a..b", "1.2.3.4", "1.2.3.4.", "a.4x", "_x.y", "-a.b", "ü.example", "a。b",
		strings.Repeat("a", 63) + ".b", strings.Repeat("a", 64), strings.Repeat("a.", 126) + "a", strings.Repeat("a.", 126) + "a.", "a.\uff11", "%", "a.1-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if name == "" || name[0] == '[' {
			return
		}
		want, err := hostname.Parse(name)
		table := newTable(t, tlspolicy.Settings{}, nil)
		if err == nil {
			table = newTable(t, tlspolicy.Settings{}, entries{want: mode(tlspolicy.Required)})
		}
		_, o, lookupErr := table.Lookup(name, tlspolicy.NextHop{})
		require.Equal(t, err == nil, lookupErr == nil, "%q: %v, %v", name, err, lookupErr)
		if err == nil {
			require.Equal(t, tlspolicy.MatchDomain, o.Match, "%q", name)
			require.Equal(t, want, o.Entry())
		}
	})
}
