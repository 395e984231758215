package dnstest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// ZoneOptions say how a zone is signed and what is wrong with it. The zero value is a sound zone
// signed with one ECDSA P-256 key and NSEC.
type ZoneOptions struct {
	// Unsigned leaves the zone without keys and signatures, and its parent without a DS: an
	// insecure delegation.
	Unsigned bool
	// NoDS leaves the DS out of the parent although the zone is signed: an island of security,
	// insecure too.
	NoDS bool
	// Flaw of the whole zone; the zero value is Sound. It does not reach into zones below.
	Flaw Flaw

	// Algorithm of the keys; 0 = 13. 8, 10, 13, 14, 15 are what validators support, 5 and 7 really
	// sign with SHA-1, any other number gives random keys and signatures.
	Algorithm uint8
	// SplitKeys makes a key-signing key (flags 257) and a zone-signing key (256) instead of one key
	// for both.
	SplitKeys bool
	// RSABits is the size of RSA keys; 0 = 1,024.
	RSABits int
	// Keys replaces generated keys. Keys with FlagSEP sign the DNSKEY set and get DS records, the
	// others sign the rest; without either kind the other does both.
	Keys []*Key
	// Digests are the digest types of the DS records in the parent; nil = 2 (SHA-256).
	Digests []uint8

	// NSEC3 replaces the NSEC chain; nil = NSEC.
	NSEC3 *NSEC3

	// Inception and Expiration date the signatures of this zone; zero = as the tree says.
	Inception, Expiration time.Time
}

// NSEC3 are the parameters of a hashed chain (RFC 5155 section 3.1). The zero value is what RFC
// 9276 section 3.1 asks for.
type NSEC3 struct {
	Iterations uint16
	Salt       string // hexadecimal, "" = none
	OptOut     bool   // insecure delegations get no record of their own (RFC 5155 section 6)
}

// Zone is a zone of a [Tree]. Its methods may be called at any time from any goroutine; what they
// change is served after the next [Tree.Sign].
type Zone struct {
	tree *Tree
	name string

	// guarded by tree.mu
	opts    ZoneOptions
	records []dns.RR
	spoiled map[setKey]Flaw
	keys    []*Key
	dirty   bool
	signed  *signedZone
}

// setKey names an RRset.
type setKey struct {
	name  string
	rtype uint16
}

// Name returns the name of the zone, lower case with the final dot.
func (z *Zone) Name() string { return z.name }

// Add adds records, written as for [Tree.Zone].
func (z *Zone) Add(records ...string) *Zone {
	return z.edit(func() { z.add(records) })
}

// AddRR adds records that are not in text form.
func (z *Zone) AddRR(rrs ...dns.RR) *Zone {
	return z.edit(func() { z.addRR(rrs) })
}

// Remove takes the RRsets of those types away from name (relative, or absolute with a final dot),
// all of them if no type is given.
func (z *Zone) Remove(name string, types ...uint16) *Zone {
	return z.edit(func() { z.remove(z.absolute(name), types) })
}

// Replace takes all records at name of type t away and adds others.
func (z *Zone) Replace(name string, t uint16, records ...string) *Zone {
	return z.edit(func() {
		z.remove(z.absolute(name), []uint16{t})
		z.add(records)
	})
}

// Spoil gives one RRset a flaw of its own: Expired, NotYetValid, BadSignature or NoSignature; Sound
// heals it. It holds for RRsets that Sign makes too: DNSKEY, SOA, NSEC at the name, DS of a child
// in this zone, and NSEC3, meant by the name that is hashed.
func (z *Zone) Spoil(name string, t uint16, f Flaw) *Zone {
	return z.edit(func() {
		if !f.ofSet() {
			z.tree.fail(fmt.Errorf("dnstest: zone %s: %q is no flaw of an RRset", z.name, f))
			return
		}
		z.spoiled[setKey{z.absolute(name), t}] = f
	})
}

