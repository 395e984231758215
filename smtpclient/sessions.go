package smtpclient

import (
	"crypto/tls"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

// DefaultSessions is how many TLS sessions a Dialer remembers for resumption.
const DefaultSessions = 1024

// newSessions returns the memory for n sessions, nil for none.
func newSessions(n int) tls.ClientSessionCache {
	switch {
	case n < 0:
		return nil
	case n == 0:
		n = DefaultSessions
	}
	return tls.NewLRUClientSessionCache(n)
}

// tickets is what one connection sees of the sessions that the Dialer remembers:
// those that were begun where everything that counts is the same. crypto/tls by
// itself would keep them by server name, and resume for a delivery that must be
// verified what was begun by one that need not be.
type tickets struct {
	all  tls.ClientSessionCache
	key  string // of the partition
	keep bool   // mail may be sent on this connection
}

// tickets returns nil if no sessions are remembered.
func (t *attempt) tickets() *tickets {
	if t.x.conf.sessions == nil || t.x.probing {
		return nil
	}
	key := t.x.keyParts(t.plan, t.generation).sessionKey()
	return &tickets{all: t.x.conf.sessions, key: string(key[:])}
}

// judge decides from what policy says about the session whether it is worth
// remembering.
func (t *tickets) judge(d tlspolicy.Decision) {
	if t != nil {
		t.keep = d.Action == tlspolicy.DeliverVerified || d.Action == tlspolicy.DeliverUnverified
	}
}

// Get returns the session of the partition. The server is in its key already, so
// that the one which crypto/tls asks for adds nothing.
func (t *tickets) Get(string) (*tls.ClientSessionState, bool) { return t.all.Get(t.key) }

// Put remembers a session, or forgets it if s is nil.
func (t *tickets) Put(_ string, s *tls.ClientSessionState) {
	if s == nil || t.keep {
		t.all.Put(t.key, s)
	}
}
