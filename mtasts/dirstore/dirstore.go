//go:build unix

// Package dirstore keeps what an mtasts.Client knows in a directory: one readable
// file for each domain, no daemon and no index. Policies then outlive a restart,
// which is what makes MTA-STS worth having, and several processes of one machine
// may share the directory.
//
//	store, err := dirstore.Open("/var/lib/mta/mtasts", dirstore.Options{})
//	client := &mtasts.Client{Store: store}
//
// A file has header lines with the dates, ids and waits, a checksum over everything,
// and the policy as it was served; mtasts.Entry reads and writes that text. The
// files lie in subdirectories named after two digits of a hash.
//
// A file is written beside its place, synced, renamed over the old one, and the
// directory synced: after a crash at any moment it is the old or the new entry,
// whole. A file whose checksum is wrong is renamed aside and read as absent, never
// as another policy.
//
// The directory is trusted: whoever can write to it decides over the policies. It
// is made with mode 0700 and its files with 0600. It must be on a local file
// system on which flock(2) works between the processes that share it.
package dirstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/mtasts"
)

const (
	// longName is from where on a file is named after the hash of its domain:
	// most file systems end names at 255 octets, and names aside are longer.
	longName = 200
	// maxFile bounds what is read of a file: a policy of 64 KiB and a header.
	maxFile = 128 << 10

	// No domain begins with a dot.
	tempPrefix    = ".tmp-"
	lockName      = ".lock"
	corruptPrefix = ".corrupt-"
)

// Options change a Store. The zero value is silent.
type Options struct {
	// Report is told of each file that was put aside and why; nil: nobody is.
	// The entry-corrupt event of a Client tells of those that it met.
	Report func(path string, err error)
}

// Store is an mtasts.Store in a directory. It is safe for concurrent use, and
// several processes may have Stores over one directory.
type Store struct {
	dir    string
	report func(path string, err error)
}

var _ mtasts.Store = (*Store)(nil)

// Open makes the directory if it does not exist, and removes what interrupted
// writes have left in it.
func Open(dir string, o Options) (*Store, error) {
	s := &Store{dir: dir, report: o.Report}
	if s.report == nil {
		s.report = func(string, error) {}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("dirstore: %w", err)
	}
	leftovers, err := filepath.Glob(filepath.Join(escape(dir), "[0-9a-f][0-9a-f]", tempPrefix+"*"))
	if err != nil {
		return nil, fmt.Errorf("dirstore: %w", err)
	}
	for _, path := range leftovers {
		// Whoever writes holds the lock while its temporary file exists.
		err := s.locked(context.Background(), filepath.Dir(path), func() error { return os.Remove(path) })
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("dirstore: %w", err)
		}
	}
	return s, nil
}

// escape protects a path from filepath.Glob.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// path returns the file of a domain.
func (s *Store) path(domain string) (string, error) {
	for i := 0; i < len(domain); i++ {
		if c := domain[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && (c != '.' || i == 0) {
			return "", fmt.Errorf("dirstore: %q is no normalised domain", domain)
		}
	}
	if domain == "" {
		return "", errors.New("dirstore: empty domain")
	}
	hash := sha256.Sum256([]byte(domain))
	name := domain
	if len(name) > longName {
		name = hex.EncodeToString(hash[:])
	}
	return filepath.Join(s.dir, hex.EncodeToString(hash[:1]), name), nil
}

// Get returns the entry of a domain. The error matches mtasts.ErrNotFound if there
// is none that this release can read, and mtasts.ErrCorrupt if the file was
// damaged and has been put aside.
func (s *Store) Get(ctx context.Context, domain string) (*mtasts.Entry, error) {
	path, err := s.path(domain)
	if err != nil {
		return nil, err
	}
	e, err := s.read(path, domain)
	if errors.Is(err, mtasts.ErrCorrupt) {
		// Somebody may have written a good one since: look again under the lock.
		err = s.locked(ctx, filepath.Dir(path), func() error {
			e, err = s.read(path, domain)
			if errors.Is(err, mtasts.ErrCorrupt) {
				s.setAside(path, err)
			}
			return err
		})
	}
	if errors.Is(err, mtasts.ErrSchema) {
		return nil, fmt.Errorf("%w: %w", mtasts.ErrNotFound, err)
	}
	return e, err
}

// read reads a file, which must hold an entry of the domain.
func (s *Store) read(path, domain string) (*mtasts.Entry, error) {
	e, err := readFile(path)
	if err == nil && e.Domain() != domain {
		return nil, fmt.Errorf("%w: %s is of %q", mtasts.ErrCorrupt, path, e.Domain())
	}
	return e, err
}

func readFile(path string) (*mtasts.Entry, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, mtasts.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("dirstore: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("dirstore: %w", err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%w: %s is larger than %d octets", mtasts.ErrCorrupt, path, maxFile)
	}
	e := new(mtasts.Entry)
	if err := e.UnmarshalText(text); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return e, nil
}

