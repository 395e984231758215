package smtpserver

import (
	"context"
	"crypto/x509"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is a connection that the filter stands in: what the server reads from it has
// passed, and what it writes is looked at on its way out. RemoteAddr and LocalAddr
// are those of the connection below. It is safe for concurrent use as any net.Conn
// is.
type Conn struct {
	net.Conn
	listener *Listener
	table    *boundTable
	id       uint64
	peer     netip.AddrPort
	ageLimit time.Time // Options.MaxConnAge

	deadlines deadlines
	verdict   verdict

	mode   atomic.Uint32 // the gate's phase, readable without mu
	ending atomic.Uint32 // EndAfterReply
	closed atomic.Bool

	readMu sync.Mutex // one reader at a time; above the fields down to the next lock
	in     clientOctets

	mu         sync.Mutex // above the fields below; order of what is written in clear text
	gate       Gate
	reply      *[]byte // a reply of the server that is not complete
	replyLine  int     // where its last line begins
	handshake  *handshake
	info       *TLSInfo
	chains     [][]*x509.Certificate
	secure     bool  // the handshake is complete
	linger     bool  // a last reply must reach the peer: the Read that returns io.EOF sees to it
	saidFirst  bool  // 530 "Must issue a STARTTLS command first" has been sent
	lacksSaid  bool  // the server's lack of STARTTLS has been told
	starttlsNo Reply // the last refusal of STARTTLS
	badCount   int
	why        Reason // why the filter ended the session
	lastErr    error

	messages   atomic.Int64
	recipients atomic.Int64
}

// TLSInfo is what was agreed on in a handshake.
type TLSInfo struct {
	Version     uint16 // as in crypto/tls
	CipherSuite uint16
	ServerName  string // that the client asked for; it may be anything
	Resumed     bool
}

// Verdict is what the host access table says about a peer.
type Verdict struct {
	Group  *Group // nil: no group matches
	Access Access // of the group; TCPRefuse without one
	Host   Host   // HostUnknown if the name did not matter
}

// FromConn finds the filter's connection in or below c, through wrappers that have
// NetConn() net.Conn, as *tls.Conn has.
func FromConn(c net.Conn) (*Conn, bool) {
	for range maxWrappers {
		if found, ok := c.(*Conn); ok {
			return found, true
		}
		w, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil, false
		}
		c = w.NetConn()
	}
	return nil, false
}

// maxWrappers bounds the wrappers around a connection, which might stand in a ring.
const maxWrappers = 16

// NetConn returns the connection below. What is read from it or written to it has
// not passed the filter.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// ID returns the number of the connection on its listener, from 1, as in events.
func (c *Conn) ID() uint64 { return c.id }

// Group returns the sender group of the peer, nil if it has none and is being
// refused. It asks DNS if that is still to be done.
func (c *Conn) Group() *Group { return c.Verdict().Group }

// Policy returns the policy of the group, nil without a group.
func (c *Conn) Policy() *Policy {
	if g := c.Group(); g != nil {
		return g.Policy
	}
	return nil
}

// Verdict returns what the table says about the peer. It asks DNS if that is still
// to be done. A table that comes later does not change it.
func (c *Conn) Verdict() Verdict {
	c.decide()
	v := Verdict{Group: c.verdict.group, Access: TCPRefuse, Host: c.verdict.host}
	if v.Group != nil {
		v.Access = v.Group.Policy.Access
	}
	return v
}

// Relay says whether the peer may send to any recipient.
func (c *Conn) Relay() bool { return c.Verdict().Access == Relay }

// TLS returns what the handshake agreed on. It returns false while there is no TLS,
// and again when the connection has ended before the handshake was complete.
func (c *Conn) TLS() (TLSInfo, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.info == nil || !c.secure && c.gate.phase != PhaseHandshake {
		return TLSInfo{}, false
	}
	return *c.info, true
}

// ClientChains returns the verified chains of the client's certificate, nil if it
// has given none. Do not change them.
func (c *Conn) ClientChains() [][]*x509.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.chains
}

// EndAfterReply ends the session behind the reply that the server writes next: the
// Read after that Write returns io.EOF. What the peer still sends is read and dropped
// for half a second, so that it does not cost it the reply. It is for adapters that have seen octets
// behind which the session cannot be trusted.
func (c *Conn) EndAfterReply() { c.ending.CompareAndSwap(0, endArmed) }

// Values of Conn.ending.
const (
	endArmed uint32 = iota + 1
	endNow
)

