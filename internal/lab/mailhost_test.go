package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/smtp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMailboxIsExact sends octets behind DATA and looks at what was kept.
func TestMailboxIsExact(t *testing.T) {
	l, h := startHost(t, Host{})
	for _, test := range []struct{ name, wire, kept string }{
		{"ordinary", "Subject: a\r\n\r\nb\r\n.\r\n", "Subject: a\r\n\r\nb\r\n"},
		{"empty", ".\r\n", ""},
		{"dots are unstuffed once", "..\r\n...b\r\na..\r\n.\r\n", ".\r\n..b\r\na..\r\n"},
		{"8-bit, not even UTF-8", "\xff\xfe\x00\xe4\r\n.\r\n", "\xff\xfe\x00\xe4\r\n"},
		{"commands and replies are text here", "QUIT\r\nSTARTTLS\r\n354 go\r\n.\r\n", "QUIT\r\nSTARTTLS\r\n354 go\r\n"},
		{"bare LF and bare CR stay", "a\nb\rc\r\n.\r\n", "a\nb\rc\r\n"},
		{"a line longer than any buffer", strings.Repeat("x", 20000) + "\r\n.\r\n", strings.Repeat("x", 20000) + "\r\n"},
		{"many lines", strings.Repeat("a line\r\n", 50000) + ".\r\n", strings.Repeat("a line\r\n", 50000)},
	} {
		t.Run(test.name, func(t *testing.T) {
			h.Forget()
			c := dial(t, l, h.Name())
			c.hello()
			c.say("MAIL FROM:<from@client.test> BODY=8BITMIME")
			c.want(250)
			c.say("RCPT TO:<to@partner.example>")
			c.want(250)
			c.say("DATA")
			c.want(354)
			_, err := c.Write([]byte(test.wire))
			require.NoError(t, err)
			c.want(250)
			c.say("NOOP") // in step again
			c.want(250)
			box := h.Mailbox()
			require.Len(t, box, 1)
			require.Equal(t, test.kept, string(box[0].Data))
			require.Equal(t, []string{"EHLO client.test", "MAIL FROM:<from@client.test> BODY=8BITMIME",
				"RCPT TO:<to@partner.example>", "DATA", "NOOP"}, h.Connections()[0].Clear)
		})
	}
}

