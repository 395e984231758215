package tlspolicy_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	. "github.com/smtpsec/smtpsec/tlspolicy"
)

func TestRoutes(t *testing.T) {
	ref := func(name string, kind ReferenceKind, secure bool) Reference {
		return Reference{Name: name, Kind: kind, Secure: secure}
	}
	domain := ref("example.com", ReferenceRecipientDomain, true)
	host := ref("mx.example.net", ReferenceMXHost, false)
	for _, c := range []struct {
		why     string
		route   Route
		mx, sts string
		refs    []Reference // with MX host mx.example.net
	}{
		{"MX hosts of the recipient domain", Route{Domain: "example.com"}, "example.com", "example.com", []Reference{domain, host}},
		{"configured host", Route{Domain: "example.com", Host: "relay.example.org"}, "", "relay.example.org",
			[]Reference{domain, ref("relay.example.org", ReferenceRouteHost, true)}},
		{"MX hosts of a configured domain", Route{Domain: "example.com", Host: "provider.example", MX: true}, "provider.example", "provider.example",
			[]Reference{domain, host, ref("provider.example", ReferenceRouteHost, true)}},
		{"configured host without recipient domain", Route{Host: "relay.example.org"}, "", "relay.example.org",
			[]Reference{ref("relay.example.org", ReferenceRouteHost, true)}},
		{"MX hosts of a configured domain without recipient domain", Route{Host: "provider.example", MX: true}, "provider.example", "provider.example",
			[]Reference{ref("provider.example", ReferenceRouteHost, true), host}},
		{"configured address", Route{Domain: "example.com", Host: "192.0.2.1"}, "", "", []Reference{domain}},
		{"address in brackets", Route{Domain: "example.com", Host: "[IPv6:2001:db8::1]", MX: true}, "", "", []Reference{domain}},
		{"address as the recipient domain", Route{Domain: "[192.0.2.1]"}, "", "", nil},
		{"configured host for an address", Route{Domain: "[192.0.2.1]", Host: "relay.example.org"}, "", "relay.example.org",
			[]Reference{ref("relay.example.org", ReferenceRouteHost, true)}},
		{"nothing", Route{}, "", "", nil},
	} {
		require.Equal(t, c.mx, c.route.MXDomain(), c.why)
		require.Equal(t, c.sts, c.route.STSDomain(), c.why)
		refs, err := NewReferences(c.route.Names("mx.example.net", false))
		if c.refs == nil {
			require.ErrorIs(t, err, ErrNoReference, c.why)
			continue
		}
		require.NoError(t, err, c.why)
		require.Equal(t, c.refs, refs.All(), c.why)
	}
	require.True(t, Route{Domain: "example.com"}.Names("mx.example.net", true).MXSecure)
	require.False(t, Route{Host: "relay.example.org"}.Names("", true).MXSecure, "there is no MX host")
}
