package gosmtp_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/smtpserver"
)

// smuggled is what stands behind an end of data that only some servers see.
const smuggled = "MAIL FROM:<ceo@bank.example>\r\nRCPT TO:<victim@b.example>\r\nDATA\r\nSubject: pay\r\n\r\npay\r\n.\r\n"

// forms are ends of data that are none (RFC 5321 section 4.1.1.4).
var forms = map[string]string{
	"LF . LF":          "\n.\n",
	"LF . CRLF":        "\n.\r\n",
	"CRLF . LF":        "\r\n.\n",
	"LF . CR LF":       "x\n.\r\n",
	"CR . CR":          "\r.\r",
	"CR . CRLF":        "x\r.\r\n",
	"CR CR LF . CR LF": "\r\r\n.\r\n",
	"LF LF . LF":       "\n\n.\n",
	"CRLF LF . LF":     "\r\n\n.\n",
	"LF CR . LF CR":    "\n\r.\n\r",
	"NUL LF . LF":      "\x00\n.\n",
	"LF":               "x\ny\r\n",
	"CR":               "x\ry\r\n",
}

func TestSmugglingInsideTLS(t *testing.T) {
	for _, heedless := range []bool{false, true} {
		t.Run(fmt.Sprintf("heedless %t", heedless), func(t *testing.T) { smuggle(t, heedless) })
	}
}

func smuggle(t *testing.T, heedless bool) {
	mail := &mailbox{heedless: heedless}
	w := start(t, setup{policy: smtpserver.Policy{TLS: smtpserver.TLSRequired}, mail: mail})
	t.Run("forms", func(t *testing.T) {
		for name, form := range forms {
			body := "Subject: hello\r\n\r\nhello" + form + smuggled
			t.Run(name+"/DATA", func(t *testing.T) {
				c := w.dial(t, true)
				c.say("MAIL FROM:<a@a.example>", "250")
				c.say("RCPT TO:<b@b.example>", "250")
				c.say("DATA", "354")
				c.send(body) // ends in CRLF . CRLF
				c.want("554 5.6.0")
				c.wantEnd()
			})
			t.Run(name+"/BDAT", func(t *testing.T) {
				c := w.dial(t, true)
				c.say("MAIL FROM:<a@a.example> BODY=8BITMIME", "250")
				c.say("RCPT TO:<b@b.example>", "250")
				c.send(fmt.Sprintf("BDAT %d\r\n%s", len(body), body))
				c.want("250")
				c.send("BDAT 3 LAST\r\nabc")
				c.want("554 5.6.0")
				c.wantEnd()
			})
		}
	})
	require.Empty(t, mail.messages())
	for _, call := range mail.heard() {
		require.NotContains(t, call, "ceo@bank.example")
	}
}

// TestSmugglingPipelined: the server has read the commands behind the message
// before it answers. None of them is carried out.
func TestSmugglingPipelined(t *testing.T) {
	mail := &mailbox{}
	backend := smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		mail.note("session")
		return authBox{&box{mailbox: mail}}, nil
	})
	w := start(t, setup{policy: smtpserver.Policy{TLS: smtpserver.TLSRequired}, mail: mail, backend: backend})
	c := w.dial(t, true)
	c.send("MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n")
	c.want("250")
	c.want("250")
	c.want("354")
	c.send("hello\n.\r\n.\r\n" + "AUTH PLAIN AHVzZXIAc2VjcmV0\r\n" + smuggled + "QUIT\r\n")
	c.want("554 5.6.0")
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			break
		}
		require.Contains(t, "45", line[:1], "a command behind a smuggled message was carried out: %q", line)
		if strings.HasPrefix(line, "354") {
			t.Fatal("DATA was accepted")
		}
	}
	require.Empty(t, w.mail.messages())
	require.Equal(t, []string{"session", "session", "MAIL a@a.example", "RCPT b@b.example"}, w.mail.heard(), "one session before TLS, one inside")
}

