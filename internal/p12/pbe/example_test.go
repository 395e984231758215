package pbe_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/smtpsec/smtpsec/internal/p12/pbe"
)

func ExampleDecryptPKCS8() {
	der, err := os.ReadFile("testdata/scrypt.p8") // the DER inside a PEM block "ENCRYPTED PRIVATE KEY"
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = pbe.DecryptPKCS8(der, []byte("guess"), pbe.Limits{})
	fmt.Println(errors.Is(err, pbe.ErrPassphrase))

	plain, err := pbe.DecryptPKCS8(der, []byte("test-only"), pbe.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer clear(plain)
	key, err := x509.ParsePKCS8PrivateKey(plain)
	fmt.Printf("%T %v\n", key, err)
	// Output:
	// true
	// *ecdsa.PrivateKey <nil>
}
