//go:build interop

package dnssec

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/smtpsec/smtpsec/internal/dnstest"
)

// foreignWorld returns zones of every kind, and names to ask for. Each of the two signers has a top-level domain with
// NSEC or NSEC3, another with opt-out, and the same zones in them.
func foreignWorld() (foreignTree, []string) {
	tree := foreignTree{
		".":      {by: bind, algorithm: "RSASHA256"},
		"bind.":  {by: bind},
		"ldns.":  {by: ldns, nsec3: true, salt: "aabb"},
		"bindo.": {by: bind, nsec3: true, optOut: true},
		"ldnso.": {by: ldns, nsec3: true, optOut: true, salt: "01", iterations: 2},
		"uns.":   {},
	}
	names := []string{".", "absent.", "a.b.absent.", "uns.", "absent.uns."}
	under := func(zone string, labels []string) {
		for _, label := range labels {
			names = append(names, strings.TrimPrefix(label+"."+zone, "."))
		}
	}
	add := func(name string, z foreignZone, labels []string) {
		z.records = content
		tree[name] = z
		under(name, labels)
	}
	few := []string{"", "mx", "_25._tcp.mx", "absent", "any.w", "any.cw", "z.*.y", "of.ent", "alias2", "toabsent", "towild", "x.dn", "none.dn"}
	for _, s := range []struct {
		by, other  signer
		tld        string
		iterations int // more than we take for secure; dnssec-signzone makes no more
	}{{bind, ldns, "bind.", 150}, {ldns, bind, "ldns.", 300}} {
		short := strings.TrimSuffix(s.tld, ".")
		optOut := short + "o."
		for _, tld := range []string{s.tld, optOut} {
			under(tld, []string{"", "absent", "a.b.absent"})
			add("signed."+tld, foreignZone{by: s.by}, few)
			add("other."+tld, foreignZone{by: s.other}, few)
			add("unsigned."+tld, foreignZone{}, few)
			add("island."+tld, foreignZone{by: s.by, noDS: true}, few)
			add("wrongds."+tld, foreignZone{by: s.by, wrongDS: true}, few)
		}
		add("nsec."+s.tld, foreignZone{by: s.by}, contentNames)
		add("nsec3."+s.tld, foreignZone{by: s.by, nsec3: true, salt: "c0ffee", iterations: 3}, contentNames)
		add("optout."+s.tld, foreignZone{by: s.by, nsec3: true, optOut: true}, contentNames)
		add("child.nsec."+s.tld, foreignZone{by: s.other}, few)
		add("child.nsec3."+s.tld, foreignZone{by: s.other}, few)
		add("child.optout."+s.tld, foreignZone{}, few)
		add("sig.optout."+s.tld, foreignZone{by: s.by}, few)
		add("below.uncut."+s.tld, foreignZone{by: s.by, nsec3: true}, few)
		under("uncut."+s.tld, []string{"", "absent"})

		add("a8."+s.tld, foreignZone{by: s.by, algorithm: "RSASHA256"}, few)
		add("a10."+s.tld, foreignZone{by: s.by, algorithm: "RSASHA512", nsec3: true}, few)
		add("a14."+s.tld, foreignZone{by: s.by, algorithm: "ECDSAP384SHA384", nsec3: true}, few)
		add("a15."+s.tld, foreignZone{by: s.by, algorithm: "ED25519"}, few)
		add("a16."+s.tld, foreignZone{by: s.by, algorithm: "ED448"}, few)
		add("many."+s.tld, foreignZone{by: s.by, nsec3: true, iterations: s.iterations}, few)
		add("expired."+s.tld, foreignZone{by: s.by, expired: true}, few)
		add("child.expired."+s.tld, foreignZone{by: s.by}, few)

		var aliases, labels []string
		for target, zone := range map[string]string{
			"s": "nsec." + s.tld, "o": "other." + optOut, "i": "unsigned." + s.tld, "b": "expired." + s.tld, "p": "optout." + s.tld,
		} {
			for kind, line := range map[string]string{
				"": "CNAME mx." + zone, "-tlsa": "CNAME _25._tcp.mx." + zone, "-none": "CNAME none." + zone, "-wild": "CNAME q.w." + zone,
				"-far": "CNAME " + target + ".alias." + optOut, "-dn": "DNAME " + zone,
			} {
				aliases = append(aliases, target+kind+" "+line)
				if kind == "-dn" {
					labels = append(labels, "mx."+target+kind, "none."+target+kind)
				} else {
					labels = append(labels, target+kind)
				}
			}
		}
		slices.Sort(aliases)
		for name, z := range map[string]foreignZone{
			"alias." + s.tld:           {by: s.by, nsec3: s.by == ldns},
			"alias." + optOut:          {}, // an alias from secure to insecure to secure
			"alias." + short + ".uns.": {},
		} {
			z.records = aliases
			tree[name] = z
			under(name, labels)
		}
	}
	slices.Sort(names)
	return tree, slices.Compact(names)
}

