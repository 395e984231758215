//go:build unix

package main

import (
	"bufio"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/examples/relay/config"
	"github.com/smtpsec/smtpsec/examples/relay/spool"
	"github.com/smtpsec/smtpsec/internal/lab"
)

// A notification is a DSN as its reader sees it.
type notification struct {
	message    textproto.MIMEHeader
	recipients []textproto.MIMEHeader
	text       string
	original   string
}

// readDSN parses a message as a DSN (RFC 3464) with the standard library alone.
func readDSN(t testing.TB, data string) notification {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(data))
	require.NoError(t, err)
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/report", kind)
	require.Equal(t, "delivery-status", params["report-type"])
	parts := multipart.NewReader(m.Body, params["boundary"])
	var n notification
	for i := range 3 {
		p, err := parts.NextPart()
		require.NoError(t, err)
		body, err := io.ReadAll(p)
		require.NoError(t, err)
		switch i {
		case 0:
			n.text = string(body)
		case 1:
			fields := textproto.NewReader(bufio.NewReader(strings.NewReader(string(body) + "\r\n")))
			n.message, err = fields.ReadMIMEHeader()
			for err == nil {
				var one textproto.MIMEHeader
				if one, err = fields.ReadMIMEHeader(); len(one) > 0 {
					n.recipients = append(n.recipients, one)
				}
			}
		case 2:
			n.original = string(body)
		}
	}
	return n
}

// dsns waits for so many DSNs to alice and returns them all.
func (b *bench) dsns(l *lab.Lab, count int) []notification {
	b.t.Helper()
	for i := range count {
		b.wait(i, "msg=delivered", "to=alice@good.example")
	}
	var all []notification
	for _, m := range l.Host("mx.good.example").Mailbox() {
		require.Empty(b.t, m.From, "a DSN comes from the null sender")
		require.Equal(b.t, []string{"alice@good.example"}, m.To)
		all = append(all, readDSN(b.t, string(m.Data)))
	}
	require.Len(b.t, all, count)
	return all
}

// TestBounce: a refusal comes back, with what the host said.
func TestBounce(t *testing.T) {
	l := makeLab(t)
	h := newHost(t, func(line string) string {
		if strings.HasPrefix(line, "RCPT") {
			return "550-5.1.1 no such user\r\n550 5.1.1 anywhere"
		}
		return ""
	})
	b := begin(t, l, nil, routed(map[string]*host{"there.example": h})...)
	c := b.client()
	require.NoError(t, c.Mail("alice@good.example", &smtp.MailOptions{EnvelopeID: "mine", Return: smtp.DSNReturnHeaders}))
	require.NoError(t, c.Rcpt("bob@there.example", &smtp.RcptOptions{OriginalRecipientType: smtp.DSNAddressTypeRFC822, OriginalRecipient: "robert@there.example"}))
	require.NoError(t, c.Rcpt("quiet@there.example", &smtp.RcptOptions{Notify: []smtp.DSNNotify{smtp.DSNNotifyNever}}))
	b.finish(c)
	n := b.dsns(l, 1)[0]
	require.Equal(t, "mine", n.message.Get("Original-Envelope-Id"))
	require.Equal(t, "dns;relay.example", strings.ReplaceAll(n.message.Get("Reporting-Mta"), " ", ""))
	require.Len(t, n.recipients, 1, "who has said NEVER is not told of")
	got := n.recipients[0]
	require.Equal(t, []string{"failed", "5.1.1"}, []string{got.Get("Action"), got.Get("Status")})
	require.Contains(t, got.Get("Final-Recipient"), "bob@there.example")
	require.Contains(t, got.Get("Original-Recipient"), "robert@there.example")
	require.Contains(t, got.Get("Diagnostic-Code"), "550 5.1.1 no such user")
	require.Contains(t, n.original, "Message-ID: <kept@good.example>")
	require.NotContains(t, n.original, "..", "the header alone, as RET=HDRS says")
	require.Eventually(t, func() bool { return len(b.messages()) == 0 }, 10*time.Second, 5*time.Millisecond)
}

