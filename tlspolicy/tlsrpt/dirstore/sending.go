//go:build unix

package dirstore

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt"
)

// Domains yields the report domains of a day, and an error for each file whose
// domain cannot be found out.
func (s *Store) Domains(ctx context.Context, day tlsrpt.Day) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		writers, err := s.writers(ctx, day)
		if err != nil {
			yield("", err)
			return
		}
		for i := range 256 {
			part := hex.EncodeToString([]byte{byte(i)})
			seen := make(map[string]struct{})
			for _, writer := range writers {
				dir := filepath.Join(s.dir, day.String(), writer, part)
				names, err := list(dir)
				if err = cmp.Or(ctx.Err(), err); err != nil {
					yield("", err)
					return
				}
				for _, name := range names {
					if _, twice := seen[name]; twice {
						continue
					}
					seen[name] = struct{}{}
					domain, err := domainOf(filepath.Join(dir, name))
					if errors.Is(err, fs.ErrNotExist) {
						continue
					}
					if !yield(domain, err) {
						return
					}
				}
			}
		}
	}
}

// domainOf returns the domain of a file. No label has as many octets as a hash in
// hexadecimal, so a name of that length without a dot is one.
func domainOf(path string) (string, error) {
	name := filepath.Base(path)
	if len(name) != 64 || strings.Contains(name, ".") {
		return name, nil
	}
	snapshot, err := read(path)
	if err != nil {
		return "", fmt.Errorf("dirstore: %w", err)
	}
	return snapshot.Domain, nil
}

// Progress returns how far a report has come. A damaged note is put aside, and the
// error matches tlsrpt.ErrCorrupt.
func (s *Store) Progress(ctx context.Context, day tlsrpt.Day, domain string) (p tlsrpt.Progress, err error) {
	if err := ctx.Err(); err != nil {
		return p, err
	}
	path := s.path(day, progressDir, domain)
	text, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = p.UnmarshalText(text)
	}
	if errors.Is(err, tlsrpt.ErrCorrupt) {
		s.setAside(path, err)
	}
	if err != nil {
		return p, fmt.Errorf("dirstore: %w", err)
	}
	return p, nil
}

// SetProgress notes how far a report has come.
func (s *Store) SetProgress(ctx context.Context, day tlsrpt.Day, domain string, p tlsrpt.Progress) error {
	if err := tlsrpt.CheckKey(domain, "x"); err != nil {
		return err
	}
	return s.writeAll(ctx, []file{{s.path(day, progressDir, domain), p}})
}

// Lease takes the right to send a report. It ends with the process, whatever ttl
// says.
func (s *Store) Lease(ctx context.Context, day tlsrpt.Day, domain string, ttl time.Duration) (release func(), held bool, err error) {
	none := func() {}
	if err := cmp.Or(ctx.Err(), tlsrpt.CheckKey(domain, "x")); err != nil {
		return none, false, err
	}
	path := s.path(day, leaseDir, domain)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil { // a crash ends the lease anyway
		return none, false, fmt.Errorf("dirstore: %w", err)
	}
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return none, false, fmt.Errorf("dirstore: %w", err)
	}
	// The lock keeps out other processes and other goroutines alike, since each
	// has a file description of its own.
	switch err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		lock.Close()
		return none, false, nil
	case err != nil:
		lock.Close()
		return none, false, fmt.Errorf("dirstore: lock %s: %w", path, err)
	}
	free := sync.OnceFunc(func() { lock.Close() }) // which releases it
	timer := time.AfterFunc(ttl, free)
	return func() { timer.Stop(); free() }, true, nil
}
