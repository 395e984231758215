package smtpserver

import (
	"bufio"
	"crypto/tls"
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
)

// backend writes down what a go-smtp server gets to see.
type backend struct {
	mu       sync.Mutex
	sessions int
	tls      int // sessions inside TLS
	mails    []string
	rcpts    []string
	messages []string
	relays   []bool
	conns    []*Conn
	end      bool // MAIL ends the session
}

func (b *backend) NewSession(c *smtp.Conn) (smtp.Session, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sessions++
	if _, ok := c.TLSConnectionState(); ok {
		b.tls++
	}
	conn, _ := FromConn(c.Conn())
	b.conns = append(b.conns, conn)
	return &session{b, conn}, nil
}

func (b *backend) see(f func()) { b.mu.Lock(); defer b.mu.Unlock(); f() }

type session struct {
	*backend
	conn *Conn
}

func (s *session) Reset()        {}
func (s *session) Logout() error { return nil }
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.see(func() {
		s.mails = append(s.mails, from)
		if s.end {
			s.conn.EndAfterReply()
		}
	})
	return nil
}
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.see(func() { s.rcpts = append(s.rcpts, to); s.relays = append(s.relays, s.conn.Relay()) })
	return nil
}
func (s *session) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err == nil {
		s.see(func() { s.messages = append(s.messages, string(text)) })
	}
	return err
}
func (s *session) AuthMechanisms() []string { return []string{"PLAIN"} }
func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user+password != "up" {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}

// events keeps what a listener tells.
type events struct {
	mu   sync.Mutex
	list []Event
	more chan struct{}
}

func newEvents() *events { return &events{more: make(chan struct{}, 1)} }

func (e *events) hear(event Event) {
	e.mu.Lock()
	e.list = append(e.list, event)
	e.mu.Unlock()
	select {
	case e.more <- struct{}{}:
	default:
	}
}

func (e *events) of(k Kind) []Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	var found []Event
	for _, event := range e.list {
		if event.Kind == k {
			found = append(found, event)
		}
	}
	return found
}

// wait returns the n-th event of a kind, waiting for it.
func (e *events) wait(t testing.TB, k Kind, n int) Event {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		if found := e.of(k); len(found) >= n {
			return found[n-1]
		}
		select {
		case <-e.more:
		case <-limit:
			require.FailNow(t, "event did not come", "%v, number %d; there are %v", k, n, e.list)
		}
	}
}

// certs is a certificate source for tests.
type certs struct {
	cert  tls.Certificate
	ready func() error
	demo  bool
}

func (c *certs) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &c.cert, nil }
func (c *certs) Ready() error {
	if c.ready == nil {
		return nil
	}
	return c.ready()
}
func (c *certs) Demonstration() bool { return c.demo }

var (
	testRoot   = testpki.NewRoot("Test Root")
	serverLeaf = testRoot.Leaf([]string{"mx.example.com"})
)

func serverCert() *certs { return &certs{cert: serverLeaf.TLS()} }

// loaded is a time at which the certificates are valid, also for bubbles.
var loaded = time.Now()

func clientTLS() *tls.Config {
	return &tls.Config{Time: func() time.Time { return loaded }, RootCAs: testpki.Pool(testRoot), ServerName: "mx.example.com"}
}

// world is a filter on a real socket with a server behind it.
type world struct {
	t        testing.TB
	listener *Listener
	server   *smtp.Server
	backend  *backend
	events   *events
	addr     string
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	return ln
}

// filter puts a filter on a socket.
func filter(t testing.TB, o Options) (*Listener, *events) {
	t.Helper()
	heard := newEvents()
	o.Events = heard.hear
	if o.Certificate == nil {
		o.Certificate = serverCert()
	}
	hl, err := NewListener(listen(t), o)
	require.NoError(t, err)
	t.Cleanup(func() { hl.Close() })
	return hl, heard
}

// forAll returns options with a table that gives everybody a policy.
func forAll(t testing.TB, p Policy) Options {
	t.Helper()
	or(&p.Access, Accept)
	return Options{Table: compile(t, SenderGroup{Name: "everybody", Senders: []string{"ALL"}, Policy: p})}
}

