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

	"github.com/stretchr/testify/require"
)

// TestTruncatedChunk: a client that goes away in the middle of the last chunk has not
// handed over a message, however politely it goes.
func TestTruncatedChunk(t *testing.T) {
	b := begin(t, makeLab(t), nil)
	b.stopWork()
	b.workers.Wait()
	for _, secure := range []bool{false, true} {
		c, err := net.Dial("tcp", b.address())
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
		r := &raw{t, textproto.NewConn(c)}
		r.want(220, "")
		r.say(250, "EHLO client.example")
		half := c.(interface{ CloseWrite() error })
		if secure {
			r.say(220, "STARTTLS")
			tc := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
			r.Conn, half = textproto.NewConn(tc), tc
			r.say(250, "EHLO client.example")
		}
		r.say(250, "MAIL FROM:<>")
		r.say(250, "RCPT TO:<a@good.example>")
		r.chunk("BDAT 1000 LAST\r\nSubject: pay\r\n\r\nnot ")
		require.NoError(t, half.CloseWrite())
		code, text, err := r.ReadResponse(0)
		t.Log(code, text, err)
		require.NotEqual(t, 250, code, "secure %t: %s", secure, text)
	}
	require.Empty(t, b.messages())

	r := b.raw() // the session goes on behind a message that is whole
	for range 3 {
		r.say(250, "MAIL FROM:<>")
		r.say(250, "RCPT TO:<a@good.example>")
		r.chunk("BDAT 6\r\nX: y\r\n")
		r.want(250, "")
		r.chunk("BDAT 5 LAST\r\n\r\nz\r\n")
		r.want(250, "queued as")
	}
	// Who does not wait for replies loses no message by it, and is told no lie.
	chunk := "MAIL FROM:<>\r\nRCPT TO:<a@good.example>\r\nBDAT 11 LAST\r\nX: y\r\n\r\nz\r\n"
	_, _ = r.W.WriteString(strings.Repeat(chunk, 200))
	_ = r.W.Flush()
	taken := 3
	for {
		_, text, err := r.ReadResponse(250)
		if err != nil {
			break
		}
		if strings.Contains(text, "queued as") {
			taken++
		}
	}
	require.GreaterOrEqual(t, len(b.messages()), taken) // the last reply may be lost with the connection
}

// TestContinuation: a message that begins with a blank cannot go on writing in the
// relay's own Received field.
func TestContinuation(t *testing.T) {
	b := begin(t, makeLab(t), nil)
	b.stopWork()
	b.workers.Wait()
	r := b.raw()
	r.say(250, "MAIL FROM:<>")
	r.say(250, "RCPT TO:<a@good.example>")
	r.say(354, "DATA")
	require.NoError(t, r.PrintfLine("\tby bank.example (all is well)\r\nSubject: x\r\n\r\nx\r\n."))
	id := strings.Fields(r.want(250, "queued as"))[3]
	m, err := b.spool.Get(id)
	require.NoError(t, err)
	defer m.Close()
	tr, err := textproto.NewReader(bufio.NewReader(m.Body())).ReadMIMEHeader()
	require.NoError(t, err)
	require.NotContains(t, tr.Get("Received"), "bank.example")
}

// TestResetClient: a client that tears its connection is no fault of the disk.
func TestResetClient(t *testing.T) {
	b := begin(t, makeLab(t), nil)
	c, err := net.Dial("tcp", b.address())
	require.NoError(t, err)
	r := &raw{t, textproto.NewConn(c)}
	r.want(220, "")
	r.say(250, "EHLO client.example")
	r.say(250, "MAIL FROM:<>")
	r.say(250, "RCPT TO:<a@good.example>")
	r.say(354, "DATA")
	require.NoError(t, r.PrintfLine("Subject: half"))
	require.NoError(t, c.(*net.TCPConn).SetLinger(0))
	c.Close()
	b.wait(0, "message not accepted", "reply=451")
	require.Empty(t, b.metrics.alerts.All())
}

// TestRoutedAddress: whoever may write to our domains only does not get further by
// what another host may read into a local part.
func TestRoutedAddress(t *testing.T) {
	b := begin(t, makeLab(t), nil, `senders = ["127.0.0.1"]`, `senders = ["192.0.2.1"]`)
	r := b.raw()
	r.say(250, "MAIL FROM:<a@good.example>")
	for _, to := range []string{
		"victim%good.example@home.example", "good.example!victim@home.example", `"victim@good.example"@home.example`,
		"victim@good.example", "victim@[192.0.2.7]", "victim@[127.0.0.1]", "victim@home.example.evil.example", "victim@xhome.example",
		"@home.example:victim@good.example", "victim@h\u043eme.example", "victim@home.example@good.example", "victim@good.example@home.example",
	} {
		require.NoError(t, r.PrintfLine("RCPT TO:<%s>", to))
		code, text, err := r.ReadResponse(0)
		require.NoError(t, err)
		require.Equal(t, 5, code/100, "%s: %d %s", to, code, text)
	}
	for _, to := range []string{"b@HOME.example.", "@relay.example,@x.example:b@home.example", "b.c+d@home.example"} {
		r.say(250, "RCPT TO:<"+to+">")
	}
}
