package dnstest

import (
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/miekg/dns"
)

// Flags of a DNSKEY (RFC 4034 section 2.1.1, RFC 5011 section 7).
const (
	FlagZone   = dns.ZONE
	FlagSEP    = dns.SEP
	FlagRevoke = dns.REVOKE
)

// defaultRSABits keeps RSA keys cheap to make; it is the smallest size that validators still accept.
const defaultRSABits = 1024

// Key is a key pair of a zone. It is read-only once a zone uses it.
type Key struct {
	Public *dns.DNSKEY
	// Private is nil for an algorithm that nobody here can sign with (16, 253, ...): signatures are
	// then random octets.
	Private crypto.Signer
}

// NewKey makes a key pair for zone. The flags are usually [FlagZone], with [FlagSEP] for a key that
// a DS points to. rsaBits matters to RSA algorithms only, 0 = 1,024. For an algorithm that cannot
// be used here the key is random octets.
func NewKey(zone string, algorithm uint8, flags uint16, rsaBits int) (*Key, error) {
	k := &dns.DNSKEY{
		Hdr:       dns.RR_Header{Name: dns.CanonicalName(zone), Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: defaultTTL},
		Flags:     flags,
		Protocol:  3,
		Algorithm: algorithm,
	}
	bits := 0
	switch algorithm {
	case dns.RSASHA1, dns.RSASHA1NSEC3SHA1, dns.RSASHA256, dns.RSASHA512:
		if bits = rsaBits; bits == 0 {
			bits = defaultRSABits
		}
	case dns.ECDSAP256SHA256, dns.ED25519:
		bits = 256
	case dns.ECDSAP384SHA384:
		bits = 384
	default:
		octets := make([]byte, 57) // the size of an Ed448 key, RFC 8080 section 3
		rand.Read(octets)
		k.PublicKey = base64.StdEncoding.EncodeToString(octets)
		return &Key{Public: k}, nil
	}
	private, err := k.Generate(bits)
	if err != nil {
		return nil, fmt.Errorf("dnstest: key of algorithm %d with %d bits for %s: %w", algorithm, bits, zone, err)
	}
	return &Key{Public: k, Private: private.(crypto.Signer)}, nil
}

// DS returns the DS record for the key (RFC 4034 section 5.1.4). A digest type that
// nobody here knows gets the SHA-256 digest under its number.
func (k *Key) DS(digestType uint8) *dns.DS {
	if ds := k.Public.ToDS(digestType); ds != nil {
		ds.Hdr.Ttl = k.Public.Hdr.Ttl
		return ds
	}
	ds := k.Public.ToDS(dns.SHA256)
	ds.Hdr.Ttl, ds.DigestType = k.Public.Hdr.Ttl, digestType
	return ds
}

// supportedAlgorithm reports whether validators must know the algorithm today (RFC 8624 section 3.1
// without SHA-1).
func supportedAlgorithm(a uint8) bool {
	switch a {
	case dns.RSASHA256, dns.RSASHA512, dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519:
		return true
	}
	return false
}

// supportedDigest is the same for DS digests (RFC 8624 section 3.3 without SHA-1).
func supportedDigest(d uint8) bool { return d == dns.SHA256 || d == dns.SHA384 }
