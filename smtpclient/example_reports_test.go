package smtpclient_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt"
)

// Every attempt is counted for the report that the domain gets the day after. A
// program lets Aggregator.Run write the counts and a tlsrpt.Reporter send them.
func ExampleDialer_reports() {
	l, d := internet()
	defer l.Close()
	ctx := context.Background()

	store := new(tlsrpt.Memory)
	aggregator, err := tlsrpt.NewAggregator(store, tlsrpt.AggregatorOptions{})
	if err != nil {
		log.Fatal(err)
	}
	d.Reports = aggregator
	day := tlsrpt.DayOf(time.Now())

	for _, domain := range []string{"partner.example", "stripped.example", "partner.example"} {
		if s, err := d.Dial(ctx, domain); err == nil {
			s.Quit(ctx)
		}
	}

	if err := aggregator.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	for _, domain := range []string{"partner.example", "stripped.example"} {
		tally, err := store.Load(ctx, day, domain)
		if err != nil {
			log.Fatal(err)
		}
		for _, p := range tally.Policies() {
			fmt.Printf("%s, policy %s: %d successes, %d failures\n", domain, p.Policy.Type, p.Successes, p.Failures)
			for _, f := range p.Details {
				fmt.Println(" ", f.Count, f.Result, f.Reason, f.ReceivingMX)
			}
		}
	}
	// Output:
	// partner.example, policy sts: 2 successes, 0 failures
	// stripped.example, policy sts: 0 successes, 1 failures
	//   1 starttls-not-supported not-offered mx.stripped.example
}
