package smtpclient_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log"
	"net/netip"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// A plan says what would happen, and connects when told to.
func ExampleDialer_Plan() {
	l, d := internet()
	defer l.Close()

	p, err := d.Plan(context.Background(), smtpclient.Target{Domain: "partner.example"})
	if err != nil {
		log.Fatal(err)
	}
	for _, h := range p.Hosts {
		fmt.Println(h.Host, h.Addrs, h.STSState, h.Requirement.Kind(), h.Err)
	}
	s, err := d.DialPlan(context.Background(), p)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	fmt.Println(s.Decision().Reason)
	// Output:
	// mx.partner.example [203.0.113.1] enforce-mx-match sts <nil>
	// sts-verified
}

// A pool keeps sessions under their keys. Domains that share a mail host share a
// connection if nothing about their security differs.
func ExampleReuseKey() {
	l, err := lab.Start(lab.World{Domains: []lab.Domain{
		{Name: "hoster.example", Hosts: []lab.Host{{Name: "mx.hoster.example"}}},
		{Name: "one.example", MX: []lab.MX{{Host: "mx.hoster.example", Pref: 10}}},
		{Name: "two.example", MX: []lab.MX{{Host: "mx.hoster.example", Pref: 10}}},
		{Name: "strict.example", MX: []lab.MX{{Host: "mx.hoster.example", Pref: 10}}},
	}})
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	table, err := tlspolicy.NewTable(tlspolicy.Settings{}, map[string]tlspolicy.Settings{
		"strict.example": {Mode: tlspolicy.Required},
	})
	if err != nil {
		log.Fatal(err)
	}
	d := &smtpclient.Dialer{Hostname: "mta.sender.example", Policy: table, Resolver: l.Resolver(), DialContext: l.DialContext}

	idle := map[smtpclient.ReuseKey]*smtpclient.Session{}
	connect := func(domain string) {
		ctx := context.Background()
		p, err := d.Plan(ctx, smtpclient.Target{Domain: domain})
		if err != nil {
			log.Fatal(err)
		}
		for _, h := range p.Hosts {
			if s := idle[h.Key]; h.Err == nil && s != nil && time.Now().Before(s.Expires()) {
				fmt.Println(domain, "over the connection at hand")
				return // behind RSET it is ready for MAIL
			}
		}
		s, err := d.DialPlan(ctx, p)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(domain, "over a new connection")
		idle[s.ReuseKey()] = s
	}
	connect("one.example")
	connect("two.example")
	connect("strict.example")
	for _, s := range idle {
		s.Quit(context.Background())
	}
	// Output:
	// one.example over a new connection
	// two.example over the connection at hand
	// strict.example over a new connection
}

// Mail for some domains goes through a gateway, and with another one beside it.
func ExampleNewRouteTable() {
	l, d := internet()
	defer l.Close()

	gateway, err := smtpclient.ParseHop("[mx.partner.example]")
	if err != nil {
		log.Fatal(err)
	}
	routes, err := smtpclient.NewRouteTable(nil, map[string][]smtpclient.Hop{
		".internal.example": {gateway, {Host: "stripped.example", Pref: 10}},
	})
	if err != nil {
		log.Fatal(err)
	}
	d.Routes = routes
	s, err := d.Dial(context.Background(), "sales.internal.example")
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	fmt.Println(s.Report.Domain, "through", s.Report.Route)
	// Output: sales.internal.example through [mx.partner.example]
}

// A message that came with REQUIRETLS goes to hosts that are authenticated and
// pass the requirement on.
func ExampleDialer_DialTarget() {
	l, d := internet()
	defer l.Close()

	_, err := d.DialTarget(context.Background(), smtpclient.Target{
		Domain:  "partner.example",
		Message: tlspolicy.Message{RequireTLS: true},
	})
	var missing *smtpclient.RequireTLSError
	if errors.As(err, &missing) {
		fmt.Println("return the message:", missing)
	}
	// Output: return the message: mx.partner.example: the message requires TLS all the way (REQUIRETLS), which the host does not offer
}

// Probe looks at all hosts without sending mail.
func ExampleDialer_Probe() {
	l, d := internet()
	defer l.Close()

	report, err := d.Probe(context.Background(), smtpclient.Target{Domain: "stripped.example"})
	if err != nil {
		log.Fatal(err)
	}
	for _, a := range report.Attempts {
		fmt.Println(a.Host, a.Addr.Addr() == netip.MustParseAddr("203.0.113.2"), a.Outcome.TLS, a.Decision.Action)
	}
	// Output: mx.stripped.example true not-offered next-mx-then-defer
}

// An engine of one's own begins with MAIL.
func ExampleSession_NetConn() {
	l, d := internet()
	defer l.Close()

	s, err := d.Dial(context.Background(), "partner.example")
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	if err := s.SetDeadline(time.Now().Add(10 * time.Minute)); err != nil {
		log.Fatal(err)
	}
	conn := s.NetConn()
	fmt.Println("pipelining:", s.Extensions().Has("PIPELINING"))
	fmt.Fprint(conn, "MAIL FROM:<alice@sender.example>\r\n")
	reply, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		log.Fatal(err)
	}
	code, _, _ := strings.Cut(reply, " ")
	fmt.Println(code)
	// Output:
	// pipelining: true
	// 250
}
