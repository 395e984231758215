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
func (t *Table) Lookup(domain string, hop NextHop) (Settings, Origin, error) {
	var empty Table
	if t == nil {
		t = &empty
	}
	if len(domain) > 0 && domain[0] == '[' {
		if !hostname.IsLiteral(domain) {
			return Settings{}, Origin{}, fmt.Errorf("%w: address literal %q", ErrBadDomain, clip(domain))
		}
		if hop == (NextHop{}) {
			hop.Host = domain
		}
		domain = ""
	}
	if domain == "" && hop.Host == "" {
		return Settings{}, Origin{}, fmt.Errorf("%w: empty", ErrBadDomain)
	}
	var domainBuf, hopBuf nameBuf
	name, err := canonicalName(&domainBuf, domain)
	if err != nil {
		return Settings{}, Origin{}, err
	}
	to, err := parseHop(&hopBuf, hop)
	if err != nil {
		return Settings{}, Origin{}, err
	}
	s, o := t.find(name, domain, to, hop.Host)
	return t.resolve(s, &o), o, nil
}

// find selects the entry. The given texts are what the canonical names were
// made of.
func (t *Table) find(name []byte, givenName string, to hop, givenHop string) (Settings, Origin) {
	if s, o, ok := t.findDomain(name); ok {
		o.name = givenName
		return s, o
	}
	if s, o, ok := t.findHop(to); ok {
		o.name = givenHop
		return s, o
	}
	if len(name) == 0 {
		if s, o, ok := t.findDomain(to.name); ok {
			o.name = givenHop
			return s, o
		}
	}
	return Settings{}, Origin{}
}

// findDomain looks for the entry of a name, then for those of its parents, the
// longest first.
func (t *Table) findDomain(name []byte) (Settings, Origin, bool) {
	if len(name) == 0 {
		return Settings{}, Origin{}, false
	}
	if s, ok := t.domains.get(name); ok {
		return s, Origin{Match: MatchDomain}, true
	}
	if t.parents.count == 0 {
		return Settings{}, Origin{}, false
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
		if s, ok := t.parents.get(name[i+1:]); ok {
			return s, Origin{Match: MatchParent, parent: uint8(len(name) - i - 1)}, true
		}
	}
	return Settings{}, Origin{}, false
}

// hop is a next hop in canonical form: a name, an address or neither.
type hop struct {
	name []byte
	addr netip.Addr
	port uint16
}

// findHop looks for the entry of a next hop with its port, then without.
func (t *Table) findHop(to hop) (Settings, Origin, bool) {
	if to.addr.IsValid() {
		if s, ok := t.addrs[netip.AddrPortFrom(to.addr, to.port)]; ok {
			return s, Origin{Match: MatchNextHopPort, port: to.port}, true
		}
		s, ok := t.addrs[netip.AddrPortFrom(to.addr, 0)]
		return s, Origin{Match: MatchNextHop}, ok
	}
	if len(to.name) == 0 {
		return Settings{}, Origin{}, false
	}
	if s, ok := t.hosts[hostPort{string(to.name), to.port}]; ok {
		return s, Origin{Match: MatchNextHopPort, port: to.port}, true
	}
	s, ok := t.hosts[hostPort{string(to.name), 0}]
	return s, Origin{Match: MatchNextHop}, ok
}

// parseHop brings a next hop into canonical form.
func parseHop(buf *nameBuf, from NextHop) (hop, error) {
	to := hop{port: from.Port}
	if to.port == 0 {
		to.port = smtpPort
	}
	if from.Host == "" {
		if from.Port != 0 {
			return hop{}, fmt.Errorf("%w: next hop with port %d has no host", ErrBadDomain, from.Port)
		}
		return to, nil
	}
	if addr, ok := hostname.Literal(from.Host); ok {
		to.addr = addr.Unmap()
		return to, nil
	}
	var err error
	to.name, err = canonicalName(buf, from.Host)
	return to, err
}

// resolve fills the fields that s leaves at Default and notes in o where each
// comes from.
func (t *Table) resolve(s Settings, o *Origin) Settings {
	builtIn := BuiltIn()
	s.Mode, o.Mode = inherit(s.Mode, t.def.Mode, builtIn.Mode)
	s.DANE, o.DANE = inherit(s.DANE, t.def.DANE, builtIn.DANE)
	s.MTASTS, o.MTASTS = inherit(s.MTASTS, t.def.MTASTS, builtIn.MTASTS)
	s.Fallback, o.Fallback = inherit(s.Fallback, t.def.Fallback, builtIn.Fallback)
	return s
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
