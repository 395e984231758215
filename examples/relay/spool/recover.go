//go:build unix

package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"syscall"
)

// batch is how many names of a directory are in memory at a time.
const batch = 256

// names yields the ids and suffixes of the files of queue. A name that is not ours
// has an empty id.
func (s *Spool) names() iter.Seq2[[2]string, error] {
	return func(yield func([2]string, error) bool) {
		dir, err := s.disk.openDir(queueDir)
		if err != nil {
			yield([2]string{}, err)
			return
		}
		defer dir.Close()
		for {
			files, err := dir.ReadDir(batch)
			for _, file := range files {
				id, suffix := idOf(file.Name())
				if !yield([2]string{id, suffix}, nil) {
					return
				}
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				yield([2]string{}, err)
				return
			}
		}
	}
}

// recover clears away what a crash left. It reads names only. Nobody but the runner
// creates messages, so nothing here is in the making; what an operator's process
// works on is locked.
func (s *Spool) recover(report func(error)) error {
	for name, err := range s.names() {
		if err != nil {
			return err
		}
		id, suffix := name[0], name[1]
		switch {
		case id == "":
			report(fmt.Errorf("spool: %s/%s is not a file of the spool and is left alone", queueDir, suffix))
		case suffix == tempSuffix:
			err = s.recoverTemp(id)
		case suffix == bodySuffix:
			var there bool
			if there, err = s.exists(envelopeName(id)); err == nil && !there {
				if err = s.disk.remove(bodyName(id)); err == nil {
					report(fmt.Errorf("spool: message %s was never acknowledged and is removed", id))
				}
			}
		case suffix == envelopeSuffix:
			var there bool
			if there, err = s.exists(bodyName(id)); err == nil && !there {
				_, gone := s.Get(id) // looks again, and moves it
				if !errors.Is(gone, ErrNotFound) {
					report(gone)
				}
			}
		default:
			report(fmt.Errorf("spool: %s/%s%s is not a file of the spool and is left alone", queueDir, id, suffix))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// recoverTemp removes a temporary file, unless somebody is writing it.
func (s *Spool) recoverTemp(id string) error {
	body, _, err := s.disk.openRegular(bodyName(id))
	if err == nil {
		defer body.Close()
		if errors.Is(flock(body, syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK) {
			return nil
		}
	}
	return s.disk.remove(tempName(id))
}

func (s *Spool) exists(name string) (bool, error) {
	_, err := s.disk.root.Lstat(name)
	return err == nil, absent(err)
}

// All yields the envelope of every message, in no order, with the memory for one at a
// time, and an error for each that cannot be read, with an envelope that holds nothing
// but the id: a *CorruptError, which in the runner says where the pair was moved to, one
// that matches ErrVersion, or one of the disk. An error without an envelope is about the
// directory, and the last. A message
// that is changed meanwhile is yielded as before or after the change; on some file
// systems it may be missed, or come twice. The runner calls All before it begins.
func (s *Spool) All() iter.Seq2[*Envelope, error] {
	return func(yield func(*Envelope, error) bool) {
		for name, err := range s.names() {
			if err != nil {
				yield(nil, fmt.Errorf("spool: %w", err))
				return
			}
			if name[0] == "" || name[1] != envelopeSuffix {
				continue
			}
			e, err := s.look(name[0])
			if errors.Is(err, ErrNotFound) {
				continue // was removed since
			}
			if err != nil {
				e = &Envelope{ID: name[0]}
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// look reads the envelope of a message and the size of its body, without its lock.
// What seems damaged the runner looks at again under the lock.
func (s *Spool) look(id string) (*Envelope, error) {
	e, err := s.read(id)
	if err == nil {
		var info fs.FileInfo
		switch info, err = s.disk.root.Stat(bodyName(id)); {
		case err == nil && info.Size() != e.Size:
			err = sizeProblem(e, info.Size())
		case errors.Is(err, fs.ErrNotExist):
			there, bad := s.exists(envelopeName(id))
			switch {
			case bad != nil:
				err = fmt.Errorf("spool: %w", bad)
			case there:
				err = &CorruptError{ID: id, Err: errors.New("the body is missing")}
			default:
				err = ErrNotFound
			}
		case err != nil:
			err = fmt.Errorf("spool: %w", err)
		}
	}
	if err == nil {
		return e, nil
	}
	if damage := (*CorruptError)(nil); s.runner == nil || !errors.As(err, &damage) {
		return nil, err
	}
	m, err := s.Get(id)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	again := m.Envelope()
	return &again, nil
}

// moveAside moves the files of a message to a directory of their own in corrupt. The
// body goes first, and durably: alone in queue it would be taken for a message that
// was not finished. The result is a *CorruptError, or ErrNotFound.
func (s *Spool) moveAside(id string, reason error) error {
	damage := &CorruptError{ID: id, Err: reason}
	aside := corruptDir + "/" + id
	err := s.disk.mkdir(aside)
	for n := 2; errors.Is(err, fs.ErrExist); n++ {
		aside = fmt.Sprintf("%s/%s.%d", corruptDir, id, n)
		err = s.disk.mkdir(aside)
	}
	if err == nil {
		err = s.syncAll(corruptDir)
	}
	if err != nil {
		damage.Err = fmt.Errorf("%w; it cannot be moved aside: %w", reason, err)
		return damage
	}
	moved := 0
	for _, suffix := range []string{bodySuffix, envelopeSuffix} {
		err = s.disk.rename(queueDir+"/"+id+suffix, aside+"/"+id+suffix)
		switch {
		case err == nil:
			moved++
			err = s.syncAll(aside, queueDir)
		case errors.Is(err, fs.ErrNotExist):
			err = nil
		}
		if err != nil {
			damage.Err = fmt.Errorf("%w; it cannot be moved aside: %w", reason, err)
			return damage
		}
	}
	if moved == 0 { // somebody else has done it
		_ = s.disk.remove(aside)
		return ErrNotFound
	}
	damage.Aside = aside
	return damage
}

func (s *Spool) syncAll(names ...string) error {
	for _, name := range names {
		dir, err := s.disk.openDir(name)
		if err != nil {
			return err
		}
		err = s.disk.sync(dir, name)
		dir.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
