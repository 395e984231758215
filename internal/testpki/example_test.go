package testpki_test

import (
	"crypto/x509"
	"fmt"

	"github.com/smtpsec/smtpsec/internal/testpki"
)

func Example() {
	root := testpki.NewRoot("Example Root")
	leaf := root.Leaf([]string{"mx.example.com"})
	_, err := leaf.Cert.Verify(x509.VerifyOptions{Roots: testpki.Pool(root), DNSName: "mx.example.com"})
	fmt.Println(err)
	// Output: <nil>
}
