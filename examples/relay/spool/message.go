//go:build unix

package spool

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
)

// Message is a message that this process has its hands on: until Close no other
// process can get it. It is safe for concurrent use, and so are several Messages of
// one id, which share everything: a relay delivers to several domains at once.
type Message struct {
	s      *Spool
	shared *shared
	close  sync.Once
}

// shared is what all Messages of one id in this process have in common.
type shared struct {
	id   string
	refs int // under Spool.mu

	load sync.Once
	err  error
	body *os.File // which is locked

	mu       sync.Mutex
	envelope Envelope
	gone     bool
}

// Get returns a message and keeps other processes away from it. The error matches
// ErrNotFound or ErrBusy; it is a *CorruptError if the message is damaged, and its
// files have then been moved aside. Another error, such as one of reading, says
// nothing about the message.
func (s *Spool) Get(id string) (*Message, error) {
	if !validID(id) {
		return nil, fmt.Errorf("%w: %.64q is no id", ErrNotFound, id)
	}
	s.mu.Lock()
	sh := s.open[id]
	if sh == nil {
		sh = &shared{id: id}
		s.open[id] = sh
	}
	sh.refs++
	s.mu.Unlock()

	sh.load.Do(func() { sh.err = s.load(sh) })
	err := sh.err
	if err == nil {
		sh.mu.Lock()
		if sh.gone {
			err = ErrNotFound
		}
		sh.mu.Unlock()
	}
	if err != nil {
		s.drop(sh)
		return nil, err
	}
	return &Message{s: s, shared: sh}, nil
}

// drop ends one use of a message. The lock ends with the last one, before anybody
// can look for the message anew.
func (s *Spool) drop(sh *shared) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sh.refs--; sh.refs > 0 {
		return
	}
	delete(s.open, sh.id)
	if sh.body != nil {
		_ = sh.body.Close() // was only read
	}
}

// load locks the body and reads the envelope under the lock.
func (s *Spool) load(sh *shared) (err error) {
	body, info, err := s.disk.openRegular(bodyName(sh.id))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// Remove takes the envelope first: if it is there, nobody removed the body.
		if _, err := s.disk.root.Lstat(envelopeName(sh.id)); err != nil {
			return s.missing(err)
		}
		return s.moveAside(sh.id, errors.New("the body is missing"))
	case errors.Is(err, errNotRegular):
		return s.moveAside(sh.id, err)
	case err != nil:
		return fmt.Errorf("spool: %w", err)
	}
	defer func() {
		if err != nil {
			body.Close()
		}
	}()
	if err := flock(body, syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("%w: %s", ErrBusy, sh.id)
	} else if err != nil {
		return fmt.Errorf("spool: lock of %s: %w", sh.id, err)
	}
	e, err := s.read(sh.id)
	if err == nil && e.Size != info.Size() {
		err = sizeProblem(e, info.Size())
	}
	if damage := (*CorruptError)(nil); errors.As(err, &damage) {
		return s.moveAside(sh.id, damage.Err)
	}
	if err != nil {
		return err
	}
	sh.body, sh.envelope = body, *e
	return nil
}

func sizeProblem(e *Envelope, size int64) error {
	return &CorruptError{ID: e.ID, Err: fmt.Errorf("the body has %d octets, not %d", size, e.Size)}
}

// missing makes ErrNotFound of the error that a file does not exist.
func (s *Spool) missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	return fmt.Errorf("spool: %w", err)
}

// read reads an envelope. It moves nothing.
func (s *Spool) read(id string) (*Envelope, error) {
	f, _, err := s.disk.openRegular(envelopeName(id))
	if errors.Is(err, errNotRegular) {
		return nil, &CorruptError{ID: id, Err: err}
	}
	if err != nil {
		return nil, s.missing(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxEnvelope+1))
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	e, err := decode(text)
	if err == nil && e.ID != id {
		err = fmt.Errorf("the envelope is that of %s", e.ID)
	}
	switch {
	case errors.Is(err, ErrVersion):
		return nil, fmt.Errorf("%w (message %s)", err, id)
	case err != nil:
		return nil, &CorruptError{ID: id, Err: err}
	}
	return e, nil
}

