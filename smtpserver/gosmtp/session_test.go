package gosmtp_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/smtpserver"
	"github.com/smtpsec/smtpsec/smtpserver/gosmtp"
)

// blind is a filter that sees nothing: what the server reads and writes goes past
// it. It stands for a filter that fails.
type blind struct{ net.Listener }

type blindConn struct {
	net.Conn
	filter net.Conn
}

func (b blind) Accept() (net.Conn, error) {
	c, err := b.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return blindConn{c.(*smtpserver.Conn).NetConn(), c}, nil
}

func (c blindConn) NetConn() net.Conn { return c.filter }
func (c blindConn) Close() error      { return c.filter.Close() }

func TestSecondCheck(t *testing.T) {
	above := func(l net.Listener) net.Listener { return blind{l} }
	mail := &mailbox{}
	backend := smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return authBox{&box{mailbox: mail}}, nil })
	lenient := func(s *smtp.Server) { s.AllowInsecureAuth = true }

	t.Run("Required", func(t *testing.T) {
		w := start(t, setup{policy: smtpserver.Policy{TLS: smtpserver.TLSRequired, AuthInClear: smtpserver.On}, above: above, backend: backend, server: lenient})
		c := w.client(t, false)
		require.Equal(t, "530 5.7.0", refusal(t, c.Auth(sasl.NewPlainClient("", "user", "secret"))))
		err := c.Mail("a@a.example", nil)
		require.Equal(t, "530 5.7.0", refusal(t, err))
		require.ErrorContains(t, err, "Must issue a STARTTLS command first")
		require.Equal(t, "502 5.5.1", refusal(t, c.Rcpt("b@b.example", nil)))
	})
	t.Run("AUTH in clear", func(t *testing.T) {
		w := start(t, setup{policy: smtpserver.Policy{TLS: smtpserver.TLSPreferred}, above: above, backend: backend, server: lenient})
		require.Equal(t, "538 5.7.11", refusal(t, w.client(t, false).Auth(sasl.NewPlainClient("", "user", "secret"))))
	})
	require.Empty(t, mail.heard(), "nothing reaches the Backend")
	t.Run("AUTH in clear where it is allowed", func(t *testing.T) {
		w := start(t, setup{policy: smtpserver.Policy{AuthInClear: smtpserver.On}, above: above, backend: backend, server: lenient})
		require.NoError(t, w.client(t, false).Auth(sasl.NewPlainClient("", "user", "secret")))
	})
}

func TestTLSRequiredFrom(t *testing.T) {
	list, err := smtpserver.NewAddressList("boss@a.example", "@bank.example", "@.b.example", "root@")
	require.NoError(t, err)
	w := start(t, setup{policy: smtpserver.Policy{TLS: smtpserver.TLSPreferred, TLSRequiredFrom: list}})
	clear, secure := w.client(t, false), w.client(t, true)
	for _, tt := range []struct {
		from   string
		listed bool
	}{
		{"boss@A.Example", true},
		{"Boss@a.example", false}, // local parts compare exactly
		{"any@bank.example", true},
		{"any@x.bank.example", false},
		{"any@x.b.example", true},
		{"root@c.example", true},
		{"any@c.example", false},
		{"", false},
	} {
		t.Run(tt.from, func(t *testing.T) {
			if tt.listed {
				require.Equal(t, "530 5.7.0", refusal(t, clear.Mail(tt.from, nil)))
			} else {
				require.NoError(t, clear.Mail(tt.from, nil))
			}
			require.NoError(t, secure.Mail(tt.from, nil))
			require.NoError(t, clear.Reset())
			require.NoError(t, secure.Reset())
		})
	}
}

