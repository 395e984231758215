package smtpserver

import (
	"net"
	"sync"
)

// Policy returns a listener that gets the connections of one policy, so that a
// server of its own can have native limits for them. The others stay with l, and so
// do those of the policy once the listener is closed. Verdicts are then reached
// before a connection is delivered, DNS included. A second call with the same name
// returns the same listener.
func (l *Listener) Policy(name string) net.Listener {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.subs[name]
	if s == nil {
		s = &subListener{parent: l, name: name, accepted: make(chan *Conn), done: make(chan struct{})}
		l.subs[name] = s
	}
	return s
}

func (l *Listener) hasSubs() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.subs) > 0
}

func (l *Listener) sub(name string) *subListener {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.subs[name]
}

// subListener gets the connections of one policy.
type subListener struct {
	parent   *Listener
	name     string
	accepted chan *Conn
	once     sync.Once
	done     chan struct{}
}

// Accept returns the next connection of the policy.
func (s *subListener) Accept() (net.Conn, error) {
	s.parent.run()
	select {
	case c := <-s.accepted:
		return c, nil
	case <-s.done:
		return nil, ErrClosed
	case <-s.parent.done:
		return nil, s.parent.failure()
	}
}

// Close gives the policy's connections back to the parent, which stays open.
func (s *subListener) Close() error {
	err := error(ErrClosed)
	s.once.Do(func() {
		err = nil
		s.parent.mu.Lock()
		if s.parent.subs[s.name] == s {
			delete(s.parent.subs, s.name)
		}
		s.parent.mu.Unlock()
		close(s.done)
	})
	return err
}

// Addr returns the address of the parent.
func (s *subListener) Addr() net.Addr { return s.parent.Addr() }
