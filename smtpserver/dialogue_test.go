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

// served is a filter with some server behind it.
type served struct {
	addr string
	// says turns the replies of go-smtp in a dialogue into those of this server.
	says *strings.Replacer
	seen func() []string // messages
}

// servers are those that a dialogue is held with.
var servers = map[string]func(t *testing.T, o Options) served{
	"go-smtp": func(t *testing.T, o Options) served {
		w := serve(t, o)
		return served{w.addr, strings.NewReplacer(), func() (seen []string) {
			w.backend.see(func() { seen = w.backend.messages })
			return seen
		}}
	},
	"naive": func(t *testing.T, o Options) served {
		hl, _ := filter(t, o)
		s := &naive{config: hl.TLSConfig()}
		s.serve(t, hl)
		return served{hl.Addr().String(), strings.NewReplacer(greeting, "220 naive.example ESMTP\r\n",
			ehloClear, "250-naive.example\r\n250-PIPELINING\r\n250 STARTTLS\r\n", ehloNoTLS, "250-naive.example\r\n250 PIPELINING\r\n",
			"250 2.0.0 Hello x\r\n", "250 ok\r\n", noop, "250 ok\r\n", mailOK, "250 ok\r\n", rcptOK, "250 ok\r\n", dataGo, "354 go\r\n", queued, "250 ok\r\n", bye, "221 bye\r\n"),
			func() []string { _, _, texts := s.seen(); return texts }}
	},
}

