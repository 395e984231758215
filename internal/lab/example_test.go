package lab_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/smtp"

	"github.com/smtpsec/smtpsec/internal/lab"
)

// One domain with one host that resets the first handshake, and a message that
// arrives at the second try.
func Example() {
	l, err := lab.Start(lab.World{Domains: []lab.Domain{{
		Name: "partner.example",
		Hosts: []lab.Host{{
			Name:  "mx.partner.example",
			Fault: lab.HandshakeReset(),
			Later: []lab.Fault{{}},
		}},
	}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()

	send := func() error {
		conn, err := l.DialContext(context.Background(), "tcp", "mx.partner.example:25")
		if err != nil {
			return err
		}
		c, err := smtp.NewClient(conn, "mx.partner.example")
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.StartTLS(&tls.Config{ServerName: "mx.partner.example", RootCAs: l.Roots()}); err != nil {
			return err
		}
		if err := c.Mail("me@sender.example"); err != nil {
			return err
		}
		if err := c.Rcpt("you@partner.example"); err != nil {
			return err
		}
		w, err := c.Data()
		if err != nil {
			return err
		}
		fmt.Fprint(w, "Subject: hello\r\n\r\nIs anybody there?\r\n")
		if err := w.Close(); err != nil {
			return err
		}
		return c.Quit()
	}
	host := l.Host("mx.partner.example")
	fmt.Println("first try failed:", send() != nil)
	fmt.Println("second try failed:", send() != nil)
	fmt.Println("connections:", len(host.Connections()))
	for _, m := range host.Mailbox() {
		fmt.Printf("%s to %s, over TLS: %t\n%q\n", m.From, m.To, m.TLS != nil, m.Data)
	}
	// Output:
	// first try failed: true
	// second try failed: false
	// connections: 2
	// me@sender.example to [you@partner.example], over TLS: true
	// "Subject: hello\r\n\r\nIs anybody there?\r\n"
}

// The ready-made world and the facts declared for it.
func ExampleDestinations() {
	_, destinations := lab.Destinations()
	for _, d := range destinations[:2] {
		fmt.Println(d.Domain, "-", d.Story)
		for _, h := range d.Hosts {
			fmt.Println(" ", h.Host, h.DANE, h.STS, h.TLS, h.Chain)
		}
	}
	// Output:
	// good.example - offers STARTTLS, good certificate for the domain and its mail host
	//   mx.good.example insecure no-policy established ok
	// plain.example - does not offer STARTTLS
	//   mx.plain.example insecure no-policy not-offered unchecked
}
