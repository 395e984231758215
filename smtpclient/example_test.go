package smtpclient_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/netip"
	"slices"
	"strings"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// internet starts an Internet in this process, with two recipient domains. A
// program leaves out the fields of the Dialer that lead there: Resolver,
// DialContext and Trust.
func internet() (*lab.Lab, *smtpclient.Dialer) {
	l, err := lab.Start(lab.World{Domains: []lab.Domain{
		{Name: "partner.example", Policy: &lab.Policy{}, Hosts: []lab.Host{{Name: "mx.partner.example", Addrs: []netip.Addr{netip.MustParseAddr("203.0.113.1")}}}},
		{Name: "stripped.example", Policy: &lab.Policy{}, Hosts: []lab.Host{{Name: "mx.stripped.example", Addrs: []netip.Addr{netip.MustParseAddr("203.0.113.2")}, Fault: lab.NoSTARTTLS()}}},
	}})
	if err != nil {
		log.Fatal(err)
	}
	trust, err := tlspolicy.NewPoolVerifier(l.Roots(), tlspolicy.PoolOptions{})
	if err != nil {
		log.Fatal(err)
	}
	table, err := tlspolicy.NewTable(tlspolicy.Recommended(), nil)
	if err != nil {
		log.Fatal(err)
	}
	return l, &smtpclient.Dialer{
		Hostname: "mta.sender.example",
		Policy:   table,
		MTASTS: &mtasts.Client{
			Resolver: dnssec.NetResolver{Resolver: l.Resolver()},
			Fetch:    mtasts.FetchConfig{RootCAs: l.Roots(), DialContext: l.DialContext, AllowPrefixes: lab.Prefixes()},
		},
		Resolver:    l.Resolver(),
		DialContext: l.DialContext,
		Trust:       trust,
	}
}

// A message goes out with net/smtp, over a session that policy has approved.
func ExampleDialer_Dial() {
	l, d := internet()
	defer l.Close()

	s, err := d.Dial(context.Background(), "partner.example")
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	c, err := s.NetSMTP()
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Mail("alice@sender.example"); err != nil {
		log.Fatal(err)
	}
	if err := c.Rcpt("bob@partner.example"); err != nil {
		log.Fatal(err)
	}
	w, err := c.Data()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(w, "Subject: hello\r\n\r\nHello Bob.\r\n")
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	c.Quit()

	fmt.Println(s.Host(), s.Decision().Action, s.Decision().Reason)
	fmt.Println("certificate for", s.Identity().Name)
	fmt.Println(len(l.Host("mx.partner.example").Mailbox()), "message arrived")
	// Output:
	// mx.partner.example deliver-tls-verified sts-verified
	// certificate for mx.partner.example
	// 1 message arrived
}

// An Error says what to answer, and its Report what happened.
func ExampleError() {
	l, d := internet()
	defer l.Close()

	_, err := d.Dial(context.Background(), "stripped.example")
	var e *smtpclient.Error
	if errors.As(err, &e) {
		fmt.Println("status", e.Status, "permanent", e.Permanent)
		fmt.Println("reason", e.Reason)
		for _, a := range e.Report.Attempts {
			fmt.Println(a.Host, a.Addr, a.Stage, a.Outcome.TLS)
			fmt.Println("STARTTLS offered:", slices.Contains(a.EHLO, "STARTTLS"))
		}
	}
	// Output:
	// status 4.7.4 permanent false
	// reason sts-tls-required-absent
	// mx.stripped.example 203.0.113.2:25 ehlo not-offered
	// STARTTLS offered: false
}

// Other client libraries read a greeting and say EHLO; ReplayConn plays both for
// them, without a round trip.
func ExampleSession_ReplayConn() {
	l, d := internet()
	defer l.Close()

	s, err := d.Dial(context.Background(), "partner.example")
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	c := gosmtp.NewClient(s.ReplayConn())
	if err := c.Hello(s.LocalName()); err != nil {
		log.Fatal(err)
	}
	err = c.SendMail("alice@sender.example", []string{"bob@partner.example"}, strings.NewReader("Subject: hello\r\n\r\nHello Bob.\r\n"))
	fmt.Println(err, len(l.Host("mx.partner.example").Mailbox()))
	// Output: <nil> 1
}

// Explain tells the story of a Dial, with the rules that decided.
func ExampleReport_Explain() {
	l, d := internet()
	defer l.Close()

	s, err := d.Dial(context.Background(), "partner.example")
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	for line := range strings.Lines(s.Report.Explain()) {
		if strings.HasPrefix(line, "Mail hosts") || strings.HasPrefix(line, "Attempt") || strings.HasPrefix(line, "P10") {
			sentence, _, _ := strings.Cut(line, " (RFC")
			fmt.Println(strings.TrimSpace(sentence))
		}
	}
	// Output:
	// Mail hosts of partner.example: mx.partner.example (10).
	// Attempt 1: mx.partner.example at 203.0.113.1:25
	// P10: the MTA-STS policy 1 is enforce and lists mx.partner.example, so TLS with a certificate for mx.partner.example is required
}
