//go:build unix

package spool

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"syscall"
)

// Writer takes in one message. It is an io.Writer for the body; then either Commit or
// Abort. It is for one goroutine.
type Writer struct {
	s    *Spool
	id   string
	file *os.File // nil: ended
	hash hash.Hash
	size int64
	max  int64
	err  error // the first one
}

// errEnded is the error of a Writer that was committed or aborted.
var errEnded = errors.New("spool: message was committed or aborted already")

// Create begins a message with a body of at most maxSize octets. Nothing is promised
// to anybody before Commit. The error matches syscall.ENOSPC if less than
// Options.MinFree is free, and ErrAttached if the Spool is not the runner's.
func (s *Spool) Create(maxSize int64) (*Writer, error) {
	if s.runner == nil {
		return nil, ErrAttached
	}
	if maxSize <= 0 {
		return nil, fmt.Errorf("spool: size limit %d", maxSize)
	}
	if err := s.room(); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	for {
		id := newID(s.now())
		file, err := s.disk.create(bodyName(id))
		if errors.Is(err, fs.ErrExist) {
			continue // there are 2^48 in every second
		}
		if err != nil {
			return nil, fmt.Errorf("spool: %w", err)
		}
		w := &Writer{s: s, id: id, file: file, hash: sha256.New(), max: maxSize}
		if err := flock(file, syscall.LOCK_EX); err != nil {
			w.Abort()
			return nil, fmt.Errorf("spool: %w", err)
		}
		return w, nil
	}
}

// ID returns the id of the message, for its Received field and the reply.
func (w *Writer) ID() string { return w.id }

// Size returns how many octets were written.
func (w *Writer) Size() int64 { return w.size }

// Write appends to the body. It is not buffered: io.Copy writes pieces of a good
// size. After an error, which matches ErrTooLarge if the limit was exceeded, the
// message can only be aborted.
func (w *Writer) Write(p []byte) (int, error) {
	switch {
	case w.err != nil:
		return 0, w.err
	case w.file == nil:
		return 0, errEnded
	case int64(len(p)) > w.max-w.size:
		w.err = fmt.Errorf("%w of %d octets", ErrTooLarge, w.max)
		return 0, w.err
	}
	n, err := w.s.disk.write(w.file, bodyName(w.id), p)
	w.size += int64(n)
	w.hash.Write(p[:n])
	if err != nil {
		w.err = fmt.Errorf("spool: %w", err)
	}
	return n, w.err
}

// Commit ends the message. When it returns nil, body and envelope are on the disk,
// and the server may say 250. It fills in ID, Size and SHA256, and what is zero of
// Received, State and NextAttempt. After an error nothing of the message is left; only
// if the disk fails in the sync of the directory and then refuses to remove the files
// too, the message stays, whole, and is sent after the next start.
func (w *Writer) Commit(e *Envelope) error {
	if w.file == nil {
		return errEnded
	}
	if w.err == nil {
		e.ID, e.Size, e.SHA256 = w.id, w.size, hex.EncodeToString(w.hash.Sum(nil))
		e.fill(w.s.now())
		e.tidy()
		w.err = w.commit(e)
	}
	err := w.err
	if err != nil {
		w.Abort()
		return err
	}
	// A close has nothing to say of what was synced. It ends the lock.
	_ = w.file.Close()
	w.file = nil
	return nil
}

func (w *Writer) commit(e *Envelope) error {
	text, err := e.encode()
	if err != nil {
		return err
	}
	if err := w.s.disk.sync(w.file, bodyName(w.id)); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if err := w.s.disk.replace(w.id, text); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// Abort drops the message. After Commit it does nothing, so that it can be deferred.
// What it cannot remove, the next Open does.
func (w *Writer) Abort() {
	if w.file == nil {
		return
	}
	// The envelope is there if the sync of the directory failed. It must not stay
	// without a body, so it goes first.
	if w.s.disk.remove(envelopeName(w.id)) == nil {
		_ = w.s.disk.remove(bodyName(w.id))
	}
	_ = w.file.Close()
	w.file = nil
}
