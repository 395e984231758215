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

// afterWrite lets EndAfterReply take effect.
func (c *Conn) afterWrite() {
	if c.ending.Load() == endArmed {
		c.ending.CompareAndSwap(endArmed, endNow)
	}
}

// takeReply takes octets up to the end of a reply or of b, and passes the reply on
// when it is complete. The caller holds mu.
func (c *Conn) takeReply(b []byte) (n int, err error) {
	if c.reply == nil {
		// Nearly every reply comes whole, and goes on without a copy.
		if n, code, complete := replyEnd(b); complete {
			return n, c.passReply(b[:n], code)
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
	code, more := nextReplyLine(*c.reply, (*c.reply)[c.replyLine:])
	if more {
		c.replyLine = len(*c.reply)
		return n, nil
	}
	err = c.passReply(*c.reply, code)
	c.dropReply()
	return n, err
}

// replyKept is the largest buffer for replies that is used again.
const replyKept = 4096

func (c *Conn) dropReply() {
	give(&c.listener.buffers.text, c.reply, replyKept)
	c.reply = nil
}

// replyEnd finds the first complete reply in b: it ends at n. Its code is 0 if the
// line that ends there does not belong to a reply.
func replyEnd(b []byte) (n, code int, complete bool) {
	for n < len(b) {
		lf := bytes.IndexByte(b[n:], '\n')
		if lf < 0 {
			break
		}
		line, more := b[n:n+lf+1], false
		n += lf + 1
		if code, more = nextReplyLine(b, line); !more {
			return n, code, true
		}
	}
	return 0, 0, false
}

// nextReplyLine returns the code of a line in a reply and whether another follows.
// All lines of a reply have the code of the first.
func nextReplyLine(reply, line []byte) (code int, more bool) {
	code, more = replyCode(line)
	if first, _ := replyCode(reply); first != code {
		return 0, false
	}
	return code, more
}

// replyCode returns the code of a reply line and whether another line follows it in
// the reply (RFC 5321 section 4.2.1). The code is 0 if this is no reply line.
func replyCode(line []byte) (code int, more bool) {
	if len(line) < 4 || line[0] < '2' || line[0] > '5' || !isDigit(line[1]) || !isDigit(line[2]) {
		return 0, false
	}
	switch line[3] {
	case '-':
		more = true
	case ' ', '\r', '\n':
	default:
		return 0, false
	}
	return int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0'), more
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// passReply lets the gate decide about a complete reply and sends it.
func (c *Conn) passReply(reply []byte, code int) error {
	g := &c.gate
	greeting, pending, before := g.phase == PhaseGreeting, g.pending, g.phase
	if greeting && code == 220 && c.listener.options.EarlyTalker > 0 && c.earlyTalker() {
		return net.ErrClosed
	}
	early := c.isEarly()
	a := g.Reply(code)
	if a.Kind == Forward && early && code < 400 {
		a = g.Kill(ReasonUnexpectedReply)
	}
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
	case early:
		if err := c.pass(reply); err != nil {
			return err
		}
		c.linger = true
		c.die(ReasonUnexpectedReply, nil)
		return nil
	case greeting && code == 220 && g.policy.Banner != nil:
		return c.passRewritten(g.policy.Banner.appendGreeting, reply)
	case pending == verbEHLO && code == 250:
		g.options.NoCertificate = !c.certificateReady()
		defer c.noteOffer()
		return c.passRewritten(g.FilterEHLO, reply)
	}
	return c.pass(reply)
}

// isEarly says whether the server replies before it has had all that it replies to.
// It may take the rest for commands then, which nobody has looked at, or for more of
// the same. The caller holds mu.
func (c *Conn) isEarly() bool {
	g := &c.gate
	if g.phase == PhaseData && g.policy.BareNewline == On {
		// The server sees an end of the data where the gate sees none: what it has not
		// got is looked at again.
		c.in.cleared = 0
		return false
	}
	return c.in.cleared > 0 || g.phase == PhaseData && !g.ended
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
