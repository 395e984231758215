package smtpserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeDNS is a world for the verifier: what stands in it, and how often each
// question was put.
type fakeDNS struct {
	ptr   map[netip.Addr]fakePTR
	addrs map[string]fakeAddrs // by network and name, as "ip4 mx.example.com"

	mu    sync.Mutex
	asked map[string]int
}

type fakePTR struct {
	names []string
	ttl   time.Duration
	err   error
	delay time.Duration
}

type fakeAddrs struct {
	addrs []netip.Addr
	ttl   time.Duration
	err   error
	delay time.Duration
	deaf  bool // does not look at the context
}

var (
	errServFail = errors.New("server misbehaving")
	errNXDomain = &net.DNSError{Err: "no such host", IsNotFound: true}
)

func (f *fakeDNS) count(question string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asked == nil {
		f.asked = make(map[string]int)
	}
	f.asked[question]++
}

func (f *fakeDNS) questions() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, times := range f.asked {
		n += times
	}
	return n
}

func pause(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fakeDNS) LookupPTR(ctx context.Context, addr netip.Addr) ([]string, time.Duration, error) {
	f.count("ptr " + addr.String())
	a, ok := f.ptr[addr]
	if !ok {
		return nil, 0, errNXDomain
	}
	if err := pause(ctx, a.delay); err != nil {
		return nil, 0, err
	}
	return a.names, a.ttl, a.err
}

func (f *fakeDNS) LookupAddrs(ctx context.Context, network, name string) ([]netip.Addr, time.Duration, error) {
	f.count(network + " " + name)
	a, ok := f.addrs[network+" "+name]
	if !ok {
		return nil, 0, errNXDomain
	}
	if a.deaf {
		ctx = context.Background()
	}
	if err := pause(ctx, a.delay); err != nil {
		return nil, 0, err
	}
	return a.addrs, a.ttl, a.err
}

func ips(texts ...string) []netip.Addr {
	list := make([]netip.Addr, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParseAddr(text)
	}
	return list
}

func names(n int, format string) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(format, i)
	}
	return list
}

