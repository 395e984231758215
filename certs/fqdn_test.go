package certs

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"regexp"
	"strings"
	"testing"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

func TestCheckFQDN(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	name253 := strings.Repeat("a.", 126) + "a"
	for _, tc := range []struct {
		why, name string
		rule      int // 0: passes
	}{
		{"plain", "mx.example.com", 0},
		{"two labels", "example.com", 0},
		{"letter case", "MX.Example.COM", 0},
		{"A-label", "xn--bcher-kva.example", 0},
		{"digits in front", "1.2.3.example", 0},
		{"last label with a digit", "example.c0m", 0},
		{"label of 63", label63 + ".example", 0},
		{"253 octets", name253, 0},
		{"wildcard", "*.example.com", 0},
		{"hyphen inside", "a-b.example", 0},
		{"nothing", "", 1},
		{"254 octets", name253 + "a", 1},
		{"final dot", "example.com.", 1},
		{"dot alone", ".", 1},
		{"U-label", "bücher.example", 1},
		{"one label", "localhost", 2},
		{"one label of digits", "123", 2},
		{"empty label", "a..example", 2},
		{"leading dot", ".example.com", 2},
		{"label of 64", label63 + "a.example", 2},
		{"underscore", "_dmarc.example.com", 2},
		{"blank", "a b.example", 2},
		{"hyphen first", "-a.example", 2},
		{"hyphen last", "a-.example", 2},
		{"hyphen last in the last label", "a.example-", 2},
		{"IPv6", "2001:db8::1", 2},
		{"IPv6 with an IPv4 end", "::ffff:192.0.2.1", 2},
		{"IPv4", "192.0.2.1", 3},
		{"last label of digits", "example.1", 3},
		{"wildcard before digits", "*.example.1", 3},
		{"wildcard of a top level", "*.com", 4},
		{"star alone", "*", 4},
		{"star and dot", "*.", 1},
		{"star within the label", "a*.example.com", 4},
		{"star in the second label", "a.*.example.com", 4},
		{"two stars", "*.*.example.com", 4},
		{"two stars in one label", "**.example.com", 4},
	} {
		err := CheckFQDN(tc.name)
		if tc.rule == 0 {
			require.NoError(t, err, tc.why)
			continue
		}
		var failed *FQDNError
		require.ErrorAs(t, err, &failed, tc.why)
		require.Len(t, failed.Names, 1, tc.why)
		require.Equal(t, tc.rule, failed.Names[0].Rule, tc.why)
		require.Equal(t, tc.name, failed.Names[0].Name, tc.why)
		require.Error(t, failed.Names[0].Err, tc.why)
	}
}

func TestCheckCertificateFQDN(t *testing.T) {
	twoCNs := testpki.Template(func(c *x509.Certificate) {
		cn := asn1.ObjectIdentifier{2, 5, 4, 3}
		c.Subject = pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: cn, Value: "localhost"}, {Type: cn, Value: "ok.example"}}}
	})
	for _, tc := range []struct {
		why    string
		cert   *x509.Certificate
		passes bool
		want   []string // field and name of each failure
	}{
		{"CN and SAN", testpki.SelfSigned([]string{"mx.example.com", "*.example.com"}).Cert, true, nil},
		{"CN only", testpki.SelfSigned(nil, testpki.CommonName("mx.example.com")).Cert, true, nil},
		{"SAN only", testpki.SelfSigned([]string{"mx.example.com"}, testpki.CommonName("")).Cert, true, nil},
		{"no name at all", testpki.SelfSigned(nil).Cert, false, nil},
		{"CN is a title", testpki.SelfSigned([]string{"mx.example.com"}, testpki.CommonName("Mail Server")).Cert, false, []string{"CN Mail Server"}},
		{"every one is listed", testpki.SelfSigned([]string{"a_b.example", "good.example", "*.com"}, testpki.CommonName("localhost")).Cert, false,
			[]string{"CN localhost", "dNSName a_b.example", "dNSName *.com"}},
		{"a common name in front of the last one counts, too", testpki.SelfSigned([]string{"mx.example.com"}, twoCNs).Cert, false, []string{"CN localhost"}},
	} {
		err := CheckCertificateFQDN(tc.cert)
		if tc.passes {
			require.NoError(t, err, tc.why)
			continue
		}
		var failed *FQDNError
		require.ErrorAs(t, err, &failed, tc.why)
		var got []string
		for _, f := range failed.Names {
			got = append(got, f.Field+" "+f.Name)
			require.Contains(t, err.Error(), f.Name)
		}
		require.Equal(t, tc.want, got, tc.why)
	}
}

// The rules once more, as one expression and two conditions.
var fqdnOracle = regexp.MustCompile(`^(\*\.)?([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

func FuzzCheckFQDN(f *testing.F) {
	for _, name := range []string{"mx.example.com", "*.example.com", "*.com", "192.0.2.1", "a_b.example", "a-.b", "", ".", "bücher.example", strings.Repeat("a.", 127)} {
		f.Add(name)
	}
	digits := regexp.MustCompile(`\.[0-9]+$`)
	f.Fuzz(func(t *testing.T, name string) {
		want := fqdnOracle.MatchString(name) && !digits.MatchString(name) && len(name) <= 253
		err := CheckFQDN(name)
		require.Equal(t, want, err == nil, "%q: %v", name, err)
		if err != nil {
			failed, ok := err.(*FQDNError)
			require.True(t, ok)
			rule := failed.Names[0].Rule
			require.True(t, 1 <= rule && rule <= 4)
		}
	})
}

func BenchmarkCheckFQDN(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if CheckFQDN("mail-relay-17.mx.example.com") != nil {
			b.Fatal("refused")
		}
	}
}
