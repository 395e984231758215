// Package p12 reads PKCS #12 files (RFC 7292), from every program that writes
// them.
//
// A file is an envelope, the PFX, around a list of safes. A safe is a list of
// bags, as it is or encrypted as a whole; a bag holds a certificate or a private
// key, and a key bag is usually encrypted once more. A MAC over the list of
// safes, keyed by the passphrase, shows that passphrase and file belong together.
//
// Programs differ in all of that. OpenSSL writes two safes, GnuTLS three, Java
// stores hold several keys, each for itself, and NSS (Firefox, Thunderbird)
// writes BER with open lengths. [Decode] reads them all and returns what is in
// the file, in the file's order. Which certificate belongs to which key, and
// whether one is missing, is for the caller to judge by the keys themselves:
// position means nothing, and local key ids are only what the writer says.
//
// The file is a stranger's until its MAC is verified, and afterwards it is
// somebody's who knew the passphrase. So everything is bounded: size, nesting
// and number of elements, and the rounds of all key derivations together. A file
// without MAC is refused unless [Options.AllowNoMAC] is set.
//
// Not read: files whose integrity or privacy rests on a public key, and the
// algorithms that package pbe names as unsupported. CRL and secret bags are
// counted, not returned. Functions are safe for concurrent use.
package p12

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/smtpsec/smtpsec/internal/p12/ber"
	"github.com/smtpsec/smtpsec/internal/p12/pbe"
)

// Bounds of what is read. The bounds on nesting and on the number of elements
// are in package ber, those on key derivation in package pbe.
const (
	// MaxSize is the largest file in octets. A Java store with all the roots
	// of a browser stays below 300 KiB.
	MaxSize = 1 << 20
	// MaxIterations is the highest count of one key derivation.
	MaxIterations = pbe.MaxIterations
	// MaxWork is the most rounds of all key derivations of one file.
	MaxWork = pbe.MaxWork
)

// What can be wrong, apart from [UnsupportedError] and [FormatError].
var (
	// ErrPassphrase: wrong passphrase, or a file damaged under its MAC.
	ErrPassphrase = pbe.ErrPassphrase
	// ErrCharset: the passphrase is not valid UTF-8.
	ErrCharset = pbe.ErrCharset
	// ErrIterations: the key derivations would take too long or too much memory.
	ErrIterations = pbe.ErrIterations
	// ErrMalformed: not PKCS #12, or damaged.
	ErrMalformed = pbe.ErrMalformed
	// ErrTooLarge: above [MaxSize], nested too deep, or of too many elements.
	ErrTooLarge = pbe.ErrTooLarge
	// ErrNoMAC: nothing in the file shows that it is whole.
	ErrNoMAC = errors.New("file has no MAC")
	// ErrUnreadable: crypto/x509 cannot read the certificate or key in a bag.
	ErrUnreadable = errors.New("unreadable certificate or key")
)

// UnsupportedError reports an algorithm or content type that is not read.
type UnsupportedError = pbe.UnsupportedError

// Options bound what Decode does. Zero fields take the package's bounds, and
// nothing raises a bound above those.
type Options struct {
	Size       int // largest file in octets; 0 means MaxSize
	Iterations int // highest count of one key derivation; 0 means MaxIterations
	Work       int // rounds of all key derivations together; 0 means MaxWork
	// AllowNoMAC reads files without a MAC: whoever had the file in hand may
	// have changed what is in it. Contents.NoMAC tells.
	AllowNoMAC bool
}

// Object identifiers of contents and bags, in the octets of their encoding.
const (
	arcPKCS7  = "\x2a\x86\x48\x86\xf7\x0d\x01\x07"         // 1.2.840.113549.1.7, RFC 5652
	arcPKCS9  = "\x2a\x86\x48\x86\xf7\x0d\x01\x09"         // 1.2.840.113549.1.9, RFC 2985
	arcPKCS12 = "\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01" // 1.2.840.113549.1.12.10.1, RFC 7292 appendix D

	oidData          ber.OID = arcPKCS7 + "\x01" // 1.2.840.113549.1.7.1
	oidEncryptedData ber.OID = arcPKCS7 + "\x06" // 1.2.840.113549.1.7.6

	oidKeyBag          ber.OID = arcPKCS12 + "\x01" // 1.2.840.113549.1.12.10.1.1
	oidShroudedKeyBag  ber.OID = arcPKCS12 + "\x02" // 1.2.840.113549.1.12.10.1.2
	oidCertBag         ber.OID = arcPKCS12 + "\x03" // 1.2.840.113549.1.12.10.1.3
	oidCRLBag          ber.OID = arcPKCS12 + "\x04" // 1.2.840.113549.1.12.10.1.4
	oidSecretBag       ber.OID = arcPKCS12 + "\x05" // 1.2.840.113549.1.12.10.1.5
	oidSafeContentsBag ber.OID = arcPKCS12 + "\x06" // 1.2.840.113549.1.12.10.1.6

	oidFriendlyName    ber.OID = arcPKCS9 + "\x14"                      // 1.2.840.113549.1.9.20
	oidLocalKeyID      ber.OID = arcPKCS9 + "\x15"                      // 1.2.840.113549.1.9.21
	oidX509Certificate ber.OID = arcPKCS9 + "\x16\x01"                  // 1.2.840.113549.1.9.22.1
	oidPBMAC1          ber.OID = "\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0e" // 1.2.840.113549.1.5.14
)

