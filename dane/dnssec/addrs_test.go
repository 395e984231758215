package dnssec

import (
	"context"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/dnstest"
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

// meeting answers when both families are asked for at once.
type meeting struct {
	Static
	here chan Type
}

func (m meeting) ready(string, Type) bool { return false }

func (m meeting) Lookup(ctx context.Context, name string, t Type) (*Answer, error) {
	select {
	case m.here <- t:
	case <-m.here:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return m.Static.Lookup(ctx, name, t)
}

func TestLookupAddrsAtOnce(t *testing.T) {
	static := Static{Answers: map[Question]Answer{{"both.example.", TypeA}: found(data(t, "A 192.0.2.1"))}}
	got, err := LookupAddrs(context.Background(), meeting{static, make(chan Type)}, "both.example")
	require.NoError(t, err)
	require.Len(t, got.A.IPs, 1)
	require.Equal(t, NoData, got.AAAA.Answer.Outcome)
}

// TestReady: what is in the cache is at hand, and nothing else.
func TestReady(t *testing.T) {
	require.True(t, atHand(Static{}, "mx.example", TypeA))
	require.False(t, atHand(struct{ Resolver }{Static{}}, "mx.example", TypeA), "a Resolver that cannot say")

	tree, names := sampleTree(t)
	v := newTestValidator(t, tree, nil, serve(t, tree, dnstest.PassThrough).Addr())
	host := names[0]
	require.False(t, atHand(v, host, TypeA))
	_, err := v.Lookup(context.Background(), host, TypeA)
	require.NoError(t, err)
	require.True(t, atHand(v, host, TypeA))
	require.False(t, atHand(v, host, TypeAAAA))
	require.False(t, atHand(v, "no name", TypeA))
}
