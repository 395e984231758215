package certs_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/smtpsec/smtpsec/certs"
	"github.com/smtpsec/smtpsec/internal/testpki"
)

// A self-signed certificate, the request made from it, and the chain that comes
// back from the authority.
func Example() {
	key, cert, findings, err := certs.SelfSigned(certs.Form{
		CommonName:   "mx.example.com",
		Organization: "Example",
		Country:      "DE",
		Days:         365,
		DNSNames:     []string{"smtp.example.com"},
		FQDN:         true,
	}, certs.CreateOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(cert.Subject.CommonName, cert.DNSNames, cert.SignatureAlgorithm)
	for _, f := range findings {
		fmt.Println(f.Severity, f.Code)
	}
	fmt.Printf("%v %+v\n", key, key)

	request, err := certs.CertificateRequest(key, cert, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	answer := sign(request) // the authority's part

	material, err := certs.ReadBytes(answer, certs.ReadOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	chain, _, err := certs.Arrange(key.Public(), material.Certificates, certs.ArrangeOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range chain {
		fmt.Println(c.Subject.CommonName, "by", c.Issuer.CommonName)
	}
	fmt.Println(len(certs.Check(nil, chain, certs.CheckOptions{Name: "smtp.example.com"})), "findings")
	// Output:
	// mx.example.com [mx.example.com smtp.example.com] ECDSA-SHA256
	// info self-signed
	// [private key redacted] [private key redacted]
	// mx.example.com by Example Intermediate
	// Example Intermediate by Example Root
	// 0 findings
}

// sign is an authority in a few lines. It sends its certificates in no order.
func sign(request []byte) (answer []byte) {
	block, _ := pem.Decode(request)
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || csr.CheckSignature() != nil {
		panic("the request does not verify")
	}
	root := testpki.NewRoot("Example Root")
	intermediate := root.Intermediate("Example Intermediate")
	template := intermediate.Leaf(csr.DNSNames).Cert
	der, err := x509.CreateCertificate(rand.Reader, template, intermediate.Cert, csr.PublicKey, intermediate.Key)
	if err != nil {
		panic(err)
	}
	for _, cert := range [][]byte{root.Cert.Raw, der, intermediate.Cert.Raw} {
		answer = append(answer, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})...)
	}
	return answer
}

// What is wrong with an input, and where.
func ExampleReadBytes() {
	_, err := certs.ReadBytes([]byte("my certificate:\n-----BEGIN CERTIFICATE-----\nMIIB!\n-----END CERTIFICATE-----\n"), certs.ReadOptions{})
	fmt.Println(err)
	var parse *certs.ParseError
	if errors.As(err, &parse) {
		fmt.Println(parse.Line, parse.Label, errors.Is(err, certs.ErrMalformed))
	}
	// Output:
	// certs: line 3: block 1 (CERTIFICATE): malformed: bad base64
	// 3 CERTIFICATE true
}

// Arrange finds the way through a bag in any order and tells what it left.
func ExampleArrange() {
	root := testpki.NewRoot("Root")
	inner := root.Intermediate("Intermediate")
	leaf := inner.Leaf([]string{"mx.example.com"})
	stranger := testpki.NewRoot("Stranger")
	bag := []*x509.Certificate{stranger.Cert, root.Cert, inner.Cert, leaf.Cert}

	chain, findings, err := certs.Arrange(leaf.Key.Public(), bag, certs.ArrangeOptions{IncludeRoot: true})
	for _, cert := range chain {
		fmt.Println(cert.Subject.CommonName)
	}
	fmt.Println(findings, err)
	slices.Reverse(bag) // the order has no influence
	again, _, _ := certs.Arrange(leaf.Key.Public(), bag, certs.ArrangeOptions{IncludeRoot: true})
	fmt.Println(slices.Equal(chain, again))
	// Output:
	// mx.example.com
	// Intermediate
	// Root
	// [info: unused: "CN=Stranger" is not part of the chain] <nil>
	// true
}

// FQDN validation names the rule that a name breaks.
func ExampleCheckFQDN() {
	for _, name := range []string{"mx.example.com", "*.example.com", "localhost", "192.0.2.1", "*.com"} {
		var failed *certs.FQDNError
		if err := certs.CheckFQDN(name); errors.As(err, &failed) {
			fmt.Println(name, "breaks rule", failed.Names[0].Rule)
		} else {
			fmt.Println(name, "passes")
		}
	}
	// Output:
	// mx.example.com passes
	// *.example.com passes
	// localhost breaks rule 2
	// 192.0.2.1 breaks rule 3
	// *.com breaks rule 4
}