// fromUnboundOverNSD are all ways in which we may differ from unbound over these zones, and why. Each must occur.
var fromUnboundOverNSD = []difference{ed448, manyIterations, unsignedCNAME, unsignedInsecureCNAME, unjudgedTarget}

// fromDelvOverNSD is the same for delv.
var fromDelvOverNSD = []difference{ed448, manyIterations, optOutDenial}

var ed448 = difference{
	"algorithm 16, Ed448: unbound and delv validate it; RFC 8624 section 3.1 leaves it optional, so for us the zone is insecure (RFC 4035 section 5.2)",
	func(q Question, _ *Answer, ours, theirs opinion) bool {
		return strings.Contains("."+q.Name, ".a16.") && ours.Verdict == "insecure" && theirs.Verdict == "secure"
	},
}

var manyIterations = difference{
	"150 NSEC3 iterations: unbound 1.17 and delv 9.18 validate up to 150, for us denials are insecure above 100 (RFC 9276 section 3.2)",
	func(q Question, _ *Answer, ours, theirs opinion) bool {
		return dns.IsSubDomain("many.bind.", q.Name) && ours.Verdict == "insecure" && theirs.Verdict == "secure"
	},
}

// We, unbound and delv over zones that neither we nor our test world have signed or served.
func TestAgainstOthersOverNSD(t *testing.T) {
	tree, names := foreignWorld()
	// Two servers, so that there is an alias whose target the same server has, and one whose target it does not have.
	high := []netip.Addr{netip.MustParseAddr("127.53.0.1"), netip.MustParseAddr("127.53.0.2")}
	deep := []netip.Addr{netip.MustParseAddr("127.53.1.1"), netip.MustParseAddr("127.53.1.2")}
	isHigh := func(zone string) bool { return dns.CountLabel(zone) < 2 }
	zones, anchors := tree.sign(t, t.TempDir(), func(zone string) netip.Addr {
		if isHigh(zone) {
			return high[0]
		}
		return deep[0]
	})
	above, below := make(map[string]string), make(map[string]string)
	for zone, text := range zones {
		if isHigh(zone) {
			above[zone] = text
		} else {
			below[zone] = text
		}
	}
	unbound := dnstest.Unbound{Anchors: anchors, Servers: make(map[string][]netip.AddrPort)}
	for _, part := range []struct {
		zones map[string]string
		addrs []netip.Addr
	}{{above, high}, {below, deep}} {
		servers := dnstest.StartNSD(t, part.zones, part.addrs...)
		for zone := range part.zones {
			unbound.Servers[zone] = servers
		}
	}
	plain := unbound
	plain.PassThrough = true
	reference, through := unbound.Start(t), plain.Start(t)
	questions := everyType(names)
	againstUnboundEachWay(t, anchors, reference, through, questions, fromUnboundOverNSD, nil)
	t.Run("delv", func(t *testing.T) {
		differences := fromDelvOverNSD
		if everyDelv {
			differences = append(slices.Clone(differences), belowDNAMEForDelv)
		}
		againstDelv(t, validatorFor(t, anchors, nil, through), newDelv(t, anchors, through), forDelv(names, 3), differences)
	})
}
