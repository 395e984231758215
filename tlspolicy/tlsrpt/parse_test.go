package tlsrpt

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// tolerated is a report with parts that a test replaces.
func tolerated(replace ...string) string {
	return strings.NewReplacer(replace...).Replace(`{"organization-name":"S","date-range":{"start-datetime":"2026-03-01T00:00:00Z","end-datetime":"2026-03-01T23:59:59Z"},` +
		`"contact-info":"c@s.example","report-id":"i","policies":[{"policy":{"policy-type":"sts","policy-string":["l"],"policy-domain":"r.example","mx-host":["m"]},` +
		`"summary":{"total-successful-session-count":5,"total-failure-session-count":2},"failure-details":[{"result-type":"validation-failure","failed-session-count":2}]}]}`)
}

func TestTolerance(t *testing.T) {
	const begin, end = `"2026-03-01T00:00:00Z"`, `"2026-03-01T23:59:59Z"`
	for _, tc := range []struct {
		why, text string
		warnings  []WarningCode
		change    func(*Report) // of what the report without defect is read as
	}{
		{"no defect", tolerated(), nil, nil},
		{"byte order mark", "\ufeff" + tolerated(), []WarningCode{WarnBOM}, nil},
		{"text after it", tolerated() + "\n{}", []WarningCode{WarnAfterReport}, nil},
		{"white space after it", tolerated() + "\r\n\t ", nil, nil},

		{"no zone", tolerated(begin, `"2026-03-01T00:00:00"`, end, `"2026-03-01T23:59:59"`), []WarningCode{WarnTimestamp, WarnTimestamp}, nil},
		{"space for T", tolerated(begin, `"2026-03-01 00:00:00Z"`), []WarningCode{WarnTimestamp}, nil},
		{"space for T and before the zone", tolerated(begin, `"2026-03-01 00:00:00 +0000"`), []WarningCode{WarnTimestamp}, nil},
		{"fraction", tolerated(begin, `"2026-03-01T00:00:00.000Z"`, end, `"2026-03-01T23:59:59.999999Z"`), []WarningCode{WarnTimestamp, WarnTimestamp}, nil},
		{"lower case", tolerated(begin, `"2026-03-01t00:00:00z"`), []WarningCode{WarnTimestamp}, nil},
		{"bare date", tolerated(begin, `"2026-03-01"`, end, `"2026-03-01"`), []WarningCode{WarnTimestamp, WarnTimestamp}, nil},
		{"Unix seconds", tolerated(begin, `1772323200`, end, `"1772409599"`), []WarningCode{WarnTimestamp, WarnTimestamp}, nil},
		{"offset", tolerated(begin, `"2026-03-01T01:00:00+01:00"`), nil, nil},
		{"UTC in letters", tolerated(begin, `"2026-03-01 00:00:00 UTC"`), []WarningCode{WarnTimestamp}, nil},
		{"no seconds", tolerated(begin, `"2026-03-01T00:00Z"`), []WarningCode{WarnTimestamp}, nil},
		{"end at 24:00:00", tolerated(end, `"2026-03-01T24:00:00Z"`), []WarningCode{WarnTimestamp, WarnRange}, nil},
		{"end at the next midnight", tolerated(end, `"2026-03-02T00:00:00Z"`), []WarningCode{WarnRange}, nil},
		{"end at the same midnight", tolerated(end, begin), []WarningCode{WarnRange}, nil},

		{"one string for arrays", tolerated(`["l"]`, `"l"`, `["m"]`, `"m"`), []WarningCode{WarnOneString, WarnOneString}, nil},
		{"null for arrays of strings", tolerated(`["l"]`, `null`, `["m"]`, `null`), []WarningCode{WarnOneString, WarnOneString}, func(r *Report) {
			r.Policies[0].Policy.Lines, r.Policies[0].Policy.MXHosts = []string{}, []string{}
		}},
		{"numbers among strings", tolerated(`["l"]`, `[1,"l",{"a":[]}]`), []WarningCode{WarnMissing, WarnMissing}, nil},
		{"arrays of strings missing", tolerated(`"policy-string":["l"],`, ``, `,"mx-host":["m"]`, ``), nil, func(r *Report) {
			r.Policies[0].Policy.Lines, r.Policies[0].Policy.MXHosts = []string{}, []string{}
		}},
		{"null for details", tolerated(`[{"result-type":"validation-failure","failed-session-count":2}]`, `null`), []WarningCode{WarnArray}, func(r *Report) {
			r.Policies[0].Details = []FailureDetail{}
		}},
		{"object for details", tolerated(`[{"result-type":"validation-failure","failed-session-count":2}]`, `{"result-type":"validation-failure","failed-session-count":2}`),
			[]WarningCode{WarnArray}, nil},
		{"details missing", tolerated(`,"failure-details":[{"result-type":"validation-failure","failed-session-count":2}]`, ``), nil, func(r *Report) {
			r.Policies[0].Details = []FailureDetail{}
		}},
		{"string among details", tolerated(`[{"result-type"`, `["x",{"result-type"`), []WarningCode{WarnMissing}, nil},

		{"counts as strings", tolerated(`:5,`, `:"5",`, `:2}]`, `:" 2 "}]`), []WarningCode{WarnCount, WarnCount}, nil},
		{"counts as floats", tolerated(`:5,`, `:5.0,`, `:2}]`, `:0.2e1}]`), []WarningCode{WarnCount, WarnCount}, nil},
		{"null for a count", tolerated(`:5,`, `:null,`), []WarningCode{WarnMissing}, func(r *Report) { r.Policies[0].Successes = 0 }},
		{"summary missing", tolerated(`"summary":{"total-successful-session-count":5,"total-failure-session-count":2},`, ``), []WarningCode{WarnSummary}, func(r *Report) {
			r.Policies[0].Successes, r.Policies[0].Computed = 0, true
		}},
		{"null for the summary", tolerated(`{"total-successful-session-count":5,"total-failure-session-count":2}`, `null`), []WarningCode{WarnSummary}, func(r *Report) {
			r.Policies[0].Successes, r.Policies[0].Computed = 0, true
		}},
		{"summary smaller than the details", tolerated(`:2},"f`, `:0},"f`), []WarningCode{WarnSummary}, func(r *Report) { r.Policies[0].Failures = 0 }},

		{"unknown types", tolerated(`"sts"`, `"mta-sts"`, `"validation-failure"`, `"cosmic-rays"`), []WarningCode{WarnType, WarnType}, func(r *Report) {
			r.Policies[0].Policy.Type, r.Policies[0].Details[0].Result = "mta-sts", "cosmic-rays"
		}},
		{"types in upper case", tolerated(`"sts"`, `"STS"`, `"validation-failure"`, `"Validation-Failure"`), []WarningCode{WarnType, WarnType}, nil},
		{"unknown members", tolerated(`"report-id"`, `"x":[{}],"report-id"`, `"summary":{`, `"summary":{"y":1,`, `"policy-type"`, `"z":"","policy-type"`,
			`"result-type"`, `"w":null,"result-type"`, `"start`, `"v":0,"start`), []WarningCode{WarnMember, WarnMember, WarnMember, WarnMember, WarnMember}, func(r *Report) {
			r.Extra = []Member{{"date-range.v", []byte("0")}, {"x", []byte("[{}]")}}
			r.Policies[0].Extra = []Member{{"policy.z", []byte(`""`)}, {"summary.y", []byte("1")}}
			r.Policies[0].Details[0].Extra = []Member{{"w", []byte("null")}}
		}},
		{"members missing", tolerated(`"organization-name":"S",`, ``, `"contact-info":"c@s.example","report-id":"i",`, ``, `"policy-domain":"r.example",`, ``),
			[]WarningCode{WarnMissing, WarnMissing, WarnMissing, WarnMissing}, func(r *Report) {
				r.Organization, r.Contact, r.ID, r.Policies[0].Policy.Domain = "", "", "", ""
			}},
		{"members of another type", tolerated(`"c@s.example"`, `{"a":["b"]}`, `"i"`, `7`), []WarningCode{WarnMissing, WarnMissing}, func(r *Report) { r.Contact, r.ID = "", "" }},
		{"members twice, the last wins", tolerated(`"report-id":"i"`, `"report-id":"h","report-id":"i"`, `"policies":[`, `"policies":[{"policy":{},"summary":{}}],"policies":[`),
			[]WarningCode{WarnDuplicate, WarnMissing, WarnMissing, WarnSummary, WarnDuplicate}, nil},
		{"names in upper case are other names", tolerated(`"report-id"`, `"REPORT-ID"`), []WarningCode{WarnMember, WarnMissing}, func(r *Report) {
			r.ID, r.Extra = "", []Member{{"REPORT-ID", []byte(`"i"`)}}
		}},
		{"addresses", tolerated(`"result-type"`, `"sending-mta-ip":"::ffff:192.0.2.1","receiving-ip":"mx.example","result-type"`), []WarningCode{WarnAddress}, func(r *Report) {
			r.Policies[0].Details[0].SendingIP = netip.MustParseAddr("192.0.2.1")
		}},
		{"address literals", tolerated(`"result-type"`, `"sending-mta-ip":"[IPv6:2001:db8::1]","receiving-ip":"","result-type"`), []WarningCode{WarnAddress}, func(r *Report) {
			r.Policies[0].Details[0].SendingIP = netip.MustParseAddr("2001:db8::1")
		}},
		{"the name that the text of the RFC uses", tolerated(`"result-type"`, `"additional-info-uri":"https://a.example/","result-type"`), nil, func(r *Report) {
			r.Policies[0].Details[0].AdditionalInformation = "https://a.example/"
		}},
	} {
		t.Run(tc.why, func(t *testing.T) {
			want := &Report{Organization: "S", Begin: day("2026-03-01").Begin(), End: day("2026-03-01").End(), Contact: "c@s.example", ID: "i", Policies: []PolicyReport{{
				Policy: PolicyInfo{PolicySTS, "r.example", []string{"l"}, []string{"m"}}, Successes: 5, Failures: 2,
				Details: []FailureDetail{{Result: ValidationFailure, Count: 2}},
			}}}
			if tc.change != nil {
				tc.change(want)
			}
			got, warnings, err := ParseReport(strings.NewReader(tc.text), Limits{})
			require.NoError(t, err)
			require.Equal(t, want, got)
			var codes []WarningCode
			for _, w := range warnings {
				codes = append(codes, w.Code)
			}
			require.Equal(t, tc.warnings, codes, "%v", warnings)
		})
	}
}

