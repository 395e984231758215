package certs_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"github.com/smtpsec/smtpsec/certs"
	"github.com/smtpsec/smtpsec/internal/testpki"
)

// Create an entry, send the request to an authority, install what comes back.
func ExampleStore_Install() {
	store, err := certs.OpenStore(certs.StoreOptions{}) // in memory; see OpenDirectory for one that lasts
	if err != nil {
		fmt.Println(err)
		return
	}
	created, err := store.CreateSelfSigned("", certs.Form{CommonName: "mx.example.com", Organization: "Example", Country: "DE", Days: 90})
	fmt.Println("created:", created.Name, err)
	request, err := store.CSR(created.Name)
	if err != nil {
		fmt.Println(err)
		return
	}

	answer := authority(request) // leaf, intermediate and root, in any order

	installed, err := store.Install(created.Name, answer, certs.InstallOptions{})
	fmt.Println("installed:", err)
	fmt.Println("publish other TLSA 3 1 1 records:", installed.Changed.Key)
	detail, err := store.Detail(created.Name)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(detail.Origin, "by", detail.Issuer)
	for _, cert := range detail.Chain {
		fmt.Println("-", cert.Subject)
	}
	_, err = store.Rollback(created.Name)
	fmt.Println("back to the former certificate:", err)
	// Output:
	// created: mx.example.com <nil>
	// installed: <nil>
	// publish other TLSA 3 1 1 records: false
	// CA-signed by CN=Example Intermediate
	// - CN=mx.example.com,O=Example,C=DE
	// - CN=Example Intermediate
	// back to the former certificate: <nil>
}

// authority signs a request and returns the chain in no order.
func authority(request []byte) []byte {
	block, _ := pem.Decode(request)
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		panic(err)
	}
	root := testpki.NewRoot("Example Root")
	intermediate := root.Intermediate("Example Intermediate")
	leaf := intermediate.Leaf(csr.DNSNames, testpki.Key(theirs{csr.PublicKey}), testpki.Template(func(c *x509.Certificate) { c.Subject = csr.Subject }))
	var out []byte
	for _, cert := range []*x509.Certificate{root.Cert, leaf.Cert, intermediate.Cert} {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return out
}

// A rollover of keys that never leaves a sender without a TLSA record that fits.
func ExampleStore_PrepareNext() {
	store, err := certs.OpenStore(certs.StoreOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := store.CreateSelfSigned("mx", certs.Form{CommonName: "mx.example.com", Days: 90}); err != nil {
		fmt.Println(err)
		return
	}
	next, err := store.PrepareNext("mx", certs.NextOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	infos, _ := store.PublicKeyInfos("mx")
	fmt.Println("keys to publish:", len(infos))
	fmt.Println(store.ConfirmPublished("mx", ttl)) // once every name server has the records
	_, err = store.InstallNext("mx", authority(next.Request), certs.InstallOptions{})
	fmt.Println(err)
	_, err = store.Promote("mx", false)
	fmt.Println("at once:", err != nil) // *TooEarlyError: two TTLs have to pass
	_, err = store.Promote("mx", true)
	fmt.Println("forced:", err)
	// Output:
	// keys to publish: 2
	// <nil>
	// <nil>
	// at once: true
	// forced: <nil>
}
