//go:build unix

package certs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

const (
	versionFile = "VERSION"
	lockFile    = "lock"
	layoutName  = "smtpsec-certs"
	layout      = 1 // the layout that this release reads and writes

	// tempPrefix is in front of the names of what is not finished. EscapeName
	// escapes a dot there.
	tempPrefix = ".tmp-"

	folderMode = 0o700
	fileMode   = 0o600
)

// DirectoryOptions are the settings of a [Directory].
type DirectoryOptions struct {
	// ReadOnly opens without a lock, beside a writer in another process. What is
	// to be written is refused with an error that matches [fs.ErrPermission].
	ReadOnly bool
}

// Directory is a [Storage] in a directory that people and other programs can read:
//
//	VERSION                     "smtpsec-certs 1"
//	lock                        held by the one writer
//	roles.json                  role -> names of entries
//	entries/NAME/current.pem    key, leaf, intermediates: for smtpd_tls_chain_files of Postfix
//	entries/NAME/next.pem       during a rollover: key and, once signed, chain
//	entries/NAME/previous.pem   one generation back
//	entries/NAME/request.csr    the last request
//	entries/NAME/meta.json      notes; an entry without them is served all the same
//	ca/custom.txt               the custom list of authorities, and
//	ca/settings.json            which lists are enabled
//
// A file is written beside its place, synced, renamed over the former one, and the
// folder synced. After a crash at any moment it is the former or the new file; key
// and chain are one file, so they are of one kind. Folders are made with mode 0700
// and files with 0600, whatever the umask. Symbolic links lead nowhere outside.
//
// It must be a local file system on which flock(2) works. Where the file lock is removed
// or replaced while it is held, as people do with stale ones, writing gives
// [ErrLocked] from then on, since another process may have the new one. It is safe for
// concurrent use; the zero Directory returns [ErrNotOpen].
type Directory struct {
	path     string
	readOnly bool
	lock     *os.File // nil for readers

	mu   sync.RWMutex
	root *os.Root // nil: not open

	// step, if set, is called before each thing that can fail while writing,
	// which then fails with what it returns.
	step func(operation, path string) error
}

var _ Storage = (*Directory)(nil)

// OpenDirectory opens a directory, for writing unless the options say otherwise.
// A writer makes it if it does not exist, and removes what interrupted writes have
// left behind.
//
// Errors: [ErrLocked] if another process writes, *UnsupportedError for a layout of a
// later release, [ErrMalformed] for a directory that has files but is no store,
// and those of the file system.
func OpenDirectory(path string, o DirectoryOptions) (*Directory, error) {
	d := &Directory{readOnly: o.ReadOnly}
	var err error
	if d.path, err = filepath.Abs(path); err == nil { // Refresh may come after a change of the working directory
		err = d.open()
	}
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("certs: directory %q: %w", path, err)
	}
	return d, nil
}

func (d *Directory) open() (err error) {
	if d.readOnly {
		d.root, err = openLayout(d.path)
		return err
	}
	switch err := os.Mkdir(d.path, folderMode); {
	case err == nil:
		if err := os.Chmod(d.path, folderMode); err != nil { // the umask may have taken something
			return err
		}
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	if d.root, err = os.OpenRoot(d.path); err != nil {
		return err
	}
	if err := checkLayout(d.root); errors.Is(err, fs.ErrNotExist) {
		if err := d.requireEmpty(); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if err := d.takeLock(); err != nil {
		return err
	}
	// With the lock, nobody else has unfinished files.
	if err := d.removeLeftovers("."); err != nil {
		return err
	}
	if _, err := d.root.Stat(versionFile); errors.Is(err, fs.ErrNotExist) {
		return d.WriteFile(versionFile, fmt.Appendf(nil, "%s %d\n", layoutName, layout))
	}
	return nil
}

// openLayout opens a directory that must be a store.
func openLayout(path string) (*os.Root, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	if err := checkLayout(root); err != nil {
		root.Close()
		return nil, err
	}
	return root, nil
}

func checkLayout(root *os.Root) error {
	data, err := readRegular(root, versionFile)
	if err != nil {
		return err
	}
	version := 0
	if words := strings.Fields(string(data)); len(words) == 2 && words[0] == layoutName {
		version, _ = strconv.Atoi(words[1])
	}
	if version < 1 {
		return fmt.Errorf("%w: %s does not say %q", ErrMalformed, versionFile, fmt.Sprint(layoutName, " ", layout))
	}
	if version > layout {
		return &UnsupportedError{What: fmt.Sprintf("layout %d of a later release (this one has %d)", version, layout)}
	}
	return nil
}

// requireEmpty keeps a mistyped path from becoming a store. What the first moments
// of one leave behind does not count.
func (d *Directory) requireEmpty() error {
	names, err := d.names(".")
	if err != nil {
		return err
	}
	for _, name := range names {
		if name != lockFile {
			return fmt.Errorf("%w: no %s, but %q: not a store", ErrMalformed, versionFile, clip(name))
		}
	}
	return nil
}

func (d *Directory) takeLock() error {
	lock, err := d.root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return err
	}
	d.lock = lock
	connection, err := lock.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := connection.Control(func(fd uintptr) {
		failed = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB)
	}); err != nil {
		return err
	}
	if errors.Is(failed, syscall.EWOULDBLOCK) {
		return ErrLocked
	}
	return failed
}