// setAside renames a damaged file for somebody to look at. There is one such file
// for each domain, the last.
func (s *Store) setAside(path string, why error) {
	aside := filepath.Join(filepath.Dir(path), corruptPrefix+filepath.Base(path))
	if err := os.Rename(path, aside); err != nil {
		why = errors.Join(why, err)
	}
	s.report(aside, why)
}

// Put writes an entry over the version old. A file of another release is left
// alone; the error then matches mtasts.ErrSchema.
func (s *Store) Put(ctx context.Context, e *mtasts.Entry, old mtasts.Version) (mtasts.Version, error) {
	path, err := s.path(e.Domain())
	if err != nil {
		return 0, err
	}
	version := old + 1
	if old == 0 {
		// Not 1: an entry that was deleted and made again would pass for the
		// one that another process remembers.
		version = mtasts.Version(max(1, time.Now().UnixNano()))
	}
	text, err := e.WithVersion(version).MarshalText()
	if err != nil {
		return 0, err
	}
	if len(text) > maxFile {
		return 0, fmt.Errorf("dirstore: entry of %s exceeds %d octets", e.Domain(), maxFile)
	}
	err = s.locked(ctx, filepath.Dir(path), func() error {
		if err := s.expect(path, e.Domain(), old); err != nil {
			return err
		}
		return write(path, text)
	})
	if err != nil {
		return 0, err
	}
	return version, nil
}

// Delete removes an entry of the version old.
func (s *Store) Delete(ctx context.Context, domain string, old mtasts.Version) error {
	path, err := s.path(domain)
	if err != nil {
		return err
	}
	return s.locked(ctx, filepath.Dir(path), func() error {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err := s.expect(path, domain, old); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("dirstore: %w", err)
		}
		return syncDir(filepath.Dir(path))
	})
}

// expect compares the version of a file. The caller holds the lock.
func (s *Store) expect(path, domain string, want mtasts.Version) error {
	var version mtasts.Version
	stored, err := s.read(path, domain)
	switch {
	case err == nil:
		version = stored.Version()
	case errors.Is(err, mtasts.ErrCorrupt):
		s.setAside(path, err)
	case !errors.Is(err, mtasts.ErrNotFound):
		return err
	}
	if version != want {
		return fmt.Errorf("%w: %s has %d, not %d", mtasts.ErrStoreConflict, domain, version, want)
	}
	return nil
}

// write replaces a file. The caller holds the lock.
func write(path string, text []byte) (err error) {
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, tempPrefix+"*") // mode 0600
	if err != nil {
		return fmt.Errorf("dirstore: %w", err)
	}
	defer func() {
		if err != nil {
			file.Close()
			os.Remove(file.Name())
			err = fmt.Errorf("dirstore: %w", err)
		}
	}()
	if _, err = file.Write(text); err != nil {
		return err
	}
	if err = file.Sync(); err != nil {
		return err
	}
	if err = file.Close(); err != nil {
		return err
	}
	if err = os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// All yields every entry, and an error for each file that could not be read. It
// leaves out what was put aside and files of other releases.
func (s *Store) All(ctx context.Context) iter.Seq2[*mtasts.Entry, error] {
	return func(yield func(*mtasts.Entry, error) bool) {
		for i := range 256 {
			dir := filepath.Join(s.dir, hex.EncodeToString([]byte{byte(i)}))
			files, err := os.ReadDir(dir)
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !yield(nil, fmt.Errorf("dirstore: %w", err)) {
				return
			}
			for _, file := range files {
				if strings.HasPrefix(file.Name(), ".") {
					continue
				}
				if err := ctx.Err(); err != nil {
					yield(nil, err)
					return
				}
				e, err := s.readAny(ctx, filepath.Join(dir, file.Name()))
				if errors.Is(err, mtasts.ErrNotFound) || errors.Is(err, mtasts.ErrSchema) {
					continue
				}
				if !yield(e, err) {
					return
				}
			}
		}
	}
}

// readAny reads a file whose name alone is known. No label has as many octets as
// a hash in hexadecimal, so a name of that length without a dot is one.
func (s *Store) readAny(ctx context.Context, path string) (*mtasts.Entry, error) {
	name := filepath.Base(path)
	if len(name) != hex.EncodedLen(sha256.Size) || strings.Contains(name, ".") {
		return s.Get(ctx, name)
	}
	return readFile(path)
}