// Change edits the options. New keys are made if Algorithm, SplitKeys, RSABits or Keys changed.
// Even if nothing changes, the next Sign signs the zone anew, with dates of that moment.
func (z *Zone) Change(f func(*ZoneOptions)) *Zone {
	return z.edit(func() {
		old := z.opts
		f(&z.opts)
		n := z.opts
		if n.Algorithm != old.Algorithm || n.SplitKeys != old.SplitKeys || n.RSABits != old.RSABits || !slices.Equal(n.Keys, old.Keys) {
			z.keys = nil
		}
	})
}

// RollKeys forgets the keys; the next Sign makes new ones, with a new DS in the parent. Keys given
// by [ZoneOptions].Keys stay.
func (z *Zone) RollKeys() *Zone {
	return z.edit(func() { z.keys = nil })
}

// Keys returns the keys that sign the zone, nil before the first Sign and for an unsigned zone.
func (z *Zone) Keys() []*Key {
	z.tree.mu.Lock()
	defer z.tree.mu.Unlock()
	return slices.Clone(z.keys)
}

// Forge signs an RRset that is not in the zone with a key of the zone that signs data, as
// [Key.Sign] does, dated like the zone. It is for hostile tests: the records may have any owner.
func (z *Zone) Forge(set []dns.RR, change func(*dns.RRSIG)) (*dns.RRSIG, error) {
	z.tree.mu.Lock()
	defer z.tree.mu.Unlock()
	if len(z.keys) == 0 {
		return nil, fmt.Errorf("dnstest: zone %s has no keys", z.name)
	}
	from, until := z.validity()
	_, signers := roles(z.keys)
	return signers[0].Sign(set, from, until, change)
}

func (z *Zone) edit(f func()) *Zone {
	z.tree.mu.Lock()
	defer z.tree.mu.Unlock()
	z.dirty = true
	f()
	return z
}

func (z *Zone) absolute(name string) string {
	switch {
	case name == "@" || name == "":
		return z.name
	case dns.IsFqdn(name):
		return dns.CanonicalName(name)
	case z.name == ".":
		return dns.CanonicalName(name)
	}
	return dns.CanonicalName(name + "." + z.name)
}

// add parses and adds lines. The caller holds tree.mu, as for all that follows.
func (z *Zone) add(lines []string) {
	for _, line := range lines {
		parser := dns.NewZoneParser(strings.NewReader(line+"\n"), z.name, "")
		parser.SetDefaultTTL(z.tree.opts.TTL)
		found := false
		for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
			found = true
			z.addRR([]dns.RR{rr})
		}
		if err := parser.Err(); err != nil {
			z.tree.fail(fmt.Errorf("dnstest: zone %s: record %q: %w", z.name, line, err))
		} else if !found {
			z.tree.fail(fmt.Errorf("dnstest: zone %s: no record in %q", z.name, line))
		}
	}
}

func (z *Zone) addRR(rrs []dns.RR) {
	for _, rr := range rrs {
		rr, err := normal(rr)
		if err == nil && !under(rr.Header().Name, z.name) {
			err = fmt.Errorf("owner is outside the zone")
		}
		if err != nil {
			z.tree.fail(fmt.Errorf("dnstest: zone %s: record %q: %w", z.name, rr, err))
			continue
		}
		if !slices.ContainsFunc(z.records, func(have dns.RR) bool { return dns.IsDuplicate(have, rr) }) {
			z.records = append(z.records, rr)
		}
	}
}

func (z *Zone) remove(name string, types []uint16) {
	z.records = slices.DeleteFunc(z.records, func(rr dns.RR) bool {
		h := rr.Header()
		return h.Name == name && (len(types) == 0 || slices.Contains(types, h.Rrtype))
	})
}

// normal returns a copy of rr that went through the wire once, so that its names have one spelling,
// with a lower-case owner.
func normal(rr dns.RR) (dns.RR, error) {
	c := dns.Copy(rr)
	c.Header().Name = dns.CanonicalName(c.Header().Name)
	if c.Header().Class == 0 {
		c.Header().Class = dns.ClassINET
	}
	wire := make([]byte, dns.Len(c)+512)
	n, err := dns.PackRR(c, wire, 0, nil, false)
	if err != nil {
		return rr, err
	}
	c, _, err = dns.UnpackRR(wire[:n], 0)
	if err != nil {
		return rr, err
	}
	return c, nil
}
