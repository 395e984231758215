package smtpserver

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/testpki"
)

// clientHello returns the first record of a TLS client.
func clientHello(t testing.TB) []byte {
	t.Helper()
	near, far := net.Pipe()
	go tls.Client(near, clientTLS()).Handshake()
	defer near.Close()
	b := make([]byte, 4096)
	n, err := io.ReadAtLeast(far, b, recordHeader)
	require.NoError(t, err)
	n += must(io.ReadFull(far, b[n:recordHeader+int(b[3])<<8+int(b[4])]))
	return b[:n]
}

func must(n int, err error) int {
	if err != nil {
		panic(err)
	}
	return n
}

// underAttack serves with one server after another.
func underAttack(t *testing.T, p Policy, attack func(t *testing.T, addr string, heard *events), nothing func(t *testing.T, clear []string)) {
	t.Run("go-smtp", func(t *testing.T) {
		w := serve(t, forAll(t, p))
		attack(t, w.addr, w.events)
		w.backend.see(func() { nothing(t, append(w.backend.mails, w.backend.messages...)) })
	})
	for _, silent := range []bool{false, true} {
		t.Run(fmt.Sprintf("naive, silent %t", silent), func(t *testing.T) {
			hl, heard := filter(t, forAll(t, p))
			s := &naive{config: hl.TLSConfig(), silent: silent}
			s.serve(t, hl)
			attack(t, hl.Addr().String(), heard)
			clear, secret, texts := s.seen()
			clear = append(clear, append(secret, texts...)...)
			for i, line := range clear {
				if strings.HasPrefix(line, "EHLO") || line == "STARTTLS" {
					clear[i] = ""
				}
			}
			nothing(t, strings.Fields(strings.Join(clear, " ")))
		})
	}
}

// until reads up to the end of the reply to STARTTLS.
func (p *peer) until220() {
	p.t.Helper()
	line, err := p.in.ReadString('\n')
	require.NoError(p.t, err)
	require.True(p.t, strings.HasPrefix(line, "220 "), line)
	p.send(ehlo)
	require.Contains(p.t, p.ehloReply(), "STARTTLS")
	p.send("STARTTLS\r\n")
	line, err = p.in.ReadString('\n')
	require.NoError(p.t, err)
	require.True(p.t, strings.HasPrefix(line, "220 "), line)
}

const clearMail = mail + rcpt + "DATA\r\nsmuggled\r\n.\r\nQUIT\r\n"

