package smtpclient

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// stage is a network of scripted servers over net.Pipe, for what depends on time
// and on single bytes; use it inside a synctest bubble, which also proves that no
// goroutine is left.
type stage struct {
	t        testing.TB
	mu       sync.Mutex
	scripts  map[string][]script // by address; the last one stays
	dials    []string
	dns      dnssec.Static
	conns    []*counted
	resolved []string
	dialer   *Dialer
	pki      *testpki.Authority
	stalled  bool // servers read only what their scripts read: a window of size 0
}

// script is what a server does with one connection, which is closed when it
// returns.
type script func(p *peer)

// counted is the client's end: it counts how often it is closed.
type counted struct {
	net.Conn
	closed  atomic.Int32
	gone    chan struct{} // closed with the first Close
	written atomic.Int64
	read    atomic.Int64
	sent    bytes.Buffer // belongs to whoever writes; read it when that has ended
}

func (c *counted) Close() error {
	err := c.Conn.Close()
	if c.closed.Add(1) == 1 {
		close(c.gone) // not before: a script that wakes up must not get anything across
	}
	return err
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	c.sent.Write(p[:n])
	return n, err
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// newStage returns a network in which partner.example has the hosts mx1 (192.0.2.1)
// and mx2 (192.0.2.2), and a Dialer with settings s for it.
func newStage(t testing.TB, s tlspolicy.Settings) *stage {
	st := &stage{t: t, scripts: map[string][]script{}, dns: dnssec.Static{
		Answers: map[dnssec.Question]dnssec.Answer{}, Errors: map[dnssec.Question]error{},
		Absent: dnssec.Insecure,
	}}
	st.mx("partner.example", "10 mx1.partner.example", "20 mx2.partner.example")
	st.addr("mx1.partner.example", "192.0.2.1")
	st.addr("mx2.partner.example", "192.0.2.2")
	st.pki = testpki.NewRoot("Stage Root")
	trust, err := tlspolicy.NewPoolVerifier(testpki.Pool(st.pki), tlspolicy.PoolOptions{})
	require.NoError(t, err)
	if s.Fallback == tlspolicy.FallbackDefault {
		s.Fallback = tlspolicy.FallbackAfter220
	}
	if s.DANE == tlspolicy.DANEDefault {
		s.DANE = tlspolicy.DANENone
	}
	if s.MTASTS == tlspolicy.MTASTSDefault {
		s.MTASTS = tlspolicy.Off
	}
	st.dialer = &Dialer{
		Hostname: "mta.sender.example", Policy: fixed(s), Resolver: st, Trust: trust, DialContext: st.dial,
		Family: PreferIPv4,
	}
	return st
}

// fixed is a policy table with the same settings for everybody.
type fixed tlspolicy.Settings

func (f fixed) Lookup(string, tlspolicy.NextHop) (tlspolicy.Settings, tlspolicy.Origin, error) {
	return tlspolicy.Settings(f), tlspolicy.Origin{}, nil
}

// mx gives domain MX records, each "preference host".
func (st *stage) mx(domain string, records ...string) {
	a := dnssec.Answer{Security: dnssec.Insecure}
	for _, r := range records {
		pref, host, _ := strings.Cut(r, " ")
		a.Records = append(a.Records, dnssec.Record{Data: mxData(st.t, pref, host)})
	}
	st.dns.Answers[dnssec.Question{Name: domain, Type: dnssec.TypeMX}] = a
}

func mxData(t testing.TB, pref, host string) []byte {
	var n uint16
	for _, c := range pref {
		n = n*10 + uint16(c-'0')
	}
	data := binary.BigEndian.AppendUint16(nil, n)
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label != "" {
			require.Less(t, len(label), 64)
			data = append(append(data, byte(len(label))), label...)
		}
	}
	return append(data, 0)
}

// addr gives host its addresses.
func (st *stage) addr(host string, addrs ...string) {
	for _, family := range []dnssec.Type{dnssec.TypeA, dnssec.TypeAAAA} {
		a := dnssec.Answer{Security: dnssec.Insecure}
		for _, s := range addrs {
			ip := netip.MustParseAddr(s)
			if ip.Is4() == (family == dnssec.TypeA) {
				a.Records = append(a.Records, dnssec.Record{Data: ip.AsSlice()})
			}
		}
		st.dns.Answers[dnssec.Question{Name: host, Type: family}] = a
	}
}

// Lookup makes the stage the Dialer's resolver and notes what was asked.
func (st *stage) Lookup(ctx context.Context, name string, t dnssec.Type) (*dnssec.Answer, error) {
	st.mu.Lock()
	st.resolved = append(st.resolved, strings.TrimSuffix(name, ".")+" "+t.String())
	st.mu.Unlock()
	return st.dns.Lookup(ctx, name, t)
}

func (st *stage) asked(name string) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, r := range st.resolved {
		if strings.HasPrefix(r, name+" ") {
			return true
		}
	}
	return false
}

// at puts scripts for the first, second, ... connection to an address.
func (st *stage) at(addr string, scripts ...script) { st.scripts[addr] = scripts }

