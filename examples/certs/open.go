package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/smtpsec/smtpsec/certs"
	"github.com/smtpsec/smtpsec/certs/roots"
)

// access says what a command does with the directory.
type access int

const (
	toRead   access = iota // beside a writer in another process
	toWrite                // it must exist
	toCreate               // it is made where there is none
)

// directory opens the store's directory.
func (p *program) directory(a access) (*certs.Directory, error) {
	if p.dir == "" {
		p.dir, _ = p.getenv(dirVariable)
	}
	if p.dir == "" {
		return nil, usage("where is the store? Use -dir DIRECTORY, or set %s", dirVariable)
	}
	if a != toCreate { // a mistyped directory must not become a store
		d, err := certs.OpenDirectory(p.dir, certs.DirectoryOptions{ReadOnly: true})
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no store in %q: self-signed, import and ca import make one", p.dir)
		}
		if err != nil || a == toRead {
			return d, err
		}
		if err := d.Close(); err != nil {
			return nil, err
		}
	}
	return certs.OpenDirectory(p.dir, certs.DirectoryOptions{})
}

// withStore opens the store for the time of a function. The authorities of the same
// directory judge what is installed.
func (p *program) withStore(a access, system string, do func(*certs.Store) error) error {
	return p.withBoth(a, system, func(s *certs.Store, _ *certs.TrustStore) error { return do(s) })
}

// withTrust is withStore for the lists of authorities.
func (p *program) withTrust(a access, system string, do func(*certs.TrustStore) error) error {
	return p.withBoth(a, system, func(_ *certs.Store, t *certs.TrustStore) error { return do(t) })
}

func (p *program) withBoth(a access, system string, do func(*certs.Store, *certs.TrustStore) error) (err error) {
	source, err := systemRoots(system)
	if err != nil {
		return err
	}
	d, err := p.directory(a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	trust, err := certs.NewTrustStore(certs.TrustOptions{System: source, Storage: certs.Lists(d), Now: p.now})
	if err != nil {
		return err
	}
	s, err := certs.OpenStore(certs.StoreOptions{Storage: d, Trust: trust, Now: p.now})
	if err != nil {
		return err
	}
	return do(s, trust)
}

// systemUsage tells of the flag -system.
const systemUsage = "the system list of authorities: mozilla, host, none, or a `file`"

func systemRoots(name string) (certs.RootSource, error) {
	switch name {
	case "mozilla":
		return roots.Mozilla(), nil
	case "host":
		return certs.HostRoots(), nil
	case "none":
		return nil, nil
	}
	if _, err := os.Stat(name); err != nil {
		return nil, usage("-system %q: want mozilla, host, none, or a file: %v", name, err)
	}
	return certs.FileRoots(name), nil
}
