package dnssec

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/dnstest"
)

// The table in the package documentation.
func TestQueryCounts(t *testing.T) {
	tree, _ := sampleTree(t)
	server := serve(t, tree, dnstest.PassThrough)
	for _, tt := range []struct {
		why         string
		name, other string // a second name of the same kind
		typ         Type
		cold, warm  int
	}{
		{"signed zone two below the root", "_25._tcp.mx.nsec.com.", "mx.nsec.com.", TypeTLSA, 6, 1},
		{"the same, a denial", "absent.nsec3.com.", "absent2.nsec3.com.", TypeTLSA, 6, 1},
		{"unsigned zone two below the root", "mx.unsigned.com.", "absent.unsigned.com.", TypeA, 5, 1},
		{"signed zone three below the root", "mx.child.nsec.com.", "alias.child.nsec.com.", TypeA, 8, 1},
		{"signed zone below an empty non-terminal", "mx.below.uncut.com.", "alias.below.uncut.com.", TypeA, 7, 1},
		{"alias into another signed zone", "s3.alias.com.", "s3-none.alias.com.", TypeA, 10, 1},
	} {
		v := newTestValidator(t, tree, nil, server.Addr())
		count := func(name string) int {
			server.Reset()
			_, err := ask(v, name, tt.typ)
			require.NoError(t, err)
			return server.Count()
		}
		require.Equal(t, tt.cold, count(tt.name), "%s, nothing known", tt.why)
		require.Equal(t, tt.warm, count(tt.other), "%s, zone known", tt.why)
		require.Zero(t, count(tt.name), "%s, answer known", tt.why)
	}
}

// The last line of the table: all that a delivery asks for, MX, both kinds of addresses, and TLSA.
func TestQueryCountOfDelivery(t *testing.T) {
	tree, _ := sampleTree(t)
	plain, validating := serve(t, tree, dnstest.PassThrough), serve(t, tree, dnstest.Validating)
	v := newTestValidator(t, tree, nil, plain.Addr())
	stub, err := NewStub(StubOptions{
		Common: Common{Upstream: Upstream{Timeout: patient, Servers: []netip.AddrPort{validating.Addr()}}}, Trust: TrustAlways,
	})
	require.NoError(t, err)
	for _, tt := range []struct {
		resolver          Resolver
		cache             *cache
		server            *dnstest.Server
		cold, warm, known int
	}{
		{v, v.cache, plain, 9, 4, 0},
		{stub, stub.cache, validating, 5, 4, 0}, // the first is its self-check
	} {
		deliver := func(domain string) int {
			tt.server.Reset()
			mx, err := LookupMX(t0, tt.resolver, domain)
			require.NoError(t, err)
			_, err = LookupAddrs(t0, tt.resolver, mx.Hosts[0].Host)
			require.NoError(t, err)
			_, err = ask(tt.resolver, "_25._tcp."+mx.Hosts[0].Host, TypeTLSA)
			require.NoError(t, err)
			return tt.server.Count()
		}
		require.Equal(t, tt.cold, deliver("nsec.com"))
		require.Equal(t, tt.known, deliver("nsec.com"))
		tt.cache.purge() // as if the answers had run out, but not the way to the zone
		require.Equal(t, tt.warm, deliver("nsec.com"))
	}
}

// The average over the whole tree, each lookup by a Validator that knows nothing.
func TestAverageQueryCount(t *testing.T) {
	tree, names := sampleTree(t)
	server := serve(t, tree, dnstest.PassThrough)
	lookups := 0
	for i := 0; i < len(names); i += 9 {
		ask(newTestValidator(t, tree, nil, server.Addr()), names[i], TypeA)
		lookups++
	}
	average := float64(server.Count()) / float64(lookups)
	t.Log(average)
	require.Less(t, average, 6.5)
}

func TestValidatorCacheHitAllocs(t *testing.T) {
	tree := liarTree(t)
	v := newTestValidator(t, tree, nil, serve(t, tree, dnstest.PassThrough).Addr())
	for _, q := range []Question{{"_25._tcp.mx.zone.com.", TypeTLSA}, {"absent.zone.com.", TypeTLSA}, {"a.zone.com.", TypeA}} {
		_, err := ask(v, q.Name, q.Type)
		require.NoError(t, err)
		require.Zero(t, testing.AllocsPerRun(1000, func() {
			if _, err := v.Lookup(t0, q.Name, q.Type); err != nil {
				t.Fatal(err)
			}
		}))
	}
}

func BenchmarkValidatorCacheHit(b *testing.B) {
	tree := liarTree(b)
	v := newTestValidator(b, tree, nil, serve(b, tree, dnstest.PassThrough).Addr())
	b.ReportAllocs()
	for b.Loop() {
		v.Lookup(t0, "_25._tcp.mx.zone.com.", TypeTLSA)
	}
}

// BenchmarkValidate measures the judgement of one message with an Ed25519 signature, the keys known, without the network.
func BenchmarkValidate(b *testing.B) {
	w := newFixedWorld()
	b.ReportAllocs()
	for b.Loop() {
		if _, failed := w.v.newJob(w.ups, w.questions[2]).run(t0); failed != nil {
			b.Fatal(failed)
		}
	}
}

