//go:build unix

package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/examples/relay/config"
	"github.com/smtpsec/smtpsec/examples/relay/spool"
	"github.com/smtpsec/smtpsec/internal/lab"
)

// TestForgedRefusals: what anybody on the way can say before TLS bounces nothing.
func TestForgedRefusals(t *testing.T) {
	l := makeLab(t,
		lab.Domain{Name: "forged.example", DNSSEC: lab.Signed, Hosts: []lab.Host{{Name: "mx.forged.example", TLSA: []lab.TLSA{lab.TLSAMatch}, Fault: lab.Greeting(554)}}},
		one("greeting.example", func(h *lab.Host) { h.Fault = lab.Greeting(554) }))
	refuse := func(verb, reply string) *host {
		return newHost(t, func(line string) string {
			switch {
			case strings.HasPrefix(line, verb):
				return reply
			case strings.HasPrefix(line, "EHLO"):
				return "250-host\r\n250 STARTTLS"
			}
			return ""
		})
	}
	b := begin(t, l, nil, append(routed(map[string]*host{
		"ehlo.example": refuse("", "554 5.7.1 go away"), "starttls.example": refuse("STARTTLS", "554 5.7.1 go away"),
		"gone.example": refuse("EHLO", "hang up"),
	}), `default = { mode = "preferred"`, `default = { mode = "required"`)...)
	for _, domain := range []string{"forged.example", "greeting.example", "ehlo.example", "starttls.example", "gone.example"} {
		id := b.send("alice@good.example", nil, "bob@"+domain)
		b.wait(0, "msg=deferred", id)
	}
	require.NotContains(t, b.logs.String(), "msg=bounced")
}

// TestMixedSession: what one message asks for is not left out for the next one, nor
// done for it, on whichever session it goes.
func TestMixedSession(t *testing.T) {
	l := makeLab(t, lab.Domain{Name: "kept.example", DNSSEC: lab.Signed, Hosts: []lab.Host{
		{Name: "mx.kept.example", TLSA: []lab.TLSA{lab.TLSAMatch}, TLSKeywords: []string{"REQUIRETLS"}}}})
	b := begin(t, l, func(c *config.Config) { c.Queue.ConnIdle = time.Minute })
	for i := range 6 {
		o := &smtp.MailOptions{RequireTLS: i%2 == 1}
		b.wait(0, "msg=delivered", b.send("alice@good.example", o, "bob@kept.example"))
		box := l.Host("mx.kept.example").Mailbox()
		require.Len(t, box, i+1)
		require.Equal(t, o.RequireTLS, box[i].RequireTLS)
	}
}

// TestReloadDropsSessions: a session that was opened under the old table does not
// carry a message under the new one.
func TestReloadDropsSessions(t *testing.T) {
	l := makeLab(t)
	b := begin(t, l, nil, "[resolver]\n", "[queue]\nidle-connection = \"1m\"\n[resolver]\n")
	b.wait(0, "msg=delivered", b.send("alice@good.example", nil, "bob@self-signed.example"))
	load(t, b.file, `mode = "preferred"`, `mode = "required-verify"`, "[resolver]\n", "[queue]\nidle-connection = \"1m\"\n[resolver]\n")
	b.reload()
	b.wait(0, "configuration reloaded")
	b.wait(0, "msg=deferred", b.send("alice@good.example", nil, "bob@self-signed.example"))
}

// TestReloadStorm: thirty reloads while mail is under way lose nothing and double
// nothing.
func TestReloadStorm(t *testing.T) {
	l := makeLab(t, one("busy.example", nil))
	b := begin(t, l, nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 30 {
			b.reload()
		}
	}()
	c := b.client()
	n := 0
	for stop := false; !stop; n++ {
		require.NoError(t, c.SendMail("alice@good.example", []string{"bob@busy.example"}, strings.NewReader(text)))
		select {
		case <-done:
			stop = true
		default:
		}
	}
	require.Eventually(t, func() bool { return len(b.messages()) == 0 }, 20*time.Second, 5*time.Millisecond)
	require.Len(t, l.Host("mx.busy.example").Mailbox(), n)
}

// TestDoneAtStart: the end came between the record of the last result and the removal.
func TestDoneAtStart(t *testing.T) {
	l := makeLab(t)
	b := begin(t, l, nil)
	b.stopWork()
	b.workers.Wait()
	id := b.send("alice@good.example", nil, "bob@good.example")
	m, err := b.spool.Get(id)
	require.NoError(t, err)
	require.NoError(t, m.Update(func(e *spool.Envelope) error { e.Recipients[0].State = spool.Delivered; return nil }))
	m.Close()
	b.stop(t.Context())
	next := begin(t, l, func(c *config.Config) { c.Spool.Dir = b.setup.Load().config.Spool.Dir })
	require.Empty(t, next.messages())
	require.Empty(t, l.Host("mx.good.example").Mailbox())
}

// TestLiteral: a recipient at an address is one host, or none that mail can be sent to.
func TestLiteral(t *testing.T) {
	b := begin(t, makeLab(t), nil)
	r := b.raw()
	r.say(250, "MAIL FROM:<>")
	for _, to := range []string{"a@[x-tag:data]", "a@[192.0.2]", "a@192.0.2.1.", "a@[IPv6:::1", "a@.", "a@..", "a@*.good.example", "a@" + strings.Repeat("a", 64) + ".example"} {
		require.NoError(t, r.PrintfLine("RCPT TO:<%s>", to))
		code, text, err := r.ReadResponse(0)
		require.NoError(t, err)
		if code/100 != 5 {
			t.Errorf("%s: %d %s", to, code, text)
		}
	}
	r.say(250, "RCPT TO:<a@[127.0.0.1]>")
	r.say(250, "RCPT TO:<a@[IPv6:::1]>")
	r.say(354, "DATA")
	require.NoError(t, r.PrintfLine("X: y\r\n\r\nz\r\n."))
	id := strings.Fields(r.want(250, "queued as"))[3]
	b.wait(0, "attempts=1", id, "127.0.0.1")
	b.wait(0, "attempts=1", id, "::1")
}

// TestQueueForTerminal: nothing that strangers wrote moves the cursor, turns the line
// or makes another one.
func TestQueueForTerminal(t *testing.T) {
	b := begin(t, makeLab(t), nil)
	b.stopWork()
	b.workers.Wait()
	evil := "\u202e\u200f\u061c\u2028\u2029\u200b\ufeff\u0085\U000e0041\u180e"
	w, err := b.spool.Create(100)
	require.NoError(t, err)
	require.NoError(t, w.Commit(&spool.Envelope{SMTPUTF8: true, Sender: "a" + strings.ReplaceAll(evil, "\u0085", "") + "@x.example",
		Recipients: []spool.Recipient{{Address: "\"\u202e b\"@good.example", LastError: "550 \x1b[2J\r\n\t" + evil + "\xff"}}}))
	var out bytes.Buffer
	require.NoError(t, list(b.spool, &out, time.Now()))
	for line := range strings.Lines(out.String()) {
		for _, r := range strings.TrimSuffix(line, "\n") {
			require.True(t, strings.ContainsRune("<>", r) || r >= ' ' && r < 0x7f || r == '\ufffd', "%U in %q", r, line)
		}
	}
	require.Equal(t, 3, strings.Count(out.String(), "\n"))
}
