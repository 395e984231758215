package roots_test

import (
	"fmt"

	"github.com/smtpsec/smtpsec/certs"
	"github.com/smtpsec/smtpsec/certs/roots"
)

func ExampleMozilla() {
	trust, err := certs.NewTrustStore(certs.TrustOptions{System: roots.Mozilla()})
	if err != nil {
		fmt.Println(err)
		return
	}
	n, err := trust.Count(certs.SystemCAs)
	fmt.Println(n > 100, err)
	fmt.Println(trust.VersionInfo(certs.SystemCAs).Source)
	// Output:
	// true <nil>
	// mozilla
}
