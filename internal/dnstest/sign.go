package dnstest

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// rrset is a signed RRset of a published zone. It is never changed.
type rrset struct {
	zone  *signedZone
	name  string
	rtype uint16
	rrs   []dns.RR
	sigs  []*dns.RRSIG
	bad   bool // the signatures do not verify
}

// node is a name of a zone. An empty non-terminal has no sets.
type node struct {
	name     string
	sets     map[uint16]*rrset
	cut      bool // a delegation: NS below the apex
	occluded bool // below a delegation or a DNAME: glue at best
}

// signedZone is a published state of a zone. It is never changed.
type signedZone struct {
	name     string
	opts     ZoneOptions
	signed   bool
	nodes    map[string]*node
	soa      *rrset
	denial   chain    // nil in an unsigned zone
	anchors  []dns.RR // the DS records that the tree hands out for it
	handover string   // the delegations that it was built with
}

// validity returns the dates of the signatures of the zone when nothing is wrong.
func (z *Zone) validity() (from, until time.Time) {
	now := z.tree.opts.Now()
	from, until = now.Add(-time.Hour), now.Add(30*24*time.Hour)
	for _, t := range []time.Time{z.tree.opts.Inception, z.opts.Inception} {
		if !t.IsZero() {
			from = t
		}
	}
	for _, t := range []time.Time{z.tree.opts.Expiration, z.opts.Expiration} {
		if !t.IsZero() {
			until = t
		}
	}
	return from, until
}

// prepare checks the options and makes keys if the zone needs and lacks them.
func (z *Zone) prepare() error {
	if z.opts.Flaw > NoDenial {
		return fmt.Errorf("dnstest: zone %s: flaw %d is unknown", z.name, z.opts.Flaw)
	}
	if p := z.opts.NSEC3; p != nil {
		if octets, err := hex.DecodeString(p.Salt); err != nil || len(octets) > math.MaxUint8 {
			return fmt.Errorf("dnstest: zone %s: salt %q is not 0 to 255 octets in hexadecimal", z.name, p.Salt)
		}
	}
	if z.opts.Unsigned {
		z.keys = nil
		return nil
	}
	if z.keys != nil {
		return nil
	}
	z.dirty = true
	if len(z.opts.Keys) > 0 {
		z.keys = slices.Clone(z.opts.Keys)
		return nil
	}
	algorithm := z.opts.Algorithm
	if algorithm == 0 {
		algorithm = dns.ECDSAP256SHA256
	}
	flags := []uint16{FlagZone | FlagSEP}
	if z.opts.SplitKeys {
		flags = append(flags, FlagZone)
	}
	var keys []*Key
	for _, f := range flags {
		k, err := NewKey(z.name, algorithm, f, z.opts.RSABits)
		if err != nil {
			return err
		}
		k.Public.Hdr.Ttl = z.tree.opts.TTL
		keys = append(keys, k)
	}
	z.keys = keys
	return nil
}

// roles splits keys into those that sign the DNSKEY set and those that sign the rest.
func roles(keys []*Key) (forKeys, forData []*Key) {
	for _, k := range keys {
		if k.Public.Flags&FlagSEP != 0 {
			forKeys = append(forKeys, k)
		} else {
			forData = append(forData, k)
		}
	}
	if len(forKeys) == 0 {
		forKeys = forData
	}
	if len(forData) == 0 {
		forData = forKeys
	}
	return forKeys, forData
}

// ds returns the DS records that the parent holds for the zone.
func (z *Zone) ds() []dns.RR {
	if z.opts.Unsigned || z.opts.NoDS || z.keys == nil {
		return nil
	}
	digests := z.opts.Digests
	if len(digests) == 0 {
		digests = []uint8{dns.SHA256}
	}
	forKeys, _ := roles(z.keys)
	var set []dns.RR
	for _, k := range forKeys {
		for _, digest := range digests {
			ds := k.DS(digest)
			if z.opts.Flaw == WrongDS {
				ds.Digest = ds.Digest[2:] + ds.Digest[:2]
			}
			set = append(set, ds)
		}
	}
	return set
}

