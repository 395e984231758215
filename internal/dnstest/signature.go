package dnstest

import (
	"bytes"
	"crypto"
	"crypto/rand"
	_ "crypto/sha1" // the hashes of the algorithms below
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// signatureHashes are the digests of the algorithms that Keys can sign with; Ed25519 takes the data
// as it is.
var signatureHashes = map[uint8]crypto.Hash{
	dns.RSASHA1: crypto.SHA1, dns.RSASHA1NSEC3SHA1: crypto.SHA1, dns.RSASHA256: crypto.SHA256, dns.RSASHA512: crypto.SHA512,
	dns.ECDSAP256SHA256: crypto.SHA256, dns.ECDSAP384SHA384: crypto.SHA384, dns.ED25519: 0,
}

// ed448SignatureSize is the size of the random octets of an algorithm that nobody here can sign
// with (RFC 8080 section 4).
const ed448SignatureSize = 114

// Sign returns a signature of the key over an RRset of one owner, class and type, valid from
// inception to expiration. change, if not nil, edits any field before the signature is made over
// it: the signer, the dates, a lower number of labels, which makes the signature that of a
// wildcard, and so on.
//
// It stands in for RRSIG.Sign of miekg/dns, which counts labels wrongly for owners like
// "*a.example." and "*.", and has no key with tag 0.
func (k *Key) Sign(set []dns.RR, inception, expiration time.Time, change func(*dns.RRSIG)) (*dns.RRSIG, error) {
	h := set[0].Header()
	sig := &dns.RRSIG{
		Hdr:         dns.RR_Header{Name: h.Name, Rrtype: dns.TypeRRSIG, Class: h.Class, Ttl: h.Ttl},
		TypeCovered: h.Rrtype,
		Algorithm:   k.Public.Algorithm,
		Labels:      uint8(ownerLabels(h.Name)),
		OrigTtl:     h.Ttl,
		Inception:   uint32(inception.Unix()),
		Expiration:  uint32(expiration.Unix()),
		KeyTag:      k.Public.KeyTag(),
		SignerName:  k.Public.Hdr.Name,
	}
	if change != nil {
		change(sig)
	}
	octets := make([]byte, ed448SignatureSize)
	if k.Private == nil {
		rand.Read(octets)
	} else {
		data, err := signedData(sig, set)
		if err == nil {
			octets, err = k.signature(data)
		}
		if err != nil {
			return nil, fmt.Errorf("dnstest: signing %s %s: %w", h.Name, dns.TypeToString[h.Rrtype], err)
		}
	}
	sig.Signature = base64.StdEncoding.EncodeToString(octets)
	return sig, nil
}

// signature signs data in the form that DNSKEY algorithms have (RFC 3110 section 3, RFC 6605
// section 4, RFC 8080 section 4).
func (k *Key) signature(data []byte) ([]byte, error) {
	hash := signatureHashes[k.Public.Algorithm]
	if hash != 0 {
		h := hash.New()
		h.Write(data)
		data = h.Sum(nil)
	}
	signature, err := k.Private.Sign(rand.Reader, data, hash)
	size := map[uint8]int{dns.ECDSAP256SHA256: 32, dns.ECDSAP384SHA384: 48}[k.Public.Algorithm]
	if err != nil || size == 0 {
		return signature, err
	}
	var point struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(signature, &point); err != nil {
		return nil, err
	}
	return append(point.R.FillBytes(make([]byte, size)), point.S.FillBytes(make([]byte, size))...), nil
}

// signedData returns the octets that a signature is made over (RFC 4034 section 3.1.8.1).
func signedData(sig *dns.RRSIG, set []dns.RR) ([]byte, error) {
	owner := dns.CanonicalName(sig.Hdr.Name)
	if labels := dns.SplitDomainName(owner); int(sig.Labels) < ownerLabels(owner) { // RFC 4035 section 5.3.2
		owner = "*." + strings.Join(append(labels[len(labels)-int(sig.Labels):], ""), ".")
	}
	name := make([]byte, 256)
	n, err := dns.PackDomainName(owner, name, 0, nil, false)
	if err != nil {
		return nil, err
	}
	name = name[:n]

	signer := make([]byte, 256)
	if n, err = dns.PackDomainName(dns.CanonicalName(sig.SignerName), signer, 0, nil, false); err != nil {
		return nil, err
	}
	data := binary.BigEndian.AppendUint16(nil, sig.TypeCovered)
	data = append(data, sig.Algorithm, sig.Labels)
	data = binary.BigEndian.AppendUint32(data, sig.OrigTtl)
	data = binary.BigEndian.AppendUint32(data, sig.Expiration)
	data = binary.BigEndian.AppendUint32(data, sig.Inception)
	data = binary.BigEndian.AppendUint16(data, sig.KeyTag)
	data = append(data, signer[:n]...)

	var rdatas [][]byte
	for _, rr := range set {
		rdata, err := canonicalRdata(rr)
		if err != nil {
			return nil, err
		}
		rdatas = append(rdatas, rdata)
	}
	slices.SortFunc(rdatas, bytes.Compare) // RFC 4034 section 6.3
	for _, rdata := range slices.CompactFunc(rdatas, bytes.Equal) {
		data = append(data, name...)
		data = binary.BigEndian.AppendUint16(data, sig.TypeCovered)
		data = binary.BigEndian.AppendUint16(data, sig.Hdr.Class)
		data = binary.BigEndian.AppendUint32(data, sig.OrigTtl)
		data = binary.BigEndian.AppendUint16(data, uint16(len(rdata)))
		data = append(data, rdata...)
	}
	return data, nil
}

// canonicalRdata returns the RDATA of rr with its names in lower case where RFC 4034 section 6.2
// says so.
func canonicalRdata(rr dns.RR) ([]byte, error) {
	c := dns.Copy(rr)
	var names []*string
	switch c := c.(type) {
	case *dns.NS:
		names = []*string{&c.Ns}
	case *dns.CNAME:
		names = []*string{&c.Target}
	case *dns.SOA:
		names = []*string{&c.Ns, &c.Mbox}
	case *dns.PTR:
		names = []*string{&c.Ptr}
	case *dns.MX:
		names = []*string{&c.Mx}
	case *dns.RP:
		names = []*string{&c.Mbox, &c.Txt}
	case *dns.AFSDB:
		names = []*string{&c.Hostname}
	case *dns.RT:
		names = []*string{&c.Host}
	case *dns.PX:
		names = []*string{&c.Map822, &c.Mapx400}
	case *dns.NAPTR:
		names = []*string{&c.Replacement}
	case *dns.KX:
		names = []*string{&c.Exchanger}
	case *dns.SRV:
		names = []*string{&c.Target}
	case *dns.DNAME:
		names = []*string{&c.Target}
	}
	for _, name := range names {
		*name = dns.CanonicalName(*name)
	}
	c.Header().Name = "." // one octet, so that the RDATA begins behind it and ten more
	wire := make([]byte, dns.Len(c)+256)
	n, err := dns.PackRR(c, wire, 0, nil, false)
	if err != nil {
		return nil, err
	}
	return wire[11:n], nil
}
