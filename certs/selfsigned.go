package certs

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"time"
)

const (
	serialOctets = 16        // RFC 5280 section 4.1.2.2 allows 20
	backdate     = time.Hour // for peers whose clock is slow
	keyIDOctets  = 20        // RFC 7093 section 2, method 1
)

// SelfSigned makes a key and a certificate that it signs itself, for a server and
// for a client: version 3, random serial of 128 bits, valid from one hour ago, not
// an authority. The certificate is parsed back and its signature checked before it
// is returned.
//
// The findings are those of Check with ProfileImport, and cn-omitted. A field that
// cannot be used is a *FieldError, and a common name that fails the FQDN
// validation a *FQDNError; no key is made then.
func SelfSigned(f Form, o CreateOptions) (PrivateKey, *x509.Certificate, []Finding, error) {
	fail := func(err error) (PrivateKey, *x509.Certificate, []Finding, error) {
		return PrivateKey{}, nil, nil, err
	}
	now := o.now().UTC().Truncate(time.Second)
	s, err := f.check(now)
	if err != nil {
		return fail(err)
	}
	signer, err := s.newKey(o.random())
	if err != nil {
		return fail(fmt.Errorf("certs: making a key: %w", err))
	}
	key, err := NewPrivateKey(signer)
	if err != nil {
		return fail(err)
	}
	cert, err := s.sign(key, now, o.random())
	if err != nil {
		return fail(err)
	}
	var findings []Finding
	if s.cnOmitted {
		findings = append(findings, Finding{Code: FindingCNOmitted, Severity: SeverityWarning, Cert: fingerprint(cert),
			Detail: fmt.Sprintf("%q is longer than %d octets and stands in the dNSNames alone", s.names[0], maxCommonName)})
	}
	return key, cert, Check(findings, []*x509.Certificate{cert}, CheckOptions{Now: now}), nil
}

func (s *subject) sign(key PrivateKey, now time.Time, random io.Reader) (*x509.Certificate, error) {
	subject, err := asn1.Marshal(s.rdns)
	if err != nil {
		return nil, fmt.Errorf("certs: encoding the subject: %w", err)
	}
	return signSelf(key, &x509.Certificate{
		RawSubject:         subject,
		NotBefore:          now.Add(-backdate),
		NotAfter:           s.end,
		SignatureAlgorithm: s.algorithm,
		DNSNames:           s.names,
	}, random)
}

// signSelf makes a certificate of a server and client from a template with the names
// and the dates.
func signSelf(key PrivateKey, template *x509.Certificate, random io.Reader) (*x509.Certificate, error) {
	serial, err := newSerial(random)
	if err != nil {
		return nil, err
	}
	id, err := subjectKeyID(key)
	if err != nil {
		return nil, err
	}
	template.SerialNumber, template.SubjectKeyId = serial, id
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	template.BasicConstraintsValid = true // CA:FALSE
	if _, isRSA := key.Public().(*rsa.PublicKey); isRSA {
		template.KeyUsage |= x509.KeyUsageKeyEncipherment
	}
	der, err := x509.CreateCertificate(random, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("certs: signing: %w", err)
	}
	cert, err := parseCertificate(der)
	if err != nil {
		return nil, err
	}
	if err := cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
		return nil, fmt.Errorf("certs: the new certificate does not verify: %w", err)
	}
	return cert, nil
}

// newSerial returns 128 bits with the first one set, so that the number is never
// zero and always of the same length.
func newSerial(random io.Reader) (*big.Int, error) {
	octets := make([]byte, serialOctets)
	if _, err := io.ReadFull(random, octets); err != nil {
		return nil, fmt.Errorf("certs: drawing a serial number: %w", err)
	}
	octets[0] |= 0x80
	return new(big.Int).SetBytes(octets), nil
}

// subjectKeyID hashes the public key as RFC 7093 section 2 (1) says.
func subjectKeyID(key PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("certs: encoding the public key: %w", err)
	}
	var info struct {
		Algorithm algorithm
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, fmt.Errorf("certs: encoding the public key: %w", err)
	}
	sum := sha256.Sum256(info.Key.Bytes)
	return sum[:keyIDOctets], nil
}

// selfSigned reports whether the certificate is its own issuer: equal names, and a
// signature that its own key verifies. A signature of an algorithm that Go no longer
// verifies (MD5) is believed.
func selfSigned(cert *x509.Certificate) bool {
	if !bytes.Equal(cert.RawSubject, cert.RawIssuer) {
		return false
	}
	err := cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature)
	return err == nil || unverifiable(err)
}

// namesChanged appends the finding names-changed if the two certificates differ
// in their common names or dNSNames.
func namesChanged(dst []Finding, former, now *x509.Certificate) []Finding {
	before, after := sortedNames(former), sortedNames(now)
	if slices.Equal(before, after) {
		return dst
	}
	return append(dst, Finding{Code: FindingNamesChanged, Severity: SeverityWarning, Cert: fingerprint(now),
		Detail: fmt.Sprintf("the names were %s and are %s", nameList(before), nameList(after))})
}

// sortedNames returns the common names and dNSNames of a certificate in lower
// case, sorted, each once. A common name that the SAN repeats counts once.
func sortedNames(cert *x509.Certificate) []string {
	var names []string
	for cn := range commonNames(cert) {
		names = append(names, strings.ToLower(cn))
	}
	for _, name := range cert.DNSNames {
		names = append(names, strings.ToLower(name))
	}
	slices.Sort(names)
	return slices.Compact(names)
}
