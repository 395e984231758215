//go:build unix

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/smtpsec/smtpsec/examples/relay/config"
	"github.com/smtpsec/smtpsec/examples/relay/trace"
	"github.com/smtpsec/smtpsec/smtpserver"
	"github.com/smtpsec/smtpsec/smtpserver/gosmtp"
)

const (
	// maxLine is the longest line inside TLS, of commands and of messages. RFC 5321
	// section 4.5.3.1.6 has 1000 octets; real messages have more.
	maxLine = 16 << 10
	// commandTimeout is how long a client may take for a command (RFC 5321 section
	// 4.5.3.2.7), and a reply to be taken.
	commandTimeout = 5 * time.Minute
	// lastWrite is how long a message may take to be thrown away or acknowledged when
	// its connection has been closed.
	lastWrite = 5 * time.Second
)

// A front is one port: a host access table in front of a go-smtp server.
type front struct {
	name     string
	listener *smtpserver.Listener
	server   *smtp.Server
	serve    net.Listener // listener, counted, with TLS on it if the port begins with that
}

// newFront opens the port. Nobody is served yet.
func (r *relay) newFront(c *config.Listener) (*front, error) {
	inner, err := net.Listen("tcp", c.Address)
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", c.Name, err)
	}
	o := c.Options
	o.Logger = r.log
	o.Events = func(e smtpserver.Event) {
		if e.Alert {
			r.raise(e.Kind.String(), e.Listener+"/"+e.Group, fmt.Sprintf("Listener %s: %s %s %v", e.Listener, e.Kind, e.Reason, e.Err))
		}
	}
	f := &front{name: c.Name}
	if f.listener, err = smtpserver.NewListener(inner, o); err != nil {
		inner.Close()
		return nil, fmt.Errorf("listener %s: %w", c.Name, err)
	}
	maxSize := c.MaxMessageBytes
	if maxSize <= 0 {
		maxSize = math.MaxInt64 - trace.MaxHeader
	}
	f.server = smtp.NewServer(smtp.BackendFunc(func(server *smtp.Conn) (smtp.Session, error) {
		conn, ok := smtpserver.FromConn(server.Conn())
		if !ok || r.draining.Load() {
			return nil, refusal(421, [3]int{4, 3, 2}, "The relay is stopping, come again")
		}
		// The Received field comes on top of what the client may send.
		s := &session{relay: r, server: server, conn: conn, maxSize: maxSize + trace.MaxHeader}
		r.sessions.Store(conn, s)
		return s, nil
	}))
	f.server.Domain = r.hostname
	f.server.MaxMessageBytes = max(0, c.MaxMessageBytes)
	f.server.MaxRecipients = max(0, c.MaxRecipients)
	f.server.MaxLineLength = maxLine
	f.server.ReadTimeout = commandTimeout
	f.server.WriteTimeout = commandTimeout
	f.server.EnableSMTPUTF8 = true
	f.server.EnableREQUIRETLS = true
	f.server.EnableDSN = true
	f.server.ErrorLog = errorLog{r.log.With("listener", c.Name)}
	// Sender groups with access "relay" may write to anybody, the others only here.
	err = gosmtp.Attach(f.server, f.listener, gosmtp.Options{Local: func(domain string) bool {
		return r.setup.Load().config.Recipients.Contains(domain)
	}})
	if err != nil {
		f.listener.Close()
		return nil, fmt.Errorf("listener %s: %w", c.Name, err)
	}
	f.serve = crowd{f.listener, &r.sessions}
	if o.ImplicitTLS {
		f.serve = tls.NewListener(f.serve, f.listener.TLSConfig())
	}
	return f, nil
}

// A crowd is a listener that notes who is connected, with or without a session: who
// has said nothing yet is to be sent away too when the relay ends.
type crowd struct {
	net.Listener
	sessions *sync.Map
}

// Accept implements net.Listener.
func (c crowd) Accept() (net.Conn, error) {
	accepted, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	conn, _ := smtpserver.FromConn(accepted)
	c.sessions.Store(conn, (*session)(nil))
	return guest{accepted, func() { c.sessions.Delete(conn) }}, nil
}

type guest struct {
	net.Conn
	leave func()
}

// NetConn is for smtpserver.FromConn.
func (g guest) NetConn() net.Conn { return g.Conn }

func (g guest) Close() error {
	g.leave()
	return g.Conn.Close()
}

// run serves until the port is closed.
func (f *front) run(log *slog.Logger) {
	log.Info("listening", "listener", f.name, "address", f.listener.Addr().String())
	if err := f.server.Serve(f.serve); err != nil && !errors.Is(err, net.ErrClosed) {
		log.Error("listener failed", "listener", f.name, "err", err)
	}
}

// stop takes no more connections and waits for those that there are. When ctx ends
// they are closed, and nothing of a message that was not acknowledged stays.
func (f *front) stop(ctx context.Context) error {
	err := f.listener.Shutdown(ctx)
	// Every connection is closed now. What still writes to the spool may finish.
	last, cancel := context.WithTimeout(context.Background(), lastWrite)
	defer cancel()
	_ = f.server.Shutdown(last)
	return err
}

// errorLog is the log of go-smtp: what it tells of is mostly clients who went away.
type errorLog struct{ log *slog.Logger }

func (l errorLog) Printf(format string, v ...any) {
	l.log.Debug("smtp server", "err", strings.TrimSpace(fmt.Sprintf(format, v...)))
}

func (l errorLog) Println(v ...any) {
	l.log.Debug("smtp server", "err", strings.TrimSpace(fmt.Sprintln(v...)))
}
