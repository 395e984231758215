package main

import (
	"context"
	"strings"

	"github.com/smtpsec/smtpsec/smtpclient"
)

// netSMTPAfter sends under policy: the MX lookup, the connection and STARTTLS have
// become Dial, and what follows is as it was. An error of Dial defers the message, or
// returns it if the error says that it is permanent; see smtpclient.Error.
func netSMTPAfter(ctx context.Context, d *smtpclient.Dialer, from, to string, message []byte) error {
	domain := to[strings.LastIndex(to, "@")+1:]
	session, err := d.Dial(ctx, domain)
	if err != nil {
		return err
	}
	defer session.Close()
	defer context.AfterFunc(ctx, func() { session.Close() })() // net/smtp knows no context
	c, err := session.NetSMTP()
	if err != nil {
		return err
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
	_ = c.Quit() // the message has been taken: no reason to send it again
	return nil
}
