package smtpclient_test

import (
	"context"
	"fmt"
	"log"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wneessen/go-mail"

	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// github.com/wneessen/go-mail takes a dial hook. Its own TLS is switched off, since
// the Dialer has seen to that.
func ExampleDialer_DialContextFunc() {
	l, d := internet()
	defer l.Close()

	m := mail.NewMsg()
	if err := m.From("alice@sender.example"); err != nil {
		log.Fatal(err)
	}
	if err := m.To("bob@partner.example"); err != nil {
		log.Fatal(err)
	}
	m.Subject("hello")
	m.SetBodyString(mail.TypeTextPlain, "Hello Bob.")

	c, err := mail.NewClient("partner.example",
		mail.WithDialContextFunc(d.DialContextFunc(smtpclient.Target{Domain: "partner.example"})),
		mail.WithTLSPolicy(mail.NoTLS),
		mail.WithHELO(d.Hostname),
	)
	if err != nil {
		log.Fatal(err)
	}
	if err := c.DialAndSend(m); err != nil {
		log.Fatal(err)
	}
	message := l.Host("mx.partner.example").Mailbox()[0]
	fmt.Println(message.To, "over TLS:", message.TLS != nil)
	// Output: [bob@partner.example] over TLS: true
}

// TestGoMail: go-mail delivers through the hook, with and without TLS, whatever name
// it gives itself, and an error of the Dialer comes out as it is.
func TestGoMail(t *testing.T) {
	l, err := lab.Start(lab.World{Domains: []lab.Domain{
		{Name: "tls.example", Hosts: []lab.Host{{Name: "mx.tls.example"}}},
		{Name: "clear.example", Hosts: []lab.Host{{Name: "mx.clear.example", Fault: lab.NoSTARTTLS()}}},
		{Name: "ancient.example", Hosts: []lab.Host{{Name: "mx.ancient.example", Fault: lab.NoESMTP(502)}}},
	}})
	require.NoError(t, err)
	defer l.Close()
	d := &smtpclient.Dialer{Hostname: "mta.sender.example", Resolver: l.Resolver(), DialContext: l.DialContext}
	message := func(domain string) *mail.Msg {
		m := mail.NewMsg()
		require.NoError(t, m.From("alice@sender.example"))
		require.NoError(t, m.To("bob@"+domain))
		m.SetBodyString(mail.TypeTextPlain, "STARTTLS\r\n.\r\nEHLO mta.sender.example\r\n")
		return m
	}
	for _, domain := range []string{"tls.example", "clear.example", "ancient.example"} {
		for _, name := range []string{"mta.sender.example", "other.sender.example"} {
			if domain == "ancient.example" && name != "mta.sender.example" {
				continue // no second EHLO makes sense to it, and go-mail says HELO then
			}
			h := l.Host("mx." + domain)
			h.Forget()
			c, err := mail.NewClient("ignored.example", mail.WithDialContextFunc(d.DialContextFunc(smtpclient.Target{Domain: domain})),
				mail.WithTLSPolicy(mail.NoTLS), mail.WithHELO(name))
			require.NoError(t, err)
			require.NoError(t, c.DialAndSend(message(domain), message(domain)), "%s %s", domain, name)
			require.NoError(t, h.Idle(context.Background()))
			require.Len(t, h.Mailbox(), 2, domain)
			require.Equal(t, domain == "tls.example", h.Mailbox()[1].TLS != nil)
			require.Len(t, h.Connections(), 1)
		}
	}
	required, err := tlspolicy.NewTable(tlspolicy.Settings{Mode: tlspolicy.Required}, nil)
	require.NoError(t, err)
	strict := &smtpclient.Dialer{Hostname: "mta.sender.example", Policy: required, Resolver: l.Resolver(), DialContext: l.DialContext}
	c, err := mail.NewClient("ignored.example", mail.WithDialContextFunc(strict.DialContextFunc(smtpclient.Target{Domain: "clear.example"})), mail.WithTLSPolicy(mail.NoTLS))
	require.NoError(t, err)
	var refused *smtpclient.Error
	require.ErrorAs(t, c.DialAndSend(message("clear.example")), &refused)
	require.Equal(t, tlspolicy.ReasonModeTLSAbsent, refused.Reason)

	// Without NoTLS go-mail wants a TLS of its own and fails, instead of sending.
	c, err = mail.NewClient("ignored.example", mail.WithDialContextFunc(d.DialContextFunc(smtpclient.Target{Domain: "tls.example"})))
	require.NoError(t, err)
	l.Host("mx.tls.example").Forget()
	require.Error(t, c.DialAndSend(message("tls.example")))
	require.Empty(t, l.Host("mx.tls.example").Mailbox())
}
