package certs

import (
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
)

// CertificateRequest returns a request (PKCS #10, RFC 2986) in PEM for the key
// of a certificate: its subject in its order and its SANs as they are, signed with
// the key. No key is made, so a request can be had again at any time. A nil rand is
// crypto/rand.
//
// Errors: ErrNoKey for a zero key, ErrNoCertificate for a nil certificate,
// ErrKeyMismatch if the certificate is not the key's.
func CertificateRequest(key PrivateKey, from *x509.Certificate, rand io.Reader) ([]byte, error) {
	switch {
	case key.IsZero():
		return nil, fmt.Errorf("certs: request: %w", ErrNoKey)
	case from == nil:
		return nil, fmt.Errorf("certs: request: %w", ErrNoCertificate)
	case !publicEqual(key.Public(), from.PublicKey):
		return nil, fmt.Errorf("certs: request: %w", ErrKeyMismatch)
	}
	template := &x509.CertificateRequest{
		RawSubject:         from.RawSubject,
		SignatureAlgorithm: requestAlgorithm(key, from),
	}
	template.ExtraExtensions = sanExtension(from)
	der, err := x509.CreateCertificateRequest(randomOr(rand), template, key)
	if err != nil {
		return nil, fmt.Errorf("certs: request: %w", err)
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("certs: request: %w", err)
	}
	if err := request.CheckSignature(); err != nil {
		return nil, fmt.Errorf("certs: the new request does not verify: %w", err)
	}
	return appendPEMBlock(nil, labelRequest, der), nil
}

// sanExtension returns the extension with the names as it is, none without one.
func sanExtension(cert *x509.Certificate) []pkix.Extension {
	for _, extension := range cert.Extensions {
		if isSAN(extension.Id) {
			return []pkix.Extension{extension}
		}
	}
	return nil
}

// requestAlgorithm keeps the digest of an RSA certificate, if it is a sound one.
// For other keys the kind of key decides.
func requestAlgorithm(key PrivateKey, from *x509.Certificate) x509.SignatureAlgorithm {
	if _, isRSA := key.Public().(*rsa.PublicKey); isRSA {
		switch from.SignatureAlgorithm {
		case x509.SHA384WithRSA, x509.SHA512WithRSA:
			return from.SignatureAlgorithm
		}
	}
	return x509.UnknownSignatureAlgorithm
}
