package tlsrpt_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt"
)

// zone is a resolver with one record.
type zone map[string]string

func (z zone) LookupTXT(_ context.Context, name string) ([]string, error) {
	if txt, ok := z[name]; ok {
		return []string{txt}, nil
	}
	return nil, &net.DNSError{Name: name, IsNotFound: true}
}

// A sender counts two sessions, and the day after the report goes out.
func Example_sender() {
	ctx := context.Background()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	dns := zone{"_smtp._tls.receiver.example.": "v=TLSRPTv1; rua=mailto:reports@receiver.example"}
	store := new(tlsrpt.Memory)
	aggregator, err := tlsrpt.NewAggregator(store, tlsrpt.AggregatorOptions{Resolver: dns, Now: clock})
	if err != nil {
		fmt.Println(err)
		return
	}

	policy := tlsrpt.NewSTSPolicy("receiver.example", []byte("version: STSv1\nmode: enforce\nmx: mx.receiver.example\nmax_age: 86400\n"), []string{"mx.receiver.example"})
	for _, err := range []error{nil, x509.CertificateInvalidError{Reason: x509.Expired}} {
		session := tlsrpt.Session{Time: now, RecipientDomain: "receiver.example", MXHost: "mx.receiver.example", RemoteIP: netip.MustParseAddr("192.0.2.25")}
		result, reason := tlsrpt.ResultOf(err)
		session.Add(tlsrpt.PolicyResult{Policy: policy, Result: result, Reason: reason})
		aggregator.Collect(&session)
	}
	if err := aggregator.Flush(ctx); err != nil {
		fmt.Println(err)
		return
	}

	now = now.Add(24 * time.Hour)
	reporter := &tlsrpt.Reporter{
		Store: store, Resolver: dns, Organization: "Sender Inc.", Contact: "tls-reports@sender.example", Now: clock,
		Mail: func(_ context.Context, m *tlsrpt.Message) error { // signs and delivers
			fmt.Println("to", m.To)
			received, err := tlsrpt.ParseMessage(strings.NewReader(string(m.Bytes())), tlsrpt.Limits{})
			if err != nil {
				return err
			}
			text, err := received.Report.MarshalJSON()
			fmt.Println(string(text))
			return err
		},
	}
	due, err := reporter.Due(ctx, now)
	if err != nil {
		fmt.Println(err)
	}
	for _, delivery := range due {
		if err := reporter.Deliver(ctx, delivery); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// to reports@receiver.example
	// {"organization-name":"Sender Inc.","date-range":{"start-datetime":"2026-03-01T00:00:00Z","end-datetime":"2026-03-01T23:59:59Z"},"contact-info":"tls-reports@sender.example","report-id":"2026-03-01.e9705855ff3aeec206a2@sender.example","policies":[{"policy":{"policy-type":"sts","policy-string":["version: STSv1","mode: enforce","mx: mx.receiver.example","max_age: 86400"],"policy-domain":"receiver.example","mx-host":["mx.receiver.example"]},"summary":{"total-successful-session-count":1,"total-failure-session-count":1},"failure-details":[{"result-type":"certificate-expired","receiving-mx-hostname":"mx.receiver.example","receiving-ip":"192.0.2.25","failed-session-count":1}]}]}
}

// A receiver takes the reports that others post to its https target.
func ExampleReceiver() {
	handler := &tlsrpt.Receiver{Accept: func(_ context.Context, r *tlsrpt.Report, warnings []tlsrpt.Warning) error {
		clean := r.Sanitized()
		successes, failures := clean.Totals()
		fmt.Printf("%s: %s: %d successes, %d failures\n", clean.Organization, clean.Domain(), successes, failures)
		for _, w := range warnings {
			fmt.Println(w)
		}
		return nil
	}}
	server := httptest.NewServer(handler)
	defer server.Close()
	response, err := http.Post(server.URL, tlsrpt.TypeJSON, strings.NewReader(`{
		"organization-name": "Sender Inc.",
		"date-range": {"start-datetime": "2026-03-01T00:00:00", "end-datetime": "2026-03-01T23:59:59Z"},
		"contact-info": "tls@sender.example", "report-id": "1",
		"policies": [{"policy": {"policy-type": "no-policy-found", "policy-domain": "receiver.example"},
			"summary": {"total-successful-session-count": 42, "total-failure-session-count": 0}}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	fmt.Println(response.Status)
	// Output:
	// Sender Inc.: receiver.example: 42 successes, 0 failures
	// report.date-range.start-datetime: timestamp: "2026-03-01T00:00:00"
	// 201 Created
}

func ExampleNewRecord() {
	record, err := tlsrpt.NewRecord("mailto:tls-reports@receiver.example", "https://reports.receiver.example/v1/tlsrpt")
	fmt.Println(record, err)
	// Output:
	// v=TLSRPTv1; rua=mailto:tls-reports@receiver.example,https://reports.receiver.example/v1/tlsrpt; <nil>
}

func ExampleParseRecord() {
	record, err := tlsrpt.ParseRecord("v=TLSRPTv1; rua=mailto:tls@receiver.example?subject=x,ftp://receiver.example/")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, target := range record.Targets() {
		fmt.Println(target, target.Usable())
	}
	for _, warning := range record.Warnings() {
		fmt.Println(warning)
	}
	// Output:
	// mailto:tls@receiver.example true
	// ftp://receiver.example/ false
	// column 17: mail-header: "mailto:tls@receiver.example?subject=x"
	// column 55: scheme: "ftp://receiver.example/"
}

func ExampleLookup() {
	_, err := tlsrpt.Lookup(context.Background(), zone{}, "receiver.example")
	fmt.Println(err)
	// Output:
	// tlsrpt: _smtp._tls.receiver.example: no TLS reporting record
}

func ExampleResultOf() {
	result, reason := tlsrpt.ResultOf(fmt.Errorf("handshake: %w", context.DeadlineExceeded))
	fmt.Println(result, reason)
	// Output:
	// validation-failure handshake-timeout
}