// A whole session with net/smtp, over TLS with a certificate that verifies.
func TestNetSMTP(t *testing.T) {
	l, h := startHost(t, Host{})
	conn, err := l.DialContext(context.Background(), "tcp", h.Addrs()[0].String()+":25")
	require.NoError(t, err)
	require.Equal(t, h.Addrs()[0].String()+":25", conn.RemoteAddr().String())
	c, err := smtp.NewClient(conn, h.Name())
	require.NoError(t, err)
	require.NoError(t, c.Hello("mta.client.test"))
	require.NoError(t, c.StartTLS(&tls.Config{ServerName: h.Name(), RootCAs: l.Roots()}))
	require.NoError(t, c.Mail("from@client.test"))
	require.NoError(t, c.Rcpt("one@partner.example"))
	require.NoError(t, c.Rcpt("two@other.example"))
	w, err := c.Data()
	require.NoError(t, err)
	_, err = w.Write([]byte("Subject: x\r\n\r\n.dot\r\n"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, c.Quit())

	connections := idle(t, h)
	require.Len(t, connections, 1)
	seen := connections[0]
	require.Equal(t, []string{"EHLO mta.client.test", "STARTTLS"}, seen.Clear)
	require.Equal(t, "EHLO mta.client.test\r\nSTARTTLS\r\n", string(seen.Octets))
	require.Equal(t, []string{"EHLO mta.client.test", "MAIL FROM:<from@client.test> BODY=8BITMIME SMTPUTF8",
		"RCPT TO:<one@partner.example>", "RCPT TO:<two@other.example>", "DATA", "QUIT"}, seen.Inside)
	require.Equal(t, h.Name(), seen.SNI)
	require.Equal(t, uint16(tls.VersionTLS13), seen.TLS.Version)
	require.NoError(t, seen.HandshakeErr)

	box := h.Mailbox()
	require.Len(t, box, 1)
	m := box[0]
	require.NotNil(t, m.TLS)
	require.False(t, m.At.IsZero())
	m.TLS, m.At = nil, seen.At
	require.Equal(t, Message{Host: h.Name(), At: seen.At, Helo: "mta.client.test", From: "from@client.test",
		To: []string{"one@partner.example", "two@other.example"}, Data: []byte("Subject: x\r\n\r\n.dot\r\n")}, m)
}

// Everything said before the handshake is void behind it (RFC 3207 section 4.2).
func TestNothingSurvivesSTARTTLS(t *testing.T) {
	l, h := startHost(t, Host{})
	c := dial(t, l, h.Name())
	c.hello()
	c.say("MAIL FROM:<a@client.test>")
	c.want(250)
	// A command behind STARTTLS in the same segment must not be obeyed inside.
	_, err := c.Write([]byte("STARTTLS\r\nRCPT TO:<injected@partner.example>\r\n"))
	require.NoError(t, err)
	c.want(220)
	_, err = c.handshake(nil)
	require.NoError(t, err)
	c.say("RCPT TO:<b@partner.example>")
	c.want(503)
	c.say("EHLO client.test")
	c.want(250)
	c.say("RCPT TO:<b@partner.example>")
	c.want(502)
	c.say("STARTTLS")
	c.want(503)
	c.say("BDAT 3 LAST")
	c.want(502)
	require.Equal(t, []string{"RCPT TO:<b@partner.example>", "EHLO client.test", "RCPT TO:<b@partner.example>", "STARTTLS", "BDAT 3 LAST"},
		h.Connections()[0].Inside)
}

func TestKeywords(t *testing.T) {
	l, h := startHost(t, Host{ClearKeywords: []string{"REQUIRETLS", "ONLY-IN-CLEAR x"}, TLSKeywords: []string{"ONLY-INSIDE"}})
	c := dial(t, l, h.Name())
	clear := c.hello()
	require.Contains(t, clear, "REQUIRETLS")
	require.Contains(t, clear, "ONLY-IN-CLEAR x\r\n")
	require.NotContains(t, clear, "ONLY-INSIDE")
	require.NotContains(t, clear, "CHUNKING")
	_, err := c.startTLS(nil)
	require.NoError(t, err)
	c.say("EHLO client.test")
	inside := c.want(250)
	require.NotContains(t, inside, "REQUIRETLS")
	require.NotContains(t, inside, "ONLY-IN-CLEAR")
	require.Contains(t, inside, "250 ONLY-INSIDE\r\n")
	c.say("MAIL FROM:<a@client.test> REQUIRETLS")
	c.want(250)
	c.say("RCPT TO:<b@partner.example>")
	c.want(250)
	c.say("DATA")
	c.want(354)
	c.say(".")
	c.want(250)
	require.True(t, h.Mailbox()[0].RequireTLS)
}

func TestTLSVersions(t *testing.T) {
	for _, test := range []struct {
		name           string
		host           TLS
		client         uint16 // lowest version that the client speaks
		version        uint16
		clientProblem  string
		serverComplain bool
	}{
		{"default", TLS{}, tls.VersionTLS12, tls.VersionTLS13, "", false},
		{"1.2 only", TLS{Max: tls.VersionTLS12}, tls.VersionTLS12, tls.VersionTLS12, "", false},
		{"1.0 only, old client", TLS10Only(), tls.VersionTLS10, tls.VersionTLS10, "", false},
		{"1.0 only, modern client", TLS10Only(), tls.VersionTLS12, 0, "protocol version", true},
		{"no common suite", NoCommonSuite(), tls.VersionTLS10, 0, "handshake failure", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, h := startHost(t, Host{TLS: test.host})
			c := dial(t, l, h.Name())
			c.hello()
			state, err := c.startTLS(&tls.Config{InsecureSkipVerify: true, MinVersion: test.client, ServerName: "sni.example"})
			if test.clientProblem == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.clientProblem)
			}
			require.Equal(t, test.version, state.Version)
			c.Close()
			seen := idle(t, h)[0]
			require.True(t, seen.Hello)
			require.Equal(t, "sni.example", seen.SNI)
			require.Equal(t, test.serverComplain, seen.HandshakeErr != nil)
			require.Equal(t, test.serverComplain, seen.TLS == nil)
		})
	}
}

