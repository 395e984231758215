package smtpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/smtp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

// Session is a connection on which MAIL may be sent. It belongs to one goroutine,
// except for Close. The context of Dial has no hold on it any more, and no
// deadline is set: those of the transaction are its user's business.
//
// Take the connection once, in the form that fits: NetSMTP, ReplayConn or
// NetConn.
type Session struct {
	// Report tells how the Session came about.
	Report *Report

	host     string
	name     string
	conf     *config
	link     *link
	tls      *tls.Conn
	state    *tls.ConnectionState
	esmtp    bool
	ext      Extensions
	decision tlspolicy.Decision
	identity tlspolicy.Identity
	key      ReuseKey
	expires  time.Time

	taken  atomic.Bool
	replay *replayConn
	close  sync.Once
}

// ErrTaken is returned when the connection of a Session is asked for twice.
var ErrTaken = errors.New("smtpclient: the connection of this session has been taken already")

func (t *attempt) session(l *link) *Session {
	s := &Session{
		Report: t.x.report, host: t.plan.host.name, name: t.name, conf: t.x.conf,
		link: l, tls: t.talk.tls, esmtp: t.esmtp, ext: t.ext,
		decision: t.a.Decision, identity: t.a.Identity, key: t.x.keyParts(t.plan, t.generation).reuseKey(), expires: t.plan.expires,
	}
	if s.tls != nil {
		state := s.tls.ConnectionState()
		s.state = &state
	}
	return s
}

// conn is the connection that SMTP is spoken on.
func (s *Session) conn() net.Conn {
	if s.tls != nil {
		return s.tls
	}
	return s.link
}

// NetConn takes the bare connection: behind the reply to the last EHLO, nothing
// buffered, ready for MAIL. It is a *tls.Conn if there is TLS. If the connection
// has been taken, every method of the result fails with ErrTaken.
func (s *Session) NetConn() net.Conn {
	if !s.taken.CompareAndSwap(false, true) {
		return takenConn{s.link}
	}
	return s.conn()
}

// ReplayConn takes the connection for a client library that wants to begin at
// the beginning. The first Read yields a greeting; the first EHLO, if it gives
// LocalName, is answered from the reply that the server has already given,
// without a round trip; STARTTLS is not offered and is refused, because whether
// to use TLS has been decided. All else goes to the server. If the connection has
// been taken, every method of the result fails with ErrTaken.
func (s *Session) ReplayConn() net.Conn {
	if !s.taken.CompareAndSwap(false, true) {
		return takenConn{s.link}
	}
	s.replay = newReplayConn(s.conn(), s.host, s.name, s.esmtp, s.ext)
	s.replay.close = s.Close
	return s.replay
}

// NetSMTP takes the connection as a client of net/smtp, with Hello done. Go on
// with Mail. net/smtp does not see the TLS underneath: pass mechanisms for
// Client.Auth through Session.Auth. net/smtp sets no deadlines either; to bound
// the transaction by a context, let context.AfterFunc call Session.Close. The
// error is ErrTaken if the connection has been taken.
func (s *Session) NetSMTP() (*smtp.Client, error) {
	conn := s.ReplayConn()
	client, err := smtp.NewClient(conn, s.host)
	if err != nil {
		return nil, err
	}
	if err := client.Hello(s.name); err != nil {
		return nil, err
	}
	return client, nil
}

// Auth wraps a mechanism so that it sees whether the session has TLS, which
// net/smtp cannot know here; PLAIN refuses without it.
func (s *Session) Auth(a smtp.Auth) smtp.Auth { return &sessionAuth{a, s.tls != nil} }

type sessionAuth struct {
	smtp.Auth
	tls bool
}

func (a *sessionAuth) Start(info *smtp.ServerInfo) (proto string, toServer []byte, err error) {
	told := *info
	told.TLS = a.tls
	return a.Auth.Start(&told)
}

// Extensions returns what the server offers: from the EHLO inside TLS if there is
// TLS. It is empty after HELO.
func (s *Session) Extensions() Extensions { return s.ext }

