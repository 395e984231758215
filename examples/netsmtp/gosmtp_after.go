package main

import (
	"bytes"
	"context"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/smtpsec/smtpsec/smtpclient"
)

// goSMTPAfter sends under policy. ReplayConn is the connection of a session that
// begins with its greeting, as the client expects.
func goSMTPAfter(ctx context.Context, d *smtpclient.Dialer, from, to string, message []byte) error {
	domain := to[strings.LastIndex(to, "@")+1:]
	session, err := d.Dial(ctx, domain)
	if err != nil {
		return err
	}
	defer session.Close()
	defer context.AfterFunc(ctx, func() { session.Close() })() // go-smtp knows no context
	c := smtp.NewClient(session.ReplayConn())
	defer c.Close()
	if err := c.Hello(session.LocalName()); err != nil {
		return err
	}
	if err := c.SendMail(from, []string{to}, bytes.NewReader(message)); err != nil {
		return err
	}
	_ = c.Quit() // the message has been taken: no reason to send it again
	return nil
}
