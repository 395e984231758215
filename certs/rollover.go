package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// waitTTLs is for how many times the TTL of the TLSA records a change of keys
// waits: as long as resolvers may hold the records from before (RFC 7671 section 8.1).
const waitTTLs = 2

// maxTTL is the highest TTL (RFC 2181 section 8).
const maxTTL = (1<<31 - 1) * time.Second

// rollover are the notes about a change of keys. Each names its key, so that notes
// from before a crash do not count for another one.
type rollover struct {
	Published *keyNote `json:"published,omitempty"` // the TLSA records with this next key
	Switched  *keyNote `json:"switched,omitempty"`  // this key came into service
}

type keyNote struct {
	Key string    `json:"key"` // SHA-256 of the SubjectPublicKeyInfo
	At  time.Time `json:"at"`
	TTL int64     `json:"ttl"` // of the TLSA records, in seconds
}

// until returns when the wait for a key ends, zero if nothing is noted about it.
func (n *keyNote) until(key string) time.Time {
	if n == nil || n.Key != key || n.At.IsZero() || n.TTL < 1 || n.TTL > int64(maxTTL/time.Second) {
		return time.Time{}
	}
	return n.At.Add(waitTTLs * time.Duration(n.TTL) * time.Second)
}

// promoteFrom returns when the wait before Promote ends, zero if nobody has
// confirmed the publication.
func (e *entry) promoteFrom() (time.Time, error) {
	sum, err := keySumOf(e.next.key.Public())
	if err != nil || e.meta.Rollover == nil {
		return time.Time{}, err
	}
	return e.meta.Rollover.Published.until(sum), nil
}

// retireFrom returns when the wait before Retire ends, zero if that is not known.
func (e *entry) retireFrom() time.Time {
	if e.meta.Rollover == nil {
		return time.Time{}
	}
	return e.meta.Rollover.Switched.until(hexSum(keySum(e.chain[0])))
}

// hold returns a *TooEarlyError until the wait is over.
func (s *Store) hold(name string, until time.Time) error {
	if until.IsZero() || s.options.Now().Before(until) {
		return placed(fmt.Sprintf("entry %q", name), &TooEarlyError{Until: until})
	}
	return nil
}

func keySumOf(key crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", err
	}
	return hexSum(sha256.Sum256(der)), nil
}

// NextOptions say which key PrepareNext makes. The zero value makes one like the present.
type NextOptions struct {
	Algorithm Algorithm // as in Form; "": by the kind of the present key
	KeySize   int       // as in Form; 0: the present key's, if Algorithm is ""
}

// Next is a key that waits for its time.
type Next struct {
	Request       []byte // for the authority: PEM, with the names of the present certificate
	PublicKeyInfo []byte // DER; its SHA-256 is what TLSA 3 1 1 publishes
}

// PrepareNext begins a rollover: it makes the next key of an entry, so that its
// TLSA record is known before the authority signs, and the request for it. Called
// again it returns the same; it makes no second key. The order of a rollover is
// PrepareNext, publish the TLSA records of [Store.PublicKeyInfos],
// [Store.ConfirmPublished], [Store.InstallNext] or [Store.SelfSignNext], [Store.Promote],
// [Store.Retire], publish again.
//
// Errors: [ErrNotFound], *FieldError, [ErrFollowed], those of the storage, [ErrNotOpen].
func (s *Store) PrepareNext(name string, o NextOptions) (Next, error) {
	st, err := s.begin()
	if err != nil {
		return Next{}, err
	}
	defer s.end()
	st, e, err := s.own(st, name)
	if err != nil {
		return Next{}, err
	}
	if e.next == nil {
		key, err := s.nextKey(e, o)
		if err != nil {
			return Next{}, err
		}
		if err := s.writePair(e.folder, nextFile, &pair{key: key}); err != nil {
			return Next{}, err
		}
		if _, e, err = s.reload(st, e.folder); err != nil {
			return Next{}, err
		}
	}
	request, err := s.request(e, e.next.key, e.chain[0], true)
	if err != nil {
		return Next{}, err
	}
	info, err := x509.MarshalPKIXPublicKey(e.next.key.Public())
	if err != nil {
		return Next{}, fmt.Errorf("certs: entry %q: %w", e.name, err)
	}
	return Next{Request: request, PublicKeyInfo: info}, nil
}

