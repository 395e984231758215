package certname_test

import (
	"fmt"

	"github.com/smtpsec/smtpsec/internal/certname"
)

func Example() {
	fmt.Println(certname.Match("*.example.com", "mx.example.com"))
	fmt.Println(certname.Match("*.example.com", "a.mx.example.com"))
	fmt.Println(certname.Equal("*.example.com", "mx.example.com"))
	// Output:
	// true
	// false
	// false
}
