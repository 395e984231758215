//go:build unix

package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/smtpsec/smtpsec/examples/relay/inbound"
	"github.com/smtpsec/smtpsec/examples/relay/spool"
	"github.com/smtpsec/smtpsec/examples/relay/trace"
	"github.com/smtpsec/smtpsec/smtpserver"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// maxRefusals is how many commands of a session may be refused before it ends:
// somebody is guessing addresses.
const maxRefusals = 25

// refusal makes a reply. go-smtp wants the value itself, not one that wraps it.
func refusal(code int, enhanced [3]int, text string) *smtp.SMTPError {
	return &smtp.SMTPError{Code: code, EnhancedCode: enhanced, Message: text}
}

// A session is one client between EHLO and QUIT. What the client may do at all has
// been decided in front of it, by the host access table and gosmtp.
type session struct {
	relay   *relay
	server  *smtp.Conn
	conn    *smtpserver.Conn
	maxSize int64

	mu       sync.Mutex // with BDAT, Data runs beside RSET
	envelope *spool.Envelope
	refused  int
}

// Mail implements smtp.Session.
func (s *session) Mail(from string, o *smtp.MailOptions) error {
	_, secure := s.server.TLSConnectionState()
	e := &spool.Envelope{Sender: from, Client: spool.Client{Address: peer(s.conn), Helo: s.server.Hostname()}}
	if o != nil {
		e.RequireTLS, e.SMTPUTF8, e.BodyType = o.RequireTLS, o.UTF8, string(o.Body)
		e.Return, e.EnvelopeID = string(o.Return), o.EnvelopeID
	}
	if from != "" {
		e.Sender = inbound.Address(from)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.relay.draining.Load():
		s.conn.EndAfterReply()
		return refusal(421, [3]int{4, 3, 2}, "The relay is stopping, come again")
	case s.envelope != nil:
		return s.refuse(503, [3]int{5, 5, 1}, "There is a transaction already")
	case e.RequireTLS && !secure: // RFC 8689 section 4.1
		return s.refuse(530, [3]int{5, 7, 10}, "REQUIRETLS needs TLS on the way here too")
	case from != "" && s.relay.checkDomain(from) != nil:
		return s.refuse(553, [3]int{5, 1, 7}, "The sender's domain is no domain name")
	}
	e.Recipients = []spool.Recipient{{Address: "postmaster"}} // for the check alone
	if err := e.Check(); err != nil {
		return s.refuse(553, [3]int{5, 1, 7}, "The sender or an option cannot be used: "+oneLine(err))
	}
	e.Recipients = nil
	s.envelope = e
	return nil
}

