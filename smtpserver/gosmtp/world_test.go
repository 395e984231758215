package gosmtp_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/smtpsec/smtpsec/smtpserver"
	"github.com/smtpsec/smtpsec/smtpserver/gosmtp"
)

// patience bounds every wait of a test for the other side.
const patience = 20 * time.Second

// certificate is a smtpserver.CertificateSource of one certificate.
type certificate struct{ tls.Certificate }

func (c certificate) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return &c.Certificate, nil
}

var pki = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	root := testpki.NewRoot("gosmtp test")
	return root.Leaf([]string{"mail.example.com"}).TLS(), testpki.Pool(root)
})

// message is one that the Backend has delivered.
type message struct {
	from string
	to   []string
	data string
}

// mailbox is a Backend that writes down what reaches it.
type mailbox struct {
	heedless bool // delivers what it has read, whatever the reader says

	mu        sync.Mutex
	calls     []string
	delivered []message
}

func (m *mailbox) note(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, fmt.Sprintf(format, args...))
}

func (m *mailbox) heard() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls
}

func (m *mailbox) messages() []message {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.delivered
}

func (m *mailbox) NewSession(*smtp.Conn) (smtp.Session, error) {
	m.note("session")
	return &box{mailbox: m}, nil
}

// box is a session of a mailbox.
type box struct {
	mailbox *mailbox
	mu      sync.Mutex // with BDAT, Data runs beside Reset
	now     message
}

func (b *box) Mail(from string, _ *smtp.MailOptions) error {
	b.mailbox.note("MAIL %s", from)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now.from = from
	return nil
}

func (b *box) Rcpt(to string, _ *smtp.RcptOptions) error {
	b.mailbox.note("RCPT %s", to)
	if strings.HasPrefix(to, "nobody@") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "No such user"}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now.to = append(b.now.to, to)
	return nil
}

func (b *box) Data(r io.Reader) error {
	b.mu.Lock()
	m := b.now
	b.mu.Unlock()
	data, err := io.ReadAll(r)
	if err != nil && !b.mailbox.heedless {
		return err
	}
	if err != nil {
		return nil
	}
	m.data = string(data)
	b.mailbox.mu.Lock()
	defer b.mailbox.mu.Unlock()
	b.mailbox.delivered = append(b.mailbox.delivered, m)
	return nil
}

func (b *box) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = message{}
}

func (b *box) Logout() error { return nil }

// authBox is a box with AUTH PLAIN.
type authBox struct{ *box }

func (authBox) AuthMechanisms() []string { return []string{sasl.Plain} }

func (b authBox) Auth(string) (sasl.Server, error) {
	b.mailbox.note("AUTH")
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "user" || password != "secret" {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}

// lmtpBox is a box that refuses recipients one by one.
type lmtpBox struct{ *box }

func (b lmtpBox) LMTPData(r io.Reader, status smtp.StatusCollector) error {
	b.mu.Lock()
	to := b.now.to
	b.mu.Unlock()
	for _, to := range to {
		if strings.HasPrefix(to, "full@") {
			status.SetStatus(to, &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 2, 2}, Message: "Mailbox full"})
		} else {
			status.SetStatus(to, nil)
		}
	}
	return b.Data(r)
}

type bothBox struct {
	*box
	auth authBox
	lmtp lmtpBox
}

func (b bothBox) AuthMechanisms() []string              { return b.auth.AuthMechanisms() }
func (b bothBox) Auth(mech string) (sasl.Server, error) { return b.auth.Auth(mech) }
func (b bothBox) LMTPData(r io.Reader, status smtp.StatusCollector) error {
	return b.lmtp.LMTPData(r, status)
}

// world is a server behind a host access table.
type world struct {
	addr     string
	mail     *mailbox
	listener *smtpserver.Listener
}

// setup is what a world is made of; everything may stay zero but the policy's
// access, which is Accept then.
type setup struct {
	policy   smtpserver.Policy
	listener smtpserver.Options
	options  []gosmtp.Options
	server   func(*smtp.Server)
	mail     *mailbox
	backend  smtp.Backend                    // nil: mail
	above    func(net.Listener) net.Listener // between the filter and the server
}

