package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt"
)

var reportHead = regexp.MustCompile(`(?m)^TLS report to (\S+): (\d+) sessions as its policies want, (\d+) not$`)

// reportsOf runs the program and returns the reports by the domain that gets them.
func reportsOf(t *testing.T, args ...string) map[string]*tlsrpt.Report {
	t.Helper()
	status, out, errs := output(t, "", append(args, "-reports", "-color", "never")...)
	require.Equal(t, exitAsExpected, status, "%s%s", out, errs)
	reports := make(map[string]*tlsrpt.Report)
	heads := reportHead.FindAllStringSubmatchIndex(out, -1)
	for i, head := range heads {
		end := len(out)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		text, _, _ := strings.Cut(out[head[1]:end], "\n}\n")
		report, warnings, err := tlsrpt.ParseReport(strings.NewReader(text+"\n}\n"), tlsrpt.Limits{})
		require.NoError(t, err, "%s", text)
		require.Empty(t, warnings)
		domain := out[head[2]:head[3]]
		require.NotContains(t, reports, domain, "one report for each domain and day")
		reports[domain] = report
		successes, failures := report.Totals()
		require.Equal(t, out[head[4]:head[7]], fmt.Sprintf("%d sessions as its policies want, %d", successes, failures), domain)
	}
	return reports
}

// TestReports: what the domains hear is what the policies that they published
// came to, whatever the sender's own mode made of it.
func TestReports(t *testing.T) {
	reports := reportsOf(t, "-mode", "required,required-verify")
	for _, want := range []struct {
		domain, about string
		kind          tlsrpt.PolicyType
		successes     uint64
		failures      uint64
		result        tlsrpt.ResultType // of the failures
	}{
		{"good.example", "good.example", tlsrpt.PolicyNoPolicyFound, 2, 0, ""},
		{"self-signed.example", "self-signed.example", tlsrpt.PolicyNoPolicyFound, 2, 0, ""}, // no policy asks for more
		{"plain.example", "plain.example", tlsrpt.PolicyNoPolicyFound, 0, 2, tlsrpt.STARTTLSNotSupported},
		{"refusing.example", "refusing.example", tlsrpt.PolicyNoPolicyFound, 0, 2, tlsrpt.STARTTLSNotSupported},
		{"dane.example", "mx.dane.example", tlsrpt.PolicyTLSA, 2, 0, ""},
		{"mx.dane.example", "mx.dane.example", tlsrpt.PolicyTLSA, 2, 0, ""}, // the mail host's owner hears too
		{"dane-mismatch.example", "mx.dane-mismatch.example", tlsrpt.PolicyTLSA, 0, 2, tlsrpt.ValidationFailure},
		{"sts.example", "sts.example", tlsrpt.PolicySTS, 2, 0, ""},
		{"sts-mx.example", "sts-mx.example", tlsrpt.PolicySTS, 0, 2, tlsrpt.ValidationFailure},
		{"sts-cert.example", "sts-cert.example", tlsrpt.PolicySTS, 0, 2, tlsrpt.CertificateNotTrusted},
		{"sts-testing.example", "sts-testing.example", tlsrpt.PolicySTS, 0, 2, tlsrpt.CertificateNotTrusted},
	} {
		report := reports[want.domain]
		require.NotNil(t, report, want.domain)
		require.Equal(t, "Sender Example", report.Organization)
		require.Len(t, report.Policies, 1, want.domain)
		policy := report.Policies[0]
		require.Equal(t, want.about, policy.Policy.Domain, want.domain)
		require.Equal(t, want.kind, policy.Policy.Type, want.domain)
		require.Equal(t, want.successes, policy.Successes, want.domain)
		require.Equal(t, want.failures, policy.Failures, want.domain)
		var detailed uint64
		for _, d := range policy.Details {
			require.Equal(t, want.result, d.Result, want.domain)
			detailed += d.Count
		}
		require.Equal(t, want.failures, detailed, "%s: every failure has its detail", want.domain)
	}
}

// TestNoReports: without the flag nothing is counted or shown.
func TestNoReports(t *testing.T) {
	_, out, _ := output(t, "", "-mode", "required")
	require.NotContains(t, out, "TLS report")
}
