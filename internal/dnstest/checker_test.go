package dnstest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// checker judges replies of a PassThrough resolver from the wire alone, by the text of RFC 4035
// section 5 and RFC 5155 section 8. It shares no code with what it checks: it is short, slow, and
// takes the place of a zone from the tree because finding cuts is not what is tested here.
type checker struct {
	t      testing.TB
	server string
	zones  map[string]*signedZone // names only
	known  map[string]*zoneKeys
	anchor []*dns.DS
	seen   map[string]bool // verifications done, by signature and records
}

type zoneKeys struct {
	security Security
	keys     []*dns.DNSKEY
}

func newChecker(t testing.TB, tree *Tree) *checker {
	front, err := ServeRecursive(tree, PassThrough, "")
	require.NoError(t, err)
	t.Cleanup(func() { front.Close() })
	c := &checker{t: t, server: front.Addr().String(), zones: tree.current.Load().zones, known: make(map[string]*zoneKeys), seen: make(map[string]bool)}
	for line := range strings.Lines(tree.RootAnchor()) {
		rr, err := dns.NewRR(line)
		require.NoError(t, err)
		c.anchor = append(c.anchor, rr.(*dns.DS))
	}
	return c
}

func (c *checker) query(name string, qtype uint16) *dns.Msg {
	query := new(dns.Msg).SetQuestion(name, qtype)
	query.SetEdns0(4096, true)
	reply, _, err := new(dns.Client).Exchange(query, c.server)
	require.NoError(c.t, err)
	if reply.Truncated {
		reply, _, err = (&dns.Client{Net: "tcp"}).Exchange(query, c.server)
		require.NoError(c.t, err)
	}
	return reply
}

// zoneOf returns the zone that a set belongs to.
func (c *checker) zoneOf(name string, rtype uint16) string {
	if rtype == dns.TypeDS && name != "." {
		name = parentName(name)
	}
	for c.zones[name] == nil {
		name = parentName(name)
	}
	return name
}

// zoneOfSet is zoneOf for a set with signatures: the NSEC at a cut belongs to the zone above, as
// its signer says.
func (c *checker) zoneOfSet(s *wireSet) string {
	zone := c.zoneOf(s.name, s.rtype)
	if s.rtype == dns.TypeNSEC && zone == s.name && len(s.sigs) > 0 && s.sigs[0].SignerName == c.zoneOf(s.name, dns.TypeDS) {
		return s.sigs[0].SignerName
	}
	return zone
}

// keys walks to zone from the root anchor.
func (c *checker) keys(zone string) *zoneKeys {
	if k := c.known[zone]; k != nil {
		return k
	}
	k := &zoneKeys{security: Bogus}
	c.known[zone] = k
	ds := c.anchor
	if zone != "." {
		parent := c.keys(c.zoneOf(zone, dns.TypeDS))
		if parent.security != Secure {
			k.security = parent.security
			return k
		}
		reply := c.query(zone, dns.TypeDS)
		if v := c.judgeReply(reply, zone, dns.TypeDS); v != Secure {
			k.security = v
			return k
		}
		ds = nil
		for _, rr := range reply.Answer {
			if d, ok := rr.(*dns.DS); ok {
				ds = append(ds, d)
			}
		}
	}
	ds = slices.DeleteFunc(ds, func(d *dns.DS) bool {
		return !slices.Contains([]uint8{8, 10, 13, 14, 15}, d.Algorithm) || d.DigestType != 2 && d.DigestType != 4
	})
	if len(ds) == 0 {
		k.security = Insecure
		return k
	}
	sets := group(c.query(zone, dns.TypeDNSKEY).Answer)
	for _, s := range sets {
		var entries []*dns.DNSKEY
		for _, rr := range s.rrs {
			key, ok := rr.(*dns.DNSKEY)
			if !ok || key.Flags&dns.REVOKE != 0 {
				continue // flags and protocol are looked at by Verify
			}
			k.keys = append(k.keys, key)
			for _, d := range ds {
				if own := key.ToDS(d.DigestType); own != nil && strings.EqualFold(own.Digest, d.Digest) && own.Algorithm == d.Algorithm {
					entries = append(entries, key)
				}
			}
		}
		if c.verifies(s, zone, entries) {
			k.security = Secure
		}
	}
	return k
}

// wireSet is an RRset of a reply with its signatures.
type wireSet struct {
	name  string
	rtype uint16
	rrs   []dns.RR
	sigs  []*dns.RRSIG
}

