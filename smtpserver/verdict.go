package smtpserver

import (
	"net"
	"time"
)

// fate is what becomes of a connection by the verdict.
type fate struct {
	kind   fateKind
	reply  Reply // with fateTell
	reason Reason
}

type fateKind uint8

const (
	fateServe fateKind = iota
	fateReset          // reset without an octet
	fateTell           // one reply, and what follows from it
)

// phaseUndecided is the mode of a connection whose verdict has not been reached.
const phaseUndecided = Phase(0xff)

// decide reaches the verdict, which may mean asking DNS, and turns the peer away if
// that is what it says. It is called by whoever needs the verdict first: writing
// the greeting, reading, the ClientHello, Group.
func (c *Conn) decide() {
	if c.verdict.reached.Load() {
		return
	}
	c.verdict.once.Do(func() {
		c.reachVerdict()
		if c.verdict.fate.kind != fateServe {
			c.turnAway()
		}
	})
}

// reachVerdict asks the table, and DNS if the table needs it.
func (c *Conn) reachVerdict() {
	v, l := &c.verdict, c.listener
	peer := c.peer.Addr()
	group, needHost := c.table.table.Lookup(peer)
	if needHost {
		v.host = l.verifier.verify(v.ctx, peer)
		group = c.table.table.LookupHost(peer, v.host)
	}
	v.group = group
	v.fate = l.fateOf(c)
	c.mu.Lock()
	if v.fate.kind == fateServe {
		c.admit(group.Policy)
	} else {
		c.gate.Kill(v.fate.reason)
	}
	c.setMode()
	c.mu.Unlock()
	v.reached.Store(true)
	if v.host.Status != HostUnknown {
		c.tellHost()
	}
	c.tellVerdict()
}

// admit starts the session. The caller holds mu.
func (c *Conn) admit(p *Policy) {
	o := GateOptions{Adapter: c.listener.adapter.Load()}
	c.gate.Reset(p, o)
	if !c.listener.options.ImplicitTLS {
		return
	}
	c.gate.phase = PhaseHandshake
	c.startHandshake()
}

func (c *Conn) startHandshake() {
	p := c.gate.policy
	c.handshake = &handshake{start: time.Now(), stage: StageBeforeHello, certificateDue: p.ClientCert == ClientCertRequired}
}

// fateOf says what becomes of a connection whose group is known.
func (l *Listener) fateOf(c *Conn) fate {
	g := c.verdict.group
	switch {
	case g == nil:
		return fate{fateReset, ReplyNone, ReasonNoMatch}
	case g.Policy.Access == TCPRefuse:
		return fate{fateReset, ReplyNone, ReasonPolicy}
	case g.Policy.MaxConnsPerIP > 0 && l.connsFrom(c.key()) > g.Policy.MaxConnsPerIP:
		return l.polite(fate{fateTell, ReplyTooManyConns, ReasonTooManyConns})
	case g.Policy.Access == Reject && !g.Policy.Reject.Delayed:
		return l.polite(fate{fateTell, ReplyRejected, ReasonRejected})
	case l.options.ImplicitTLS && g.Policy.TLS == TLSNo:
		return fate{fateReset, ReplyNone, ReasonTLSNotAllowed}
	case l.options.ImplicitTLS && g.Policy.Access == Reject && !l.adapter.Load():
		return fate{fateReset, ReplyNone, ReasonRejected}
	}
	return fate{kind: fateServe}
}

// polite returns f, or where clear text has no place, closing without a word.
func (l *Listener) polite(f fate) fate {
	if l.options.ImplicitTLS {
		f.kind, f.reply = fateReset, ReplyNone
	}
	return f
}

// turnAway carries out a verdict against the peer that was reached when the server
// had the connection already: the reply stands in for its greeting, and its reads
// return EOF.
func (c *Conn) turnAway() {
	if c.verdict.fate.kind == fateReset {
		setLinger0(c.Conn)
		c.mu.Lock()
		c.why = c.verdict.fate.reason
		c.mu.Unlock()
		c.interrupt()
		c.Conn.Close()
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.linger = true
	c.writeInner(c.refusal(c.verdict.fate.reply))
	c.die(c.verdict.fate.reason, nil)
}

// refusal returns the octets of a reply under the policy of the group.
func (c *Conn) refusal(r Reply) []byte {
	if g := c.verdict.group; g != nil && r == ReplyRejected {
		return g.Policy.refusal
	}
	return replyOctets[r]
}

func (c *Conn) tellHost() {
	kind := KindHostUnverified
	if c.verdict.host.Status == HostVerified {
		kind = KindHostVerified
	}
	c.listener.tell(c.event(kind))
}

func (c *Conn) tellVerdict() {
	if g := c.verdict.group; g != nil {
		c.listener.stats.group(g.Name)
	}
	e := c.event(KindAccepted)
	f := c.verdict.fate
	e.Reply, e.Reason = f.reply, f.reason
	switch {
	case f.kind == fateServe:
	case f.reason == ReasonTooManyConns || f.reason == ReasonListenerFull:
		e.Kind = KindLimit
	case f.reason == ReasonRejected:
		e.Kind = KindRejected
	default:
		e.Kind = KindRefused
	}
	c.listener.tell(e)
}

// setLinger0 makes the next Close a reset.
func setLinger0(conn net.Conn) {
	if c, ok := below[interface{ SetLinger(int) error }](conn); ok {
		c.SetLinger(0)
	}
}

// closeWrite tells the peer that nothing more comes.
func closeWrite(conn net.Conn) {
	if c, ok := below[interface{ CloseWrite() error }](conn); ok {
		c.CloseWrite()
	}
}

// below finds a T in conn or under its wrappers.
func below[T any](conn net.Conn) (found T, ok bool) {
	for range maxWrappers {
		if found, ok = conn.(T); ok {
			return found, true
		}
		w, wrapped := conn.(interface{ NetConn() net.Conn })
		if !wrapped {
			break
		}
		conn = w.NetConn()
	}
	return found, false
}

// Closing with octets of the peer unread resets the connection, and a reset can
// overtake the last reply. So they are read, up to here.
const (
	drainOctets = 64 << 10
	drainTime   = 500 * time.Millisecond
)

// drain reads what the peer still sends, to keep its reply alive.
func drain(conn net.Conn) {
	if conn.SetReadDeadline(time.Now().Add(drainTime)) != nil {
		return
	}
	var waste [2048]byte
	for total := 0; total < drainOctets; {
		n, err := conn.Read(waste[:])
		if err != nil {
			return
		}
		total += n
	}
}
