package smtpserver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	tlsNo        = Policy{TLS: TLSNo}
	tlsPreferred = Policy{TLS: TLSPreferred}
	tlsRequired  = Policy{TLS: TLSRequired}
)

func TestDialogueNo(t *testing.T) {
	w := serve(t, forAll(t, tlsNo))
	p := w.dial()
	p.want(greeting)
	p.say(ehlo, ehloNoTLS)
	p.say("STARTTLS\r\n", line(ReplyNoSTARTTLS))
	p.say(mail+rcpt+"DATA\r\n", mailOK+rcptOK+dataGo)
	p.say("Subject: x\r\n\r\nSTARTTLS\r\n..\r\n.\r\nNOOP\r\nQUIT\r\n", queued+noop+bye)
	p.wantEnd()
	w.events.wait(t, KindClosed, 1)
	require.Equal(t, []string{"Subject: x\r\n\r\nSTARTTLS\r\n.\r\n"}, w.backend.messages)
	require.Equal(t, []bool{false}, w.backend.relays)

	p = w.dial()
	p.want(greeting)
	p.say("\x16", line(ReplyClientHello))
	p.wantEnd()
}

func TestDialoguePreferred(t *testing.T) {
	w := serve(t, forAll(t, tlsPreferred))
	p := w.dial()
	p.want(greeting)
	p.say("STARTTLS\r\n", line(ReplySTARTTLSEarly))
	p.say(ehlo, ehloClear)
	p.say("STARTTLS now\r\n", line(ReplySTARTTLSParameter))
	p.say("STARTTLSX\r\n", line(ReplySyntax))
	p.say("AUTH PLAIN AHUAcA==\r\n", line(ReplyAuth))
	p.say(mail+rcpt+"DATA\r\n", mailOK+rcptOK+dataGo)
	p.say(".\r\n", queued)
	p.say("BDAT 5\r\n", line(ReplyBDAT))
	p.wantEnd()
	require.Equal(t, []string{""}, w.backend.messages)

	in, conn := w.dial().starttls(clientTLS())
	in.say(ehlo, ehloInTLS)
	require.Equal(t, uint16(tls.VersionTLS13), conn.ConnectionState().Version)
	in.say("STARTTLS\r\n", "502 5.5.1 Already running in TLS\r\n")
	in.say(mail+rcpt+"BDAT 4 LAST\r\nabcd", mailOK+rcptOK+"250 2.0.0 OK: queued\r\n")
	in.say("QUIT\r\n", bye)
	e := w.events.wait(t, KindTLSEstablished, 1)
	require.Equal(t, uint16(tls.VersionTLS13), e.TLSVersion)
	require.Equal(t, "mx.example.com", e.ServerName)
	require.Equal(t, "everybody", e.Group)
	w.events.wait(t, KindClosed, 2)
	require.Equal(t, 1, w.backend.tls)
	require.Empty(t, w.events.of(KindTLSFailed))
	require.Empty(t, w.events.of(KindTLSRequiredUnmet))
}

func TestDialogueRequired(t *testing.T) {
	w := serve(t, forAll(t, Policy{TLS: TLSRequired, AuthInClear: On, Access: Relay}))
	p := w.dial()
	p.want(greeting)
	p.say("HELO client.example\r\n", tlsFirst)
	p.say("NOOP\r\n", noop)
	p.say(ehlo, ehloClear)
	p.say("AUTH PLAIN AHUAcA==\r\n", tlsFirst)
	p.say(mail+rcpt+"DATA\r\nhello\r\n.\r\nQUIT\r\n", strings.Repeat(tlsFirst, 5)+bye)
	p.wantEnd()
	e := w.events.wait(t, KindTLSRequiredUnmet, 1)
	require.Equal(t, ReasonNeverTried, e.Reason)
	w.backend.see(func() { require.Empty(t, w.backend.mails) })

	in, _ := w.dial().starttls(clientTLS())
	in.say(ehlo, ehloInTLS)
	in.say(mail+rcpt+"DATA\r\n", mailOK+rcptOK+dataGo)
	in.say("x\r\n.\r\nQUIT\r\n", queued+bye)
	w.events.wait(t, KindClosed, 2)
	require.Equal(t, []string{"x\r\n"}, w.backend.messages)
	require.Equal(t, []bool{true}, w.backend.relays)
	require.Len(t, w.events.of(KindTLSRequiredUnmet), 1)
	require.Empty(t, w.events.of(KindTLSFailed))
}

