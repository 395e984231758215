package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/smtpsec/smtpsec/internal/p12"
)

// ImportPKCS12 makes an entry of the key and the certificates in a PKCS #12 file
// (.p12, .pfx), from any program, up to 1 MiB. Where things stand in the file
// means nothing: the certificate of the key becomes the leaf, and its issuers follow. An
// empty name takes the common name. The findings are those of Inspect; none of
// them blocks.
//
// Errors, upon which nothing is stored: [ErrPassphrase], [ErrPassphraseCharset],
// [ErrNoMAC], [ErrNoKey] for a file of certificates only, [ErrManyKeys] if there
// are several keys and none is selected, [ErrNotFound] if what is selected is none
// of them, [ErrNoCertificate], [ErrKeyMismatch], *UnsupportedError,
// [ErrIterations], [ErrTooLarge], [ErrMalformed] (a PEM file or a Java keystore is
// named), *FQDNError, [ErrExists], *FieldError for a name, those of the storage,
// [ErrNotOpen].
func (s *Store) ImportPKCS12(name string, data []byte, o ImportOptions) (Result, error) {
	if _, err := s.read(); err != nil {
		return Result{}, err
	}
	file, err := readPKCS12(data, o.Passphrase)
	if err != nil {
		return Result{}, err
	}
	key, err := file.choose(o.Select)
	if err != nil {
		return Result{}, err
	}
	if len(file.certs) == 0 {
		return Result{}, fmt.Errorf("certs: PKCS #12: %w", ErrNoCertificate)
	}
	return s.importBag(name, key.key, file.certs, nil, o)
}

// pkcs12File is what a PKCS #12 file holds.
type pkcs12File struct {
	keys  []pkcs12Key
	certs []*x509.Certificate
}

type pkcs12Key struct {
	key          PrivateKey
	friendlyName string
	localKeyID   []byte
}

// readPKCS12 decodes a file whose MAC fits the passphrase: it is the MAC that keeps a
// stranger from choosing what the rest of the file costs.
func readPKCS12(data, passphrase []byte) (*pkcs12File, error) {
	contents, err := p12.Decode(data, passphrase, p12.Options{})
	if err != nil {
		return nil, pkcs12Error(err)
	}
	defer contents.Zero()
	file := &pkcs12File{}
	for i, bag := range contents.Keys {
		key, err := parseKey(labelPKCS8, bag.PKCS8)
		if err != nil {
			return nil, fmt.Errorf("certs: PKCS #12: key %d: %w", i+1, err)
		}
		file.keys = append(file.keys, pkcs12Key{key, bag.FriendlyName, bag.LocalKeyID})
	}
	for i, bag := range contents.Certificates {
		cert := bag.Parsed
		if cert == nil || unsupportedPublicKey(cert.PublicKey) != "" {
			if cert, err = parseCertificate(bag.DER); err != nil {
				return nil, fmt.Errorf("certs: PKCS #12: certificate %d: %w", i+1, err)
			}
		}
		file.certs = append(file.certs, cert)
	}
	if len(file.certs) > MaxCertificates {
		return nil, fmt.Errorf("certs: PKCS #12: %w: more than %d certificates", ErrTooLarge, MaxCertificates)
	}
	return file, nil
}

// choose returns the only key, or the one that the selection means.
func (f *pkcs12File) choose(selection string) (pkcs12Key, error) {
	if len(f.keys) == 0 {
		return pkcs12Key{}, fmt.Errorf("certs: PKCS #12: %w: certificates alone belong into a list of authorities", ErrNoKey)
	}
	var found []pkcs12Key
	for _, k := range f.keys {
		if selection == "" || f.means(selection, k) {
			found = append(found, k)
		}
	}
	if len(found) == 0 {
		return pkcs12Key{}, fmt.Errorf("certs: PKCS #12: key %q: %w", clip(selection), ErrNotFound)
	}
	for _, k := range found[1:] {
		if !publicEqual(k.key.Public(), found[0].key.Public()) {
			return pkcs12Key{}, fmt.Errorf("certs: PKCS #12: %w: %s; select one", ErrManyKeys, f.names())
		}
	}
	return found[0], nil
}

// means reports whether a selection is for the key.
func (f *pkcs12File) means(selection string, k pkcs12Key) bool {
	if selection == k.friendlyName {
		return true
	}
	digits, err := hex.DecodeString(selection)
	if err != nil || len(digits) == 0 {
		return false
	}
	if bytes.Equal(digits, k.localKeyID) {
		return true
	}
	for _, cert := range f.certs {
		if sum := fingerprint(cert); bytes.Equal(digits, sum[:]) && publicEqual(k.key.Public(), cert.PublicKey) {
			return true
		}
	}
	return false
}

func (f *pkcs12File) names() string {
	names := make([]string, len(f.keys))
	for i, k := range f.keys {
		if names[i] = k.friendlyName; names[i] == "" {
			names[i] = hex.EncodeToString(k.localKeyID)
		}
	}
	return nameList(names)
}

// pkcs12Error turns an error of package p12 into one of this package's.
func pkcs12Error(err error) error {
	if unsupported, ok := errors.AsType[*p12.UnsupportedError](err); ok {
		what := unsupported.What
		if unsupported.Name != "" {
			what += " " + unsupported.Name
		}
		return &UnsupportedError{What: "PKCS #12 with " + what, OID: unsupported.OID, Hint: hintPKCS12}
	}
	if format, ok := errors.AsType[*p12.FormatError](err); ok {
		return fmt.Errorf("certs: %w: not PKCS #12, but %s", ErrMalformed, format.Format)
	}
	if errors.Is(err, p12.ErrPassphrase) { // the MAC does not tell the two apart
		return fmt.Errorf("certs: PKCS #12: %w, or the file is damaged", ErrPassphrase)
	}
	for _, pair := range []struct{ theirs, ours error }{
		{p12.ErrCharset, ErrPassphraseCharset},
		{p12.ErrIterations, ErrIterations},
		{p12.ErrTooLarge, ErrTooLarge},
		{p12.ErrNoMAC, ErrNoMAC},
	} {
		if errors.Is(err, pair.theirs) {
			return fmt.Errorf("certs: PKCS #12: %w", withDetail(pair.ours, pair.theirs, err))
		}
	}
	return fmt.Errorf("certs: PKCS #12: %w", withDetail(ErrMalformed, p12.ErrMalformed, err))
}

// withDetail keeps what an error says beyond its sentinel.
func withDetail(ours, theirs, err error) error {
	detail := strings.Trim(strings.Replace(err.Error(), theirs.Error(), "", 1), ": ")
	if detail == "" {
		return ours
	}
	return fmt.Errorf("%w: %s", ours, detail)
}

// hintPKCS12 rewrites a file with the algorithms of today.
const hintPKCS12 = "openssl pkcs12 -in old.p12 -legacy -nodes -out clear.pem, then openssl pkcs12 -export -in clear.pem -out new.p12 (clear.pem is not protected: remove it)"
