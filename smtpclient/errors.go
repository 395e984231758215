package smtpclient

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// ConnectError is an address to which no TCP connection could be made.
type ConnectError struct {
	Addr netip.AddrPort
	Err  error // usually a *net.OpError
}

// Error returns the error as one line of text.
func (e *ConnectError) Error() string { return fmt.Sprintf("connect to %s: %v", e.Addr, e.Err) }

// Unwrap returns the cause.
func (e *ConnectError) Unwrap() error { return e.Err }

// ReplyError is a server that said no, in the words that it used. Nothing that a
// server says before it is authenticated is final, so a *Error built on it is
// temporary whatever Code says.
type ReplyError struct {
	Stage    Stage
	Code     int      // 200 to 599
	Enhanced string   // RFC 3463 code of the first line, "" if it has none
	Lines    []string // printable ASCII, 512 octets at most in all
}

// Error returns the error as one line of text.
func (e *ReplyError) Error() string {
	return fmt.Sprintf("%s answered with %d %q", e.Stage, e.Code, strings.Join(e.Lines, " / "))
}

// ProtocolError is a server that does not speak SMTP as it must.
type ProtocolError struct {
	Stage   Stage
	Problem error // one of ErrReplySyntax, ErrReplyCodes, ErrReplyOctets, ErrReplyLimit, ErrReplyExtra, ErrReplyCode
}

// Error returns the error as one line of text.
func (e *ProtocolError) Error() string {
	return fmt.Sprintf("protocol error at %s: %v", e.Stage, e.Problem)
}

// Unwrap returns Problem.
func (e *ProtocolError) Unwrap() error { return e.Problem }

// LostError is a connection that broke off or fell silent. Err tells how:
// io.EOF, a *net.OpError, os.ErrDeadlineExceeded when the phase was over.
type LostError struct {
	Stage Stage
	Err   error
}

// Error returns the error as one line of text.
func (e *LostError) Error() string {
	if e.Timeout() {
		return fmt.Sprintf("no answer in time at %s: %v", e.Stage, e.Err)
	}
	return fmt.Sprintf("connection lost at %s: %v", e.Stage, e.Err)
}

// Unwrap returns the cause.
func (e *LostError) Unwrap() error { return e.Err }

// Timeout tells whether the phase took too long.
func (e *LostError) Timeout() bool { return errors.Is(e.Err, os.ErrDeadlineExceeded) }

// HandshakeCause is the way in which a TLS handshake failed.
type HandshakeCause uint8

const (
	// CauseOther is the zero value: crypto/tls refused what the server sent, such
	// as a version or cipher suite that the profile excludes, or a certificate
	// that cannot be parsed.
	CauseOther HandshakeCause = iota
	// CauseInjected: bytes stood behind the 220 before TLS began. Command
	// injection, or a broken proxy; they were not looked at.
	CauseInjected
	// CauseAlert: the server refused with a TLS alert. With TLS 1.3 that may come
	// only when the first reply is read.
	CauseAlert
	// CauseNotTLS: what the server sent is not TLS.
	CauseNotTLS
	// CauseLost: the server closed or reset the connection.
	CauseLost
	// CauseTimeout: the handshake took longer than Timeouts.Handshake.
	CauseTimeout
)

var causeNames = [...]string{"other", "plaintext-after-220", "alert", "not-tls", "connection-lost", "timeout"}

// String returns the name of the cause, such as "plaintext-after-220".
func (c HandshakeCause) String() string {
	if int(c) < len(causeNames) {
		return causeNames[c]
	}
	return fmt.Sprintf("HandshakeCause(%d)", uint8(c))
}

// HandshakeError is a STARTTLS that was answered with 220 and did not lead to a
// TLS session.
type HandshakeError struct {
	Cause HandshakeCause
	Err   error
}

// Error returns the error as one line of text.
func (e *HandshakeError) Error() string {
	return fmt.Sprintf("TLS handshake failed (%s): %v", e.Cause, e.Err)
}

// Unwrap returns the cause: what crypto/tls returned.
func (e *HandshakeError) Unwrap() error { return e.Err }

// RequireTLSError is a host that would not pass on that the message requires TLS:
// it does not offer REQUIRETLS (RFC 8689 section 4.2.1). It said so inside a TLS
// session in which policy had authenticated it, so that the message may be returned
// to its sender at once instead of being tried again.
type RequireTLSError struct {
	Host string
}

// Error returns the error as one line of text.
func (e *RequireTLSError) Error() string {
	return e.Host + ": the message requires TLS all the way (REQUIRETLS), which the host does not offer"
}

// wireError turns what reading or writing returned into an error of the stage.
func wireError(stage Stage, err error) error {
	for _, problem := range [...]error{ErrReplySyntax, ErrReplyCodes, ErrReplyOctets, ErrReplyLimit} {
		if err == problem {
			return &ProtocolError{Stage: stage, Problem: problem}
		}
	}
	return &LostError{Stage: stage, Err: err}
}

// enhancedStatus returns the RFC 3463 status code at the beginning of a reply's
// text, or "". Its class must be that of the reply code (RFC 2034 section 4).
func enhancedStatus(text []byte, code int) string {
	if len(text) < 5 || int(text[0]-'0') != code/100 || text[1] != '.' {
		return ""
	}
	i := 2
	for _, dot := range [...]bool{true, false} { // subject with a dot behind it, then detail
		start := i
		for i < len(text) && '0' <= text[i] && text[i] <= '9' {
			i++
		}
		if i == start || i-start > 3 {
			return ""
		}
		if dot {
			if i == len(text) || text[i] != '.' {
				return ""
			}
			i++
		}
	}
	if i < len(text) && text[i] != ' ' {
		return ""
	}
	return string(text[:i])
}