func TestDelayedRejection(t *testing.T) {
	for _, tt := range []struct {
		name   string
		reject smtpserver.Rejection
		want   string
		secure bool
	}{
		{"in clear", smtpserver.Rejection{Delayed: true}, "550 5.7.1", false},
		{"inside TLS", smtpserver.Rejection{Delayed: true}, "550 5.7.1", true},
		{"inside TLS, own code and text", smtpserver.Rejection{Delayed: true, Code: 450, Text: "Come back tomorrow"}, "450 4.7.1 Come back tomorrow", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mail := &mailbox{}
			backend := smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
				mail.note("session")
				return authBox{&box{mailbox: mail}}, nil
			})
			w := start(t, setup{policy: smtpserver.Policy{Access: smtpserver.Reject, Reject: &tt.reject, TLS: smtpserver.TLSPreferred}, mail: mail, backend: backend})
			c := w.dial(t, tt.secure)
			c.say("MAIL FROM:<a@a.example>", "250")
			c.say("RCPT TO:<b@b.example>", tt.want)
			c.say("RCPT TO:<c@b.example>", tt.want)
			c.say("DATA", "50")
			c.say("RSET", "250")
			c.say("MAIL FROM:<a@a.example>", "250")
			if tt.secure {
				c.send("BDAT 3 LAST\r\nabc")
				c.want("502")
				c.say("AUTH PLAIN AHVzZXIAc2VjcmV0", "504") // the mechanism is unknown: there is no session
			}
			c.say("QUIT", "221")
			require.Empty(t, mail.heard())
		})
	}
}

// TestMessagesPerConn: EHLO, RSET and STARTTLS do not reset the count.
func TestMessagesPerConn(t *testing.T) {
	w := start(t, setup{policy: smtpserver.Policy{TLS: smtpserver.TLSPreferred, MaxMessagesPerConn: 4}})
	c := w.dial(t, false)
	c.say("MAIL FROM:<1@a.example>", "250")
	c.say("RSET", "250")
	c.say("MAIL FROM:<2@a.example>", "250")
	c.say("EHLO client.example", "250")
	c.say("MAIL FROM:<3@a.example>", "250")
	c.startTLS()
	c.say("EHLO client.example", "250")
	c.say("MAIL FROM:<4@a.example>", "250")
	c.say("RCPT TO:<b@b.example>", "250")
	// A client that does not wait has no use of it.
	c.send("MAIL FROM:<5@a.example>\r\nRCPT TO:<c@b.example>\r\nDATA\r\nx\r\n.\r\nMAIL FROM:<6@a.example>\r\n")
	c.want("421 4.7.0")
	drained, err := io.ReadAll(c.r)
	if err == nil {
		require.NotContains(t, string(drained), "\n250 ", "whatever the server had read already is refused")
	}
	require.Empty(t, w.mail.messages())
	require.Equal(t, []string{"session", "MAIL 1@a.example", "MAIL 2@a.example", "MAIL 3@a.example", "session", "MAIL 4@a.example", "RCPT b@b.example"}, w.mail.heard())

	// In clear text, and with another connection.
	c = w.dial(t, false)
	for i := range 4 {
		c.say(fmt.Sprintf("MAIL FROM:<%d@a.example>", i), "250")
	}
	c.say("MAIL FROM:<5@a.example>", "421 4.7.0")
	c.wantEnd()
}

func TestRecipientsPerMessage(t *testing.T) {
	w := start(t, setup{policy: smtpserver.Policy{MaxRcptsPerMessage: 2}})
	c := w.dial(t, false)
	c.say("MAIL FROM:<a@a.example>", "250")
	c.say("RCPT TO:<nobody@b.example>", "550 5.1.1") // the Backend's refusals do not count
	c.say("RCPT TO:<1@b.example>", "250")
	c.say("RCPT TO:<2@b.example>", "250")
	c.say("RCPT TO:<3@b.example>", "452 4.5.3")
	c.say("MAIL FROM:<b@a.example>", "250") // go-smtp takes it and keeps the recipients
	c.say("RCPT TO:<4@b.example>", "452 4.5.3")
	c.say("DATA", "354")
	c.send("x\r\n.\r\n")
	c.want("250")
	c.say("MAIL FROM:<c@a.example>", "250")
	c.say("RCPT TO:<5@b.example>", "250")
	c.say("RSET", "250")
	c.say("MAIL FROM:<d@a.example>", "250")
	c.say("RCPT TO:<6@b.example>", "250")
	c.say("RCPT TO:<7@b.example>", "250")
	c.say("RCPT TO:<8@b.example>", "452 4.5.3")
	require.Len(t, w.mail.messages(), 1)
	require.Equal(t, []string{"1@b.example", "2@b.example"}, w.mail.messages()[0].to, "earlier recipients are kept")
	require.EqualValues(t, 5, w.listener.Stats().Recipients, "those that the Backend took")
}

