package tlspolicy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

func TestNewReferences(t *testing.T) {
	for _, tc := range []struct {
		why   string
		names PeerNames
		want  []Reference
	}{
		{"MX route", PeerNames{Domain: "example.com", MXHost: "mx.example.net"}, []Reference{
			{"example.com", ReferenceRecipientDomain, true}, {"mx.example.net", ReferenceMXHost, false}}},
		{"MX host proven", PeerNames{Domain: "example.com", MXHost: "mx.example.net", MXSecure: true}, []Reference{
			{"example.com", ReferenceRecipientDomain, true}, {"mx.example.net", ReferenceMXHost, true}}},
		{"route to a host", PeerNames{Domain: "example.com", RouteHost: "relay.example.org"}, []Reference{
			{"example.com", ReferenceRecipientDomain, true}, {"relay.example.org", ReferenceRouteHost, true}}},
		{"route to a domain", PeerNames{Domain: "example.com", MXHost: "mx.route.example", RouteHost: "route.example"}, []Reference{
			{"example.com", ReferenceRecipientDomain, true}, {"mx.route.example", ReferenceMXHost, false},
			{"route.example", ReferenceRouteHost, true}}},
		{"configured host takes the domain's place and is listed once", PeerNames{RouteHost: "relay.example.org"}, []Reference{
			{"relay.example.org", ReferenceRouteHost, true}}},
		{"address literal as domain", PeerNames{Domain: "[192.0.2.1]", RouteHost: "relay.example.org"}, []Reference{
			{"relay.example.org", ReferenceRouteHost, true}}},
		{"address as MX host", PeerNames{Domain: "example.com", MXHost: "192.0.2.1", MXSecure: true}, []Reference{
			{"example.com", ReferenceRecipientDomain, true}}},
		{"letter case, final dot, U-labels", PeerNames{Domain: "BÜCHER.example.", MXHost: "MX_1.Example.COM."}, []Reference{
			{"xn--bcher-kva.example", ReferenceRecipientDomain, true}, {"mx_1.example.com", ReferenceMXHost, false}}},
		{"non-transitional: sharp s keeps its own label", PeerNames{Domain: "straße.example"}, []Reference{
			{"xn--strae-oqa.example", ReferenceRecipientDomain, true}}},
		{"PTR names, bad ones left out", PeerNames{Domain: "example.com", PTR: []PTRName{
			{"Host.isp.example.", false}, {"not a name", true}, {"192.0.2.1", true}, {"", true}, {"b.isp.example", true}}}, []Reference{
			{"example.com", ReferenceRecipientDomain, true}, {"host.isp.example", ReferencePTR, false}, {"b.isp.example", ReferencePTR, true}}},
		{"PTR names alone", PeerNames{PTR: []PTRName{{"host.isp.example", false}}}, []Reference{
			{"host.isp.example", ReferencePTR, false}}},
	} {
		t.Run(tc.why, func(t *testing.T) {
			refs, err := NewReferences(tc.names)
			require.NoError(t, err)
			require.Equal(t, tc.want, refs.All())
		})
	}
}

func TestNewReferencesErrors(t *testing.T) {
	long := strings.Repeat("a.", 126) + "aa" // 254 octets
	for why, names := range map[string]PeerNames{
		"empty label in the domain": {Domain: "example..com", MXHost: "mx.example.net"},
		"wildcard as MX host":       {Domain: "example.com", MXHost: "*.example.net"},
		"blank in the route host":   {Domain: "example.com", RouteHost: "relay example.org"},
		"too long":                  {Domain: long},
		"label of 64 octets":        {Domain: strings.Repeat("a", 64) + ".example"},
		"two final dots":            {Domain: "example.com.."},
		"not UTF-8":                 {Domain: "b\xfccher.example"},
		"joiner out of place":       {Domain: "a\u200db.example"},
	} {
		_, err := NewReferences(names)
		require.ErrorIs(t, err, ErrBadDomain, why)
		require.NotErrorIs(t, err, ErrNoReference, why)
		var problem *hostname.Error
		require.ErrorAs(t, err, &problem, why)
	}
	for why, names := range map[string]PeerNames{
		"nothing":                     {},
		"addresses only":              {Domain: "[IPv6:2001:db8::1]", MXHost: "2001:db8::1", RouteHost: "[192.0.2.1]"},
		"PTR that is no name, only":   {PTR: []PTRName{{"..", true}}},
		"secure flag without MX host": {MXSecure: true},
	} {
		refs, err := NewReferences(names)
		require.ErrorIs(t, err, ErrNoReference, why)
		require.Nil(t, refs, why)
	}
}

