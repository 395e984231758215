package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"
)

// maxMeta bounds meta.json, of which a member host for each machine of a cluster
// is the longest part.
const maxMeta = 256 << 10

const metaVersion = 1

// meta are the notes about an entry. All of them may be lost: the certificate is
// served without, and a rollover waits. Notes about a certificate or a key name it,
// and are written before it comes into service, so that a crash cannot make them
// speak of another one.
type meta struct {
	Version  int       `json:"version"`
	Name     string    `json:"name"` // in the letter case of the operator
	Created  time.Time `json:"created"`
	Imported []string  `json:"imported,omitempty"` // SHA-256 of the leaves that came with their key
	Level    Level     `json:"level,omitempty"`
	Hosts    []string  `json:"hosts,omitempty"`    // of the cluster
	Accepted []Code    `json:"accepted,omitempty"` // findings that the operator has seen
	Rollover *rollover `json:"rollover,omitempty"`
}

// readMeta returns the notes about an entry. With an error they are empty.
func readMeta(storage Storage, folder string) (meta, error) {
	data, err := storage.ReadFile(inEntry(folder, metaFile))
	if errors.Is(err, fs.ErrNotExist) {
		return meta{}, errors.New("lost")
	}
	if err != nil {
		return meta{}, err
	}
	if len(data) > maxMeta {
		return meta{}, ErrTooLarge
	}
	var m meta
	decoder := json.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&m); err != nil {
		return meta{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return meta{}, fmt.Errorf("%w: more than one value", ErrMalformed)
	}
	if m.Version != metaVersion {
		return meta{}, fmt.Errorf("%w: version %d, this program knows version %d", ErrMalformed, m.Version, metaVersion)
	}
	return m, nil
}

// writeMeta stores the notes about an entry.
func (s *Store) writeMeta(folder string, m meta) error {
	m.Version = metaVersion
	data, err := json.MarshalIndent(m, "", "\t")
	if err == nil && len(data) >= maxMeta {
		err = ErrTooLarge
	}
	if err == nil {
		err = s.options.Storage.WriteFile(inEntry(folder, metaFile), append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("certs: %s: %w", inEntry(folder, metaFile), err)
	}
	return nil
}

// imports reports whether the notes say that the certificate came with its key.
func (m *meta) imports(cert *x509.Certificate) bool {
	return slices.Contains(m.Imported, hexSum(fingerprint(cert)))
}

// notes returns the notes of an entry to be changed, without what concerns
// certificates that it does not have any more.
func (e *entry) notes() meta {
	m := e.meta
	m.Name = e.name
	m.Imported = nil
	for _, p := range []*pair{&e.pair, e.next, e.previous} {
		if p != nil && len(p.chain) > 0 && e.meta.imports(p.chain[0]) {
			m.Imported = append(m.Imported, hexSum(fingerprint(p.chain[0])))
		}
	}
	return m
}

func hexSum(sum [sha256.Size]byte) string { return hex.EncodeToString(sum[:]) }

func keySum(cert *x509.Certificate) [sha256.Size]byte {
	return sha256.Sum256(cert.RawSubjectPublicKeyInfo)
}
