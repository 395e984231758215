//go:build unix

package main

import (
	"errors"
	"io"
	"slices"

	"github.com/smtpsec/smtpsec/examples/relay/dsn"
	"github.com/smtpsec/smtpsec/examples/relay/outbound"
	"github.com/smtpsec/smtpsec/examples/relay/spool"
	"github.com/smtpsec/smtpsec/smtpclient"
)

// A notice is a recipient whom a sender may have to be told about.
type notice struct {
	rcpt    *spool.Recipient
	res     *outbound.Result
	action  dsn.Action
	expired bool // the last attempt of the message's lifetime
}

// notify tells the sender in one DSN (RFC 3464) what he is to hear of. When it
// returns, the DSN is durable. Otherwise the notices come back: he is to be told later.
func (r *relay) notify(m *spool.Message, e *spool.Envelope, all []notice) (untold []notice) {
	c := r.setup.Load().config
	report := &dsn.Report{
		ReportingMTA: r.hostname, From: c.Postmaster, To: e.Sender,
		Arrival: e.Received, ReceivedFrom: e.Client.Helo, EnvelopeID: e.EnvelopeID,
		Return: dsn.Return(e.Return), MaxReturned: c.Queue.MaxReturned, RequireTLS: e.RequireTLS, SMTPUTF8: e.SMTPUTF8,
	}
	for _, n := range all {
		switch {
		case dsn.Due(e.Sender, n.rcpt.Notify, n.action):
			report.Recipients = append(report.Recipients, n.about(r, e))
		case e.Sender == "" && n.action == dsn.Failed: // RFC 5321 section 6.1: nobody is told
			r.metrics.unreturned.Add(1)
			r.log.Warn("given up, and there is no sender to tell", "id", e.ID, "to", n.rcpt.Address, "err", n.res.Err)
		}
	}
	if len(report.Recipients) == 0 {
		return nil
	}
	told, err := r.writeDSN(report, m.Body())
	if damage := (*spool.CorruptError)(nil); errors.As(err, &damage) {
		told, err = r.writeDSN(report, nil) // without what cannot be read
	}
	switch {
	case err == nil:
		for _, recipient := range report.Recipients {
			r.metrics.dsns.Add(string(recipient.Action))
		}
		r.log.Info("sender told", "id", e.ID, "dsn", told.ID, "sender", e.Sender, "recipients", len(report.Recipients))
		r.schedule(told)
		return nil
	case errors.Is(err, dsn.ErrAddress), errors.Is(err, dsn.ErrReport): // and never will be better
		r.metrics.unreturned.Add(1)
		r.log.Error("the sender cannot be told", "id", e.ID, "sender", e.Sender, "err", err)
		return nil
	}
	_ = r.trouble(e.ID, err)
	return slices.DeleteFunc(all, func(n notice) bool { return !dsn.Due(e.Sender, n.rcpt.Notify, n.action) })
}

// about puts a result into the words of a DSN.
func (n notice) about(r *relay, e *spool.Envelope) dsn.Recipient {
	about := dsn.Recipient{Address: n.rcpt.Address, Original: n.rcpt.OriginalRecipient, Action: n.action,
		Status: n.res.Status, RemoteMTA: n.res.Host, Diagnostic: n.res.Reply, LastAttempt: n.rcpt.LastAttempt}
	if n.res.Err != nil && n.res.Reply == "" {
		about.Reason = reason(n.res.Err)
	}
	if n.expired && about.Status == "" {
		about.Status = "4.4.7" // delivery time expired
	}
	if n.action == dsn.Delayed {
		about.WillRetryUntil = r.setup.Load().config.Queue.Retry.End(e.Received, n.rcpt.LastAttempt)
	}
	return about
}

// reason puts an error into words for people who know nothing of the relay: of a
// dialer's error the headline.
func reason(err error) string {
	var dial *smtpclient.Error
	if errors.As(err, &dial) && dial.Err != nil {
		return dial.Err.Error()
	}
	return err.Error()
}

// writeDSN puts a notification into the spool, from the null sender.
func (r *relay) writeDSN(report *dsn.Report, original io.Reader) (*spool.Envelope, error) {
	w, err := r.spool.Create(maxOwn)
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	report.ID = w.ID()
	needs, err := dsn.Compose(w, report, original)
	if err != nil {
		return nil, err
	}
	e := &spool.Envelope{RequireTLS: needs.RequireTLS, SMTPUTF8: needs.SMTPUTF8, Recipients: []spool.Recipient{{Address: report.To}}}
	if needs.EightBit {
		e.BodyType = "8BITMIME"
	}
	return e, w.Commit(e)
}
