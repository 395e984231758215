package smtpserver

import "time"

// directFrom is how large the server's buffer must be for message data to be read
// into it at once.
const directFrom = 1024

// readData reads message data, straight into the server's buffer where that is
// possible. What stands behind the end of the data stays back.
func (c *Conn) readData(p []byte) (n int, err error, done bool) {
	in, now := &c.in, time.Now()
	if !in.empty() || len(p) < directFrom {
		c.room()
		n, err, late := c.readInner((*in.buf)[in.w:], c.dataDeadline(now), now)
		in.w += n
		in.textCount += n
		if n > 0 || err == nil {
			return 0, nil, false
		}
		return 0, c.readFailed(err, late), true
	}
	p = p[:min(len(p), MaxAuthLine)] // what stays back must fit into a buffer
	n, err, late := c.readInner(p, c.dataDeadline(now), now)
	if n == 0 {
		if err == nil {
			return 0, nil, false
		}
		return 0, c.readFailed(err, late), true
	}
	in.textCount += n
	c.mu.Lock()
	defer c.mu.Unlock()
	passed, a := 0, Action{}
	if c.gate.phase == PhaseData { // the server may have replied in the meantime
		passed, a = c.gate.Data(p[:n])
	}
	if passed < n {
		c.keep(p[passed:n])
		clear(p[passed:n])
	}
	if a.Kind == AnswerClose {
		c.carryOut(a, 0)
		return 0, nil, false
	}
	return passed, nil, passed > 0
}

// keep puts octets into the buffer, which is empty.
func (c *Conn) keep(b []byte) {
	in, pool := &c.in, c.listener.buffers
	if in.buf != nil && len(*in.buf) < len(b) {
		c.putBuffer()
	}
	if in.buf == nil {
		in.large = len(b) > c.listener.options.MaxLine
		if in.large {
			in.buf = pool.large.Get().(*[]byte)
		} else {
			in.buf = pool.small.Get().(*[]byte)
		}
	}
	in.r, in.w, in.scanned = 0, copy(*in.buf, b), 0
}

// dataDeadline returns until when the next octet of message data must come.
func (c *Conn) dataDeadline(now time.Time) time.Time {
	o, in := &c.listener.options, &c.in
	deadline := after(now, o.DataTimeout)
	if o.DataMinRate > 0 {
		earned := time.Duration(float64(in.textCount) / float64(o.DataMinRate) * float64(time.Second))
		deadline = earlier(deadline, in.textStart.Add(max(o.DataTimeout, 0)+earned))
	}
	return deadline
}
