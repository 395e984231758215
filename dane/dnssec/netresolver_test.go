package dnssec

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNetResolver(t *testing.T) {
	ctx := context.Background()
	bogus := &Error{Kind: KindBogus, EDE: noEDE, Server: netip.MustParseAddrPort("127.0.0.1:53")}
	r := NetResolver{Static{
		Answers: map[Question]Answer{
			{"host.example.", TypeA}:    found(data(t, "A 192.0.2.1")),
			{"host.example.", TypeAAAA}: found(data(t, "AAAA 2001:db8::1")),
			{"host.example.", TypeTXT}:  found(data(t, `TXT "a" "b"`)),
			{"four.example.", TypeA}:    found(data(t, "A 192.0.2.1")),
			{"hid4.example.", TypeA}:    {Outcome: NoData},
			{"half.example.", TypeA}:    found(data(t, "A 192.0.2.1")),
		},
		Errors: map[Question]error{
			{"bad.example.", TypeA}: bogus, {"bad.example.", TypeAAAA}: bogus, {"bad.example.", TypeTXT}: bogus,
			{"hid4.example.", TypeAAAA}: bogus, {"half.example.", TypeAAAA}: bogus,
			{"odd.example.", TypeTXT}: context.DeadlineExceeded,
		},
	}}
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	texts, err := r.LookupTXT(ctx, "host.example")
	require.NoError(t, err)
	require.Equal(t, []string{"ab"}, texts)
	for _, c := range []struct {
		network, host string
		want          []netip.Addr
	}{
		{"ip", "host.example", []netip.Addr{v4, v6}},
		{"ip4", "host.example", []netip.Addr{v4}},
		{"ip6", "host.example", []netip.Addr{v6}},
		{"ip", "four.example", []netip.Addr{v4}},
		{"ip", "half.example", []netip.Addr{v4}}, // found is found
		{"ip", "192.0.2.1", []netip.Addr{v4}},
		{"ip4", "192.0.2.1", []netip.Addr{v4}},
		{"ip6", "2001:db8::1", []netip.Addr{v6}},
	} {
		ips, err := r.LookupNetIP(ctx, c.network, c.host)
		require.NoError(t, err, c.host)
		require.Equal(t, c.want, ips, c.host)
	}
	notFound := func(err error, want bool, why string) {
		var dnsErr *net.DNSError
		require.ErrorAs(t, err, &dnsErr, why)
		require.Equal(t, want, dnsErr.IsNotFound, why)
	}
	for _, c := range []struct {
		network, host string
		want          bool
		why           string
	}{
		{"ip", "none.example", true, "NXDOMAIN"},
		{"ip6", "four.example", true, "NODATA"},
		{"ip4", "2001:db8::1", true, "an address of the other family"},
		{"ip6", "192.0.2.1", true, "an address of the other family"},
		{"ip", "bad.example", false, "both failed"},
		{"ip4", "bad.example", false, "failed"},
		{"ip6", "bad.example", false, "failed"},
		{"ip", "hid4.example", false, "NODATA for one family proves nothing if the other failed"},
		{"tcp", "host.example", false, "no such network"},
	} {
		_, err := r.LookupNetIP(ctx, c.network, c.host)
		notFound(err, c.want, c.why)
	}
	_, err = r.LookupTXT(ctx, "none.example")
	notFound(err, true, "NXDOMAIN")
	_, err = r.LookupTXT(ctx, "bad.example")
	notFound(err, false, "bogus")
	require.ErrorIs(t, err, KindBogus, "the cause is kept")
	_, err = r.LookupTXT(ctx, "odd.example")
	notFound(err, false, "an error of another kind of resolver")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
