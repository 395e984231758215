package smtpserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// ErrClosed says that a Listener has been closed. errors.Is finds net.ErrClosed in it.
var ErrClosed = fmt.Errorf("smtpserver: listener closed: %w", net.ErrClosed)

// Listener is a net.Listener that lets through what its host access table allows.
// Give it to an SMTP server in place of the listener below, with TLSConfig as the
// server's TLS configuration. It is safe for concurrent use.
type Listener struct {
	inner    net.Listener
	options  Options
	name     string
	local    netip.AddrPort
	bound    atomic.Pointer[boundTable]
	adapter  atomic.Bool
	verifier hostVerifier
	buffers  *buffers

	accepted chan *Conn
	pending  chan struct{} // a slot for each peer whose address or name is being found
	refusing chan struct{} // a slot for each refused session
	start    sync.Once
	done     chan struct{} // closed when nothing is accepted any more

	ids        atomic.Uint64
	stats      counters
	recipients recipientCounts

	mu      sync.Mutex // above the fields below
	err     error      // why done is closed
	conns   map[*Conn]struct{}
	perAddr map[netip.Addr]int
	leaving int           // connections that are not counted any more and have an event to tell
	idle    chan struct{} // closed when the last connection has gone; made by Shutdown
	subs    map[string]*subListener
}

// NewListener returns a Listener on inner. The errors are ErrNoTable, and
// ErrNoCertificate if a group allows TLS and has no source of certificates.
func NewListener(inner net.Listener, o Options) (*Listener, error) {
	o = o.settle()
	l := &Listener{
		inner:    inner,
		options:  o,
		name:     o.Name,
		local:    addrPort(inner.Addr()),
		verifier: newHostVerifier(o.Resolver, o.DNSTimeout, nil),
		buffers:  newBuffers(o.MaxLine),
		accepted: make(chan *Conn),
		pending:  make(chan struct{}, bound(o.MaxPending)),
		refusing: make(chan struct{}, bound(o.MaxRefusing)),
		done:     make(chan struct{}),
		conns:    make(map[*Conn]struct{}),
		perAddr:  make(map[netip.Addr]int),
		subs:     make(map[string]*subListener),
	}
	if l.name == "" && inner.Addr() != nil {
		l.name = inner.Addr().String()
	}
	b, err := l.bind(o.Table)
	if err != nil {
		return nil, err
	}
	l.bound.Store(b)
	l.tellDemonstration(b)
	return l, nil
}

// bound turns a limit into the size of a channel.
func bound(n int) int {
	const noLimit = 1 << 20
	if n < 0 || n > noLimit {
		return noLimit
	}
	return n
}

// AttachAdapter says that an adapter inside the server, such as smtpserver/gosmtp,
// enforces what the filter cannot see inside TLS. Call it before serving.
func (l *Listener) AttachAdapter() { l.adapter.Store(true) }

// SetTable puts another table in force. Connections keep the verdict that they have;
// new ones see the new table as a whole. If the table cannot be used, nothing
// changes and the error is one of NewListener's.
func (l *Listener) SetTable(t *Table) error {
	b, err := l.bind(t)
	if err != nil {
		l.tell(Event{Kind: KindTableRejected, Alert: true, Err: err})
		return err
	}
	l.bound.Store(b)
	l.tell(Event{Kind: KindTableSwapped})
	l.tellDemonstration(b)
	return nil
}

// RejectTable tells the event of a table that did not get as far as SetTable because
// Compile refused it.
func (l *Listener) RejectTable(err error) {
	l.tell(Event{Kind: KindTableRejected, Alert: true, Err: err})
}

// tellDemonstration tells if a certificate for trying things out is in use.
func (l *Listener) tellDemonstration(b *boundTable) {
	for _, t := range b.configs {
		if isDemonstration(t.source) {
			l.tell(Event{Kind: KindDemonstration, Alert: true})
			return
		}
	}
}

// Addr returns the address of the listener below.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Accept returns the next connection that the server is to serve, always a *Conn.
// Peers that the table turns away do not get here, unless DNS has to be asked, which
// the connection does when it is first used.
func (l *Listener) Accept() (net.Conn, error) {
	l.run()
	select {
	case c := <-l.accepted:
		return c, nil
	case <-l.done:
		return nil, l.failure()
	}
}

func (l *Listener) run() { l.start.Do(func() { go l.pump() }) }

func (l *Listener) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close stops accepting. Connections stay.
func (l *Listener) Close() error {
	if !l.stop(ErrClosed) {
		return ErrClosed
	}
	return l.inner.Close()
}

// stop makes every Accept fail with err. It returns false if they do already.
func (l *Listener) stop(err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return false
	}
	l.err = err
	close(l.done)
	return true
}

// pump accepts from the listener below until that fails.
func (l *Listener) pump() {
	const first, most = 5 * time.Millisecond, time.Second
	delay := first
	for {
		conn, err := l.inner.Accept()
		if err == nil {
			delay = first
			l.take(conn)
			continue
		}
		if temporary, ok := err.(interface{ Temporary() bool }); !ok || !temporary.Temporary() {
			l.stop(err)
			return
		}
		// Out of file descriptors, say: it may pass.
		select {
		case <-time.After(delay):
			delay = min(2*delay, most)
		case <-l.done:
			return
		}
	}
}

