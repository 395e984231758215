package smtpserver

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// largeGroups returns n entries in ten groups: half IPv4 addresses and nets, half
// IPv6.
func largeGroups(n int) []SenderGroup {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	groups := make([]SenderGroup, 10)
	for i := range groups {
		groups[i] = SenderGroup{Name: fmt.Sprint("g", i), Policy: accept}
	}
	for i := range n {
		var entry string
		if i%2 == 0 {
			entry = fmt.Sprintf("%s/%d", randomIPv4(r), 20+r.IntN(13))
		} else {
			entry = fmt.Sprintf("%s/%d", randomIPv6(r), 40+r.IntN(89))
		}
		g := &groups[r.IntN(len(groups))]
		g.Senders = append(g.Senders, entry)
	}
	return groups
}

func randomIPv4(r *rand.Rand) netip.Addr {
	var raw [4]byte
	binary.BigEndian.PutUint32(raw[:], r.Uint32())
	return netip.AddrFrom4(raw)
}

// randomIPv6 draws from 2000::/12, where the peers are.
func randomIPv6(r *rand.Rand) netip.Addr {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:], r.Uint64()>>12|0x2000<<48)
	binary.BigEndian.PutUint64(raw[8:], r.Uint64())
	return netip.AddrFrom16(raw)
}

func largeHosts(n int) []SenderGroup {
	g := SenderGroup{Name: "hosts", Policy: accept}
	for i := range n {
		if i%2 == 0 {
			g.Senders = append(g.Senders, fmt.Sprintf("mx%d.a.b.example.com", i))
		} else {
			g.Senders = append(g.Senders, fmt.Sprintf(".d%d.b.example.com", i))
		}
	}
	return []SenderGroup{g}
}

var tableSizes = []int{10, 1_000, 100_000, 1_000_000}

func BenchmarkLookup(b *testing.B) {
	for name, draw := range map[string]func(*rand.Rand) netip.Addr{"ipv4": randomIPv4, "ipv6": randomIPv6} {
		for _, n := range tableSizes {
			b.Run(fmt.Sprintf("%s/entries=%d", name, n), func(b *testing.B) {
				table := compile(b, largeGroups(n)...)
				r := rand.New(rand.NewPCG(2, 2))
				peers := make([]netip.Addr, 1<<16)
				for i := range peers {
					peers[i] = draw(r)
				}
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					table.Lookup(peers[i%len(peers)])
				}
			})
		}
	}
}

func BenchmarkLookupHost(b *testing.B) {
	for _, n := range tableSizes {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			table := compile(b, largeHosts(n)...)
			r := rand.New(rand.NewPCG(2, 2))
			hosts := make([]Host, 1<<14)
			for i := range hosts {
				hosts[i] = Host{Status: HostVerified, Names: []string{fmt.Sprintf("MX%d.A.B.EXAMPLE.COM", r.IntN(n))}}
			}
			peer := netip.MustParseAddr("192.0.2.1")
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				table.LookupHost(peer, hosts[i%len(hosts)])
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	groups := largeGroups(1_000_000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var table *Table
	for b.Loop() {
		var err error
		table, err = Compile(groups, Policy{})
		require.NoError(b, err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "B/entry")
	runtime.KeepAlive(table)
	runtime.KeepAlive(groups)
}

func TestLookupAllocatesNothing(t *testing.T) {
	table := compile(t, append(largeGroups(10_000), largeHosts(1_000)...)...)
	peer4, peer6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1%eth0")
	host := Host{Status: HostVerified, Names: []string{"MX6.A.B.EXAMPLE.COM."}}
	require.Equal(t, "hosts", nameOf(table.LookupHost(netip.Addr{}, host)))
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		table.Lookup(peer4)
		table.Lookup(peer6)
		table.LookupHost(peer4, host)
	}))
}