func TestPTRNamesBounded(t *testing.T) {
	names := PeerNames{}
	for i := range 3 * MaxPTRNames {
		names.PTR = append(names.PTR, PTRName{Name: fmt.Sprintf("h%d.isp.example", i)})
	}
	refs, err := NewReferences(names)
	require.NoError(t, err)
	require.Len(t, refs.All(), MaxPTRNames)
}

func TestNilReferences(t *testing.T) {
	var refs *References
	require.Empty(t, refs.All())
	require.True(t, refs.empty())
}

func TestEnumTexts(t *testing.T) {
	for kind, want := range map[ReferenceKind]string{
		ReferenceNone: "none", ReferenceRecipientDomain: "recipient-domain", ReferenceMXHost: "mx-host",
		ReferenceRouteHost: "route-host", ReferencePTR: "ptr",
	} {
		require.Equal(t, want, kind.String())
		text, err := kind.MarshalText()
		require.NoError(t, err)
		require.Equal(t, want, string(text))
	}
	for source, want := range map[NameSource]string{NameSourceNone: "none", NameSourceSAN: "san", NameSourceCN: "cn"} {
		require.Equal(t, want, source.String())
		text, err := source.MarshalText()
		require.NoError(t, err)
		require.Equal(t, want, string(text))
	}
	require.Equal(t, "ReferenceKind(9)", ReferenceKind(9).String())
	require.Equal(t, "NameSource(3)", NameSource(3).String())
	_, err := ReferenceKind(9).MarshalText()
	require.Error(t, err)
	_, err = NameSource(3).MarshalText()
	require.Error(t, err)
}

// FuzzNewReferences: what comes out is canonical (parsing it again changes
// nothing), never an address, complete, and empty only together with an error.
func FuzzNewReferences(f *testing.F) {
	f.Add("example.com", "mx.example.net", "", "host.isp.example", true)
	f.Add("[192.0.2.1]", "", "relay.example.org", "", false)
	f.Add("BÜCHER.example.", "mx_1.example.com.", "straße.example", "..", false)
	f.Add("", "1.2.3.4", "[IPv6:::1]", "*.example", true)
	f.Fuzz(func(t *testing.T, domain, mx, route, ptr string, secure bool) {
		refs, err := NewReferences(PeerNames{domain, mx, secure, route, []PTRName{{ptr, secure}}})
		all := refs.All()
		if (err != nil) != (len(all) == 0) {
			t.Fatalf("error %v with %d references", err, len(all))
		}
		for _, ref := range all {
			again, err := hostname.Parse(ref.Name)
			if err != nil || again != ref.Name || hostname.IsLiteral(ref.Name) {
				t.Fatalf("%q is not canonical: %q, %v", ref.Name, again, err)
			}
			if typed := ref.Kind == ReferenceRecipientDomain || ref.Kind == ReferenceRouteHost; ref.Secure != (secure || typed) {
				t.Fatalf("%v: Secure is wrong", ref)
			}
		}
		if err == nil && (refs.domain.Kind == ReferenceNone) != (domain == "" && route == "" || isAddressOrEmpty(domain) && isAddressOrEmpty(route)) {
			t.Fatalf("domain %q, route %q: primary reference %v", domain, route, refs.domain)
		}
	})
}

func isAddressOrEmpty(s string) bool { return s == "" || hostname.IsLiteral(s) }
