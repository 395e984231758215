package redisstore_test

import (
	"fmt"

	"github.com/redis/go-redis/v9"
	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt"
	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt/redisstore"
)

// One node of a fleet: every node has the same, and together they send one report
// for each domain and day.
func Example() {
	server := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379"}) // connects when it is used
	defer server.Close()
	store, err := redisstore.New(server, redisstore.Options{Prefix: "staging:tlsrpt:"})
	if err != nil {
		fmt.Println(err)
		return
	}
	aggregator, err := tlsrpt.NewAggregator(store, tlsrpt.AggregatorOptions{Node: "mta1"})
	fmt.Println(aggregator.Writer()[:5], err)
	// Output:
	// mta1- <nil>
}
