package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"strings"

	"github.com/emersion/go-smtp"
)

// goSMTPBefore is how programs send to mail exchangers with emersion/go-smtp: STARTTLS
// first and, if that fails, once more without.
func goSMTPBefore(ctx context.Context, n network, from, to string, message []byte) error {
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
	c, err := smtp.NewClientStartTLS(conn, &tls.Config{ServerName: host, RootCAs: n.RootCAs})
	if err != nil {
		conn.Close()
		if conn, err = n.DialContext(ctx, "tcp", net.JoinHostPort(host, "25")); err != nil {
			return err
		}
		c = smtp.NewClient(conn)
		if err := c.Hello(n.Hostname); err != nil {
			conn.Close()
			return err
		}
	}
	defer c.Close()
	if err := c.SendMail(from, []string{to}, bytes.NewReader(message)); err != nil {
		return err
	}
	return c.Quit()
}