// apexNS returns the NS set of the zone and the addresses of its hosts inside the zone.
func (z *Zone) apexNS() []dns.RR {
	var set, hosts []dns.RR
	for _, rr := range z.records {
		if ns, ok := rr.(*dns.NS); ok && ns.Hdr.Name == z.name {
			set = append(set, rr)
			for _, glue := range z.records {
				h := glue.Header()
				if h.Name == dns.CanonicalName(ns.Ns) && (h.Rrtype == dns.TypeA || h.Rrtype == dns.TypeAAAA) {
					hosts = append(hosts, glue)
				}
			}
		}
	}
	if set == nil {
		host := z.absolute("ns")
		ttl := z.tree.opts.TTL
		header := func(name string, t uint16) dns.RR_Header {
			return dns.RR_Header{Name: name, Rrtype: t, Class: dns.ClassINET, Ttl: ttl}
		}
		set = []dns.RR{&dns.NS{Hdr: header(z.name, dns.TypeNS), Ns: host}}
		hosts = []dns.RR{&dns.A{Hdr: header(host, dns.TypeA), A: []byte{127, 0, 0, 1}}}
	}
	return append(set, hosts...)
}

// delegation returns what the parent holds for the zone: NS, glue, DS.
func (z *Zone) delegation() []dns.RR { return append(z.apexNS(), z.ds()...) }

// build signs the zone, or returns its last state if nothing changed.
func (z *Zone) build(delegations []dns.RR) (*signedZone, error) {
	var handover strings.Builder
	for _, rr := range delegations {
		handover.WriteString(rr.String())
		handover.WriteByte('\n')
	}
	if !z.dirty && z.signed != nil && z.signed.handover == handover.String() {
		return z.signed, nil
	}
	s := &signedZone{
		name:     z.name,
		opts:     z.opts,
		signed:   !z.opts.Unsigned && z.opts.Flaw != NoKeys,
		nodes:    make(map[string]*node),
		anchors:  z.ds(),
		handover: handover.String(),
	}
	s.collect(z.records)
	s.complete(z, delegations)
	if err := s.arrange(); err != nil {
		return nil, err
	}
	if !s.signed {
		return s, nil
	}
	signer := newSetSigner(z)
	for _, n := range s.nodes {
		for _, set := range n.sets {
			if n.occluded || n.cut && set.rtype != dns.TypeDS {
				continue
			}
			if err := signer.sign(set, setKey{n.name, set.rtype}); err != nil {
				return nil, err
			}
		}
	}
	if z.opts.NSEC3 != nil {
		s.denial = newHashedChain(s, *z.opts.NSEC3)
	} else {
		s.denial = newNSECChain(s)
	}
	return s, s.denial.sign(signer)
}

// collect sorts records into sets.
func (s *signedZone) collect(rrs []dns.RR) {
	for _, rr := range rrs {
		h := rr.Header()
		n := s.node(h.Name)
		set := n.sets[h.Rrtype]
		if set == nil {
			set = &rrset{zone: s, name: h.Name, rtype: h.Rrtype}
			n.sets[h.Rrtype] = set
		}
		if !slices.ContainsFunc(set.rrs, func(have dns.RR) bool { return dns.IsDuplicate(have, rr) }) {
			set.rrs = append(set.rrs, dns.Copy(rr))
		}
	}
}

func (s *signedZone) node(name string) *node {
	n := s.nodes[name]
	if n == nil {
		n = &node{name: name, sets: make(map[uint16]*rrset)}
		s.nodes[name] = n
	}
	return n
}

func (s *signedZone) has(name string, t uint16) bool {
	n := s.nodes[name]
	return n != nil && n.sets[t] != nil
}

