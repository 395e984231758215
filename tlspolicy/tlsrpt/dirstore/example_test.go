//go:build unix

package dirstore_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt"
	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt/dirstore"
)

// Two processes of one machine count, and what they counted is one tally.
func Example() {
	dir, err := os.MkdirTemp("", "tlsrpt")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	day := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for range 2 {
		store, err := dirstore.Open(dir, dirstore.Options{})
		if err != nil {
			fmt.Println(err)
			return
		}
		process, err := tlsrpt.NewAggregator(store, tlsrpt.AggregatorOptions{Now: func() time.Time { return day }})
		if err != nil {
			fmt.Println(err)
			return
		}
		session := tlsrpt.Session{RecipientDomain: "receiver.example"}
		session.Add(tlsrpt.PolicyResult{Policy: tlsrpt.NewNoPolicy("receiver.example")})
		process.Collect(&session)
		if err := process.Flush(context.Background()); err != nil {
			fmt.Println(err)
		}
	}
	store, err := dirstore.Open(dir, dirstore.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	tally, err := store.Load(context.Background(), tlsrpt.DayOf(day), "receiver.example")
	fmt.Println(len(tally.Snapshots()), tally.Policies()[0].Successes, err)
	// Output:
	// 2 2 <nil>
}
