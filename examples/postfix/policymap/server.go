package policymap

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// DefaultConnections is how many connections a Server holds. Each process of Postfix's
	// SMTP client has one, and there are 100 of those unless default_process_limit is
	// raised.
	DefaultConnections = 4096
	// DefaultIdle is how long a connection may be silent. Postfix itself hangs up after 10 s
	// (socketmap) or not at all (tcp).
	DefaultIdle = 5 * time.Minute
	// requestTime is how long a request may take from its first octet to its last, and a
	// reply to be taken.
	requestTime = 10 * time.Second
	// acceptPause is how long Serve waits when the system has no descriptor left.
	acceptPause = 100 * time.Millisecond
)

// A Server answers requests on listeners. Set the fields before Serve; it is safe for
// concurrent use and must not be copied.
type Server struct {
	// Map has the answers.
	Map *Map
	// Connections is how many connections there may be on all listeners together, and Idle how
	// long one may be silent. 0 means the defaults.
	Connections int
	Idle        time.Duration
	// Logger is told of malformed requests and listeners that fail; nil: nobody is.
	Logger *slog.Logger

	open atomic.Int64 // connections
}

// Serve answers requests on l, until ctx ends or l fails. Then it closes l, lets
// requests that are being answered have their reply, closes the connections and returns when
// all are closed: nil if ctx ended.
func (s *Server) Serve(ctx context.Context, l net.Listener, p Protocol) error {
	var group sync.WaitGroup
	defer group.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			// Too many open files, or a connection that is gone already.
			s.log("accept failed", "listener", l.Addr().String(), "error", err)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		if !s.add() {
			conn.Close()
			continue
		}
		group.Go(func() {
			defer s.remove(conn)
			s.converse(ctx, conn, p)
		})
	}
}

func (s *Server) log(message string, args ...any) {
	if s.Logger != nil {
		s.Logger.Warn(message, args...)
	}
}

// add counts a connection in, unless there are too many.
func (s *Server) add() bool {
	m := &s.Map.Metrics
	m.connections.Add(1)
	if s.open.Add(1) > int64(positive(s.Connections, DefaultConnections)) {
		s.open.Add(-1)
		m.refused.Add(1)
		return false
	}
	m.open.Add(1)
	return true
}

func (s *Server) remove(conn net.Conn) {
	conn.Close()
	s.open.Add(-1)
	s.Map.Metrics.open.Add(-1)
}

// converse answers the requests of one connection, one after the other.
func (s *Server) converse(ctx context.Context, conn net.Conn, p Protocol) {
	// A reply under way is still written; the next read fails at once.
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	idle := positive(s.Idle, DefaultIdle)
	in := bufio.NewReaderSize(conn, 4*MaxRequest)
	request := make([]byte, MaxRequest)
	var reply []byte
	for {
		if in.Buffered() == 0 {
			conn.SetReadDeadline(time.Now().Add(idle))
			if ctx.Err() != nil { // it may have come between
				return
			}
			if _, err := in.Peek(1); err != nil {
				return
			}
		}
		conn.SetReadDeadline(time.Now().Add(requestTime))
		if ctx.Err() != nil {
			return
		}
		got, err := p.read(in, request)
		switch {
		case err != nil && ctx.Err() != nil: // half a request is no fault of Postfix then
			return
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, errRequest):
			s.Map.Metrics.malformed.Add(1)
			s.log("malformed request", "from", conn.RemoteAddr().String(), "protocol", p.String(), "error", err)
			conn.SetWriteDeadline(time.Now().Add(requestTime))
			conn.Write(p.refuse(reply[:0]))
			return
		case err != nil:
			return
		}
		reply = p.respond(ctx, reply[:0], got, s.Map.Lookup)
		conn.SetWriteDeadline(time.Now().Add(requestTime))
		if _, err := conn.Write(reply); err != nil {
			return
		}
	}
}
