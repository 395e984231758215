package hostname

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, tc := range []struct{ why, in, want string }{
		{"canonical already", "mx1.example.com", "mx1.example.com"},
		{"letter case", "MX1.Example.COM", "mx1.example.com"},
		{"one final dot", "mx1.example.com.", "mx1.example.com"},
		{"one label", "localhost", "localhost"},
		{"underscore in an ASCII name", "_25._tcp.mx_1.example.com", "_25._tcp.mx_1.example.com"},
		{"U-labels", "bücher.example", "xn--bcher-kva.example"},
		{"non-transitional: sharp s stays", "faß.example", "xn--fa-hia.example"},
		{"ideographic full stop is a dot to IDNA", "bücher。example", "xn--bcher-kva.example"},
		{"A-labels are not decoded", "xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"label of 63", long + ".example", long + ".example"},
		{"name of 253", strings.Repeat("a.", 126) + "a", strings.Repeat("a.", 126) + "a"},
		{"last label of digits that is no address", "1.2.3", "1.2.3"},
		{"hyphen first", "-a.example", "-a.example"},
	} {
		got, err := Parse(tc.in)
		require.NoError(t, err, tc.why)
		require.Equal(t, tc.want, got, tc.why)
	}
	for _, tc := range []struct{ why, in, problem string }{
		{"nothing", "", "empty"},
		{"root", ".", "empty"},
		{"two final dots", "example.com..", "empty label"},
		{"leading dot", ".example.com", "empty label"},
		{"inner empty label", "a..b", "empty label"},
		{"label of 64", long + "a.example", "label longer"},
		{"name of 254", strings.Repeat("a.", 126) + "aa", "longer than 253"},
		{"endless input", strings.Repeat("ü", 4096), "longer than 253"},
		{"wildcard", "*.example.com", "wildcard"},
		{"blank", "a b.example", "not allowed"},
		{"NUL", "a\x00.example", "not allowed"},
		{"slash", "a/b.example", "not allowed"},
		{"IPv4", "192.0.2.1", "IP address"},
		{"IPv4 with a final dot", "192.0.2.1.", "IP address"},
		{"IPv4 in full-width digits", "１９２.0.2.1", "IP address"},
		{"IPv4 literal", "[192.0.2.1]", "IP address"},
		{"IPv6", "2001:db8::1", "IP address"},
		{"IPv6 literal", "[IPv6:2001:db8::1]", "IP address"},
		{"invalid U-label", "a\u0378.example", "internationalized"},
		{"not UTF-8", "a\xff.example", "UTF-8"},
	} {
		_, err := Parse(tc.in)
		var e *Error
		require.ErrorAs(t, err, &e, tc.why)
		require.Contains(t, e.Problem, tc.problem, tc.why)
		require.Equal(t, tc.in, e.Name, tc.why)
		require.Less(t, len(err.Error()), 2000, tc.why)
	}
}

func TestLiteral(t *testing.T) {
	for _, s := range []string{"192.0.2.1", "[192.0.2.1]", "2001:db8::1", "[IPv6:2001:db8::1]", "[ipv6:2001:db8::1]", "[2001:db8::1]", "fe80::1%eth0"} {
		require.True(t, IsLiteral(s), s)
	}
	for _, s := range []string{"", "[]", "[", "a.example", "1.2.3", "12", "1.2.3.4.5", "[IPv6:]", "192.0.2.256"} {
		require.False(t, IsLiteral(s), s)
	}
}

func TestCheckFQDN(t *testing.T) {
	for _, ok := range []string{"mx.example.com", "example.com", "*.example.com", "a-b.example", "xn--bcher-kva.example", "1.example", "MX.EXAMPLE.COM"} {
		require.NoError(t, CheckFQDN(ok))
	}
	for _, tc := range []struct{ in, problem string }{
		{"", "empty"}, {"example.com.", "dot"}, {"localhost", "one label"}, {"bücher.example", "xn--"},
		{"a_b.example", "letter, digit"}, {"-a.example", "hyphen"}, {"a-.example", "hyphen"}, {"192.0.2.1", "digits"},
		{"2001:db8::1.example", "letter, digit"}, {"*.com", "wildcard"}, {"a*.example.com", "letter, digit"}, {"*", "letter, digit"},
		{"a.*.example.com", "letter, digit"}, {"a..b", "empty label"}, {strings.Repeat("a", 64) + ".example", "longer"},
		{strings.Repeat("a.", 126) + "aa", "longer"},
	} {
		err := CheckFQDN(tc.in)
		require.Error(t, err, tc.in)
		require.Contains(t, err.Error(), tc.problem, tc.in)
	}
}

func TestAllocs(t *testing.T) {
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if _, err := Parse("mx1.example.com"); err != nil {
			t.Error(err)
		}
		if err := CheckFQDN("mx1.example.com"); err != nil {
			t.Error(err)
		}
	}))
}

// FuzzParse: what Parse accepts is canonical, and canonical names pass unchanged.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"mx1.example.com.", "BÜCHER.example", "*.a", "[::1]", "１.２.３.４", "_a.b", "xn--a", "a。b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := Parse(s)
		if err != nil {
			require.Empty(t, got)
			return
		}
		again, err := Parse(got)
		require.NoError(t, err)
		require.Equal(t, got, again)
		require.LessOrEqual(t, len(got), MaxName)
		require.Equal(t, strings.ToLower(got), got)
		require.False(t, IsLiteral(got))
		for label := range strings.SplitSeq(got, ".") {
			require.NotEmpty(t, label)
			require.LessOrEqual(t, len(label), MaxLabel)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = Parse("mx1.mail.example.com")
	}
}
