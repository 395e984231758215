package lab

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever a client sends, the host answers in whole lines, lets go in the end, and
// remembers in clear a prefix of what was sent.
func FuzzClient(f *testing.F) {
	f.Add([]byte("EHLO a\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n"))
	f.Add([]byte("EHLO a\r\nSTARTTLS\r\n\x16\x03\x01\x00\x05hello"))
	f.Add([]byte("\x00\xff\r\r\n\n\nQUIT"))
	f.Add([]byte("BDAT 5\r\nSTARTTLS\r\n"))
	f.Add([]byte("HELO " + strings.Repeat("x", 5000) + "\r\nNOOP\r\n"))
	l, err := Start(World{Domains: []Domain{{Name: "partner.example", Hosts: []Host{{Name: "mx.partner.example"}}}}})
	require.NoError(f, err)
	f.Cleanup(func() { l.Close() })
	h := l.Host("mx.partner.example")
	f.Fuzz(func(t *testing.T, sent []byte) {
		h.Forget()
		c := dial(t, l, h.Name())
		c.Write(sent)
		c.Conn.(*conn).CloseWrite()
		got, _ := io.ReadAll(c.in) // a reset is fine when the host closed first
		seen := idle(t, h)[0]
		require.True(t, bytes.HasPrefix(sent, seen.Octets), "%q of %q", seen.Octets, sent)
		if seen.Hello || bytes.Contains(bytes.ToUpper(sent), []byte("STARTTLS")) {
			return // what comes behind the 220 may be an alert
		}
		if len(got) > 0 {
			require.Equal(t, byte('\n'), got[len(got)-1], "%q", got)
		}
	})
}

// A message goes in with dots stuffed and comes out as it was. CR CR LF is left
// out: go-smtp does not take it for the end of a line.
func FuzzMailbox(f *testing.F) {
	f.Add([]byte("Subject: x\r\n\r\n.\r\n..\r\nend"))
	f.Add([]byte("\n.\n\x00\xff\r."))
	f.Add([]byte(""))
	l, err := Start(World{Domains: []Domain{{Name: "partner.example", Hosts: []Host{{Name: "mx.partner.example"}}}}})
	require.NoError(f, err)
	f.Cleanup(func() { l.Close() })
	h := l.Host("mx.partner.example")
	f.Fuzz(func(t *testing.T, message []byte) {
		if bytes.Contains(message, []byte("\r\r")) || bytes.HasSuffix(message, []byte("\r")) {
			return
		}
		text := string(message)
		if text != "" && !strings.HasSuffix(text, "\r\n") {
			text += "\r\n"
		}
		for line := range strings.SplitSeq(text, "\n") {
			if len(line) > maxLineLength/2 {
				return
			}
		}
		h.Forget()
		c := dial(t, l, h.Name())
		c.hello()
		c.say("MAIL FROM:<>")
		c.want(250)
		c.say("RCPT TO:<a@partner.example>")
		c.want(250)
		c.say("DATA")
		c.want(354)
		stuffed := strings.ReplaceAll("\r\n"+text, "\r\n.", "\r\n..")[2:]
		_, err := c.Write([]byte(stuffed + ".\r\n"))
		require.NoError(t, err)
		c.want(250)
		require.Equal(t, text, string(h.Mailbox()[0].Data))
		c.Conn.(*conn).SetLinger(0) // thousands of these must not fill the table of ports
		c.Close()
		idle(t, h)
	})
}
