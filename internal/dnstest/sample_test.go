package dnstest

import (
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// content is what most zones of the sample tree hold: every kind of name.
var content = []string{
	"@ MX 10 mx", "@ TXT \"v=spf1 -all\"",
	"mx A 127.0.0.1", "mx AAAA ::1", "_25._tcp.mx TLSA 3 1 1 0011",
	"*.w A 127.0.0.2", "host.w TXT \"below the wildcard's parent\"",
	"*.cw CNAME mx",
	"leaf.of.ent A 127.0.0.3",
	"alias CNAME mx", "alias2 CNAME alias", "toabsent CNAME absent", "towild CNAME any.w",
	"dn DNAME ent2", "x.ent2 A 127.0.0.4",
	"loop1 CNAME loop2", "loop2 CNAME loop1",
}

// sampleTree returns a signed tree with zones of every kind.
func sampleTree(t testing.TB) *Tree {
	t.Helper()
	tree := NewTree(Options{})
	zone := func(name string, o ZoneOptions, more ...string) *Zone {
		return tree.Zone(name, o, append(more, content...)...)
	}
	tree.Zone(".", ZoneOptions{SplitKeys: true})
	tree.Zone("com.", ZoneOptions{}, "lame NS ns.nowhere.net.", "host A 127.0.0.9")
	tree.Zone("net.", ZoneOptions{NSEC3: &NSEC3{Iterations: 5, Salt: "aabbccdd"}})
	tree.Zone("org.", ZoneOptions{NSEC3: &NSEC3{OptOut: true}}, "host A 127.0.0.9", "*.w A 127.0.0.9", "in.ent A 127.0.0.9")
	tree.Zone("uns.", ZoneOptions{Unsigned: true}, "host A 127.0.0.9")

	for _, tld := range []string{"com.", "net.", "org."} {
		zone("nsec."+tld, ZoneOptions{})
		zone("nsec3."+tld, ZoneOptions{NSEC3: &NSEC3{}})
		zone("unsigned."+tld, ZoneOptions{Unsigned: true})
		zone("island."+tld, ZoneOptions{NoDS: true})
		zone("below.uncut."+tld, ZoneOptions{}) // "uncut" is an empty non-terminal
		zone("insec.uncut2."+tld, ZoneOptions{Unsigned: true})
	}
	zone("optout.com.", ZoneOptions{NSEC3: &NSEC3{OptOut: true, Salt: "01"}})
	zone("plain.optout.com.", ZoneOptions{Unsigned: true})
	zone("sig.optout.com.", ZoneOptions{})

	zone("alg8.com.", ZoneOptions{Algorithm: dns.RSASHA256})
	zone("alg10.com.", ZoneOptions{Algorithm: dns.RSASHA512, SplitKeys: true})
	zone("alg14.com.", ZoneOptions{Algorithm: dns.ECDSAP384SHA384, NSEC3: &NSEC3{}})
	zone("alg15.com.", ZoneOptions{Algorithm: dns.ED25519, SplitKeys: true})
	zone("alg253.com.", ZoneOptions{Algorithm: 253})
	zone("split.com.", ZoneOptions{SplitKeys: true})
	zone("digest4.com.", ZoneOptions{Digests: []uint8{dns.SHA384}})
	zone("digest99.com.", ZoneOptions{Digests: []uint8{99}})
	zone("digests.com.", ZoneOptions{Digests: []uint8{99, dns.SHA256, dns.SHA384}})
	zone("iter100.com.", ZoneOptions{NSEC3: &NSEC3{Iterations: 100}})
	zone("iter400.com.", ZoneOptions{NSEC3: &NSEC3{Iterations: 400}})
	zone("iter501.com.", ZoneOptions{NSEC3: &NSEC3{Iterations: 501}})

	zone("expired.com.", ZoneOptions{Flaw: Expired})
	zone("notyet.com.", ZoneOptions{Flaw: NotYetValid})
	zone("badsig.com.", ZoneOptions{Flaw: BadSignature})
	zone("nosig.com.", ZoneOptions{Flaw: NoSignature})
	zone("wrongds.com.", ZoneOptions{Flaw: WrongDS})
	zone("nokeys.com.", ZoneOptions{Flaw: NoKeys})
	zone("nodenial.com.", ZoneOptions{Flaw: NoDenial})
	zone("nodenial3.com.", ZoneOptions{Flaw: NoDenial, NSEC3: &NSEC3{}})

	spoiled := zone("spoiled.com.", ZoneOptions{})
	spoiled.Spoil("mx", dns.TypeA, BadSignature).
		Spoil("_25._tcp.mx", dns.TypeTLSA, Expired).
		Spoil("mx", dns.TypeAAAA, NoSignature).
		Spoil("@", dns.TypeTXT, NotYetValid).
		Spoil("*.w", dns.TypeNSEC, BadSignature).
		Spoil("sub", dns.TypeDS, BadSignature)
	zone("sub.spoiled.com.", ZoneOptions{})
	spoiled3 := zone("spoiled3.com.", ZoneOptions{NSEC3: &NSEC3{}})
	spoiled3.Spoil("mx", dns.TypeNSEC3, BadSignature).Spoil("@", dns.TypeSOA, Expired).Spoil("alias", dns.TypeCNAME, BadSignature)

	zone("child.nsec.com.", ZoneOptions{})
	zone("child.unsigned.com.", ZoneOptions{})
	zone("child.expired.com.", ZoneOptions{})
	zone("child.nodenial.com.", ZoneOptions{Unsigned: true}) // nothing proves that it has no DS
	zone("zone.uns.", ZoneOptions{})

	odd := []string{`a\.b A 127.0.0.1`, `\000x\255 A 127.0.0.2`, "UPPER MX 10 MX.Odd.Com.", "*a A 127.0.0.4", "x.*.y A 127.0.0.5"}
	zone("odd.com.", ZoneOptions{}, odd...)
	zone("odd3.com.", ZoneOptions{NSEC3: &NSEC3{}}, odd...)

	kinds := map[string]string{"s": "nsec.com.", "s3": "nsec3.net.", "i": "unsigned.com.", "b": "expired.com."}
	var aliases []string
	for first, zone := range kinds {
		// A name of each zone that leads to each other zone; two hops follow from "first.hop" ->
		// zone -> zone.
		aliases = append(aliases,
			first+" CNAME mx."+zone, first+"-none CNAME none."+zone, first+"-type CNAME "+zone, first+"-dn DNAME "+zone, first+"-wild CNAME q.w."+zone)
	}
	tree.Zone("alias.com.", ZoneOptions{}, aliases...)
	tree.Zone("ualias.com.", ZoneOptions{Unsigned: true}, aliases...)
	tree.Zone("balias.com.", ZoneOptions{Flaw: BadSignature}, aliases...)
	var hops []string
	for _, from := range []string{"alias.com.", "ualias.com.", "balias.com."} {
		for second := range kinds {
			hops = append(hops, from[:1]+"-"+second+" CNAME "+second+"."+from)
		}
	}
	tree.Zone("hops.net.", ZoneOptions{NSEC3: &NSEC3{}}, hops...)
	tree.Zone("overlong.com.", ZoneOptions{}, "dnamed DNAME "+long(63)+"overlong.com.")
	require.NoError(t, tree.Sign())
	return tree
}
