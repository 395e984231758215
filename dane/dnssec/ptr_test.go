package dnssec

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

func TestLookupPTR(t *testing.T) {
	boom := errors.New("boom")
	v6name, err := dns.ReverseAddr("2001:db8::1f")
	require.NoError(t, err)
	r := Static{
		Answers: map[Question]Answer{
			{"1.2.0.192.in-addr.arpa.", TypePTR}: found(data(t, "PTR Mail.Example."), data(t, "PTR ."), Record{Data: []byte{1}}, data(t, "PTR b.example.")),
			{v6name, TypePTR}:                    found(data(t, "PTR six.example.")),
		},
		Errors: map[Question]error{{"2.2.0.192.in-addr.arpa.", TypePTR}: boom},
	}
	for _, addr := range []string{"192.0.2.1", "::ffff:192.0.2.1"} {
		names, a, err := LookupPTR(context.Background(), r, netip.MustParseAddr(addr))
		require.NoError(t, err)
		require.Equal(t, []string{"mail.example.", "b.example."}, names)
		require.Equal(t, Secure, a.Security)
	}
	names, _, err := LookupPTR(context.Background(), r, netip.MustParseAddr("2001:db8::1f%eth0"))
	require.NoError(t, err)
	require.Equal(t, []string{"six.example."}, names)
	names, a, err := LookupPTR(context.Background(), r, netip.MustParseAddr("192.0.2.9"))
	require.NoError(t, err)
	require.Empty(t, names)
	require.Equal(t, NXDomain, a.Outcome)
	_, _, err = LookupPTR(context.Background(), r, netip.MustParseAddr("192.0.2.2"))
	require.ErrorIs(t, err, boom)
	_, _, err = LookupPTR(context.Background(), r, netip.Addr{})
	require.ErrorIs(t, err, KindBadName)
}