func TestNotAReport(t *testing.T) {
	const begin, end = `"2026-03-01T00:00:00Z"`, `"2026-03-01T23:59:59Z"`
	for why, text := range map[string]string{
		"empty":                    "",
		"no JSON":                  "hello",
		"array":                    "[]",
		"string":                   `"{}"`,
		"null":                     "null",
		"cut":                      tolerated()[:100],
		"cut after a member":       strings.TrimSuffix(tolerated(), "}"),
		"comma":                    tolerated(`"report-id"`, `,"report-id"`),
		"no range":                 `{"organization-name":"S"}`,
		"range is a string":        tolerated(`{"start-datetime":`+begin+`,"end-datetime":`+end+`}`, `"x"`),
		"no begin":                 tolerated(`"start-datetime":`+begin+`,`, ``),
		"begin is null":            tolerated(begin, `null`),
		"end before begin":         tolerated(end, `"2026-02-01T00:00:01Z"`),
		"no date":                  tolerated(begin, `"yesterday"`),
		"no such day":              tolerated(begin, `"2026-02-30"`),
		"before there was mail":    tolerated(begin, `"0001-01-01T00:00:00Z"`),
		"far future":               tolerated(end, `8589934591000`),
		"negative count":           tolerated(`:5,`, `:-5,`),
		"negative count as string": tolerated(`:5,`, `:"-5",`),
		"fractional count":         tolerated(`:5,`, `:5.5,`),
		"count in words":           tolerated(`:5,`, `:"five",`),
		"count as object":          tolerated(`:5,`, `:{},`),
		"huge count":               tolerated(`:5,`, `:18446744073709551616,`),
		"huge exponent":            tolerated(`:5,`, `:1e999999999,`),
		"infinite count":           tolerated(`:5,`, `:"Inf",`),
		"hexadecimal count":        tolerated(`:5,`, `:"0x1p4",`),
	} {
		r, _, err := ParseReport(strings.NewReader(text), Limits{})
		require.ErrorIs(t, err, ErrReportSyntax, why)
		require.Nil(t, r, why)
	}
	broken := errors.New("broken")
	_, _, err := ParseReport(io.MultiReader(strings.NewReader(tolerated()[:50]), iotest.ErrReader(broken)), Limits{})
	require.ErrorIs(t, err, broken)
	require.NotErrorIs(t, err, ErrReportSyntax, "a reader that fails says nothing about the report")
}