func group(rrs []dns.RR) []*wireSet {
	var sets []*wireSet
	at := func(name string, rtype uint16) *wireSet {
		for _, s := range sets {
			if s.name == name && s.rtype == rtype {
				return s
			}
		}
		sets = append(sets, &wireSet{name: name, rtype: rtype})
		return sets[len(sets)-1]
	}
	for _, rr := range rrs {
		name := dns.CanonicalName(rr.Header().Name)
		if sig, ok := rr.(*dns.RRSIG); ok {
			s := at(name, sig.TypeCovered)
			s.sigs = append(s.sigs, sig)
			continue
		}
		s := at(name, rr.Header().Rrtype)
		s.rrs = append(s.rrs, rr)
	}
	return sets
}

// verifies says that a key of zone has signed the set and the dates are right.
func (c *checker) verifies(s *wireSet, zone string, keys []*dns.DNSKEY) bool {
	for _, sig := range s.sigs {
		for _, key := range keys {
			if len(s.rrs) == 0 || sig.SignerName != zone || sig.KeyTag != key.KeyTag() || !sig.ValidityPeriod(time.Now()) {
				continue
			}
			id := fmt.Sprint(sig, key, s.rrs)
			good, known := c.seen[id]
			if !known {
				good = sig.Verify(key, s.rrs) == nil
				c.seen[id] = good
			}
			if good {
				return true
			}
		}
	}
	return false
}

// judge asks and judges.
func (c *checker) judge(name string, qtype uint16) Security {
	return c.judgeReply(c.query(name, qtype), name, qtype)
}

func (c *checker) judgeReply(reply *dns.Msg, name string, qtype uint16) Security {
	verdict := Secure
	at := func(zone string, good bool) {
		if k := c.keys(zone); k.security != Secure {
			verdict = min(verdict, k.security)
		} else if !good {
			verdict = Bogus
		}
	}
	final, dname, found := name, (*dns.DNAME)(nil), false
	for _, s := range group(reply.Answer) {
		zone := c.zoneOf(s.name, s.rtype)
		if dname != nil && s.rtype == dns.TypeCNAME && len(s.sigs) == 0 && dns.IsSubDomain(dname.Hdr.Name, s.name) {
			to := strings.TrimSuffix(s.name, dname.Hdr.Name) + dname.Target
			require.Equal(c.t, to, s.rrs[0].(*dns.CNAME).Target, "the CNAME that follows from %s", dname)
			final, found = to, qtype == dns.TypeCNAME
			continue
		}
		at(zone, c.verifies(s, zone, c.keys(zone).keys))
		switch rr := s.rrs[0].(type) {
		case *dns.DNAME:
			dname = rr
			found = found || qtype == dns.TypeDNAME && s.name == final
			continue
		case *dns.CNAME:
			require.Equal(c.t, final, s.name, "the CNAME leads on from the last name")
			if qtype != dns.TypeCNAME {
				final = dns.CanonicalName(rr.Target)
			}
		}
		if s.rtype == qtype {
			require.Equal(c.t, final, s.name, "the answer is at the last name")
			found = true
		}
		for _, sig := range s.sigs[:min(len(s.sigs), 1)] {
			if labels := int(sig.Labels); !strings.HasPrefix(s.name, "*.") && labels < dns.CountLabel(s.name) && c.keys(zone).security == Secure {
				verdict = min(verdict, c.denials(reply, zone).wildcard(s.name, labels))
			}
		}
	}
	for _, s := range group(reply.Ns) {
		zone := c.zoneOfSet(s)
		at(zone, c.verifies(s, zone, c.keys(zone).keys))
	}
	if zone := c.zoneOf(final, qtype); !found && c.keys(zone).security == Secure {
		verdict = min(verdict, c.denials(reply, zone).judge(reply.Rcode, final, qtype))
	}
	return verdict
}

// denials are the NSEC and NSEC3 records of one zone in a reply.
type denials struct {
	zone  string
	nsec  []*dns.NSEC
	nsec3 []*dns.NSEC3
}

func (c *checker) denials(reply *dns.Msg, zone string) denials {
	d := denials{zone: zone}
	for _, s := range group(reply.Ns) {
		if c.zoneOfSet(s) != zone {
			continue
		}
		for _, rr := range s.rrs {
			switch rr := rr.(type) {
			case *dns.NSEC:
				d.nsec = append(d.nsec, rr)
			case *dns.NSEC3:
				d.nsec3 = append(d.nsec3, rr)
			}
		}
	}
	return d
}

// compare is the canonical order of RFC 4034 section 6.1.
func compare(a, b string) int { return slices.Compare(wireLabels(a), wireLabels(b)) }

// wireLabels lists the labels of a name as octets, the last one first.
func wireLabels(name string) []string {
	wire := make([]byte, 256)
	if _, err := dns.PackDomainName(dns.CanonicalName(name), wire, 0, nil, false); err != nil {
		panic(err)
	}
	var labels []string
	for ; wire[0] > 0; wire = wire[1+wire[0]:] {
		labels = append(labels, string(wire[1:1+wire[0]]))
	}
	slices.Reverse(labels)
	return labels
}