// goSMTP serves a listener with go-smtp.
func goSMTP(t testing.TB, ln net.Listener, config *tls.Config, changes ...func(*smtp.Server)) (*smtp.Server, *backend) {
	t.Helper()
	b := &backend{}
	s := smtp.NewServer(b)
	s.Domain = "mx.example.com"
	s.AllowInsecureAuth = true
	s.EnableBINARYMIME, s.EnableREQUIRETLS = true, true
	s.TLSConfig = config
	s.ErrorLog = log.New(io.Discard, "", 0)
	for _, change := range changes {
		change(s)
	}
	served := make(chan struct{})
	go func() { defer close(served); s.Serve(ln) }()
	t.Cleanup(func() { s.Close(); <-served })
	return s, b
}

func serve(t testing.TB, o Options, changes ...func(*smtp.Server)) *world {
	t.Helper()
	hl, heard := filter(t, o)
	s, b := goSMTP(t, hl, hl.TLSConfig(), changes...)
	return &world{t: t, listener: hl, server: s, backend: b, events: heard, addr: hl.Addr().String()}
}

// peer is a client that says what it is told to.
type peer struct {
	t testing.TB
	net.Conn
	in *bufio.Reader
}

func dial(t testing.TB, addr string) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return newPeer(t, conn)
}

func newPeer(t testing.TB, conn net.Conn) *peer {
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	return &peer{t, conn, bufio.NewReader(conn)}
}

func (w *world) dial() *peer { w.t.Helper(); return dial(w.t, w.addr) }

func (p *peer) send(text string) {
	p.t.Helper()
	_, err := io.WriteString(p, text)
	require.NoError(p.t, err)
}

// want reads exactly these octets.
func (p *peer) want(text string) {
	p.t.Helper()
	b := make([]byte, len(text))
	n, err := io.ReadFull(p.in, b)
	require.Equal(p.t, text, string(b[:n]), "then: %v", err)
}

// say sends and reads in turn.
func (p *peer) say(text, reply string) { p.t.Helper(); p.send(text); p.want(reply) }

// wantEnd demands that the connection ends properly with nothing more to read.
func (p *peer) wantEnd() {
	p.t.Helper()
	rest, err := io.ReadAll(p.in)
	require.NoError(p.t, err)
	require.Empty(p.t, string(rest))
}

// all reads until the connection ends, however it ends.
func (p *peer) all() string {
	rest, _ := io.ReadAll(p.in)
	return string(rest)
}

// starttls speaks EHLO and STARTTLS and goes on inside TLS.
func (p *peer) starttls(config *tls.Config) (*peer, *tls.Conn) {
	p.t.Helper()
	p.want(greeting)
	p.send("EHLO client.example\r\n")
	p.ehloReply()
	p.say("STARTTLS\r\n", "220 2.0.0 Ready to start TLS\r\n")
	conn := tls.Client(p.Conn, config)
	return newPeer(p.t, conn), conn
}

// ehloReply reads a reply and returns its lines without the first.
func (p *peer) ehloReply() []string {
	p.t.Helper()
	var lines []string
	for {
		line, err := p.in.ReadString('\n')
		require.NoError(p.t, err)
		require.True(p.t, strings.HasPrefix(line, "250"), line)
		lines = append(lines, strings.TrimSpace(line[4:]))
		if line[3] == ' ' {
			return lines[1:]
		}
	}
}

// What go-smtp says.
const (
	greeting  = "220 mx.example.com ESMTP Service Ready\r\n"
	ehlo      = "EHLO client.example\r\n"
	mail      = "MAIL FROM:<a@example.com>\r\n"
	rcpt      = "RCPT TO:<b@example.com>\r\n"
	mailOK    = "250 2.0.0 Roger, accepting mail from <a@example.com>\r\n"
	rcptOK    = "250 2.0.0 I'll make sure <b@example.com> gets this\r\n"
	dataGo    = "354 Go ahead. End your data with <CR><LF>.<CR><LF>\r\n"
	queued    = "250 2.0.0 OK: queued\r\n"
	bye       = "221 2.0.0 Bye\r\n"
	noop      = "250 2.0.0 I have successfully done nothing\r\n"
	tlsFirst  = "530 5.7.0 Must issue a STARTTLS command first\r\n"
	ehloClear = "250-Hello client.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-STARTTLS\r\n250 SIZE\r\n"
	ehloNoTLS = "250-Hello client.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE\r\n"
	ehloInTLS = "250-Hello client.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n" +
		"250-AUTH PLAIN\r\n250-REQUIRETLS\r\n250-BINARYMIME\r\n250 SIZE\r\n"
)

// line returns a reply of the filter as it is on the wire.
func line(r Reply) string { return r.String() + "\r\n" }
