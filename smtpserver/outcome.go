package smtpserver

// tellOutcome tells, once at the end of a connection, why there was no TLS: when it
// was required and the peer could not get over the 530 (the log line of the AsyncOS
// chapter), or when a handshake failed. The caller holds mu.
func (c *Conn) tellOutcome() {
	p := c.gate.policy
	if p == nil || c.secure {
		return
	}
	e := c.event(KindTLSFailed)
	e.Err = c.lastErr
	h := c.handshake
	switch {
	case h != nil:
		h.fail(c.endReason(), c.lastErr)
		e.Reason, e.Stage, e.TLSAlert, e.Err = h.reason, h.stage, h.alert, h.err
		e.TLSVersion, e.CipherSuite, e.ServerName = h.info.Version, h.info.CipherSuite, h.info.ServerName
	case c.why == ReasonInjection:
		e.Reason, e.Reply = ReasonInjection, ReplySTARTTLSInjection
	case c.starttlsNo != ReplyNone:
		e.Reason, e.Reply = ReasonRefused, c.starttlsNo
	default:
		e.Reason = ReasonNeverTried
	}
	switch {
	case p.TLS == TLSRequired && c.saidFirst && c.recipients.Load() == 0:
		e.Kind = KindTLSRequiredUnmet
	case h == nil:
		return // no handshake, none demanded
	}
	c.listener.tell(e)
}

// endReason returns why a connection has ended of which nothing else is known.
func (c *Conn) endReason() Reason {
	if c.why != ReasonNone {
		return c.why
	}
	return ReasonServerClosed
}
