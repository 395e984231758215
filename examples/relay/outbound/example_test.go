//go:build unix

package outbound_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"strings"

	"github.com/smtpsec/smtpsec/examples/relay/outbound"
	"github.com/smtpsec/smtpsec/examples/relay/spool"
	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// A message goes to two domains of the lab: one has a TLSA record that matches, the
// other one that does not.
func Example() {
	declared, _ := lab.Destinations()
	l, err := lab.Start(declared)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	settings := tlspolicy.Recommended()
	settings.MTASTS = tlspolicy.Off
	table, err := tlspolicy.NewTable(settings, nil)
	if err != nil {
		log.Fatal(err)
	}
	pool := outbound.New(&smtpclient.Dialer{Hostname: "relay.example", Policy: table, Resolver: l.Resolver(), DialContext: l.DialContext}, outbound.Options{})
	defer pool.Close()

	envelope := &spool.Envelope{Sender: "alice@sender.example"}
	body := func() io.Reader { return strings.NewReader("Subject: hello\r\n\r\nWorld\r\n") }
	for _, domain := range []string{"dane.example", "dane-mismatch.example"} {
		to := []*spool.Recipient{{Address: "bob@" + domain}}
		r := pool.Deliver(context.Background(), smtpclient.Target{Domain: domain}, envelope, to, body)[0]
		fmt.Printf("%s: delivered %t, permanent %t, status %q, rule %s\n", domain, r.Err == nil, r.Permanent, r.Status, r.Rule)
	}
	// Output:
	// dane.example: delivered true, permanent false, status "", rule dane-verified
	// dane-mismatch.example: delivered false, permanent false, status "4.7.5", rule none
}