// Lookups that are the same, or need the same zones, share the way there.
func TestConcurrentColdLookups(t *testing.T) {
	tree, _ := sampleTree(t)
	server := serve(t, tree, dnstest.PassThrough)
	v := newTestValidator(t, tree, nil, server.Addr())
	require.NoError(t, v.Check(t0))
	server.Reset()
	hold := make(chan struct{})
	server.Fault("_25._tcp.mx.nsec.com.", dns.TypeTLSA, dnstest.Fault{Wait: hold})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			a, err := ask(v, "_25._tcp.mx.nsec.com.", TypeTLSA)
			if err != nil || a.Security != Secure {
				t.Error(a, err)
			}
		})
	}
	require.Eventually(t, func() bool { // all 20 wait
		v.lookups.mu.Lock()
		defer v.lookups.mu.Unlock()
		fl := v.lookups.flying[Question{"_25._tcp.mx.nsec.com.", TypeTLSA}]
		return fl != nil && fl.callers == 20
	}, 10*time.Second, time.Millisecond)
	close(hold)
	wg.Wait()
	require.Equal(t, 5, server.Count(), "one lookup: the answer, two DS, two DNSKEY")
}

// 100 goroutines with all kinds of questions, while the cache is small.
func TestValidatorConcurrently(t *testing.T) {
	noLeaks(t)
	tree, names := sampleTree(t)
	server := serve(t, tree, dnstest.PassThrough)
	v := newTestValidator(t, tree, func(o *ValidatorOptions) { o.Cache.Entries = 16 }, server.Addr())
	var wg sync.WaitGroup
	for g := range 100 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 1))
			for range 10 {
				name, typ := names[random.IntN(len(names))], sampleTypes[random.IntN(len(sampleTypes))]
				ctx, cancel := context.WithCancel(context.Background())
				if random.IntN(10) == 0 {
					cancel()
				}
				a, err := v.Lookup(ctx, name, typ)
				cancel()
				if err != nil && err.(*Error).Kind == KindCanceled {
					continue
				}
				want := tree.Verdict(name, uint16(typ)).Security.String()
				if got := judged(a, err); got != want && got != KindLoop.String() && (got != bogusly || want != "bogus") {
					t.Errorf("%s %s: %s, want %s (%v)", name, typ, got, want, err)
				}
			}
		})
	}
	wg.Wait()
}

// A caller that gives up gets its answer at once, and nothing is left behind.
func TestValidatorCanceled(t *testing.T) {
	noLeaks(t)
	tree := liarTree(t)
	server := serve(t, tree, dnstest.PassThrough)
	for _, at := range []Question{{"mx.zone.com.", TypeA}, {"com.", TypeDS}, {"zone.com.", TypeDNSKEY}, {".", TypeDNSKEY}} {
		v := newTestValidator(t, tree, func(o *ValidatorOptions) { o.Upstream.Timeout = 10 * brief }, server.Addr())
		ctx, cancel := context.WithCancel(context.Background())
		server.Edit(func(q, m *dns.Msg) *dns.Msg {
			if q.Question[0].Name == at.Name && Type(q.Question[0].Qtype) == at.Type {
				cancel()
				return nil
			}
			return m
		})
		_, err := v.Lookup(ctx, "mx.zone.com.", TypeA)
		require.ErrorIs(t, err, KindCanceled)
		require.ErrorIs(t, err, context.Canceled)
		server.Edit(nil)
		a, err := ask(v, "mx.zone.com.", TypeA)
		require.NoError(t, err, "what was given up is not kept")
		require.Equal(t, Secure, a.Security)
	}
}

// Answers end when their records do.
func TestValidatorExpiry(t *testing.T) {
	tree := liarTree(t)
	server := serve(t, tree, dnstest.PassThrough)
	var mu sync.Mutex
	now := time.Now()
	pass := func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(d)
	}
	v := newTestValidator(t, tree, func(o *ValidatorOptions) {
		o.Now = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return now
		}
	}, server.Addr())
	count := func() int {
		server.Reset()
		_, err := ask(v, "mx.zone.com.", TypeA)
		require.NoError(t, err)
		return server.Count()
	}
	require.Equal(t, 6, count())
	pass(299 * time.Second)
	require.Zero(t, count())
	pass(2 * time.Second)
	require.Equal(t, 6, count(), "zones too")
	pass(31 * 24 * time.Hour)
	_, err := ask(v, "mx.zone.com.", TypeA)
	require.ErrorIs(t, err, KindBogus, "all signatures have ended")
}

func TestZoneCacheIsBounded(t *testing.T) {
	var c zoneCache
	now := time.Now()
	for i := range maxBorders + 10 {
		name := wireName([]byte{3, 'a' + byte(i%26), 'a' + byte(i/26%26), 'a' + byte(i/676), 0})
		c.put(name, border{expires: now.Add(time.Hour)}, now)
		_, ok := c.get(wireName("\x03aaa\x00"), now)
		require.True(t, ok, "what is used stays")
	}
	require.Len(t, c.entries, maxBorders)
	require.Equal(t, maxBorders, c.order.Len())
	_, ok := c.get(wireName("\x03baa\x00"), now)
	require.False(t, ok)
	_, ok = c.get(wireName("\x03aaa\x00"), now.Add(time.Hour))
	require.False(t, ok, "nothing stale")
}
