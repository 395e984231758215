package gosmtp

import (
	"io"
	"strings"
	"sync"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/smtpsec/smtpsec/internal/hostname"
	"github.com/smtpsec/smtpsec/smtpserver"
)

// session stands between go-smtp and a session of the Backend. What has to outlive a
// session, because EHLO, RSET and STARTTLS must not reset it, is counted by conn.
type session struct {
	smtp.Session
	server  *smtp.Conn
	conn    *smtpserver.Conn
	report  func(smtpserver.Kind, smtpserver.Reason, int) // conn.Report
	policy  *smtpserver.Policy
	options *Options

	// With BDAT, go-smtp runs Data in a goroutine of its own, and RSET and MAIL may
	// come while it still does.
	mu         sync.Mutex
	recipients int  // that the open transaction has
	binary     bool // BODY=BINARYMIME (RFC 3030 section 3)
	ending     bool // nothing is done any more
}

func (s *session) inside() smtp.Session { return s.Session }

// end lets the session end after the reply that comes next. What the server has read
// already is refused: inside TLS that may be any number of commands.
func (s *session) end() {
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	s.conn.EndAfterReply()
}

func (s *session) isEnding() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ending
}

// tls says whether the server itself has TLS on the connection, whatever the filter
// thinks.
func (s *session) tls() bool {
	state, ok := s.server.TLSConnectionState()
	return ok && state.HandshakeComplete
}

// refuse tells the event of a refusal, and returns it.
func (s *session) refuse(kind smtpserver.Kind, why smtpserver.Reason, reply *smtp.SMTPError) *smtp.SMTPError {
	s.report(kind, why, reply.Code)
	return reply
}

// Mail implements smtp.Session.
func (s *session) Mail(from string, opts *smtp.MailOptions) error {
	switch {
	case s.isEnding():
		return errEnding
	case !s.tls() && (s.policy.TLS == smtpserver.TLSRequired || s.policy.TLSRequiredFrom.Contains(from)):
		return s.refuse(smtpserver.KindCommandRefused, smtpserver.ReasonTLSRequired, errNeedTLS)
	case s.policy.MaxMessageBytes >= 0 && opts != nil && opts.Size > s.policy.MaxMessageBytes:
		return s.refuse(smtpserver.KindLimit, smtpserver.ReasonMessageTooLarge, errTooLarge)
	case !s.conn.AddMessage():
		s.end()
		return s.refuse(smtpserver.KindLimit, smtpserver.ReasonTooManyMessages, errTooManyMessages)
	}
	if err := s.Session.Mail(from, opts); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Recipients are not counted anew: go-smtp takes a second MAIL without RSET and
	// keeps those of the first.
	s.binary = opts != nil && opts.Body == smtp.BodyBinaryMIME
	return nil
}

// Rcpt implements smtp.Session.
func (s *session) Rcpt(to string, opts *smtp.RcptOptions) error {
	s.mu.Lock()
	ending, recipients := s.ending, s.recipients
	s.mu.Unlock()
	switch {
	case ending:
		return errEnding
	case s.policy.MaxRcptsPerMessage >= 0 && recipients >= s.policy.MaxRcptsPerMessage:
		return s.refuse(smtpserver.KindLimit, smtpserver.ReasonTooManyRcpts, errTooManyRcpts)
	case s.options.Local != nil && !s.conn.Relay() && !s.options.local(to):
		return s.refuse(smtpserver.KindCommandRefused, smtpserver.ReasonForeignRecipient,
			&smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: s.options.ForeignText})
	case !s.conn.TakeRecipient():
		return s.refuse(smtpserver.KindLimit, smtpserver.ReasonRcptRate,
			&smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 5, 3}, Message: s.options.HourlyText})
	}
	if err := s.Session.Rcpt(to, opts); err != nil {
		return err
	}
	s.conn.RecipientAccepted()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recipients++
	return nil
}

// local says whether a recipient is at a domain of this server.
func (o *Options) local(to string) bool {
	at := strings.IndexByte(to, '@')
	if at < 0 {
		return true // Postmaster (RFC 5321 section 4.5.1)
	}
	domain := to[at+1:]
	if strings.HasPrefix(domain, "[") {
		addr, ok := hostname.Literal(domain)
		return ok && o.Local("["+addr.Unmap().String()+"]")
	}
	// Another "@" fails here. It was quoted in the command, where go-smtp drops the
	// quotes, or not: the next to read the address may cut it at the wrong one.
	name, err := hostname.Parse(domain)
	return err == nil && o.Local(name)
}

// Data implements smtp.Session.
func (s *session) Data(r io.Reader) error {
	return s.transfer(r, func(g *guard) error { return s.Session.Data(g) })
}

// transfer lets read have the message behind a guard. What the guard found counts,
// whatever read makes of it.
func (s *session) transfer(r io.Reader, read func(*guard) error) error {
	s.mu.Lock()
	ending, binary := s.ending, s.binary
	s.mu.Unlock()
	if ending {
		return errEnding
	}
	if _, ok := r.(*io.PipeReader); ok { // what go-smtp has for BDAT
		r = chunks{r, s}
	}
	g := &guard{r: r, limit: s.policy.MaxMessageBytes, lenient: binary || s.policy.BareNewline == smtpserver.On}
	err := read(g)
	fail := g.failure()
	if fail == nil {
		return err
	}
	if fail == errBrokenOff {
		return fail // the client has gone: nothing was refused
	}
	if fail == errBareNewline {
		// The rest is read before the session ends, so that the next reply is the one
		// to this message, also if more BDAT commands follow.
		_, _ = io.Copy(io.Discard, r)
		s.end()
		return s.refuse(smtpserver.KindBareNewline, smtpserver.ReasonBareNewline, fail)
	}
	return s.refuse(smtpserver.KindLimit, smtpserver.ReasonMessageTooLarge, fail)
}

// Reset implements smtp.Session.
func (s *session) Reset() {
	s.mu.Lock()
	s.recipients, s.binary = 0, false
	s.mu.Unlock()
	s.Session.Reset()
}

// authPart is what a session has that is an smtp.AuthSession.
type authPart struct {
	s     *session
	inner smtp.AuthSession
}

// AuthMechanisms implements smtp.AuthSession.
func (p authPart) AuthMechanisms() []string { return p.inner.AuthMechanisms() }

// Auth implements smtp.AuthSession.
func (p authPart) Auth(mech string) (sasl.Server, error) {
	switch {
	case p.s.isEnding():
		return nil, errEnding
	case !p.s.tls() && p.s.policy.TLS == smtpserver.TLSRequired:
		return nil, p.s.refuse(smtpserver.KindCommandRefused, smtpserver.ReasonTLSRequired, errNeedTLS)
	case !p.s.tls() && p.s.policy.AuthInClear != smtpserver.On:
		return nil, p.s.refuse(smtpserver.KindCommandRefused, smtpserver.ReasonTLSRequired, errAuthNeedsTLS)
	}
	return p.inner.Auth(mech)
}

// rejected is the session of a peer whose rejection is delayed: it comes as far as
// RCPT. Without a recipient go-smtp takes no message.
type rejected struct {
	conn    *smtpserver.Conn
	refusal *smtp.SMTPError
}

func (rejected) Mail(string, *smtp.MailOptions) error { return nil }
func (r rejected) Rcpt(string, *smtp.RcptOptions) error {
	r.conn.Report(smtpserver.KindCommandRefused, smtpserver.ReasonRejected, r.refusal.Code)
	return r.refusal
}
func (r rejected) Data(io.Reader) error { return r.refusal }
func (rejected) Reset()                 {}
func (rejected) Logout() error          { return nil }
