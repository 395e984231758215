package certs

import (
	"crypto/x509"
	"time"
)

// SelfSign renews the certificate of an entry by signing it anew with the key that it
// has: the subject and the names of the present certificate, valid from one hour ago and
// for so many days. A TLSA record 3 1 1 stays right (RFC 7671 section 5.1). It
// replaces the former certificate as Install does, whoever has signed that one.
//
// Errors, upon which the entry is as it was: [ErrNotFound], *FieldError for the days,
// [ErrFollowed], those of the storage, [ErrNotOpen].
func (s *Store) SelfSign(name string, days int) (Result, error) {
	st, err := s.begin()
	if err != nil {
		return Result{}, err
	}
	defer s.end()
	st, e, err := s.own(st, name)
	if err != nil {
		return Result{}, err
	}
	p, findings, err := s.signAnew(e, e.key, days)
	if err != nil {
		return Result{}, err
	}
	return s.replace(st, e, p, findings)
}

// SelfSignNext is InstallNext for a host whose senders look at its TLSA records of
// usage 3 and at no authority: the next key signs the subject and the names of the
// present certificate itself, for so many days. Nothing is served yet.
//
// Errors are those of SelfSign, and [ErrNotFound] if there is no next key.
func (s *Store) SelfSignNext(name string, days int) (Result, error) {
	st, err := s.begin()
	if err != nil {
		return Result{}, err
	}
	defer s.end()
	st, e, err := s.withNext(st, name)
	if err != nil {
		return Result{}, err
	}
	p, findings, err := s.signAnew(e, e.next.key, days)
	if err != nil {
		return Result{}, err
	}
	return s.putNext(st, e, p, findings)
}

// signAnew makes a key the issuer of what an entry's certificate says.
func (s *Store) signAnew(e *entry, key PrivateKey, days int) (*pair, []Finding, error) {
	now := s.options.Now().UTC().Truncate(time.Second)
	end, err := endAfter(now, days)
	if err != nil {
		return nil, nil, err
	}
	from := e.chain[0]
	cert, err := signSelf(key, &x509.Certificate{
		RawSubject:         from.RawSubject,
		NotBefore:          now.Add(-backdate),
		NotAfter:           end,
		SignatureAlgorithm: requestAlgorithm(key, from),
		ExtraExtensions:    sanExtension(from),
	}, s.options.Rand)
	if err != nil {
		return nil, nil, err
	}
	p := &pair{key: key, chain: []*x509.Certificate{cert}}
	return p, Check(nil, p.chain, s.options.check()), nil
}
