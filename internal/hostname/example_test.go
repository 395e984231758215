package hostname_test

import (
	"fmt"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

func Example() {
	for _, s := range []string{"MX1.Bücher.Example.", "[192.0.2.1]", "*.example.com"} {
		name, err := hostname.Parse(s)
		fmt.Println(name, err)
	}
	// Output:
	// mx1.xn--bcher-kva.example <nil>
	//  name "[192.0.2.1]": an IP address is not a host name
	//  name "*.example.com": a wildcard is not a host name
}