// TestLifetime: what cannot be delivered in time comes back; on the way there the
// sender is told once that it is late.
func TestLifetime(t *testing.T) {
	l := makeLab(t)
	b := begin(t, l, nil)
	b.stopWork()
	b.workers.Wait()
	id := b.send("alice@good.example", nil, "bob@dane-mismatch.example")
	job := spool.Job{ID: id, Domain: "dane-mismatch.example"}
	for _, at := range []struct {
		age  time.Duration
		left bool // in the spool
		dsns int  // written so far
	}{
		{time.Hour, true, 0}, {5 * time.Hour, true, 1}, {6 * time.Hour, true, 1}, {5 * 24 * time.Hour, false, 2},
	} {
		m, err := b.spool.Get(id)
		require.NoError(t, err)
		require.NoError(t, m.Update(func(e *spool.Envelope) error { e.Received = time.Now().Add(-at.age); return nil }))
		m.Close()
		again := b.attempt(t.Context(), job)
		require.Equal(t, at.left, !again.IsZero())
		require.Equal(t, at.left, b.messages()[id] != nil)
		require.Len(t, b.messages(), at.dsns+map[bool]int{true: 1}[at.left])
	}
	stop, cancel := contextOf(t)
	defer cancel()
	b.workers.Go(func() { b.work(stop, b.background) })
	both := b.dsns(l, 2)
	late, end := both[0].recipients[0], both[1].recipients[0]
	if late.Get("Action") != "delayed" {
		late, end, both[0], both[1] = end, late, both[1], both[0]
	}
	require.Equal(t, []string{"delayed", "4.7.5"}, []string{late.Get("Action"), late.Get("Status")})
	require.NotEmpty(t, late.Get("Will-Retry-Until"))
	require.Equal(t, []string{"failed", "4.7.5"}, []string{end.Get("Action"), end.Get("Status")})
	require.Contains(t, both[1].text, "TLSA")
	require.Contains(t, both[1].original, "..", "the whole message comes back")
	require.Empty(t, l.Host("mx.dane-mismatch.example").Mailbox())
	cancel()
}

// TestNullSender: what has no sender is given up without a word to anybody.
func TestNullSender(t *testing.T) {
	l := makeLab(t)
	b := begin(t, l, nil)
	id := b.send("", nil, "bob@nowhere.example")
	b.wait(0, "given up, and there is no sender to tell", id)
	b.settled(id, nil)
	require.Empty(t, b.messages())
	require.EqualValues(t, 1, b.metrics.unreturned.Load())
}

// TestRelayedDSN: a host that knows nothing of DSNs cannot report the success that the
// sender wants to hear of, so the relay says how far the message came.
func TestRelayedDSN(t *testing.T) {
	l := makeLab(t)
	h := newHost(t, func(string) string { return "" })
	b := begin(t, l, nil, routed(map[string]*host{"there.example": h})...)
	c := b.client()
	require.NoError(t, c.Mail("alice@good.example", nil))
	require.NoError(t, c.Rcpt("bob@there.example", &smtp.RcptOptions{Notify: []smtp.DSNNotify{smtp.DSNNotifySuccess}}))
	b.finish(c)
	require.Equal(t, "relayed", b.dsns(l, 1)[0].recipients[0].Get("Action"))
}

// TestBounceRequiresTLS: what may not be read on the way may not come back readable.
func TestBounceRequiresTLS(t *testing.T) {
	b := begin(t, makeLab(t), func(c *config.Config) { quick(c) })
	id := b.send("alice@good.example", &smtp.MailOptions{RequireTLS: true}, "bob@dane.example")
	line := b.wait(0, "sender told", id)
	_, dsn, _ := strings.Cut(line, "dsn=")
	dsn, _, _ = strings.Cut(dsn, " ")
	b.settled(dsn, func(e *spool.Envelope) bool { return e.RequireTLS && e.Sender == "" })
}

// TestUntold: a sender who cannot be told because the disk is full is told later.
func TestUntold(t *testing.T) {
	l := makeLab(t)
	b := begin(t, l, quick)
	b.stopWork()
	b.workers.Wait()
	id := b.send("alice@good.example", nil, "bob@nowhere.example")
	b.spool.Close()
	dir := b.setup.Load().config.Spool.Dir
	var err error
	b.relay.spool, err = spool.Open(dir, spool.Options{MinFree: 1 << 62})
	require.NoError(t, err)
	again := b.attempt(t.Context(), spool.Job{ID: id, Domain: "nowhere.example"})
	require.False(t, again.IsZero())
	require.Equal(t, spool.Queued, b.messages()[id].Recipients[0].State, "not bounced, for nobody knows of it")
	b.spool.Close()
	b.relay.spool, err = spool.Open(dir, spool.Options{})
	require.NoError(t, err)
	require.Zero(t, b.attempt(t.Context(), spool.Job{ID: id, Domain: "nowhere.example"}))
	require.Len(t, b.messages(), 1, "the DSN")
}
