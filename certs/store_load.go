package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// pair is a key with its chain, leaf first. A key that waits for its certificate
// has no chain.
type pair struct {
	key   PrivateKey
	chain []*x509.Certificate
	bag   []*x509.Certificate // as in the file
}

// entry is one entry of a store. It is never changed.
type entry struct {
	pair
	folder   string
	name     string // for people
	next     *pair  // nil without a rollover
	previous *pair  // nil without a former generation
	meta     meta
	problems []Finding                   // of the storage, not of the certificates
	stamps   [len(loadedFiles)]FileState // of the files that it was read from
	files    *followed                   // not nil: it follows files of another program and is not stored
	tls      *tls.Certificate            // what is served
}

// loadedFiles are the files that make an entry.
var loadedFiles = [...]string{currentFile, nextFile, previousFile, swapFile, metaFile}

// stampEntry returns the states of an entry's files.
func (s *Store) stampEntry(folder string) (stamps [len(loadedFiles)]FileState, err error) {
	for i, file := range loadedFiles {
		if stamps[i], err = stateOf(s.options.Storage, inEntry(folder, file)); err != nil {
			return stamps, fmt.Errorf("certs: %s: %w", inEntry(folder, file), err)
		}
	}
	return stamps, nil
}

// loadEntry reads an entry; nil without an error is what a folder without current.pem,
// or of somebody else, gives.
func (s *Store) loadEntry(folder string) (*entry, error) {
	name, ok := unescapeName(folder)
	if !ok {
		return nil, nil
	}
	stamps, err := s.stampEntry(folder) // first: a change from now on is seen by the next poll
	if err != nil {
		return nil, err
	}
	current, err := s.loadPair(folder, currentFile)
	if current == nil || err != nil {
		return nil, err
	}
	e := &entry{pair: *current, folder: folder, name: name, stamps: stamps}
	if len(e.chain) == 0 {
		return nil, fmt.Errorf("certs: %s: %w", inEntry(folder, currentFile), ErrNoCertificate)
	}
	if e.next, err = s.loadPair(folder, nextFile); err != nil {
		return nil, err
	}
	if e.previous, err = s.loadPair(folder, previousFile); err != nil {
		return nil, err
	}
	if e.previous == nil { // a change of places that was interrupted
		if e.previous, err = s.loadPair(folder, swapFile); err != nil {
			return nil, err
		}
	}
	if e.previous != nil && (len(e.previous.chain) == 0 || e.previous.same(&e.pair)) {
		e.previous = nil // what an interrupted change leaves behind
	}
	for i, file := range loadedFiles {
		if file == metaFile || !stamps[i].Exposed {
			continue
		}
		path := inEntry(folder, file)
		if s.options.StrictPermissions {
			return nil, fmt.Errorf("certs: %s: %w", path, ErrExposed)
		}
		e.problems = append(e.problems, Finding{Code: FindingKeyPermissions, Severity: SeverityWarning, Cert: fingerprint(e.chain[0]),
			Detail: path + " holds a private key, and others than its owner may read or write it"})
	}
	e.meta, err = readMeta(s.options.Storage, folder)
	if err != nil {
		e.problems = append(e.problems, Finding{Code: FindingMetaUnreadable, Severity: SeverityWarning, Cert: fingerprint(e.chain[0]),
			Detail: fmt.Sprintf("%s: %v", inEntry(folder, metaFile), err)})
	}
	if foldName(e.meta.Name) == name {
		e.name = e.meta.Name
	}
	e.tls = e.certificate()
	return e, nil
}

// loadPair reads a key and, if there are any, its certificates; nil without an error
// if there is no such file.
func (s *Store) loadPair(folder, file string) (*pair, error) {
	path := inEntry(folder, file)
	data, err := s.options.Storage.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	defer zero(data)
	if err == nil {
		var p *pair
		if p, err = s.parsePair(data); err == nil {
			return p, nil
		}
	}
	return nil, placed(path, err)
}

// parsePair reads a key and its chain, if there is one. The order of the
// certificates does not matter; a root stays where it is sent.
func (s *Store) parsePair(data []byte) (*pair, error) {
	m, err := ReadBytes(data, ReadOptions{})
	if err != nil {
		return nil, err
	}
	p := &pair{bag: m.Certificates}
	if p.key, err = m.Key(); err != nil {
		return nil, err
	}
	if len(p.bag) > 0 {
		if p.chain, _, err = Arrange(p.key.Public(), p.bag, s.options.arrange(true)); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// encode returns the pair as PEM. The caller zeroes it after use.
func (p *pair) encode() ([]byte, error) {
	data, err := p.key.appendPEM(nil)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(data)+4<<10*len(p.chain)) // so that no append leaves a key behind
	out = append(out, data...)
	zero(data)
	for _, cert := range p.chain {
		out = appendCertificatePEM(out, cert)
	}
	return out, nil
}

// same reports whether two pairs are one key and one chain.
func (p *pair) same(other *pair) bool {
	return publicEqual(p.key.Public(), other.key.Public()) &&
		slices.EqualFunc(p.chain, other.chain, func(a, b *x509.Certificate) bool { return a.Equal(b) })
}

// certificate returns what crypto/tls is given.
func (p *pair) certificate() *tls.Certificate {
	c := &tls.Certificate{PrivateKey: p.key, Leaf: p.chain[0]}
	for _, cert := range p.chain {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c
}

// withRoot reports whether the chain has its self-signed end in it.
func (p *pair) withRoot() bool {
	return len(p.chain) > 1 && selfSigned(p.chain[len(p.chain)-1])
}

// writePair stores a pair.
func (s *Store) writePair(folder, file string, p *pair) error {
	data, err := p.encode()
	defer zero(data)
	if err == nil {
		err = s.options.Storage.WriteFile(inEntry(folder, file), data)
	}
	if err != nil {
		return fmt.Errorf("certs: %s: %w", inEntry(folder, file), err)
	}
	return nil
}
