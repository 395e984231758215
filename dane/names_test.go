package dane

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/smtpsec/smtpsec/internal/hostname"
	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

func TestNewRefIDs(t *testing.T) {
	ids := refIDs(t, "MX.Bücher.Example.", "example.com", "EXAMPLE.com.", "mx_1.example.com")
	require.Equal(t, "mx.xn--bcher-kva.example", ids.Base())
	require.Equal(t, []string{"mx.xn--bcher-kva.example", "example.com", "mx_1.example.com"}, ids.Names())
	require.False(t, ids.Empty())
	ids.Names()[0] = "changed.example"
	require.Equal(t, "mx.xn--bcher-kva.example", ids.Base())

	require.True(t, RefIDs{}.Empty())
	require.Empty(t, RefIDs{}.Base())

	for _, bad := range []string{
		"", ".", "..", ".example.com", "a..example.com", "*.example.com", "*", "m*.example.com", "192.0.2.1", "192.0.2.1.",
		"[192.0.2.1]", "[IPv6:2001:db8::1]", "2001:db8::1", "１９２.0.2.1", "a b.example", "a\x00.example", "a.*.example",
		strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 127) + "a", "a\u0378.example",
	} {
		for _, make := range []func() (RefIDs, error){
			func() (RefIDs, error) { return NewRefIDs(bad) },
			func() (RefIDs, error) { return NewRefIDs("mx.example.com", bad) },
		} {
			ids, err := make()
			require.ErrorIs(t, err, ErrReferenceID, "%q", bad)
			require.True(t, ids.Empty(), "half a set is none")
			var problem *hostname.Error
			require.ErrorAs(t, err, &problem)
			var temporary interface{ Temporary() bool }
			require.ErrorAs(t, err, &temporary)
			require.False(t, temporary.Temporary())
		}
	}
}