func start(t *testing.T, s setup) *world {
	t.Helper()
	if s.policy.Access == smtpserver.AccessInherit {
		s.policy.Access = smtpserver.Accept
	}
	table, err := smtpserver.Compile([]smtpserver.SenderGroup{{Name: "ALL", Senders: []string{"ALL"}, Policy: s.policy}}, smtpserver.Policy{})
	require.NoError(t, err)
	cert, _ := pki()
	s.listener.Table = table
	s.listener.Certificate = certificate{cert}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	hl, err := smtpserver.NewListener(tcp, s.listener)
	require.NoError(t, err)
	if s.mail == nil {
		s.mail = &mailbox{}
	}
	if s.backend == nil {
		s.backend = s.mail
	}
	srv := smtp.NewServer(s.backend)
	srv.Domain = "mail.example.com"
	srv.EnableBINARYMIME = true
	srv.ErrorLog = log.New(io.Discard, "", 0)
	if s.server != nil {
		s.server(srv)
	}
	require.NoError(t, gosmtp.Attach(srv, hl, s.options...))
	var ln net.Listener = hl
	if s.above != nil {
		ln = s.above(ln)
	}
	if s.listener.ImplicitTLS {
		ln = tls.NewListener(ln, hl.TLSConfig())
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	t.Cleanup(func() {
		_ = srv.Close()
		select {
		case <-done:
		case <-time.After(patience):
			t.Error("the server does not stop")
		}
	})
	return &world{addr: tcp.Addr().String(), mail: s.mail, listener: hl}
}

func clientConfig() *tls.Config {
	_, pool := pki()
	return &tls.Config{RootCAs: pool, ServerName: "mail.example.com"}
}

// client is a go-smtp client, inside TLS or not.
func (w *world) client(t *testing.T, secure bool) *smtp.Client {
	t.Helper()
	var c *smtp.Client
	var err error
	if secure {
		c, err = smtp.DialStartTLS(w.addr, clientConfig())
	} else {
		c, err = smtp.Dial(w.addr)
	}
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// raw is a client that says exactly what it is told to.
type raw struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func newRaw(t *testing.T, conn net.Conn) *raw {
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return &raw{t, conn, bufio.NewReader(conn)}
}

// dial connects, and says EHLO; with secure it does so inside TLS.
func (w *world) dial(t *testing.T, secure bool) *raw {
	t.Helper()
	conn, err := net.Dial("tcp", w.addr)
	require.NoError(t, err)
	c := newRaw(t, conn)
	c.want("220")
	c.say("EHLO client.example", "250")
	if secure {
		c.startTLS()
		c.say("EHLO client.example", "250")
	}
	return c
}

func (c *raw) startTLS() {
	c.t.Helper()
	c.say("STARTTLS", "220")
	conn := tls.Client(c.conn, clientConfig())
	require.NoError(c.t, conn.Handshake())
	c.conn, c.r = conn, bufio.NewReader(conn)
}

// send writes octets as they are.
func (c *raw) send(octets string) {
	c.t.Helper()
	_, err := io.WriteString(c.conn, octets)
	require.NoError(c.t, err)
}

// want reads a reply and compares its beginning. It returns all of it.
func (c *raw) want(prefix string) string {
	c.t.Helper()
	var reply strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		require.NoError(c.t, err, "waiting for %s, have %q", prefix, reply.String()+line)
		reply.WriteString(line)
		if len(line) < 4 || line[3] != '-' {
			require.Equal(c.t, prefix, line[:min(len(prefix), len(line))], "in %q", line)
			return reply.String()
		}
	}
}

func (c *raw) say(line, prefix string) string {
	c.t.Helper()
	c.send(line + "\r\n")
	return c.want(prefix)
}

// wantEnd checks that the server closes and says nothing more.
func (c *raw) wantEnd() {
	c.t.Helper()
	rest, err := io.ReadAll(c.r)
	require.Empty(c.t, string(rest))
	if err != nil {
		var timeout net.Error
		require.False(c.t, errors.As(err, &timeout) && timeout.Timeout(), "the server does not close")
	}
}

// refusal returns the code and enhanced code of an error of the go-smtp client.
func refusal(t *testing.T, err error) string {
	t.Helper()
	var reply *smtp.SMTPError
	require.ErrorAs(t, err, &reply)
	return fmt.Sprintf("%d %d.%d.%d", reply.Code, reply.EnhancedCode[0], reply.EnhancedCode[1], reply.EnhancedCode[2])
}
