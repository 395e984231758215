package certs

import (
	"crypto/tls"
	"fmt"
	"strings"

	"github.com/smtpsec/smtpsec/internal/certname"
	"github.com/smtpsec/smtpsec/internal/hostname"
)

// Source serves the certificates of one role. Its two callbacks go into a
// tls.Config:
//
//	config := &tls.Config{GetCertificate: store.Source("https").GetCertificate}
//
// Every handshake asks for what the role has at that moment, so a change is seen by
// the next one and disturbs no running session. A resumed session is none: it
// reports the peer's certificate of the handshake that it resumes, so whoever verifies
// peers does it in VerifyConnection, which is called for resumed sessions, too.
//
// An expired certificate is served: a peer that does not verify would otherwise get
// none at all. A Source is safe for concurrent use and takes no locks; that of the
// zero Store gives [ErrNotOpen].
type Source struct {
	store *Store
	role  string
}

// Source returns the source of a role. The role may be assigned later.
func (s *Store) Source(role string) *Source { return &Source{store: s, role: role} }

// servedRole is what a role has, indexed by names.
type servedRole struct {
	all      []*tls.Certificate            // in the order of the assignment
	fallback []*tls.Certificate            // the default and others with its name
	exact    map[string][]*tls.Certificate // by name
	wildcard map[string][]*tls.Certificate // by the name without its first label
	mixed    bool                          // there are several kinds of keys
	demo     bool
}

// serve builds what the sources read.
func (st *storeState) serve() {
	st.served = make(map[string]*servedRole, len(st.roles))
	for role := range st.roles {
		entries := st.entriesOf(role)
		if len(entries) == 0 {
			continue
		}
		r := &servedRole{exact: map[string][]*tls.Certificate{}, wildcard: map[string][]*tls.Certificate{}}
		for _, e := range entries {
			r.demo = r.demo || e.demonstration()
			r.mixed = r.mixed || keyKind(e.key.Public()) != keyKind(entries[0].key.Public())
			r.add(e)
		}
		r.fallback = r.all[:1]
		if names := servedNames(entries[0]); len(names) > 0 {
			if suffix, wild := strings.CutPrefix(names[0], "*."); wild {
				r.fallback = r.wildcard[suffix]
			} else {
				r.fallback = r.exact[names[0]]
			}
		}
		st.served[role] = r
	}
}

func (r *servedRole) add(e *entry) {
	r.all = append(r.all, e.tls)
	for _, name := range servedNames(e) {
		index, key := r.exact, name
		if suffix, wild := strings.CutPrefix(name, "*."); wild {
			index, key = r.wildcard, suffix
		}
		if list := index[key]; len(list) == 0 || list[len(list)-1] != e.tls {
			index[key] = append(list, e.tls)
		}
	}
}

// servedNames returns the names for which an entry is chosen: its dNSNames, or
// the common name where there are none.
func servedNames(e *entry) (names []string) {
	for _, name := range e.tls.Leaf.DNSNames {
		if certname.Valid(name) {
			names = append(names, strings.ToLower(name))
		}
	}
	if len(e.tls.Leaf.DNSNames) == 0 {
		for cn := range commonNames(e.tls.Leaf) {
			if certname.Valid(cn) {
				names = append(names, strings.ToLower(cn))
			}
		}
	}
	return names
}

// served returns what the role has now.
func (s *Source) served() (*servedRole, error) {
	if s == nil {
		return nil, errStoreNotOpen
	}
	st, err := s.store.read()
	if err != nil {
		return nil, err
	}
	r := st.served[s.role]
	if r == nil {
		return nil, fmt.Errorf("certs: role %q: %w", clip(s.role), ErrRoleUnassigned)
	}
	return r, nil
}

// GetCertificate is for tls.Config. It returns an entry that has the server name
// (SNI) of the client as it is, then one with a wildcard for it, then the default:
// an unknown name never fails the handshake (RFC 6066 section 3 lets the server go on).
// Of several entries for the name it returns the first that the client supports; if
// it supports none of them, the next best of the role that it does: a sender that can do
// RSA alone gets a certificate of another name rather than no TLS. Leaf is always
// set. Nothing is allocated where all keys are of one kind and one entry fits.
//
// Errors: [ErrRoleUnassigned], [ErrNotOpen].
func (s *Source) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	r, err := s.served()
	if err != nil {
		return nil, err
	}
	if len(r.all) == 1 {
		return r.all[0], nil
	}
	exact, wild := r.find(hello.ServerName)
	best := exact
	if len(best) == 0 {
		best = wild
	}
	if len(best) == 0 {
		best = r.fallback
	}
	if len(best) == 1 && !r.mixed {
		return best[0], nil
	}
	unnamed := *hello
	unnamed.ServerName = "" // which was looked at, and SupportsCertificate knows of no default
	for _, list := range [...][]*tls.Certificate{exact, wild, r.fallback, r.all} {
		for _, c := range list {
			if unnamed.SupportsCertificate(c) == nil {
				return c, nil
			}
		}
	}
	return best[0], nil
}

// find returns the entries that have a server name as it is, and those with a
// wildcard for it.
func (r *servedRole) find(name string) (exact, wild []*tls.Certificate) {
	if n := len(name); n > 0 && name[n-1] == '.' {
		name = name[:n-1]
	}
	if name == "" || len(name) > hostname.MaxName {
		return nil, nil
	}
	var buffer [hostname.MaxName]byte
	lower := buffer[:len(name)]
	dot := -1
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c == '.' && dot < 0 {
			dot = i
		}
		lower[i] = c
	}
	if dot > 0 {
		wild = r.wildcard[string(lower[dot+1:])]
	}
	return r.exact[string(lower)], wild
}

// GetClientCertificate is for tls.Config. It returns the first entry of the role that the
// server supports, or an empty certificate, with which the client sends none, if it
// supports none of them. Errors: [ErrRoleUnassigned], [ErrNotOpen].
func (s *Source) GetClientCertificate(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	r, err := s.served()
	if err != nil {
		return nil, err
	}
	for _, c := range r.all {
		if request.SupportsCertificate(c) == nil {
			return c, nil
		}
	}
	return &tls.Certificate{}, nil
}

// Ready returns nil if the role has a certificate to serve, else
// [ErrRoleUnassigned] or [ErrNotOpen]. It is for asking before a port is opened.
func (s *Source) Ready() error {
	_, err := s.served()
	return err
}

// Demonstration reports whether the role uses the demonstration certificate.
func (s *Source) Demonstration() bool {
	r, err := s.served()
	return err == nil && r.demo
}
