//go:build unix

package spool

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"
)

// Errors of a Spool. A full disk is syscall.ENOSPC or syscall.EDQUOT, and other
// errors of the system are in the chain too.
var (
	// ErrNotFound: there is no such message, or no longer.
	ErrNotFound = errors.New("spool: no such message")
	// ErrBusy: another process has its hands on the message. Try again soon.
	ErrBusy = errors.New("spool: message is in use by another process")
	// ErrTooLarge: the body exceeds the limit that Create was given.
	ErrTooLarge = errors.New("spool: message exceeds the size limit")
	// ErrAttached: only the runner may do this, and the Spool came from Attach.
	ErrAttached = errors.New("spool: only the process that runs the spool may do this")
)

// CorruptError tells of a message that is damaged. It matches no other error.
type CorruptError struct {
	// ID of the message.
	ID string
	// Err says what is wrong with it.
	Err error
	// Aside is the directory below that of the spool to which its files were moved;
	// "": they are where they were.
	Aside string
}

// Error names the message, what is wrong, and where its files are.
func (e *CorruptError) Error() string {
	if e.Aside == "" {
		return fmt.Sprintf("spool: message %s is corrupt: %v", e.ID, e.Err)
	}
	return fmt.Sprintf("spool: message %s is corrupt and was moved to %s: %v", e.ID, e.Aside, e.Err)
}

// Unwrap returns Err.
func (e *CorruptError) Unwrap() error { return e.Err }

// Options of a Spool. The zero value will do.
type Options struct {
	// MinFree is how many octets must be free on the file system for Create to
	// accept anything, so that room is left to write down what became of older
	// messages. The error then matches syscall.ENOSPC. 0: it is not looked at.
	MinFree int64
	// Report is told what Open found: of a message that was not finished, and a
	// *CorruptError for each pair that was moved aside. nil: nobody is.
	Report func(error)
	// Now is the clock for ids and times of receipt; nil: time.Now.
	Now func() time.Time

	before func(op, name string) error // see disk
}

// Spool is a directory with messages. Make one with Open or Attach. It is safe for
// concurrent use.
type Spool struct {
	disk    disk
	runner  *os.File // the lock; nil: attached
	top     *os.File // to ask for free space
	minFree uint64
	now     func() time.Time

	mu sync.Mutex
	// open holds the messages that Get has returned and nobody has closed: all
	// attempts of this process on one message share it and its lock.
	open map[string]*shared
}

// Open makes the directory if need be, becomes the one runner of the spool, and clears
// away what a crash has left: temporary files and bodies without an envelope, which
// nobody has acknowledged, are removed, and an envelope without a body is moved to
// corrupt. The error matches ErrLocked if another process is the runner.
func Open(dir string, o Options) (*Spool, error) {
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	s, err := open(dir, o)
	if err != nil {
		return nil, err
	}
	if s.runner, err = lockRunner(s.disk.root); err != nil {
		s.Close()
		if errors.Is(err, ErrLocked) {
			return nil, fmt.Errorf("%w (%s)", err, dir)
		}
		return nil, fmt.Errorf("spool: %w", err)
	}
	if err := s.prepare(); err != nil {
		s.Close()
		return nil, fmt.Errorf("spool: %w", err)
	}
	report := o.Report
	if report == nil {
		report = func(error) {}
	}
	if err := s.recover(report); err != nil {
		s.Close()
		return nil, fmt.Errorf("spool: %w", err)
	}
	return s, nil
}

// Attach opens a spool for an operator's hands, whether a runner is there or not. It
// clears nothing away and can create no messages. The directory must exist.
func Attach(dir string) (*Spool, error) { return open(dir, Options{}) }

func open(dir string, o Options) (*Spool, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	s := &Spool{disk: disk{root: root, before: o.before}, now: o.Now, open: make(map[string]*shared)}
	if s.now == nil {
		s.now = time.Now
	}
	if s.top, err = root.Open("."); err != nil {
		root.Close()
		return nil, fmt.Errorf("spool: %w", err)
	}
	if o.MinFree > 0 {
		s.minFree = uint64(o.MinFree)
		if _, err := free(s.top); err != nil {
			s.Close()
			return nil, fmt.Errorf("spool: free space: %w", err)
		}
	}
	return s, nil
}

// prepare makes the directories.
func (s *Spool) prepare() error {
	for _, name := range []string{queueDir, corruptDir, wakeDir} {
		if err := s.disk.mkdir(name); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return s.disk.sync(s.top, ".")
}

// Close gives the spool up. Messages and Writers must be closed before.
func (s *Spool) Close() error {
	err := errors.Join(s.top.Close(), s.disk.root.Close())
	if s.runner != nil {
		err = errors.Join(err, s.runner.Close())
	}
	return err
}

// room returns an error if less than MinFree is free.
func (s *Spool) room() error {
	if s.minFree == 0 {
		return nil
	}
	n, err := free(s.top)
	if err == nil && n < s.minFree {
		err = fmt.Errorf("%d octets are free, %d are reserved: %w", n, s.minFree, syscall.ENOSPC)
	}
	return err
}

const (
	idTime   = "20060102-150405-"
	idRandom = 6 // octets
	idLen    = len(idTime) + 2*idRandom
	sampleID = "20000101-000000-000000000000"
)

// newID returns the time in UTC and a random number: ids sort by age.
func newID(now time.Time) string {
	id := now.UTC().AppendFormat(make([]byte, 0, idLen), idTime)
	var random [idRandom]byte
	_, _ = rand.Read(random[:]) // which never fails
	return string(hex.AppendEncode(id, random[:]))
}

// validID reports whether a string has the form of an id. It is then a file name
// without surprises.
func validID(id string) bool {
	if len(id) != idLen {
		return false
	}
	for i := range len(id) {
		c := id[i]
		digit, hex := '0' <= c && c <= '9', 'a' <= c && c <= 'f'
		switch {
		case idTime[min(i, len(idTime)-1)] == '-' && i < len(idTime):
			if c != '-' {
				return false
			}
		case i < len(idTime) && !digit, !digit && !hex:
			return false
		}
	}
	return true
}
