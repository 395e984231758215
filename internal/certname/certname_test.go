package certname

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"

	"github.com/smtpsec/smtpsec/internal/hostname"
	"github.com/stretchr/testify/require"
)

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		why, presented, reference string
		match, equal              bool
	}{
		{"same", "mx.example.com", "mx.example.com", true, true},
		{"letter case", "MX.Example.com", "mx.example.com", true, true},
		{"other name", "mx.example.org", "mx.example.com", false, false},
		{"parent", "example.com", "mx.example.com", false, false},
		{"wildcard, one label", "*.example.com", "mx.example.com", true, false},
		{"wildcard, letter case", "*.EXAMPLE.com", "mx.example.com", true, false},
		{"wildcard does not cover two labels", "*.example.com", "a.mx.example.com", false, false},
		{"wildcard does not cover the parent", "*.example.com", "example.com", false, false},
		{"wildcard below a top-level domain", "*.com", "example.com", false, false},
		{"wildcard alone", "*", "com", false, false},
		{"partial wildcard", "m*.example.com", "mx.example.com", false, false},
		{"inner wildcard", "a.*.example.com", "a.b.example.com", false, false},
		{"two wildcards", "*.*.example.com", "a.b.example.com", false, false},
		{"wildcard and underscore", "*.example.com", "mx_1.example.com", true, false},
		{"wildcard and leading hyphen", "*.example.com", "-mx.example.com", false, false},
		{"exact with leading hyphen", "-mx.example.com", "-mx.example.com", true, true},
		{"empty presented", "", "", false, false},
		{"empty reference", "mx.example.com", "", false, false},
		{"final dot", "mx.example.com.", "mx.example.com", false, false},
		{"leading dot", ".example.com", "mx.example.com", false, false},
		{"empty label", "mx..example.com", "mx..example.com", false, false},
		{"NUL", "mx.example.com\x00.evil.example", "mx.example.com", false, false},
		{"blank", "mx.example.com ", "mx.example.com", false, false},
		{"not ASCII", "mx.exampl\u212a.com", "mx.examplk.com", false, false},
		{"IPv4 text", "192.0.2.1", "192.0.2.1", false, false},
		{"IPv6 text", "2001:db8::1", "2001:db8::1", false, false},
		{"wildcard over an address", "*.0.2.1", "192.0.2.1", true, false}, // no reference is an address: hostname.Parse
		{"digits that are no address", "1.2.3", "1.2.3", true, true},
	} {
		require.Equal(t, tc.match, Match(tc.presented, tc.reference), "%s: match", tc.why)
		require.Equal(t, tc.equal, Equal(tc.presented, tc.reference), "%s: equal", tc.why)
	}
}

func TestCommonName(t *testing.T) {
	cn := asn1.ObjectIdentifier{2, 5, 4, 3}
	cert := &x509.Certificate{Subject: pkix.Name{Names: []pkix.AttributeTypeAndValue{
		{Type: asn1.ObjectIdentifier{2, 5, 4, 10}, Value: "third.example"},
		{Type: cn, Value: 7},
		{Type: cn, Value: "first.example"},
		{Type: cn, Value: "*.second.example"},
	}}}
	for _, tc := range []struct {
		why, reference, want string
	}{
		{"first attribute", "first.example", "first.example"},
		{"second attribute, wildcard", "mx.second.example", "*.second.example"},
		{"an organization is no common name", "third.example", ""},
	} {
		got, ok := CommonName(cert, tc.reference, Match)
		require.Equal(t, tc.want, got, tc.why)
		require.Equal(t, tc.want != "", ok, tc.why)
	}
	_, ok := CommonName(cert, "mx.second.example", Equal)
	require.False(t, ok, "Equal knows no wildcard")
}

// FuzzMatch: what we match, VerifyHostname matches too, for every reference
// that hostname.Parse lets through; and Equal implies Match.
func FuzzMatch(f *testing.F) {
	for _, s := range [][2]string{{"*.example.com", "mx.example.com"}, {"a.b", "A.b"}, {"*.0.2.1", "1.0.2.1"}, {"mx_.a.b", "mx_.a.b"}, {"*.-a.b", "x.-a.b"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, presented, reference string) {
		reference, err := hostname.Parse(reference)
		if err != nil {
			return
		}
		match := Match(presented, reference)
		if Equal(presented, reference) {
			require.True(t, match)
		}
		if !match {
			return
		}
		cert := &x509.Certificate{DNSNames: []string{presented}, Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}}}}
		require.NoError(t, cert.VerifyHostname(reference), "presented %q reference %q", presented, reference)
	})
}

func TestAllocs(t *testing.T) {
	cert := &x509.Certificate{Subject: pkix.Name{Names: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "mx.example.com"}}}}
	matches := 0
	count := func(ok bool) {
		if ok {
			matches++
		}
	}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		count(Match("*.example.com", "mx.example.com"))
		count(Match("10.0.0.example1", "mx.example.com"))
		count(Equal("mx.example.com", "mx.example.com"))
		count(HasNameConstraints(cert))
		_, ok := CommonName(cert, "mx.example.com", Match)
		count(ok)
	}))
	require.Equal(t, 3*101, matches) // AllocsPerRun warms up with one run
}

func BenchmarkMatch(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if !Match("*.mail.example.com", "mx1.mail.example.com") {
			b.Fatal("no match")
		}
	}
}