func TestVerifyHost(t *testing.T) {
	const v4, v6 = "192.0.2.7", "2001:db8::7"
	tests := []struct {
		name  string // and why
		peer  string
		ptr   *fakePTR // nil: NXDOMAIN
		addrs map[string]fakeAddrs
		want  Host
	}{
		{"one name that leads back", v4, &fakePTR{names: []string{"mx.example.com."}},
			map[string]fakeAddrs{"ip4 mx.example.com": {addrs: ips("192.0.2.1", v4)}},
			Host{Names: []string{"mx.example.com"}, Status: HostVerified}},
		{"an IPv6 peer is looked for in AAAA records", v6, &fakePTR{names: []string{"mx.example.com."}},
			map[string]fakeAddrs{"ip6 mx.example.com": {addrs: ips(v6)}},
			Host{Names: []string{"mx.example.com"}, Status: HostVerified}},
		{"the records of the other family do not count", v6, &fakePTR{names: []string{"mx.example.com."}},
			map[string]fakeAddrs{"ip4 mx.example.com": {addrs: ips(v4)}},
			Host{Status: PTRMismatch}},
		{"a mapped address in the answer is the IPv4 address", v4, &fakePTR{names: []string{"mx.example.com."}},
			map[string]fakeAddrs{"ip4 mx.example.com": {addrs: ips("::ffff:192.0.2.7")}},
			Host{Names: []string{"mx.example.com"}, Status: HostVerified}},
		{"upper case and a final dot do not matter; each name once", v4, &fakePTR{names: []string{"MX.Example.COM.", "mx.example.com"}},
			map[string]fakeAddrs{"ip4 mx.example.com": {addrs: ips(v4)}},
			Host{Names: []string{"mx.example.com"}, Status: HostVerified}},
		{"all verified names, sorted", v4, &fakePTR{names: []string{"c.example.", "a.example.", "b.example."}},
			map[string]fakeAddrs{"ip4 a.example": {addrs: ips(v4)}, "ip4 b.example": {addrs: ips("192.0.2.8")}, "ip4 c.example": {addrs: ips(v4)}},
			Host{Names: []string{"a.example", "c.example"}, Status: HostVerified}},
		{"underscores occur in real host names", v4, &fakePTR{names: []string{"mail_1.example."}},
			map[string]fakeAddrs{"ip4 mail_1.example": {addrs: ips(v4)}},
			Host{Names: []string{"mail_1.example"}, Status: HostVerified}},

		{"NXDOMAIN", v4, nil, nil, Host{Status: NoPTR}},
		{"no data", v4, &fakePTR{}, nil, Host{Status: NoPTR}},
		{"names that come with NXDOMAIN do not count", v4, &fakePTR{names: []string{"mx.example.com."}, err: errNXDomain},
			map[string]fakeAddrs{"ip4 mx.example.com": {addrs: ips(v4)}},
			Host{Status: NoPTR}},
		{"no well-formed name: blanks, line ends, literals, wildcards, empty labels, octets above ASCII, root", v4,
			&fakePTR{names: []string{"evil example.", "a\r\n250 ok.example.", "192.0.2.7", "[192.0.2.7].", "*.example.", "a..example.", "b\xfccher.example.", "bücher.example.", ".", ""}},
			nil, Host{Status: NoPTR}},
		{"malformed names are skipped, the others count", v4, &fakePTR{names: []string{"evil example.", "mx.example.com."}},
			map[string]fakeAddrs{"ip4 mx.example.com": {addrs: ips(v4)}},
			Host{Names: []string{"mx.example.com"}, Status: HostVerified}},

		{"SERVFAIL for PTR", v4, &fakePTR{err: errServFail}, nil, Host{Status: PTRTempFail}},
		{"names that come with an error do not count", v4, &fakePTR{names: []string{"mx.example.com."}, err: errServFail},
			map[string]fakeAddrs{"ip4 mx.example.com": {addrs: ips(v4)}},
			Host{Status: PTRTempFail}},
		{"SERVFAIL for the only name", v4, &fakePTR{names: []string{"mx.example.com."}},
			map[string]fakeAddrs{"ip4 mx.example.com": {err: errServFail}},
			Host{Status: PTRTempFail}},
		{"addresses that come with an error do not count", v4, &fakePTR{names: []string{"mx.example.com."}},
			map[string]fakeAddrs{"ip4 mx.example.com": {addrs: ips(v4), err: errServFail}},
			Host{Status: PTRTempFail}},
		{"one name fails, the other leads elsewhere: the one that fails might have been right", v4, &fakePTR{names: []string{"a.example.", "b.example."}},
			map[string]fakeAddrs{"ip4 a.example": {err: errServFail}, "ip4 b.example": {addrs: ips("192.0.2.8")}},
			Host{Status: PTRTempFail}},
		{"one name fails, the other is verified", v4, &fakePTR{names: []string{"a.example.", "b.example."}},
			map[string]fakeAddrs{"ip4 a.example": {err: errServFail}, "ip4 b.example": {addrs: ips(v4)}},
			Host{Names: []string{"b.example"}, Status: HostVerified}},

		{"the name leads elsewhere", v4, &fakePTR{names: []string{"mx.example.com."}},
			map[string]fakeAddrs{"ip4 mx.example.com": {addrs: ips("192.0.2.8")}},
			Host{Status: PTRMismatch}},
		{"the name does not exist", v4, &fakePTR{names: []string{"mx.example.com."}}, nil, Host{Status: PTRMismatch}},
		{"the name has no address of the family", v4, &fakePTR{names: []string{"mx.example.com."}},
			map[string]fakeAddrs{"ip4 mx.example.com": {}},
			Host{Status: PTRMismatch}},
		{"the eleventh name is not looked at", v4, &fakePTR{names: append([]string{"z.example."}, names(MaxPTRNames, "n%02d.example.")...)},
			map[string]fakeAddrs{"ip4 z.example": {addrs: ips(v4)}},
			Host{Status: PTRMismatch}},
		{"malformed names and repetitions do not use up the ten", v4, &fakePTR{names: slices.Concat(names(20, "bad name %d."), slices.Repeat([]string{"a.example.", "A.example"}, 10), []string{"z.example."})},
			map[string]fakeAddrs{"ip4 z.example": {addrs: ips(v4)}},
			Host{Names: []string{"z.example"}, Status: HostVerified}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dns := &fakeDNS{addrs: tt.addrs, ptr: map[netip.Addr]fakePTR{}}
			peer := netip.MustParseAddr(tt.peer)
			if tt.ptr != nil {
				dns.ptr[peer] = *tt.ptr
			}
			got := newHostVerifier(dns, 0, nil).verify(t.Context(), peer)
			require.Equal(t, tt.want, got)
		})
	}
}

