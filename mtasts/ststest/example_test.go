package ststest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/mtasts/ststest"
)

func Example() {
	dns, host := new(ststest.Resolver), ststest.NewPolicyHost()
	defer host.Close()
	dns.SetTXT("partner.example", "v=STSv1; id=1;")
	host.SetPolicy("partner.example", "version: STSv1\nmode: enforce\nmx: *.partner.example\nmax_age: 604800\n")

	client := &mtasts.Client{Resolver: dns, Fetch: host.FetchConfig()}
	for range 2 {
		result, err := client.Lookup(context.Background(), "partner.example")
		fmt.Println(result.Outcome, result.Source, err)
	}
	fmt.Println("asked", dns.Queries("partner.example"), "fetched", host.Gets("partner.example"))
	// Output:
	// enforce fresh <nil>
	// enforce cached <nil>
	// asked 1 fetched 1
}

func ExamplePolicyHost_SetFault() {
	dns, host := new(ststest.Resolver), ststest.NewPolicyHost()
	defer host.Close()
	dns.SetTXT("partner.example", "v=STSv1; id=1;")
	host.SetPolicy("partner.example", "version: STSv1\nmode: enforce\nmx: *.partner.example\nmax_age: 604800\n")

	for _, fault := range []ststest.Fault{ststest.FaultSelfSigned, ststest.FaultRedirect, ststest.FaultTruncated} {
		host.SetFault("partner.example", fault)
		client := &mtasts.Client{Resolver: dns, Fetch: host.FetchConfig()}
		result, err := client.Lookup(context.Background(), "partner.example")
		fmt.Printf("%v: %v, %v, %v\n", fault, result.Outcome, result.Reason, err)
	}
	// Output:
	// self-signed: webpki, cert, <nil>
	// redirect: fetch-error, redirect, <nil>
	// truncated: fetch-error, body-read, <nil>
}

// openMine stands for the Store under test.
func openMine(dir string) mtasts.Store { return nil }

// In the tests of a Store.
func ExampleTestStore() {
	_ = func(t *testing.T) { // func TestMyStore(t *testing.T)
		ststest.TestStore(t, func(t testing.TB) ststest.Backend {
			dir := t.TempDir()
			return ststest.Backend{Open: func() mtasts.Store { return openMine(dir) }}
		})
	}
	// Output:
}