// TestRecipientsPerHour: the count is of the address, not of the connection.
func TestRecipientsPerHour(t *testing.T) {
	w := start(t, setup{policy: smtpserver.Policy{MaxRcptsPerHour: 3}, options: []gosmtp.Options{{HourlyText: "Slow down, please"}}})
	for i := range 3 {
		c := w.dial(t, false)
		c.say("MAIL FROM:<a@a.example>", "250")
		c.say(fmt.Sprintf("RCPT TO:<%d@b.example>", i), "250")
	}
	c := w.dial(t, false)
	c.say("MAIL FROM:<a@a.example>", "250")
	c.say("RCPT TO:<x@b.example>", "452 4.5.3 Slow down, please")
	c.say("DATA", "502")
	require.NotContains(t, w.mail.heard(), "RCPT x@b.example")
}

func TestLocal(t *testing.T) {
	local := func(domain string) bool {
		return domain == "b.example" || domain == "xn--bcher-kva.example" || domain == "[127.0.0.1]" || domain == "[2001:db8::1]"
	}
	tests := []struct {
		to    string
		local bool
	}{
		{"x@b.example", true},
		{"x@B.EXAMPLE", true},
		{"x@b.example.", true},
		{"x@sub.b.example", false},
		{"x@c.example", false},
		{"x@b\u00fccher.example", true},
		{"x@[127.0.0.1]", true},
		{"x@[IPv6:2001:DB8:0::1]", true},
		{"x@[192.0.2.1]", false},
		{"x@127.0.0.1", false}, // not a domain
		{"x@b_.!example", false},
		{`"x@c.example"@b.example`, false}, // go-smtp drops the quotes: ambiguous
		{"x@c.example@b.example", false},
		{"x@b.example@c.example", false},
		{"x%c.example@b.example", true},  // a local part; what it means is the Backend's business
		{"@c.example:x@b.example", true}, // a source route is ignored (RFC 5321 appendix C)
	}
	for access, where := range map[smtpserver.Access]string{smtpserver.Accept: "accept", smtpserver.Relay: "relay"} {
		t.Run(where, func(t *testing.T) {
			w := start(t, setup{policy: smtpserver.Policy{Access: access}, options: []gosmtp.Options{{Local: local}}})
			c := w.dial(t, false)
			c.say("MAIL FROM:<a@a.example>", "250")
			for _, tt := range tests {
				want := "250"
				if !tt.local && access == smtpserver.Accept {
					want = "550 5.7.1 Relaying denied"
				}
				c.say("RCPT TO:<"+tt.to+">", want)
			}
		})
	}
	t.Run("everything without Local", func(t *testing.T) {
		w := start(t, setup{})
		c := w.dial(t, false)
		c.say("MAIL FROM:<a@a.example>", "250")
		c.say("RCPT TO:<x@c.example>", "250")
	})
}

func TestSize(t *testing.T) {
	const limit = 1000
	w := start(t, setup{policy: smtpserver.Policy{TLS: smtpserver.TLSPreferred, MaxMessageBytes: limit, MaxMessagesPerConn: 5}})
	exactly := strings.Repeat(strings.Repeat("x", 48)+"\r\n", 20)
	require.Len(t, exactly, limit)
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", secure), func(t *testing.T) {
			before := len(w.mail.messages())
			c := w.dial(t, secure)
			for range 10 {
				c.say("MAIL FROM:<a@a.example> SIZE=1001", "552 5.3.4") // does not count as a message
			}
			c.say("RCPT TO:<b@b.example>", "502")
			for _, tt := range []struct{ body, want string }{{exactly + "x\r\n", "552 5.3.4"}, {strings.Repeat(exactly, 300), "552 5.3.4"}, {exactly, "250"}} {
				c.say("MAIL FROM:<a@a.example> SIZE=1000", "250")
				c.say("RCPT TO:<b@b.example>", "250")
				c.say("DATA", "354")
				c.send(tt.body + ".\r\n")
				c.want(tt.want)
			}
			if secure { // in clear text there is no BDAT
				c.say("MAIL FROM:<a@a.example>", "250")
				c.say("RCPT TO:<b@b.example>", "250")
				c.send("BDAT 1000\r\n" + exactly)
				c.want("250")
				c.send("BDAT 1 LAST\r\nx")
				c.want("552 5.3.4")
				c.say("MAIL FROM:<a@a.example>", "250")
				c.say("RCPT TO:<b@b.example>", "250")
				c.send("BDAT 1000 LAST\r\n" + exactly)
				c.want("250")
				before++
			}
			c.say("QUIT", "221")
			require.Len(t, w.mail.messages(), before+1)
		})
	}
}