// covers says that name lies strictly between the record and the next one, which may be the apex.
func (d denials) covers(n *dns.NSEC, name string) bool {
	return compare(n.Hdr.Name, name) < 0 && (compare(name, n.NextDomain) < 0 || n.NextDomain == d.zone)
}

func (d denials) covering(name string) *dns.NSEC {
	for _, n := range d.nsec {
		if d.covers(n, name) {
			return n
		}
	}
	return nil
}

// encloser is the closest encloser that a covering record implies.
func (d denials) encloser(n *dns.NSEC, name string) string {
	common := max(dns.CompareDomainName(name, n.Hdr.Name), dns.CompareDomainName(name, n.NextDomain))
	for dns.CountLabel(name) > common {
		name = parentName(name)
	}
	return name
}

// lacks says that a bitmap denies qtype: neither it nor CNAME is there, and it is not the parent's
// side of a cut unless DS is asked.
func lacks(types []uint16, qtype uint16) bool {
	has := func(t uint16) bool { return slices.Contains(types, t) }
	cut := has(dns.TypeNS) && !has(dns.TypeSOA)
	return !has(qtype) && !has(dns.TypeCNAME) && (qtype == dns.TypeDS || !cut)
}

func (d denials) judge(rcode int, name string, qtype uint16) Security {
	if len(d.nsec3) > 0 {
		return d.judgeHashed(rcode, name, qtype)
	}
	for _, n := range d.nsec {
		if n.Hdr.Name == name && rcode == dns.RcodeSuccess && lacks(n.TypeBitMap, qtype) {
			return Secure
		}
	}
	cover := d.covering(name)
	if cover == nil {
		return Bogus
	}
	if dns.IsSubDomain(name, cover.NextDomain) { // an empty non-terminal
		if rcode == dns.RcodeSuccess {
			return Secure
		}
		return Bogus
	}
	wild := wildcardOf(d.encloser(cover, name))
	if rcode == dns.RcodeNameError && d.covering(wild) != nil {
		return Secure
	}
	for _, n := range d.nsec {
		if n.Hdr.Name == wild && rcode == dns.RcodeSuccess && lacks(n.TypeBitMap, qtype) {
			return Secure
		}
	}
	return Bogus
}

func (d denials) match(name string) *dns.NSEC3 {
	for _, n := range d.nsec3 {
		if n.Match(name) {
			return n
		}
	}
	return nil
}

func (d denials) coverHashed(name string) *dns.NSEC3 {
	for _, n := range d.nsec3 {
		if n.Cover(name) {
			return n
		}
	}
	return nil
}

// worth caps what a proof gives by the number of iterations.
func (d denials) worth(v Security) Security {
	switch it := d.nsec3[0].Iterations; {
	case it > 500:
		return Bogus
	case it > 100:
		return min(v, Insecure)
	}
	return v
}

func (d denials) judgeHashed(rcode int, name string, qtype uint16) Security {
	if n := d.match(name); n != nil {
		if rcode == dns.RcodeSuccess && lacks(n.TypeBitMap, qtype) {
			return d.worth(Secure)
		}
		return Bogus
	}
	next, encloser := name, parentName(name)
	for ; encloser != "" && d.match(encloser) == nil; next, encloser = encloser, parentName(encloser) {
	}
	if encloser == "" {
		return Bogus
	}
	cover := d.coverHashed(next)
	if cover == nil {
		return Bogus
	}
	v := d.worth(Secure)
	if cover.Flags&1 != 0 {
		v = d.worth(Insecure)
	}
	wild := wildcardOf(encloser)
	switch n := d.match(wild); {
	case rcode == dns.RcodeNameError && d.coverHashed(wild) != nil,
		rcode == dns.RcodeSuccess && n != nil && lacks(n.TypeBitMap, qtype),
		rcode == dns.RcodeSuccess && cover.Flags&1 != 0: // an opted-out delegation, or an empty non-terminal above one
		return v
	}
	return Bogus
}

// wildcard judges an answer made from a wildcard whose name has that many labels without the asterisk.
func (d denials) wildcard(name string, labels int) Security {
	next := name
	for dns.CountLabel(next) > labels+1 {
		next = parentName(next)
	}
	if len(d.nsec3) > 0 {
		cover := d.coverHashed(next)
		switch {
		case cover == nil:
			return Bogus
		case cover.Flags&1 != 0:
			return d.worth(Insecure)
		}
		return d.worth(Secure)
	}
	if cover := d.covering(name); cover != nil && dns.CountLabel(d.encloser(cover, name)) == labels {
		return Secure
	}
	return Bogus
}
