package smtpclient

import (
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

// offer is our own certificate during one Dial.
type offer struct {
	cert        *tls.Certificate // nil: none
	fingerprint [sha256.Size]byte
}

// withOffer gives the ways of a Dial our certificate, if any of them may lead to
// TLS.
func (c *config) withOffer(ways []*delivery) ([]*delivery, error) {
	o := &offer{}
	for _, x := range ways {
		if x.settings.Mode != tlspolicy.No && o.cert == nil && c.d.ClientCertificate != nil {
			cert, err := c.d.ClientCertificate(anyRequest())
			if err != nil {
				return nil, configError(x.label(), &ClientCertificateError{Err: err})
			}
			o.set(cert)
			break
		}
	}
	for _, x := range ways {
		x.offer = o
	}
	return ways, nil
}

// anyRequest is a request for a certificate that every certificate satisfies. TLS
// 1.2 it says, because that accepts all keys that TLS 1.3 does and some more.
func anyRequest() *tls.CertificateRequestInfo {
	return &tls.CertificateRequestInfo{Version: tls.VersionTLS12, SignatureSchemes: []tls.SignatureScheme{
		tls.Ed25519,
		tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.ECDSAWithP521AndSHA512,
		tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512,
		tls.PKCS1WithSHA256, tls.PKCS1WithSHA384, tls.PKCS1WithSHA512,
		tls.ECDSAWithSHA1, tls.PKCS1WithSHA1,
	}}
}

func (o *offer) set(cert *tls.Certificate) {
	if cert == nil || len(cert.Certificate) == 0 {
		return
	}
	o.cert = cert
	h := sha256.New()
	for _, der := range cert.Certificate {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(der))))
		h.Write(der)
	}
	h.Sum(o.fingerprint[:0])
}

// ClientCertificateError is a fault of our own certificate: Dialer.ClientCertificate
// failed, or its key did not sign. It is no handshake that failed, after which mail
// might go out in clear text.
type ClientCertificateError struct {
	Err error
}

// Error returns the error as one line of text.
func (e *ClientCertificateError) Error() string { return fmt.Sprintf("client certificate: %v", e.Err) }

// Unwrap returns the cause.
func (e *ClientCertificateError) Unwrap() error { return e.Err }

// offering is the offer during one handshake.
type offering struct {
	*offer
	failed error // of the key
}

// get answers a server's request. Which authorities it names does not matter:
// many servers list those of other purposes, and one that wants another
// certificate than ours can say so. What its schemes and version exclude is not
// offered, because crypto/tls would fail the handshake over it.
func (o *offering) get(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if o.cert == nil {
		return new(tls.Certificate), nil
	}
	request := *info
	request.AcceptableCAs = nil
	if request.SupportsCertificate(o.cert) != nil {
		return new(tls.Certificate), nil
	}
	cert := *o.cert
	if key, ok := cert.PrivateKey.(crypto.Signer); ok {
		cert.PrivateKey = o.watch(key)
	}
	return &cert, nil
}

// watch returns key such that its failure is remembered.
func (o *offering) watch(key crypto.Signer) crypto.Signer {
	w := watchedKey{key, &o.failed}
	if _, ok := key.(crypto.MessageSigner); ok {
		return watchedMessageKey{w}
	}
	return w
}

// watchedKey notes when it cannot sign, which may be a module that has gone away.
type watchedKey struct {
	crypto.Signer
	failed *error
}

// Sign signs a digest.
func (k watchedKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	signature, err := k.Signer.Sign(rand, digest, opts)
	if err != nil {
		*k.failed = err
	}
	return signature, err
}

// watchedMessageKey is a watchedKey that hashes for itself.
type watchedMessageKey struct{ watchedKey }

// SignMessage signs a message.
func (k watchedMessageKey) SignMessage(rand io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	signature, err := k.Signer.(crypto.MessageSigner).SignMessage(rand, message, opts)
	if err != nil {
		*k.failed = err
	}
	return signature, err
}
