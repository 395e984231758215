//go:build unix

package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
)

// The directories of a spool and the suffixes of the files in queue.
const (
	queueDir   = "queue"
	corruptDir = "corrupt"
	wakeDir    = "wake"
	lockName   = "lock"

	bodySuffix     = ".eml"
	envelopeSuffix = ".json"
	tempSuffix     = ".json.tmp"
)

func bodyName(id string) string     { return queueDir + "/" + id + bodySuffix }
func envelopeName(id string) string { return queueDir + "/" + id + envelopeSuffix }
func tempName(id string) string     { return queueDir + "/" + id + tempSuffix }

// disk does everything that changes the spool. Names are relative to the root,
// which nothing leaves, whatever links somebody has put there.
type disk struct {
	root *os.Root
	// before, if not nil, is asked before each change; an error is returned in
	// place of doing it. Tests trace, fail and kill with it. The name of a rename
	// is the old one, a space and the new one.
	before func(op, name string) error
}

func (d *disk) ask(op, name string) error {
	if d.before == nil {
		return nil
	}
	return d.before(op, name)
}

// create makes a file that must not exist.
func (d *disk) create(name string) (*os.File, error) {
	if err := d.ask("create", name); err != nil {
		return nil, err
	}
	return d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}

func (d *disk) write(f *os.File, name string, p []byte) (int, error) {
	if err := d.ask("write", name); err != nil {
		return 0, err
	}
	return f.Write(p)
}

func (d *disk) sync(f *os.File, name string) error {
	if err := d.ask("sync", name); err != nil {
		return err
	}
	return f.Sync()
}

func (d *disk) rename(from, to string) error {
	if err := d.ask("rename", from+" "+to); err != nil {
		return err
	}
	return d.root.Rename(from, to)
}

// remove removes a file, which need not exist.
func (d *disk) remove(name string) error {
	if err := d.ask("remove", name); err != nil {
		return err
	}
	return absent(d.root.Remove(name))
}

func (d *disk) mkdir(name string) error {
	if err := d.ask("mkdir", name); err != nil {
		return err
	}
	return d.root.Mkdir(name, 0o700)
}

// absent makes nil of the error that a file does not exist.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// openDir opens a directory to sync it after a change. Each change has a
// descriptor of its own, opened before it: the kernel tells each descriptor of a
// failed write once, and one that is shared would tell the wrong goroutine.
func (d *disk) openDir(name string) (*os.File, error) { return d.root.Open(name) }

// replace puts text into the place of an envelope: written beside it, synced,
// renamed, and the directory synced. The caller holds the lock of the message.
func (d *disk) replace(id string, text []byte) (err error) {
	dir, err := d.openDir(queueDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	temp := tempName(id)
	if err := d.remove(temp); err != nil { // left by an error
		return err
	}
	f, err := d.create(temp)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = d.remove(temp)
		}
	}()
	_, err = d.write(f, temp, text)
	if err == nil {
		err = d.sync(f, temp)
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	if err := d.rename(temp, envelopeName(id)); err != nil {
		return err
	}
	return d.sync(dir, queueDir)
}

// openRegular opens a file for reading that must be a plain one. Nobody is made to
// wait by a pipe in its place.
func (d *disk) openRegular(name string) (*os.File, fs.FileInfo, error) {
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file: %w", name, errNotRegular)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

var errNotRegular = errors.New("wrong type of file")

// syncDir syncs a directory by its path from the working directory.
func syncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// makeDir makes a directory and what lacks above it, and syncs each directory that
// got a new entry: a spool that vanishes with the power was none.
func makeDir(name string) error {
	name, err := filepath.Abs(name)
	if err != nil {
		return err
	}
	switch info, err := os.Stat(name); {
	case err == nil && !info.IsDir():
		return &fs.PathError{Op: "mkdir", Path: name, Err: syscall.ENOTDIR}
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(name)
	if err := makeDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

// idOf returns the id in the name of a file and what follows it.
func idOf(name string) (id, suffix string) {
	id = path.Base(name)
	if len(id) < idLen {
		return "", name
	}
	id, suffix = id[:idLen], id[idLen:]
	if !validID(id) {
		return "", name
	}
	return id, suffix
}
