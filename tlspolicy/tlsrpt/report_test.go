package tlsrpt

import (
	"encoding/json"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "reports", name))
	require.NoError(t, err)
	return text
}

func day(s string) Day {
	d, err := ParseDay(s)
	if err != nil {
		panic(err)
	}
	return d
}

// exampleReport is the example of RFC 8460 appendix B.
func exampleReport() *Report {
	return &Report{
		Organization: "Company-X", Begin: day("2016-04-01").Begin(), End: day("2016-04-01").End(),
		Contact: "sts-reporting@company-x.example", ID: "5065427c-23d3-47ca-b6e0-946ea0e8c4be",
		Policies: []PolicyReport{{
			Policy: PolicyInfo{Type: PolicySTS, Domain: "company-y.example",
				Lines:   []string{"version: STSv1", "mode: testing", "mx: *.mail.company-y.example", "max_age: 86400"},
				MXHosts: []string{"*.mail.company-y.example"}},
			Successes: 5326, Failures: 303,
			Details: []FailureDetail{
				{Result: CertificateExpired, SendingIP: netip.MustParseAddr("2001:db8:abcd:12::1"), ReceivingMX: "mx1.mail.company-y.example", Count: 100},
				{Result: STARTTLSNotSupported, SendingIP: netip.MustParseAddr("2001:db8:abcd:13::1"), ReceivingMX: "mx2.mail.company-y.example",
					ReceivingIP: netip.MustParseAddr("203.0.113.56"), Count: 200,
					AdditionalInformation: "https://reports.company-x.example/report_info?id=5065427c-23d3#StarttlsNotSupported"},
				{Result: ValidationFailure, SendingIP: netip.MustParseAddr("198.51.100.62"), ReceivingIP: netip.MustParseAddr("203.0.113.58"),
					ReceivingMX: "mx-backup.mail.company-y.example", Count: 3, Reason: "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"},
			},
		}},
	}
}

// TestExampleOfTheRFC: the report of the appendix is read as what it says, and
// written as the golden file, which is read as the same.
func TestExampleOfTheRFC(t *testing.T) {
	want := exampleReport()
	got, warnings, err := ParseReport(strings.NewReader(string(testdata(t, "rfc8460.json"))), Limits{})
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Equal(t, []Warning{{WarnOneString, "policies[0].policy.mx-host", "*.mail.company-y.example"}}, warnings, "mx-host is an array (erratum 6241)")
	text, err := got.MarshalJSON()
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(string(testdata(t, "golden.json"))), string(text))
	again, warnings, err := ParseReport(strings.NewReader(string(text)), Limits{})
	require.NoError(t, err)
	require.Empty(t, warnings)
	require.Equal(t, want, again)
}

// TestMarshalIsStable: order of policies and details does not show, nothing is
// null, and what is empty is left out only where it is optional.
func TestMarshalIsStable(t *testing.T) {
	a, b := exampleReport(), exampleReport()
	other := PolicyReport{Policy: PolicyInfo{Type: PolicyNoPolicyFound, Domain: "a.example"}}
	a.Policies, b.Policies = append(a.Policies, other), append([]PolicyReport{other}, b.Policies...)
	details := b.Policies[1].Details
	details[0], details[2] = details[2], details[0]
	first, err := a.MarshalJSON()
	require.NoError(t, err)
	second, err := b.MarshalJSON()
	require.NoError(t, err)
	require.Equal(t, string(first), string(second))
	require.Contains(t, string(first), `{"policy":{"policy-type":"no-policy-found","policy-string":[],"policy-domain":"a.example","mx-host":[]},`+
		`"summary":{"total-successful-session-count":0,"total-failure-session-count":0},"failure-details":[]}`)
	empty, err := new(Report).MarshalJSON()
	require.NoError(t, err)
	require.NotContains(t, string(empty), "null")
	one, err := json.Marshal(a) // as a json.Marshaler
	require.NoError(t, err)
	require.JSONEq(t, string(first), string(one))

	mapped := &Report{Policies: []PolicyReport{{Details: []FailureDetail{{
		Result: ValidationFailure, SendingIP: netip.MustParseAddr("::ffff:192.0.2.1"), ReceivingIP: netip.MustParseAddr("fe80::1%eth0"), Reason: "<&>",
	}}}}}
	text, err := mapped.MarshalJSON()
	require.NoError(t, err)
	require.Contains(t, string(text), `"sending-mta-ip":"192.0.2.1","receiving-ip":"fe80::1","failed-session-count":0,"failure-reason-code":"<&>"`)

	zipped, err := a.Gzip()
	require.NoError(t, err)
	again, err := b.Gzip()
	require.NoError(t, err)
	require.Equal(t, zipped, again)
	require.Equal(t, make([]byte, 4), zipped[4:8], "no time in the header")
	require.Zero(t, zipped[3], "no name")
	parsed, _, err := ParseReport(strings.NewReader(string(zipped)), Limits{})
	require.NoError(t, err)
	successes, failures := parsed.Totals()
	require.Equal(t, [2]uint64{5326, 303}, [2]uint64{successes, failures})
}

