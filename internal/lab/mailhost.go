package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/smtpsec/smtpsec/internal/testpki"
)

// maxMessage is the largest message that a mail host takes, in octets.
const maxMessage = 64 << 20

// MailHost is a running mail host. It is safe for concurrent use.
type MailHost struct {
	spec      Host // as declared, with addresses filled in
	authority *authority
	listener  *net.TCPListener
	server    *smtp.Server
	tlsConfig *tls.Config
	serving   chan struct{} // closed when Serve has returned
	closed    chan struct{} // closed by close
	dialing   sync.RWMutex  // read-locked while Lab.DialContext connects

	mu        sync.Mutex // guards what follows and every Connection
	faults    []Fault    // of the next connections; the last one stays
	dials     int
	mailbox   []Message
	record    []*Connection
	open      map[*front]struct{}
	idle      chan struct{} // closed while open is empty
	leaf      *testpki.Leaf
	presented tls.Certificate
}

func newMailHost(spec Host, a *authority) (*MailHost, error) {
	h := &MailHost{
		spec:      spec,
		authority: a,
		serving:   make(chan struct{}),
		closed:    make(chan struct{}),
		open:      map[*front]struct{}{},
		idle:      make(chan struct{}),
	}
	close(h.idle)
	h.SetFault(spec.Fault, spec.Later...)
	if err := h.SetCert(spec.Cert); err != nil {
		return nil, err
	}
	h.tlsConfig = h.newTLSConfig()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("lab: host %s: %w", spec.Name, err)
	}
	h.listener = listener.(*net.TCPListener)
	h.server = smtp.NewServer(smtp.BackendFunc(h.newSession))
	h.server.Domain = spec.Name
	h.server.ErrorLog = log.New(io.Discard, "", 0) // broken conversations are what a lab is for
	h.server.MaxLineLength = maxLineLength
	h.server.MaxMessageBytes = maxMessage
	h.server.EnableSMTPUTF8 = true
	h.server.EnableREQUIRETLS = true
	go func() {
		defer close(h.serving)
		h.server.Serve(gate{h})
	}()
	return h, nil
}

func (h *MailHost) newTLSConfig() *tls.Config {
	c := &tls.Config{
		MinVersion:   h.spec.TLS.Min,
		MaxVersion:   h.spec.TLS.Max,
		CipherSuites: h.spec.TLS.Suites,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			presented := h.presented
			return &presented, nil
		},
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			hello.Conn.(*wire).front.edit(func(c *Connection) { c.Hello, c.SNI = true, hello.ServerName })
			return nil, nil
		},
	}
	switch h.spec.TLS.ClientAuth {
	case RequestClientCert:
		c.ClientAuth = tls.RequestClientCert
	case RefuseClientCert:
		c.ClientAuth = tls.RequireAnyClientCert
		c.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error {
			return errors.New("lab: this host refuses every client certificate")
		}
	}
	return c
}

// Name returns the host's name.
func (h *MailHost) Name() string { return h.spec.Name }

// Addrs returns the addresses that the host was declared with or was given.
func (h *MailHost) Addrs() []netip.Addr { return slices.Clone(h.spec.Addrs) }

// Listening returns the real address of the listener, for programs that cannot dial
// through the lab.
func (h *MailHost) Listening() netip.AddrPort {
	return h.listener.Addr().(*net.TCPAddr).AddrPort()
}

// Mailbox returns what the host has accepted, in the order of arrival. The data is
// shared and must not be changed.
func (h *MailHost) Mailbox() []Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.mailbox)
}

// Connections returns what the host remembers of each TCP connection, in the order
// of acceptance. A connection that is still open may gain from one call to the next.
func (h *MailHost) Connections() []Connection {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]Connection, len(h.record))
	for i, c := range h.record {
		all[i] = c.clone()
	}
	return all
}

// Dials returns how often somebody tried to connect through Lab.DialContext,
// refused and hanging attempts included.
func (h *MailHost) Dials() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dials
}

// Forget empties the mailbox and the memory of connections, and Dials. Open
// connections stay open; what they still do is not seen.
func (h *MailHost) Forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mailbox, h.record, h.dials = nil, nil, 0
}

// SetFault replaces the fault, from the next connection on: first is for that one,
// later for the ones after it; the last one given stays.
func (h *MailHost) SetFault(first Fault, later ...Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = append([]Fault{first}, later...)
}