func TestClientCertificate(t *testing.T) {
	_, presented, err := newAuthority().issue(Cert{}, "client.test")
	require.NoError(t, err)
	for _, test := range []struct {
		name     string
		wanted   ClientAuth
		version  uint16
		asked    bool
		refusals int // 0 none, 1 in the handshake, 2 with the first read
	}{
		{"not asked for", NoClientCert, tls.VersionTLS13, false, 0},
		{"asked for", RequestClientCert, tls.VersionTLS13, true, 0},
		{"refused in TLS 1.2", RefuseClientCert, tls.VersionTLS12, true, 1},
		{"refused in TLS 1.3", RefuseClientCert, tls.VersionTLS13, true, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, h := startHost(t, Host{TLS: TLS{ClientAuth: test.wanted}})
			c := dial(t, l, h.Name())
			c.hello()
			asked := false
			_, err := c.startTLS(&tls.Config{InsecureSkipVerify: true, MaxVersion: test.version,
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					asked = true
					return &presented, nil
				}})
			require.Equal(t, test.asked, asked)
			if test.refusals == 1 {
				require.ErrorContains(t, err, "bad certificate")
				return
			}
			require.NoError(t, err)
			c.Write([]byte("EHLO client.test\r\n"))
			_, err = c.reply()
			if test.refusals == 2 {
				require.ErrorContains(t, err, "bad certificate")
				return
			}
			require.NoError(t, err)
			if test.asked {
				require.Equal(t, presented.Certificate[0], h.Connections()[0].TLS.PeerCertificates[0].Raw)
			}
		})
	}
}

// Sessions can be resumed, so that clients which should not do so can be caught.
func TestResumption(t *testing.T) {
	l, h := startHost(t, Host{})
	config := &tls.Config{InsecureSkipVerify: true, ServerName: h.Name(), ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for _, resumed := range []bool{false, true} {
		c := dial(t, l, h.Name())
		c.hello()
		state, err := c.startTLS(config)
		require.NoError(t, err)
		require.Equal(t, resumed, state.DidResume)
		c.say("EHLO client.test")
		c.want(250) // tickets come with the first read
		require.Equal(t, resumed, h.Connections()[len(h.Connections())-1].TLS.DidResume)
	}
}

func TestCertificates(t *testing.T) {
	const host, domain = "mx.partner.example", "partner.example"
	for _, test := range []struct {
		cert  Cert
		name  string
		check func(*testing.T, error)
	}{
		{Cert{}, host, func(t *testing.T, err error) { require.NoError(t, err) }},
		{Cert{Names: []string{domain, "*.wild.example"}}, "a.wild.example", func(t *testing.T, err error) { require.NoError(t, err) }},
		{Cert{Names: []string{domain}}, host, isHostname},
		{Cert{Names: []string{}, CommonName: host}, host, isHostname}, // no dNSName, and a common name is none
		{Cert{Kind: CertWrongName}, host, isHostname},
		{Cert{Kind: CertExpired}, host, isExpired},
		{Cert{Kind: CertNotYetValid}, host, isExpired},
		{Cert{Kind: CertSelfSigned}, host, isUnknownAuthority},
		{Cert{Kind: CertUnknownCA}, host, isUnknownAuthority},
		{Cert{Kind: CertNoIntermediate}, host, isUnknownAuthority},
		{Cert{Kind: CertSHA1}, host, isUnknownAuthority},
		{Cert{Kind: CertClientOnly}, host, func(t *testing.T, err error) {
			var invalid x509.CertificateInvalidError
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, x509.IncompatibleUsage, invalid.Reason)
		}},
		{Cert{Kind: CertHuge}, host, func(t *testing.T, err error) { require.ErrorContains(t, err, "exceeds maximum") }},
	} {
		t.Run(test.cert.Kind.String(), func(t *testing.T) {
			l, h := startHost(t, Host{Cert: test.cert})
			c := dial(t, l, h.Name())
			c.hello()
			_, err := c.startTLS(&tls.Config{RootCAs: l.Roots(), ServerName: test.name})
			test.check(t, err)
			if test.cert.Kind == CertExpired || test.cert.Kind == CertNotYetValid {
				onlyDates(t, l, h)
			}
		})
	}
	_, err := Start(World{Domains: []Domain{{Name: domain, Hosts: []Host{{Name: host, Cert: Cert{Kind: 99}}}}}})
	require.ErrorContains(t, err, "certificate kind 99")
}

