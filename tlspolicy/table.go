package tlspolicy

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Table is a destination table: a default entry, and entries for single
// domains, for all names below a domain, and for configured next hops. It is
// immutable and safe for concurrent use. A nil *Table acts as an empty one.
type Table struct {
	def     Settings // the default entry as it was given
	domains nameIndex
	parents nameIndex   // without the dot in front
	depths  labelCounts // of the keys of parents
	hosts   map[hostPort]Settings
	addrs   map[netip.AddrPort]Settings
}

// hostPort is a next hop that has a name. Port zero stands for any port, as it
// does in the keys of Table.addrs.
type hostPort struct {
	host string
	port uint16
}

// labelCounts is a set of numbers of labels. A name of 253 octets has at most
// 127.
type labelCounts [2]uint64

func (l *labelCounts) add(n int)      { l[n>>6&1] |= 1 << (n & 63) }
func (l *labelCounts) has(n int) bool { return l[n>>6&1]>>(n&63)&1 != 0 }

// EntryError says what is wrong with one entry of a destination table.
type EntryError struct {
	Destination string // the key as it was given; "default" for the default entry
	Field       string // "destination", "mode", "dane", "mtasts", "fallback" or "message"
	Problem     string // what is wrong, and what to write instead
}

// Error returns the error as one line of text.
func (e *EntryError) Error() string {
	return fmt.Sprintf("tlspolicy: destination table: entry %q: %s: %s", e.Destination, e.Field, e.Problem)
}

// defaultEntry is what error and warning texts call the default entry.
const defaultEntry = "default"

// NewTable returns the table with the given default entry and entries. The keys
// are
//
//	example.com              that domain only
//	.example.com             every name below it, at any depth
//	[mx.example.net]:587     deliveries through that configured next hop
//	[192.0.2.1]              the same, at any port
//
// with U-labels or A-labels, in any letter case. A next hop is a host name or an
// address; [2001:db8::1] may also be written [IPv6:2001:db8::1].
//
// A table with any bad entry is refused as a whole, and all bad entries are
// reported, sorted by key: the error joins an *[EntryError] for each. Bad are a
// key that does not parse or occurs twice, a value out of range, Settings that
// [Settings.For] made for one message, and DANE or MTA-STS switched on in an
// entry whose mode is No, stated or inherited: a wish must not vanish silently.
// Where an entry of mode No merely inherits them they
// are ignored, and [Table.Warnings] says so.
func NewTable(def Settings, entries map[string]Settings) (*Table, error) {
	return NewTableSeq(def, maps.All(entries))
}

// NewTableSeq is [NewTable] for entries that are not in a map, such as rows of a
// large file. The table copies the keys.
func NewTableSeq(def Settings, entries iter.Seq2[string, Settings]) (*Table, error) {
	b := builder{table: &Table{
		def:   def,
		hosts: map[hostPort]Settings{},
		addrs: map[netip.AddrPort]Settings{},
	}}
	b.check(defaultEntry, def, def.Mode)
	for key, s := range entries {
		b.check(key, s, cmp.Or(s.Mode, def.Mode))
		b.add(key, s)
	}
	b.reportTwins()
	if len(b.errs) > 0 {
		return nil, b.err()
	}
	return b.table, nil
}

// builder collects the entries of a table and what is wrong with them.
type builder struct {
	table   *Table
	errs    []*EntryError
	spelled map[destination]string   // how a key was written, if not canonically
	twins   map[destination][]string // all spellings of a key that occurs twice
}

func (b *builder) report(destination, field, format string, args ...any) {
	b.errs = append(b.errs, &EntryError{destination, field, fmt.Sprintf(format, args...)})
}

// check reports bad values in an entry; mode is the mode that takes effect.
func (b *builder) check(key string, s Settings, mode Mode) {
	const outOfRange = "value %d is out of range"
	if s.Mode > RequiredVerifyHosted {
		b.report(key, "mode", outOfRange, s.Mode)
	}
	if s.DANE > DANEMandatory {
		b.report(key, "dane", outOfRange, s.DANE)
	}
	if s.MTASTS > On {
		b.report(key, "mtasts", outOfRange, s.MTASTS)
	}
	if s.Fallback > FallbackBefore220 {
		b.report(key, "fallback", outOfRange, s.Fallback)
	}
	if s.message != 0 {
		b.report(key, "message", "what one message asks for is no setting of a destination; leave out the call of For")
	}
	const vain = "%s has no effect in mode no; choose another mode or switch it off"
	if mode == No && s.DANE > DANENone {
		b.report(key, "dane", vain, s.DANE)
	}
	if mode == No && s.MTASTS > Off {
		b.report(key, "mtasts", vain, s.MTASTS)
	}
}

