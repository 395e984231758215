package tlspolicy

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/certname"
	"github.com/smtpsec/smtpsec/internal/testpki"
)

var oidCN = asn1.ObjectIdentifier{2, 5, 4, 3}

// named is a leaf with exactly these dNSNames and common names.
func named(san, cns []string) certificate {
	leaf := &x509.Certificate{DNSNames: san}
	for _, cn := range cns {
		leaf.Subject.Names = append(leaf.Subject.Names, pkix.AttributeTypeAndValue{Type: oidCN, Value: cn})
	}
	return certificate{leaf: leaf, cn: true}
}

func references(t testing.TB, names PeerNames) *References {
	t.Helper()
	refs, err := NewReferences(names)
	require.NoError(t, err)
	return refs
}

type names = []string

// The delivery that most tests are about: D = example.com, H = mx.example.net.
var toMX = PeerNames{Domain: "example.com", MXHost: "mx.example.net",
	PTR: []PTRName{{"host.isp.example", false}, {"secure.isp.example", true}}}

func TestVerifyIdentity(t *testing.T) {
	secureMX := toMX
	secureMX.MXSecure = true
	for _, tc := range []struct {
		why   string
		san   names
		cn    names
		names PeerNames
		rule  modeRule
		want  Identity // zero: no match
	}{
		{why: "SAN for the domain", san: names{"x.example", "example.com"}, names: toMX,
			want: Identity{true, ReferenceRecipientDomain, "example.com", NameSourceSAN, "example.com", true}},
		{why: "SAN in capitals", san: names{"EXAMPLE.Com"}, names: toMX,
			want: Identity{true, ReferenceRecipientDomain, "example.com", NameSourceSAN, "EXAMPLE.Com", true}},
		{why: "SAN is never compared with the MX host", san: names{"mx.example.net"}, names: toMX},
		{why: "nor with the PTR name", san: names{"host.isp.example"}, names: toMX, rule: modeRule{ptr: true}},
		{why: "wildcard SAN", san: names{"*.example.com"}, names: PeerNames{Domain: "sub.example.com"},
			want: Identity{true, ReferenceRecipientDomain, "sub.example.com", NameSourceSAN, "*.example.com", true}},
		{why: "wildcard does not cover the bare parent", san: names{"*.example.com"}, names: toMX},
		{why: "nor two levels", san: names{"*.example.com"}, names: PeerNames{Domain: "a.b.example.com"}},
		{why: "nor a whole top-level domain", san: names{"*.com"}, names: toMX},
		{why: "nor does a part of a label count", san: names{"e*.com", "s*.example.com"}, names: PeerNames{Domain: "sub.example.com"}},
		{why: "SAN with final dot is malformed", san: names{"example.com."}, names: toMX},
		{why: "reference with final dot is the same name", san: names{"example.com"}, names: PeerNames{Domain: "example.com."},
			want: Identity{true, ReferenceRecipientDomain, "example.com", NameSourceSAN, "example.com", true}},
		{why: "IDN", san: names{"xn--bcher-kva.example"}, names: PeerNames{Domain: "bücher.example"},
			want: Identity{true, ReferenceRecipientDomain, "xn--bcher-kva.example", NameSourceSAN, "xn--bcher-kva.example", true}},
		{why: "U-labels in a certificate match nothing", san: names{"bücher.example"}, cn: names{"bücher.example"}, names: PeerNames{Domain: "bücher.example"}},
		{why: "CN for the domain", cn: names{"example.com"}, names: toMX,
			want: Identity{true, ReferenceRecipientDomain, "example.com", NameSourceCN, "example.com", true}},
		{why: "CN for the domain although a SAN disagrees", san: names{"other.example"}, cn: names{"example.com"}, names: toMX,
			want: Identity{true, ReferenceRecipientDomain, "example.com", NameSourceCN, "example.com", true}},
		{why: "SAN for the domain although the CN disagrees", san: names{"example.com"}, cn: names{"other.example"}, names: toMX,
			want: Identity{true, ReferenceRecipientDomain, "example.com", NameSourceSAN, "example.com", true}},
		{why: "CN for the MX host", cn: names{"MX.example.net"}, names: toMX,
			want: Identity{true, ReferenceMXHost, "mx.example.net", NameSourceCN, "MX.example.net", false}},
		{why: "CN for the MX host, proven", cn: names{"mx.example.net"}, names: secureMX,
			want: Identity{true, ReferenceMXHost, "mx.example.net", NameSourceCN, "mx.example.net", true}},
		{why: "second of several CNs", cn: names{"First", "mx.example.net", "example.org"}, names: toMX,
			want: Identity{true, ReferenceMXHost, "mx.example.net", NameSourceCN, "mx.example.net", false}},
		{why: "the domain is tried on all CNs before the MX host", cn: names{"mx.example.net", "example.com"}, names: toMX,
			want: Identity{true, ReferenceRecipientDomain, "example.com", NameSourceCN, "example.com", true}},
		{why: "wildcard CN does not count here", cn: names{"*.example.net", "*.com"}, names: toMX},
		{why: "malformed SAN leaves a good CN alone", san: names{"example..com"}, cn: names{"example.com"}, names: toMX,
			want: Identity{true, ReferenceRecipientDomain, "example.com", NameSourceCN, "example.com", true}},
		{why: "SecureMXOnly drops the forgeable MX name", cn: names{"mx.example.net"}, names: toMX, rule: modeRule{secureOnly: true}},
		{why: "SecureMXOnly keeps the proven one", cn: names{"mx.example.net"}, names: secureMX, rule: modeRule{secureOnly: true},
			want: Identity{true, ReferenceMXHost, "mx.example.net", NameSourceCN, "mx.example.net", true}},
		{why: "SecureMXOnly leaves the domain alone", san: names{"example.com"}, names: toMX, rule: modeRule{secureOnly: true},
			want: Identity{true, ReferenceRecipientDomain, "example.com", NameSourceSAN, "example.com", true}},
		{why: "PTR off", cn: names{"host.isp.example"}, names: toMX},
		{why: "PTR on", cn: names{"host.isp.example"}, names: toMX, rule: modeRule{ptr: true},
			want: Identity{true, ReferencePTR, "host.isp.example", NameSourceCN, "host.isp.example", false}},
		{why: "PTR on, SecureMXOnly, unproven", cn: names{"host.isp.example"}, names: toMX, rule: modeRule{ptr: true, secureOnly: true}},
		{why: "PTR on, SecureMXOnly, proven", cn: names{"secure.isp.example"}, names: toMX, rule: modeRule{ptr: true, secureOnly: true},
			want: Identity{true, ReferencePTR, "secure.isp.example", NameSourceCN, "secure.isp.example", true}},
		{why: "route host: CN", cn: names{"relay.example.org"}, names: PeerNames{Domain: "example.com", RouteHost: "relay.example.org"},
			want: Identity{true, ReferenceRouteHost, "relay.example.org", NameSourceCN, "relay.example.org", true}},
		{why: "route host: SAN does not count beside a domain", san: names{"relay.example.org"}, names: PeerNames{Domain: "example.com", RouteHost: "relay.example.org"}},
		{why: "route host in the domain's place: SAN", san: names{"relay.example.org"}, names: PeerNames{RouteHost: "relay.example.org"},
			want: Identity{true, ReferenceRouteHost, "relay.example.org", NameSourceSAN, "relay.example.org", true}},
		{why: "route to a domain: the MX host receives, not the route", cn: names{"route.example"}, names: PeerNames{Domain: "example.com", MXHost: "mx.route.example", RouteHost: "route.example"}},
		{why: "no name at all", names: toMX},
		{why: "empty names", san: names{""}, cn: names{""}, names: toMX},
		{why: "CN that reads like an address", cn: names{"192.0.2.1"}, names: toMX},
	} {
		t.Run(tc.why, func(t *testing.T) {
			got, ok := named(tc.san, tc.cn).mode(references(t, tc.names), tc.rule)
			require.Equal(t, tc.want, got)
			require.Equal(t, tc.want.OK, ok)
		})
	}
}

