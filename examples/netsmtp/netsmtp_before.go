package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/smtp"
	"strings"
)

// netSMTPBefore is how programs send with net/smtp: TLS if the server offers it. Who
// takes the offer out of the conversation gets the message in clear text.
func netSMTPBefore(ctx context.Context, n network, from, to string, message []byte) error {
	domain := to[strings.LastIndex(to, "@")+1:]
	records, err := n.LookupMX(ctx, domain)
	if err != nil {
		return err
	}
	host := records[0].Host
	conn, err := n.DialContext(ctx, "tcp", net.JoinHostPort(host, "25"))
	if err != nil {
		return err
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Hello(n.Hostname); err != nil {
		return err
	}
	if ok, _ := c.Extension("STARTTLS"); ok {
		if err := c.StartTLS(&tls.Config{ServerName: host, RootCAs: n.RootCAs}); err != nil {
			return err
		}
	}
	if err := c.Mail(from); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(message); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}
