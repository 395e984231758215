package smtpserver

import (
	"bytes"
	"net"
	"time"
)

// Write takes what the server writes. In clear text it holds a reply until it is
// complete, rewrites the one to EHLO, and follows what the replies mean for the
// session. After the 220 to STARTTLS whatever does not begin with a TLS record ends
// the session unsent, for good. It returns net.ErrClosed once the session has ended.
func (c *Conn) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if c.phase() == PhaseTLS {
		return c.writeTLS(p)
	}
	undecided := c.phase() == phaseUndecided
	c.decide()
	c.mu.Lock()
	defer c.mu.Unlock()
	if undecided && c.verdict.fate.kind == fateTell {
		return len(p), nil // the reply to a rejected peer has taken its place
	}
	for rest := p; len(rest) > 0; {
		switch c.gate.phase {
		case PhaseDead:
			return len(p) - len(rest), net.ErrClosed
		case PhaseHandshake:
			n, err := c.writeRecords(rest)
			return len(p) - len(rest) + n, err
		case PhaseTLS:
			n, err := c.writeInner(rest)
			return len(p) - len(rest) + n, err
		}
		n, err := c.takeReply(rest)
		if err != nil {
			return len(p) - len(rest), err
		}
		rest = rest[n:]
	}
	c.afterWrite()
	return len(p), nil
}

// afterWrite wakes who waits for a reply and arms EndAfterReply.
func (c *Conn) afterWrite() {
	c.ending.CompareAndSwap(endArmed, endNow)
	c.deadlines.mu.Lock()
	c.deadlines.notify()
	c.deadlines.mu.Unlock()
}

// takeReply takes octets up to the end of a reply or of b, and passes the reply on
// when it is complete. The caller holds mu.
func (c *Conn) takeReply(b []byte) (n int, err error) {
	if c.reply == nil {
		// Nearly every reply comes whole, and goes on without a copy.
		last, n, complete := replyEnd(b)
		if complete {
			return n, c.passReply(b[:n], b[last:n])
		}
		c.reply = c.listener.buffers.text.Get().(*[]byte)
		*c.reply = (*c.reply)[:0]
		c.replyLine = 0
	}
	lf := bytes.IndexByte(b, '\n')
	n = len(b)
	if lf >= 0 {
		n = lf + 1
	}
	*c.reply = append(*c.reply, b[:n]...)
	if len(*c.reply) > MaxReply {
		c.dropReply()
		c.die(ReasonReplyTooLong, nil)
		return n, net.ErrClosed
	}
	if lf < 0 {
		return n, nil
	}
	line := (*c.reply)[c.replyLine:]
	if continues(line) {
		c.replyLine = len(*c.reply)
		return n, nil
	}
	err = c.passReply(*c.reply, line)
	c.dropReply()
	return n, err
}

// replyKept is the largest buffer for replies that is used again.
const replyKept = 4096

func (c *Conn) dropReply() {
	give(&c.listener.buffers.text, c.reply, replyKept)
	c.reply = nil
}

// replyEnd finds the first complete reply in b: it ends at n, its last line begins
// at last.
func replyEnd(b []byte) (last, n int, complete bool) {
	for n < len(b) {
		lf := bytes.IndexByte(b[n:], '\n')
		if lf < 0 {
			break
		}
		last, n = n, n+lf+1
		if !continues(b[last:n]) {
			return last, n, true
		}
	}
	return 0, 0, false
}

// continues says whether another line follows this one in a reply (RFC 5321 section
// 4.2.1).
func continues(line []byte) bool { return replyCode(line) > 0 && len(line) > 3 && line[3] == '-' }

// replyCode returns the code of a reply line, 0 if it has none.
func replyCode(line []byte) int {
	if len(line) < 3 {
		return 0
	}
	code := 0
	for _, c := range line[:3] {
		if c < '0' || c > '9' {
			return 0
		}
		code = code*10 + int(c-'0')
	}
	return code
}

// passReply lets the gate decide about a complete reply and sends it.
func (c *Conn) passReply(reply, lastLine []byte) error {
	g, code := &c.gate, replyCode(lastLine)
	greeting, pending := g.phase == PhaseGreeting, g.pending
	if greeting && code == 220 && c.listener.options.EarlyTalker > 0 && c.earlyTalker() {
		return net.ErrClosed
	}
	before := g.phase
	a := g.Reply(code)
	if a.Kind != Forward {
		if a.Reason == ReasonUnexpected220 {
			e := c.event(KindUnexpected220)
			e.Reason = a.Reason
			c.listener.tell(e)
		}
		c.die(a.Reason, nil)
		return net.ErrClosed
	}
	if g.phase != before {
		c.enter(g.phase)
	}
	switch {
	case greeting && code == 220 && g.policy.Banner != nil:
		return c.passRewritten(g.policy.Banner.appendGreeting, reply)
	case pending == verbEHLO && code == 250:
		g.options.NoCertificate = !c.certificateReady()
		defer c.noteOffer()
		return c.passRewritten(g.FilterEHLO, reply)
	}
	return c.pass(reply)
}

// enter prepares what a new phase of the gate needs.
func (c *Conn) enter(p Phase) {
	if p == PhaseHandshake {
		c.startHandshake()
	}
	c.setMode()
}

func (c *Conn) passRewritten(rewrite func(dst, reply []byte) []byte, reply []byte) error {
	buf := c.listener.buffers.text.Get().(*[]byte)
	*buf = rewrite((*buf)[:0], reply)
	err := c.pass(*buf)
	give(&c.listener.buffers.text, buf, replyKept)
	return err
}

func (c *Conn) pass(reply []byte) error {
	if _, err := c.writeInner(reply); err != nil {
		c.die(reasonOf(err), err)
		return err
	}
	return nil
}

// noteOffer tells whether the client has been offered STARTTLS, or why not.
func (c *Conn) noteOffer() {
	g := &c.gate
	switch {
	case !g.hasSTARTTLS() || g.options.NoCertificate:
	case g.offered:
		c.listener.tell(c.event(KindSTARTTLSOffered))
	case !c.lacksSaid:
		c.lacksSaid = true
		e := c.event(KindServerLacksSTARTTLS)
		e.Alert = true
		c.listener.tell(e)
	}
}

// earlyTalker gives the client the time to speak before the greeting, and says
// whether it did. The caller holds mu.
func (c *Conn) earlyTalker() bool {
	var b [1]byte
	now := time.Now()
	n, err, late := c.readInner(b[:], now.Add(c.listener.options.EarlyTalker), now)
	switch {
	case n > 0:
		e := c.event(KindCommandRefused)
		e.Reply, e.Reason = ReplyEarlyTalker, ReasonEarlyTalker
		c.listener.tell(e)
		c.lastWord(ReplyEarlyTalker, ReasonEarlyTalker)
		if c.linger { // the server may well close without reading
			c.linger = false
			drain(c.Conn)
		}
		return true
	case late || isTimeout(err):
		return false
	}
	c.noteClosed(err)
	c.die(ReasonClientClosed, err)
	return true
}