func TestHostedIdentity(t *testing.T) {
	toRoute := PeerNames{Domain: "example.com", MXHost: "mx.route.example", RouteHost: "route.example"}
	secureMX := toMX
	secureMX.MXSecure = true
	for _, tc := range []struct {
		why   string
		san   names
		cn    names
		names PeerNames
		rule  modeRule
		want  Identity
	}{
		{why: "SAN for the domain", san: names{"example.com"}, names: toMX,
			want: Identity{true, ReferenceRecipientDomain, "example.com", NameSourceSAN, "example.com", true}},
		{why: "SAN for the MX host", san: names{"mx.example.net"}, names: toMX,
			want: Identity{true, ReferenceMXHost, "mx.example.net", NameSourceSAN, "mx.example.net", false}},
		{why: "domain before MX host, whatever the order in the certificate", san: names{"mx.example.net", "example.com"}, names: toMX,
			want: Identity{true, ReferenceRecipientDomain, "example.com", NameSourceSAN, "example.com", true}},
		{why: "wildcard SAN", san: names{"*.example.net"}, names: toMX,
			want: Identity{true, ReferenceMXHost, "mx.example.net", NameSourceSAN, "*.example.net", false}},
		{why: "wildcard CN counts here", cn: names{"*.example.net"}, names: toMX,
			want: Identity{true, ReferenceMXHost, "mx.example.net", NameSourceCN, "*.example.net", false}},
		{why: "CN alone", cn: names{"O", "example.com"}, names: toMX,
			want: Identity{true, ReferenceRecipientDomain, "example.com", NameSourceCN, "example.com", true}},
		{why: "a SAN that disagrees rules the CN out", san: names{"other.example"}, cn: names{"example.com"}, names: toMX},
		{why: "and so does a malformed one", san: names{"..."}, cn: names{"example.com"}, names: toMX},
		{why: "and an empty one", san: names{""}, cn: names{"example.com"}, names: toMX},
		{why: "route domain, last", san: names{"route.example"}, names: toRoute,
			want: Identity{true, ReferenceRouteHost, "route.example", NameSourceSAN, "route.example", true}},
		{why: "MX host before route domain", san: names{"route.example", "mx.route.example"}, names: toRoute,
			want: Identity{true, ReferenceMXHost, "mx.route.example", NameSourceSAN, "mx.route.example", false}},
		{why: "route host", san: names{"relay.example.org"}, names: PeerNames{Domain: "example.com", RouteHost: "relay.example.org"},
			want: Identity{true, ReferenceRouteHost, "relay.example.org", NameSourceSAN, "relay.example.org", true}},
		{why: "SecureMXOnly ignores the forgeable MX name", san: names{"mx.example.net"}, names: toMX, rule: modeRule{secureOnly: true}},
		{why: "SecureMXOnly keeps a proven MX name", san: names{"mx.example.net"}, names: secureMX, rule: modeRule{secureOnly: true},
			want: Identity{true, ReferenceMXHost, "mx.example.net", NameSourceSAN, "mx.example.net", true}},
		{why: "SecureMXOnly keeps the route", san: names{"route.example"}, names: toRoute, rule: modeRule{secureOnly: true},
			want: Identity{true, ReferenceRouteHost, "route.example", NameSourceSAN, "route.example", true}},
		{why: "PTR names never count here", san: names{"host.isp.example"}, names: toMX, rule: modeRule{ptr: true}},
		{why: "nor by CN", cn: names{"host.isp.example"}, names: toMX, rule: modeRule{ptr: true}},
		{why: "a reference with a label that begins with a hyphen matches no wildcard", san: names{"*.example.com"}, names: PeerNames{Domain: "-a.example.com"}},
		{why: "no name at all", names: toMX},
	} {
		t.Run(tc.why, func(t *testing.T) {
			tc.rule.hosted = true
			got, ok := named(tc.san, tc.cn).mode(references(t, tc.names), tc.rule)
			require.Equal(t, tc.want, got)
			require.Equal(t, tc.want.OK, ok)
		})
	}
}

