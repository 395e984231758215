package main

import (
	"context"
	"strings"

	"github.com/wneessen/go-mail"

	"github.com/smtpsec/smtpsec/smtpclient"
)

// goMailAfter sends under policy: the Dialer is go-mail's dial hook, finds the mail
// hosts by itself and has seen to TLS, so that go-mail must not.
func goMailAfter(ctx context.Context, d *smtpclient.Dialer, from, to string, message []byte) error {
	domain := to[strings.LastIndex(to, "@")+1:]
	m, err := goMailMessage(from, to, message)
	if err != nil {
		return err
	}
	c, err := mail.NewClient(domain,
		mail.WithTLSPolicy(mail.NoTLS),
		mail.WithHELO(d.Hostname),
		mail.WithDialContextFunc(d.DialContextFunc(smtpclient.Target{Domain: domain})),
	)
	if err != nil {
		return err
	}
	return c.DialAndSendWithContext(ctx, m)
}