// TestFailedHandshakeThenMail: whatever breaks a handshake, mail in clear text behind
// it reaches nobody.
func TestFailedHandshakeThenMail(t *testing.T) {
	hello := clientHello(t)
	foreign := bytes.Clone(hello) // a session that nobody can continue
	for i := 11; i < 43; i++ {
		foreign[i] = 0
	}
	truncated := []byte{0x16, 3, 1, 0, 4, 1, 0, 0, 0} // a ClientHello of no length
	alert := []byte{0x15, 3, 1, 0, 2, 2, 40}
	notify := []byte{0x15, 3, 1, 0, 2, 1, 0}
	hugeRecord := []byte{0x16, 3, 1, 0xff, 0xff}
	longLine := strings.Repeat("NOOP\r\n", 200) + clearMail
	long := append([]byte{0x17, 3, 3, byte(len(longLine) >> 8), byte(len(longLine))}, longLine...)
	longHello := append([]byte{0x16, 3, 1, byte(len(longLine) >> 8), byte(len(longLine))}, longLine...)
	inRecord := append([]byte{0x17, 3, 3, 0, byte(len(clearMail))}, clearMail...)
	for _, p := range []Policy{tlsPreferred, tlsRequired} {
		for _, c := range []struct {
			why     string
			octets  []byte
			reasons []Reason // which of them depends on how the octets come in
		}{
			{"mail at once", nil, []Reason{ReasonBadRecord}},
			{"an empty ClientHello", truncated, []Reason{ReasonServerAlert, ReasonBadRecord}},
			{"an alert", alert, []Reason{ReasonClientAlert}},
			{"close_notify", notify, []Reason{ReasonClientAlert}},
			{"behind a whole ClientHello", hello, []Reason{ReasonBadRecord}},
			{"a record too long", hugeRecord, []Reason{ReasonBadRecord}},
			{"behind another ClientHello", foreign, []Reason{ReasonBadRecord}},
			{"commands in a long record", long, []Reason{ReasonBadRecord}},
			{"commands in a long handshake record", longHello, []Reason{ReasonServerAlert, ReasonBadRecord}},
			{"mail in a record", inRecord, []Reason{ReasonBadRecord}},
		} {
			t.Run(fmt.Sprintf("%v/%s", p.TLS, c.why), func(t *testing.T) {
				for _, pause := range []bool{false, true} {
					underAttack(t, p, func(t *testing.T, addr string, heard *events) {
						client := dial(t, addr)
						client.until220()
						if pause {
							client.Write(c.octets)
							client.Write([]byte(clearMail))
						} else {
							client.Write(append(bytes.Clone(c.octets), clearMail...))
						}
						rest := client.all()
						require.NotRegexp(t, `(^|\n)[2-5][0-9][0-9][ -]`, rest, "no reply in clear text")
						e := heard.wait(t, KindTLSFailed, 1)
						require.Contains(t, c.reasons, e.Reason, "%v", e)
						heard.wait(t, KindClosed, 1)
					}, func(t *testing.T, seen []string) { require.Empty(t, seen) })
				}
			})
		}
	}
}

// TestInjection: octets behind STARTTLS, in every split of the stream, either get
// 554 or end in a failed handshake.
func TestInjection(t *testing.T) {
	stream := "STARTTLS\r\nMAIL FROM:<a@example.com>\r\n"
	for _, p := range []Policy{tlsPreferred, tlsRequired} {
		w := serve(t, forAll(t, p))
		for cut := 0; cut <= len(stream); cut++ {
			client := w.dial()
			client.want(greeting)
			client.say(ehlo, ehloClear)
			client.send(stream[:cut])
			if cut == len("STARTTLS\r\n") {
				client.want("220 2.0.0 Ready to start TLS\r\n")
			}
			client.Write([]byte(stream[cut:]))
			switch rest := client.all(); {
			case cut == len("STARTTLS\r\n"), strings.HasPrefix(rest, "220 "):
				require.NotContains(t, rest, "250")
				require.NotContains(t, rest, "550")
			default:
				require.Equal(t, line(ReplySTARTTLSInjection), rest, "cut at %d", cut)
			}
		}
		w.events.wait(t, KindInjection, 1)
		w.events.wait(t, KindClosed, len(stream)+1)
		w.backend.see(func() { require.Empty(t, w.backend.mails) })
	}
	w := serve(t, forAll(t, tlsPreferred))
	client := w.dial()
	client.want(greeting)
	client.say(ehlo, ehloClear)
	client.say("STARTTLS\r\n"+string(clientHello(t)), line(ReplySTARTTLSInjection))
	client.wantEnd()
}

// TestSmuggling: no form of a line end that is none completes a message, in any split
// of the stream.
func TestSmuggling(t *testing.T) {
	w := serve(t, forAll(t, tlsNo))
	n := 0
	for _, end := range []string{"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\r\n.\r\n", "\r\n.\r", "\r\n.\r\r\n", "\r.\r\n", "\r\n\x00.\r\n\n"} {
		text := "first" + end + mail + rcpt + "DATA\r\nsecond\r\n.\r\n"
		for cut := 0; cut <= len("first")+len(end)+2; cut++ {
			client := w.dial()
			client.want(greeting)
			client.say(ehlo+mail+rcpt+"DATA\r\n", ehloNoTLS+mailOK+rcptOK+dataGo)
			client.send(text[:cut])
			client.Write([]byte(text[cut:]))
			client.want(line(ReplyBareNewline))
			require.Empty(t, client.all())
			n++
		}
	}
	w.events.wait(t, KindClosed, n)
	require.Len(t, w.events.of(KindBareNewline), n)
	w.backend.see(func() { require.Empty(t, w.backend.messages) })
}

