package smtpserver

import (
	"bytes"
	"net"
	"time"
)

// A rejected peer may say this much, this long, before it is closed.
const (
	rejectedCommands = 5
	rejectedTime     = 30 * time.Second
)

// refuse turns away a peer before its group is known. It returns nil.
func (c *Conn) refuse(f fate) *Conn {
	c.verdict.once.Do(func() {
		c.verdict.fate = f
		c.mu.Lock()
		c.gate.Kill(f.reason)
		c.setMode()
		c.mu.Unlock()
		c.verdict.reached.Store(true)
		c.tellVerdict()
	})
	return c.carryOutFate()
}

// carryOutFate turns away a peer whose connection the server does not have: with a
// reset, or in a goroutine with a few words. It returns nil.
func (c *Conn) carryOutFate() *Conn {
	l, f := c.listener, c.verdict.fate
	if f.kind == fateReset {
		c.reset()
		return nil
	}
	select {
	case l.refusing <- struct{}{}:
	default:
		c.overflow()
		return nil
	}
	go func() {
		defer func() { <-l.refusing }()
		c.refusedSession(f)
	}()
	return nil
}

// overflow resets a connection for which there is not even a goroutine.
func (c *Conn) overflow() {
	e := c.event(KindLimit)
	e.Reason = ReasonBusyRefusing
	c.listener.tell(e)
	c.reset()
}

// refusedSession tells the peer that it is not welcome and, if that is its policy
// and not a limit, answers a few commands so that it notices (RFC 5321 section 3.1).
// The server never sees the connection.
func (c *Conn) refusedSession(f fate) {
	defer c.Close()
	end := time.Now().Add(rejectedTime)
	if c.Conn.SetDeadline(end) != nil {
		return
	}
	if _, err := c.Conn.Write(c.refusal(f.reply)); err != nil {
		return
	}
	if f.reason == ReasonRejected {
		c.rejectedSession()
	}
	closeWrite(c.Conn)
	drain(c.Conn)
}

func (c *Conn) rejectedSession() {
	var g Gate
	g.Reset(c.verdict.group.Policy, GateOptions{})
	lines := lineReader{conn: c.Conn, buf: make([]byte, 0, MinLine)}
	for range rejectedCommands {
		line, ok := lines.next()
		if !ok {
			return
		}
		a := g.Command(line, true)
		if a.Kind == Close {
			return
		}
		if _, err := c.Conn.Write(g.Octets(a.Reply)); err != nil || a.Kind == AnswerClose {
			return
		}
	}
}

// lineReader reads the lines of a peer whose commands do not matter: what is longer
// than its buffer ends them.
type lineReader struct {
	conn net.Conn
	buf  []byte
	done int // octets of buf that have been taken
}

func (r *lineReader) next() (line []byte, ok bool) {
	for {
		rest := r.buf[r.done:]
		if lf := bytes.IndexByte(rest, '\n'); lf >= 0 {
			r.done += lf + 1
			return rest[:lf+1], true
		}
		if beginsRecord(rest) {
			r.done = len(r.buf)
			return rest, true
		}
		r.buf = r.buf[:copy(r.buf, rest)]
		r.done = 0
		if len(r.buf) == cap(r.buf) {
			return nil, false
		}
		n, err := r.conn.Read(r.buf[len(r.buf):cap(r.buf)])
		r.buf = r.buf[:len(r.buf)+n]
		if n == 0 && err != nil {
			return nil, false
		}
	}
}

// abort ends a connection at once, whatever its peer or its server do.
func (c *Conn) abort(why Reason) {
	if c.mu.TryLock() {
		if c.why == ReasonNone {
			c.why = why
		}
		c.mu.Unlock()
	}
	c.interrupt()
	c.Conn.Close()
	c.Close()
}