// removeLeftovers removes unfinished files and folders, two folders deep.
func (d *Directory) removeLeftovers(folder string) error {
	entries, err := fs.ReadDir(d.root.FS(), folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(folder, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), tempPrefix):
			if err := d.root.RemoveAll(name); err != nil {
				return err
			}
		case e.IsDir() && strings.Count(name, "/") < 2:
			if err := d.removeLeftovers(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close gives up the lock. Nothing can be read or written afterwards.
func (d *Directory) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	if d.root != nil {
		errs = append(errs, d.root.Close())
	}
	if d.lock != nil {
		errs = append(errs, d.lock.Close())
	}
	d.root, d.lock = nil, nil
	return errors.Join(errs...)
}

// Refresh looks whether the path leads to another directory than before, as when
// a symbolic link was switched, and goes over to it. It does nothing for a
// writer, who has the lock of the directory that was opened. [Store.Watch] calls it.
func (d *Directory) Refresh() error {
	root, err := d.opened()
	if err != nil || !d.readOnly {
		return err
	}
	before, err := root.Stat(".")
	if err != nil {
		return err
	}
	now, err := os.Stat(d.path)
	if err != nil {
		return err
	}
	if os.SameFile(before, now) {
		return nil
	}
	if root, err = openLayout(d.path); err != nil {
		return fmt.Errorf("certs: directory %q: %w", d.path, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.root.Close()
	d.root = root
	return nil
}

// opened returns the directory to a method that uses these paths.
func (d *Directory) opened(paths ...string) (*os.Root, error) {
	if d == nil {
		return nil, errDirectoryNotOpen
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.root == nil {
		return nil, errDirectoryNotOpen
	}
	for _, p := range paths {
		if !fs.ValidPath(p) {
			return nil, &fs.PathError{Op: "open", Path: p, Err: fs.ErrInvalid}
		}
	}
	return d.root, nil
}

// writable is opened for the methods that write.
func (d *Directory) writable(paths ...string) (*os.Root, error) {
	root, err := d.opened(paths...)
	if err == nil && d.readOnly {
		return nil, errReadOnly
	}
	if err == nil {
		err = d.checkLock(root)
	}
	if err != nil {
		return nil, err
	}
	return root, nil
}

// checkLock looks whether the file that is locked is still the one that another
// process would try to lock: people remove what they take for a stale lock.
func (d *Directory) checkLock(root *os.Root) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.lock == nil { // closed meanwhile
		return errDirectoryNotOpen
	}
	held, err := d.lock.Stat()
	if err != nil {
		return err
	}
	if now, err := root.Stat(lockFile); err != nil || !os.SameFile(held, now) {
		return fmt.Errorf("certs: the file %q was taken away: %w", lockFile, ErrLocked)
	}
	return nil
}

var errDirectoryNotOpen = fmt.Errorf("certs: the directory is %w", ErrNotOpen)

// names returns the names in a folder but for unfinished ones.
func (d *Directory) names(folder string) ([]string, error) {
	root, err := d.opened(folder)
	if err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(root.FS(), folder)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tempPrefix) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}
