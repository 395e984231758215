//go:build unix

package outbound

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/smtpsec/smtpsec/examples/relay/spool"
)

const (
	// maxBatch is how many recipients a transaction has. Hosts need not take more
	// (RFC 5321 section 4.5.3.1.8).
	maxBatch = 100
	// transferTime and transferRate bound a transaction: so long, and a second for so
	// many octets on top.
	transferTime = 30 * time.Minute
	transferRate = 4000
)

// failure makes a result of an error in a session. A reply is the host's word, a 5yz
// is final; everything else, such as a connection that broke or a code that SMTP does
// not have, is nobody's word.
func (o *conversation) failure(err error) Result {
	r := o.result()
	r.Err = err
	var reply *smtp.SMTPError
	if errors.As(err, &reply) {
		r.Permanent = reply.Code/100 == 5
		e := reply.EnhancedCode
		if e != smtp.NoEnhancedCode && e != smtp.EnhancedCodeNotSet && e[0] == reply.Code/100 {
			r.Status = fmt.Sprintf("%d.%d.%d", e[0], e[1], e[2])
		}
		r.Reply = strings.TrimSpace(fmt.Sprintf("%d %s %s", reply.Code, r.Status, strings.ReplaceAll(reply.Message, "\n", " ")))
		r.Err = errors.New(r.Reply)
	}
	return r
}

func (o *conversation) result() Result {
	return Result{Host: o.session.Host(), Rule: o.session.Decision().Reason}
}

// unfit is a permanent failure of our own: the host lacks what the message needs.
func (o *conversation) unfit(status, text string) Result {
	r := o.result()
	r.Err, r.Permanent, r.Status = errors.New(text), true, status
	return r
}

// broken reports whether a session cannot be used any more: the host has said 421, or
// nothing that SMTP knows.
func broken(err error) bool {
	var reply *smtp.SMTPError
	return err != nil && (!errors.As(err, &reply) || reply.Code == 421 || reply.Code/100 > 5)
}

// unlessYes makes nil of a 2yz that go-smtp did not expect: the first digit decides
// (RFC 5321 section 4.2), and who sends a message once more because its 250 was a 251
// sends it until it bounces.
func unlessYes(err error) error {
	var reply *smtp.SMTPError
	if errors.As(err, &reply) && reply.Code/100 == 2 {
		return nil
	}
	return err
}

// transfer sends a message to some of its recipients, no more than maxBatch. It
// returns a result for each, and whether the session can be used for another
// transaction. ctx ends it by closing the connection.
func (o *conversation) transfer(ctx context.Context, e *spool.Envelope, to []*spool.Recipient, body func() io.Reader) (results []Result, alive bool) {
	ctx, cancel := context.WithTimeout(ctx, transferTime+time.Duration(e.Size/transferRate)*time.Second)
	defer cancel()
	defer context.AfterFunc(ctx, func() { o.session.Close() })()
	all := func(r Result) []Result {
		results := make([]Result, len(to))
		for i := range results {
			results[i] = r
		}
		return results
	}
	extensions := o.session.Extensions()
	if e.SMTPUTF8 && !extensions.Has("SMTPUTF8") {
		return all(o.unfit("5.6.7", "the host does not take internationalized mail (RFC 6531)")), true
	}
	if !extensions.Has("8BITMIME") && e.BodyType == "8BITMIME" {
		if has, err := has8bit(body()); err != nil {
			return all(Result{Err: err}), true
		} else if has {
			return all(o.unfit("5.6.3", "the host takes 7-bit mail only (RFC 6152), and a relay does not convert")), true
		}
	}
	o.messages++
	options := &smtp.MailOptions{Size: e.Size, RequireTLS: e.RequireTLS, UTF8: e.SMTPUTF8, Return: smtp.DSNReturn(e.Return), EnvelopeID: e.EnvelopeID}
	if err := unlessYes(o.Mail(e.Sender, options)); err != nil {
		return all(o.failure(err)), !broken(err) && o.reset()
	}
	results = all(o.result())
	var taken []int
	for i, r := range to {
		err := unlessYes(o.Rcpt(r.Address, recipientOptions(r)))
		if err == nil {
			taken = append(taken, i)
			continue
		}
		if results[i] = o.failure(err); broken(err) {
			for j := range to { // what others were told stands
				if j > i || slices.Contains(taken, j) {
					results[j] = results[i]
				}
			}
			return results, false
		}
	}
	if len(taken) == 0 {
		return results, o.reset()
	}
	err := o.data(body())
	for _, i := range taken {
		if err != nil {
			results[i] = o.failure(err)
		}
		results[i].sent = true
		results[i].Unreported = err == nil && to[i].Notify&spool.NotifySuccess != 0 && !extensions.Has("DSN")
	}
	var reply *smtp.SMTPError
	if errors.As(err, &reply) && !broken(err) {
		return results, o.reset()
	}
	return results, err == nil
}

// data sends the message text. An error that is no reply leaves open whether the host
// has the message; it gets it again then (RFC 5321 section 4.5.4.1).
func (o *conversation) data(body io.Reader) error {
	w, err := o.Data()
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, body); err != nil {
		o.session.Close() // anything but the dot that would end the message
		return err
	}
	return unlessYes(w.Close())
}

// reset clears a transaction that came to nothing. Behind RSET go-smtp says EHLO once
// more, which is done here: in the next transaction a refusal of it would look like one
// of the message.
func (o *conversation) reset() bool {
	return o.Reset() == nil && o.Hello(o.session.LocalName()) == nil
}

func recipientOptions(r *spool.Recipient) *smtp.RcptOptions {
	o := &smtp.RcptOptions{}
	if r.Notify != 0 {
		for name := range strings.SplitSeq(r.Notify.String(), ",") {
			o.Notify = append(o.Notify, smtp.DSNNotify(name))
		}
	}
	if kind, addr, ok := strings.Cut(r.OriginalRecipient, ";"); ok {
		o.OriginalRecipientType, o.OriginalRecipient = smtp.DSNAddressType(strings.ToUpper(kind)), addr
	}
	return o
}

// has8bit reports whether a text has octets that are not ASCII.
func has8bit(r io.Reader) (bool, error) {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if bytes.ContainsFunc(buf[:n], func(r rune) bool { return r >= 0x80 }) {
			return true, nil
		}
		if err != nil {
			return false, unlessEOF(err)
		}
	}
}

func unlessEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}