// TestSTARTTLSLastInPieces: the reply of the naive server is filtered although it
// comes three octets at a time with STARTTLS in the last line.
func TestSTARTTLSLastInPieces(t *testing.T) {
	for tlsSetting, want := range map[TLS]string{
		TLSNo:        "250-naive.example\r\n250 PIPELINING\r\n",
		TLSPreferred: "250-naive.example\r\n250-PIPELINING\r\n250 STARTTLS\r\n",
	} {
		hl, _ := filter(t, forAll(t, Policy{TLS: tlsSetting}))
		s := &naive{config: hl.TLSConfig()}
		s.serve(t, hl)
		client := dial(t, hl.Addr().String())
		client.want("220 naive.example ESMTP\r\n")
		client.say(ehlo, want)
		client.say("STARTTLSX\r\n", line(ReplySyntax))
		if tlsSetting == TLSPreferred {
			client.say("STARTTLS\r\n", "220 go ahead\r\n")
			in := newPeer(t, tls.Client(client.Conn, clientTLS()))
			in.say(ehlo, "250-naive.example\r\n250-PIPELINING\r\n250 OK\r\n")
			in.say("DATA\r\n", "354 go\r\n")
			in.say("x\n.\n", "250 ok\r\n") // what the filter cannot see
			in.say("QUIT\r\n", "221 bye\r\n")
		}
	}
}

func TestServerLacksSTARTTLS(t *testing.T) {
	hl, heard := filter(t, forAll(t, tlsRequired))
	_, b := goSMTP(t, hl, nil)
	p := dial(t, hl.Addr().String())
	p.want(greeting)
	p.say(ehlo, ehloNoTLS)
	p.say(ehlo, ehloNoTLS)
	p.say("STARTTLS\r\n", "502 5.5.1 TLS not supported\r\n")
	p.say(mail+"NOOP\r\nQUIT\r\n", tlsFirst+noop+bye)
	heard.wait(t, KindClosed, 1)
	lacks := heard.of(KindServerLacksSTARTTLS)
	require.Len(t, lacks, 1)
	require.True(t, lacks[0].Alert)
	b.see(func() { require.Empty(t, b.mails) })
}

