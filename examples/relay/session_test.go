//go:build unix

package main

import (
	"bufio"
	"crypto/tls"
	"net"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/examples/relay/config"
	"github.com/smtpsec/smtpsec/examples/relay/spool"
	"github.com/smtpsec/smtpsec/examples/relay/trace"
)

// raw speaks SMTP by hand, over TLS.
type raw struct {
	t testing.TB
	*textproto.Conn
}

func (b *bench) raw() *raw {
	b.t.Helper()
	c, err := net.Dial("tcp", b.address())
	require.NoError(b.t, err)
	b.t.Cleanup(func() { c.Close() })
	require.NoError(b.t, c.SetDeadline(time.Now().Add(20*time.Second)))
	r := &raw{b.t, textproto.NewConn(c)}
	r.want(220, "")
	r.say(250, "EHLO client.example")
	r.say(220, "STARTTLS")
	r.Conn = textproto.NewConn(tls.Client(c, &tls.Config{InsecureSkipVerify: true}))
	r.say(250, "EHLO client.example")
	return r
}

func (r *raw) want(code int, words string) string {
	r.t.Helper()
	got, text, err := r.ReadResponse(0)
	require.NoError(r.t, err)
	require.Equal(r.t, code, got, text)
	require.Contains(r.t, text, words)
	return text
}

func (r *raw) say(code int, line string, words ...string) string {
	r.t.Helper()
	require.NoError(r.t, r.PrintfLine("%s", line))
	return r.want(code, strings.Join(words, " "))
}

// chunk sends octets as they are.
func (r *raw) chunk(octets string) {
	r.t.Helper()
	_, err := r.W.WriteString(octets)
	require.NoError(r.t, err)
	require.NoError(r.t, r.W.Flush())
}

func TestEHLO(t *testing.T) {
	b := begin(t, makeLab(t), nil)
	text := b.raw().say(250, "EHLO again.example")
	for _, keyword := range []string{"8BITMIME", "SMTPUTF8", "REQUIRETLS", "DSN", "SIZE 1048576", "CHUNKING", "ENHANCEDSTATUSCODES"} {
		require.Contains(t, text, keyword)
	}
	require.NotContains(t, text, "STARTTLS")
}

// TestRefused: what is refused, with which reply, and that nothing of it stays.
func TestRefused(t *testing.T) {
	b := begin(t, makeLab(t), nil)
	for _, tc := range []struct {
		why   string
		lines []string // the last one gets the reply
		code  int
		words string
	}{
		{"the sender's domain is none", []string{"MAIL FROM:<a@b(c>"}, 553, "5.1.7"},
		{"the recipient's domain is none", []string{"MAIL FROM:<>", "RCPT TO:<a@-/->"}, 553, "5.1.2"},
		{"no ASCII without SMTPUTF8", []string{"MAIL FROM:<a@good.example>", "RCPT TO:<\u00e4@good.example>"}, 553, "5.1.3"},
		{"a second MAIL", []string{"MAIL FROM:<>", "MAIL FROM:<>"}, 503, "5.5.1"},
		{"DATA without recipients", []string{"MAIL FROM:<>", "DATA"}, 502, "5.5.1"},
		{"larger than we take", []string{"MAIL FROM:<> SIZE=2000000"}, 552, "5.3.4"},
		{"a local part too long for the spool", []string{"MAIL FROM:<" + strings.Repeat("a", 400) + "@good.example>"}, 553, "5.1.7"},
	} {
		r := b.raw()
		for _, line := range tc.lines[:len(tc.lines)-1] {
			r.say(250, line)
		}
		require.Contains(t, r.say(tc.code, tc.lines[len(tc.lines)-1]), tc.words, tc.why)
		r.Close()
	}
	require.Empty(t, b.messages())
}

