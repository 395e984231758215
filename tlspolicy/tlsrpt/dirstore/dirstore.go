//go:build unix

// Package dirstore keeps what TLS reports are made of in a directory: readable
// files, no daemon and no index. Counts then outlive a restart and a crash, and
// several processes of one machine make one report.
//
//	store, err := dirstore.Open("/var/lib/mta/tlsrpt", dirstore.Options{})
//	aggregator, err := tlsrpt.NewAggregator(store, tlsrpt.AggregatorOptions{})
//
// The counts of a domain, day and writer are one file,
//
//	2026-03-01/<writer>/<two digits of a hash>/receiver.example
//
// with the schema, a checksum and a line of JSON. Every run of a process is a writer
// of its own and replaces its own files alone, so nobody waits for anybody. A file
// is written beside its place, synced, renamed over the old one, and the directory
// synced: after a crash at any moment it is the old or the new one, whole. A file
// whose checksum is wrong is renamed aside and told. How far each report has come,
// and who sends it, is kept below 2026-03-01/.progress and 2026-03-01/.lease.
//
// The directory is trusted. It is made with mode 0700 and its files with 0600. It
// must be on a local file system on which flock(2) works between the processes that
// share it.
package dirstore

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt"
)

const (
	// longName is from where on a file is named after the hash of its domain:
	// most file systems end names at 255 octets, and names aside are longer.
	longName = 200
	// maxFile bounds what is read of a file.
	maxFile = 8 << 20
	// writesAtOnce is how many files are written and synced at the same time.
	writesAtOnce = 8

	// No day, writer and domain begins with a dot.
	progressDir   = ".progress"
	leaseDir      = ".lease"
	tempPrefix    = ".tmp-"
	corruptPrefix = ".corrupt-"
)

// Options change a Store. The zero value is silent.
type Options struct {
	// Report is told of each file that was put aside and why; nil: nobody is.
	Report func(path string, err error)
}

// Store is a tlsrpt.Store in a directory. It is safe for concurrent use, and
// several processes may have Stores over one directory.
type Store struct {
	dir    string
	report func(path string, err error)
	saving sync.Mutex // held while files are written
}

var _ tlsrpt.Store = (*Store)(nil)

// Open makes the directory if it does not exist.
func Open(dir string, o Options) (*Store, error) {
	s := &Store{dir: dir, report: o.Report}
	if s.report == nil {
		s.report = func(string, error) {}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("dirstore: %w", err)
	}
	return s, nil
}

// fileName returns where below a writer the file of a domain is.
func fileName(domain string) string {
	hash := sha256.Sum256([]byte(domain))
	name := domain
	if len(name) > longName {
		name = hex.EncodeToString(hash[:])
	}
	return filepath.Join(hex.EncodeToString(hash[:1]), name)
}

func (s *Store) path(day tlsrpt.Day, part, domain string) string {
	return filepath.Join(s.dir, day.String(), part, fileName(domain))
}

// Save stores snapshots.
func (s *Store) Save(ctx context.Context, snapshots []*tlsrpt.Snapshot) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	files := make([]file, 0, len(snapshots))
	for _, snapshot := range snapshots {
		if err := tlsrpt.CheckKey(snapshot.Domain, snapshot.Writer); err != nil {
			return err
		}
		files = append(files, file{s.path(snapshot.Day, snapshot.Writer, snapshot.Domain), snapshot})
	}
	return s.writeAll(ctx, files)
}

// file is a file to be written.
type file struct {
	path string
	text interface{ MarshalText() ([]byte, error) }
}

// writeAll writes files, and then syncs each of their directories once.
func (s *Store) writeAll(ctx context.Context, files []file) error {
	dirs := make(map[string]struct{})
	err := parallel(ctx, files, func(f file) error {
		if snapshot, ok := f.text.(*tlsrpt.Snapshot); ok && storedWeight(f.path) > snapshot.Weight() {
			return nil
		}
		text, err := f.text.MarshalText()
		if err != nil {
			return err
		}
		return s.write(f.path, text)
	})
	if err != nil {
		return err
	}
	for _, f := range files {
		dirs[filepath.Dir(f.path)] = struct{}{}
	}
	list := make([]string, 0, len(dirs))
	for dir := range dirs {
		list = append(list, dir)
	}
	return parallel(ctx, list, syncDir)
}

// parallel calls f for each element, some at a time, and returns the first error.
func parallel[T any](ctx context.Context, list []T, f func(T) error) error {
	var all sync.WaitGroup
	var once sync.Once
	var failed error
	slots := make(chan struct{}, writesAtOnce)
	for _, v := range list {
		if err := ctx.Err(); err != nil {
			once.Do(func() { failed = err })
			break
		}
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if err := f(v); err != nil {
				once.Do(func() { failed = fmt.Errorf("dirstore: %w", err) })
			}
		})
	}
	all.Wait()
	if failed == nil {
		failed = ctx.Err()
	}
	return failed
}