func TestReportNames(t *testing.T) {
	r := exampleReport()
	require.Equal(t, "company-x.example", r.Submitter())
	require.Equal(t, "company-y.example", r.Domain())
	require.Equal(t, "company-x.example!company-y.example!1459468800!1459555199!5065427c23d347cab6e0946ea0e8c4be.json.gz", r.FileName(r.Domain()))
	r.Contact, r.ID = "x@B\u00fccher.example", ""
	require.Equal(t, "xn--bcher-kva.example!unknown!1459468800!1459555199.json.gz", r.FileName("a/../b"))
	r.Contact = "nobody"
	require.Empty(t, r.Submitter())
	require.Empty(t, new(Report).Domain())
	require.Equal(t, "mx.example", (&Report{Policies: []PolicyReport{{Policy: PolicyInfo{Type: PolicyTLSA, Domain: "mx.example"}}}}).Domain())

	id := ReportID(day("2026-03-01"), "a.example", "sender.example")
	require.Regexp(t, `^2026-03-01\.[0-9a-f]{20}@sender\.example$`, id)
	require.Equal(t, id, ReportID(day("2026-03-01"), "a.example", "sender.example"))
	for _, other := range []string{
		ReportID(day("2026-03-02"), "a.example", "sender.example"), ReportID(day("2026-03-01"), "b.example", "sender.example"),
		ReportID(day("2026-03-01"), "a.example", "other.example"),
	} {
		require.NotEqual(t, id, other)
	}
}

func TestTotalsDoNotWrap(t *testing.T) {
	r := &Report{Policies: []PolicyReport{{Successes: math.MaxUint64, Details: []FailureDetail{{Count: math.MaxUint64}, {Count: 2}}}, {Successes: 7, Failures: 1}}}
	successes, failures := r.Totals()
	require.Equal(t, uint64(math.MaxUint64), successes)
	require.Equal(t, uint64(1), failures)
	require.Equal(t, uint64(math.MaxUint64), r.Policies[0].DetailSum())
}

func TestSanitized(t *testing.T) {
	bad, good := "a\x1b[31m\r\n\u202eb\u2028\u0085\x00\u200fc\xff<", "a[31mbc\ufffd<"
	r := &Report{Organization: bad, Contact: bad, ID: bad, Extra: []Member{{Name: bad}}, Policies: []PolicyReport{{
		Policy: PolicyInfo{Type: PolicyType(bad), Domain: bad, Lines: []string{bad}, MXHosts: []string{bad}}, Extra: []Member{{Name: bad}},
		Details: []FailureDetail{{Result: ResultType(bad), ReceivingMX: bad, ReceivingHelo: bad, AdditionalInformation: bad, Reason: bad, Count: 3}},
	}}}
	require.Equal(t, &Report{Organization: good, Contact: good, ID: good, Policies: []PolicyReport{{
		Policy:  PolicyInfo{Type: PolicyType(good), Domain: good, Lines: []string{good}, MXHosts: []string{good}},
		Details: []FailureDetail{{Result: ResultType(good), ReceivingMX: good, ReceivingHelo: good, AdditionalInformation: good, Reason: good, Count: 3}},
	}}}, r.Sanitized())
	require.Equal(t, bad, r.Policies[0].Policy.Lines[0], "the original is as it was")
}

