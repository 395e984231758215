package dnssec

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha1" // for those who allow it
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/binary"
	"math/big"
)

// Algorithms of DNSKEY and RRSIG (IANA "DNS Security Algorithm Numbers").
const (
	algRSASHA1      = 5
	algRSASHA1NSEC3 = 7
	algRSASHA256    = 8
	algRSASHA512    = 10
	algECDSAP256    = 13
	algECDSAP384    = 14
	algEd25519      = 15
)

// Digests of DS records (IANA "DS RR Type Digest Algorithms").
const (
	digestSHA1   = 1
	digestSHA256 = 2
	digestSHA384 = 4
)

// Flags of a DNSKEY (RFC 4034 section 2.1.1, RFC 5011 section 7), and its only protocol value (RFC 4034 section 2.1.2).
const (
	flagZone       = 1 << 8
	flagRevoke     = 1 << 7
	protocolDNSSEC = 3
)

// RSA moduli outside of these are not used. RFC 3110 section 3 allows 512 to 4,096 bits; nothing below 1,024 is worth
// more than no signature.
const (
	minRSABits = 1024
	maxRSABits = 4096
)

// algorithms says which numbers are understood. RFC 8624 without SHA-1, unless that is allowed.
type algorithms struct{ sha1 bool }

func (a algorithms) signature(number uint8) bool {
	switch number {
	case algRSASHA256, algRSASHA512, algECDSAP256, algECDSAP384, algEd25519:
		return true
	case algRSASHA1, algRSASHA1NSEC3:
		return a.sha1
	}
	return false
}

func (a algorithms) digest(number uint8) bool {
	return number == digestSHA256 || number == digestSHA384 || number == digestSHA1 && a.sha1
}

// signatureHash returns the hash that a signature algorithm is used with, 0 for one that takes the data itself.
func signatureHash(algorithm uint8) crypto.Hash {
	switch algorithm {
	case algRSASHA1, algRSASHA1NSEC3:
		return crypto.SHA1
	case algRSASHA256, algECDSAP256:
		return crypto.SHA256
	case algRSASHA512:
		return crypto.SHA512
	case algECDSAP384:
		return crypto.SHA384
	}
	return 0
}

// A key is a DNSKEY that may sign a zone.
type key struct {
	tag       uint16
	algorithm uint8
	public    crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// weakness says why a key cannot be used.
type weakness uint8

const (
	keyGood    weakness = iota
	keyForeign          // an algorithm that is not understood
	keyUnfit            // no ZONE flag, another protocol, revoked, or malformed
	keyShort            // an RSA key that is too short to mean anything
)

// newKey reads the RDATA of a DNSKEY record (RFC 4034 section 2.1).
func newKey(data []byte, known algorithms) (key, weakness) {
	if len(data) < 4 {
		return key{}, keyUnfit
	}
	flags := binary.BigEndian.Uint16(data)
	k := key{tag: keyTag(data), algorithm: data[3]}
	if flags&flagZone == 0 || flags&flagRevoke != 0 || data[2] != protocolDNSSEC {
		return k, keyUnfit
	}
	if !known.signature(k.algorithm) {
		return k, keyForeign
	}
	octets := data[4:]
	switch k.algorithm {
	case algECDSAP256, algECDSAP384: // RFC 6605 section 4
		curve := elliptic.P256()
		if k.algorithm == algECDSAP384 {
			curve = elliptic.P384()
		}
		public, err := ecdsa.ParseUncompressedPublicKey(curve, append([]byte{4}, octets...))
		if err != nil {
			return k, keyUnfit
		}
		k.public = public
	case algEd25519: // RFC 8080 section 3
		if len(octets) != ed25519.PublicKeySize {
			return k, keyUnfit
		}
		k.public = ed25519.PublicKey(octets)
	default:
		public, weak := newRSAKey(octets)
		if weak != keyGood {
			return k, weak
		}
		k.public = public
	}
	return k, keyGood
}

// newRSAKey reads the key of RFC 3110 section 2: the length of the exponent in one octet, or in two after a zero.
func newRSAKey(octets []byte) (*rsa.PublicKey, weakness) {
	if len(octets) < 3 {
		return nil, keyUnfit
	}
	size, octets := int(octets[0]), octets[1:]
	if size == 0 {
		size, octets = int(binary.BigEndian.Uint16(octets)), octets[2:]
	}
	if size == 0 || size > len(octets) {
		return nil, keyUnfit
	}
	exponent := new(big.Int).SetBytes(octets[:size])
	modulus := new(big.Int).SetBytes(octets[size:])
	const maxExponent = 1<<31 - 1 // what crypto/rsa takes
	switch bits := modulus.BitLen(); {
	case bits < minRSABits:
		return nil, keyShort
	case bits > maxRSABits || !exponent.IsInt64() || exponent.Int64() > maxExponent || exponent.Int64() < 3:
		return nil, keyUnfit
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}, keyGood
}

// verify checks a signature over data, of which digest is the hash if the algorithm has one.
func (k key) verify(data, digest, signature []byte) bool {
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(public, signatureHash(k.algorithm), digest, signature) == nil
	case *ecdsa.PublicKey:
		size := (public.Curve.Params().BitSize + 7) / 8
		if len(signature) != 2*size {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		return ecdsa.Verify(public, digest, r, s)
	case ed25519.PublicKey:
		return len(signature) == ed25519.SignatureSize && ed25519.Verify(public, data, signature)
	}
	return false
}

// keyTag computes the key tag of DNSKEY RDATA (RFC 4034 appendix B). Different keys may share one.
func keyTag(data []byte) uint16 {
	var sum uint32
	for i, octet := range data {
		if i&1 == 0 {
			sum += uint32(octet) << 8
		} else {
			sum += uint32(octet)
		}
	}
	return uint16(sum + sum>>16)
}

// keyDigest computes the digest that a DS record has for a key of zone (RFC 4034 section 5.1.4), nil if the kind of
// digest is not known.
func keyDigest(zone wireName, dnskey []byte, kind uint8) []byte {
	hash, ok := map[uint8]crypto.Hash{
		digestSHA1: crypto.SHA1, digestSHA256: crypto.SHA256, digestSHA384: crypto.SHA384,
	}[kind]
	if !ok {
		return nil
	}
	h := hash.New()
	h.Write([]byte(zone))
	h.Write(dnskey)
	return h.Sum(nil)
}