// storedWeight returns the weight in the second line of a file, 0 if there is none
// or it cannot be read: then it is written anew.
func storedWeight(path string) uint64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	r := bufio.NewReaderSize(io.LimitReader(f, 1024), 1024)
	_, _ = r.ReadString('\n') // an end shows in the next line
	line, _ := r.ReadString('\n')
	words := strings.Fields(line)
	if len(words) != 4 {
		return 0
	}
	weight, err := strconv.ParseUint(words[3], 10, 64)
	if err != nil {
		return 0
	}
	// A damaged file must not keep good counts away.
	if _, err := read(path); err != nil {
		return 0
	}
	return weight
}

// write replaces a file. Its directory is not synced yet.
func (s *Store) write(path string, text []byte) (err error) {
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, tempPrefix+"*") // mode 0600
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeDir(dir, s.dir); err != nil {
			return err
		}
		temp, err = os.CreateTemp(dir, tempPrefix+"*")
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			temp.Close()
			os.Remove(temp.Name())
		}
	}()
	if _, err = temp.Write(text); err != nil {
		return err
	}
	if err = temp.Sync(); err != nil {
		return err
	}
	if err = temp.Close(); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}

// makeDir makes a directory and those above it up to root, each synced into its
// parent. One that exists is synced too: whoever made it may not have come so far.
func makeDir(dir, root string) error {
	if dir == root {
		return nil
	}
	if err := makeDir(filepath.Dir(dir), root); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// readFile reads a file whole, bounded.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%w: %s is larger than %d octets", tlsrpt.ErrCorrupt, path, maxFile)
	}
	return text, nil
}

func read(path string) (*tlsrpt.Snapshot, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	snapshot := new(tlsrpt.Snapshot)
	if err := snapshot.UnmarshalText(text); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return snapshot, nil
}

// Load returns the snapshots of all writers. A damaged file is put aside; the error
// then matches tlsrpt.ErrCorrupt and the Tally has the others.
func (s *Store) Load(ctx context.Context, day tlsrpt.Day, domain string) (*tlsrpt.Tally, error) {
	tally := new(tlsrpt.Tally)
	writers, err := s.writers(ctx, day)
	if err != nil {
		return nil, err
	}
	var corrupt error
	for _, writer := range writers {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		path := s.path(day, writer, domain)
		snapshot, err := read(path)
		if err == nil && (snapshot.Day != day || snapshot.Domain != domain || snapshot.Writer != writer) {
			err = fmt.Errorf("%w: %s is of %s, %s, %s", tlsrpt.ErrCorrupt, path, snapshot.Domain, snapshot.Day, snapshot.Writer)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, tlsrpt.ErrCorrupt):
			s.setAside(path, err)
			corrupt = errors.Join(corrupt, fmt.Errorf("dirstore: %w", err))
			continue
		case err != nil:
			return nil, fmt.Errorf("dirstore: %w", err)
		}
		if err := tally.Add(snapshot); err != nil {
			return nil, err
		}
	}
	return tally, corrupt
}

// setAside renames a damaged file for somebody to look at.
func (s *Store) setAside(path string, why error) {
	aside := filepath.Join(filepath.Dir(path), corruptPrefix+filepath.Base(path))
	if err := os.Rename(path, aside); err != nil {
		why = errors.Join(why, err)
	}
	s.report(aside, why)
}

// writers returns the writers of a day.
func (s *Store) writers(ctx context.Context, day tlsrpt.Day) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	names, err := list(filepath.Join(s.dir, day.String()))
	if err != nil {
		return nil, err
	}
	return names, nil
}

// list returns what is in a directory and does not begin with a dot, in order. A
// directory that does not exist is empty.
func list(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("dirstore: %w", err)
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Days returns the days of which there is something.
func (s *Store) Days(ctx context.Context) ([]tlsrpt.Day, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	names, err := list(s.dir)
	if err != nil {
		return nil, err
	}
	var days []tlsrpt.Day
	for _, name := range names {
		if day, err := tlsrpt.ParseDay(name); err == nil {
			days = append(days, day)
		}
	}
	slices.Sort(days)
	return days, nil
}

// Prune removes the days before day.
func (s *Store) Prune(ctx context.Context, day tlsrpt.Day) error {
	days, err := s.Days(ctx)
	if err != nil {
		return err
	}
	for _, d := range days {
		if d >= day {
			break
		}
		if err := cmp.Or(ctx.Err(), os.RemoveAll(filepath.Join(s.dir, d.String()))); err != nil {
			return fmt.Errorf("dirstore: %w", err)
		}
	}
	return nil
}
