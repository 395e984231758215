//go:build unix

package main

import (
	"strings"

	"github.com/smtpsec/smtpsec/examples/relay/alert"
	"github.com/smtpsec/smtpsec/examples/relay/spool"
)

// The log is that of log/slog, and what stands in it comes from three places: the
// listeners log what peers do, the dialer logs deliveries in the words of the AsyncOS
// chapter, and the relay logs what becomes of messages, by their spool ids.

// alert tells the operator what somebody should look at, in the ways that the file
// names. What it is about, and no more, makes two alerts the same. It does not wait.
func (r *relay) alert(kind, about, text string) {
	if r.raise(kind, about, text) && r.setup.Load().config.Alerts.Log {
		r.log.Warn("alert", "kind", kind, "about", about, "text", text)
	}
}

// raise is alert without a line in the log, for what the library has logged already. It
// reports whether the same alert was not sent lately.
func (r *relay) raise(kind, about, text string) bool {
	r.metrics.alerts.Add(kind)
	s := r.setup.Load()
	if s == nil {
		return false
	}
	c := s.config
	return r.alerts.Send(alert.Settings{Hostname: c.Hostname, From: c.Postmaster, Mail: c.Alerts.Mail, Command: c.Alerts.Command, Every: c.Alerts.Every},
		alert.Alert{Kind: kind, About: about, Text: text})
}

// mailAlert puts an alert into the spool, from the null sender: one that cannot be
// delivered must not bounce.
func (r *relay) mailAlert(to []string, text string) error {
	e := &spool.Envelope{}
	for _, address := range to {
		e.Recipients = append(e.Recipients, spool.Recipient{Address: address})
	}
	if strings.ContainsFunc(text, func(c rune) bool { return c >= 0x80 }) {
		e.BodyType = "8BITMIME"
	}
	return r.submit(e, strings.NewReader(text))
}