// AddMessage counts a message of the connection and says whether the policy's
// MaxMessagesPerConn allows it. It is for adapters; no command resets the count.
func (c *Conn) AddMessage() bool {
	p := c.Policy()
	if p == nil {
		return false
	}
	n := c.messages.Add(1)
	return p.MaxMessagesPerConn < 0 || n <= int64(p.MaxMessagesPerConn)
}

// TakeRecipient takes one from the MaxRcptsPerHour of the peer's address or network.
// It returns false if there is none left, and takes nothing then.
func (c *Conn) TakeRecipient() bool {
	p := c.Policy()
	if p == nil {
		return false
	}
	return p.MaxRcptsPerHour < 0 || c.listener.recipients.take(c.key(), p.MaxRcptsPerHour, time.Now())
}

// RecipientAccepted notes that the server has accepted a recipient. A connection
// that has one is not logged as one that failed for want of TLS.
func (c *Conn) RecipientAccepted() {
	c.recipients.Add(1)
	c.listener.stats.recipients.Add(1)
}

// Report tells the event of something that an adapter has refused: what kind of event,
// why, and the code of the reply. It does nothing if there is no such kind or reason.
func (c *Conn) Report(k Kind, why Reason, code int) {
	if k >= kinds || why >= reasons {
		return
	}
	e := c.event(k)
	e.Reason, e.Code = why, code
	c.listener.tell(e)
}

// key is what limits per address count by.
func (c *Conn) key() netip.Addr { return limitKey(c.peer.Addr(), c.listener.options.IPv6Prefix) }

// setMode makes the gate's phase visible. The caller holds mu.
func (c *Conn) setMode() { c.mode.Store(uint32(c.gate.phase)) }

func (c *Conn) phase() Phase { return Phase(c.mode.Load()) }

// die ends the session: reads return EOF from now on, writes net.ErrClosed. The
// caller holds mu.
func (c *Conn) die(why Reason, err error) {
	if c.why == ReasonNone {
		c.why, c.lastErr = why, err
	}
	if h := c.handshake; h != nil {
		h.fail(why, err)
	}
	c.gate.Kill(why)
	c.setMode()
	c.interrupt()
	closeWrite(c.Conn)
}

// Close closes the connection. The second call does nothing. It never waits for the
// peer: servers call it with locks held.
func (c *Conn) Close() error {
	if !c.closed.CompareAndSwap(false, true) {
		return nil
	}
	c.verdict.cancel()
	c.interrupt()
	if c.phase() == PhaseTLS && c.ending.Load() == endNow && c.lingerBehind() {
		return nil
	}
	err := c.Conn.Close()
	c.conclude()
	return err
}

// lingerBehind lets a last reply inside TLS arrive when the server has closed the
// connection, in a goroutine that counts as a refused session. It returns false if
// there are too many.
func (c *Conn) lingerBehind() bool {
	refusing := c.listener.refusing
	select {
	case refusing <- struct{}{}:
	default:
		return false
	}
	go func() {
		defer func() { <-refusing }()
		closeWrite(c.Conn)
		drain(c.Conn)
		c.Conn.Close()
		c.conclude()
	}()
	return true
}

// conclude tells the outcome and gives back what the connection holds.
func (c *Conn) conclude() {
	c.mu.Lock()
	if c.gate.phase != PhaseDead {
		c.gate.Kill(ReasonServerClosed)
		c.setMode()
	}
	c.tellOutcome()
	closed := c.event(KindClosed)
	closed.Reason, closed.Err = c.endReason(), c.lastErr
	c.mu.Unlock()
	c.listener.release(c)
	c.listener.tell(closed)
	c.listener.leave()
}

// reset closes the connection without an octet.
func (c *Conn) reset() error {
	setLinger0(c.Conn)
	return c.Close()
}

// event begins an event about the connection.
func (c *Conn) event(k Kind) Event {
	e := Event{Kind: k, ConnID: c.id, Peer: c.peer}
	if !c.verdict.reached.Load() {
		return e
	}
	e.HostStatus = c.verdict.host.Status
	if names := c.verdict.host.Names; len(names) > 0 {
		e.Host = names[0]
	}
	if g := c.verdict.group; g != nil {
		e.Group, e.Policy = g.Name, g.Policy.Name
	}
	return e
}

// verdict is what the table said, once it has been asked.
type verdict struct {
	once    sync.Once
	reached atomic.Bool
	group   *Group
	host    Host
	fate    fate
	ctx     context.Context // ends with the connection; nil if DNS need not be asked
	stop    context.CancelFunc
}

func (v *verdict) cancel() {
	if v.stop != nil {
		v.stop()
	}
}