// Decode reads a file. The passphrase is UTF-8; nil and empty are the same. It
// is copied, and the copies, derived keys and decrypted safes are zeroed before
// Decode returns; the caller zeroes its own, and the result with
// [Contents.Zero].
//
// With a MAC, the MAC alone decides whether the passphrase is right. Without
// one, and without anything encrypted, any passphrase is. A certificate that
// crypto/x509 cannot read is returned with its error, not dropped.
//
// Errors: [ErrPassphrase], [ErrCharset], [ErrIterations], [ErrTooLarge], [ErrNoMAC],
// [ErrMalformed] (as [*FormatError] when the input is something else that is
// known), [*UnsupportedError]. No error has anything of the passphrase or of a
// key in its text.
func Decode(data, passphrase []byte, o Options) (*Contents, error) {
	counter := new(ber.Counter)
	f, err := parsePFX(data, o.Size, counter)
	if err != nil {
		return nil, err
	}
	defer f.zero()
	if f.mac == nil && !o.AllowNoMAC {
		return nil, ErrNoMAC
	}
	p := pbe.NewPassphrase(passphrase)
	defer p.Zero()
	if _, err := p.UTF16(); err != nil {
		return nil, err
	}
	budget := pbe.NewBudget(pbe.Limits{Iterations: o.Iterations, Work: o.Work})
	if f.mac != nil {
		if err := f.mac.verify(f.safes, p, budget); err != nil {
			return nil, err
		}
	}
	d := decoder{p: p, budget: budget, counter: counter, out: &Contents{NoMAC: f.mac == nil}}
	if err := d.authenticatedSafe(f.safes); err != nil {
		d.out.Zero()
		if f.mac != nil && errors.Is(err, ErrPassphrase) {
			err = fmt.Errorf("%w: right for the file, but not for a part of it", err)
		}
		return nil, err
	}
	return d.out, nil
}

// pfx is the outermost structure (RFC 7292 section 4).
type pfx struct {
	safes  []byte // AuthenticatedSafe, the octets under the MAC
	copied bool   // safes came in pieces and were put together
	mac    *mac   // nil when absent
}

func (f *pfx) zero() {
	if f.copied {
		clear(f.safes)
	}
}

func malformed(text string) error { return fmt.Errorf("%w: %s", ErrMalformed, text) }

// parsePFX reads the envelope and nothing inside.
func parsePFX(data []byte, size int, counter *ber.Counter) (*pfx, error) {
	if size <= 0 || size > MaxSize {
		size = MaxSize
	}
	if len(data) > size {
		return nil, fmt.Errorf("%w: %d octets, at most %d are allowed", ErrTooLarge, len(data), size)
	}
	if err := notDER(data); err != nil {
		return nil, err
	}
	e, err := ber.Parse(data, counter)
	if err != nil {
		return nil, err
	}
	r, err := e.Sequence("PFX")
	if err != nil {
		return nil, err
	}
	if err := notPFX(r); err != nil {
		return nil, err
	}
	version, err := r.Int("PFX version")
	if err != nil {
		return nil, err
	}
	if version != 3 {
		return nil, malformed("PFX version is not 3")
	}
	content, err := r.Sequence("PFX content")
	if err != nil {
		return nil, err
	}
	id, err := content.OID("PFX content")
	if err != nil {
		return nil, err
	}
	if id != oidData {
		return nil, pbe.Unsupported(id, "PFX content")
	}
	octets, err := content.Explicit(0, "PFX content")
	if err != nil {
		return nil, err
	}
	f := new(pfx)
	if f.safes, f.copied, err = octets.OctetString("PFX content"); err != nil {
		return nil, err
	}
	if err = content.End("PFX content"); err == nil && !r.Empty() {
		f.mac, err = parseMAC(&r)
	}
	if err == nil {
		err = r.End("PFX")
	}
	if err != nil {
		f.zero()
		return nil, err
	}
	return f, nil
}

// FormatError reports an input that is something else than PKCS #12. It wraps
// [ErrMalformed].
type FormatError struct {
	Format string // what it is, such as "PEM"
}

// Error names what the input is.
func (e *FormatError) Error() string { return "not PKCS #12: the input is " + e.Format }

// Unwrap returns [ErrMalformed].
func (e *FormatError) Unwrap() error { return ErrMalformed }

// notDER names the inputs that do not start like BER and are known.
func notDER(data []byte) error {
	text := bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	switch {
	case len(data) == 0:
		return &FormatError{Format: "empty"}
	case data[0] == 0x30:
		return nil
	case bytes.HasPrefix(data, []byte("\xfe\xed\xfe\xed")):
		return &FormatError{Format: "a Java keystore (JKS)"}
	case bytes.HasPrefix(data, []byte("\xce\xce\xce\xce")):
		return &FormatError{Format: "a Java keystore (JCEKS)"}
	case bytes.Contains(data, []byte("-----BEGIN ")):
		return &FormatError{Format: "PEM"}
	case bytes.HasPrefix(text, []byte("MI")) && isBase64(text):
		return &FormatError{Format: "base64 without PEM lines"}
	}
	return nil
}

func isBase64(text []byte) bool {
	for _, b := range text {
		switch {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '+', b == '/', b == '=', b == '\r', b == '\n':
		default:
			return false
		}
	}
	return true
}

// notPFX names the DER structures that people mistake for PKCS #12.
func notPFX(r ber.Reader) error {
	switch {
	case r.Peek(ber.Universal, ber.TagSequence):
		return &FormatError{Format: "DER, but a certificate or an encrypted PKCS #8 key"}
	case r.Peek(ber.Universal, ber.TagOID):
		return &FormatError{Format: "DER, but PKCS #7"}
	}
	if version, err := r.Int("version"); err == nil && version < 2 {
		return &FormatError{Format: "DER, but a private key"}
	}
	return nil
}