func (s *Store) nextKey(e *entry, o NextOptions) (PrivateKey, error) {
	f := Form{Algorithm: o.Algorithm, KeySize: o.KeySize}
	if f.Algorithm == "" {
		f.Algorithm, f.KeySize = likeKey(e.key.Public())
		if o.KeySize != 0 {
			f.KeySize = o.KeySize
		}
	}
	choice := &subject{}
	if err := choice.setAlgorithm(f); err != nil {
		return PrivateKey{}, err
	}
	signer, err := choice.newKey(s.options.Rand)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("certs: making a key: %w", err)
	}
	return NewPrivateKey(signer)
}

// likeKey returns what makes a key like this one, or the nearest that is made.
func likeKey(key crypto.PublicKey) (Algorithm, int) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		switch bits := k.N.BitLen(); {
		case bits <= 2048:
			return SHA256WithRSA, 2048
		case bits <= 3072:
			return SHA256WithRSA, 3072
		}
		return SHA256WithRSA, 4096
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return ECDSAWithSHA384, 0
		}
	}
	return ECDSAWithSHA256, 0
}

// InstallNext takes the authority's answer for the next key, as Install does for the
// present one. Nothing is served yet; Changed in the result says what Promote
// will change. Further error: [ErrNotFound] if there is no next key.
func (s *Store) InstallNext(name string, data []byte, o InstallOptions) (Result, error) {
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
	st, e, err := s.withNext(st, name)
	if err != nil {
		return Result{}, err
	}
	if err := onlyKey(keys, e.next.key); err != nil {
		return Result{}, err
	}
	chain, findings, err := s.options.judge(e.next.key, bag, findings, o.imported())
	if err != nil {
		return Result{}, err
	}
	if err := e.meta.covered(e.name, chain[0]); err != nil {
		return Result{}, err
	}
	findings = namesChanged(findings, e.chain[0], chain[0])
	return s.putNext(st, e, &pair{key: e.next.key, chain: chain}, findings)
}

// putNext stores the next key with its chain.
func (s *Store) putNext(st *storeState, e *entry, p *pair, findings []Finding) (Result, error) {
	if err := s.writePair(e.folder, nextFile, p); err != nil {
		return Result{}, err
	}
	if _, _, err := s.reload(st, e.folder); err != nil {
		return Result{}, err
	}
	return Result{Name: e.name, Findings: findings, Changed: compareDigests(e.chain, p.chain)}, nil
}

// withNext returns an entry that has a next key.
func (s *Store) withNext(st *storeState, name string) (*storeState, *entry, error) {
	st, e, err := s.own(st, name)
	if err == nil && e.next == nil {
		return nil, nil, fmt.Errorf("certs: entry %q: a next key: %w", e.name, ErrNotFound)
	}
	return st, e, err
}

// ConfirmPublished notes that the TLSA records with the next key are published from
// now on, with this TTL. Errors: [ErrNotFound], also if there is no next key,
// *FieldError for a TTL below a second or above 2^31-1, [ErrFollowed], those of the
// storage, [ErrNotOpen].
func (s *Store) ConfirmPublished(name string, ttl time.Duration) error {
	if ttl < time.Second || ttl > maxTTL {
		return &FieldError{Field: "TTL", Value: ttl.String(), Problem: "the TTL of the TLSA records is needed, 1 to 2147483647 seconds (RFC 2181 section 8)"}
	}
	return s.annotate(name, func(e *entry, m *meta) error {
		if e.next == nil {
			return fmt.Errorf("certs: entry %q: a next key: %w", e.name, ErrNotFound)
		}
		sum, err := keySumOf(e.next.key.Public())
		if err != nil {
			return err
		}
		seconds := int64((ttl + time.Second - 1) / time.Second)
		m.Rollover = m.Rollover.with(func(r *rollover) { r.Published = &keyNote{Key: sum, At: s.options.Now(), TTL: seconds} })
		return nil
	})
}

// with returns changed notes; what is in service is never changed.
func (r *rollover) with(change func(*rollover)) *rollover {
	var copied rollover
	if r != nil {
		copied = *r
	}
	change(&copied)
	return &copied
}

// noteSwitch writes down when another key of the entry comes into service.
func (s *Store) noteSwitch(e *entry, to *pair) error {
	if publicEqual(e.key.Public(), to.key.Public()) {
		return nil
	}
	sum, err := keySumOf(to.key.Public())
	if err != nil {
		return err
	}
	var ttl int64
	if r := e.meta.Rollover; r != nil {
		if r.Switched != nil {
			ttl = r.Switched.TTL
		}
		if r.Published != nil && r.Published.Key == sum {
			ttl = r.Published.TTL
		}
	}
	m := e.notes()
	m.Rollover = m.Rollover.with(func(r *rollover) { r.Switched = &keyNote{Key: sum, At: s.options.Now(), TTL: ttl} })
	return s.writeMeta(e.folder, m)
}