func isHostname(t *testing.T, err error) {
	var wrong x509.HostnameError
	require.ErrorAs(t, err, &wrong)
}

func isUnknownAuthority(t *testing.T, err error) {
	var unknown x509.UnknownAuthorityError
	require.ErrorAs(t, err, &unknown)
}

func isExpired(t *testing.T, err error) {
	var invalid x509.CertificateInvalidError
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, x509.Expired, invalid.Reason)
}

// onlyDates checks that the chain verifies at a moment inside the leaf's dates.
func onlyDates(t *testing.T, l *Lab, h *MailHost) {
	t.Helper()
	inter := x509.NewCertPool()
	inter.AddCert(l.authority.inter.Cert)
	leaf := h.Certificate()
	_, err := leaf.Verify(x509.VerifyOptions{Roots: l.Roots(), Intermediates: inter, DNSName: h.Name(), CurrentTime: leaf.NotBefore.AddDate(0, 0, 1)})
	require.NoError(t, err)
}

func TestSetCert(t *testing.T) {
	l, h := startHost(t, Host{})
	before := h.Certificate()
	require.NoError(t, h.SetCert(Cert{Kind: CertSelfSigned}))
	c := dial(t, l, h.Name())
	c.hello()
	state, err := c.startTLS(nil)
	require.NoError(t, err)
	require.Equal(t, h.Certificate().Raw, state.PeerCertificates[0].Raw)
	require.NotEqual(t, before.PublicKey, h.Certificate().PublicKey)
	require.Error(t, h.SetCert(Cert{Kind: 99}))
}

// What is remembered of a connection is bounded.
func TestRecordIsBounded(t *testing.T) {
	l, h := startHost(t, Host{})
	c := dial(t, l, h.Name())
	c.hello()
	line := "NOOP " + strings.Repeat("x", 1000)
	for range maxCommands {
		c.say(line)
		c.want(250)
	}
	seen := h.Connections()[0]
	require.Len(t, seen.Clear, maxCommands)
	require.Len(t, seen.Clear[1], maxCommand)
	require.Len(t, seen.Octets, maxOctets)
}

func TestIdleEndsWithContext(t *testing.T) {
	l, h := startHost(t, Host{})
	dial(t, l, h.Name()).hello()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, h.Idle(ctx), context.Canceled)
}

// Many clients at once: each message arrives once, whole.
func TestManyClients(t *testing.T) {
	const clients = 50
	l, h := startHost(t, Host{Fault: ResetAt(AtGreeting), Later: []Fault{{}}})
	dialed, err := l.DialContext(context.Background(), "tcp", "mx.partner.example:25")
	require.NoError(t, err)
	defer dialed.Close()
	errs := make(chan error, clients)
	want := map[string]bool{}
	for i := range clients {
		body := strings.Repeat(string(rune('A'+i)), 1000) + "\r\n"
		want[body] = true
		go func() {
			conn, err := l.DialContext(context.Background(), "tcp", "mx.partner.example:25")
			if err != nil {
				errs <- err
				return
			}
			defer conn.Close()
			c, err := smtp.NewClient(conn, h.Name())
			if err == nil {
				err = c.StartTLS(&tls.Config{ServerName: h.Name(), RootCAs: l.Roots()})
			}
			if err == nil {
				err = errors.Join(c.Mail("a@client.test"), c.Rcpt("b@partner.example"))
			}
			if err != nil {
				errs <- err
				return
			}
			w, err := c.Data()
			if err == nil {
				_, err = w.Write([]byte(body))
				err = errors.Join(err, w.Close(), c.Quit())
			}
			errs <- err
		}()
	}
	failed := 0
	for range clients {
		if err := <-errs; err != nil {
			failed++
		}
	}
	// The very first connection to be accepted was reset, whoever's it was.
	require.LessOrEqual(t, failed, 1)
	got := map[string]bool{}
	for _, m := range h.Mailbox() {
		got[string(m.Data)] = true
		require.True(t, want[string(m.Data)])
	}
	require.Len(t, h.Mailbox(), clients-failed)
	require.Len(t, got, clients-failed)
}
