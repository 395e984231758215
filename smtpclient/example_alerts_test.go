package smtpclient_test

import (
	"context"
	"fmt"
	"log"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

// The operator is told when a domain gets no mail because of TLS: an alert at the
// end of a Dial, with what became of each host. The events of the Dial go to a log.
func ExampleDialer_alerts() {
	l, d := internet()
	defer l.Close()
	table, err := tlspolicy.NewTable(tlspolicy.Recommended(), map[string]tlspolicy.Settings{
		"stripped.example": {Mode: tlspolicy.Required, MTASTS: tlspolicy.Off},
	})
	if err != nil {
		log.Fatal(err)
	}
	d.Policy = table
	d.OnEvent = func(_ context.Context, e tlspolicy.Event) { fmt.Println("event:", e.Kind) }
	d.OnAlert = func(_ context.Context, a tlspolicy.Alert) {
		fmt.Println("alert:", a.Kind, "for", a.Domain)
		for _, h := range a.Hosts {
			fmt.Println(" ", h.Host, h.Decision.Reason)
		}
	}

	if s, err := d.Dial(context.Background(), "stripped.example"); err == nil {
		s.Close()
	}
	// Output:
	// event: connect
	// event: starttls-absent
	// event: tls-required-unavailable
	// event: decision
	// alert: tls-required-failed for stripped.example
	//   mx.stripped.example mode-tls-required-absent
}
