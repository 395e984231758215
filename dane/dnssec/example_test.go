package dnssec_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/smtpsec/smtpsec/dane/dnssec"
)

// A resolver on this machine that validates: its AD bit is believed once it has passed the self-check.
func ExampleStub() {
	server, stop := startResolver(true)
	defer stop()
	stub, err := dnssec.NewStub(dnssec.StubOptions{
		Common: dnssec.Common{Upstream: dnssec.Upstream{Servers: []netip.AddrPort{server}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	fmt.Println("self-check:", stub.Check(ctx))
	for _, domain := range []string{"Signed.Example", "unsigned.example", "bogus.example", "missing.example"} {
		mx, err := dnssec.LookupMX(ctx, stub, domain)
		if errors.Is(err, dnssec.KindBogus) {
			fmt.Println(domain, "is bogus: the mail waits")
			continue
		}
		fmt.Println(mx.Answer.Name, mx.Answer.Security, mx.Answer.Outcome, mx.Hosts)
	}
	// Output:
	// self-check: <nil>
	// signed.example. secure found [{mx.signed.example. 10}]
	// unsigned.example. insecure found [{mx.unsigned.example. 10}]
	// bogus.example is bogus: the mail waits
	// missing.example. secure nxdomain []
}

// A resolver that does not validate: nothing it says is believed, and Check says what to change.
func ExampleStub_Check() {
	server, stop := startResolver(false)
	defer stop()
	stub, err := dnssec.NewStub(dnssec.StubOptions{
		Common: dnssec.Common{Upstream: dnssec.Upstream{Servers: []netip.AddrPort{server}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	var unusable *dnssec.Error
	if err := stub.Check(context.Background()); errors.As(err, &unusable) {
		fmt.Println(unusable.Kind.String())
		fmt.Println(unusable.Reason)
	}
	a, err := stub.Lookup(context.Background(), "signed.example", dnssec.TypeMX)
	fmt.Println(a.Security, err)
	// Output:
	// resolver not usable
	// it does not set the AD bit, so it does not validate or does not say so; turn on DNSSEC validation there
	// indeterminate <nil>
}

// FromSystem takes the servers of the system. Whether their answers carry security is a matter of the setup, so a
// program that must have DNSSEC asks at start.
func ExampleFromSystem() {
	server, stop := startResolver(true)
	defer stop()
	// A real program leaves Upstream empty and so uses resolv.conf.
	r, err := dnssec.FromSystem(context.Background(), dnssec.Common{Upstream: dnssec.Upstream{Servers: []netip.AddrPort{server}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	if checker, ok := r.(dnssec.Checker); ok {
		fmt.Println("fit for DANE:", checker.Check(context.Background()) == nil)
	}
	// Output: fit for DANE: true
}

// maySkipTLS is a policy as one would test it: mail may go in the clear only if it is known that there are no TLSA
// records, or that they would prove nothing.
func maySkipTLS(ctx context.Context, r dnssec.Resolver, host string) bool {
	a, err := r.Lookup(ctx, "_25._tcp."+host, dnssec.TypeTLSA)
	if err != nil || a.Security == dnssec.Indeterminate {
		return false
	}
	return a.Security == dnssec.Insecure || a.Outcome != dnssec.Found
}

// Static stands in for a resolver in tests of whatever needs one.
func ExampleStatic() {
	r := dnssec.Static{
		Answers: map[dnssec.Question]dnssec.Answer{
			{Name: "_25._tcp.dane.example", Type: dnssec.TypeTLSA}: {
				Security: dnssec.Secure,
				Records:  []dnssec.Record{{TTL: 3600, Data: []byte{3, 1, 1, 0xab}}},
			},
			{Name: "_25._tcp.unsigned.example", Type: dnssec.TypeTLSA}: {
				Security: dnssec.Insecure,
				Records:  []dnssec.Record{{TTL: 3600, Data: []byte{3, 1, 1, 0xab}}},
			},
		},
		Errors: map[dnssec.Question]error{
			{Name: "_25._tcp.attacked.example", Type: dnssec.TypeTLSA}: dnssec.KindBogus,
		},
		Absent: dnssec.Secure,
	}
	for _, host := range []string{"dane.example", "unsigned.example", "attacked.example", "plain.example"} {
		fmt.Println(host, maySkipTLS(context.Background(), r, host))
	}
	// Output:
	// dane.example false
	// unsigned.example true
	// attacked.example false
	// plain.example true
}

// LookupAddrs keeps what is known about each family apart.
func ExampleLookupAddrs() {
	r := dnssec.Static{
		Answers: map[dnssec.Question]dnssec.Answer{
			{Name: "mx.example", Type: dnssec.TypeA}: {Security: dnssec.Secure, Records: []dnssec.Record{{Data: []byte{192, 0, 2, 1}}}},
		},
		Errors: map[dnssec.Question]error{{Name: "mx.example", Type: dnssec.TypeAAAA}: dnssec.KindServFail},
	}
	addrs, err := dnssec.LookupAddrs(context.Background(), r, "mx.example")
	fmt.Println(addrs.A.IPs, addrs.AAAA.Err, err)
	// Output: [192.0.2.1] dnssec: resolver failed <nil>
}

// A NetResolver serves code that was written for *net.Resolver.
func ExampleNetResolver() {
	r := dnssec.NetResolver{Resolver: dnssec.Static{
		Errors: map[dnssec.Question]error{{Name: "_mta-sts.attacked.example", Type: dnssec.TypeTXT}: dnssec.KindBogus},
	}}
	for _, name := range []string{"_mta-sts.example", "_mta-sts.attacked.example"} {
		_, err := r.LookupTXT(context.Background(), name)
		var dnsErr *net.DNSError
		fmt.Println(name, errors.As(err, &dnsErr) && dnsErr.IsNotFound)
	}
	// Output:
	// _mta-sts.example true
	// _mta-sts.attacked.example false
}

// startResolver runs a resolver for the examples on the loopback interface.
func startResolver(validates bool) (addr netip.AddrPort, stop func()) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	records := map[string]string{
		".":                 ". 60 IN DNSKEY 257 3 13 AAAA",
		"signed.example.":   "signed.example. 60 IN MX 10 mx.signed.example.",
		"unsigned.example.": "unsigned.example. 60 IN MX 10 mx.unsigned.example.",
	}
	started := make(chan struct{})
	server := &dns.Server{
		PacketConn:        conn,
		NotifyStartedFunc: func() { close(started) },
		Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.RecursionAvailable = true
			name := dns.CanonicalName(q.Question[0].Name)
			m.AuthenticatedData = validates && name != "unsigned.example."
			if text, ok := records[name]; ok {
				r, err := dns.NewRR(text)
				if err != nil {
					panic(err)
				}
				m.Answer = []dns.RR{r}
			} else {
				m.Rcode = dns.RcodeNameError
			}
			if name == "bogus.example." {
				m.Rcode, m.AuthenticatedData = dns.RcodeServerFailure, false
				m.SetEdns0(1232, false)
				m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus}}
			}
			w.WriteMsg(m)
		}),
	}
	go server.ActivateAndServe()
	<-started
	return netip.MustParseAddrPort(conn.LocalAddr().String()), func() { server.Shutdown() }
}
