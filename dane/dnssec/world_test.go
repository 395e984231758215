package dnssec

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/dnstest"
)

// content is what most zones of the sample tree hold: names of every kind.
var content = []string{
	"@ MX 10 mx", `@ TXT "v=spf1 -all"`,
	"mx A 127.0.0.1", "mx AAAA ::1", "_25._tcp.mx TLSA 3 1 1 0011",
	"*.w A 127.0.0.2", `host.w TXT "beside the wildcard"`,
	"*.cw CNAME mx", "x.*.y A 127.0.0.5",
	"leaf.of.ent A 127.0.0.3",
	"alias CNAME mx", "alias2 CNAME alias", "toabsent CNAME absent", "towild CNAME any.w",
	"dn DNAME ent2", "x.ent2 A 127.0.0.4",
	"loop1 CNAME loop2", "loop2 CNAME loop1",
}

// names to ask for in such a zone; "" is the apex.
var contentNames = []string{
	"", "mx", "_25._tcp.mx", "_tcp.mx", "absent", "a.b.absent", "zzz", "-", "sub.mx",
	"any.w", "a.b.w", "*.w", "host.w", "x.host.w", "w", "any.cw", "q.y", "y", "*.y", "x.*.y", "z.*.y",
	"of.ent", "ent", "leaf.of.ent", "q.of.ent", "alias", "alias2", "below.alias", "toabsent", "towild",
	"dn", "x.dn", "none.dn", "a.b.dn", "loop1", "child", "mx.child", "absent.child",
}

