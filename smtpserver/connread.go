package smtpserver

import (
	"bytes"
	"io"
	"net"
	"time"
)

// clientOctets is what has come from the client and is not the server's yet.
type clientOctets struct {
	buf     *[]byte // lent; nil when nothing is there and nothing is awaited
	r, w    int     // what is there: buf[r:w]
	cleared int     // how much of it may go to the server; changed under Conn.mu, too
	scanned int     // how much of it holds no LF
	large   bool    // buf is of the large kind

	since     time.Time // when the wait for the line or for octets began; zero: no wait
	text      uint32    // which message is coming in, by the gate's count
	textStart time.Time // when its data began
	textCount int       // octets of it
}

func (in *clientOctets) bytes() []byte { return (*in.buf)[in.r:in.w] }

// pending is bytes for a buffer that may not be there.
func (in *clientOctets) pending() []byte {
	if in.buf == nil {
		return nil
	}
	return in.bytes()
}

func (in *clientOctets) empty() bool { return in.r == in.w }

// drop takes n octets away.
func (in *clientOctets) drop(n int) {
	in.r += n
	in.scanned = 0
	if in.r == in.w {
		in.r, in.w = 0, 0
	}
}

// Read gives the server what has passed: in clear text at most one line, or message
// data up to its end; in a handshake TLS records; inside TLS what comes. It returns
// io.EOF once the session has ended.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if c.phase() == PhaseTLS {
		return c.readTLS(p)
	}
	c.decide()
	c.readMu.Lock()
	defer c.readMu.Unlock()
	n, err := c.read(p)
	if err == io.EOF {
		c.lingerOn()
	}
	return n, err
}

// lingerOn lets a last reply arrive before the server closes the connection.
func (c *Conn) lingerOn() {
	c.mu.Lock()
	linger := c.linger
	c.linger = false
	c.mu.Unlock()
	if linger {
		drain(c.Conn)
	}
}

func (c *Conn) read(p []byte) (int, error) {
	for {
		switch c.phase() {
		case PhaseDead, PhaseRejected:
			c.giveBack()
			return 0, c.over()
		case PhaseTLS:
			c.giveBack()
			return c.readTLS(p)
		case PhaseHandshake:
			if !c.in.empty() { // nothing is read between STARTTLS and its reply
				c.kill(ReasonInjection)
				continue
			}
			c.giveBack()
			n, err, again := c.readRecords(p)
			if !again {
				return n, err
			}
			continue
		}
		if n, err, done := c.step(p); done {
			return n, err
		}
	}
}

// hand copies what may go. The caller holds mu.
func (c *Conn) hand(p []byte) int {
	in := &c.in
	n := copy(p, (*in.buf)[in.r:in.r+in.cleared])
	in.cleared -= n
	in.drop(n)
	return n
}

// next says what a reader has to do when nothing has been cleared.
type next uint8

const (
	nextLook  next = iota // look again
	nextFill              // read octets of the client
	nextData              // read message data
	nextReply             // wait for a reply of the server
)

// step brings the session a bit further: by a decision about what is there, or by
// reading more. done says that Read returns n and err.
func (c *Conn) step(p []byte) (n int, err error, done bool) {
	c.mu.Lock()
	what := nextLook
	if c.in.cleared == 0 {
		what = c.look()
	}
	if c.in.cleared > 0 {
		n = c.hand(p)
		c.mu.Unlock()
		return n, nil, true
	}
	var wake <-chan struct{}
	if what == nextReply {
		wake = c.deadlines.waiter()
	}
	c.mu.Unlock()
	switch what {
	case nextFill:
		err, done = c.fill()
	case nextData:
		err, done = c.fillData()
	case nextReply:
		c.startWait()
		err, late := c.await(wake, after(c.in.since, c.listener.options.CommandTimeout))
		if err != nil {
			return 0, c.readFailed(err, late), true
		}
		c.in.since = time.Time{}
	}
	return 0, err, done
}