func TestVerifyHostPeer(t *testing.T) {
	peer := netip.MustParseAddr("192.0.2.7")
	dns := &fakeDNS{
		ptr: map[netip.Addr]fakePTR{
			peer:                           {names: []string{"mx.example.com."}},
			netip.MustParseAddr("fe80::7"): {names: []string{"link.example.com."}}},
		addrs: map[string]fakeAddrs{"ip4 mx.example.com": {addrs: ips("192.0.2.7")}, "ip6 link.example.com": {addrs: ips("fe80::7")}},
	}
	v := newHostVerifier(dns, 0, nil)
	require.Equal(t, HostVerified, v.verify(t.Context(), netip.MustParseAddr("::ffff:192.0.2.7")).Status, "a mapped peer is an IPv4 peer")
	require.Equal(t, HostVerified, v.verify(t.Context(), netip.MustParseAddr("fe80::7%eth0")).Status, "the zone does not count")
	asked := dns.questions()
	require.Equal(t, Host{}, v.verify(t.Context(), netip.Addr{}), "a peer without an address")
	require.Equal(t, Host{Status: PTRTempFail}, newHostVerifier(dns, -1, nil).verify(t.Context(), peer), "never ask")
	require.Equal(t, asked, dns.questions())
}

func TestVerifyHostTime(t *testing.T) {
	peer := netip.MustParseAddr("192.0.2.7")
	tests := []struct {
		name  string
		ptr   fakePTR
		addrs map[string]fakeAddrs
		want  Host
		took  time.Duration
	}{
		{"no answer to PTR", fakePTR{delay: time.Hour}, nil, Host{Status: PTRTempFail}, 5 * time.Second},
		{"the time is for both questions", fakePTR{names: []string{"mx.example.com."}, delay: 3 * time.Second},
			map[string]fakeAddrs{"ip4 mx.example.com": {addrs: ips("192.0.2.7"), delay: 3 * time.Second}},
			Host{Status: PTRTempFail}, 5 * time.Second},
		{"slow but in time", fakePTR{names: []string{"mx.example.com."}, delay: 2 * time.Second},
			map[string]fakeAddrs{"ip4 mx.example.com": {addrs: ips("192.0.2.7"), delay: 2 * time.Second}},
			Host{Names: []string{"mx.example.com"}, Status: HostVerified}, 4 * time.Second},
		{"ten slow names take as long as one", fakePTR{names: names(10, "n%d.example.")},
			map[string]fakeAddrs{"ip4 n0.example": {delay: 4 * time.Second}, "ip4 n1.example": {delay: 4 * time.Second}, "ip4 n9.example": {addrs: ips("192.0.2.7"), delay: 4 * time.Second}},
			Host{Names: []string{"n9.example"}, Status: HostVerified}, 4 * time.Second},
		{"a silent name does not spoil one that is verified", fakePTR{names: []string{"a.example.", "b.example."}},
			map[string]fakeAddrs{"ip4 a.example": {delay: time.Hour}, "ip4 b.example": {addrs: ips("192.0.2.7")}},
			Host{Names: []string{"b.example"}, Status: HostVerified}, 5 * time.Second},
		{"a resolver that does not look at its context is not waited for", fakePTR{names: []string{"a.example."}},
			map[string]fakeAddrs{"ip4 a.example": {delay: time.Minute, deaf: true}},
			Host{Status: PTRTempFail}, 5 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dns := &fakeDNS{ptr: map[netip.Addr]fakePTR{peer: tt.ptr}, addrs: tt.addrs}
				start := time.Now()
				got := newHostVerifier(dns, 0, nil).verify(t.Context(), peer)
				require.Equal(t, tt.want, got)
				require.Equal(t, tt.took, time.Since(start))
				time.Sleep(time.Hour) // let the resolver come back, with an answer for nobody
			})
		})
	}
}

func TestVerifyHostOnceForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := netip.MustParseAddr("192.0.2.7")
		dns := &fakeDNS{
			ptr:   map[netip.Addr]fakePTR{peer: {names: []string{"mx.example.com."}, ttl: time.Hour, delay: time.Second}},
			addrs: map[string]fakeAddrs{"ip4 mx.example.com": {addrs: ips("192.0.2.7"), ttl: time.Hour, delay: time.Second}},
		}
		v := newHostVerifier(dns, 0, nil)

		impatient, cancel := context.WithCancel(t.Context())
		first := make(chan Host, 1)
		go func() { first <- v.verify(impatient, peer) }() // asks, and goes away
		synctest.Wait()
		others := make(chan Host, 50)
		for range cap(others) {
			go func() { others <- v.verify(t.Context(), peer) }()
		}
		synctest.Wait()
		cancel()
		require.Equal(t, Host{Status: PTRTempFail}, <-first, "a connection that closes does not wait")
		for range cap(others) {
			require.Equal(t, Host{Names: []string{"mx.example.com"}, Status: HostVerified}, <-others)
		}
		require.Equal(t, map[string]int{"ptr 192.0.2.7": 1, "ip4 mx.example.com": 1}, dns.asked)
		require.Equal(t, HostVerified, v.verify(impatient, peer).Status, "what is known needs no waiting")
		require.Empty(t, v.(*ptrVerifier).flights)
	})
}

// TestVerifyHostFlood: more peers at a time than may be asked about.
func TestVerifyHostFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &fakeDNS{ptr: map[netip.Addr]fakePTR{}}
		peers := make([]netip.Addr, 3*maxHostFlights)
		peer := netip.MustParseAddr("2001:db8::")
		for i := range peers {
			peer = peer.Next()
			peers[i] = peer
			dns.ptr[peer] = fakePTR{delay: 2 * time.Second}
		}
		v := newHostVerifier(dns, 0, nil)
		found := make(chan HostStatus, len(peers))
		start := time.Now()
		for _, peer := range peers {
			go func() { found <- v.verify(t.Context(), peer).Status }()
		}
		synctest.Wait()
		require.Equal(t, maxHostFlights, dns.questions())
		got := map[HostStatus]int{}
		for range peers {
			got[<-found]++
		}
		require.Equal(t, map[HostStatus]int{NoPTR: 2 * maxHostFlights, PTRTempFail: maxHostFlights}, got, "the third lot has one second left of its five")
		require.Equal(t, 5*time.Second, time.Since(start))

		asked := dns.questions()
		for _, peer := range peers {
			go func() { found <- v.verify(t.Context(), peer).Status }()
		}
		for range peers {
			<-found
		}
		require.Equal(t, asked, dns.questions(), "all are remembered")
	})
}

