package gosmtp

import (
	"errors"
	"io"
	"os"
	"time"
)

// chunks is a message that comes by BDAT (RFC 3030). Go-smtp v0.25.1 takes the end of the
// connection for the end of the last chunk: a client that closes its TLS session
// in the middle, as programs do that are told to stop, has sent half a message, and it
// is delivered as a whole one. Here its reader fails with io.ErrUnexpectedEOF instead.
type chunks struct {
	io.Reader
	session *session
}

func (c chunks) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err == io.EOF && c.session.gone() {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// gone reports whether the client has closed. It is for the end of a message that came
// in chunks: go-smtp waits for the fate of the message then, and nobody else reads.
// The deadline has passed, so that nothing is waited for. A client that does not wait
// for its reply either may lose the first octet of its next command, so its session
// ends behind the reply.
func (s *session) gone() bool {
	conn := s.server.Conn()
	if conn.SetReadDeadline(time.Unix(1, 0)) != nil {
		return true
	}
	n, err := conn.Read(make([]byte, 1))
	if n > 0 {
		s.end()
		return false
	}
	return !errors.Is(err, os.ErrDeadlineExceeded) || conn.SetReadDeadline(time.Time{}) != nil
}
