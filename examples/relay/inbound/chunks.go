package inbound

import (
	"errors"
	"io"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/smtpsec/smtpsec/smtpserver"
)

// Chunks mends BDAT (RFC 3030) in go-smtp v0.25.1: a client that closes its TLS session
// in the middle of the last chunk, as programs do that are told to stop, has sent half
// a message and go-smtp takes it for a whole one. Here its reader fails with
// io.ErrUnexpectedEOF. It goes around all other Backends. Sessions of it have no
// methods but those of smtp.Session.
type Chunks struct{ smtp.Backend }

// NewSession implements smtp.Backend.
func (b Chunks) NewSession(c *smtp.Conn) (smtp.Session, error) {
	s, err := b.Backend.NewSession(c)
	if err != nil {
		return nil, err
	}
	return chunkSession{s, c}, nil
}

type chunkSession struct {
	smtp.Session
	server *smtp.Conn
}

// Data implements smtp.Session. Chunks come through a pipe.
func (s chunkSession) Data(r io.Reader) error {
	if _, chunks := r.(*io.PipeReader); chunks {
		r = &lastChunk{r, s.server}
	}
	return s.Session.Data(r)
}

// lastChunk makes io.ErrUnexpectedEOF of an end that is that of the connection.
type lastChunk struct {
	io.Reader
	server *smtp.Conn
}

func (l *lastChunk) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if err == io.EOF && l.closed() {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// closed reports whether the client has closed. Nobody else reads while go-smtp waits
// for the fate of the message, and the deadline has passed, so that nothing is waited
// for. A client that does not wait for its reply either may lose an octet of its next
// command here; its session ends behind the reply.
func (l *lastChunk) closed() bool {
	conn := l.server.Conn()
	if conn.SetReadDeadline(time.Unix(1, 0)) != nil {
		return true
	}
	n, err := conn.Read(make([]byte, 1))
	if filtered, ok := smtpserver.FromConn(conn); ok && n > 0 {
		filtered.EndAfterReply()
	}
	return errors.Is(err, io.EOF)
}
