//go:build unix

package outbound

import (
	"errors"
	"net"
	"time"
)

const (
	// maxReply bounds what a host may answer to one command. smtpclient bounds the
	// replies before MAIL; go-smtp, which does the rest, reads lines without end.
	maxReply = 64 << 10
	// blockTimeout is for the host to take a piece of message data (RFC 5321 section
	// 4.5.3.2.5), and replyTimeout for its reply to the whole (section 4.5.3.2.6).
	blockTimeout = 3 * time.Minute
	replyTimeout = 10 * time.Minute
)

// bounded bounds what a host can make us read and wait for in a transaction.
type bounded struct {
	net.Conn
	got int // since we said something
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.got >= maxReply {
		return 0, errReply
	}
	n, err := b.Conn.Read(p[:min(len(p), maxReply-b.got)])
	b.got += n
	return n, err
}

func (b *bounded) Write(p []byte) (int, error) {
	b.got = 0
	if err := b.SetWriteDeadline(time.Now().Add(blockTimeout)); err != nil {
		return 0, err
	}
	return b.Conn.Write(p)
}

var errReply = errors.New("the host answers a command with more than 64 KiB")