// TestRefusedText: the same for what stands in the message.
func TestRefusedText(t *testing.T) {
	b := begin(t, makeLab(t), nil)
	for _, tc := range []struct {
		why, text string
		code      int
		words     string
	}{
		{"loop", strings.Repeat("Received: from a by b; x\r\n", trace.MaxHops) + "\r\nx\r\n", 554, "5.4.6"},
		{"header without end", strings.Repeat("X: "+strings.Repeat("y", 900)+"\r\n", 400), 552, "5.3.4"},
		{"too large", "X: y\r\n\r\n" + strings.Repeat(strings.Repeat("z", 900)+"\r\n", 1200), 552, "5.3.4"},
		{"bare LF", "X: y\n\r\nz\r\n", 554, "5.6.0"},
		{"line too long", "X: y\r\n\r\n" + strings.Repeat("z", maxLine+1) + "\r\n", 554, "5.6.0"},
	} {
		r := b.raw()
		r.say(250, "MAIL FROM:<>")
		r.say(250, "RCPT TO:<a@good.example>")
		r.say(354, "DATA")
		require.NoError(t, r.PrintfLine("%s.", tc.text))
		r.want(tc.code, tc.words)
		r.Close()
	}
	require.Empty(t, b.messages())
	r := b.raw() // one hop less is none too many
	r.say(250, "MAIL FROM:<>")
	r.say(250, "RCPT TO:<a@good.example>")
	r.say(354, "DATA")
	require.NoError(t, r.PrintfLine("%s\r\nx\r\n.", strings.Repeat("Received: from a by b; x\r\n", trace.MaxHops-1)))
	r.want(250, "queued as")
}

// TestRelaying: a group without access "relay" writes to our domains and nowhere else.
func TestRelaying(t *testing.T) {
	b := begin(t, makeLab(t), nil, `senders = ["127.0.0.1"]`, `senders = ["192.0.2.1"]`)
	r := b.raw()
	r.say(250, "MAIL FROM:<a@good.example>")
	require.Contains(t, r.say(550, "RCPT TO:<b@good.example>"), "5.7.1")
	r.say(550, `RCPT TO:<"b@good.example"@home.example>`)
	r.say(250, "RCPT TO:<b@HOME.example>")
}

// TestEnvelope: what the commands say is what the spool holds.
func TestEnvelope(t *testing.T) {
	b := begin(t, makeLab(t), func(c *config.Config) { c.Queue.Total = 1; quick(c) })
	b.stopWork() // so that it can be looked at
	b.workers.Wait()
	r := b.raw()
	r.say(250, `MAIL FROM:<"a \"quoted\" one"@Good.example> REQUIRETLS SMTPUTF8 BODY=8BITMIME RET=HDRS ENVID=x+2By`)
	r.say(250, "RCPT TO:<b\u00fc@dane.example> NOTIFY=FAILURE,SUCCESS ORCPT=rfc822;other+40x.example")
	r.say(250, "RCPT TO:<b\u00fc@dane.example>")
	r.say(354, "DATA")
	require.NoError(t, r.PrintfLine("TLS-Required: no\r\nSubject: x\r\n\r\nReceived: not a field\r\n."))
	id := strings.TrimPrefix(r.want(250, "queued as"), "2.0.0 queued as ")
	e := b.messages()[id]
	require.NotNil(t, e)
	require.Equal(t, `"a \"quoted\" one"@Good.example`, e.Sender)
	require.True(t, e.RequireTLS && e.SMTPUTF8 && e.TLSOptional)
	require.Equal(t, []string{"8BITMIME", "HDRS", "x+y", "client.example", "127.0.0.1"},
		[]string{e.BodyType, e.Return, e.EnvelopeID, e.Client.Helo, e.Client.Address.String()})
	require.Len(t, e.Recipients, 1, "the same one twice is one")
	require.Equal(t, "b\u00fc@dane.example", e.Recipients[0].Address)
	require.Equal(t, spool.NotifyFailure|spool.NotifySuccess, e.Recipients[0].Notify)
	require.Equal(t, "rfc822;other@x.example", e.Recipients[0].OriginalRecipient)
	m, err := b.spool.Get(id)
	require.NoError(t, err)
	defer m.Close()
	line, err := bufio.NewReader(m.Body()).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "Received: from client.example ([127.0.0.1])\r\n", line)
}