// SetCert makes a new certificate with a new key. DNS keeps the TLSA records of the
// old one: see Lab.SetTLSA.
func (h *MailHost) SetCert(c Cert) error {
	leaf, presented, err := h.authority.issue(c, h.spec.Name)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leaf, h.presented = leaf, presented
	return nil
}

// Certificate returns the certificate that the host presents now.
func (h *MailHost) Certificate() *x509.Certificate {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.leaf.Cert
}

// Idle waits until no connection to the host is open, so that the record is
// complete. It returns ctx's error if that ends first.
func (h *MailHost) Idle(ctx context.Context) error {
	h.mu.Lock()
	idle := h.idle
	h.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// take returns the fault of the next connection. While dialing only a fault of the
// connection itself counts as used.
func (h *MailHost) take(dialing bool) Fault {
	h.mu.Lock()
	defer h.mu.Unlock()
	if dialing {
		h.dials++
	}
	fault := h.faults[0]
	if len(h.faults) > 1 && (!dialing || fault.At == AtConnect) {
		h.faults = h.faults[1:]
	}
	return fault
}

// dial connects as Lab.DialContext has to: refused, never, or to the listener.
func (h *MailHost) dial(ctx context.Context) (*net.TCPConn, error) {
	if fault := h.take(true); fault.At == AtConnect {
		if fault.Then == Stall {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-h.closed:
			}
		}
		return nil, syscall.ECONNREFUSED
	}
	h.dialing.RLock()
	defer h.dialing.RUnlock()
	return dialLoopback(ctx, h.listener.Addr())
}

// gate is the listener of the mail server: it puts a front on each connection.
type gate struct{ *MailHost }

func (g gate) Accept() (net.Conn, error) {
	c, err := g.listener.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return g.admit(c), nil
}

func (g gate) Close() error   { return g.listener.Close() }
func (g gate) Addr() net.Addr { return g.listener.Addr() }

func (h *MailHost) admit(c *net.TCPConn) *front {
	fault := h.take(false)
	f := newFront(h, c, fault, &Connection{At: time.Now(), Fault: fault})
	h.mu.Lock()
	h.record = append(h.record, f.record)
	if len(h.open) == 0 {
		h.idle = make(chan struct{})
	}
	h.open[f] = struct{}{}
	h.mu.Unlock()
	select {
	case <-h.closed: // close may have looked at open before
		f.kill()
	default:
	}
	if fault.At == AtConnect { // somebody came past Lab.DialContext
		c.SetLinger(0)
		f.kill()
	}
	return f
}

// gone is told by a front that its connection is closed.
func (h *MailHost) gone(f *front) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f.record.Closed = true
	delete(h.open, f)
	if len(h.open) == 0 {
		close(h.idle)
	}
}

// close ends everything and waits for it.
func (h *MailHost) close() {
	close(h.closed)
	h.listener.Close()
	<-h.serving
	h.mu.Lock()
	open := make([]*front, 0, len(h.open))
	for f := range h.open {
		open = append(open, f)
	}
	h.mu.Unlock()
	for _, f := range open {
		f.kill()
	}
	// Not Close: it touches connections while they change.
	h.server.Shutdown(context.Background())
}

// session is go-smtp's view of a conversation: it collects one message.
type session struct {
	host    *MailHost
	conn    *smtp.Conn
	message Message
}

func (h *MailHost) newSession(c *smtp.Conn) (smtp.Session, error) {
	return &session{host: h, conn: c}, nil
}

// Reset forgets the message begun.
func (s *session) Reset() { s.message = Message{} }

// Logout has nothing to give back.
func (s *session) Logout() error { return nil }

// Mail takes any sender.
func (s *session) Mail(from string, o *smtp.MailOptions) error {
	s.message = Message{Host: s.host.spec.Name, From: from, RequireTLS: o.RequireTLS}
	return nil
}

// Rcpt takes any recipient: whoever comes to the wrong host shall be found out by
// what is in its mailbox.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.message.To = append(s.message.To, to)
	return nil
}

// Data keeps the message.
func (s *session) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m := s.message
	m.Data, m.At, m.Helo = data, time.Now(), s.conn.Hostname()
	if f := s.conn.Conn().(*front); f.tls != nil {
		state := f.tls.ConnectionState()
		m.TLS = &state
	}
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	s.host.mailbox = append(s.host.mailbox, m)
	return nil
}
