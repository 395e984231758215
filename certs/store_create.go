package certs

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Result is what a change of an entry leads to.
type Result struct {
	Name     string    // of the entry
	Findings []Finding // about the input and what was made of it; none of them blocked
	Changed  Digests
}

// Digests says which TLSA records of a host stop matching by a change of its
// certificate (RFC 6698 section 2.1). For a new entry it is all true.
type Digests struct {
	Certificate bool // 3 0 x and 1 0 x: the leaf
	Key         bool // 3 1 x and 1 1 x: the leaf's key
	Issuers     bool // 2 x x and 0 x x: perhaps, since an issuer is another one
}

func compareDigests(former, now []*x509.Certificate) Digests {
	if len(former) == 0 {
		return Digests{true, true, true}
	}
	d := Digests{
		Certificate: !former[0].Equal(now[0]),
		Key:         string(former[0].RawSubjectPublicKeyInfo) != string(now[0].RawSubjectPublicKeyInfo),
		Issuers:     len(former) != len(now),
	}
	for i := 0; i < len(now) && !d.Issuers; i++ {
		d.Issuers = string(former[i].RawIssuer) != string(now[i].RawIssuer) ||
			string(former[i].AuthorityKeyId) != string(now[i].AuthorityKeyId) ||
			i > 0 && !former[i].Equal(now[i])
	}
	return d
}

// CreateSelfSigned makes an entry with a new key and a certificate that it signs
// itself. An empty name takes the common name.
//
// Errors: [ErrExists], *FieldError and *FQDNError for the form (no key is made
// then), those of the storage, [ErrNotOpen].
func (s *Store) CreateSelfSigned(name string, f Form) (Result, error) {
	st, err := s.read()
	if err != nil {
		return Result{}, err
	}
	if name == "" {
		if ascii, err := presentedName(f.CommonName); err == nil {
			name = ascii
		} else {
			name = f.CommonName // SelfSigned says what is wrong with it
		}
	}
	if name != "" {
		if _, err := st.free(name); err != nil { // before a key is made, which may take long
			return Result{}, err
		}
	}
	key, cert, findings, err := SelfSigned(f, CreateOptions{Now: s.options.Now, Rand: s.options.Rand})
	if err != nil {
		return Result{}, err
	}
	return s.add(name, &pair{key: key, chain: []*x509.Certificate{cert}}, meta{}, findings)
}

// add makes a new entry.
func (s *Store) add(name string, p *pair, m meta, findings []Finding) (Result, error) {
	st, err := s.begin()
	if err != nil {
		return Result{}, err
	}
	defer s.end()
	folder, err := st.free(name)
	if err != nil {
		return Result{}, err
	}
	if err := s.clearFolder(folder); err != nil {
		return Result{}, err
	}
	m.Name, m.Created = name, s.options.Now().UTC().Truncate(time.Second)
	err = s.writeMeta(folder, m)
	if err == nil {
		err = s.writePair(folder, currentFile, p)
	}
	if err != nil {
		for _, file := range []string{currentFile, metaFile} { // notes alone are no entry
			_ = removeIfThere(s.options.Storage, inEntry(folder, file))
		}
		return Result{}, err
	}
	st, e, err := s.reload(st, folder)
	if err != nil {
		return Result{}, err
	}
	s.noteChanged(st, EventChanged, e)
	return Result{Name: e.name, Findings: findings, Changed: compareDigests(nil, e.chain)}, nil
}

// clearFolder removes what is left of an entry in a folder without current.pem. With it,
// the folder is an entry that somebody has put there since the last look: a key that
// nobody else may have.
func (s *Store) clearFolder(folder string) error {
	if _, err := s.options.Storage.Stat(inEntry(folder, currentFile)); err == nil {
		err = fmt.Errorf("%w: it is no entry of this program's yet, which Watch would make it", ErrExists)
		return fmt.Errorf("certs: %s: %w", inEntry(folder, currentFile), err)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("certs: %s: %w", inEntry(folder, currentFile), err)
	}
	for _, file := range entryFiles {
		if err := removeIfThere(s.options.Storage, inEntry(folder, file)); err != nil {
			return fmt.Errorf("certs: %s: %w", inEntry(folder, file), err)
		}
	}
	return nil
}

// CSR returns a certificate request for the key of an entry, in PEM, with the names
// of its certificate. Asked again it returns the same request as long as key and
// names stay, except during a rollover, when the request for the next key is the
// one kept. It never makes a key.
//
// Errors: [ErrNotFound], those of the storage, [ErrNotOpen].
func (s *Store) CSR(name string) ([]byte, error) {
	st, err := s.begin()
	if err != nil {
		return nil, err
	}
	defer s.end()
	e, err := st.find(name)
	if err != nil {
		return nil, err
	}
	return s.request(e, e.key, e.chain[0], e.next == nil)
}