// look lets the gate decide about what is there. The caller holds mu.
func (c *Conn) look() next {
	in, g := &c.in, &c.gate
	if c.ending.Load() == endNow {
		c.linger = true
		c.die(ReasonServerClosed, nil)
		return nextLook
	}
	switch g.phase {
	case PhaseGreeting:
		return nextReply
	case PhaseData:
		if in.text != g.texts {
			in.text, in.textStart, in.textCount = g.texts, time.Now(), len(in.pending())
		}
		if in.empty() {
			return nextData
		}
		n, a := g.Data(in.bytes())
		if a.Kind != Forward {
			c.carryOut(a, 0)
			return nextLook
		}
		if n == 0 {
			return nextData // a CR whose successor is not here
		}
		in.cleared = n
		in.since = time.Time{}
		return nextLook
	case PhaseCommand, PhaseSASL:
		if g.waiting {
			return nextReply
		}
		return c.lookForLine()
	}
	return nextLook
}

// lookForLine lets the gate decide about the next line, if there is one.
func (c *Conn) lookForLine() next {
	in, g := &c.in, &c.gate
	if in.empty() {
		return nextFill
	}
	b := in.bytes()
	if g.phase == PhaseCommand && beginsRecord(b) {
		c.carryOut(g.Command(b[:1], true), 0)
		return nextLook
	}
	limit := c.lineLimit(b)
	lf := bytes.IndexByte(b[in.scanned:], '\n')
	if lf < 0 {
		in.scanned = len(b)
		if len(b) < limit {
			return nextFill
		}
		lf = limit // as good as beyond it
	} else {
		lf += in.scanned
	}
	if lf >= limit {
		c.carryOut(g.answerClose(ReplyTooLong, ReasonLineTooLong), 0)
		return nextLook
	}
	line, more := b[:lf+1], lf+1 < len(b)
	in.since = time.Time{}
	if g.ehlo && !more && g.hasSTARTTLS() && len(line) >= 8 && foldedEqual(line[:8], "STARTTLS") {
		g.options.NoCertificate = !c.certificateReady() // it may have changed since EHLO
	}
	a := g.Command(line, more)
	if a.Kind == Forward {
		in.cleared = len(line)
		return nextLook
	}
	c.carryOut(a, len(line))
	return nextLook
}

// lineLimit returns how long the line that b begins with may be.
func (c *Conn) lineLimit(b []byte) int {
	if c.gate.phase == PhaseSASL || len(b) >= 5 && b[4] == ' ' && foldedEqual(b[:4], "AUTH") {
		return MaxAuthLine
	}
	return c.listener.options.MaxLine
}

// carryOut does what the gate has decided about n octets that do not pass. The
// caller holds mu.
func (c *Conn) carryOut(a Action, n int) {
	if n > 0 {
		c.in.drop(n)
	}
	switch a.Kind {
	case Answer:
		c.noteRefusal(a.Reply)
		c.badCount++
		c.listener.stats.badCommands.Add(1)
		if err := c.say(c.gate.Octets(a.Reply)); err != nil {
			return
		}
		if most := c.listener.options.MaxBadCommands; most > 0 && c.badCount >= most {
			c.lastWord(ReplyTooManyBad, ReasonTooManyBad)
		}
	case AnswerClose:
		c.noteRefusal(a.Reply)
		c.listener.stats.badCommands.Add(1)
		c.lastWord(a.Reply, c.gate.dead)
	case Close:
		c.die(a.Reason, nil)
	}
}

// noteRefusal keeps what the outcome depends on, and tells the event.
func (c *Conn) noteRefusal(r Reply) {
	switch r {
	case ReplyTLSFirst:
		c.saidFirst = true
	case ReplyNoSTARTTLS, ReplySTARTTLSParameter, ReplySTARTTLSEarly, ReplyNoCertificate:
		c.starttlsNo = r
	}
	e := c.event(KindCommandRefused)
	e.Reply = r
	switch r {
	case ReplySTARTTLSInjection:
		e.Kind, e.Reason = KindInjection, ReasonInjection
	case ReplyBareNewline:
		e.Kind, e.Reason = KindBareNewline, ReasonBareNewline
	}
	c.listener.tell(e)
}

// say writes a reply of the filter. The caller holds mu.
func (c *Conn) say(reply []byte) error {
	_, err := c.writeInner(reply)
	if err != nil {
		c.die(reasonOf(err), err)
	}
	return err
}