func TestReferenceNames(t *testing.T) {
	root := testpki.NewRoot("Root")
	sans := func(names ...string) testpki.Mod {
		return testpki.Template(func(c *x509.Certificate) { c.DNSNames = names })
	}
	cns := func(names ...string) testpki.Mod {
		return testpki.Template(func(c *x509.Certificate) {
			c.Subject = pkix.Name{}
			for _, cn := range names {
				c.Subject.ExtraNames = append(c.Subject.ExtraNames, pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: cn})
			}
		})
	}
	others := testpki.Template(func(c *x509.Certificate) {
		c.DNSNames = nil
		c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)}
		c.EmailAddresses = []string{testHost}
		c.URIs = []*url.URL{{Scheme: "https", Host: testHost}}
	})
	for _, tc := range []struct {
		why   string
		mods  []testpki.Mod
		names []string // reference identifiers
		want  string   // "" = ReasonName
		cn    bool     // only by the common name
	}{
		{"dNSName", []testpki.Mod{sans(testHost)}, []string{testHost}, testHost, false},
		{"letter case", []testpki.Mod{sans("MX.Example.COM")}, []string{testHost}, testHost, false},
		{"second dNSName", []testpki.Mod{sans("a.example", testHost)}, []string{testHost}, testHost, false},
		{"second reference identifier", []testpki.Mod{sans("example.com")}, []string{testHost, "example.com"}, "example.com", false},
		{"the first identifier that matches", []testpki.Mod{sans("example.com", testHost)}, []string{testHost, "example.com"}, testHost, false},
		{"wildcard", []testpki.Mod{sans("*.example.com")}, []string{testHost}, testHost, false},
		{"wildcard covers one label", []testpki.Mod{sans("*.example.com")}, []string{"a.mx.example.com"}, "", false},
		{"wildcard covers not the domain", []testpki.Mod{sans("*.example.com")}, []string{"example.com"}, "", false},
		{"wildcard needs two labels", []testpki.Mod{sans("*.com")}, []string{"example.com"}, "", false},
		{"partial wildcard", []testpki.Mod{sans("m*.example.com")}, []string{testHost}, "", false},
		{"inner wildcard", []testpki.Mod{sans("mx.*.com")}, []string{testHost}, "", false},
		{"another name", []testpki.Mod{sans("mx.example.org")}, []string{testHost}, "", false},
		{"parent domain", []testpki.Mod{sans("example.com")}, []string{testHost}, "", false},
		{"leading dot", []testpki.Mod{sans(".example.com")}, []string{testHost}, "", false},
		{"final dot", []testpki.Mod{sans("mx.example.com.")}, []string{testHost}, "", false},
		{"NUL", []testpki.Mod{sans("mx.example.com\x00.evil.example")}, []string{testHost}, "", false},
		{"blank", []testpki.Mod{sans(" mx.example.com")}, []string{testHost}, "", false},
		{"underscores", []testpki.Mod{sans("mx_1.example.com")}, []string{"mx_1.example.com"}, "mx_1.example.com", false},
		{"other kinds of names", []testpki.Mod{testpki.CommonName(""), others}, []string{testHost}, "", false},
		{"common name", []testpki.Mod{sans(), cns(testHost)}, []string{testHost}, testHost, true},
		{"common name beside other kinds of names", []testpki.Mod{others, cns(testHost)}, []string{testHost}, testHost, true},
		{"wildcard common name", []testpki.Mod{sans(), cns("*.example.com")}, []string{testHost}, testHost, true},
		{"second common name", []testpki.Mod{sans(), cns("Mail Server", testHost)}, []string{testHost}, testHost, true},
		{"common name that is no host name", []testpki.Mod{sans(), cns("the host mx.example.com")}, []string{testHost}, "", false},
		{"a dNSName rules the common name out", []testpki.Mod{sans("other.example"), cns(testHost)}, []string{testHost}, "", false},
		{"a malformed dNSName too", []testpki.Mod{sans("bad name"), cns(testHost)}, []string{testHost}, "", false},
		{"no name at all", []testpki.Mod{sans(), testpki.CommonName("")}, []string{testHost}, "", false},
	} {
		leaf := root.Leaf(nil, tc.mods...)
		chain := leaf.ChainWithRoot()
		ids := refIDs(t, tc.names[0], tc.names[1:]...)
		for _, o := range []Options{{}, {NoCommonName: true}, {Profile: ProfileGeneric, Roots: testpki.Pool(root)}} {
			want := tc.want
			if tc.cn && !o.commonName() {
				want = ""
			}
			records := []Record{ta211(t, root.Cert)}
			if o.Profile == ProfileGeneric {
				records = append(records, record(t, 1, 1, 1, leaf.Cert), record(t, 0, 1, 1, root.Cert))
			}
			r := judgeNames(t, o, records, chain, ids, now)
			require.Equal(t, want, r.Name, tc.why)
			if want == "" {
				mismatched(t, r, ReasonName, tc.why)
			}
		}
		matched(t, judgeNames(t, Options{}, []Record{ee311(t, leaf.Cert)}, chain, ids, now), 0, 0, "usage 3 knows no names")
	}
}

// An empty set of names is an error and never "no check".
func TestNoReferenceNames(t *testing.T) {
	root := testpki.NewRoot("Root")
	leaf := newLeaf(root)
	chain := leaf.ChainWithRoot()
	for _, r := range []Record{ta211(t, root.Cert), record(t, 2, 1, 0, root.Cert), record(t, 0, 1, 1, root.Cert), record(t, 1, 1, 1, leaf.Cert)} {
		o := Options{Profile: ProfileGeneric, Roots: testpki.Pool(root)}
		mismatched(t, judgeNames(t, o, []Record{r}, chain, RefIDs{}, now), ReasonNoReferenceID, r.String())
		matched(t, judgeNames(t, o, []Record{r, ee311(t, leaf.Cert)}, chain, RefIDs{}, now), 1, 0, "usage 3 is not affected")
	}
}

