package smtpserver

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLargeIndexes compares the indexed search of large tables with a search without
// index, at and around every start.
func TestLargeIndexes(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for why, spread := range map[string]func() netip.Addr{
		"spread out": func() netip.Addr { return randomIPv6(r) },
		"all in a /96": func() netip.Addr {
			a := randomIPv6(r).As16()
			copy(a[:], make([]byte, 12))
			a[0] = 0x20
			return netip.AddrFrom16(a)
		},
		"both ends": func() netip.Addr {
			a := randomIPv6(r).As16()
			a[0] = byte(r.IntN(2)) * 0xff
			return netip.AddrFrom16(a)
		},
	} {
		var spans []span
		for i := range 2 * indexedFrom {
			p := netip.PrefixFrom(spread(), 128-r.IntN(8)).Masked()
			spans = append(spans, span{numberOf(p.Addr()), numberOf(last(p)), int32(i % 7)})
		}
		x := newIPv6Index(spans)
		require.NotNil(t, x.first, why)
		plain := x
		plain.first = nil
		for i, start := range x.starts {
			for _, n := range []number{start, start.plus(number{0, 1}), {start.hi, start.lo - 1}, {start.hi + 1, start.lo}, {^start.hi, start.lo}} {
				addr := addrOf(n)
				require.Equal(t, plain.lookup(addr), x.lookup(addr), "%s: %v", why, addr)
			}
			require.Equal(t, x.groups[i], x.lookup(addrOf(start)))
		}
		require.True(t, slices.IsSortedFunc(x.starts, number.compare))
	}
}

func addrOf(n number) netip.Addr {
	var raw [16]byte
	for i := range 8 {
		raw[i], raw[8+i] = byte(n.hi>>(56-8*i)), byte(n.lo>>(56-8*i))
	}
	return netip.AddrFrom16(raw)
}
