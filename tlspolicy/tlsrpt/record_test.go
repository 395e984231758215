package tlsrpt

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseRecord(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat("mailto:a@b.example,", 12), ",")
	for _, tc := range []struct {
		why, text string
		targets   []Target
		warnings  []WarningCode
	}{
		{"RFC 8460 section 3.1.1", "v=TLSRPTv1;rua=mailto:reports@example.com", []Target{{"mailto:reports@example.com", "mailto", "reports@example.com", "example.com"}}, nil},
		{"RFC 8460 section 3.1.2", "v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt",
			[]Target{{"https://reporting.example.com/v1/tlsrpt", "https", "", "reporting.example.com"}}, nil},
		{"delimiter at the end", "v=TLSRPTv1; rua=mailto:a@b.example;", []Target{{"mailto:a@b.example", "mailto", "a@b.example", "b.example"}}, nil},
		{"blanks around delimiters", "v=TLSRPTv1 \t;\t rua=mailto:a@b.example ; ", []Target{{"mailto:a@b.example", "mailto", "a@b.example", "b.example"}}, nil},
		{"two targets", "v=TLSRPTv1;rua=mailto:a@b.example , https://c.example/d", []Target{
			{"mailto:a@b.example", "mailto", "a@b.example", "b.example"}, {"https://c.example/d", "https", "", "c.example"}}, nil},
		{"two rua fields add up", "v=TLSRPTv1;rua=mailto:a@b.example;rua=https://c.example/d", []Target{
			{"mailto:a@b.example", "mailto", "a@b.example", "b.example"}, {"https://c.example/d", "https", "", "c.example"}}, nil},
		{"extension", "v=TLSRPTv1;x=y;rua=mailto:a@b.example", []Target{{"mailto:a@b.example", "mailto", "a@b.example", "b.example"}}, nil},
		{"upper case", "v=TLSRPTv1;rua=MailTo:A@B.Example", []Target{{"MailTo:A@B.Example", "mailto", "A@b.example", "b.example"}}, nil},
		{"encoded", "v=TLSRPTv1;rua=mailto:a%21b%2Bc@b.example", []Target{{"mailto:a%21b%2Bc@b.example", "mailto", "a!b+c@b.example", "b.example"}}, nil},
		{"port and query", "v=TLSRPTv1;rua=https://c.example:8443/d?e=f%2Cg", []Target{{"https://c.example:8443/d?e=f%2Cg", "https", "", "c.example"}}, nil},
		{"address", "v=TLSRPTv1;rua=https://[2001:db8::1]:443/", []Target{{"https://[2001:db8::1]:443/", "https", "", "2001:db8::1"}}, nil},
		{"IPv4 address", "v=TLSRPTv1;rua=https://192.0.2.1", []Target{{"https://192.0.2.1", "https", "", "192.0.2.1"}}, nil},

		{"empty field", "v=TLSRPTv1;;rua=mailto:a@b.example", []Target{{"mailto:a@b.example", "mailto", "a@b.example", "b.example"}}, []WarningCode{WarnEmptyField}},
		{"blank at the end", "v=TLSRPTv1;rua=mailto:a@b.example ", []Target{{"mailto:a@b.example", "mailto", "a@b.example", "b.example"}}, []WarningCode{WarnTrailing}},
		{"bad field of another name", "v=TLSRPTv1;-=-;rua=mailto:a@b.example;nothing", []Target{{"mailto:a@b.example", "mailto", "a@b.example", "b.example"}}, []WarningCode{WarnField, WarnField}},
		{"version twice", "v=TLSRPTv1;v=TLSRPTv1;rua=mailto:a@b.example", []Target{{"mailto:a@b.example", "mailto", "a@b.example", "b.example"}}, []WarningCode{WarnField}},
		{"empty and bad members", "v=TLSRPTv1;rua=,mailto:a@b.example,nonsense", []Target{{"mailto:a@b.example", "mailto", "a@b.example", "b.example"}}, []WarningCode{WarnTarget, WarnTarget}},
		{"subject", "v=TLSRPTv1;rua=mailto:a@b.example?subject=x", []Target{{"mailto:a@b.example", "mailto", "a@b.example", "b.example"}}, []WarningCode{WarnMailHeader}},
		{"fragment", "v=TLSRPTv1;rua=https://c.example/d?e#f", []Target{{"https://c.example/d?e", "https", "", "c.example"}}, []WarningCode{WarnFragment}},
		{"exclamation mark", "v=TLSRPTv1;rua=https://c.example/d!e", []Target{{"https://c.example/d!e", "https", "", "c.example"}}, []WarningCode{WarnUnencoded}},
		{"other scheme", "v=TLSRPTv1;rua=http://c.example/d", []Target{{"http://c.example/d", "http", "", ""}}, []WarningCode{WarnScheme}},
		{"too many", "v=TLSRPTv1;rua=" + many, slicesRepeat(Target{"mailto:a@b.example", "mailto", "a@b.example", "b.example"}, 10), []WarningCode{WarnManyTargets, WarnManyTargets}},

		{"empty", "", nil, nil},
		{"other version", "v=TLSRPTv2;rua=mailto:a@b.example", nil, nil},
		{"version in lower case", "v=tlsrptv1;rua=mailto:a@b.example", nil, nil},
		{"longer version", "v=TLSRPTv11;rua=mailto:a@b.example", nil, nil},
		{"no delimiter", "v=TLSRPTv1 rua=mailto:a@b.example", nil, nil},
		{"no rua", "v=TLSRPTv1;", nil, nil},
		{"rua in upper case", "v=TLSRPTv1;RUA=mailto:a@b.example", nil, nil},
		{"empty rua", "v=TLSRPTv1;rua=", nil, nil},
		{"no address", "v=TLSRPTv1;rua=mailto:", nil, nil},
		{"two addresses, encoded", "v=TLSRPTv1;rua=mailto:a@b.example%2Cc@d.example", nil, nil},
		{"line end, encoded", "v=TLSRPTv1;rua=mailto:a%0D%0ABcc:x@b.example", nil, nil},
		{"line end in the domain", "v=TLSRPTv1;rua=mailto:a@b.example%0A", nil, nil},
		{"quoted local part", "v=TLSRPTv1;rua=mailto:%22a%20b%22@b.example", nil, nil},
		{"address literal", "v=TLSRPTv1;rua=mailto:a@[192.0.2.1]", nil, nil},
		{"dots", "v=TLSRPTv1;rua=mailto:a..b@b.example", nil, nil},
		{"long local part", "v=TLSRPTv1;rua=mailto:" + strings.Repeat("a", 65) + "@b.example", nil, nil},
		{"bad escape", "v=TLSRPTv1;rua=mailto:a%2@b.example", nil, nil},
		{"user information", "v=TLSRPTv1;rua=https://user:secret@c.example/", nil, nil},
		{"no host", "v=TLSRPTv1;rua=https:///d", nil, nil},
		{"opaque", "v=TLSRPTv1;rua=https:c.example", nil, nil},
		{"bad port", "v=TLSRPTv1;rua=https://c.example:65536/", nil, nil},
		{"bad escape in the path", "v=TLSRPTv1;rua=https://c.example/%zz", nil, nil},
		{"octet that is no ASCII", "v=TLSRPTv1;rua=https://c.example/\u00e9", nil, nil},
		{"NUL", "v=TLSRPTv1;rua=https://c.example/\x00", nil, nil},
	} {
		t.Run(tc.why, func(t *testing.T) {
			r, err := ParseRecord(tc.text)
			if tc.targets == nil {
				require.ErrorIs(t, err, ErrRecordSyntax)
				require.Empty(t, r)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.targets, r.Targets())
			var codes []WarningCode
			for _, w := range r.Warnings() {
				codes = append(codes, w.Code)
			}
			require.Equal(t, tc.warnings, codes)
		})
	}
}

