package smtpserver

import (
	"crypto/rand"
	"crypto/tls"
	"sync"
	"time"
)

// ticketKeys are the keys that session tickets of one policy are sealed with.
// Configurations that GetConfigForClient returns share the keys of the parent unless
// they have their own, and a session of one group could then be resumed in another.
type ticketKeys struct {
	mu     sync.Mutex
	config *tls.Config
	keys   [][32]byte // the newest first
	made   time.Time
}

// clone returns a copy of the policy's configuration with the keys of the hour.
func (t *ticketKeys) clone() (*tls.Config, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); len(t.keys) == 0 || now.Sub(t.made) >= TicketLifetime {
		var key [32]byte
		if _, err := rand.Read(key[:]); err != nil {
			return nil, err
		}
		if len(t.keys) == 0 || now.Sub(t.made) >= 2*TicketLifetime {
			t.keys = [][32]byte{key}
		} else {
			t.keys = [][32]byte{key, t.keys[0]}
		}
		t.made = now
		t.config.SetSessionTicketKeys(t.keys)
	}
	return t.config.Clone(), nil
}