// dial connects to a scripted server; an address without one is refused.
func (st *stage) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	require.NoError(st.t, err)
	st.mu.Lock()
	defer st.mu.Unlock()
	st.dials = append(st.dials, host)
	scripts := st.scripts[host]
	if len(scripts) == 0 {
		return nil, &net.OpError{Op: "dial", Net: network, Err: io.ErrClosedPipe}
	}
	if len(scripts) > 1 {
		st.scripts[host] = scripts[1:]
	}
	near, far := net.Pipe()
	c := &counted{Conn: near, gone: make(chan struct{})}
	st.conns = append(st.conns, c)
	go func() {
		defer far.Close()
		var end net.Conn = far
		if !st.stalled {
			end = newWindow(far)
		}
		scripts[0](&peer{Conn: end, r: bufio.NewReader(end), stage: st, gone: c.gone})
	}()
	return c, nil
}

// window takes what the client writes as it comes, like the receive window of TCP
// and unlike net.Pipe: both sides may write at the same time.
type window struct {
	net.Conn
	mu   sync.Mutex
	more *sync.Cond
	buf  bytes.Buffer
	err  error
}

func newWindow(c net.Conn) *window {
	w := &window{Conn: c}
	w.more = sync.NewCond(&w.mu)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			w.mu.Lock()
			w.buf.Write(buf[:n])
			w.err = err
			w.more.Broadcast()
			w.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return w
}

func (w *window) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.buf.Len() == 0 && w.err == nil {
		w.more.Wait()
	}
	if w.buf.Len() > 0 {
		return w.buf.Read(p)
	}
	return 0, w.err
}

// closedOnce requires that every connection was closed, and once.
func (st *stage) closedOnce() {
	for i, c := range st.conns {
		require.Equal(st.t, int32(1), c.closed.Load(), "closes of connection %d", i)
	}
}

// cert returns a server configuration with a good certificate for names.
func (st *stage) cert(names ...string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{st.pki.Leaf(names).TLS()}}
}

// peer is the server's end of a connection.
type peer struct {
	net.Conn
	r     *bufio.Reader
	stage *stage
	gone  chan struct{} // closed when the client has closed
	heard []string
}

// pause waits, but no longer than for the client to close.
func (p *peer) pause(d time.Duration) {
	select {
	case <-p.gone:
	case <-time.After(d):
	}
}

// say sends text as it is.
func (p *peer) say(text string) bool {
	_, err := io.WriteString(p.Conn, text)
	return err == nil
}

// hear reads one command line.
func (p *peer) hear() string {
	line, err := p.r.ReadString('\n')
	if err != nil {
		return ""
	}
	line = strings.TrimRight(line, "\r\n")
	p.heard = append(p.heard, line)
	return line
}

// swallow reads until the client closes.
func (p *peer) swallow() { io.Copy(io.Discard, p.r) }

// tls does a handshake as the server and goes on inside TLS.
func (p *peer) tls(config *tls.Config) bool {
	c := tls.Server(&rest{p.Conn, p.r}, config)
	if c.Handshake() != nil {
		return false
	}
	p.Conn, p.r = c, bufio.NewReader(c)
	return true
}

// rest reads what is buffered first.
type rest struct {
	net.Conn
	r io.Reader
}

func (r *rest) Read(p []byte) (int, error) { return r.r.Read(p) }

// server is a script of a regular host; the zero value is one without TLS. A
// reply that is set replaces the regular one.
type server struct {
	greeting, ehlo, helo, starttls string
	tls                            *tls.Config
	tlsEHLO                        string
	log                            *[]string // what it heard
}

const offers = "250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n"

func or(s, standard string) string {
	if s == "" {
		return standard
	}
	return s
}

func (s server) run(p *peer) {
	inside := false
	if !p.say(or(s.greeting, "220 mx ESMTP\r\n")) {
		return
	}
	for {
		line := p.hear()
		if s.log != nil {
			*s.log = append(*s.log, line)
		}
		verb, _, _ := strings.Cut(line, " ")
		switch {
		case line == "":
			return
		case verb == "EHLO" && inside:
			p.say(or(s.tlsEHLO, "250-mx\r\n250-SIZE 1000\r\n250 INSIDE\r\n"))
		case verb == "EHLO" && s.tls == nil:
			p.say(or(s.ehlo, "250-mx\r\n250 PIPELINING\r\n"))
		case verb == "EHLO":
			p.say(or(s.ehlo, offers))
		case verb == "HELO":
			p.say(or(s.helo, "250 mx\r\n"))
		case verb == "STARTTLS":
			reply := or(s.starttls, "220 go ahead\r\n")
			p.say(reply)
			if !strings.HasPrefix(reply, "220") {
				continue
			}
			if s.tls == nil || !p.tls(s.tls) {
				p.swallow()
				return
			}
			inside = true
		case verb == "QUIT":
			p.say("221 bye\r\n")
			return
		default:
			p.say("250 ok\r\n")
		}
	}
}

// dialOK dials partner.example and requires a session.
func (st *stage) dialOK() *Session {
	s, err := st.dialer.Dial(context.Background(), "partner.example")
	require.NoError(st.t, err)
	return s
}

// dialFail dials partner.example and requires an *Error.
func (st *stage) dialFail(ctx context.Context) *Error {
	s, err := st.dialer.Dial(ctx, "partner.example")
	require.Nil(st.t, s)
	var e *Error
	require.ErrorAs(st.t, err, &e)
	require.NotNil(st.t, e.Report)
	return e
}
