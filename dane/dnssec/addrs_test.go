package dnssec

import (
	"context"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLookupAddrs(t *testing.T) {
	timeout, bogus := &Error{Kind: KindTimeout, EDE: noEDE}, &Error{Kind: KindBogus, EDE: noEDE}
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	r := Static{
		Answers: map[Question]Answer{
			{"both.example.", TypeA}:    found(data(t, "A 192.0.2.1"), Record{Data: []byte{1, 2, 3}}, data(t, "AAAA 2001:db8::2")),
			{"both.example.", TypeAAAA}: found(data(t, "AAAA 2001:db8::1"), data(t, "A 192.0.2.2")),
			{"half.example.", TypeAAAA}: found(data(t, "AAAA 2001:db8::1")),
		},
		Errors: map[Question]error{
			{"half.example.", TypeA}: timeout,
			{"none.example.", TypeA}: timeout, {"none.example.", TypeAAAA}: bogus,
			{"enon.example.", TypeA}: bogus, {"enon.example.", TypeAAAA}: timeout,
			{"odd.example.", TypeA}: context.Canceled, {"odd.example.", TypeAAAA}: bogus,
		},
	}
	got, err := LookupAddrs(context.Background(), r, "both.example")
	require.NoError(t, err)
	require.Equal(t, []netip.Addr{v4}, got.A.IPs, "records of the wrong size are left out")
	require.Equal(t, []netip.Addr{v6}, got.AAAA.IPs)
	require.Equal(t, Secure, got.A.Answer.Security)

	got, err = LookupAddrs(context.Background(), r, "half.example")
	require.NoError(t, err, "one family is enough")
	require.ErrorIs(t, got.A.Err, KindTimeout)
	require.Nil(t, got.A.Answer)
	require.Equal(t, []netip.Addr{v6}, got.AAAA.IPs)

	for _, name := range []string{"none.example", "enon.example"} {
		got, err = LookupAddrs(context.Background(), r, name)
		require.ErrorIs(t, err, KindBogus, "the more telling of two errors")
		require.Error(t, got.A.Err)
		require.Error(t, got.AAAA.Err)
	}
	_, err = LookupAddrs(context.Background(), r, "odd.example")
	require.ErrorIs(t, err, context.Canceled, "errors of other resolvers are passed on")
}