func TestSTSIdentity(t *testing.T) {
	for _, tc := range []struct {
		why   string
		san   names
		cn    names
		names PeerNames
		want  bool
	}{
		{"SAN for the MX host", names{"MX.example.net"}, nil, toMX, true},
		{"wildcard", names{"*.example.net"}, nil, toMX, true},
		{"wildcard two levels up", names{"*.net"}, nil, toMX, false},
		{"the CN is ignored", nil, names{"mx.example.net"}, toMX, false},
		{"the recipient domain is not asked for", names{"example.com"}, nil, toMX, false},
		{"a configured host stands in for the MX host", names{"relay.example.org"}, nil, PeerNames{Domain: "example.com", RouteHost: "relay.example.org"}, true},
		{"the route domain does not", names{"route.example"}, nil, PeerNames{MXHost: "mx.route.example", RouteHost: "route.example"}, false},
		{"no host known", names{"example.com"}, nil, PeerNames{Domain: "example.com"}, false},
	} {
		_, ok := named(tc.san, tc.cn).stsName(references(t, tc.names))
		require.Equal(t, tc.want, ok, tc.why)
	}
}

// No reference, no match: never the other way round.
func TestEmptyReferencesMatchNothing(t *testing.T) {
	for _, cert := range []certificate{
		named(nil, nil), named(names{""}, names{""}), named(names{"*"}, names{"*"}), named(names{"example.com", "*.example.com", "."}, names{"example.com"}),
	} {
		for _, hosted := range []bool{false, true} {
			_, ok := cert.mode(&References{}, modeRule{hosted: hosted, ptr: true})
			require.False(t, ok)
		}
		_, ok := cert.stsName(&References{})
		require.False(t, ok)
	}
}