// sampleTree returns a signed tree with zones of every kind and a list of names to ask for.
func sampleTree(t testing.TB) (*dnstest.Tree, []string) {
	tree := dnstest.NewTree(dnstest.Options{})
	var names []string
	add := func(zone string, o dnstest.ZoneOptions, more ...string) *dnstest.Zone {
		for _, name := range contentNames {
			names = append(names, strings.TrimPrefix(name+"."+zone, "."))
		}
		return tree.Zone(zone, o, append(more, content...)...)
	}
	tree.Zone(".", dnstest.ZoneOptions{SplitKeys: true})
	tree.Zone("com.", dnstest.ZoneOptions{}, "host A 127.0.0.9")
	tree.Zone("net.", dnstest.ZoneOptions{NSEC3: &dnstest.NSEC3{Iterations: 5, Salt: "aabbccdd"}})
	tree.Zone("org.", dnstest.ZoneOptions{NSEC3: &dnstest.NSEC3{OptOut: true}}, "host A 127.0.0.9", "*.w A 127.0.0.9", "in.ent A 127.0.0.9")
	tree.Zone("uns.", dnstest.ZoneOptions{Unsigned: true}, "host A 127.0.0.9")
	names = append(names, ".", "com.", "net.", "org.", "uns.", "absent.", "a.absent.", "host.com.", "host.org.", "q.w.org.", "in.ent.org.",
		"ent.org.", "absent.org.", "a.b.absent.org.", "absent.net.", "a.b.absent.net.", "absent.com.", "a.b.absent.com.", "host.uns.", "absent.uns.")
	for _, tld := range []string{"com.", "net.", "org."} {
		add("nsec."+tld, dnstest.ZoneOptions{})
		add("nsec3."+tld, dnstest.ZoneOptions{NSEC3: &dnstest.NSEC3{}})
		add("unsigned."+tld, dnstest.ZoneOptions{Unsigned: true})
		add("island."+tld, dnstest.ZoneOptions{NoDS: true})
		add("below.uncut."+tld, dnstest.ZoneOptions{}) // "uncut" is an empty non-terminal
		add("insec.uncut2."+tld, dnstest.ZoneOptions{Unsigned: true})
		names = append(names, "uncut."+tld, "uncut2."+tld, "absent.uncut."+tld, "absent.uncut2."+tld)
	}
	add("optout.com.", dnstest.ZoneOptions{NSEC3: &dnstest.NSEC3{OptOut: true, Salt: "01"}})
	add("plain.optout.com.", dnstest.ZoneOptions{Unsigned: true})
	add("sig.optout.com.", dnstest.ZoneOptions{})

	add("alg8.com.", dnstest.ZoneOptions{Algorithm: dns.RSASHA256})
	add("alg10.com.", dnstest.ZoneOptions{Algorithm: dns.RSASHA512, SplitKeys: true})
	add("alg14.com.", dnstest.ZoneOptions{Algorithm: dns.ECDSAP384SHA384, NSEC3: &dnstest.NSEC3{}})
	add("alg15.com.", dnstest.ZoneOptions{Algorithm: dns.ED25519, SplitKeys: true})
	add("alg7.com.", dnstest.ZoneOptions{Algorithm: dns.RSASHA1NSEC3SHA1})
	add("alg16.com.", dnstest.ZoneOptions{Algorithm: dns.ED448})
	add("alg253.com.", dnstest.ZoneOptions{Algorithm: 253})
	add("split.com.", dnstest.ZoneOptions{SplitKeys: true})
	add("digest1.com.", dnstest.ZoneOptions{Digests: []uint8{dns.SHA1}})
	add("digest4.com.", dnstest.ZoneOptions{Digests: []uint8{dns.SHA384}})
	add("digest99.com.", dnstest.ZoneOptions{Digests: []uint8{99}})
	add("digests.com.", dnstest.ZoneOptions{Digests: []uint8{99, dns.SHA256, dns.SHA384}})
	add("iter100.com.", dnstest.ZoneOptions{NSEC3: &dnstest.NSEC3{Iterations: 100}})
	add("iter400.com.", dnstest.ZoneOptions{NSEC3: &dnstest.NSEC3{Iterations: 400}})
	add("iter501.com.", dnstest.ZoneOptions{NSEC3: &dnstest.NSEC3{Iterations: 501}})

	add("expired.com.", dnstest.ZoneOptions{Flaw: dnstest.Expired})
	add("notyet.com.", dnstest.ZoneOptions{Flaw: dnstest.NotYetValid})
	add("badsig.com.", dnstest.ZoneOptions{Flaw: dnstest.BadSignature})
	add("nosig.com.", dnstest.ZoneOptions{Flaw: dnstest.NoSignature})
	add("wrongds.com.", dnstest.ZoneOptions{Flaw: dnstest.WrongDS})
	add("nokeys.com.", dnstest.ZoneOptions{Flaw: dnstest.NoKeys})
	add("nodenial.com.", dnstest.ZoneOptions{Flaw: dnstest.NoDenial})
	add("nodenial3.com.", dnstest.ZoneOptions{Flaw: dnstest.NoDenial, NSEC3: &dnstest.NSEC3{}})

	add("spoiled.com.", dnstest.ZoneOptions{}).
		Spoil("mx", dns.TypeA, dnstest.BadSignature).
		Spoil("_25._tcp.mx", dns.TypeTLSA, dnstest.Expired).
		Spoil("mx", dns.TypeAAAA, dnstest.NoSignature).
		Spoil("@", dns.TypeTXT, dnstest.NotYetValid).
		Spoil("*.w", dns.TypeNSEC, dnstest.BadSignature).
		Spoil("sub", dns.TypeDS, dnstest.BadSignature)
	add("sub.spoiled.com.", dnstest.ZoneOptions{})
	add("spoiled3.com.", dnstest.ZoneOptions{NSEC3: &dnstest.NSEC3{}}).
		Spoil("mx", dns.TypeNSEC3, dnstest.BadSignature).
		Spoil("@", dns.TypeSOA, dnstest.Expired).
		Spoil("alias", dns.TypeCNAME, dnstest.BadSignature)

	add("child.nsec.com.", dnstest.ZoneOptions{})
	add("child.nsec3.com.", dnstest.ZoneOptions{NSEC3: &dnstest.NSEC3{}})
	add("child.unsigned.com.", dnstest.ZoneOptions{})
	add("child.expired.com.", dnstest.ZoneOptions{})
	add("child.nodenial.com.", dnstest.ZoneOptions{Unsigned: true}) // nothing proves that it has no DS
	add("zone.uns.", dnstest.ZoneOptions{})

	odd := []string{`a\.b A 127.0.0.1`, `\000x\255 A 127.0.0.2`, "UPPER MX 10 MX.Odd.Com.", "*a A 127.0.0.4"}
	for _, zone := range []string{"odd.com.", "odd3.com."} {
		o := dnstest.ZoneOptions{}
		if zone == "odd3.com." {
			o.NSEC3 = &dnstest.NSEC3{}
		}
		tree.Zone(zone, o, odd...)
		for _, name := range []string{`a\.b.`, `\000x\255.`, "upper.", `*a.`, "b.", "a.b.", `\000.`, `\255.`, "q.upper."} {
			names = append(names, name+zone)
		}
	}

	names = append(names, addAliases(tree)...)
	require.NoError(t, tree.Sign())
	slices.Sort(names)
	return tree, slices.Compact(names)
}

