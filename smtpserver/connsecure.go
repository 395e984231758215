package smtpserver

import (
	"io"
	"net"
	"time"
)

// readTLS reads inside TLS, where nothing is looked at.
func (c *Conn) readTLS(p []byte) (int, error) {
	if c.ending.Load() == endNow {
		return 0, io.EOF // the server has a close_notify to write: Close lingers
	}
	var idle time.Time
	now := time.Now()
	if !c.deadlines.hasRead() {
		idle = after(now, c.listener.options.IdleTimeout)
	}
	n, err, late := c.readInner(p, idle, now)
	switch {
	case n > 0 || err == nil:
		return n, nil
	case c.phase() == PhaseDead && err != nil && !late:
		return 0, c.over()
	case late:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.timeout()
		return 0, io.EOF
	}
	return n, err
}

func (d *deadlines) hasRead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.read.IsZero()
}

// readRecords reads in a handshake. again says that the phase has changed.
func (c *Conn) readRecords(p []byte) (n int, err error, again bool) {
	c.mu.Lock()
	h := c.handshake
	if h == nil {
		c.mu.Unlock()
		return 0, nil, true
	}
	o := &c.listener.options
	ours := after(h.start, o.HandshakeTimeout)
	if !h.finished.IsZero() {
		ours = after(h.finished, o.CommandTimeout)
	}
	over := h.clientDone
	c.mu.Unlock()
	if over {
		return 0, io.EOF, false
	}
	n, err, late := c.readInner(p, ours, time.Now())
	c.mu.Lock()
	if c.handshake == h && n > 0 {
		n = h.fromClient(p[:n], time.Now())
		if h.clientDone && h.reason == ReasonBadRecord {
			e := c.event(KindBadRecord)
			e.Reason, e.Stage = ReasonBadRecord, h.stage
			c.listener.tell(e)
		}
	}
	c.mu.Unlock()
	if n > 0 || err == nil {
		return n, nil, false
	}
	return 0, c.readFailed(err, late), false
}

// writeRecords writes TLS records and follows the handshake by them. The caller
// holds mu.
func (c *Conn) writeRecords(p []byte) (int, error) {
	if !looksLikeRecord(p) {
		c.guardWrite()
		return 0, net.ErrClosed
	}
	h := c.handshake
	complete := h.fromServer(p)
	n, err := c.writeInner(p)
	if err != nil {
		h.fail(reasonOf(err), err)
		return n, err
	}
	if complete && h.reason == ReasonNone {
		c.secured(h)
	}
	c.afterWrite()
	return n, nil
}

// writeTLS writes inside TLS.
func (c *Conn) writeTLS(p []byte) (int, error) {
	if !looksLikeRecord(p) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.guardWrite()
		return 0, net.ErrClosed
	}
	n, err := c.writeInner(p)
	c.afterWrite()
	return n, err
}

// guardWrite ends a session in which the server wrote clear text where TLS should
// be. The caller holds mu.
func (c *Conn) guardWrite() { c.die(ReasonPlaintext, nil) }

// secured ends the handshake. The caller holds mu.
func (c *Conn) secured(h *handshake) {
	c.gate.Secured()
	c.setMode()
	c.secure = true
	c.handshake = nil
	e := c.event(KindTLSEstablished)
	e.TLSVersion, e.CipherSuite, e.ServerName = h.info.Version, h.info.CipherSuite, h.info.ServerName
	c.listener.tell(e)
}
