package inbound

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	// dataPause is how long message data may pause, and dataRate how many octets a
	// second must come on the average, dataPause being allowed on top.
	dataPause = 5 * time.Minute // RFC 5321 section 4.5.3.2.5 has 3
	dataRate  = 1000
)

// Pace returns a reader of message data that come over conn. It sets a deadline for each
// read. The error is io.EOF at the end of the message, and otherwise matches ErrBrokeOff
// beside what r said.
func Pace(r io.Reader, conn net.Conn) io.Reader {
	return &paced{r: r, conn: conn, begin: time.Now()}
}

// paced reads message data and sets a deadline for each read: data may pause, and
// may be slow, but not both for ever.
type paced struct {
	r     io.Reader
	conn  net.Conn
	begin time.Time
	n     int64
}

func (p *paced) Read(b []byte) (int, error) {
	deadline := time.Now().Add(dataPause)
	if last := p.begin.Add(dataPause + time.Duration(p.n)*time.Second/dataRate); last.Before(deadline) {
		deadline = last
	}
	if err := p.conn.SetReadDeadline(deadline); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrBrokeOff, err)
	}
	n, err := p.r.Read(b)
	p.n += int64(n)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", ErrBrokeOff, err)
	}
	return n, err
}

// ErrBrokeOff: the message did not come to its end, which says nothing about the place
// where it was to be stored.
var ErrBrokeOff = errors.New("the message broke off")