func TestDays(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	for _, tc := range []struct {
		why  string
		when time.Time
		want string
	}{
		{"first second", time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), "2026-03-01"},
		{"last nanosecond", time.Date(2026, 3, 1, 23, 59, 59, 999999999, time.UTC), "2026-03-01"},
		{"another zone", time.Date(2026, 3, 2, 0, 30, 0, 0, berlin), "2026-03-01"},
		{"the night the clock goes forward", time.Date(2026, 3, 29, 3, 0, 0, 0, berlin), "2026-03-29"},
		{"the night it goes back", time.Date(2026, 10, 25, 1, 59, 0, 0, berlin), "2026-10-24"},
		{"before the epoch", time.Date(1969, 12, 31, 23, 0, 0, 0, time.UTC), "1969-12-31"},
	} {
		d := DayOf(tc.when)
		require.Equal(t, tc.want, d.String(), tc.why)
		require.Equal(t, daySeconds-1, int(d.End().Sub(d.Begin())/time.Second))
		require.Equal(t, d.End().Add(time.Second), d.Next().Begin())
		text, err := d.MarshalText()
		require.NoError(t, err)
		var again Day
		require.NoError(t, again.UnmarshalText(text))
		require.Equal(t, d, again)
	}
	require.Error(t, new(Day).UnmarshalText([]byte("2026-02-30")))
}

func TestPolicyStrings(t *testing.T) {
	sts := NewSTSPolicy("a.example", []byte("\ufeffversion: STSv1\r\n\r\nmode: enforce\nmx: \xff\n \t\nfaulty line"), []string{"*.a.example", ""})
	require.Equal(t, &PolicyInfo{PolicySTS, "a.example", []string{"version: STSv1", "mode: enforce", "mx: \ufffd", "faulty line"}, []string{"*.a.example"}}, sts)
	require.Empty(t, NewSTSPolicy("a.example", nil, nil).Lines)
	large := NewSTSPolicy("a.example", []byte(strings.Repeat("x: yyyyy\n", 20000)), nil)
	require.LessOrEqual(t, large.size(), maxPolicyText+len("a.example"))
	require.GreaterOrEqual(t, large.size(), maxPolicyText)
	a := TLSARecord{3, 1, 1, []byte{0x0c, 0xab}}
	b := TLSARecord{2, 0, 255, []byte{0xff}}
	require.Equal(t, "3 1 1 0CAB", a.String())
	require.Equal(t, &PolicyInfo{PolicyTLSA, "mx.example", []string{"2 0 255 FF", "3 1 1 0CAB"}, []string{"mx.a.example"}}, NewTLSAPolicy("mx.example", "mx.a.example", []TLSARecord{a, b}))
	require.True(t, NewTLSAPolicy("m", "m", []TLSARecord{a, b}).equal(NewTLSAPolicy("m", "m", []TLSARecord{b, a})))
	require.Less(t, NewTLSAPolicy("m", "m", slicesRepeat(TLSARecord{Data: make([]byte, 1000)}, 100)).size(), maxPolicyText+10)
	require.Equal(t, &PolicyInfo{Type: PolicyNoPolicyFound, Domain: "a.example"}, NewNoPolicy("a.example"))
}

func TestReasons(t *testing.T) {
	require.Equal(t, "refused-454", RefusedReason(454))
	require.Equal(t, "refused-malformed", RefusedReason(7))
	for text, want := range map[string]string{
		"": "", "tls-remote-bad-certificate": "tls-remote-bad-certificate", "Bad Reason\r\n": "bad-reason--", strings.Repeat("x", 70): strings.Repeat("x", 64), "\u00e9": "--",
	} {
		require.Equal(t, want, cleanReason(text))
		require.True(t, validReason(cleanReason(text)))
	}
}

// TestNoncharacters: I-JSON has no place for them (RFC 7493 section 2.1), and a
// policy of a stranger may have any.
func TestNoncharacters(t *testing.T) {
	r := exampleReport()
	r.Organization = "a\uffffb"
	r.Policies[0].Policy.Lines = []string{"x\ufffe\ufdd0\U0001fffe\U0010ffffy"}
	text, err := r.MarshalJSON()
	require.NoError(t, err)
	require.Contains(t, string(text), `"a`+"\ufffd"+`b"`)
	require.Contains(t, string(text), `"x`+strings.Repeat("\ufffd", 4)+`y"`)
}