// Real certificates: what crypto/x509 makes of odd SANs, and how constraints on
// the path rule the common name out.
func TestIdentityOfRealCertificates(t *testing.T) {
	root := testpki.NewRoot("Root")
	constrained := root.Intermediate("Constrained", testpki.Template(func(c *x509.Certificate) {
		c.PermittedDNSDomains = []string{"example.net"}
	}))
	refs := references(t, toMX)

	ipOnly := root.Leaf(nil, testpki.CommonName("example.com"), testpki.Template(func(c *x509.Certificate) {
		c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)}
	}))
	id, ok := newCertificate(ipOnly.Cert, ipOnly.ChainWithRoot()).hosted(refs, false)
	require.True(t, ok, "a SAN without dNSName does not rule the CN out")
	require.Equal(t, NameSourceCN, id.Via)

	several := root.Leaf(nil, testpki.Template(func(c *x509.Certificate) {
		c.Subject = pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{
			{Type: oidCN, Value: "example.com"}, {Type: oidCN, Value: "A Title"}}}
	}))
	id, ok = newCertificate(several.Cert, several.ChainWithRoot()).verify(refs, false, false)
	require.True(t, ok, "pkix.Name.CommonName keeps the last CN only; all are tried")
	require.Equal(t, "example.com", id.Presented)

	cn := constrained.Leaf(nil, testpki.CommonName("example.com"))
	cert := newCertificate(cn.Cert, cn.ChainWithRoot())
	for _, hosted := range []bool{false, true} {
		_, ok = cert.mode(refs, modeRule{hosted: hosted})
		require.False(t, ok, "constraints that x509 does not apply to a CN rule it out")
	}
	san := constrained.Leaf(names{"mx.example.net"})
	_, ok = newCertificate(san.Cert, san.ChainWithRoot()).hosted(refs, false)
	require.True(t, ok, "a SAN inside the constraints is fine")
}

func TestConsideredReferences(t *testing.T) {
	refs := references(t, PeerNames{Domain: "example.com", MXHost: "mx.route.example", RouteHost: "route.example",
		PTR: []PTRName{{"host.isp.example", false}}})
	for _, tc := range []struct {
		why  string
		rule modeRule
		want names
	}{
		{"Verify", modeRule{}, names{"example.com", "mx.route.example"}},
		{"Verify with PTR", modeRule{ptr: true}, names{"example.com", "mx.route.example", "host.isp.example"}},
		{"Verify, secure names only", modeRule{ptr: true, secureOnly: true}, names{"example.com"}},
		{"Hosted", modeRule{hosted: true, ptr: true}, names{"example.com", "mx.route.example", "route.example"}},
		{"Hosted, secure names only", modeRule{hosted: true, secureOnly: true}, names{"example.com", "route.example"}},
	} {
		var got names
		for _, ref := range refs.considered(tc.rule) {
			got = append(got, ref.Name)
		}
		require.Equal(t, tc.want, got, tc.why)
	}
}

// FuzzMatch compares the rules of this package with crypto/x509 where both
// apply: what a dNSName proves here, x509 accepts too, and x509 accepts more only
// for names that these rules declare malformed.
func FuzzMatch(f *testing.F) {
	for _, seed := range [][2]string{
		{"example.com", "example.com"}, {"*.example.com", "mx.example.com"}, {"*.com", "example.com"},
		{"m*.example.com", "mx.example.com"}, {"*.example.com", "-a.example.com"}, {"example.com.", "example.com"},
		{"192.0.2.1", "mx.example.com"}, {"*.*.example", "a.b.example"}, {"EXAMPLE.com", "example.COM."}, {"_a.example.com", "_a.example.com"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, presented, reference string) {
		refs, err := NewReferences(PeerNames{Domain: reference})
		if err != nil {
			t.Skip()
		}
		name := refs.domain.Name
		leaf := &x509.Certificate{DNSNames: []string{presented}}
		_, ours := certificate{leaf: leaf}.san(refs.domain)
		theirs := leaf.VerifyHostname(name) == nil
		if ours && !theirs {
			t.Fatalf("%q matches %q here, not in x509", presented, name)
		}
		if theirs && !ours && certname.Valid(presented) {
			t.Fatalf("%q is well-formed and matches %q in x509, not here", presented, name)
		}
		cert := named(nil, []string{presented})
		_, byCN := cert.commonName(refs.domain, certname.Equal)
		if byCN && !ours {
			t.Fatalf("%q equals %q but does not match it", presented, name)
		}
	})
}