// TestReplyTable has each row of the reply table that a client can bring about in
// clear text, sent octet by octet and in one piece.
func TestReplyTable(t *testing.T) {
	begin := greeting
	for _, c := range []struct {
		why    string
		policy Policy
		say    string
		want   string
		closed bool
	}{
		{"STARTTLS, setting No", tlsNo, ehlo + "STARTTLS\r\n", ehloNoTLS + line(ReplyNoSTARTTLS), false},
		{"before EHLO", tlsRequired, "STARTTLS\r\n", line(ReplySTARTTLSEarly), false},
		{"parameter", tlsRequired, ehlo + "STARTTLS x\r\n", ehloClear + line(ReplySTARTTLSParameter), false},
		{"530", tlsRequired, "RSET\r\n\r\n", tlsFirst + tlsFirst, false},
		{"malformed", tlsPreferred, "\r\n NOOP\r\nN\tX\r\n", strings.Repeat(line(ReplySyntax), 3), false},
		{"NUL", tlsPreferred, "NO\x00OP\r\n", line(ReplySyntax), false},
		{"line too long", tlsPreferred, "NOOP " + strings.Repeat("x", 2042) + "\r\n", line(ReplyTooLong), true},
		{"line as long as allowed", tlsPreferred, "NOOP " + strings.Repeat("x", 1900) + "\r\n", noop, false},
		{"line without end", tlsPreferred, strings.Repeat("x", 2048), line(ReplyTooLong), true},
		{"AUTH too long", tlsPreferred, "AUTH PLAIN " + strings.Repeat("x", MaxAuthLine), line(ReplyTooLong), true},
		{"AUTH of some length", tlsPreferred, "AUTH PLAIN " + strings.Repeat("x", 9000) + "\r\n", line(ReplyAuth), false},
		{"bare LF", tlsPreferred, "NOOP\nNOOP\r\n", line(ReplyBareNewline), true},
		{"bare CR", tlsPreferred, "NOOP\rNOOP\r\n", line(ReplyBareNewline), true},
		{"bare LF, required", tlsRequired, "MAIL FROM:<>\n", line(ReplyBareNewline), true},
		{"ClientHello", tlsRequired, "\x16\x03\x01\x02\x00", line(ReplyClientHello), true},
		{"BDAT", tlsNo, "BDAT 3\r\nabc", line(ReplyBDAT), true},
		{"BDAT, required", tlsRequired, "BDAT 3\r\n", tlsFirst, false},
		{"AUTH", tlsNo, "AUTH PLAIN\r\n", line(ReplyAuth), false},
		{"HTTP", tlsNo, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", line(ReplyHTTP), true},
		{"too many", tlsRequired, strings.Repeat("RSET\r\n", 12), strings.Repeat(tlsFirst, 10) + line(ReplyTooManyBad), true},
		{"bare LF in data", tlsNo, ehlo + mail + rcpt + "DATA\r\na\n.\r\n", ehloNoTLS + mailOK + rcptOK + dataGo + line(ReplyBareNewline), true},
		{"QUIT and what follows", tlsNo, "QUIT\r\nNOOP\r\n", bye, true},
	} {
		for _, pieces := range []int{1, 0} {
			t.Run(fmt.Sprintf("%s/%d", c.why, pieces), func(t *testing.T) {
				t.Parallel()
				w := serve(t, forAll(t, c.policy))
				p := w.dial()
				p.want(begin)
				if pieces == 1 {
					p.send(c.say)
				} else {
					go func() { // the connection may end before all has been said
						for i := range len(c.say) {
							if _, err := p.Write([]byte{c.say[i]}); err != nil {
								return
							}
						}
					}()
				}
				p.want(c.want)
				if c.closed {
					rest := p.all()
					require.Empty(t, rest)
				} else {
					p.say("NOOP\r\n", noop)
				}
				w.backend.see(func() { require.Empty(t, w.backend.messages) })
			})
		}
	}
}

func TestNoCertificate(t *testing.T) {
	source := serverCert()
	source.ready = func() error { return errors.New("no certificate installed") }
	o := forAll(t, tlsRequired)
	o.Certificate = source
	w := serve(t, o)
	p := w.dial()
	p.want(greeting)
	p.say(ehlo, ehloNoTLS)
	p.say("STARTTLS\r\n", line(ReplyNoCertificate))
	p.say(mail, tlsFirst)
	p.say("QUIT\r\n", bye)
	p.wantEnd()
	e := w.events.wait(t, KindTLSRequiredUnmet, 1)
	require.Equal(t, ReasonRefused, e.Reason)
	require.Equal(t, ReplyNoCertificate, e.Reply)
	alert := w.events.wait(t, KindCertificateUnusable, 1)
	require.True(t, alert.Alert)
	require.Equal(t, ReasonNotReady, alert.Reason)
}

func TestAuthInClear(t *testing.T) {
	w := serve(t, forAll(t, Policy{TLS: TLSPreferred, AuthInClear: On}))
	p := w.dial()
	p.want(greeting)
	p.send(ehlo)
	require.Contains(t, p.ehloReply(), "AUTH PLAIN")
	p.say("AUTH PLAIN\r\n", "334 \r\n")
	p.say("AHUAcA==\r\nNOOP\r\n", "235 2.0.0 Authentication succeeded\r\n"+noop)

	p = w.dial()
	p.want(greeting)
	p.send(ehlo)
	p.ehloReply()
	p.say("AUTH PLAIN\r\n", "334 \r\n")
	p.say("\x16"+strings.Repeat("x", 1500)+"\r\n", "454 4.7.0 Invalid base64 data\r\n")
}

func TestBanner(t *testing.T) {
	w := serve(t, forAll(t, Policy{Banner: &Banner{Host: "other.example", Text: "hello"}}))
	w.dial().want("220 other.example hello\r\n")
	w = serve(t, forAll(t, Policy{Banner: &Banner{Text: "hello"}}))
	w.dial().want("220 mx.example.com hello\r\n")
	w = serve(t, forAll(t, Policy{Banner: &Banner{}}))
	w.dial().want("220 mx.example.com ESMTP\r\n")
}

// TestPipelining: commands that come together reach the server one by one, and
// their replies come back in order.
func TestPipelining(t *testing.T) {
	w := serve(t, forAll(t, tlsNo), nil...)
	p := w.dial()
	p.want(greeting)
	p.say(ehlo+mail+rcpt+rcpt+"DATA\r\n", ehloNoTLS+mailOK+rcptOK+rcptOK+dataGo)
	long := strings.Repeat(strings.Repeat("x", 76)+"\r\n", 2000)
	p.say(long+".\r\n"+mail+rcpt+"DATA\r\n", queued+mailOK+rcptOK+dataGo)
	p.say("second\r\n.\r\nQUIT\r\n", queued+bye)
	w.events.wait(t, KindClosed, 1)
	require.Equal(t, []string{long, "second\r\n"}, w.backend.messages)
}
