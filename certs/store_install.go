package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// InstallOptions say how a signed certificate is taken in. The zero value warns of
// everything and refuses nothing that fits the key.
type InstallOptions struct {
	// Intermediates is a second input, in PEM or DER, for those that a CA
	// delivers apart. nil: none.
	Intermediates []byte

	FQDN         bool // as in ImportOptions
	FQDNWarnOnly bool
	IncludeRoot  bool
}

// Install takes what an authority answered to the request of an entry: one or more
// certificates in PEM or DER, in any order. The one for the stored key becomes the
// leaf, and the others its issuers. It replaces the former certificate, which
// is kept for [Store.Rollback]; the key stays.
//
// Errors, upon which the entry is as it was: [ErrNotFound], [ErrKeyMismatch] if
// there is none for the stored key, *ParseError (around an *UnsupportedError with the
// command that converts it for PKCS #7), [ErrNoCertificate], [ErrTooLarge], *FQDNError,
// *NotCoveredError for an entry with LevelCluster, [ErrFollowed], those of the
// storage, [ErrNotOpen].
func (s *Store) Install(name string, data []byte, o InstallOptions) (Result, error) {
	if _, err := s.read(); err != nil {
		return Result{}, err
	}
	bag, findings, keys, err := readSigned(data, o.Intermediates)
	if err != nil {
		return Result{}, err
	}
	st, err := s.begin()
	if err != nil {
		return Result{}, err
	}
	defer s.end()
	st, e, err := s.own(st, name)
	if err != nil {
		return Result{}, err
	}
	if err := onlyKey(keys, e.key); err != nil {
		return Result{}, err
	}
	chain, findings, err := s.options.judge(e.key, bag, findings, o.imported())
	if err != nil {
		return Result{}, err
	}
	findings = namesChanged(findings, e.chain[0], chain[0])
	return s.replace(st, e, &pair{key: e.key, chain: chain}, findings)
}

func (o InstallOptions) imported() ImportOptions {
	return ImportOptions{FQDN: o.FQDN, FQDNWarnOnly: o.FQDNWarnOnly, IncludeRoot: o.IncludeRoot}
}

// readSigned reads the inputs of Install.
func readSigned(data, more []byte) (bag []*x509.Certificate, findings []Finding, keys []PrivateKey, err error) {
	for _, input := range [][]byte{data, more} {
		if input == nil {
			continue
		}
		m, err := ReadBytes(input, ReadOptions{})
		if err != nil {
			return nil, nil, nil, err
		}
		certs, err := m.Certs()
		if err != nil {
			return nil, nil, nil, err
		}
		bag, findings, keys = append(bag, certs...), append(findings, m.Findings...), append(keys, m.Keys...)
	}
	if len(bag) == 0 {
		return nil, nil, nil, fmt.Errorf("certs: %w in the input", ErrNoCertificate)
	}
	return bag, findings, keys, nil
}

// onlyKey refuses an input that brings a key of its own along: the certificates
// in it are for that one.
func onlyKey(keys []PrivateKey, stored PrivateKey) error {
	for _, key := range keys {
		if !publicEqual(key.Public(), stored.Public()) {
			return fmt.Errorf("certs: %w: the input has another private key than the entry; import it under a name of its own", ErrKeyMismatch)
		}
	}
	return nil
}

// replace stores the next generation of an entry. The former one is kept unless it has
// the same leaf.
func (s *Store) replace(st *storeState, e *entry, p *pair, findings []Finding) (Result, error) {
	if err := e.meta.covered(e.name, p.chain[0]); err != nil {
		return Result{}, err
	}
	if err := s.settle(e); err != nil {
		return Result{}, err
	}
	if !e.chain[0].Equal(p.chain[0]) {
		if err := s.options.Storage.Link(inEntry(e.folder, currentFile), inEntry(e.folder, previousFile)); err != nil {
			return Result{}, fmt.Errorf("certs: %s: %w", inEntry(e.folder, previousFile), err)
		}
	}
	if err := s.writePair(e.folder, currentFile, p); err != nil {
		return Result{}, err
	}
	return s.replaced(st, e, findings)
}

// replaced puts what was stored into service.
func (s *Store) replaced(st *storeState, e *entry, findings []Finding) (Result, error) {
	st, now, err := s.reload(st, e.folder)
	if err != nil {
		return Result{}, err
	}
	s.noteChanged(st, EventChanged, now)
	return Result{Name: now.name, Findings: findings, Changed: compareDigests(e.chain, now.chain)}, nil
}

