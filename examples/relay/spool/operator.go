//go:build unix

package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Hold makes every queued recipient of a message held. An attempt that another
// process is making is not stopped: the error is then ErrBusy. One of this process
// goes on, and its Update should leave a recipient held that it finds so, unless it
// was delivered or bounced.
func (s *Spool) Hold(id string) error {
	return s.change(id, func(r *Recipient) {
		if r.State == Queued {
			r.State = Held
		}
	})
}

// Release makes every held recipient of a message queued and due now, and wakes the
// runner.
func (s *Spool) Release(id string) error {
	now := s.now()
	err := s.change(id, func(r *Recipient) {
		if r.State == Held {
			r.State, r.NextAttempt = Queued, now
		}
	})
	if err != nil {
		return err
	}
	return s.Wake(id)
}

func (s *Spool) change(id string, f func(*Recipient)) error {
	m, err := s.Get(id)
	if err != nil {
		return err
	}
	defer m.Close()
	return m.Update(func(e *Envelope) error {
		for i := range e.Recipients {
			f(&e.Recipients[i])
		}
		return nil
	})
}

// Remove deletes a message, whatever the state of its recipients. Nobody is told.
func (s *Spool) Remove(id string) error {
	m, err := s.Get(id)
	if err != nil {
		return err
	}
	defer m.Close()
	return m.Remove()
}

// everything is the name in wake that stands for all messages.
const everything = "all"

// Wake asks the runner to try messages now, with "" every queued one, and nothing
// more: it puts an empty file into the directory wake. Wakes are not synced.
func (s *Spool) Wake(id string) error {
	name := everything
	if id != "" {
		if !validID(id) {
			return fmt.Errorf("%w: %.64q is no id", ErrNotFound, id)
		}
		name = id
	}
	f, err := s.disk.root.OpenFile(wakeDir+"/"+name, os.O_WRONLY|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return f.Close()
}

// Woken returns the ids that Wake was called with since the last time, at most 256 of
// them, and whether one call was for all messages. The runner calls it every second or
// so: it costs one look into an empty directory. An id need not exist any more.
func (s *Spool) Woken() (ids []string, all bool, err error) {
	dir, err := s.disk.openDir(wakeDir)
	if err != nil {
		return nil, false, fmt.Errorf("spool: %w", err)
	}
	defer dir.Close()
	files, err := dir.ReadDir(batch)
	if err == io.EOF {
		err = nil
	}
	for _, file := range files {
		// Before the message is looked at: who asks later asks again.
		name := file.Name()
		if gone := s.disk.root.Remove(wakeDir + "/" + name); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
		switch {
		case name == everything:
			all = true
		case validID(name):
			ids = append(ids, name)
		}
	}
	if err != nil {
		err = fmt.Errorf("spool: %w", err)
	}
	return ids, all, err
}