// TestRequireTLSInClear: what came in clear text was not protected on the way here.
func TestRequireTLSInClear(t *testing.T) {
	b := begin(t, makeLab(t), nil)
	c, err := textproto.Dial("tcp", b.address())
	require.NoError(t, err)
	defer c.Close()
	r := &raw{t, c}
	r.want(220, "")
	require.NotContains(t, r.say(250, "EHLO x"), "REQUIRETLS")
	require.Contains(t, r.say(530, "MAIL FROM:<> REQUIRETLS"), "5.7.10")
}

// TestImplicitTLS: a port that begins with TLS, as 465.
func TestImplicitTLS(t *testing.T) {
	b := begin(t, makeLab(t), nil, "address = \"127.0.0.1:0\"\ncertificate = \"own\"", "address = \"127.0.0.1:0\"\ncertificate = \"own\"\nimplicit-tls = true")
	c, err := smtp.DialTLS(b.address(), &tls.Config{InsecureSkipVerify: true})
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.Mail("alice@good.example", nil))
	require.NoError(t, c.Rcpt("bob@good.example", nil))
	b.wait(0, "msg=delivered", b.finish(c))
}

// TestDiskFull: 452, one line of the log, and what was there stays.
func TestDiskFull(t *testing.T) {
	l := makeLab(t)
	b := begin(t, l, quick)
	b.stopWork()
	b.workers.Wait()
	id := b.send("alice@good.example", nil, "bob@good.example")
	b.spool.Close()
	full, err := spool.Open(b.setup.Load().config.Spool.Dir, spool.Options{MinFree: 1 << 62})
	require.NoError(t, err)
	b.spool = full
	r := b.raw()
	r.say(250, "MAIL FROM:<>")
	r.say(250, "RCPT TO:<a@good.example>")
	r.say(354, "DATA")
	require.NoError(t, r.PrintfLine("X: y\r\n\r\nz\r\n."))
	require.Contains(t, r.want(452, "4.3.1"), "storage")
	require.Equal(t, 1, strings.Count(b.logs.String(), "message not accepted"))
	r.say(250, "NOOP") // the session goes on
	all := b.messages()
	require.Len(t, all, 1)
	require.Contains(t, all, id)
}

// TestHostileClient: guessing addresses ends the session, and a client that breaks off
// leaves nothing.
func TestHostileClient(t *testing.T) {
	b := begin(t, makeLab(t), nil)
	r := b.raw()
	r.say(250, "MAIL FROM:<>")
	for range maxRefusals {
		r.say(553, "RCPT TO:<a@-/->")
	}
	r.say(421, "RCPT TO:<a@-/->", "4.7.0")
	_, err := r.ReadLine()
	require.Error(t, err)

	r = b.raw()
	r.say(250, "MAIL FROM:<>")
	r.say(250, "RCPT TO:<a@good.example>")
	r.say(354, "DATA")
	require.NoError(t, r.PrintfLine("Subject: half"))
	r.Close()
	b.wait(0, "message not accepted", "reply=451")
	require.Empty(t, b.messages())

	r = b.raw() // the same with BDAT, which go-smtp reads in another goroutine
	r.say(250, "MAIL FROM:<>")
	r.say(250, "RCPT TO:<a@good.example>")
	r.chunk("BDAT 6\r\nX: y\r\n")
	r.want(250, "")
	r.say(250, "RSET")
	b.wait(1, "message not accepted", "reply=451")
	require.Empty(t, b.messages())

	r = b.raw()
	r.say(250, "MAIL FROM:<>")
	r.say(250, "RCPT TO:<a@good.example>")
	r.chunk("BDAT 11 LAST\r\nX: y\r\n\r\nz\r\n")
	r.want(250, "queued as")
}