// AddIntermediates adds certificates to the chain of an entry, in PEM or DER. Those
// that do not belong to it are the finding unused. The leaf stays; a new one is for
// Install.
//
// Errors, upon which the entry is as it was: [ErrNotFound], *ParseError,
// [ErrNoCertificate], [ErrKeyMismatch] for an input with another key, [ErrExists]
// for one with another leaf, [ErrTooLarge], [ErrFollowed], those of the storage,
// [ErrNotOpen].
func (s *Store) AddIntermediates(name string, data []byte) (Result, error) {
	if _, err := s.read(); err != nil {
		return Result{}, err
	}
	bag, findings, keys, err := readSigned(data, nil)
	if err != nil {
		return Result{}, err
	}
	st, err := s.begin()
	if err != nil {
		return Result{}, err
	}
	defer s.end()
	st, e, err := s.own(st, name)
	if err != nil {
		return Result{}, err
	}
	if err := onlyKey(keys, e.key); err != nil {
		return Result{}, err
	}
	for _, cert := range bag {
		if publicEqual(e.key.Public(), cert.PublicKey) && !cert.Equal(e.chain[0]) {
			return Result{}, fmt.Errorf("certs: entry %q has a certificate, and the input another one for its key, which Install would take: %w", e.name, ErrExists)
		}
	}
	// What the chain has already is no duplicate of the input's.
	bag = slices.DeleteFunc(bag, func(cert *x509.Certificate) bool {
		return slices.ContainsFunc(e.chain, cert.Equal)
	})
	chain, findings, err := s.options.judge(e.key, slices.Concat(e.chain, bag), findings, ImportOptions{IncludeRoot: e.withRoot()})
	if err != nil {
		return Result{}, err
	}
	return s.replace(st, e, &pair{key: e.key, chain: chain}, findings)
}

// Rollback exchanges the certificate of an entry with the generation before it, key
// and all; called again, it goes forward. Errors: [ErrNotFound] for the
// entry, or if there is no former generation, *NotCoveredError, [ErrFollowed], those of
// the storage, [ErrNotOpen].
func (s *Store) Rollback(name string) (Result, error) {
	st, err := s.begin()
	if err != nil {
		return Result{}, err
	}
	defer s.end()
	st, e, err := s.own(st, name)
	if err != nil {
		return Result{}, err
	}
	if e.previous == nil {
		return Result{}, fmt.Errorf("certs: entry %q: a former certificate: %w", e.name, ErrNotFound)
	}
	if err := e.meta.covered(e.name, e.previous.chain[0]); err != nil {
		return Result{}, err
	}
	if err := s.settle(e); err != nil {
		return Result{}, err
	}
	if err := s.noteSwitch(e, e.previous); err != nil {
		return Result{}, err
	}
	// At no moment is a pair without a name; loadEntry takes swap.pem for the
	// previous one while that is away.
	storage := s.options.Storage
	err = storage.Link(inEntry(e.folder, currentFile), inEntry(e.folder, swapFile))
	if err == nil {
		err = storage.Rename(inEntry(e.folder, previousFile), inEntry(e.folder, currentFile))
	}
	if err == nil {
		err = storage.Rename(inEntry(e.folder, swapFile), inEntry(e.folder, previousFile))
	}
	if err != nil {
		return Result{}, fmt.Errorf("certs: entry %q: %w", e.name, err)
	}
	findings := namesChanged(nil, e.chain[0], e.previous.chain[0])
	findings = Check(findings, e.previous.chain, s.options.check())
	return s.replaced(st, e, findings)
}

// settle ends an exchange that was interrupted, before something else is changed.
func (s *Store) settle(e *entry) error {
	storage, swap, previous := s.options.Storage, inEntry(e.folder, swapFile), inEntry(e.folder, previousFile)
	if _, err := storage.Stat(swap); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("certs: %s: %w", swap, err)
	}
	var err error
	switch _, missing := storage.Stat(previous); {
	case missing == nil: // it had not begun
		err = storage.Remove(swap)
	case errors.Is(missing, fs.ErrNotExist):
		err = storage.Rename(swap, previous)
	default:
		err = missing
	}
	if err != nil {
		return fmt.Errorf("certs: %s: %w", swap, err)
	}
	return nil
}
