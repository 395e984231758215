package dane

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

// NewRecord returns the record to publish for a certificate. The digest is over
// its DER, or that of its public key, as it stands. Numbers without meaning, and
// a certificate that is nil or was not made by x509.ParseCertificate, are errors.
//
// For a mail server use 3 1 1 of its own certificate: it stays right when the
// certificate is renewed with the same key (RFC 7671 section 5.1).
func NewRecord(u Usage, s Selector, m MatchingType, cert *x509.Certificate) (Record, error) {
	if cert == nil || len(cert.Raw) == 0 {
		return Record{}, errors.New("dane: a record needs a certificate from x509.ParseCertificate")
	}
	switch s {
	case SelectorCert:
		return newRecord(u, s, m, cert.Raw)
	case SelectorSPKI:
		return newRecord(u, s, m, cert.RawSubjectPublicKeyInfo)
	}
	return Record{}, fmt.Errorf("dane: selector %s has no meaning to publish", s)
}

// NewRecordSPKI returns the record to publish for a public key, as DER, before
// there is a certificate with it: from x509.MarshalPKIXPublicKey, or
// RawSubjectPublicKeyInfo of a certificate request. The selector is SPKI. A key
// that does not decode, or goes on behind its end, is an error.
func NewRecordSPKI(u Usage, m MatchingType, spki []byte) (Record, error) {
	if _, err := x509.ParsePKIXPublicKey(spki); err != nil {
		return Record{}, fmt.Errorf("dane: not a SubjectPublicKeyInfo in DER: %w", err)
	}
	return newRecord(u, SelectorSPKI, m, spki)
}

func newRecord(u Usage, s Selector, m MatchingType, part []byte) (Record, error) {
	if u > UsageDANEEE {
		return Record{}, fmt.Errorf("dane: usage %s has no meaning to publish", u)
	}
	r := Record{Usage: u, Selector: s, MatchingType: m}
	switch m {
	case MatchingFull:
		r.Data = bytes.Clone(part)
	case MatchingSHA256:
		sum := sha256.Sum256(part)
		r.Data = sum[:]
	case MatchingSHA512:
		sum := sha512.Sum512(part)
		r.Data = sum[:]
	default:
		return Record{}, fmt.Errorf("dane: matching type %s has no meaning to publish", m)
	}
	return r, nil
}

// Params are the three numbers in front of a record's data.
type Params struct {
	Usage        Usage
	Selector     Selector
	MatchingType MatchingType
}

// A Key is what a record is made from: a certificate, or a public key alone, as
// DER, which serves SelectorSPKI only. One of the two must be set.
type Key struct {
	Cert *x509.Certificate
	SPKI []byte
}

// RolloverSet returns the records to publish while several keys are or may be in
// use: every combination of p and keys, sorted, without duplicates.
//
// The combinations matter. A sender looks only at the strongest digest there is
// (RFC 7671 section 9), so a new key published with SHA2-256 beside an old one
// with SHA2-512 does not exist for it. Publish the set at least two TTLs before
// the new key comes into use, and keep it two TTLs after the old one went out
// (RFC 7671 section 8).
func RolloverSet(p []Params, keys ...Key) ([]Record, error) {
	var records []Record
	for _, k := range keys {
		for _, params := range p {
			r, err := k.record(params)
			if err != nil {
				return nil, err
			}
			records = append(records, r)
		}
	}
	if len(records) == 0 {
		return nil, errors.New("dane: a rollover needs at least one key and one kind of record")
	}
	return Union(records), nil
}

func (k Key) record(p Params) (Record, error) {
	switch {
	case (k.Cert == nil) == (k.SPKI == nil):
		return Record{}, errors.New("dane: a Key has either a certificate or a public key")
	case k.Cert != nil:
		return NewRecord(p.Usage, p.Selector, p.MatchingType, k.Cert)
	case p.Selector != SelectorSPKI:
		return Record{}, fmt.Errorf("dane: a public key alone cannot make a record with selector %s", p.Selector)
	}
	return NewRecordSPKI(p.Usage, p.MatchingType, k.SPKI)
}

// Union returns all records of all sets, sorted by Record.Compare, without
// duplicates. The sets stay as they are; Data is shared with them.
func Union(sets ...[]Record) []Record {
	all := slices.Concat(sets...)
	slices.SortFunc(all, Record.Compare)
	return slices.CompactFunc(all, Record.Equal)
}