// addAliases adds zones of which each name leads to one of another kind, by one or two hops.
func addAliases(tree *dnstest.Tree) (names []string) {
	kinds := []struct{ short, zone string }{
		{"s", "nsec.com."}, {"s3", "nsec3.net."}, {"i", "unsigned.com."}, {"b", "expired.com."}, {"o", "optout.com."},
	}
	var aliases []string
	for _, k := range kinds {
		for _, line := range []string{
			" CNAME mx." + k.zone, "-none CNAME none." + k.zone, "-type CNAME " + k.zone, "-dn DNAME " + k.zone, "-wild CNAME q.w." + k.zone,
		} {
			aliases = append(aliases, k.short+line)
		}
	}
	zones := []struct {
		name string
		o    dnstest.ZoneOptions
	}{
		{"alias.com.", dnstest.ZoneOptions{}}, {"ualias.com.", dnstest.ZoneOptions{Unsigned: true}},
		{"balias.com.", dnstest.ZoneOptions{Flaw: dnstest.BadSignature}},
	}
	var hops []string
	for _, z := range zones {
		tree.Zone(z.name, z.o, aliases...)
		for _, k := range kinds {
			hops = append(hops, z.name[:1]+"-"+k.short+" CNAME "+k.short+"."+z.name)
			names = append(names, z.name[:1]+"-"+k.short+".hops.net.")
			for _, suffix := range []string{"", "-none", "-type", "-wild"} {
				names = append(names, k.short+suffix+"."+z.name)
			}
			names = append(names, "mx."+k.short+"-dn."+z.name, "none."+k.short+"-dn."+z.name)
		}
	}
	tree.Zone("hops.net.", dnstest.ZoneOptions{NSEC3: &dnstest.NSEC3{}}, hops...)
	return names
}

var sampleTypes = []Type{TypeA, TypeMX, TypeTXT, TypeTLSA, TypeDNAME, TypeDS, TypeDNSKEY, TypeSOA, TypeNS, TypeCNAME}

// newTestValidator returns a Validator that trusts the tree and asks the given servers.
func newTestValidator(t testing.TB, tree *dnstest.Tree, change func(*ValidatorOptions), servers ...netip.AddrPort) *Validator {
	return validatorFor(t, tree.RootAnchor(), change, servers...)
}

// validatorFor takes the anchors in the form of ParseAnchors.
func validatorFor(t testing.TB, ds string, change func(*ValidatorOptions), servers ...netip.AddrPort) *Validator {
	anchors, err := ParseAnchors(strings.NewReader(ds))
	require.NoError(t, err)
	o := ValidatorOptions{
		Common:  Common{Timeout: 60 * time.Second, Upstream: Upstream{Timeout: patient, Servers: servers}},
		Anchors: anchors,
	}
	if change != nil {
		change(&o)
	}
	v, err := NewValidator(o)
	require.NoError(t, err)
	return v
}

func serve(t testing.TB, tree *dnstest.Tree, b dnstest.Behaviour) *dnstest.Server {
	s, err := dnstest.ServeRecursive(tree, b, "")
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// judged is the verdict of a Resolver in the words of dnstest.
func judged(a *Answer, err error) string {
	if err != nil {
		return err.(*Error).Kind.String()
	}
	return a.Security.String()
}

func ask(r Resolver, name string, t Type) (*Answer, error) {
	return r.Lookup(context.Background(), name, t)
}

// t0 is the context of tests that do not test contexts.
var t0 = context.Background()
