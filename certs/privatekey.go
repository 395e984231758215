package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
)

// MinRSABits is the shortest RSA key that this package reads, makes or serves.
// crypto/tls refuses shorter ones in the handshake, with an error at the peer's end.
const MinRSABits = 1024

// MaxRSABits is the longest RSA key that this package reads, as for OpenSSL
// (OPENSSL_RSA_MAX_MODULUS_BITS in rsa.h). The time that a signature check takes
// grows with the square of the length, so that one certificate with a key of some
// megabytes would keep a processor busy for hours.
const MaxRSABits = 16384

// rsaSize returns what is wrong with the length of an RSA key, "" if nothing is.
func rsaSize(bits int) string {
	if bits < MinRSABits || bits > MaxRSABits {
		return fmt.Sprintf("an RSA key of %d bits (from %d to %d are read)", bits, MinRSABits, MaxRSABits)
	}
	return ""
}

const redacted = "[private key redacted]"

// PrivateKey is a private key that cannot be printed: every way to turn it into
// text, whatever the verb or the encoder, gives a fixed word or fails. It is a
// crypto.Signer, which is all that crypto/tls needs. The zero PrivateKey holds
// nothing.
type PrivateKey struct {
	hidden *hiddenKey
}

// hiddenKey stands behind a pointer, and behind a function, so that reflection
// (which is what %#v and spew use) meets no key material.
type hiddenKey struct {
	signer func() crypto.Signer
}

// NewPrivateKey wraps a key: RSA from MinRSABits to MaxRSABits, ECDSA on P-256, P-384 or P-521,
// or Ed25519. Others give an *UnsupportedError.
func NewPrivateKey(key crypto.Signer) (PrivateKey, error) {
	switch k := key.(type) {
	case PrivateKey:
		return k, nil
	case *rsa.PrivateKey:
		if k == nil || k.N == nil {
			return PrivateKey{}, ErrNoKey
		}
		if problem := rsaSize(k.N.BitLen()); problem != "" {
			return PrivateKey{}, &UnsupportedError{What: problem}
		}
	case *ecdsa.PrivateKey:
		if k == nil || k.Curve == nil {
			return PrivateKey{}, ErrNoKey
		}
		switch k.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
		default:
			return PrivateKey{}, &UnsupportedError{What: "an ECDSA key on curve " + k.Curve.Params().Name}
		}
	case ed25519.PrivateKey:
		if len(k) != ed25519.PrivateKeySize {
			return PrivateKey{}, ErrNoKey
		}
	case nil:
		return PrivateKey{}, ErrNoKey
	default:
		return PrivateKey{}, &UnsupportedError{What: fmt.Sprintf("a private key of type %T", key)}
	}
	return PrivateKey{&hiddenKey{func() crypto.Signer { return key }}}, nil
}

// IsZero says whether there is no key inside.
func (k PrivateKey) IsZero() bool { return k.hidden == nil }

// Public returns the public key, nil for the zero PrivateKey.
func (k PrivateKey) Public() crypto.PublicKey {
	if k.IsZero() {
		return nil
	}
	return k.hidden.signer().Public()
}

// Sign signs as crypto.Signer says; the zero PrivateKey gives ErrNoKey.
func (k PrivateKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if k.IsZero() {
		return nil, ErrNoKey
	}
	return k.hidden.signer().Sign(rand, digest, opts)
}

// pkcs8 returns the key as PKCS #8 DER. The caller zeroes it after use.
func (k PrivateKey) pkcs8() ([]byte, error) {
	if k.IsZero() {
		return nil, ErrNoKey
	}
	return x509.MarshalPKCS8PrivateKey(k.hidden.signer())
}

// String returns a fixed word.
func (k PrivateKey) String() string { return redacted }

// Format prints a fixed word for every verb.
func (k PrivateKey) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue gives slog a fixed word.
func (k PrivateKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText fails: a private key has no text form.
func (k PrivateKey) MarshalText() ([]byte, error) { return nil, errKeyText }

// MarshalJSON fails: a private key has no text form.
func (k PrivateKey) MarshalJSON() ([]byte, error) { return nil, errKeyText }

// MarshalBinary fails, so that gob does too.
func (k PrivateKey) MarshalBinary() ([]byte, error) { return nil, errKeyText }