// complete adds what nobody wrote: SOA, NS, keys, NSEC3 parameters, delegations.
func (s *signedZone) complete(z *Zone, delegations []dns.RR) {
	ttl := z.tree.opts.TTL
	header := func(t uint16) dns.RR_Header {
		return dns.RR_Header{Name: z.name, Rrtype: t, Class: dns.ClassINET, Ttl: ttl}
	}
	if !s.has(z.name, dns.TypeNS) {
		s.collect(z.apexNS())
	}
	if !s.has(z.name, dns.TypeSOA) {
		s.collect([]dns.RR{&dns.SOA{
			Hdr: header(dns.TypeSOA), Ns: s.nodes[z.name].sets[dns.TypeNS].rrs[0].(*dns.NS).Ns, Mbox: z.absolute("hostmaster"),
			Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: ttl,
		}})
	}
	if s.signed {
		for _, k := range z.keys {
			s.collect([]dns.RR{k.Public})
		}
		if p := z.opts.NSEC3; p != nil {
			s.collect([]dns.RR{&dns.NSEC3PARAM{
				Hdr: header(dns.TypeNSEC3PARAM), Hash: dns.SHA1, Iterations: p.Iterations,
				SaltLength: uint8(len(p.Salt) / 2), Salt: p.Salt,
			}})
		}
	}
	// What the parent's own records say about a delegation wins over what the child hands over.
	own := make(map[setKey]bool)
	for _, rr := range delegations {
		h := rr.Header()
		if key := (setKey{h.Name, h.Rrtype}); s.has(h.Name, h.Rrtype) {
			own[key] = true
		}
	}
	for _, rr := range delegations {
		if h := rr.Header(); !own[setKey{h.Name, h.Rrtype}] {
			s.collect([]dns.RR{rr})
		}
	}
}

// arrange finds cuts, occluded names and empty non-terminals, and evens out the TTLs of each set.
func (s *signedZone) arrange() error {
	for _, name := range slices.Collect(maps.Keys(s.nodes)) {
		for up := parentName(name); up != "" && under(up, s.name); up = parentName(up) {
			s.node(up)
		}
	}
	for _, n := range s.nodes {
		n.cut = n.name != s.name && n.sets[dns.TypeNS] != nil
		if c := n.sets[dns.TypeCNAME]; c != nil && (len(n.sets) > 1 || len(c.rrs) > 1) {
			return fmt.Errorf("dnstest: zone %s: %s has a CNAME and other records (RFC 1034 section 3.6.2)", s.name, n.name)
		}
		for _, set := range n.sets {
			ttl := set.rrs[0].Header().Ttl
			for _, rr := range set.rrs {
				ttl = min(ttl, rr.Header().Ttl)
			}
			for _, rr := range set.rrs {
				rr.Header().Ttl = ttl
			}
		}
	}
	for _, n := range s.nodes {
		for up := parentName(n.name); n.name != s.name && up != "" && under(up, s.name); up = parentName(up) {
			if above := s.nodes[up]; above.cut || above.sets[dns.TypeDNAME] != nil {
				n.occluded = true
			}
		}
	}
	s.soa = s.nodes[s.name].sets[dns.TypeSOA]
	if len(s.soa.rrs) > 1 {
		return fmt.Errorf("dnstest: zone %s has %d SOA records", s.name, len(s.soa.rrs))
	}
	return nil
}

// setSigner signs the sets of one zone.
type setSigner struct {
	zone             *Zone
	forKeys, forData []*Key
}

func newSetSigner(z *Zone) *setSigner {
	forKeys, forData := roles(z.keys)
	return &setSigner{z, forKeys, forData}
}

// sign gives set its signatures, with the flaw that is meant for key.
func (ss *setSigner) sign(set *rrset, key setKey) error {
	z := ss.zone
	flaw, own := z.spoiled[key]
	if !own && z.opts.Flaw.ofSet() {
		flaw = z.opts.Flaw
	}
	if flaw == NoSignature {
		return nil
	}
	from, until := z.validity()
	from, until = flaw.dates(z.tree.opts.Now(), from, until)
	keys := ss.forData
	if set.rtype == dns.TypeDNSKEY && set.name == z.name {
		keys = ss.forKeys
	}
	for _, k := range keys {
		sig, err := k.Sign(set.rrs, from, until, nil)
		if err != nil {
			return err
		}
		if flaw == BadSignature {
			octets, err := base64.StdEncoding.DecodeString(sig.Signature)
			if err != nil {
				return fmt.Errorf("dnstest: signature of %s: %w", set.name, err)
			}
			octets[len(octets)/2] ^= 1
			sig.Signature = base64.StdEncoding.EncodeToString(octets)
			set.bad = true
		}
		set.sigs = append(set.sigs, sig)
	}
	return nil
}