// add puts an entry into the table, or reports its key.
func (b *builder) add(key string, s Settings) {
	d, problem := parseDestination(key)
	if problem != "" {
		b.report(key, "destination", "%s", problem)
		return
	}
	if !b.table.insert(d, s) {
		if len(b.twins[d]) == 0 {
			b.addTwin(d, cmp.Or(b.spelled[d], d.String()))
		}
		b.addTwin(d, key)
		return
	}
	// The comparison with the name alone keeps String, which allocates, away
	// from the domains that make up a large table.
	if d.name != key && d.String() != key {
		if b.spelled == nil {
			b.spelled = map[destination]string{}
		}
		b.spelled[d] = key
	}
}

func (b *builder) addTwin(d destination, key string) {
	if b.twins == nil {
		b.twins = map[destination][]string{}
	}
	b.twins[d] = append(b.twins[d], strconv.Quote(key))
}

// reportTwins reports every key that occurs more than once, in whatever
// spelling.
func (b *builder) reportTwins() {
	for d, keys := range b.twins {
		slices.Sort(keys)
		b.report(d.String(), "destination", "occurs more than once, as %s", strings.Join(keys, " and "))
	}
}

// err joins the errors in an order that does not depend on that of the entries:
// the default entry, then by key, field and problem.
func (b *builder) err() error {
	slices.SortFunc(b.errs, func(x, y *EntryError) int {
		if c := cmp.Compare(x.Destination, y.Destination); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(x.Field, y.Field), cmp.Compare(x.Problem, y.Problem))
	})
	all := make([]error, len(b.errs))
	for i, e := range b.errs {
		all[i] = e
	}
	return errors.Join(all...)
}

// insert puts an entry in its place and reports whether the key is new.
func (t *Table) insert(d destination, s Settings) bool {
	switch {
	case d.match == MatchDomain:
		return t.domains.add(d.name, s)
	case d.match == MatchParent:
		t.depths.add(strings.Count(d.name, ".") + 1)
		return t.parents.add(d.name, s)
	case d.addr.IsValid():
		return put(t.addrs, netip.AddrPortFrom(d.addr, d.port), s)
	}
	return put(t.hosts, hostPort{d.name, d.port}, s)
}

func put[K comparable](m map[K]Settings, key K, s Settings) bool {
	before := len(m)
	m[key] = s
	return len(m) > before
}

// Warning tells of an entry that is legal and may not do what was meant.
type Warning struct {
	Destination string // the key in canonical form
	Field       string // "dane" or "mtasts"
	Problem     string // what has no effect, and why
}

// String returns the warning as one line of text.
func (w Warning) String() string {
	return fmt.Sprintf("destination table: entry %q: %s: %s", w.Destination, w.Field, w.Problem)
}

// Warnings returns, sorted by key, where an entry of mode No inherits DANE or
// MTA-STS from the default entry, both of which mode No ignores. It walks the
// whole table on every call.
func (t *Table) Warnings() []Warning {
	if t == nil {
		return nil
	}
	var all []Warning
	for d, s := range t.all() {
		const vain = "%s of the default entry has no effect in mode no"
		if s.Mode != No {
			continue // nothing is ignored, or check has refused the default entry
		}
		if s.DANE == DANEDefault && t.def.DANE > DANENone {
			all = append(all, Warning{d.String(), "dane", fmt.Sprintf(vain, t.def.DANE)})
		}
		if s.MTASTS == MTASTSDefault && t.def.MTASTS > Off {
			all = append(all, Warning{d.String(), "mtasts", fmt.Sprintf(vain, t.def.MTASTS)})
		}
	}
	slices.SortFunc(all, func(x, y Warning) int {
		return cmp.Or(cmp.Compare(x.Destination, y.Destination), cmp.Compare(x.Field, y.Field))
	})
	return all
}

// all returns the entries in no order.
func (t *Table) all() iter.Seq2[destination, Settings] {
	return func(yield func(destination, Settings) bool) {
		for name, p := range t.domains.All() {
			if !yield(destination{match: MatchDomain, name: name}, p.unpack()) {
				return
			}
		}
		for name, p := range t.parents.All() {
			if !yield(destination{match: MatchParent, name: name}, p.unpack()) {
				return
			}
		}
		for hop, s := range t.hosts {
			if !yield(destination{match: hopMatch(hop.port), name: hop.host, port: hop.port}, s) {
				return
			}
		}
		for hop, s := range t.addrs {
			if !yield(destination{match: hopMatch(hop.Port()), addr: hop.Addr(), port: hop.Port()}, s) {
				return
			}
		}
	}
}

func hopMatch(port uint16) Match {
	if port == 0 {
		return MatchNextHop
	}
	return MatchNextHopPort
}