// TestHandshakeReasons: why handshakes fail, as the log has it.
func TestHandshakeReasons(t *testing.T) {
	root := testpki.NewRoot("Client Root")
	auth := testpki.Template(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	good := root.Leaf([]string{"client.example"}, auth).TLS()
	foreign := testpki.NewRoot("Other").Leaf([]string{"client.example"}, auth).TLS()
	server := root.Leaf([]string{"client.example"}).TLS() // not for clients
	past := time.Now().Add(-time.Hour)
	expired := root.Leaf([]string{"client.example"}, auth, testpki.Valid(past.Add(-time.Hour), past)).TLS()
	asked := Policy{TLS: TLSRequired, ClientCert: ClientCertIfGiven, ClientCAs: testpki.Pool(root)}
	demanded := asked
	demanded.ClientCert = ClientCertRequired
	native := demanded
	native.NativeClientVerify = On
	with := func(cert tls.Certificate) func(*tls.Config) {
		return func(c *tls.Config) {
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
		}
	}
	none := func(*tls.Config) {}
	for _, c := range []struct {
		why    string
		policy Policy
		client func(*tls.Config)
		want   Reason // ReasonNone: it succeeds
		alert  int    // in TLS 1.2, where it can be seen
		chains int
	}{
		{"all is well", tlsRequired, none, ReasonNone, 0, 0},
		{"nobody asks", tlsRequired, with(foreign), ReasonNone, 0, 0},
		{"asked, none given", asked, none, ReasonNone, 0, 0},
		{"asked, given", asked, with(good), ReasonNone, 0, 1},
		{"asked, foreign", asked, with(foreign), ReasonClientCertRejected, 42, 0},
		{"demanded, none", demanded, none, ReasonClientCertMissing, 40, 0},
		{"demanded, given", demanded, with(good), ReasonNone, 0, 1},
		{"demanded, foreign", demanded, with(foreign), ReasonClientCertRejected, 42, 0},
		{"demanded, expired", demanded, with(expired), ReasonClientCertRejected, 42, 0},
		{"demanded, no client certificate", demanded, with(server), ReasonClientCertRejected, 42, 0},
		{"native, given", native, with(good), ReasonNone, 0, 1},
		{"native, none", native, none, ReasonClientCertMissing, 40, 0},
		{"the client does not trust us", tlsRequired, func(c *tls.Config) { c.RootCAs = testpki.Pool(root) }, ReasonClientAlert, 42, 0},
		{"no common version", tlsRequired, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, ReasonNoCommonVersion, 70, 0},
		{"no common cipher", Policy{TLS: TLSRequired, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}},
			func(c *tls.Config) {
				c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
			}, ReasonNoCommonCipher, 40, 0},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(c.why+" in "+tls.VersionName(version), func(t *testing.T) {
				w := serve(t, forAll(t, c.policy))
				config := clientTLS()
				config.MaxVersion = version
				c.client(config)
				p := w.dial()
				p.want(greeting)
				p.say(mail, tlsFirst)
				p.send(ehlo)
				p.ehloReply()
				p.say("STARTTLS\r\n", "220 2.0.0 Ready to start TLS\r\n")
				conn := tls.Client(p.Conn, config)
				in := newPeer(t, conn)
				err := conn.Handshake()
				if c.want == ReasonNone {
					require.NoError(t, err)
					in.say(ehlo, ehloInTLS)
					in.say("QUIT\r\n", bye)
					w.events.wait(t, KindClosed, 1)
					require.Empty(t, w.events.of(KindTLSRequiredUnmet), "530, then TLS")
					last := w.backend.conns[len(w.backend.conns)-1]
					require.Len(t, last.ClientChains(), c.chains)
					info, ok := last.TLS()
					require.True(t, ok)
					require.Equal(t, version, info.Version)
					return
				}
				if err == nil { // in TLS 1.3 the server speaks last
					_, err = in.in.ReadByte()
				}
				require.Error(t, err)
				p.Conn.Close()
				e := w.events.wait(t, KindTLSRequiredUnmet, 1)
				w.events.wait(t, KindClosed, 1)
				require.Equal(t, c.want, e.Reason, "%v", e.LogValue())
				if version == tls.VersionTLS12 {
					require.EqualValues(t, c.alert, e.TLSAlert)
				}
				require.Len(t, w.events.of(KindTLSRequiredUnmet), 1)
				require.Empty(t, w.events.of(KindTLSFailed))
				if c.want == ReasonClientCertRejected {
					require.Error(t, e.Err)
				}
			})
		}
	}
}

// TestClientCertAlerts: what a client without a certificate is told.
func TestClientCertAlerts(t *testing.T) {
	w := serve(t, forAll(t, Policy{TLS: TLSRequired, ClientCert: ClientCertRequired, ClientCAs: testpki.Pool(testRoot)}))
	for version, want := range map[uint16]string{tls.VersionTLS12: "handshake failure", tls.VersionTLS13: "certificate required"} {
		config := clientTLS()
		config.MaxVersion = version
		_, conn := w.dial().starttls(config)
		_, err := conn.Read(make([]byte, 1))
		require.ErrorContains(t, err, want)
	}
}
