package tlspolicy

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

// ErrBadDomain says that a name is no valid domain or host name. No settings
// come with it: a delivery whose destination cannot be named must not fall back
// to the default entry.
var ErrBadDomain = errors.New("tlspolicy: not a valid domain name")

// NextHop is a host that the operator configured, to be used instead of the MX
// hosts of the recipient domain. The zero value means that there is none.
type NextHop struct {
	Host string // host name or address, an address with or without brackets
	Port uint16 // 0 means 25, the SMTP port
}

// smtpPort is where mail goes unless told otherwise (RFC 5321 section 4.5.4.2).
const smtpPort = 25

// Match tells which kind of table entry governs a delivery.
type Match uint8

const (
	// MatchDefault: no entry matches, the default entry governs.
	MatchDefault Match = iota
	// MatchDomain: the entry of the domain itself.
	MatchDomain
	// MatchParent: the entry ".parent" with the longest parent.
	MatchParent
	// MatchNextHopPort: the entry "[host]:port" of the configured next hop.
	MatchNextHopPort
	// MatchNextHop: the entry "[host]" of the configured next hop.
	MatchNextHop
)

var matchNames = [...]string{"default", "domain", "parent", "next-hop-port", "next-hop"}

// String returns the name of the match, such as "parent".
func (m Match) String() string { return nameOf(matchNames[:], uint8(m), "Match") }

// MarshalText returns the name of the match; an unnamed value is an error.
func (m Match) MarshalText() ([]byte, error) {
	return appendName(nil, matchNames[:], uint8(m), "Match")
}

// Source tells where one field of looked-up Settings comes from.
type Source uint8

const (
	// SourceBuiltIn: nobody has set it; the value is that of [BuiltIn].
	SourceBuiltIn Source = iota
	// SourceDefault: the default entry states it.
	SourceDefault
	// SourceEntry: the matching entry states it.
	SourceEntry
)

var sourceNames = [...]string{"built-in", "default", "entry"}

// String returns "built-in", "default" or "entry".
func (s Source) String() string { return nameOf(sourceNames[:], uint8(s), "Source") }

// MarshalText returns the text of String; an unnamed value is an error.
func (s Source) MarshalText() ([]byte, error) {
	return appendName(nil, sourceNames[:], uint8(s), "Source")
}

// Origin tells which entry of a table governs a delivery and where each field of
// the Settings comes from. It is comparable; the zero value is that of a lookup
// in an empty table.
type Origin struct {
	Match    Match
	Mode     Source
	DANE     Source
	MTASTS   Source
	Fallback Source

	parent uint8  // with MatchParent: length of the parent's canonical name
	port   uint16 // with MatchNextHopPort
	name   string // what was looked up, as the caller wrote it
}

// Entry returns the key of the matching entry in canonical form, or "default".
// It is put together when called and may allocate.
func (o Origin) Entry() string {
	if o.Match == MatchDefault {
		return defaultEntry
	}
	d := destination{match: o.Match, port: o.port}
	if addr, ok := hostname.Literal(o.name); ok {
		d.addr = addr.Unmap()
		return d.String()
	}
	d.name, _ = parseName(o.name)
	if o.Match == MatchParent && len(d.name) > int(o.parent) {
		d.name = d.name[len(d.name)-int(o.parent):]
	}
	return d.String()
}

// Lookup returns the resolved Settings for a delivery to a recipient domain
// through hop, which is zero if mail goes to the MX hosts of the domain, and
// where they come from. The first of these entries counts: the domain itself,
// the longest ".parent", the next hop with its port, the next hop without. Each
// field that it leaves at Default comes from the default entry, and if that says
// nothing from [BuiltIn]; other entries are not consulted.
//
// A delivery without recipient domain (domain is empty or an address in
// brackets) starts at the next-hop entries and then tries the host name as a
// domain. An address in brackets is its own next hop if hop is zero.
//
// A name that is no valid domain, and an empty domain without a next hop, give
// [ErrBadDomain]. ASCII names in any letter case, with or without final dot, are
// looked up without allocation.
func (t *Table) Lookup(domain string, hop NextHop) (s Settings, o Origin, err error) {
	// Results are filled in place and settings travel as bits: to hand structs
	// around would take half of the time.
	if t == nil {
		t = &emptyTable
	}
	if len(domain) > 0 && domain[0] == '[' {
		if !hostname.IsLiteral(domain) {
			return s, o, fmt.Errorf("%w: address literal %q", ErrBadDomain, clip(domain))
		}
		if hop == (NextHop{}) {
			hop.Host = domain
		}
		domain = ""
	}
	if domain == "" && hop.Host == "" {
		return s, o, fmt.Errorf("%w: empty", ErrBadDomain)
	}
	var buf nameBuf
	name, err := canonicalName(&buf, domain)
	if err != nil {
		return s, o, err
	}
	var entry packedSettings
	if hop == (NextHop{}) {
		entry = t.findDomain(name, &o)
		o.name = domain
	} else if entry, err = t.findThrough(name, domain, hop, &o); err != nil {
		return s, Origin{}, err
	}
	if o.Match == MatchDefault {
		o.name = "" // there is no entry to name
	}
	t.resolve(entry, &s, &o)
	return s, o, nil
}

// emptyTable stands for a nil *Table.
var emptyTable Table