// TestDotCR: go-smtp drops a CR behind a dot at the beginning of a line, so that the
// adapter cannot see it. It must not end the message.
func TestDotCR(t *testing.T) {
	w := start(t, setup{policy: smtpserver.Policy{TLS: smtpserver.TLSRequired}})
	for i, form := range []string{"\r\n.\rx", "\r\n.\r\r\n", "\r\n.\r\r\n.\r\n"} {
		t.Run(fmt.Sprintf("%q", form), func(t *testing.T) {
			c := w.dial(t, true)
			c.say("MAIL FROM:<a@a.example>", "250")
			c.say("RCPT TO:<b@b.example>", "250")
			c.say("DATA", "354")
			c.send("hello" + form + smuggled)
			c.want("250")
			c.say("QUIT", "221")
			require.Len(t, w.mail.messages(), i+1)
			require.Equal(t, "a@a.example", w.mail.messages()[i].from)
			require.Contains(t, w.mail.messages()[i].data, "ceo@bank.example", "it is all one message")
		})
	}
}

func TestSmugglingLMTP(t *testing.T) {
	mail := &mailbox{}
	backend := smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return lmtpBox{&box{mailbox: mail}}, nil })
	w := start(t, setup{policy: smtpserver.Policy{TLS: smtpserver.TLSRequired}, mail: mail, backend: backend,
		listener: smtpserver.Options{ImplicitTLS: true}, server: func(s *smtp.Server) { s.LMTP = true }})
	for _, how := range []string{"DATA", "BDAT"} {
		t.Run(how, func(t *testing.T) {
			conn, err := tls.Dial("tcp", w.addr, clientConfig())
			require.NoError(t, err)
			c := newRaw(t, conn)
			c.want("220")
			c.say("LHLO client.example", "250")
			c.say("MAIL FROM:<a@a.example>", "250")
			c.say("RCPT TO:<1@b.example>", "250")
			c.say("RCPT TO:<2@b.example>", "250")
			if how == "DATA" {
				c.say("DATA", "354")
				c.send("x\ny\r\n.\r\n")
			} else {
				c.send("BDAT 5 LAST\r\nx\ny\r\n")
			}
			c.want("554 5.6.0") // the session had told both that they have it
			c.want("554 5.6.0")
			c.wantEnd()
		})
	}
	require.Empty(t, mail.messages())
}

// TestBinary: a message that says that it is binary may have any octets, but only
// that one.
func TestBinary(t *testing.T) {
	w := start(t, setup{policy: smtpserver.Policy{TLS: smtpserver.TLSRequired}})
	c := w.dial(t, true)
	c.say("MAIL FROM:<a@a.example> BODY=BINARYMIME", "250")
	c.say("RCPT TO:<b@b.example>", "250")
	c.send("BDAT 7 LAST\r\na\nb\rc\r\r")
	c.want("250")
	require.Equal(t, "a\nb\rc\r\r", w.mail.messages()[0].data)
	c.say("MAIL FROM:<a@a.example> BODY=BINARYMIME", "250")
	c.say("MAIL FROM:<a@a.example>", "250") // go-smtp takes it
	c.say("RCPT TO:<b@b.example>", "250")
	c.send("BDAT 3 LAST\r\na\nb")
	c.want("554 5.6.0")
	c.wantEnd()
	require.Len(t, w.mail.messages(), 1)
}

// TestBareNewlineAllowed: a group that may send bare newlines may do so inside TLS
// too.
func TestBareNewlineAllowed(t *testing.T) {
	w := start(t, setup{policy: smtpserver.Policy{TLS: smtpserver.TLSPreferred, BareNewline: smtpserver.On}})
	for _, secure := range []bool{false, true} {
		c := w.dial(t, secure)
		c.say("MAIL FROM:<scanner@a.example>", "250")
		c.say("RCPT TO:<b@b.example>", "250")
		c.say("DATA", "354")
		c.send("a\nb\r\n.\r\n")
		c.want("250")
		c.say("QUIT", "221")
	}
	require.Len(t, w.mail.messages(), 2)
}

