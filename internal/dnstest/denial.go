package dnstest

import (
	"slices"
	"sort"
	"strings"

	"github.com/miekg/dns"
)

// chain is the NSEC or NSEC3 chain of a zone. Its methods return the records that prove something,
// without repetition.
type chain interface {
	// at proves which types name has, or, by the way of RFC 5155 section 7.2.4, that it is an
	// opted-out delegation.
	at(name string) proof
	// absent proves that name does not exist below its closest encloser, so that a wildcard there
	// may apply.
	absent(name, encloser string) proof
	// nothing proves that name does not exist and no wildcard applies.
	nothing(name, encloser string) proof
	// wildcardAt proves that name does not exist and which types the wildcard at encloser has.
	wildcardAt(name, encloser string) proof
	// sign signs all records of the chain.
	sign(*setSigner) error
}

// proof is a list of NSEC or NSEC3 sets; optOut says that the next closer name lies in an opt-out span.
type proof struct {
	sets   []*rrset
	optOut bool
}

func (p *proof) add(set *rrset) {
	if !slices.Contains(p.sets, set) {
		p.sets = append(p.sets, set)
	}
}

// denialTTL is the TTL of NSEC and NSEC3 (RFC 9077 section 3).
func (s *signedZone) denialTTL() uint32 {
	soa := s.soa.rrs[0].(*dns.SOA)
	return min(soa.Hdr.Ttl, soa.Minttl)
}

// bitmap lists the types at n that the zone is authoritative for, sorted, with extra ones.
func (n *node) bitmap(extra ...uint16) []uint16 {
	types := slices.Clone(extra)
	for t := range n.sets {
		if !n.cut || t == dns.TypeNS || t == dns.TypeDS {
			types = append(types, t)
		}
	}
	slices.Sort(types)
	return types
}

// nsecChain is a chain of NSEC records in canonical order (RFC 4034 section 4, RFC 4035 section 2.3).
type nsecChain struct {
	keys []string // sort keys of the owners, ascending
	sets []*rrset
}

func newNSECChain(s *signedZone) *nsecChain {
	c := &nsecChain{}
	byKey := make(map[string]*node)
	for _, n := range s.nodes {
		if !n.occluded && len(n.sets) > 0 {
			key := sortKey(n.name)
			byKey[key] = n
			c.keys = append(c.keys, key)
		}
	}
	slices.Sort(c.keys)
	for i, key := range c.keys {
		n := byKey[key]
		set := &rrset{zone: s, name: n.name, rtype: dns.TypeNSEC}
		set.rrs = []dns.RR{&dns.NSEC{
			Hdr:        dns.RR_Header{Name: n.name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: s.denialTTL()},
			NextDomain: byKey[c.keys[(i+1)%len(c.keys)]].name,
			TypeBitMap: n.bitmap(dns.TypeNSEC, dns.TypeRRSIG),
		}}
		c.sets = append(c.sets, set)
	}
	for _, set := range c.sets {
		s.nodes[set.name].sets[dns.TypeNSEC] = set // a query for NSEC gets it, RFC 4035 section 3.1.1
	}
	return c
}

func (c *nsecChain) sign(signer *setSigner) error {
	for _, set := range c.sets {
		if err := signer.sign(set, setKey{set.name, dns.TypeNSEC}); err != nil {
			return err
		}
	}
	return nil
}

// reaching returns the record that matches or covers name.
func (c *nsecChain) reaching(name string) *rrset {
	i := sort.SearchStrings(c.keys, sortKey(name)+"\x00") // sort keys of longer names continue with an octet above 0
	return c.sets[max(i-1, 0)]
}

func (c *nsecChain) at(name string) proof {
	return proof{sets: []*rrset{c.reaching(name)}}
}

func (c *nsecChain) absent(name, _ string) proof { return c.at(name) }

func (c *nsecChain) nothing(name, encloser string) proof { return c.wildcardAt(name, encloser) }

func (c *nsecChain) wildcardAt(name, encloser string) proof {
	p := c.at(name)
	p.add(c.reaching(wildcardOf(encloser)))
	return p
}

// wildcardOf returns the wildcard below name.
func wildcardOf(name string) string {
	if name == "." {
		return "*."
	}
	return "*." + name
}

// hashedChain is a chain of NSEC3 records in hash order (RFC 5155 section 7.1).
type hashedChain struct {
	zone   string
	params NSEC3
	hashes []string // ascending
	sets   []*rrset
	names  map[string]string // original names by hash
}