// Promote puts the next key and its chain into service; the former pair becomes the
// previous generation. It waits until two TTLs have passed since ConfirmPublished,
// because until then resolvers may hold TLSA records without the new key (RFC 7671
// section 8.1). force is for hosts without TLSA records.
//
// Errors: *TooEarlyError, [ErrNotFound] if there is no next key, [ErrNoCertificate] if it
// is not signed yet, *NotCoveredError, [ErrFollowed], those of the storage, [ErrNotOpen].
func (s *Store) Promote(name string, force bool) (Result, error) {
	st, err := s.begin()
	if err != nil {
		return Result{}, err
	}
	defer s.end()
	st, e, err := s.withNext(st, name)
	if err != nil {
		return Result{}, err
	}
	if len(e.next.chain) == 0 {
		return Result{}, fmt.Errorf("certs: entry %q: the next key has %w yet: use InstallNext", e.name, ErrNoCertificate)
	}
	if err := e.meta.covered(e.name, e.next.chain[0]); err != nil {
		return Result{}, err
	}
	if !force {
		from, err := e.promoteFrom()
		if err != nil {
			return Result{}, err
		}
		if err := s.hold(e.name, from); err != nil {
			return Result{}, err
		}
	}
	if err := s.settle(e); err != nil {
		return Result{}, err
	}
	if err := s.noteSwitch(e, e.next); err != nil {
		return Result{}, err
	}
	storage := s.options.Storage
	err = storage.Link(inEntry(e.folder, currentFile), inEntry(e.folder, previousFile))
	if err == nil {
		err = storage.Rename(inEntry(e.folder, nextFile), inEntry(e.folder, currentFile))
	}
	if err != nil {
		return Result{}, fmt.Errorf("certs: entry %q: %w", e.name, err)
	}
	findings := namesChanged(nil, e.chain[0], e.next.chain[0])
	findings = Check(findings, e.next.chain, s.options.check())
	return s.replaced(st, e, findings)
}

// Abandon removes the next key and what was signed for it. Errors: [ErrNotFound] if
// there is none, [ErrFollowed], those of the storage, [ErrNotOpen].
func (s *Store) Abandon(name string) error {
	st, err := s.begin()
	if err != nil {
		return err
	}
	defer s.end()
	st, e, err := s.withNext(st, name)
	if err != nil {
		return err
	}
	if err := s.options.Storage.Remove(inEntry(e.folder, nextFile)); err != nil {
		return fmt.Errorf("certs: entry %q: %w", e.name, err)
	}
	_, _, err = s.reload(st, e.folder)
	return err
}

// Retire removes the previous generation with its key; its TLSA record may go, too.
// If that is another key, it waits until two TTLs have passed since the change,
// unless forced.
//
// Errors: *TooEarlyError, [ErrNotFound] if there is no former generation,
// [ErrFollowed], those of the storage, [ErrNotOpen].
func (s *Store) Retire(name string, force bool) error {
	st, err := s.begin()
	if err != nil {
		return err
	}
	defer s.end()
	st, e, err := s.own(st, name)
	if err != nil {
		return err
	}
	if e.previous == nil {
		return fmt.Errorf("certs: entry %q: a former certificate: %w", e.name, ErrNotFound)
	}
	if !force && !publicEqual(e.key.Public(), e.previous.key.Public()) {
		if err := s.hold(e.name, e.retireFrom()); err != nil {
			return err
		}
	}
	if err := s.settle(e); err != nil {
		return err
	}
	if err := s.options.Storage.Remove(inEntry(e.folder, previousFile)); err != nil {
		return fmt.Errorf("certs: entry %q: %w", e.name, err)
	}
	_, _, err = s.reload(st, e.folder)
	return err
}

// PublicKeyInfos returns the SubjectPublicKeyInfo, in DER, of every key for which TLSA
// records have to be published now: the present one, the next one if it is prepared, and
// the previous one until Retire. Package dane makes the records. Errors:
// [ErrNotFound], [ErrNotOpen].
func (s *Store) PublicKeyInfos(name string) ([][]byte, error) {
	st, err := s.read()
	if err != nil {
		return nil, err
	}
	e, err := st.find(name)
	if err != nil {
		return nil, err
	}
	var list [][]byte
	var errs []error
	for _, p := range []*pair{&e.pair, e.next, e.previous} {
		if p == nil {
			continue
		}
		info, err := x509.MarshalPKIXPublicKey(p.key.Public())
		errs = append(errs, err)
		if !slices.ContainsFunc(list, func(other []byte) bool { return string(other) == string(info) }) {
			list = append(list, info)
		}
	}
	return list, errors.Join(errs...)
}
