package certs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// followed are the files of another program that an entry follows.
type followed struct {
	cert, key string // paths; key is "" if one file has both
	stamps    [2]FileState
}

// stamp returns the states of the files.
func (f *followed) stamp() (stamps [2]FileState, err error) {
	for i, path := range []string{f.cert, f.key} {
		if path == "" {
			continue
		}
		info, err := os.Stat(path) // through symbolic links, of which any part of the path may be one
		if errors.Is(err, fs.ErrNotExist) {
			continue // zero: another state
		}
		if err != nil {
			return stamps, fmt.Errorf("certs: %w", err)
		}
		stamps[i] = fileState(info)
	}
	return stamps, nil
}

// Follow makes an entry of a pair of files that another program writes, such as an
// ACME client, or reads them again. [Store.Watch] sees when they change. A
// keyFile of "" is for one file with both. An encrypted key cannot be followed.
//
// The pair is not stored: after a restart Follow is called again, and roles that name
// the entry wait for it. What would write the entry is [ErrFollowed].
//
// Errors: [ErrExists] for an entry that does not follow these files, *FieldError,
// *ParseError, [ErrNoKey], [ErrManyKeys], [ErrNoCertificate], [ErrKeyMismatch],
// with StrictPermissions [ErrExposed], those of the file system, [ErrNotOpen].
func (s *Store) Follow(name, certFile, keyFile string) (Result, error) {
	st, err := s.begin()
	if err != nil {
		return Result{}, err
	}
	defer s.end()
	folder, err := EscapeName(name)
	if err != nil {
		return Result{}, err
	}
	// Watch may look for them after a change of the working directory.
	for _, path := range []*string{&certFile, &keyFile} {
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return Result{}, fmt.Errorf("certs: %w", err)
		}
	}
	former := st.entries[folder]
	if former != nil && (former.files == nil || former.files.cert != certFile || former.files.key != keyFile) {
		return Result{}, fmt.Errorf("certs: entry %q: %w", former.name, ErrExists)
	}
	e, err := s.loadFollowed(folder, name, &followed{cert: certFile, key: keyFile})
	if err != nil {
		return Result{}, err
	}
	st = s.put(st, e)
	s.noteChanged(st, EventChanged, e)
	result := Result{Name: e.name, Findings: s.findings(st, e), Changed: compareDigests(nil, e.chain)}
	if former != nil {
		result.Changed = compareDigests(former.chain, e.chain)
	}
	return result, nil
}

// loadFollowed reads a pair of files.
func (s *Store) loadFollowed(folder, name string, f *followed) (*entry, error) {
	stamps, err := f.stamp() // first: a change from now on is seen by the next poll
	if err != nil {
		return nil, err
	}
	paths := []string{f.cert, f.key}
	if f.key == "" {
		paths = paths[:1]
	}
	var keys []PrivateKey
	e := &entry{folder: folder, name: name, files: &followed{cert: f.cert, key: f.key, stamps: stamps}}
	for i, path := range paths {
		m, err := ReadFile(path, ReadOptions{})
		if err != nil {
			return nil, err
		}
		for _, key := range m.Keys { // a key may stand in both files
			if !slices.ContainsFunc(keys, func(k PrivateKey) bool { return publicEqual(k.Public(), key.Public()) }) {
				keys = append(keys, key)
			}
		}
		if i == 0 || len(e.bag) == 0 {
			e.bag = m.Certificates
		}
		if len(m.Keys) == 0 || !stamps[i].Exposed {
			continue
		}
		if s.options.StrictPermissions {
			return nil, fmt.Errorf("certs: %q: %w", path, ErrExposed)
		}
		e.problems = append(e.problems, Finding{Code: FindingKeyPermissions, Severity: SeverityWarning,
			Detail: fmt.Sprintf("%q holds a private key, and others than its owner may read or write it", path)})
	}
	switch len(keys) {
	case 0:
		return nil, fmt.Errorf("certs: %q: %w", paths[len(paths)-1], ErrNoKey)
	case 1:
		e.key = keys[0]
	default:
		return nil, fmt.Errorf("certs: %q: %w", paths, ErrManyKeys)
	}
	if e.chain, _, err = Arrange(e.key.Public(), e.bag, s.options.arrange(true)); err != nil {
		return nil, placed(fmt.Sprintf("%q", paths), err)
	}
	for i := range e.problems {
		e.problems[i].Cert = fingerprint(e.chain[0])
	}
	e.tls = e.certificate()
	return e, nil
}
