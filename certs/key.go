package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
)

// Object identifiers of keys that are named in errors (RFC 3279, RFC 4055,
// RFC 5480, RFC 8410).
var keyNames = map[string]string{
	"1.2.840.113549.1.1.10": "an RSA-PSS key",
	"1.2.840.10040.4.1":     "a DSA key",
	"1.3.101.110":           "an X25519 key, which cannot sign,",
	"1.3.101.111":           "an X448 key, which cannot sign,",
	"1.3.101.113":           "an Ed448 key",
	"1.3.132.0.10":          "an ECDSA key on curve secp256k1",
	"1.3.132.0.33":          "an ECDSA key on curve P-224",
}

const (
	oidRSA     = "1.2.840.113549.1.1.1"
	oidECDSA   = "1.2.840.10045.2.1"
	oidEd25519 = "1.3.101.112"
	oidP256    = "1.2.840.10045.3.1.7"
	oidP384    = "1.3.132.0.34"
	oidP521    = "1.3.132.0.35"
)

// pkcs8Key is the outside of RFC 5958 section 2; the optional attributes and
// public key behind it are not needed.
type pkcs8Key struct {
	Version   int
	Algorithm algorithm
	Key       []byte
}

type algorithm struct {
	OID        asn1.ObjectIdentifier
	Parameters asn1.RawValue `asn1:"optional"`
}

// parseKey parses an unencrypted private key by its PEM label, and returns
// nothing of its content in an error.
func parseKey(label string, der []byte) (PrivateKey, error) {
	switch label {
	case labelPKCS8, labelPKCS1, labelSEC1:
	default:
		return PrivateKey{}, labelError(label)
	}
	if err := wholeElement(der); err != nil {
		return PrivateKey{}, err
	}
	switch label {
	case labelPKCS8:
		return parsePKCS8(der)
	case labelPKCS1:
		if err := rsaKeyOctets(der); err != nil {
			return PrivateKey{}, err
		}
		key, err := x509.ParsePKCS1PrivateKey(der)
		if err != nil {
			return PrivateKey{}, notThatKey(der, derPKCS1, "an RSA key (PKCS #1)")
		}
		return NewPrivateKey(key)
	default:
		return parseSEC1(der)
	}
}

func parsePKCS8(der []byte) (PrivateKey, error) {
	var outer pkcs8Key
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		return PrivateKey{}, notThatKey(der, derPKCS8, "a PKCS #8 key")
	}
	defer zero(outer.Key)
	oid := outer.Algorithm.OID.String()
	switch oid {
	case oidECDSA:
		if err := supportedCurve(outer.Algorithm.Parameters.FullBytes); err != nil {
			return PrivateKey{}, err
		}
	case oidRSA:
		if err := rsaKeyOctets(outer.Key); err != nil {
			return PrivateKey{}, err
		}
	case oidEd25519:
	default:
		return PrivateKey{}, unsupportedKey(oid, "a private key of an unknown algorithm")
	}
	if err := wholeElement(outer.Key); err != nil { // crypto/x509 does not look behind it
		return PrivateKey{}, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("%w: the numbers in the PKCS #8 key are no key", ErrMalformed)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return PrivateKey{}, unsupportedKey(oid, "a private key that cannot sign")
	}
	return NewPrivateKey(signer)
}

// rsaKeyOctets refuses RSA keys that crypto/x509 would look at for too long. A key
// of MaxRSABits has a modulus, an exponent of the same length, and five numbers of
// half of it (RFC 8017 appendix A.1.2).
func rsaKeyOctets(pkcs1 []byte) error {
	if len(pkcs1) > 5*MaxRSABits/8 {
		return &UnsupportedError{What: fmt.Sprintf("an RSA key of %d octets (up to %d bits are read)", len(pkcs1), MaxRSABits)}
	}
	return nil
}

func parseSEC1(der []byte) (PrivateKey, error) {
	var outer struct {
		Version    int
		Key        []byte
		Parameters asn1.RawValue  `asn1:"optional,explicit,tag:0"`
		Public     asn1.BitString `asn1:"optional,explicit,tag:1"`
	}
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		return PrivateKey{}, notThatKey(der, derSEC1, "an ECDSA key (SEC 1)")
	}
	zero(outer.Key)
	if err := supportedCurve(outer.Parameters.Bytes); err != nil {
		return PrivateKey{}, err
	}
	key, err := x509.ParseECPrivateKey(der)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("%w: the numbers in the SEC 1 key are no key", ErrMalformed)
	}
	return NewPrivateKey(key)
}

// supportedCurve tells the parameters of a curve that is used from others.
func supportedCurve(parameters []byte) error {
	if len(parameters) == 0 {
		return &UnsupportedError{What: "an ECDSA key without its curve"}
	}
	var oid asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(parameters, &oid); err != nil {
		return &UnsupportedError{What: "an ECDSA key with explicit curve parameters", OID: oidECDSA}
	}
	switch curve := oid.String(); curve {
	case oidP256, oidP384, oidP521:
		return nil
	default:
		return unsupportedKey(curve, "an ECDSA key on an unknown curve")
	}
}

func unsupportedKey(oid, otherwise string) error {
	if name, known := keyNames[oid]; known {
		otherwise = name
	}
	return &UnsupportedError{What: otherwise, OID: clip(oid)}
}

// notThatKey says what stands in the place of a key, as far as it can be seen.
func notThatKey(der []byte, want derKind, what string) error {
	if kind := kindOfDER(der); kind != derUnknown && kind != want {
		return fmt.Errorf("%w: not %s, but %s of another form", ErrMalformed, what, kind)
	}
	return fmt.Errorf("%w: not %s", ErrMalformed, what)
}

// unsupportedPublicKey returns "" for the kinds of keys that this package uses,
// or what it is instead.
func unsupportedPublicKey(pub crypto.PublicKey) string {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return rsaSize(k.N.BitLen())
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return ""
		}
		return "an ECDSA key on curve " + k.Curve.Params().Name
	case ed25519.PublicKey:
		return ""
	}
	return "a public key of an unknown algorithm"
}

// publicEqual reports whether two public keys are the same one.
func publicEqual(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && b != nil && k.Equal(b)
}

// keyKind names a key by algorithm and size: "RSA-2048", "ECDSA P-256", "Ed25519".
func keyKind(pub crypto.PublicKey) string {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA-%d", k.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	case nil:
		return "no key"
	}
	return "unknown key"
}

// appendPEM appends the key as a PKCS #8 block. The caller zeroes it after use.
func (k PrivateKey) appendPEM(dst []byte) ([]byte, error) {
	der, err := k.pkcs8()
	if err != nil {
		return dst, err
	}
	defer zero(der)
	return appendPEMBlock(dst, labelPKCS8, der), nil
}

// zero overwrites what was secret.
func zero(b []byte) { clear(b) }