// findThrough selects the entry for a delivery through a next hop. The domain
// and the host in the hop are what the canonical names are made of.
func (t *Table) findThrough(name []byte, domain string, through NextHop, o *Origin) (packedSettings, error) {
	var buf nameBuf
	to, err := parseHop(&buf, through)
	if err != nil {
		return 0, err
	}
	o.name = domain
	entry := t.findDomain(name, o)
	if o.Match != MatchDefault {
		return entry, nil
	}
	o.name = through.Host
	entry = t.findHop(to, o)
	if o.Match == MatchDefault && len(name) == 0 {
		entry = t.findDomain(to.name, o)
	}
	return entry, nil
}

// findDomain looks for the entry of a name, then for those of its parents, the
// longest first. It notes in o which entry it found; if o stays at MatchDefault
// there is none.
func (t *Table) findDomain(name []byte, o *Origin) packedSettings {
	if len(name) == 0 {
		return 0
	}
	if entry, ok := t.domains.Get(name); ok {
		o.Match = MatchDomain
		return entry
	}
	if t.parents.Len() == 0 {
		return 0
	}
	labels := 1
	for _, c := range name {
		if c == '.' {
			labels++
		}
	}
	for i, c := range name {
		if c != '.' {
			continue
		}
		labels--
		if !t.depths.has(labels) {
			continue
		}
		if entry, ok := t.parents.Get(name[i+1:]); ok {
			o.Match, o.parent = MatchParent, uint8(len(name)-i-1)
			return entry
		}
	}
	return 0
}

// hop is a next hop in canonical form: a name, an address or neither.
type hop struct {
	name []byte
	addr netip.Addr
	port uint16
}

// findHop looks for the entry of a next hop with its port, then without, and
// notes in o which it found.
func (t *Table) findHop(to hop, o *Origin) packedSettings {
	for _, key := range [...]struct {
		match Match
		port  uint16
	}{{MatchNextHopPort, to.port}, {MatchNextHop, 0}} {
		var s Settings
		var ok bool
		if to.addr.IsValid() {
			s, ok = t.addrs[netip.AddrPortFrom(to.addr, key.port)]
		} else {
			s, ok = t.hosts[hostPort{string(to.name), key.port}]
		}
		if ok {
			o.Match, o.port = key.match, key.port
			return packSettings(s)
		}
	}
	return 0
}

// parseHop brings a next hop into canonical form.
func parseHop(buf *nameBuf, from NextHop) (hop, error) {
	to := hop{port: from.Port}
	if to.port == 0 {
		to.port = smtpPort
	}
	if from.Host == "" {
		return hop{}, fmt.Errorf("%w: next hop with port %d has no host", ErrBadDomain, from.Port)
	}
	if addr, ok := hostname.Literal(from.Host); ok {
		to.addr = addr.Unmap()
		return to, nil
	}
	var err error
	to.name, err = canonicalName(buf, from.Host)
	return to, err
}

// resolve fills s with the fields of an entry and of those that it inherits
// from, and notes in o where each comes from.
func (t *Table) resolve(entry packedSettings, s *Settings, o *Origin) {
	builtIn := BuiltIn()
	s.Mode, o.Mode = inherit(entry.mode(), t.def.Mode, builtIn.Mode)
	s.DANE, o.DANE = inherit(entry.dane(), t.def.DANE, builtIn.DANE)
	s.MTASTS, o.MTASTS = inherit(entry.mtasts(), t.def.MTASTS, builtIn.MTASTS)
	s.Fallback, o.Fallback = inherit(entry.fallback(), t.def.Fallback, builtIn.Fallback)
}

func inherit[T ~uint8](entry, def, builtIn T) (T, Source) {
	switch {
	case entry != 0:
		return entry, SourceEntry
	case def != 0:
		return def, SourceDefault
	}
	return builtIn, SourceBuiltIn
}

// nameBuf has room for any name without its final dot.
type nameBuf [hostname.MaxName]byte

// canonicalName writes the form of a name that [hostname.Parse] returns to buf,
// without allocating if the name is ASCII. An empty name stays empty.
func canonicalName(buf *nameBuf, name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	if n, ok := foldName(buf, name); ok {
		return buf[:n], nil
	}
	parsed, err := hostname.Parse(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadDomain, err)
	}
	return buf[:copy(buf[:], parsed)], nil
}

// foldName does canonicalName for plain names: ASCII, well-formed, and a last
// label without a digit in front, so that the name cannot be an address. All
// others are left to hostname.Parse.
func foldName(buf *nameBuf, name string) (n int, ok bool) {
	if name[len(name)-1] == '.' {
		name = name[:len(name)-1]
	}
	if name == "" || len(name) > len(buf) {
		return 0, false
	}
	start := 0 // of the label
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case c == '.':
			if i == start || i-start > hostname.MaxLabel {
				return 0, false
			}
			start = i + 1
		default:
			return 0, false
		}
		buf[i] = c
	}
	last := len(name) - start
	if last == 0 || last > hostname.MaxLabel || '0' <= buf[start] && buf[start] <= '9' {
		return 0, false
	}
	return len(name), true
}

// clip keeps a hostile name from filling a log line.
func clip(s string) string {
	if len(s) > hostname.MaxName {
		return s[:hostname.MaxName] + "..."
	}
	return s
}

// String returns the entry and the source of each field, for logs.
func (o Origin) String() string {
	return "entry " + strconv.Quote(o.Entry()) + ": mode from " + o.Mode.String() + ", DANE from " + o.DANE.String() +
		", MTA-STS from " + o.MTASTS.String() + ", fallback from " + o.Fallback.String()
}
