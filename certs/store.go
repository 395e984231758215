package certs

import (
	"cmp"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// StoreOptions are the settings of a [Store]. The zero value keeps everything in
// memory, is silent and knows no authorities.
type StoreOptions struct {
	Storage Storage     // nil: a new Memory
	Trust   *TrustStore // for the finding issuer-not-listed and for the expiry of custom authorities; nil: neither

	// StrictPermissions refuses to open a store in which others may read or
	// write the file of a key; otherwise that is the finding key-permissions.
	StrictPermissions bool

	// ExpiryDays are the days before the end of a validity on which there is an
	// event. nil: 30, 14, 7, 3 and 1.
	ExpiryDays []int

	Now    func() time.Time // nil: time.Now
	Rand   io.Reader        // for keys, serial numbers and signatures; nil: crypto/rand
	Events func(Event)      // called without a lock, one at a time or several; nil: nobody is told
	Logger *slog.Logger     // gets the same events; nil: silent
}

// Store holds certificates with their keys under names, and serves them to roles.
//
// An entry is one key with its chain; it is made by [Store.CreateSelfSigned],
// [Store.ImportPKCS12], [Store.ImportPEM], [Store.Demonstration] or [Store.Follow].
// [Store.Install] and [Store.SelfSign] replace its certificate, and [Store.PrepareNext]
// begins the change to another key; nothing else overwrites an entry. Names are
// compared without letter case. A role (one listener, HTTPS, outgoing mail) is given
// entries by [Store.Assign], and a [Source] serves it.
//
// Writing methods change the storage first and then what is served. When one fails,
// the former state stays in service. Several processes may read one storage;
// [Store.Watch] sees what the writer does.
//
// A Store is safe for concurrent use: what reads takes no lock, what writes waits
// for other writers. The methods of the zero Store and of a nil *Store return
// [ErrNotOpen].
type Store struct {
	options StoreOptions
	state   atomic.Pointer[storeState] // nil: not open

	mu      sync.Mutex // serialises the writers
	pending []Event    // to be told when mu is free
	watch   watchState
	expiry  expiryState
}

// storeState is all that a store holds. It is never changed.
type storeState struct {
	entries map[string]*entry // by folder, as EscapeName returns it
	roles   roleTable
	served  map[string]*servedRole
	rolesAt FileState // of the file that roles was read from
}

var errStoreNotOpen = fmt.Errorf("certs: the store is %w", ErrNotOpen)

// OpenStore loads everything that the storage has. An entry that cannot be read or
// whose key and certificates do not fit is an error with its path: at a start,
// somebody is there to see it. A role whose entries are missing is no error; it
// gives [ErrRoleUnassigned] when it is used.
//
// Errors: those of the storage, *ParseError, [ErrKeyMismatch], [ErrNoKey],
// [ErrNoCertificate], with StrictPermissions one that matches
// [ErrExposed], and [ErrMalformed] for broken roles.
func OpenStore(o StoreOptions) (*Store, error) {
	if o.Storage == nil {
		o.Storage = NewMemory()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	o.ExpiryDays = slices.Clone(o.ExpiryDays)
	if o.ExpiryDays == nil {
		o.ExpiryDays = []int{30, 14, 7, 3, 1}
	}
	slices.Sort(o.ExpiryDays)
	s := &Store{options: o}
	st := &storeState{entries: map[string]*entry{}}
	folders, err := o.Storage.ReadDir(entriesDir)
	if err != nil {
		return nil, fmt.Errorf("certs: opening the store: %w", err)
	}
	for _, folder := range folders {
		e, err := s.loadEntry(folder)
		if err != nil {
			return nil, err
		}
		if e != nil {
			st.entries[folder] = e
		}
	}
	if st.roles, st.rolesAt, err = s.loadRoles(); err != nil {
		return nil, err
	}
	st.serve()
	s.state.Store(st)
	for _, role := range slices.Sorted(maps.Keys(st.roles)) {
		s.noteDemonstration(st, role)
	}
	s.flush()
	return s, nil
}

// read returns the state to a method that reads.
func (s *Store) read() (*storeState, error) {
	if s == nil {
		return nil, errStoreNotOpen
	}
	st := s.state.Load()
	if st == nil {
		return nil, errStoreNotOpen
	}
	return st, nil
}

// begin returns the state to a method that writes, which must call end.
func (s *Store) begin() (*storeState, error) {
	if _, err := s.read(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	return s.state.Load(), nil
}

// end lets the next writer in and tells the events.
func (s *Store) end() {
	events := s.pending
	s.pending = nil
	s.mu.Unlock()
	for _, e := range events {
		s.options.tell(e)
	}
}

// flush tells the events of a store that nobody else has yet.
func (s *Store) flush() {
	s.mu.Lock()
	s.end()
}

// note queues an event. The caller holds mu.
func (s *Store) note(e Event) {
	e.Time = s.options.Now()
	s.pending = append(s.pending, e)
}

// noteChanged queues the event that an entry has another certificate, and those
// of the roles that use it if it is the demonstration certificate.
func (s *Store) noteChanged(st *storeState, kind EventKind, e *entry) {
	s.note(certificateEvent(kind, e.name, e.chain[0], "current"))
	if !e.demonstration() {
		return
	}
	for _, role := range st.rolesOf(e.folder) {
		s.noteDemonstration(st, role)
	}
}

// noteDemonstration queues an event for each use of the demonstration certificate
// in a role (AsyncOS warns on every commit).
func (s *Store) noteDemonstration(st *storeState, role string) {
	for _, e := range st.entriesOf(role) {
		if e.demonstration() {
			event := certificateEvent(EventDemonstration, e.name, e.chain[0], "current")
			event.Role = role
			s.note(event)
		}
	}
}

func certificateEvent(kind EventKind, name string, cert *x509.Certificate, place string) Event {
	return Event{Kind: kind, Name: name, Cert: fingerprint(cert), Subject: subjectText(cert), NotAfter: cert.NotAfter, Place: place}
}

// clone returns a copy to be changed; serve must be called on it.
func (st *storeState) clone() *storeState {
	return &storeState{entries: maps.Clone(st.entries), roles: maps.Clone(st.roles), rolesAt: st.rolesAt}
}

// put makes e the entry in its folder. The caller holds mu.
func (s *Store) put(st *storeState, e *entry) *storeState {
	st = st.clone()
	st.entries[e.folder] = e
	st.serve()
	s.state.Store(st)
	return st
}

// reload puts what the storage has of an entry that was just written.
func (s *Store) reload(st *storeState, folder string) (*storeState, *entry, error) {
	e, err := s.loadEntry(folder)
	if err != nil {
		return nil, nil, err
	}
	if e == nil {
		return nil, nil, fmt.Errorf("certs: entry in folder %q: %w", folder, ErrNotFound)
	}
	return s.put(st, e), e, nil
}

// find returns the entry of a name.
func (st *storeState) find(name string) (*entry, error) {
	folder, err := EscapeName(name)
	if err == nil {
		if e := st.entries[folder]; e != nil {
			return e, nil
		}
	}
	return nil, fmt.Errorf("certs: entry %q: %w", clip(name), ErrNotFound)
}

// own returns the entry of a name to a method that writes its files, as the storage has
// it: after a write whose end is not known, because syncing failed, or after another
// program's, that may be another state than the one in service. The caller holds mu.
func (s *Store) own(st *storeState, name string) (*storeState, *entry, error) {
	e, err := st.find(name)
	if err != nil {
		return nil, nil, err
	}
	if e.files != nil {
		return nil, nil, fmt.Errorf("certs: entry %q: %w", e.name, ErrFollowed)
	}
	stamps, err := s.stampEntry(e.folder)
	if err != nil {
		return nil, nil, err
	}
	if stamps != e.stamps {
		former := e
		if st, e, err = s.reload(st, e.folder); err != nil {
			return nil, nil, err
		}
		if !former.same(&e.pair) {
			s.noteChanged(st, EventReloaded, e)
		}
	}
	return st, e, nil
}

// free returns the folder for a new entry.
func (st *storeState) free(name string) (string, error) {
	folder, err := EscapeName(name)
	if err != nil {
		return "", err
	}
	if e := st.entries[folder]; e != nil {
		return "", fmt.Errorf("certs: entry %q: %w", e.name, ErrExists)
	}
	return folder, nil
}

// sorted returns the entries in the order of their names.
func (st *storeState) sorted() []*entry {
	return slices.SortedFunc(maps.Values(st.entries), func(a, b *entry) int { return cmp.Compare(a.folder, b.folder) })
}

// anchored is for Arrange and Check: nil if there is nothing to ask.
func (o *StoreOptions) anchored() func(*x509.Certificate) bool {
	if o.Trust == nil {
		return nil
	}
	return o.Trust.Anchored
}

func (o *StoreOptions) arrange(includeRoot bool) ArrangeOptions {
	return ArrangeOptions{IncludeRoot: includeRoot, Anchored: o.anchored(), Now: o.Now()}
}

func (o *StoreOptions) check() CheckOptions {
	return CheckOptions{Now: o.Now(), Anchored: o.anchored()}
}