// take brings a connection to where it belongs, without waiting for its peer.
func (l *Listener) take(conn net.Conn) {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		if c := l.enter(conn); c != nil {
			l.route(c)
		}
		return
	}
	// RemoteAddr of a wrapper may wait for what the peer sends, as that of the PROXY
	// protocol does.
	if !l.background(func() {
		if c := l.enter(conn); c != nil {
			if l.hasSubs() {
				c.reachNow()
			}
			l.deliver(c)
		}
	}) {
		setLinger0(conn)
		conn.Close()
		l.tell(Event{Kind: KindRefused, Reason: ReasonBusyRefusing})
	}
}

// route delivers a connection, at once if it is clear where to.
func (l *Listener) route(c *Conn) {
	if !l.hasSubs() {
		l.deliver(c)
		return
	}
	if !l.background(func() {
		c.reachNow()
		l.deliver(c)
	}) {
		c.overflow()
	}
}

// background runs f if there is room for another goroutine of its kind.
func (l *Listener) background(f func()) bool {
	select {
	case l.pending <- struct{}{}:
	default:
		return false
	}
	go func() {
		defer func() { <-l.pending }()
		f()
	}()
	return true
}

// enter registers a connection. It returns nil if the peer is being turned away.
func (l *Listener) enter(conn net.Conn) *Conn {
	c := &Conn{Conn: conn, listener: l, id: l.ids.Add(1), table: l.bound.Load(), peer: addrPort(conn.RemoteAddr())}
	c.mode.Store(uint32(phaseUndecided))
	c.ageLimit = after(time.Now(), l.options.MaxConnAge)
	total, fromAddr := l.register(c)
	if conn.RemoteAddr() == nil {
		return c.refuse(fate{fateReset, ReplyNone, ReasonNoAddress})
	}
	if most := l.options.MaxConns; most > 0 && total > most {
		return c.refuse(l.polite(fate{fateTell, ReplyFull, ReasonListenerFull}))
	}
	if _, needHost := c.table.table.Lookup(c.peer.Addr()); needHost {
		// The group is not known yet. More than any group allows is too much.
		if most := c.table.maxPerIP; most > 0 && fromAddr > most {
			return c.refuse(l.polite(fate{fateTell, ReplyTooManyConns, ReasonTooManyConns}))
		}
		c.verdict.ctx, c.verdict.stop = context.WithCancel(context.Background())
		return c
	}
	c.verdict.once.Do(c.reachVerdict)
	if c.verdict.fate.kind != fateServe {
		return c.carryOutFate()
	}
	return c
}

// reachNow reaches the verdict before the server has the connection.
func (c *Conn) reachNow() {
	c.verdict.once.Do(c.reachVerdict)
}

// deliver hands a connection to the server, or turns the peer away by a verdict that
// has been reached since.
func (l *Listener) deliver(c *Conn) {
	to, done := l.accepted, (<-chan struct{})(nil)
	if c.verdict.reached.Load() {
		if c.verdict.fate.kind != fateServe {
			c.carryOutFate()
			return
		}
		if sub := l.sub(c.verdict.group.Policy.Name); sub != nil {
			to, done = sub.accepted, sub.done
		}
	}
	select {
	case to <- c:
	case <-done: // the sub-listener has been closed: the rest is the main server's
		select {
		case l.accepted <- c:
		case <-l.done:
			c.Close()
		}
	case <-l.done:
		c.Close()
	}
}

// register counts a connection and returns how many there are now, in all and from
// its address.
func (l *Listener) register(c *Conn) (total, fromAddr int) {
	key := c.key()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = struct{}{}
	l.perAddr[key]++
	return len(l.conns), l.perAddr[key]
}

// release is the reverse of register. It is called once for each connection.
func (l *Listener) release(c *Conn) {
	key := c.key()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	if l.perAddr[key]--; l.perAddr[key] == 0 {
		delete(l.perAddr, key)
	}
	l.leaving++
}

// leave follows release when all has been told about the connection.
func (l *Listener) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaving--
	if len(l.conns) == 0 && l.leaving == 0 && l.idle != nil {
		close(l.idle)
		l.idle = nil
	}
}

func (l *Listener) active() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

func (l *Listener) connsFrom(key netip.Addr) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.perAddr[key]
}

// Shutdown stops accepting, ends refused sessions, handshakes and connections that
// have not been greeted, and waits until the server has closed the rest. When ctx is
// over first, it closes them and returns its error.
func (l *Listener) Shutdown(ctx context.Context) error {
	err := l.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	l.closeConns(func(c *Conn) bool {
		switch c.phase() {
		case PhaseDead, PhaseRejected, PhaseGreeting, PhaseHandshake, phaseUndecided:
			return true
		}
		return false
	})
	select {
	case <-l.empty():
		return err
	case <-ctx.Done():
	}
	l.closeConns(func(*Conn) bool { return true })
	return ctx.Err()
}

// empty returns a channel that is closed when there are no connections.
func (l *Listener) empty() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns) == 0 && l.leaving == 0 {
		gone := make(chan struct{})
		close(gone)
		return gone
	}
	if l.idle == nil {
		l.idle = make(chan struct{})
	}
	return l.idle
}

// closeConns closes the connections that which chooses. None of them gets the time
// for a last reply.
func (l *Listener) closeConns(which func(*Conn) bool) {
	l.mu.Lock()
	var chosen []*Conn
	for c := range l.conns {
		if which(c) {
			chosen = append(chosen, c)
		}
	}
	l.mu.Unlock()
	for _, c := range chosen {
		c.abort(ReasonShutdown)
	}
}

// addrPort returns the address in a net.Addr, the zero AddrPort if it has none.
func addrPort(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case nil:
		return netip.AddrPort{}
	case *net.TCPAddr:
		if a == nil {
			return netip.AddrPort{}
		}
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
	case *net.UnixAddr:
		return netip.AddrPort{}
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}
