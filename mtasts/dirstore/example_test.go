//go:build unix

package dirstore_test

import (
	"context"
	"fmt"
	"os"

	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/mtasts/dirstore"
	"github.com/smtpsec/smtpsec/mtasts/ststest"
)

// A policy that was seen once is obeyed after a restart, though somebody has forged
// its record away by then.
func Example() {
	dir, err := os.MkdirTemp("", "mtasts") // /var/lib/mta/mtasts
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	dns, host := new(ststest.Resolver), ststest.NewPolicyHost() // stand in for the Internet
	defer host.Close()
	dns.SetTXT("partner.example", "v=STSv1; id=1;")
	host.SetPolicy("partner.example", "version: STSv1\nmode: enforce\nmx: *.partner.example\nmax_age: 604800\n")

	for range 2 { // two lives of one process
		store, err := dirstore.Open(dir, dirstore.Options{})
		if err != nil {
			fmt.Println(err)
			return
		}
		client := &mtasts.Client{Store: store, Resolver: dns, Fetch: host.FetchConfig()}
		result, err := client.Lookup(context.Background(), "partner.example")
		fmt.Println(result.Outcome, result.Source, result.Match("mx.attacker.example"), err)
		dns.SetTXT("partner.example") // forged: there is no record
	}
	// Output:
	// enforce fresh false <nil>
	// enforce cached false <nil>
}
