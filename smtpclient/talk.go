package smtpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"sync"
)

// Reply codes that mean something to the dialer (RFC 5321 section 4.2.3, RFC
// 3207 section 4).
const (
	codeReady       = 220
	codeOK          = 250
	codeUnavailable = 421
)

// talk is the SMTP side of one connection, from the greeting to the last EHLO.
type talk struct {
	link    *link
	tls     *tls.Conn // nil on clear text
	rd      replyReader
	rep     *reply
	limits  *Limits
	timeout *Timeouts
}

// scratch is the memory that a talk borrows for replies and commands.
var scratch = sync.Pool{New: func() any { return &reply{text: make([]byte, 0, 1024), ends: make([]int, 0, 16)} }}

func newTalk(l *link, limits *Limits, timeouts *Timeouts) *talk {
	return &talk{
		link: l, limits: limits, timeout: timeouts,
		rd:  newReplyReader(l, limits),
		rep: scratch.Get().(*reply),
	}
}

// keptReply is the largest reply buffer that goes back to the pool.
const keptReply = 8 << 10

// release gives the borrowed memory back. The connection stays as it is.
func (t *talk) release() {
	if t.rep == nil {
		return
	}
	t.rd.release()
	if cap(t.rep.text) <= keptReply {
		scratch.Put(t.rep)
	}
	t.rep = nil
}

// stream is what commands are written to.
func (t *talk) stream() io.ReadWriter {
	if t.tls != nil {
		return t.tls
	}
	return t.link
}

// send writes one command line.
func (t *talk) send(verb, arg string) error {
	line := append(t.rep.command[:0], verb...)
	if arg != "" {
		line = append(append(line, ' '), arg...)
	}
	line = append(line, '\r', '\n')
	t.rep.command = line
	_, err := t.stream().Write(line)
	return err
}

// receive reads the reply to the command outstanding, after which nothing may
// follow.
func (t *talk) receive(stage Stage) error {
	if err := t.rd.read(t.rep); err != nil {
		return wireError(stage, err)
	}
	if t.rd.buffered() > 0 {
		return &ProtocolError{Stage: stage, Problem: ErrReplyExtra}
	}
	return nil
}

// greeting waits for the first reply and returns its text.
func (t *talk) greeting(ctx context.Context) (string, error) {
	t.link.phase(ctx, t.timeout.Greeting)
	if err := t.receive(StageGreeting); err != nil {
		return "", err
	}
	text := printable(t.rep.line(0), peerText)
	if t.rep.code != codeReady {
		return text, t.unexpected(StageGreeting)
	}
	return text, nil
}

// hello sends EHLO or HELO. A reply that is not 250 is a *ReplyError if it says
// no (4xx, 5xx) and a *ProtocolError if it says nothing that fits.
func (t *talk) hello(ctx context.Context, stage Stage, name string) error {
	verb := "EHLO"
	if stage == StageHELO {
		verb = "HELO"
	}
	t.link.phase(ctx, t.timeout.EHLO)
	sent := t.send(verb, name)
	// A server that has said its last word and closed makes the write fail;
	// what it said is worth more than that error.
	if err := t.receive(stage); err != nil {
		if sent != nil && !isAlert(err) {
			return wireError(stage, sent)
		}
		return err
	}
	if t.rep.code != codeOK {
		return t.unexpected(stage)
	}
	return nil
}

// errInjected is the cause of a HandshakeError of CauseInjected.
var errInjected = errors.New("bytes follow the 220 before TLS began")

// startTLS sends the command. Its three results are kept apart: nil, the server
// is ready for the handshake; refused with the *ReplyError; the session is dead,
// with any other error. Whatever follows the 220 in the same read was sent
// before TLS began, by someone who wants it to count as said inside TLS: it is
// not looked at, and the handshake has failed (RFC 3207 section 6).
func (t *talk) startTLS(ctx context.Context) (refused bool, err error) {
	t.link.phase(ctx, t.timeout.STARTTLS)
	sent := t.send("STARTTLS", "")
	if err := t.rd.read(t.rep); err != nil {
		if sent != nil {
			err = sent
		}
		return false, wireError(StageSTARTTLS, err)
	}
	switch {
	case t.rep.code == codeReady && t.rd.buffered() > 0:
		return false, &HandshakeError{Cause: CauseInjected, Err: errInjected}
	case t.rep.code == codeReady:
		return false, nil
	case t.rd.buffered() > 0:
		return false, &ProtocolError{Stage: StageSTARTTLS, Problem: ErrReplyExtra}
	case t.rep.code == codeUnavailable:
		return false, t.replyError(StageSTARTTLS)
	}
	return true, t.replyError(StageSTARTTLS)
}

// handshake runs TLS on the connection. The reader that served clear text is
// given up: what it holds is nothing, and nothing it read may reach TLS.
func (t *talk) handshake(ctx context.Context, config *tls.Config) error {
	t.link.phase(ctx, t.timeout.Handshake)
	t.rd.release() // a server may stall here
	conn := tls.Client(t.link, config)
	if err := conn.Handshake(); err != nil {
		return &HandshakeError{Cause: handshakeCause(err), Err: err}
	}
	t.tls = conn
	t.rd = newReplyReader(conn, t.limits)
	return nil
}

// leave ends a session that is not wanted: QUIT without waiting for the reply,
// then close. With polite false it only closes.
func (t *talk) leave(ctx context.Context, polite bool) {
	if polite && ctx.Err() == nil {
		t.link.phase(ctx, t.timeout.Quit)
		if t.send("QUIT", "") == nil && t.tls != nil {
			t.tls.Close()
		}
	}
	t.link.Close()
	t.release()
}

// unexpected is the error for a well-formed reply that is not the one needed.
func (t *talk) unexpected(stage Stage) error {
	if t.rep.code < 400 {
		return &ProtocolError{Stage: stage, Problem: ErrReplyCode}
	}
	return t.replyError(stage)
}

func (t *talk) replyError(stage Stage) *ReplyError {
	e := &ReplyError{Stage: stage, Code: t.rep.code, Enhanced: enhancedStatus(t.rep.line(0), t.rep.code)}
	room := peerText
	for i := range t.rep.lines() {
		if room <= 0 {
			break
		}
		line := printable(t.rep.line(i), room)
		room -= len(line) + 1
		e.Lines = append(e.Lines, line)
	}
	return e
}

// nothingHeard tells whether reading the last reply brought not a single byte.
func (t *talk) nothingHeard() bool { return t.rd.buffered() == 0 && t.rep.lines() == 0 }

// alive tells whether the server would still understand QUIT after err.
func alive(err error) bool {
	var re *ReplyError
	return errors.As(err, &re) && re.Code != codeUnavailable
}
