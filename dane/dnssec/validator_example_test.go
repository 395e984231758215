package dnssec_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/dnstest"
)

// A resolver that does not validate but passes DNSSEC records on, and a private anchor. For the public DNS leave Anchors
// out.
func ExampleValidator() {
	tree := dnstest.NewTree(dnstest.Options{})
	tree.Zone("signed.example.", dnstest.ZoneOptions{}, "@ MX 10 mx", "_25._tcp.mx TLSA 3 1 1 0011")
	tree.Zone("unsigned.example.", dnstest.ZoneOptions{Unsigned: true}, "@ MX 10 mx")
	tree.Zone("expired.example.", dnstest.ZoneOptions{Flaw: dnstest.Expired}, "@ MX 10 mx")
	tree.Zone("example.", dnstest.ZoneOptions{})
	if err := tree.Sign(); err != nil {
		fmt.Println(err)
		return
	}
	server, err := dnstest.ServeRecursive(tree, dnstest.PassThrough, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	anchors, err := dnssec.ParseAnchors(strings.NewReader(tree.RootAnchor()))
	if err != nil {
		fmt.Println(err)
		return
	}

	validator, err := dnssec.NewValidator(dnssec.ValidatorOptions{
		Common:  dnssec.Common{Upstream: dnssec.Upstream{Servers: []netip.AddrPort{server.Addr()}}},
		Anchors: anchors,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	fmt.Println("check:", validator.Check(ctx))
	for _, name := range []string{"_25._tcp.mx.signed.example", "_25._tcp.other.signed.example", "_25._tcp.mx.unsigned.example", "_25._tcp.mx.expired.example"} {
		a, err := validator.Lookup(ctx, name, dnssec.TypeTLSA)
		var failed *dnssec.Error
		if errors.As(err, &failed) {
			fmt.Println(name, "-", failed.Kind, "-", failed.Reason)
			continue
		}
		fmt.Println(a.Name, a.Outcome, a.Security)
	}
	// Output:
	// check: <nil>
	// _25._tcp.mx.signed.example. found secure
	// _25._tcp.other.signed.example. nxdomain secure
	// _25._tcp.mx.unsigned.example. nxdomain insecure
	// _25._tcp.mx.expired.example - dnssec: validation failed - DNSKEY records: signature expired
}