// LocalName returns the name that we gave in EHLO.
func (s *Session) LocalName() string { return s.name }

// Host returns the name of the host connected to, as the MX record or DialHost
// gave it, in A-labels; an address in text form for a literal.
func (s *Session) Host() string { return s.host }

// TLS returns the state of the TLS session, nil on clear text.
func (s *Session) TLS() *tls.ConnectionState { return s.state }

// Decision returns what policy said about the session: the Action is one of the
// three Deliver actions.
func (s *Session) Decision() tlspolicy.Decision { return s.decision }

// Identity returns the name that the server's certificate proved. It is zero if
// names were not looked at, as in TLS without verification and with DANE-EE.
func (s *Session) Identity() tlspolicy.Identity { return s.identity }

// ReuseKey returns the key under which a pool may keep the session.
func (s *Session) ReuseKey() ReuseKey { return s.key }

// Expires returns when the first of the facts that the session rests on runs out:
// DNS answers, TLSA records, the MTA-STS policy. It is not to be used for another
// delivery afterwards.
func (s *Session) Expires() time.Time { return s.expires }

// SetDeadline bounds what is read and written on the connection from now on, in
// whichever form it was taken, by an absolute time; the zero time removes the
// bound. It is for clients that hide their connection, such as that of NetSMTP.
// After a deadline has passed on a session with TLS nothing can be sent on it any
// more, and it is good for Close only.
func (s *Session) SetDeadline(t time.Time) error {
	if s.replay != nil {
		return s.replay.SetDeadline(t)
	}
	return s.conn().SetDeadline(t)
}

// Quit says QUIT, waits for the reply for at most Timeouts.Quit and as long as
// ctx allows, and closes. Call it between transactions only. The error tells
// that the server did not take leave properly; the session is closed in any
// case, and mail that it has accepted is not touched by it.
func (s *Session) Quit(ctx context.Context) error {
	defer s.Close()
	unbind := s.link.bind(ctx)
	defer unbind()
	t := newTalk(s.link, &s.conf.limits, &s.conf.timeouts)
	defer t.release()
	if s.tls != nil {
		t.tls, t.rd.src = s.tls, s.tls
	}
	s.link.phase(ctx, t.timeout.Quit)
	err := t.send("QUIT", "")
	if err == nil {
		err = t.rd.read(t.rep)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return wireError(StageReady, err)
	case t.rep.code != codeClosing:
		return t.unexpected(StageReady)
	}
	return nil
}

// codeClosing is the reply to QUIT (RFC 5321 section 4.1.1.10).
const codeClosing = 221

// closingAlert is how long Close gives the closing alert of TLS, which is written
// without waiting unless the peer has stopped reading.
const closingAlert = 100 * time.Millisecond

// Close closes the connection without QUIT. It may be called at any time, from
// any goroutine, and more than once.
func (s *Session) Close() error {
	s.close.Do(func() {
		if s.tls != nil {
			// Not only what Close writes needs a deadline: a Read may hold it up, in which
			// crypto/tls answers a key update of a peer that has stopped reading.
			s.link.limit(time.Now().Add(closingAlert))
			s.tls.Close()
		}
		s.link.Close()
	})
	return s.link.Close()
}

// takenConn is what is given out when the connection is gone.
type takenConn struct{ link *link }

func (takenConn) Read([]byte) (int, error)         { return 0, ErrTaken }
func (takenConn) Write([]byte) (int, error)        { return 0, ErrTaken }
func (takenConn) Close() error                     { return ErrTaken }
func (t takenConn) LocalAddr() net.Addr            { return t.link.LocalAddr() }
func (t takenConn) RemoteAddr() net.Addr           { return t.link.RemoteAddr() }
func (takenConn) SetDeadline(time.Time) error      { return ErrTaken }
func (takenConn) SetReadDeadline(time.Time) error  { return ErrTaken }
func (takenConn) SetWriteDeadline(time.Time) error { return ErrTaken }
