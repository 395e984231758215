package mtasts_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/mtasts"
)

// internet stands in for the world: one domain with a record and a policy.
type internet struct{}

func (internet) LookupTXT(_ context.Context, name string) ([]string, error) {
	if name == "_mta-sts.partner.example." {
		return []string{"v=STSv1; id=20260101T000000;"}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (internet) RoundTrip(*http.Request) (*http.Response, error) {
	const policy = "version: STSv1\nmode: enforce\nmx: *.partner.example\nmax_age: 604800\n"
	return &http.Response{
		StatusCode: 200, ProtoMajor: 2, ContentLength: int64(len(policy)),
		Header: http.Header{"Content-Type": {"text/plain"}}, Body: io.NopCloser(strings.NewReader(policy)),
	}, nil
}

// A deliverer asks before it connects, and leaves out the hosts that the policy
// does not name.
func Example() {
	client := &mtasts.Client{Resolver: internet{}, Fetch: mtasts.FetchConfig{Transport: internet{}}}

	result, err := client.Lookup(context.Background(), "partner.example")
	if err != nil {
		fmt.Println("defer:", err)
		return
	}
	fmt.Println(result.Outcome, result.Source)
	for _, host := range []string{"mx1.partner.example", "mx.elsewhere.example"} {
		if result.Outcome == mtasts.OutcomeEnforce && !result.Match(host) {
			fmt.Println(host, "is not named")
			continue
		}
		fmt.Println(host, "may be tried, over verified TLS")
	}
	// Output:
	// enforce fresh
	// mx1.partner.example may be tried, over verified TLS
	// mx.elsewhere.example is not named
}

func ExampleClient_Lookup() {
	client := &mtasts.Client{Resolver: internet{}, Fetch: mtasts.FetchConfig{Transport: internet{}}}
	for _, domain := range []string{"partner.example", "nobody.example", "[192.0.2.1]"} {
		result, err := client.Lookup(context.Background(), domain)
		fmt.Println(domain, result.Outcome, errors.Is(result.Err, mtasts.ErrNoRecord), errors.Is(err, mtasts.ErrDomain))
	}
	// Output:
	// partner.example enforce false false
	// nobody.example no-record true false
	// [192.0.2.1] unknown false true
}

// Every host failed: before the message goes back to the queue, see whether the
// domain has another policy by now.
func ExampleClient_Recheck() {
	client := &mtasts.Client{Resolver: internet{}, Fetch: mtasts.FetchConfig{Transport: internet{}}}
	_, _ = client.Lookup(context.Background(), "partner.example")
	result, changed, err := client.Recheck(context.Background(), "partner.example")
	fmt.Println(result.Outcome, changed, err)
	// Output: enforce false <nil>
}

func ExampleClient_Forget() {
	client := &mtasts.Client{Resolver: internet{}, Fetch: mtasts.FetchConfig{Transport: internet{}}}
	fmt.Println(client.Forget(context.Background(), "partner.example", mtasts.ScopeAll))
	// Output: <nil>
}

func ExampleParseRecord() {
	record, err := mtasts.ParseRecord("v=STSv1; id=20160831085700Z;")
	fmt.Println(record.ID, err)
	_, err = mtasts.ParseRecord("v=STSv1; id=2016-08-31;")
	fmt.Println(err)
	// Output:
	// 20160831085700Z <nil>
	// record line 1 column 10: id is not 1 to 32 letters and digits: "id=2016-08-31"
}

func ExampleSelectRecord() {
	record, err := mtasts.SelectRecord([]string{"v=spf1 -all", "v=STSv1; id=1;"}, mtasts.Strict)
	fmt.Println(record, err)
	_, err = mtasts.SelectRecord([]string{"v=STSv1; id=1;", "v=STSv1; id=2;"}, mtasts.Strict)
	fmt.Println(err)
	// Output:
	// v=STSv1; id=1; <nil>
	// mtasts: several TXT records
}

func ExampleParsePolicy() {
	policy, err := mtasts.ParsePolicy([]byte("version: STSv1\nmode: enforce\nmx: *.Example.net\nmax_age: 604800\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(policy.Mode, policy.MX, policy.MaxAge, policy.Match("mx1.example.net"))
	// Output: enforce [*.example.net] 168h0m0s true
}

// A linter reads strictly for the verdict and tolerantly for the details.
func ExampleParser_Policy() {
	text := "version: STSv1\nmode: enforce\n\nmx: mail.example.net.\nmax_age: 3600\n"
	var policy mtasts.Policy
	fmt.Println(mtasts.Parser{Mode: mtasts.Strict}.Policy(text, &policy))
	linter := mtasts.Parser{Warn: func(w mtasts.Warning) { fmt.Println(w) }}
	fmt.Println(linter.Policy(text, &policy))
	// Output:
	// policy line 3 column 1: empty line: ""
	// line 3 column 1: empty-line:  ""
	// line 4 column 5: pattern-dot: mx "mail.example.net."
	// line 5 column 10: max-age-short: max_age "3600"
	// <nil>
}

func ExamplePolicy_String() {
	policy := mtasts.Policy{Mode: mtasts.ModeTesting, MX: []string{"*.example.net"}, MaxAge: 24 * time.Hour}
	fmt.Println(strings.ReplaceAll(policy.String(), "\r\n", "\n"))
	// Output:
	// version: STSv1
	// mode: testing
	// mx: *.example.net
	// max_age: 86400
}

func ExampleMatchPattern() {
	fmt.Println(mtasts.MatchPattern("*.example.net", "mx1.example.net"))
	fmt.Println(mtasts.MatchPattern("*.example.net", "a.mx1.example.net"))
	fmt.Println(mtasts.MatchPattern("*.example.net", "example.net"))
	// Output:
	// true
	// false
	// false
}

// A receiving domain serves its policy and publishes the record that goes with it.
func ExamplePublisher() {
	policy := &mtasts.Policy{Mode: mtasts.ModeTesting, MX: []string{"*.example.net"}, MaxAge: 24 * time.Hour}
	server := httptest.NewServer(&mtasts.Publisher{Source: mtasts.Policies{"example.net": policy}}) // https in earnest
	defer server.Close()

	request, _ := http.NewRequest("GET", server.URL+"/.well-known/mta-sts.txt", nil)
	request.Host = "mta-sts.example.net"
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	fmt.Println(response.StatusCode, string(body) == policy.String())
	// Output: 200 true
}

func ExampleRecordFor() {
	record, err := mtasts.RecordFor(&mtasts.Policy{Mode: mtasts.ModeNone, MaxAge: 24 * time.Hour})
	fmt.Printf("_mta-sts.example.net. 3600 IN TXT %q\n", record)
	fmt.Println(err)
	// Output:
	// _mta-sts.example.net. 3600 IN TXT "v=STSv1; id=94815eb6141fb6e5526888bf66f98f76;"
	// <nil>
}

func ExampleCNAMEs() {
	records, err := mtasts.CNAMEs("user.example", "provider.example")
	for _, record := range records {
		fmt.Println(record.Name, "CNAME", record.Target)
	}
	fmt.Println(err)
	// Output:
	// _mta-sts.user.example. CNAME _mta-sts.provider.example.
	// mta-sts.user.example. CNAME mta-sts.provider.example.
	// <nil>
}

// Refresh is for those who would rather have a timer of their own than Run.
func ExampleClient_Refresh() {
	client := &mtasts.Client{Resolver: internet{}, Fetch: mtasts.FetchConfig{Transport: internet{}}}
	_, _ = client.Lookup(context.Background(), "partner.example")
	next, err := client.Refresh(context.Background())
	fmt.Println(time.Until(next) > 17*time.Hour, err)
	// Output: true <nil>
}

func ExamplePlan() {
	now := time.Date(2030, 1, 2, 0, 0, 0, 0, time.UTC)
	week := func(domain string, age time.Duration) mtasts.EntryInfo {
		return mtasts.EntryInfo{Domain: domain, FetchedAt: now.Add(-age), Expires: now.Add(7*24*time.Hour - age), LastUsed: now}
	}
	entries := []mtasts.EntryInfo{week("young.example", time.Hour), week("old.example", 25*time.Hour)}
	jobs, next := mtasts.Plan(now, slices.Values(entries), mtasts.PlanLimits{})
	for _, job := range jobs {
		fmt.Println(job.Domain)
	}
	fmt.Println(next.After(now))
	// Output:
	// old.example
	// true
}

// nameServer is a DNS in which the domain's mail host is not yet as the policy says.
type nameServer struct{ internet }

func (nameServer) LookupMX(context.Context, string) ([]*net.MX, error) {
	return []*net.MX{{Host: "mx1.partner.example.", Pref: 10}, {Host: "mx.elsewhere.example.", Pref: 20}}, nil
}

// Before a policy goes to enforce: does the world look as it says?
func ExampleCheck() {
	policy := &mtasts.Policy{Mode: mtasts.ModeEnforce, MX: []string{"*.partner.example"}, MaxAge: 7 * 24 * time.Hour}
	findings := mtasts.Check(context.Background(), "partner.example", policy, mtasts.CheckOptions{
		Resolver: nameServer{},
		Fetch:    mtasts.FetchConfig{Transport: internet{}},
		ID:       "20260101T000000",
	})
	fmt.Print(findings)
	fmt.Println("worst:", findings.Worst())
	// Output:
	// error: mx-unmatched: mx.elsewhere.example: no pattern of the policy matches this mail host
	// warning: tlsrpt: _smtp._tls.partner.example: no record: failures of senders will not be reported
	// worst: error
}

func ExamplePlanRollout() {
	next := &mtasts.Policy{Mode: mtasts.ModeEnforce, MX: []string{"mx.example.net"}, MaxAge: 28 * 24 * time.Hour}
	for _, step := range mtasts.PlanRollout(nil, next, mtasts.RolloutFacts{RecordTTL: time.Hour, MXTTL: time.Hour}) {
		fmt.Println(step)
	}
	// Output:
	// serve testing [mx.example.net] max_age=24h0m0s, wait 1m0s: until no reverse proxy has the file before
	// record testing [mx.example.net] max_age=24h0m0s: failures are reported, mail flows
	// reports, wait 336h0m0s: two weeks without failures before enforce
	// serve enforce [mx.example.net] max_age=24h0m0s, wait 1m0s: until no reverse proxy has the file before
	// record enforce [mx.example.net] max_age=24h0m0s, wait 168h0m0s: enforce, while it can still be taken back in a day
	// serve enforce [mx.example.net] max_age=672h0m0s, wait 1m0s: until no reverse proxy has the file before
	// record enforce [mx.example.net] max_age=672h0m0s: the goal
}

// The mail hosts change, and no sender that remembers the old policy for four
// weeks may lose mail.
func ExamplePlanRollout_newHosts() {
	week := 7 * 24 * time.Hour
	current := &mtasts.Policy{Mode: mtasts.ModeEnforce, MX: []string{"mx.old.example"}, MaxAge: week}
	next := &mtasts.Policy{Mode: mtasts.ModeEnforce, MX: []string{"mx.new.example"}, MaxAge: week}
	facts := mtasts.RolloutFacts{RecordTTL: time.Hour, MXTTL: 2 * time.Hour, LongestMaxAge: 4 * week}
	for _, step := range mtasts.PlanRollout(current, next, facts) {
		if step.Policy != nil {
			fmt.Println(step.Action, step.Policy.MX, step.Wait)
			continue
		}
		fmt.Println(step.Action, step.Wait)
	}
	// Output:
	// serve [mx.old.example mx.new.example] 1m0s
	// record [mx.old.example mx.new.example] 673h0m0s
	// move-mx 2h0m0s
	// serve [mx.new.example] 1m0s
	// record [mx.new.example] 0s
}

// The operator's word for one domain: never less than this policy, whatever
// discovery says.
func ExamplePins() {
	client := &mtasts.Client{
		Resolver: internet{}, Fetch: mtasts.FetchConfig{Transport: internet{}},
		Pins: mtasts.Pins{
			"nobody.example": {Kind: mtasts.PinFloor, Policy: &mtasts.Policy{Mode: mtasts.ModeEnforce, MX: []string{"mx.nobody.example"}}},
		},
	}
	result, err := client.Lookup(context.Background(), "nobody.example")
	fmt.Println(result.Outcome, result.Source, result.Reason, err)
	fmt.Println(result.Match("mx.nobody.example"), result.Match("mx.attacker.example"))
	// Output:
	// enforce pinned record-absent <nil>
	// true false
}
