package dsn_test

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/examples/relay/dsn"
	"github.com/smtpsec/smtpsec/examples/relay/spool"
)

// carriageReturns drops them, which an example's output cannot have.
type carriageReturns struct{}

func (carriageReturns) Write(p []byte) (int, error) {
	os.Stdout.WriteString(strings.ReplaceAll(string(p), "\r", ""))
	return len(p), nil
}

func ExampleCompose() {
	original := "From: alice@sender.example\r\nSubject: lunch\r\n\r\nAt noon?\r\n"
	needs, err := dsn.Compose(carriageReturns{}, &dsn.Report{
		ReportingMTA: "relay.example",
		From:         "postmaster@relay.example",
		To:           "alice@sender.example",
		ID:           "20261124-091500-6b1f",
		Date:         time.Date(2026, 11, 24, 9, 15, 0, 0, time.UTC),
		Arrival:      time.Date(2026, 11, 24, 9, 14, 58, 0, time.UTC),
		EnvelopeID:   "QQ314159",
		Recipients: []dsn.Recipient{{
			Address:     "bop@partner.example",
			Original:    "rfc822;bop@partner.example",
			Action:      dsn.Failed,
			Status:      "5.1.1",
			RemoteMTA:   "mx.partner.example",
			Diagnostic:  "550 5.1.1 <bop@partner.example>: no such user",
			LastAttempt: time.Date(2026, 11, 24, 9, 15, 0, 0, time.UTC),
		}},
		Return: dsn.ReturnHeaders,
		Rand:   strings.NewReader("0123456789abcdef"), // leave it out
	}, strings.NewReader(original))
	fmt.Println(needs.EightBit, err)
	// Output:
	// Date: Tue, 24 Nov 2026 09:15:00 +0000
	// From: Mail Delivery System <postmaster@relay.example>
	// To: <alice@sender.example>
	// Subject: Undelivered: your message could not be delivered
	// Message-ID: <dsn.20261124-091500-6b1f@relay.example>
	// Auto-Submitted: auto-replied
	// MIME-Version: 1.0
	// Content-Type: multipart/report; report-type=delivery-status;
	//  boundary="=_30313233343536373839616263646566"
	//
	// This is a notification in the format of MIME.
	//
	// --=_30313233343536373839616263646566
	// Content-Type: text/plain; charset=us-ascii
	//
	// This is the mail system at relay.example.
	//
	// Your message could not be delivered to the recipients below. It will not be
	// tried again. What you can do stands with each of them.
	//
	//   <bop@partner.example>
	//     The address does not exist there. Check how it is spelled.
	//     mx.partner.example said: 550 5.1.1 <bop@partner.example>: no such user
	//
	// The header of your message is attached.
	// If you need help, write to postmaster@relay.example and attach this
	// notification.
	//
	// --=_30313233343536373839616263646566
	// Content-Type: message/delivery-status
	//
	// Reporting-MTA: dns; relay.example
	// Original-Envelope-Id: QQ314159
	// Arrival-Date: Tue, 24 Nov 2026 09:14:58 +0000
	//
	// Original-Recipient: rfc822; bop@partner.example
	// Final-Recipient: rfc822; bop@partner.example
	// Action: failed
	// Status: 5.1.1
	// Remote-MTA: dns; mx.partner.example
	// Diagnostic-Code: smtp; 550 5.1.1 <bop@partner.example>: no such user
	// Last-Attempt-Date: Tue, 24 Nov 2026 09:15:00 +0000
	//
	// --=_30313233343536373839616263646566
	// Content-Type: text/rfc822-headers
	//
	// From: alice@sender.example
	// Subject: lunch
	//
	// --=_30313233343536373839616263646566--
	// false <nil>
}

func ExampleDue() {
	fmt.Println(dsn.Due("alice@sender.example", 0, dsn.Failed))
	fmt.Println(dsn.Due("alice@sender.example", spool.NotifyNever, dsn.Failed))
	fmt.Println(dsn.Due("", 0, dsn.Failed)) // a notification itself
	// Output:
	// true
	// false
	// false
}
