package certs_test

import (
	"errors"
	"fmt"

	"github.com/smtpsec/smtpsec/certs"
)

// Export an entry with a passphrase, look at the file, import it elsewhere.
func ExampleStore_ExportPKCS12() {
	store, err := certs.OpenStore(certs.StoreOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := store.CreateSelfSigned("mx", certs.Form{CommonName: "mx.example.com", Days: 90}); err != nil {
		fmt.Println(err)
		return
	}
	passphrase := []byte("open sesame")
	file, err := store.ExportPKCS12("mx", certs.ExportOptions{Passphrase: passphrase, Confirm: passphrase})
	if err != nil {
		fmt.Println(err)
		return
	}

	_, err = certs.Inspect(file, []byte("open barley"), certs.InspectOptions{})
	fmt.Println("wrong passphrase:", errors.Is(err, certs.ErrPassphrase))
	inspection, err := certs.Inspect(file, passphrase, certs.InspectOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, key := range inspection.Keys {
		fmt.Println(key.KeyKind, key.Chain[0].DNSNames, key.Findings)
	}

	other, err := certs.OpenStore(certs.StoreOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	imported, err := other.ImportPKCS12("", file, certs.ImportOptions{Passphrase: passphrase, FQDN: true})
	fmt.Println("imported:", imported.Name, err)
	// Output:
	// wrong passphrase: true
	// ECDSA P-256 [mx.example.com] [info: self-signed: only peers that hold the certificate itself, or its TLSA record, can verify it]
	// imported: mx.example.com <nil>
}