// request returns the stored request if it is still right, or makes one. A storage
// that is open for reading does not keep it.
func (s *Store) request(e *entry, key PrivateKey, from *x509.Certificate, keep bool) ([]byte, error) {
	if e.files == nil {
		data, err := s.options.Storage.ReadFile(inEntry(e.folder, requestFile))
		switch {
		case err == nil && answers(data, key, from):
			return data, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("certs: %s: %w", inEntry(e.folder, requestFile), err)
		}
	}
	names := *from
	names.PublicKey = key.Public() // during a rollover the next key asks for the names of the present one
	data, err := CertificateRequest(key, &names, s.options.Rand)
	if err != nil || e.files != nil || !keep {
		return data, err
	}
	if err := s.options.Storage.WriteFile(inEntry(e.folder, requestFile), data); err != nil && !errors.Is(err, errReadOnly) {
		return nil, fmt.Errorf("certs: %s: %w", inEntry(e.folder, requestFile), err)
	}
	return data, nil
}

// answers reports whether a stored request is one for the key with the names of
// the certificate.
func answers(data []byte, key PrivateKey, from *x509.Certificate) bool {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != labelRequest || len(rest) > 0 {
		return false
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || request.CheckSignature() != nil || !publicEqual(key.Public(), request.PublicKey) ||
		string(request.RawSubject) != string(from.RawSubject) {
		return false
	}
	return string(sanOf(request.Extensions)) == string(sanOf(from.Extensions))
}

// sanOf returns the content of the extension with the names, nil without one.
func sanOf(extensions []pkix.Extension) []byte {
	for _, e := range extensions {
		if isSAN(e.Id) {
			return e.Value
		}
	}
	return nil
}

// ImportOptions say how key and certificates of another program are taken in.
type ImportOptions struct {
	// Passphrase opens a PKCS #12 file or an encrypted key. nil: none, which for
	// PKCS #12 is the empty one. It is not kept.
	Passphrase []byte

	// FQDN refuses a certificate whose names fail CheckCertificateFQDN with a
	// *FQDNError. With FQDNWarnOnly that is the finding fqdn instead.
	FQDN         bool
	FQDNWarnOnly bool

	IncludeRoot bool // see ArrangeOptions

	// Select chooses one of several keys in a PKCS #12 file: by its friendly name,
	// its local key id, or the SHA-256 of its leaf, the latter two in hexadecimal.
	Select string
}

// ImportPEM makes an entry of a private key and its certificates in PEM, in any order
// and among any text. An empty name takes the common name of the leaf.
//
// Errors: [ErrExists], *ParseError, [ErrNoKey], [ErrManyKeys],
// [ErrNoCertificate], [ErrKeyMismatch], [ErrPassphraseNeeded], [ErrPassphrase],
// *FQDNError, *FieldError for a name, those of the storage, [ErrNotOpen].
func (s *Store) ImportPEM(name string, data []byte, o ImportOptions) (Result, error) {
	if _, err := s.read(); err != nil {
		return Result{}, err
	}
	m, err := ReadBytes(data, ReadOptions{Passphrase: o.Passphrase})
	if err != nil {
		return Result{}, err
	}
	key, err := m.Key()
	if err != nil {
		return Result{}, err
	}
	bag, err := m.Certs()
	if err != nil {
		return Result{}, err
	}
	return s.importBag(name, key, bag, m.Findings, o)
}

// importBag makes an entry of a key and the certificates around it.
func (s *Store) importBag(name string, key PrivateKey, bag []*x509.Certificate, findings []Finding, o ImportOptions) (Result, error) {
	chain, findings, err := s.options.judge(key, bag, findings, o)
	if err != nil {
		return Result{}, err
	}
	if name == "" {
		if name = displayName(chain[0]); name == "" {
			return Result{}, &FieldError{Field: "Name", Problem: "the certificate has no name to take: give one"}
		}
	}
	m := meta{Imported: []string{hexSum(fingerprint(chain[0]))}}
	return s.add(name, &pair{key: key, chain: chain}, m, findings)
}

// judge arranges and checks what is to be imported or installed.
func (o *StoreOptions) judge(key PrivateKey, bag []*x509.Certificate, findings []Finding, i ImportOptions) ([]*x509.Certificate, []Finding, error) {
	chain, arranged, err := Arrange(key.Public(), bag, o.arrange(i.IncludeRoot))
	if err != nil {
		return nil, nil, err
	}
	if i.FQDN && !i.FQDNWarnOnly {
		if err := CheckCertificateFQDN(chain[0]); err != nil {
			return nil, nil, err
		}
	}
	check := o.check()
	check.FQDN = i.FQDNWarnOnly
	findings = Check(append(findings, arranged...), chain, check)
	if isDemonstration(chain[0]) {
		findings = append(findings, demonstrationFinding(chain[0]))
	}
	return chain, findings, nil
}