// Envelope returns a copy of the envelope as it is on the disk.
func (m *Message) Envelope() Envelope {
	m.shared.mu.Lock()
	defer m.shared.mu.Unlock()
	return m.shared.envelope.clone()
}

// Body returns a reader over the body from its first octet. If the body turns out to
// be damaged, its last Read returns a *CorruptError in place of io.EOF: then end the
// connection instead of the message, and call Quarantine.
func (m *Message) Body() io.Reader {
	m.shared.mu.Lock()
	defer m.shared.mu.Unlock()
	return &bodyReader{
		id: m.shared.id, hash: sha256.New(), want: m.shared.envelope.SHA256,
		// One octet more than there should be, to see that there is none.
		body: io.NewSectionReader(m.shared.body, 0, m.shared.envelope.Size+1), left: m.shared.envelope.Size,
	}
}

type bodyReader struct {
	id   string
	body *io.SectionReader
	left int64
	hash hash.Hash
	want string
}

func (r *bodyReader) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	r.left -= int64(n)
	r.hash.Write(p[:n])
	switch {
	case r.left < 0 || err == io.EOF && r.left != 0:
		return 0, &CorruptError{ID: r.id, Err: errors.New("the body has changed its length")}
	case err == io.EOF && hex.EncodeToString(r.hash.Sum(nil)) != r.want:
		return 0, &CorruptError{ID: r.id, Err: errors.New("the body does not match its checksum")}
	case err != nil && err != io.EOF:
		return n, fmt.Errorf("spool: %w", err)
	}
	return n, err
}

// Update calls f with a copy of the envelope and puts the result on the disk in place
// of the old one. When it returns nil, that is durable. After an error, of f or of
// the disk, the envelope in memory is the old one, on the disk it is the old or the
// new one, whole, and Update may be called again. The recipients and what Commit has
// filled in of the body must stay. f must not use the Message.
func (m *Message) Update(f func(*Envelope) error) error {
	m.shared.mu.Lock()
	defer m.shared.mu.Unlock()
	if m.shared.gone {
		return ErrNotFound
	}
	old := &m.shared.envelope
	e := old.clone()
	if err := f(&e); err != nil {
		return err
	}
	same := e.ID == old.ID && e.Size == old.Size && e.SHA256 == old.SHA256 && len(e.Recipients) == len(old.Recipients)
	for i := 0; same && i < len(e.Recipients); i++ {
		same = e.Recipients[i].Address == old.Recipients[i].Address
	}
	if !same {
		return fmt.Errorf("spool: update of %s changes its id, body or recipients", old.ID)
	}
	e.tidy()
	text, err := e.encode()
	if err != nil {
		return err
	}
	if err := m.s.disk.replace(e.ID, text); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	m.shared.envelope = e
	return nil
}

// Remove deletes the message, whatever the state of its recipients. When it returns
// nil, that is durable. After an error it may be called again.
func (m *Message) Remove() error {
	m.shared.mu.Lock()
	defer m.shared.mu.Unlock()
	if m.shared.gone {
		return ErrNotFound
	}
	if err := m.s.unlink(m.shared.id); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	m.shared.gone = true
	return nil
}

// unlink removes the envelope, durably, and only then the body: a body alone is
// cleared away by Open, an envelope alone would look like a loss.
func (s *Spool) unlink(id string) error {
	dir, err := s.disk.openDir(queueDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := s.disk.remove(envelopeName(id)); err != nil {
		return err
	}
	if err := s.disk.sync(dir, queueDir); err != nil {
		return err
	}
	return s.disk.remove(bodyName(id))
}

// Quarantine moves the message to corrupt for somebody to look at. It returns a
// *CorruptError with the reason and the place.
func (m *Message) Quarantine(reason error) error {
	m.shared.mu.Lock()
	defer m.shared.mu.Unlock()
	if m.shared.gone {
		return ErrNotFound
	}
	if damage := (*CorruptError)(nil); errors.As(reason, &damage) {
		reason = damage.Err
	}
	err := m.s.moveAside(m.shared.id, reason)
	damage := (*CorruptError)(nil)
	m.shared.gone = !errors.As(err, &damage) || damage.Aside != ""
	return err
}

// Close gives the message back. It does nothing the second time.
func (m *Message) Close() {
	m.close.Do(func() { m.s.drop(m.shared) })
}