// crypto/x509 does not apply name constraints to common names (RFC 7672 section
// 3.2.3 asks for the common name only where nothing better is there).
func TestCommonNameAndConstraints(t *testing.T) {
	constrained := testpki.Template(func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"example.com"} })
	free := testpki.NewRoot("Root")
	leafWithout := func(a *testpki.Authority) *testpki.Leaf { return a.Leaf(nil, testpki.CommonName(testHost)) }
	root := testpki.NewRoot("Root", constrained)
	mismatched(t, judge(t, Options{}, []Record{ta211(t, root.Cert)}, leafWithout(root).ChainWithRoot()), ReasonName, "constraints in the anchor")
	inter := free.Intermediate("Intermediate", constrained)
	mismatched(t, judge(t, Options{}, []Record{ta211(t, free.Cert)}, leafWithout(inter).ChainWithRoot()), ReasonName, "constraints on the way")
	mismatched(t, judge(t, Options{}, []Record{record(t, 2, 1, 0, free.Cert)}, leafWithout(inter).Chain()), ReasonName, "below a bare key")
	matched(t, judge(t, Options{}, []Record{ta211(t, inter.Cert)}, newLeaf(inter).Chain()), 0, 1, "a dNSName is constrained properly")

	// Of two ways the one without constraints is taken, although it is longer.
	twin := reissued(t, "Intermediate", inter.Key.Public(), free)
	leaf := leafWithout(inter)
	records := []Record{record(t, 2, 0, 1, inter.Cert), ta211(t, free.Cert)}
	for _, chain := range [][]*x509.Certificate{
		serial(leaf.Cert, inter.Cert, twin, free.Cert), serial(leaf.Cert, free.Cert, twin, inter.Cert),
	} {
		matched(t, judge(t, Options{}, records, chain), 1, 2, "the order sent means nothing")
	}
	mismatched(t, judge(t, Options{NoCommonName: true}, records, serial(leaf.Cert, inter.Cert, twin, free.Cert)), ReasonName, "switched off")
}

func FuzzRefIDs(f *testing.F) {
	for _, s := range []string{"mx.example.com", "MX.EXAMPLE.COM.", "*.example.com", "", "192.0.2.1", "bücher.example", "a..b", "[::1]", "。"} {
		f.Add(s, "example.com")
	}
	f.Fuzz(func(t *testing.T, base, more string) {
		ids, err := NewRefIDs(base, more)
		if err != nil {
			require.ErrorIs(t, err, ErrReferenceID)
			require.True(t, ids.Empty())
			return
		}
		again, err := NewRefIDs(ids.names[0], ids.names[1:]...)
		require.NoError(t, err)
		require.Equal(t, ids, again, "normal form is stable")
		for _, name := range ids.names {
			require.NotContains(t, name, "*")
			require.Nil(t, net.ParseIP(name))
			require.LessOrEqual(t, len(name), hostname.MaxName)
			_, err := OwnerName(25, "tcp", name)
			require.Equal(t, len(name) <= hostname.MaxName-len("_25._tcp."), err == nil)
		}
	})
}

// What is accepted by dNSName, x509.VerifyHostname accepts too.
func FuzzNameMatch(f *testing.F) {
	for _, s := range [][2]string{{"*.example.com", "mx.example.com"}, {"MX.example.com", "mx.example.com"}, {"*.com", "example.com"}, {"mx_.a.b", "mx_.a.b"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, presented, reference string) {
		ids, err := NewRefIDs(reference)
		if err != nil {
			return
		}
		leaf := &x509.Certificate{
			DNSNames:   []string{presented},
			Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}}},
		}
		if name := matchName(leaf, ids, true); name != "" {
			require.Equal(t, ids.Base(), name)
			require.NoError(t, leaf.VerifyHostname(name))
		}
	})
}
