package dnstest_test

import (
	"fmt"

	"github.com/miekg/dns"

	"github.com/smtpsec/smtpsec/internal/dnstest"
)

// A tree with a good domain and one whose signatures have expired, asked through a validating resolver.
func Example() {
	tree := dnstest.NewTree(dnstest.Options{})
	tree.Zone("com.", dnstest.ZoneOptions{})
	good := tree.Zone("good.com.", dnstest.ZoneOptions{}, "@ MX 10 mx", "mx A 127.0.0.1", "_25._tcp.mx TLSA 3 1 1 00ff")
	tree.Zone("old.com.", dnstest.ZoneOptions{Flaw: dnstest.Expired}, "@ MX 10 mx.good.com.")
	if err := tree.Sign(); err != nil {
		fmt.Println(err)
		return
	}
	resolver, err := dnstest.ServeRecursive(tree, dnstest.Validating, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resolver.Close()

	ask := func(name string, qtype uint16) {
		query := new(dns.Msg).SetQuestion(name, qtype)
		query.AuthenticatedData = true
		reply, _, err := new(dns.Client).Exchange(query, resolver.Addr().String())
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(name, dns.RcodeToString[reply.Rcode], "answers:", len(reply.Answer), "AD:", reply.AuthenticatedData)
	}
	ask("_25._tcp.mx.good.com.", dns.TypeTLSA)
	ask("old.com.", dns.TypeMX)
	fmt.Println(tree.Verdict("old.com.", dns.TypeMX).Reason)

	// The zone changes while it is served.
	good.Remove("_25._tcp.mx", dns.TypeTLSA)
	if err := tree.Sign(); err != nil {
		fmt.Println(err)
	}
	ask("_25._tcp.mx.good.com.", dns.TypeTLSA)

	// One question meets a fault, once.
	resolver.Fault("good.com.", dns.TypeMX, dnstest.Fault{Action: dnstest.Refused, Times: 1})
	ask("good.com.", dns.TypeMX)
	ask("good.com.", dns.TypeMX)
	fmt.Println("queries:", resolver.Count())
	// Output:
	// _25._tcp.mx.good.com. NOERROR answers: 1 AD: true
	// old.com. SERVFAIL answers: 0 AD: false
	// old.com. DNSKEY: expired
	// _25._tcp.mx.good.com. NXDOMAIN answers: 0 AD: true
	// good.com. REFUSED answers: 0 AD: false
	// good.com. NOERROR answers: 1 AD: true
	// queries: 5
}
