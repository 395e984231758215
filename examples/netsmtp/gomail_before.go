package main

import (
	"context"
	"crypto/tls"
	"strings"

	"github.com/wneessen/go-mail"
)

// goMailBefore is how programs send to mail exchangers with wneessen/go-mail: TLS if
// the server offers it.
func goMailBefore(ctx context.Context, n network, from, to string, message []byte) error {
	domain := to[strings.LastIndex(to, "@")+1:]
	records, err := n.LookupMX(ctx, domain)
	if err != nil {
		return err
	}
	host := records[0].Host
	m, err := goMailMessage(from, to, message)
	if err != nil {
		return err
	}
	c, err := mail.NewClient(host,
		mail.WithPort(25),
		mail.WithTLSPolicy(mail.TLSOpportunistic),
		mail.WithTLSConfig(&tls.Config{ServerName: host, RootCAs: n.RootCAs, MinVersion: tls.VersionTLS12}),
		mail.WithHELO(n.Hostname),
		mail.WithDialContextFunc(n.DialContext),
	)
	if err != nil {
		return err
	}
	return c.DialAndSendWithContext(ctx, m)
}