func slicesRepeat[T any](v T, n int) []T {
	list := make([]T, n)
	for i := range list {
		list[i] = v
	}
	return list
}

func TestRecordErrorTells(t *testing.T) {
	_, err := ParseRecord("v=TLSRPTv1; x=y")
	require.EqualError(t, err, `malformed TLS reporting record: column 16: no rua field: ""`)
	var record *RecordError
	require.ErrorAs(t, err, &record)
	require.Equal(t, 15, record.Offset)
	_, err = ParseRecord("v=TLSRPTv1;rua=" + strings.Repeat("a", maxRecord))
	require.ErrorIs(t, err, ErrRecordSyntax)
	r, err := ParseRecord("v=TLSRPTv1; rua= nonsense, mailto:a@b.example")
	require.NoError(t, err)
	require.Equal(t, `column 18: target: "nonsense"`, r.Warnings()[0].String())
}

func TestRecordExtensions(t *testing.T) {
	r, err := ParseRecord("v=TLSRPTv1; a=1; b.c=2,3; a=4; rua=mailto:a@b.example; bad; d=e=f; z=!")
	require.NoError(t, err)
	var got []string
	for name, value := range r.Extensions() {
		got = append(got, name+":"+value)
	}
	require.Equal(t, []string{"a:1", "b.c:2,3", "z:!"}, got)
	for range r.Extensions() {
		break
	}
}

