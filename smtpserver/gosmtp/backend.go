package gosmtp

import (
	"github.com/emersion/go-smtp"

	"github.com/smtpsec/smtpsec/smtpserver"
)

// backend wraps the sessions of another Backend.
type backend struct {
	smtp.Backend
	options Options
	configs tlsConfigs // of the Listeners, in the order of Attach
}

// NewSession implements smtp.Backend. Peers that are rejected, and connections that
// no table has judged, do not reach the Backend.
func (b *backend) NewSession(c *smtp.Conn) (smtp.Session, error) {
	conn, ok := smtpserver.FromConn(c.Conn())
	if !ok {
		return nil, errNoVerdict
	}
	policy := conn.Policy()
	if policy == nil {
		return nil, errNoVerdict
	}
	switch policy.Access {
	case smtpserver.Accept, smtpserver.Relay:
	case smtpserver.Reject:
		if policy.Reject.Delayed {
			return rejected{conn, rejection(policy.Reject)}, nil
		}
		return nil, rejection(policy.Reject)
	default:
		return nil, errNoVerdict
	}
	inner, err := b.Backend.NewSession(c)
	if err != nil {
		return nil, err
	}
	return wrap(&session{Session: inner, server: c, conn: conn, report: conn.Report, policy: policy, options: &b.options}), nil
}

// wrap gives s the optional interfaces that the session inside has. go-smtp asks for
// them by type assertion, so there is a type for each combination.
func wrap(s *session) smtp.Session {
	auth, isAuth := s.Session.(smtp.AuthSession)
	lmtp, isLMTP := s.Session.(smtp.LMTPSession)
	withAuth, withLMTP := authPart{s, auth}, lmtpPart{s, lmtp}
	switch {
	case isAuth && isLMTP:
		return struct {
			*session
			authPart
			lmtpPart
		}{s, withAuth, withLMTP}
	case isAuth:
		return struct {
			*session
			authPart
		}{s, withAuth}
	case isLMTP:
		return struct {
			*session
			lmtpPart
		}{s, withLMTP}
	}
	return s
}

// Unwrap returns the session that the Backend made, given one that smtp.Conn.Session
// returns. A session that is not wrapped is returned as it is; of a peer whose
// rejection is delayed there is none, and the result is nil.
func Unwrap(s smtp.Session) smtp.Session {
	switch s := s.(type) {
	case interface{ inside() smtp.Session }:
		return s.inside()
	case rejected:
		return nil
	}
	return s
}
