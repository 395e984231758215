package p12

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
)

// Contents is what a file holds, in the order of the file. The zero value holds
// nothing. It shares no memory with the input and may be read concurrently.
type Contents struct {
	Keys         []Key
	Certificates []Certificate
	Skipped      Skipped
	NoMAC        bool // the file has no MAC: nothing shows that it is whole
}

// Skipped counts the bags that are not returned.
type Skipped struct {
	CRLs    int
	Secrets int // symmetric keys and passwords of Java stores
	Other   int // bags of an unknown kind, certificates other than X.509
}

// Zero wipes the private keys and drops them.
func (c *Contents) Zero() {
	for _, k := range c.Keys {
		clear(k.PKCS8)
	}
	c.Keys = nil
}

// Certificate is one certificate bag.
type Certificate struct {
	DER          []byte            // as in the file
	Parsed       *x509.Certificate // nil when crypto/x509 cannot read it
	Err          error             // then says why, wrapping ErrUnreadable
	FriendlyName string            // "" when absent
	LocalKeyID   []byte            // nil when absent
}

// Key is one private key bag. Printing one, with any verb, in JSON or in a log
// record, does not print the key.
type Key struct {
	PKCS8        []byte // PrivateKeyInfo in DER, RFC 5958
	FriendlyName string // "" when absent
	LocalKeyID   []byte // nil when absent
}

// maxKey is the largest key that [Key.Private] reads, in octets of PKCS #8. An
// RSA key of 16,384 bits takes 9 KiB, and crypto/tls takes no more than 8,192.
const maxKey = 10 << 10

// Private parses the key with crypto/x509: an *rsa.PrivateKey, *ecdsa.PrivateKey,
// ed25519.PrivateKey or *ecdh.PrivateKey (X25519). What crypto/x509 cannot read
// (Ed448, RSA-PSS, secp256k1, DSA, ...) is [ErrUnreadable], more than 10 KiB is
// [ErrTooLarge]. The values returned cannot be zeroed.
func (k Key) Private() (crypto.PrivateKey, error) {
	if len(k.PKCS8) > maxKey {
		return nil, fmt.Errorf("%w: private key of %d octets", ErrTooLarge, len(k.PKCS8))
	}
	private, err := x509.ParsePKCS8PrivateKey(k.PKCS8)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return private, nil
}

const redacted = "[private key redacted]"

// String returns a constant.
func (Key) String() string { return redacted }

// Format writes a constant for every verb.
func (Key) Format(s fmt.State, _ rune) { fmt.Fprint(s, redacted) }

// LogValue returns a constant.
func (Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON always fails.
func (Key) MarshalJSON() ([]byte, error) { return nil, errors.New(redacted) }

// MarshalText always fails.
func (Key) MarshalText() ([]byte, error) { return nil, errors.New(redacted) }
