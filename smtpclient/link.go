package smtpclient

import (
	"context"
	"net"
	"sync"
	"time"
)

// link is a connection during and after a Dial. It is closed exactly once,
// whoever asks: the phases, the end of ctx, crypto/tls, the session's user.
type link struct {
	net.Conn

	once     sync.Once
	closeErr error

	mu sync.Mutex
	// ceiling bounds every deadline that is set on the connection, so that
	// crypto/tls, which gives its closing alert five seconds, keeps to the
	// phase that it is in. Zero: no bound.
	ceiling time.Time
}

// Close closes the connection the first time.
func (l *link) Close() error {
	l.once.Do(func() { l.closeErr = l.Conn.Close() })
	return l.closeErr
}

// limit sets an absolute deadline for everything that follows, for reading and
// writing together. The zero time removes it.
func (l *link) limit(t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ceiling = t
	l.Conn.SetDeadline(t) // fails on a closed connection only, where it does not matter
}

func (l *link) under(t time.Time) time.Time {
	if !l.ceiling.IsZero() && (t.IsZero() || t.After(l.ceiling)) {
		return l.ceiling
	}
	return t
}

// SetDeadline sets both deadlines.
func (l *link) SetDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Conn.SetDeadline(l.under(t))
}

// SetReadDeadline sets the deadline for reading.
func (l *link) SetReadDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Conn.SetReadDeadline(l.under(t))
}

// SetWriteDeadline sets the deadline for writing.
func (l *link) SetWriteDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Conn.SetWriteDeadline(l.under(t))
}

// NetConn returns the connection underneath, as tls.Conn.NetConn does. Closing
// it there instead of here counts as closing it twice.
func (l *link) NetConn() net.Conn { return l.Conn }

// bind closes the link when ctx ends, whatever it is doing. The function
// returned undoes that and tells whether it came in time: if not, the link is
// closed or about to be.
func (l *link) bind(ctx context.Context) (unbind func() bool) {
	return context.AfterFunc(ctx, func() { l.Close() })
}

// phase starts a phase that may last d. The deadline is absolute, so that a
// peer that sends one byte a minute gains nothing by it. The end of ctx is not
// made a deadline of the connection: it closes the link, and what fails then
// is known to be our own doing.
func (l *link) phase(ctx context.Context, d time.Duration) {
	end := time.Now().Add(d)
	if t, ok := ctx.Deadline(); ok && !t.After(end) {
		end = time.Time{}
	}
	l.limit(end)
}