func TestNewRecord(t *testing.T) {
	r, err := NewRecord("mailto:tls!reports@example.com", "https://reports.example.com/a;b!c")
	require.NoError(t, err)
	require.Equal(t, "v=TLSRPTv1; rua=mailto:tls%21reports@example.com,https://reports.example.com/a%3Bb%21c;", r.String())
	for _, bad := range [][]string{nil, {"http://example.com/"}, {"mailto:x"}, make([]string, 11), {"mailto:a@b.example", ""}} {
		_, err := NewRecord(bad...)
		require.ErrorIs(t, err, ErrRecordSyntax, "%q", bad)
	}
	require.Empty(t, Record{}.String())
}

// answers is a resolver with one answer.
type answers struct {
	rrs  []string
	err  error
	name string
}

func (a *answers) LookupTXT(_ context.Context, name string) ([]string, error) {
	a.name = name
	return a.rrs, a.err
}

func TestLookup(t *testing.T) {
	good := "v=TLSRPTv1; rua=mailto:a@b.example"
	for _, tc := range []struct {
		why string
		dns answers
		err error
	}{
		{"one", answers{rrs: []string{good}}, nil},
		{"beside others", answers{rrs: []string{"v=spf1 -all", good, "v=TLSRPTv1"}}, nil},
		{"alone with a blank before the delimiter", answers{rrs: []string{"v=TLSRPTv1 ; rua=mailto:a@b.example"}}, nil},
		{"two", answers{rrs: []string{good, "v=TLSRPTv1;"}}, ErrMultipleRecords},
		{"none", answers{}, ErrNoRecord},
		{"others", answers{rrs: []string{"a", "b"}}, ErrNoRecord},
		{"another alone", answers{rrs: []string{"v=TLSRPTv2; rua=mailto:a@b.example"}}, ErrNoRecord},
		{"longer version alone", answers{rrs: []string{"v=TLSRPTv10; rua=mailto:a@b.example"}}, ErrNoRecord},
		{"malformed", answers{rrs: []string{"v=TLSRPTv1; rua=x"}}, ErrRecordSyntax},
		{"no such name", answers{err: &net.DNSError{IsNotFound: true}}, ErrNoRecord},
		{"server failure", answers{err: &net.DNSError{Err: "SERVFAIL", IsTemporary: true}}, ErrDNS},
		{"timeout", answers{err: &net.DNSError{IsTimeout: true}}, ErrDNS},
		{"not found by a server that is confused", answers{err: &net.DNSError{IsNotFound: true, IsTemporary: true}}, ErrDNS},
		{"another error", answers{err: errors.New("bogus")}, ErrDNS},
	} {
		t.Run(tc.why, func(t *testing.T) {
			r, err := Lookup(t.Context(), &tc.dns, "B\u00fccher.Example.")
			require.Equal(t, "_smtp._tls.xn--bcher-kva.example.", tc.dns.name)
			if tc.err != nil {
				require.ErrorIs(t, err, tc.err)
				require.ErrorContains(t, err, "xn--bcher-kva.example")
				return
			}
			require.NoError(t, err)
			require.Len(t, r.Targets(), 1)
		})
	}
	dns := new(answers)
	for _, bad := range []string{"", "192.0.2.1", "a b", "*.example"} {
		_, err := Lookup(t.Context(), dns, bad)
		require.Error(t, err, bad)
		require.NotErrorIs(t, err, ErrNoRecord, bad)
		require.NotErrorIs(t, err, ErrDNS, bad)
	}
	long := strings.Repeat("a234567890.", 22) + "example" // 249 octets: no room before it
	_, err := Lookup(t.Context(), dns, long)
	require.ErrorIs(t, err, ErrNoRecord)
	require.Empty(t, dns.name, "nothing was asked")
}