// Rcpt implements smtp.Session. That the client may send there has been decided by
// gosmtp.
func (s *session) Rcpt(to string, o *smtp.RcptOptions) error {
	r := spool.Recipient{Address: inbound.Address(to)}
	if o != nil {
		for _, n := range o.Notify {
			var one spool.Notify
			if one.UnmarshalText([]byte(n)) == nil {
				r.Notify |= one
			}
		}
		if o.OriginalRecipient != "" {
			r.OriginalRecipient = strings.ToLower(string(o.OriginalRecipientType)) + ";" + o.OriginalRecipient
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.envelope
	if e == nil {
		return s.refuse(503, [3]int{5, 5, 1}, "MAIL comes first")
	}
	switch {
	case s.relay.checkDomain(to) != nil:
		return s.refuse(553, [3]int{5, 1, 2}, "The recipient's domain is no domain name")
	case !s.conn.Relay() && inbound.LeadsOn(to):
		return s.refuse(550, [3]int{5, 7, 1}, "Relaying denied: the local part leads to another domain")
	}
	if slices.ContainsFunc(e.Recipients, func(other spool.Recipient) bool { return other.Address == r.Address }) {
		return nil // once is enough
	}
	with := *e
	with.Recipients = []spool.Recipient{r}
	if err := with.Check(); err != nil {
		return s.refuse(553, [3]int{5, 1, 3}, "The recipient cannot be used: "+oneLine(err))
	}
	if len(e.Recipients) >= spool.MaxRecipients {
		return refusal(452, [3]int{4, 5, 3}, "Too many recipients in this message")
	}
	e.Recipients = append(e.Recipients, r)
	return nil
}

// refuse counts refusals; the caller holds the lock.
func (s *session) refuse(code int, enhanced [3]int, text string) error {
	s.relay.metrics.refused.Add(1)
	if s.refused++; s.refused > maxRefusals {
		s.conn.EndAfterReply()
		return refusal(421, [3]int{4, 7, 0}, "Too many errors in this session")
	}
	return refusal(code, enhanced, text)
}

// Data implements smtp.Session: the moment in which the relay takes responsibility.
// The client hears 250 when the message is on the disk, and not before.
func (s *session) Data(r io.Reader) error {
	s.mu.Lock()
	e := s.envelope
	s.mu.Unlock()
	if e == nil || len(e.Recipients) == 0 {
		return refusal(503, [3]int{5, 5, 1}, "There are no recipients")
	}
	h, err := s.receive(e, inbound.Pace(r, s.conn))
	if s.relay.draining.Load() {
		s.conn.EndAfterReply()
	}
	if err != nil {
		return s.failed(e, err)
	}
	s.relay.metrics.received.Add(1)
	s.relay.log.Info("message accepted", "id", e.ID, "from", e.Sender, "recipients", len(e.Recipients), "size", e.Size,
		"client", e.Client.Address, "helo", e.Client.Helo, "group", s.conn.Group().Name, "message-id", h.MessageID)
	s.relay.schedule(e)
	return refusal(250, [3]int{2, 0, 0}, "queued as "+e.ID)
}

// receive writes a message to the spool.
func (s *session) receive(e *spool.Envelope, r io.Reader) (h trace.Header, err error) {
	w, err := s.relay.spool.Create(s.maxSize)
	if err != nil {
		return h, err
	}
	defer w.Abort()
	in := bufio.NewReaderSize(r, 32<<10)
	if h, err = trace.ReadHeader(in); err != nil {
		return h, err
	}
	if h.Hops >= trace.MaxHops {
		return h, refusal(554, [3]int{5, 4, 6}, "Too many hops, this message is going round in a loop")
	}
	e.TLSOptional = h.TLSOptional
	if _, err = w.Write(h.Behind(s.hop(e, w.ID()))); err != nil {
		return h, err
	}
	if _, err = io.Copy(w, in); err != nil {
		return h, err
	}
	return h, w.Commit(e)
}

func (s *session) hop(e *spool.Envelope, id string) trace.Hop {
	h := trace.Hop{Helo: e.Client.Helo, Address: e.Client.Address, UTF8: e.SMTPUTF8,
		By: s.relay.hostname, ID: id, At: time.Now()}
	if state, ok := s.server.TLSConnectionState(); ok {
		h.TLS = &state
	}
	if names := s.conn.Verdict().Host.Names; len(names) > 0 {
		h.Host = names[0]
	}
	if len(e.Recipients) == 1 {
		h.Recipient = e.Recipients[0].Address
	}
	return h
}

// failed says in one reply and one line of the log why a message was not accepted.
// Whatever it was, nothing of the message stays.
func (s *session) failed(e *spool.Envelope, err error) error {
	var reply *smtp.SMTPError
	switch {
	case errors.As(err, &reply):
	case errors.Is(err, trace.ErrHeader):
		reply = refusal(552, [3]int{5, 3, 4}, "Message header is too large")
	case errors.Is(err, spool.ErrTooLarge):
		reply = refusal(552, [3]int{5, 3, 4}, "Message exceeds the maximum size")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		reply = refusal(452, [3]int{4, 3, 1}, "Insufficient system storage")
		s.relay.alert("spool-full", "", "The spool has no room for new mail: "+err.Error())
	case errors.Is(err, smtp.ErrTooLongLine):
		reply = refusal(554, [3]int{5, 6, 0}, "Message has a line that is too long")
	case errors.Is(err, inbound.ErrBrokeOff):
		reply = refusal(451, [3]int{4, 4, 2}, "The message broke off")
	default:
		reply = refusal(451, [3]int{4, 3, 0}, "The message cannot be stored now")
		s.relay.alert("spool-failed", "", "A message cannot be written to the spool: "+err.Error())
	}
	s.relay.metrics.refused.Add(1)
	s.relay.log.Warn("message not accepted", "reply", reply.Code, "from", e.Sender, "client", e.Client.Address, "err", err)
	return reply
}

// Reset implements smtp.Session.
func (s *session) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.envelope = nil
}

// Logout implements smtp.Session. The connection may go on: STARTTLS logs out too.
func (s *session) Logout() error {
	s.relay.sessions.CompareAndSwap(s.conn, s, (*session)(nil))
	return nil
}

// drain ends sessions that are between transactions, and connections without one.
// go-smtp takes the passed deadline for a client that has fallen silent, and says 421.
func (r *relay) drain() {
	r.sessions.Range(func(conn, value any) bool {
		if s := value.(*session); s != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.envelope != nil {
				return true
			}
		}
		_ = conn.(*smtpserver.Conn).SetReadDeadline(time.Unix(1, 0))
		return true
	})
}

// checkDomain returns an error if the domain of an address is none.
func (r *relay) checkDomain(mailbox string) error {
	_, _, err := r.setup.Load().config.Delivery.Destinations.Lookup(mailbox[strings.LastIndexByte(mailbox, '@')+1:], tlspolicy.NextHop{})
	return err
}

// peer returns the address of a client.
func peer(c net.Conn) netip.Addr {
	at, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	return at.Addr().Unmap()
}

// oneLine makes an error fit for a reply line (RFC 5321 section 4.5.3.1.5).
func oneLine(err error) string {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, err.Error())
	return text[:min(len(text), 300)]
}
