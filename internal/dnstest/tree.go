package dnstest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

const defaultTTL = 300 // seconds, of records that state none

// Options say how a [Tree] keeps time and what its zones default to. The zero value is ready for use.
type Options struct {
	// Now is the clock by which signatures are dated and judged; nil = time.Now.
	Now func() time.Time
	// Inception and Expiration are the dates of signatures where the zone sets none. Zero: an hour
	// before and 30 days after the moment of signing.
	Inception, Expiration time.Time
	// TTL in seconds of records that state none, of SOA minimum, DNSKEY and DS; 0 = 300.
	TTL uint32
}

// Tree is a set of zones from the root down. It is safe for concurrent use: edits wait for
// [Tree.Sign], which publishes them all at once; a query sees the tree before or after, never
// between.
type Tree struct {
	opts Options

	mu    sync.Mutex // guards what follows, and the fields of each Zone
	zones map[string]*Zone
	err   error

	current atomic.Pointer[world]
}

// world is one published state of a tree. It is never changed.
type world struct {
	now   func() time.Time
	zones map[string]*signedZone
}

// NewTree returns a tree without zones.
func NewTree(o Options) *Tree {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.TTL == 0 {
		o.TTL = defaultTTL
	}
	t := &Tree{opts: o, zones: make(map[string]*Zone)}
	t.current.Store(&world{now: o.Now})
	return t
}

// Zone adds a zone and returns it. Records are lines of a master file relative to the zone ("@",
// "mx", "*.w", "host.other."), with or without TTL and class. A missing SOA and a missing NS with
// its address are made up; NS, glue and DS in the parent zone follow from the child unless the
// parent's own records name them. A zone without a parent in the tree hangs below the root, which
// Sign adds if nobody did. The first mistake, here or in an edit, is returned by the next
// [Tree.Sign].
func (t *Tree) Zone(name string, o ZoneOptions, records ...string) *Zone {
	z := &Zone{tree: t, name: dns.CanonicalName(name), opts: o, spoiled: make(map[setKey]Flaw), dirty: true}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.zones[z.name] != nil {
		t.fail(fmt.Errorf("dnstest: zone %s is there already", z.name))
		return z
	}
	t.zones[z.name] = z
	z.add(records)
	return z
}

// fail keeps the first mistake. The caller holds t.mu.
func (t *Tree) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

// Lookup returns the zone of that name, nil if there is none.
func (t *Tree) Lookup(name string) *Zone {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.zones[dns.CanonicalName(name)]
}

// Sign makes missing keys, signs every zone that changed, and publishes the result to all servers
// of the tree. On an error, which is the first mistake made since the last Sign, nothing is
// published.
func (t *Tree) Sign() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.err; err != nil {
		t.err = nil
		return err
	}
	if t.zones["."] == nil {
		t.zones["."] = &Zone{tree: t, name: ".", spoiled: make(map[setKey]Flaw), dirty: true}
	}
	var errs []error
	delegations := make(map[string][]dns.RR) // by parent zone
	for _, name := range slices.Sorted(maps.Keys(t.zones)) {
		z := t.zones[name]
		if err := z.prepare(); err != nil {
			errs = append(errs, err)
			continue
		}
		if p := t.parent(z.name); p != nil {
			delegations[p.name] = append(delegations[p.name], z.delegation()...)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	w := &world{now: t.opts.Now, zones: make(map[string]*signedZone, len(t.zones))}
	built := make(map[*Zone]*signedZone)
	for name, z := range t.zones {
		s, err := z.build(delegations[name])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		w.zones[name], built[z] = s, s
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	for z, s := range built {
		z.signed, z.dirty = s, false
	}
	t.current.Store(w)
	return nil
}

// parent returns the deepest zone strictly above name, nil for the root. The caller holds t.mu.
func (t *Tree) parent(name string) *Zone {
	for name = parentName(name); name != ""; name = parentName(name) {
		if z := t.zones[name]; z != nil {
			return z
		}
	}
	return nil
}

// RootAnchor returns the DS lines of the root zone, one for each key that a DS points to, each
// ended by a newline: the content of a trust anchor file. It is empty before the first Sign and for
// an unsigned root; for a root with the flaw WrongDS it matches no key.
func (t *Tree) RootAnchor() string { return t.Anchor(".") }

// Anchor is RootAnchor for another zone.
func (t *Tree) Anchor(name string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	z := t.zones[dns.CanonicalName(name)]
	if z == nil {
		return ""
	}
	var text string
	for _, ds := range z.ds() {
		text += ds.String() + "\n"
	}
	return text
}