// lastWord writes a reply and ends the session. The caller holds mu.
func (c *Conn) lastWord(r Reply, why Reason) {
	switch r {
	case ReplyTooManyBad, ReplyTimeout:
		e := c.event(KindLimit)
		e.Reply, e.Reason = r, why
		if r == ReplyTimeout {
			e.Kind = KindTimeout
		}
		c.listener.tell(e)
	}
	if c.say(c.gate.Octets(r)) == nil {
		c.linger = true
		c.die(why, nil)
	}
}

func (c *Conn) kill(why Reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.die(why, nil)
}

// startWait notes when the wait for a line or a reply began. Octets that come now
// and then do not begin it anew.
func (c *Conn) startWait() (now time.Time) {
	now = time.Now()
	if c.in.since.IsZero() {
		c.in.since = now
	}
	return now
}

// fill reads octets of the client into the buffer.
func (c *Conn) fill() (err error, done bool) {
	in := &c.in
	c.room(false)
	now := c.startWait()
	n, err, late := c.readInner((*in.buf)[in.w:], after(in.since, c.listener.options.CommandTimeout), now)
	in.w += n
	if n > 0 || err == nil {
		return nil, false
	}
	return c.readFailed(err, late), true
}

// room makes room for more octets: there is a buffer, and its end is free. An empty
// buffer gives way to one of the size that is wanted.
func (c *Conn) room(large bool) {
	in, pool := &c.in, c.listener.buffers
	if in.buf != nil && in.empty() && in.large != large {
		c.putBuffer()
	}
	if in.buf == nil {
		from := &pool.small
		if large {
			from = &pool.large
		}
		in.buf, in.large = from.Get().(*[]byte), large
	}
	if in.w < len(*in.buf) {
		return
	}
	if in.r > 0 {
		in.w = copy(*in.buf, in.bytes())
		in.r = 0
		return
	}
	big := pool.large.Get().(*[]byte)
	in.w = copy(*big, in.bytes())
	c.putBuffer()
	in.buf, in.large = big, true
}

// giveBack returns the buffer when nothing is in it that the server may have.
func (c *Conn) giveBack() {
	if c.in.buf != nil {
		c.putBuffer()
		c.in = clientOctets{}
	}
}

func (c *Conn) putBuffer() {
	pool := &c.listener.buffers.small
	if c.in.large {
		pool = &c.listener.buffers.large
	}
	pool.Put(c.in.buf)
	c.in.buf = nil
}

// readFailed turns an error of the connection below into what the server sees. late
// says that a timeout of the filter has passed.
func (c *Conn) readFailed(err error, late bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gate.phase == PhaseDead {
		return c.over()
	}
	if late {
		c.timeout()
		return io.EOF
	}
	if isTimeout(err) {
		return err // the server's own deadline
	}
	c.noteClosed(err)
	return err
}

// over returns what a Read gets after the end: net.ErrClosed if it was the server that
// closed the connection.
func (c *Conn) over() error {
	if c.closed.Load() {
		return net.ErrClosed
	}
	return io.EOF
}

// noteClosed keeps that the client has gone, if nothing else has happened.
func (c *Conn) noteClosed(err error) {
	if c.why == ReasonNone && !c.closed.Load() {
		c.why = ReasonClientClosed
		if err != io.EOF {
			c.lastErr = err
		}
		if h := c.handshake; h != nil {
			h.fail(ReasonClientClosed, c.lastErr)
		}
	}
}

// timeout ends a session that took too long: with a reply in clear text, without
// one in TLS. The caller holds mu.
func (c *Conn) timeout() {
	switch c.gate.phase {
	case PhaseCommand, PhaseSASL, PhaseData, PhaseGreeting:
		c.lastWord(ReplyTimeout, ReasonTimeout)
	default:
		e := c.event(KindTimeout)
		e.Reason = ReasonTimeout
		c.listener.tell(e)
		c.die(ReasonTimeout, nil)
	}
}

func reasonOf(err error) Reason {
	if isTimeout(err) {
		return ReasonTimeout
	}
	return ReasonClientClosed
}