func newHashedChain(s *signedZone, p NSEC3) *hashedChain {
	c := &hashedChain{zone: s.name, params: p, names: make(map[string]string)}
	listed := make(map[string]bool)
	for _, n := range s.nodes {
		if n.occluded || len(n.sets) == 0 || p.OptOut && n.cut && n.sets[dns.TypeDS] == nil {
			continue
		}
		// With each name its empty non-terminals; those above opted-out delegations alone stay out
		// (RFC 5155 section 7.1).
		for name := n.name; name != "" && under(name, s.name) && !listed[name]; name = parentName(name) {
			listed[name] = true
		}
	}
	for name := range listed {
		hash := c.hash(name)
		c.names[hash] = name
		c.hashes = append(c.hashes, hash)
	}
	slices.Sort(c.hashes)
	var flags uint8
	if p.OptOut {
		flags = 1
	}
	for i, hash := range c.hashes {
		n := s.nodes[c.names[hash]]
		var extra []uint16
		if len(n.sets) > 0 && (!n.cut || n.sets[dns.TypeDS] != nil) {
			extra = []uint16{dns.TypeRRSIG}
		}
		owner := strings.ToLower(hash) + "."
		if s.name != "." {
			owner += s.name
		}
		c.sets = append(c.sets, &rrset{zone: s, name: owner, rtype: dns.TypeNSEC3, rrs: []dns.RR{&dns.NSEC3{
			Hdr:  dns.RR_Header{Name: owner, Rrtype: dns.TypeNSEC3, Class: dns.ClassINET, Ttl: s.denialTTL()},
			Hash: dns.SHA1, Flags: flags, Iterations: p.Iterations, SaltLength: uint8(len(p.Salt) / 2), Salt: p.Salt,
			HashLength: 20, NextDomain: c.hashes[(i+1)%len(c.hashes)],
			TypeBitMap: n.bitmap(extra...),
		}}})
	}
	return c
}

func (c *hashedChain) hash(name string) string {
	return dns.HashName(name, dns.SHA1, c.params.Iterations, c.params.Salt)
}

func (c *hashedChain) sign(signer *setSigner) error {
	for i, set := range c.sets {
		if err := signer.sign(set, setKey{c.names[c.hashes[i]], dns.TypeNSEC3}); err != nil {
			return err
		}
	}
	return nil
}

// matching returns the record of name, nil if there is none.
func (c *hashedChain) matching(name string) *rrset {
	if i, found := slices.BinarySearch(c.hashes, c.hash(name)); found {
		return c.sets[i]
	}
	return nil
}

// reaching returns the record that matches or covers name.
func (c *hashedChain) reaching(name string) *rrset {
	i, found := slices.BinarySearch(c.hashes, c.hash(name))
	if found {
		return c.sets[i]
	}
	return c.sets[(i+len(c.sets)-1)%len(c.sets)]
}

// encloser gives the closest provable encloser proof of name (RFC 5155 section 7.2.1): a record at
// the encloser and one over the next closer name. It returns the encloser too.
func (c *hashedChain) encloser(name string) (proof, string) {
	next := name
	for up := parentName(name); up != ""; next, up = up, parentName(up) {
		if set := c.matching(up); set != nil {
			p := proof{sets: []*rrset{set}, optOut: c.params.OptOut}
			p.add(c.reaching(next))
			return p, up
		}
		if up == c.zone {
			break
		}
	}
	return proof{}, c.zone
}

func (c *hashedChain) at(name string) proof {
	if set := c.matching(name); set != nil {
		return proof{sets: []*rrset{set}}
	}
	p, _ := c.encloser(name)
	return p
}

func (c *hashedChain) absent(name, encloser string) proof {
	next := name
	for parentName(next) != encloser {
		next = parentName(next)
	}
	return proof{sets: []*rrset{c.reaching(next)}, optOut: c.params.OptOut}
}

// nothing and wildcardAt use the closest provable encloser: with opt-out it can lie above the real one.
func (c *hashedChain) nothing(name, _ string) proof { return c.wildcardAt(name, "") }

func (c *hashedChain) wildcardAt(name, _ string) proof {
	p, encloser := c.encloser(name)
	p.add(c.reaching(wildcardOf(encloser)))
	return p
}