func TestLargeSenders(t *testing.T) {
	for name, want := range map[string]struct {
		successes, failures uint64
		warnings            []WarningCode
	}{
		"google-like.json":    {27, 2, nil},
		"microsoft-like.json": {31, 1, nil},
		"yahoo-like.json": {12, 3, []WarningCode{WarnTimestamp, WarnTimestamp, WarnRange, WarnMissing, WarnOneString, WarnOneString, WarnCount, WarnCount,
			WarnType, WarnCount}},
	} {
		r, warnings, err := ParseReport(bytes.NewReader(testdata(t, name)), Limits{})
		require.NoError(t, err, name)
		require.Equal(t, day("2026-03-01").Begin(), r.Begin)
		require.Equal(t, day("2026-03-01").End(), r.End)
		require.Equal(t, "receiver.example", r.Domain())
		successes, failures := r.Totals()
		require.Equal(t, want.successes, successes, name)
		require.Equal(t, want.failures, failures, name)
		var codes []WarningCode
		for _, w := range warnings {
			codes = append(codes, w.Code)
		}
		require.Equal(t, want.warnings, codes, "%s: %v", name, warnings)
	}
}

func zip(t testing.TB, text []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

// bomb is a report of many octets in few.
func bomb(t testing.TB, octets int) []byte {
	return zip(t, []byte(tolerated(`"S"`, `"`+strings.Repeat("A", octets)+`"`)))
}

func TestLimits(t *testing.T) {
	details := func(n int) string {
		return strings.TrimSuffix(strings.Repeat(`{"result-type":"validation-failure","failed-session-count":1},`, n), ",")
	}
	for _, tc := range []struct {
		why   string
		text  []byte
		l     Limits
		limit bool
	}{
		{"gzip bomb", bomb(t, 2<<20), Limits{Decompressed: 1 << 20}, true},
		{"large and allowed", bomb(t, 2<<20), Limits{Decompressed: 4 << 20}, false},
		{"gzip bomb behind the report", zip(t, []byte(tolerated()+strings.Repeat(" ", 2<<20))), Limits{Decompressed: 1 << 20}, true},
		{"bomb as white space before it", zip(t, []byte(strings.Repeat("\n", 2<<20)+tolerated())), Limits{Decompressed: 1 << 20}, true},
		{"too large compressed", bomb(t, 2<<20), Limits{Compressed: 100}, true},
		{"too large as it is", []byte(tolerated()), Limits{Compressed: 100}, true},
		{"exactly as large as allowed", []byte(tolerated()), Limits{Compressed: int64(len(tolerated()))}, false},
		{"one octet less", []byte(tolerated()), Limits{Compressed: int64(len(tolerated())) - 1}, true},
		{"too many policies", []byte(tolerated(`"policies":[`, `"policies":[{},{},`)), Limits{Policies: 2}, true},
		{"too many policies in arrays given twice", []byte(tolerated(`"policies":[`, `"policies":[{},{}],"policies":[`)), Limits{Policies: 2}, true},
		{"policies that are allowed", []byte(tolerated(`"policies":[`, `"policies":[{},`)), Limits{Policies: 2}, false},
		{"too many details", []byte(tolerated(`"failure-details":[`, `"failure-details":[`+details(10)+`,`)), Limits{Details: 10}, true},
		{"details that are allowed", []byte(tolerated(`"failure-details":[`, `"failure-details":[`+details(9)+`,`)), Limits{Details: 10}, false},
		{"deep", []byte(tolerated(`"c@s.example"`, strings.Repeat("[", 40)+strings.Repeat("]", 40))), Limits{}, true},
		{"deep in a member that is kept", []byte(tolerated(`"contact-info":"c@s.example"`, `"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40))), Limits{}, true},
		{"very deep", []byte(tolerated(`"contact-info":"c@s.example"`, `"x":`+strings.Repeat("[", 9000)+strings.Repeat("]", 9000))), Limits{}, true},
		{"as deep as allowed", []byte(tolerated(`"contact-info":"c@s.example"`, `"x":`+strings.Repeat("[", 31)+strings.Repeat("]", 31))), Limits{}, false},
		{"too many lines", []byte(tolerated(`["l"]`, `[`+strings.Repeat(`"",`, maxStrings)+`""]`)), Limits{}, true},
		{"many unknown members", []byte(tolerated(`"report-id"`, strings.Repeat(`"x":1,`, 20000)+`"report-id"`)), Limits{}, false},
	} {
		t.Run(tc.why, func(t *testing.T) {
			r, warnings, err := ParseReport(bytes.NewReader(tc.text), tc.l)
			if tc.limit {
				require.ErrorIs(t, err, ErrReportLimit)
				require.NotErrorIs(t, err, ErrReportSyntax)
				require.Nil(t, r)
				return
			}
			require.NoError(t, err)
			require.LessOrEqual(t, len(warnings), maxWarnings+1)
			require.LessOrEqual(t, len(r.Extra), maxExtra)
		})
	}
}

// TestManyWarnings: the hundred and first says that there were more.
func TestManyWarnings(t *testing.T) {
	_, warnings, err := ParseReport(strings.NewReader(tolerated(`["l"]`, `[`+strings.Repeat(`1,`, 500)+`1]`)), Limits{})
	require.NoError(t, err)
	require.Len(t, warnings, maxWarnings+1)
	require.Equal(t, WarnMore, warnings[maxWarnings].Code)
}

func TestDamagedGzip(t *testing.T) {
	whole := zip(t, []byte(tolerated()))
	r, warnings, err := ParseReport(bytes.NewReader(append(bytes.Clone(whole), "trailing"...)), Limits{})
	require.NoError(t, err)
	require.Equal(t, WarnAfterReport, warnings[0].Code)
	require.NotNil(t, r)
	for i := 2; i < len(whole); i++ {
		_, _, err := ParseReport(bytes.NewReader(whole[:i]), Limits{})
		require.ErrorIs(t, err, ErrReportSyntax, "cut at %d", i)
	}
	bad := bytes.Clone(whole)
	bad[len(bad)-5] ^= 1 // checksum
	_, _, err = ParseReport(bytes.NewReader(bad), Limits{})
	require.ErrorIs(t, err, ErrReportSyntax)
	require.ErrorIs(t, err, gzip.ErrChecksum)
}

func FuzzParseReport(f *testing.F) {
	files, err := filepath.Glob("testdata/reports/*.json")
	require.NoError(f, err)
	for _, name := range files {
		text, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(text)
	}
	f.Add([]byte(tolerated()))
	f.Add(zip(f, []byte(tolerated())))
	f.Fuzz(func(t *testing.T, text []byte) {
		limits := Limits{Compressed: 1 << 16, Decompressed: 1 << 18, Policies: 20, Details: 50}
		r, warnings, err := ParseReport(bytes.NewReader(text), limits)
		if err != nil {
			require.Nil(t, r)
			require.True(t, errors.Is(err, ErrReportSyntax) || errors.Is(err, ErrReportLimit), "%v", err)
			return
		}
		require.LessOrEqual(t, len(warnings), maxWarnings+1)
		require.LessOrEqual(t, len(r.Policies), 20)
		require.False(t, r.End.Before(r.Begin))
		_ = r.Sanitized()
		first, err := r.MarshalJSON()
		require.NoError(t, err)
		// What was read is written, and that is read as the same.
		again, more, err := ParseReport(bytes.NewReader(first), Limits{})
		require.NoError(t, err, "%s", first)
		for _, w := range more {
			require.Contains(t, []WarningCode{WarnType, WarnSummary}, w.Code, "%v", w)
		}
		second, err := again.MarshalJSON()
		require.NoError(t, err)
		require.Equal(t, string(first), string(second))
	})
}

func largeReport(policies, details int) *Report {
	r := exampleReport()
	base := r.Policies[0]
	r.Policies = nil
	for i := range policies {
		p := base
		p.Policy.Domain = fmt.Sprintf("d%d.example", i)
		p.Details = nil
		for j := range details {
			d := base.Details[j%3]
			d.Count = uint64(j)
			p.Details = append(p.Details, d)
		}
		r.Policies = append(r.Policies, p)
	}
	return r
}

func BenchmarkParseReport(b *testing.B) {
	text, err := largeReport(100, 3).MarshalJSON()
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := ParseReport(bytes.NewReader(text), Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGzip(b *testing.B) {
	r := largeReport(1000, 5)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Gzip(); err != nil {
			b.Fatal(err)
		}
	}
}
