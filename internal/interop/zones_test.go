//go:build interop

package interop

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/dnstest"
)

// A dns is a small name space: zones that ldns has signed, served by NSD and validated by unbound. None of our own
// code has a part in it.
type dns struct {
	unbound netip.AddrPort
	anchors string
}

// startDNS serves records as the zones "example", signed from the root down, and "unsigned", which the root delegates
// without DS.
func startDNS(t testing.TB, records map[string][]string) dns {
	t.Helper()
	keygen, sign := program(t, "ldns-keygen", "ldnsutils"), program(t, "ldns-signzone", "ldnsutils")
	program(t, "nsd", "nsd")
	program(t, "unbound", "unbound")
	dir := tempDir(t)
	addr := netip.MustParseAddr("127.53.2.1")
	apex := func(zone string) []string {
		return []string{
			"$TTL 300", "$ORIGIN " + zone, "@ SOA ns.example. hostmaster.example. 1 3600 600 86400 300", "@ NS ns.example.",
		}
	}
	signed := func(zone string, lines []string) (text, ds string) {
		file := filepath.Join(dir, "zone")
		require.NoError(t, os.WriteFile(file, []byte(strings.Join(slices.Concat(apex(zone), lines), "\n")+"\n"), 0o644))
		key := filepath.Join(dir, strings.TrimSpace(run(t, dir, keygen, "-k", "-a", "ECDSAP256SHA256", zone)))
		run(t, dir, sign, "-o", zone, "-f", file+".signed", file, key)
		content, err := os.ReadFile(file + ".signed")
		require.NoError(t, err)
		line, err := os.ReadFile(key + ".ds")
		require.NoError(t, err)
		return string(content), strings.TrimSpace(string(line))
	}
	example, ds := signed("example.", append([]string{"ns A " + addr.String()}, records["example"]...))
	root, anchor := signed(".", []string{"example. NS ns.example.", ds, "unsigned. NS ns.example.", "ns.example. A " + addr.String()})
	unsigned := strings.Join(append(apex("unsigned."), records["unsigned"]...), "\n") + "\n"
	zones := map[string]string{".": root, "example.": example, "unsigned.": unsigned}
	servers := dnstest.StartNSD(t, zones, addr)
	u := dnstest.Unbound{Anchors: anchor + "\n", Servers: map[string][]netip.AddrPort{}}
	for zone := range zones {
		u.Servers[zone] = servers
	}
	return dns{u.Start(t), anchor + "\n"}
}

// stub believes unbound.
func (d dns) stub(t testing.TB) dnssec.Resolver {
	stub, err := dnssec.NewStub(dnssec.StubOptions{Common: dnssec.Common{Upstream: dnssec.Upstream{Servers: []netip.AddrPort{d.unbound}}}})
	require.NoError(t, err)
	require.NoError(t, stub.Check(t.Context()), "unbound must be good enough for the stub")
	return stub
}

// validator asks unbound and believes nobody.
func (d dns) validator(t testing.TB) dnssec.Resolver {
	anchors, err := dnssec.ParseAnchors(strings.NewReader(d.anchors))
	require.NoError(t, err)
	v, err := dnssec.NewValidator(dnssec.ValidatorOptions{
		Common: dnssec.Common{Upstream: dnssec.Upstream{Servers: []netip.AddrPort{d.unbound}}}, Anchors: anchors,
	})
	require.NoError(t, err)
	return v
}
