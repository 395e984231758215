package smtpserver

import "time"

// fillData reads message data into a large buffer: servers ask for it in smaller
// pieces, and each read of the connection below costs more than passing them on.
func (c *Conn) fillData() (err error, done bool) {
	in, now := &c.in, time.Now()
	c.room(true)
	n, err, late := c.readInner((*in.buf)[in.w:], c.dataDeadline(now), now)
	in.w += n
	in.textCount += n
	if n > 0 || err == nil {
		return nil, false
	}
	return c.readFailed(err, late), true
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