func TestVerifyHostKeeps(t *testing.T) {
	peer := netip.MustParseAddr("192.0.2.7")
	good := fakeAddrs{addrs: ips("192.0.2.7"), ttl: unknownTTL}
	tests := []struct {
		name  string
		ptr   fakePTR
		addrs map[string]fakeAddrs
		want  time.Duration
	}{
		{"verified", fakePTR{names: []string{"a.example."}, ttl: unknownTTL}, map[string]fakeAddrs{"ip4 a.example": good}, 10 * time.Minute},
		{"verified, long TTLs", fakePTR{names: []string{"a.example."}, ttl: time.Hour}, map[string]fakeAddrs{"ip4 a.example": {addrs: good.addrs, ttl: time.Hour}}, 10 * time.Minute},
		{"verified, short TTL of PTR", fakePTR{names: []string{"a.example."}, ttl: 7 * time.Second}, map[string]fakeAddrs{"ip4 a.example": {addrs: good.addrs, ttl: time.Hour}}, 7 * time.Second},
		{"verified, short TTL of A", fakePTR{names: []string{"a.example."}, ttl: time.Hour}, map[string]fakeAddrs{"ip4 a.example": {addrs: good.addrs, ttl: 8 * time.Second}}, 8 * time.Second},
		{"verified, short TTL of the name that was not", fakePTR{names: []string{"a.example.", "b.example."}, ttl: unknownTTL}, map[string]fakeAddrs{"ip4 a.example": good, "ip4 b.example": {ttl: 9 * time.Second}}, 9 * time.Second},
		{"verified, but another name failed", fakePTR{names: []string{"a.example.", "b.example."}, ttl: unknownTTL}, map[string]fakeAddrs{"ip4 a.example": good, "ip4 b.example": {err: errServFail}}, time.Minute},
		{"TTL 0 of PTR", fakePTR{names: []string{"a.example."}}, map[string]fakeAddrs{"ip4 a.example": good}, 0},
		{"TTL 0 of A", fakePTR{names: []string{"a.example."}, ttl: time.Hour}, map[string]fakeAddrs{"ip4 a.example": {addrs: good.addrs}}, 0},
		{"TTL 0 of nothing", fakePTR{names: []string{"a.example."}, ttl: time.Hour}, map[string]fakeAddrs{"ip4 a.example": {}}, time.Minute},
		{"no PTR, TTL 0", fakePTR{}, nil, time.Minute},
		{"no PTR", fakePTR{ttl: time.Hour}, nil, time.Minute},
		{"no PTR, short TTL", fakePTR{ttl: 5 * time.Second, err: errNXDomain}, nil, 5 * time.Second},
		{"failure", fakePTR{err: errServFail, ttl: time.Second}, nil, time.Minute},
		{"mismatch", fakePTR{names: []string{"a.example."}, ttl: time.Hour}, nil, time.Minute},
		{"mismatch, short TTL", fakePTR{names: []string{"a.example."}, ttl: 6 * time.Second}, nil, 6 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			dns := &fakeDNS{ptr: map[netip.Addr]fakePTR{peer: tt.ptr}, addrs: tt.addrs}
			v := newHostVerifier(dns, 0, func() time.Time { return now })
			first := v.verify(t.Context(), peer)
			asked := dns.questions()
			if tt.want > 0 {
				now = now.Add(tt.want - 1)
				require.Equal(t, first, v.verify(t.Context(), peer))
				require.Equal(t, asked, dns.questions(), "asked again too early")
				now = now.Add(1)
			}
			require.Equal(t, first, v.verify(t.Context(), peer))
			require.Equal(t, 2*asked, dns.questions(), "kept too long")
		})
	}
}

func TestVerifyHostBounded(t *testing.T) {
	dns := &fakeDNS{}
	v := newHostVerifier(dns, 0, nil).(*ptrVerifier)
	peer := netip.MustParseAddr("2001:db8::")
	for range 2 * maxHostCache {
		peer = peer.Next()
		v.verify(t.Context(), peer)
		require.LessOrEqual(t, len(v.young)+len(v.old), maxHostCache)
	}
	asked := dns.questions()
	v.verify(t.Context(), peer)
	require.Equal(t, asked, dns.questions(), "the latest is remembered")
	v.verify(t.Context(), netip.MustParseAddr("2001:db8::1"))
	require.Equal(t, asked+1, dns.questions(), "the first is forgotten")
}

func TestVerifyHostKnownAllocs(t *testing.T) {
	peer := netip.MustParseAddr("192.0.2.7")
	v := newHostVerifier(&fakeDNS{}, 0, nil)
	v.verify(t.Context(), peer)
	ctx := t.Context()
	require.Zero(t, testing.AllocsPerRun(100, func() { v.verify(ctx, peer) }))
}

func BenchmarkVerifyHostKnown(b *testing.B) {
	peer := netip.MustParseAddr("192.0.2.7")
	v := newHostVerifier(&fakeDNS{}, 0, nil)
	for b.Loop() {
		v.verify(b.Context(), peer)
	}
}
