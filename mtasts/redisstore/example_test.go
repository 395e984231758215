package redisstore_test

import (
	"context"
	"crypto/tls"
	"fmt"

	"github.com/redis/go-redis/v9"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/mtasts/redisstore"
	"github.com/smtpsec/smtpsec/mtasts/ststest"
)

// One node of a fleet. Its Redis cannot be reached just now: the policy is looked
// up all the same, and shared later.
func Example() {
	server := redis.NewClient(&redis.Options{
		Addr:          "127.0.0.1:1", // redis.internal:6380
		Username:      "mta",
		Password:      "secret",
		TLSConfig:     &tls.Config{ServerName: "redis.internal"},
		MaxRetries:    -1,
		DialerRetries: 1,
	})
	defer server.Close()
	store, err := redisstore.New(server, redisstore.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}

	dns, host := new(ststest.Resolver), ststest.NewPolicyHost() // stand in for the Internet
	defer host.Close()
	dns.SetTXT("partner.example", "v=STSv1; id=1;")
	host.SetPolicy("partner.example", "version: STSv1\nmode: enforce\nmx: *.partner.example\nmax_age: 604800\n")

	client := &mtasts.Client{
		Store:    store,
		Resolver: dns,
		Fetch:    host.FetchConfig(),
		Trace: func(e mtasts.Event) {
			if e.Kind == mtasts.EventFetchDone {
				fmt.Println(e.AsyncOS())
			}
		},
	}
	result, err := client.Lookup(context.Background(), "partner.example")
	fmt.Println(result.Outcome, err)
	// Output:
	// Successfully fetched MTA-STS policy for the domain(partner.example)
	// enforce <nil>
}

// A prefix keeps the entries of a test system apart.
func ExampleNew() {
	server := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer server.Close()
	_, err := redisstore.New(server, redisstore.Options{Prefix: "staging:mtasts:"})
	fmt.Println(err)
	_, err = redisstore.New(server, redisstore.Options{Prefix: "{staging}:"})
	fmt.Println(err)
	// Output:
	// <nil>
	// redisstore: prefix "{staging}:" has braces
}