// TestReplyTable has each row of the reply table that a client can bring about in
// clear text, in one piece and octet by octet, with each server.
func TestReplyTable(t *testing.T) {
	delayed := Policy{Access: Reject, TLS: TLSPreferred, Reject: &Rejection{Delayed: true}}
	notReady := serverCert()
	notReady.ready = func() error { return errors.New("no certificate installed") }
	noCertificate := Policy{TLS: TLSRequired, Certificate: notReady}
	const (
		stays = iota
		closes
		closesWhole // only if the octets come in one piece
	)
	for _, c := range []struct {
		why    string
		policy Policy
		say    string
		want   string
		then   int
	}{
		{"STARTTLS, setting No", tlsNo, ehlo + "STARTTLS\r\n", ehloNoTLS + line(ReplyNoSTARTTLS), stays},
		{"before EHLO", tlsRequired, "STARTTLS\r\n", line(ReplySTARTTLSEarly), stays},
		{"HELO takes EHLO back", tlsPreferred, ehlo + "HELO x\r\nSTARTTLS\r\n", ehloClear + "250 2.0.0 Hello x\r\n" + line(ReplySTARTTLSEarly), stays},
		{"parameter", tlsRequired, ehlo + "STARTTLS x\r\n", ehloClear + line(ReplySTARTTLSParameter), stays},
		{"no certificate", noCertificate, ehlo + "STARTTLS\r\n" + mail, ehloNoTLS + line(ReplyNoCertificate) + tlsFirst, stays},
		{"octets behind STARTTLS", tlsPreferred, ehlo + "STARTTLS\r\nNOOP\r\n", ehloClear + line(ReplySTARTTLSInjection), closesWhole},
		{"an LF behind STARTTLS", tlsRequired, ehlo + "STARTTLS\r\n\n", ehloClear + line(ReplySTARTTLSInjection), closesWhole},
		{"530", tlsRequired, "RSET\r\n\r\n", tlsFirst + tlsFirst, stays},
		{"530 to all but four", tlsRequired, "HELO x\r\nVRFY x\r\nEXPN x\r\nHELP\r\nAUTH PLAIN AHUAcA==\r\nX\r\nN\tX\r\n", strings.Repeat(tlsFirst, 7), stays},
		{"malformed", tlsPreferred, "\r\n NOOP\r\nN\tX\r\n", strings.Repeat(line(ReplySyntax), 3), stays},
		{"NUL", tlsPreferred, "NO\x00OP\r\n", line(ReplySyntax), stays},
		{"NUL in an argument", tlsRequired, "EHLO x\x00\r\n", line(ReplySyntax), stays},
		{"STARTTLSX", tlsRequired, ehlo + "starttlsX\r\n", ehloClear + line(ReplySyntax), stays},
		{"line too long", tlsPreferred, "NOOP " + strings.Repeat("x", 2042) + "\r\n", line(ReplyTooLong), closes},
		{"line as long as allowed", tlsPreferred, "NOOP " + strings.Repeat("x", 1900) + "\r\n", noop, stays},
		{"line without end", tlsPreferred, strings.Repeat("x", 2048), line(ReplyTooLong), closes},
		{"AUTH too long", tlsPreferred, "AUTH PLAIN " + strings.Repeat("x", MaxAuthLine), line(ReplyTooLong), closes},
		{"AUTH of some length", tlsPreferred, "AUTH PLAIN " + strings.Repeat("x", 9000) + "\r\n", line(ReplyAuth), stays},
		{"bare LF", tlsPreferred, "NOOP\nNOOP\r\n", line(ReplyBareNewline), closes},
		{"bare CR", tlsPreferred, "NOOP\rNOOP\r\n", line(ReplyBareNewline), closes},
		{"two CR", tlsPreferred, "NOOP\r\r\n", line(ReplyBareNewline), closes},
		{"bare LF, required", tlsRequired, "MAIL FROM:<>\n", line(ReplyBareNewline), closes},
		{"bare LF behind STARTTLS", tlsRequired, ehlo + "STARTTLS\n", ehloClear + line(ReplyBareNewline), closes},
		{"ClientHello", tlsRequired, "\x16\x03\x01\x02\x00", line(ReplyClientHello), closes},
		{"ClientHello, setting No", tlsNo, ehlo + "\x16", ehloNoTLS + line(ReplyClientHello), closes},
		{"BDAT", tlsNo, "BDAT 3\r\nabc", line(ReplyBDAT), closes},
		{"BDAT, required", tlsRequired, "BDAT 3\r\n", tlsFirst, stays},
		{"AUTH", tlsNo, "AUTH PLAIN\r\n", line(ReplyAuth), stays},
		{"HTTP", tlsNo, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", line(ReplyHTTP), closes},
		{"HTTP, required", tlsRequired, "OPTIONS * HTTP/1.1\r\n", line(ReplyHTTP), closes},
		{"too many", tlsRequired, strings.Repeat("RSET\r\n", 12), strings.Repeat(tlsFirst, 10) + line(ReplyTooManyBad), closes},
		{"bare LF in data", tlsNo, ehlo + mail + rcpt + "DATA\r\na\n.\r\n", ehloNoTLS + mailOK + rcptOK + dataGo + line(ReplyBareNewline), closes},
		{"bare CR in data", tlsNo, ehlo + mail + rcpt + "DATA\r\na\r.\r\n", ehloNoTLS + mailOK + rcptOK + dataGo + line(ReplyBareNewline), closes},
		{"delayed rejection", delayed, ehlo + mail + rcpt + rcpt + "DATA\r\n", ehloNoTLS + mailOK + strings.Repeat("550 5.7.1 Access denied\r\n", 2) + line(ReplyBadSequence), stays},
		{"QUIT and what follows", tlsNo, "QUIT\r\nNOOP\r\n", bye, closes},
	} {
		for name, start := range servers {
			for _, whole := range []bool{true, false} {
				if !whole && c.then == closesWhole {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/whole %t", c.why, name, whole), func(t *testing.T) {
					t.Parallel()
					s := start(t, forAll(t, c.policy))
					p := dial(t, s.addr)
					p.want(s.says.Replace(greeting))
					if whole {
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
					p.want(s.says.Replace(c.want))
					if c.then != stays {
						p.wantEnd()
					} else {
						p.say("NOOP\r\n", s.says.Replace(noop))
					}
					require.Empty(t, s.seen())
				})
			}
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

// TestOctetByOctet: a client that sends one octet at a time gets the same replies and
// has the same message delivered, in clear text and inside TLS.
func TestOctetByOctet(t *testing.T) {
	text := "Subject: x\r\n\r\n..dot\r\n" + strings.Repeat("y", 100) + "\r\n.\r\n"
	for _, secure := range []bool{false, true} {
		w := serve(t, forAll(t, tlsPreferred))
		p, offered := w.dial(), ehloClear
		if secure {
			p, _ = p.starttls(clientTLS())
			offered = ehloInTLS
		} else {
			p.want(greeting)
		}
		for _, turn := range [][2]string{{ehlo, offered}, {mail, mailOK}, {rcpt, rcptOK}, {"DATA\r\n", dataGo}, {text, queued}, {"QUIT\r\n", bye}} {
			for i := range len(turn[0]) {
				p.send(turn[0][i : i+1])
			}
			p.want(turn[1])
		}
		p.wantEnd()
		w.backend.see(func() {
			require.Equal(t, []string{"Subject: x\r\n\r\n.dot\r\n" + strings.Repeat("y", 100) + "\r\n"}, w.backend.messages)
		})
	}
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