// FuzzParseRecord: what is read can be written and read again, targets are what
// net/url makes of them, and nothing in them can break a header line.
func FuzzParseRecord(f *testing.F) {
	for _, s := range []string{
		"v=TLSRPTv1;rua=mailto:reports@example.com", "v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt, mailto:a%21@b.example?x;; x=y ",
		"v=TLSRPTv1;rua=https://[::1%25eth0]:443/?#", "v=TLSRPTv1;rua=mailto:%0a@b.example,ftp:x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRecord(s)
		if err != nil {
			require.ErrorIs(t, err, ErrRecordSyntax)
			return
		}
		require.NotEmpty(t, r.Targets())
		usable := 0
		for _, target := range r.Targets() {
			if !target.Usable() {
				continue
			}
			usable++
			for _, text := range []string{target.Address, target.Host, target.Scheme, target.URI} {
				require.Equal(t, -1, strings.IndexFunc(text, func(c rune) bool { return c <= ' ' || c > '~' }), "%q", text)
			}
			u, err := url.Parse(target.URI)
			require.NoError(t, err)
			require.Equal(t, target.Scheme, u.Scheme)
			if target.Scheme == "https" {
				require.NotEmpty(t, u.Host)
				require.Nil(t, u.User)
				require.Empty(t, u.Fragment)
			} else {
				require.Equal(t, 1, strings.Count(target.Address[strings.LastIndex(target.Address, "@"):], "@"))
				require.NotContains(t, target.Address, ",")
			}
		}
		require.LessOrEqual(t, usable, MaxTargets)
		again, err := ParseRecord(r.String())
		require.NoError(t, err, r.String())
		require.Equal(t, r.Targets(), again.Targets())
		require.Equal(t, r.String(), again.String())
	})
}

func TestParseRecordAllocations(t *testing.T) {
	for _, s := range []string{"v=TLSRPTv1; rua=mailto:reports@example.com", "v=TLSRPTv1; rua=https://reports.example.com/v1/tlsrpt;"} {
		require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
			if _, err := ParseRecord(s); err != nil {
				t.Fatal(err)
			}
		}), 1.0, s)
	}
}

func BenchmarkParseRecord(b *testing.B) {
	for b.Loop() {
		if _, err := ParseRecord("v=TLSRPTv1; rua=mailto:reports@example.com"); err != nil {
			b.Fatal(err)
		}
	}
}

// TestLocalAddress: a record does not send mail to a host that only we know by name.
func TestLocalAddress(t *testing.T) {
	for _, uri := range []string{"mailto:root@localhost", "mailto:root@mail", "mailto:a@127.0.0.1"} {
		_, _, problem := parseTarget(uri)
		require.NotEmpty(t, problem, uri)
	}
}
