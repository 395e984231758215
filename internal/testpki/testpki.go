// Package testpki is a certificate authority in memory, for tests and for the
// Internet in a process: roots, intermediates and leaves with whatever defect a
// test wants, made in microseconds and never written to disk.
//
// Everything is made with the time of the call unless a Mod says otherwise.
// Mistakes of the caller panic: there is nobody to handle them.
package testpki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"
)

// Request is what a Mod may change before a certificate is made: the template
// that goes to x509.CreateCertificate, and the key.
type Request struct {
	Template *x509.Certificate
	Key      crypto.Signer // the certificate's own key, P-256 unless changed
}

// Mod changes a certificate before it is signed.
type Mod func(*Request)

// Valid sets the validity period, both ends included, in whole seconds.
func Valid(notBefore, notAfter time.Time) Mod {
	return func(r *Request) { r.Template.NotBefore, r.Template.NotAfter = notBefore, notAfter }
}

// CommonName replaces the subject by this common name alone; "" leaves the
// subject empty.
func CommonName(cn string) Mod {
	return func(r *Request) { r.Template.Subject = pkix.Name{CommonName: cn} }
}

// Key sets the certificate's key, so that two certificates can share one.
func Key(key crypto.Signer) Mod {
	return func(r *Request) { r.Key = key }
}

// Template gives the whole template to a function of the caller.
func Template(change func(*x509.Certificate)) Mod {
	return func(r *Request) { change(r.Template) }
}

// NewECDSA returns a fresh key on curve.
func NewECDSA(curve elliptic.Curve) crypto.Signer {
	return must(ecdsa.GenerateKey(curve, rand.Reader))
}

// NewRSA returns a fresh RSA key; expect it to take a while.
func NewRSA(bits int) crypto.Signer { return must(rsa.GenerateKey(rand.Reader, bits)) }

// NewEd25519 returns a fresh Ed25519 key.
func NewEd25519() crypto.Signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return must(key, err)
}

// Authority is a certificate that may sign others, and its key.
type Authority struct {
	Cert   *x509.Certificate
	Key    crypto.Signer
	Issuer *Authority // nil for a root
}

// Leaf is an end-entity certificate, its key and its issuer.
type Leaf struct {
	Cert   *x509.Certificate
	Key    crypto.Signer
	Issuer *Authority // nil when self-signed
}

// NewRoot returns a self-signed authority.
func NewRoot(cn string, mods ...Mod) *Authority {
	r := request(cn, mods, caTemplate)
	return &Authority{Cert: sign(r, r.Template, r.Key), Key: r.Key}
}

// Intermediate returns an authority signed by a.
func (a *Authority) Intermediate(cn string, mods ...Mod) *Authority {
	r := request(cn, mods, caTemplate)
	return &Authority{Cert: sign(r, a.Cert, a.Key), Key: r.Key, Issuer: a}
}

// Leaf returns a server certificate signed by a. Its SAN is dnsNames; its common
// name is the first of them, none without names.
func (a *Authority) Leaf(dnsNames []string, mods ...Mod) *Leaf {
	r := leafRequest(dnsNames, mods)
	return &Leaf{Cert: sign(r, a.Cert, a.Key), Key: r.Key, Issuer: a}
}

// SelfSigned returns a server certificate signed by its own key.
func SelfSigned(dnsNames []string, mods ...Mod) *Leaf {
	r := leafRequest(dnsNames, mods)
	return &Leaf{Cert: sign(r, r.Template, r.Key), Key: r.Key}
}

// Chain returns the leaf and its issuers, leaf first, without the root.
func (l *Leaf) Chain() []*x509.Certificate {
	chain := []*x509.Certificate{l.Cert}
	for a := l.Issuer; a != nil && a.Issuer != nil; a = a.Issuer {
		chain = append(chain, a.Cert)
	}
	return chain
}

// ChainWithRoot returns Chain and the root behind it.
func (l *Leaf) ChainWithRoot() []*x509.Certificate {
	chain := l.Chain()
	for a := l.Issuer; a != nil; a = a.Issuer {
		if a.Issuer == nil {
			chain = append(chain, a.Cert)
		}
	}
	return chain
}

// TLS returns the certificate as a server presents it: Chain and the key.
func (l *Leaf) TLS() tls.Certificate {
	cert := tls.Certificate{PrivateKey: l.Key, Leaf: l.Cert}
	for _, c := range l.Chain() {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return cert
}

// Pool returns a pool of these authorities.
func Pool(authorities ...*Authority) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, a := range authorities {
		pool.AddCert(a.Cert)
	}
	return pool
}

func caTemplate(t *x509.Certificate) {
	t.IsCA, t.BasicConstraintsValid = true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
}

func leafRequest(dnsNames []string, mods []Mod) *Request {
	cn := ""
	if len(dnsNames) > 0 {
		cn = dnsNames[0]
	}
	return request(cn, mods, func(t *x509.Certificate) {
		t.DNSNames = dnsNames
		t.KeyUsage = x509.KeyUsageDigitalSignature
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		t.BasicConstraintsValid = true
	})
}

func request(cn string, mods []Mod, kind func(*x509.Certificate)) *Request {
	now := time.Now()
	r := &Request{Template: &x509.Certificate{
		SerialNumber: must(rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))),
		Subject:      pkix.Name{CommonName: cn},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(30 * 24 * time.Hour),
	}}
	kind(r.Template)
	for _, mod := range mods {
		mod(r)
	}
	if r.Key == nil {
		r.Key = NewECDSA(elliptic.P256())
	}
	return r
}

func sign(r *Request, parent *x509.Certificate, key crypto.Signer) *x509.Certificate {
	der := must(x509.CreateCertificate(rand.Reader, r.Template, parent, r.Key.Public(), key))
	return must(x509.ParseCertificate(der))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("testpki: %v", err))
	}
	return v
}
