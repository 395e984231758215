package p12_test

import (
	"errors"
	"fmt"
	"os"

	"github.com/smtpsec/smtpsec/internal/p12"
)

func ExampleDecode() {
	data, err := os.ReadFile("testdata/nss-default.p12") // exported by NSS, the library of Firefox
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = p12.Decode(data, []byte("guess"), p12.Options{})
	fmt.Println(errors.Is(err, p12.ErrPassphrase), err)

	contents, err := p12.Decode(data, []byte("test-only"), p12.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer contents.Zero()
	for _, key := range contents.Keys {
		private, err := key.Private()
		fmt.Printf("%s: %T, %v, %v\n", key.FriendlyName, private, err, key)
	}
	for _, certificate := range contents.Certificates {
		fmt.Println(certificate.Parsed.Subject)
	}
	// Output:
	// true wrong passphrase
	// leaf: *ecdsa.PrivateKey, <nil>, [private key redacted]
	// CN=p12 test intermediate
	// CN=p12 test root
	// CN=mail.p12.example
}

func ExampleMACIterations() {
	data, err := os.ReadFile("testdata/openssl-default.p12")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p12.MACIterations(data))
	// Output: 2048 <nil>
}