// TestBDATReset: the server runs RSET and MAIL while a message is still being read.
// One such message a connection: with a second, go-smtp v0.25.1 has a race of its own
// (the goroutine of the first message may send its result to the second one).
func TestBDATReset(t *testing.T) {
	w := start(t, setup{policy: smtpserver.Policy{TLS: smtpserver.TLSRequired}})
	for _, chunk := range []string{"", "x", "x\n", "\r\r"} {
		for range 5 {
			c := w.dial(t, true)
			c.send(fmt.Sprintf("MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nBDAT %d\r\n%s", len(chunk), chunk))
			c.send("RSET\r\nMAIL FROM:<c@a.example> BODY=BINARYMIME\r\nRCPT TO:<d@b.example>\r\nRSET\r\nQUIT\r\n")
			c.want("250")
			c.want("250")
			c.want("250")
			_, err := c.r.ReadString('\n')
			require.NoError(t, err, "RSET is answered, whether the session ends or not")
			_ = c.conn.Close()
		}
	}
	require.Empty(t, w.mail.messages())
}

// TestBrokenOff: a client that goes in the middle of the last chunk has not handed over
// a message, however politely it goes, and even if the Backend is content with half of one.
func TestBrokenOff(t *testing.T) {
	for _, heedless := range []bool{false, true} {
		mail := &mailbox{heedless: heedless}
		w := start(t, setup{mail: mail, policy: smtpserver.Policy{TLS: smtpserver.TLSRequired}})
		c := w.dial(t, true)
		c.send("MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nBDAT 1000 LAST\r\nSubject: pay\r\n\r\nnot ")
		c.want("250")
		c.want("250")
		require.NoError(t, c.conn.(*tls.Conn).CloseWrite())
		c.want("4")
		require.Empty(t, mail.messages())
	}
}

// TestChunks: sessions go on behind messages that are whole, and who does not wait for
// replies is told no lie.
func TestChunks(t *testing.T) {
	const one = "MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nBDAT 6\r\nX: y\r\nBDAT 5 LAST\r\n\r\nz\r\n"
	for _, timeout := range []time.Duration{0, patience} {
		w := start(t, setup{policy: smtpserver.Policy{TLS: smtpserver.TLSRequired}, server: func(s *smtp.Server) { s.ReadTimeout = timeout }})
		c := w.dial(t, true)
		for range 3 {
			c.say("MAIL FROM:<a@a.example>", "250")
			c.say("RCPT TO:<b@b.example>", "250")
			c.send("BDAT 6\r\nX: y\r\n")
			c.want("250")
			c.send("BDAT 5 LAST\r\n\r\nz\r\n")
			c.want("250")
		}
		require.Len(t, w.mail.messages(), 3)
		_, _ = io.WriteString(c.conn, strings.Repeat(one, 100))
		taken, replies := 3, 0
		for {
			line, err := c.r.ReadString('\n')
			if err != nil || !strings.HasPrefix(line, "250") {
				break
			}
			if replies++; replies%4 == 0 {
				taken++
			}
		}
		require.GreaterOrEqual(t, len(w.mail.messages()), taken)
		for _, m := range w.mail.messages() {
			require.Equal(t, "X: y\r\n\r\nz\r\n", m.data)
		}
	}
}

// TestGoodMailPasses: what a real client sends comes through as it is.
func TestGoodMailPasses(t *testing.T) {
	w := start(t, setup{policy: smtpserver.Policy{TLS: smtpserver.TLSRequired}})
	c := w.client(t, true)
	bodies := []string{"", "\r\n", ".\r\n..\r\n", "Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("y", 997)+"\r\n", 300)}
	for _, body := range bodies {
		require.NoError(t, c.SendMail("a@a.example", []string{"b@b.example", "c@b.example"}, strings.NewReader(body)))
	}
	require.NoError(t, c.Quit())
	require.Len(t, w.mail.messages(), len(bodies))
	for i, m := range w.mail.messages() {
		require.Equal(t, strings.TrimSuffix(bodies[i], "\r\n"), strings.TrimSuffix(m.data, "\r\n"))
		require.Equal(t, []string{"b@b.example", "c@b.example"}, m.to)
	}
}
