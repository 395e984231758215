//go:build interop

package redisstore

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/mtasts/ststest"
	"github.com/stretchr/testify/require"
)

// fleet is some Clients over one server, which share an Internet and a clock.
type fleet struct {
	dns   *ststest.Resolver
	host  *ststest.PolicyHost
	clock *clock
	nodes []*node
}

// node is a Client and the kinds of its events.
type node struct {
	*mtasts.Client
	mu   sync.Mutex
	seen map[mtasts.EventKind]int
}

func (n *node) count(kind mtasts.EventKind) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.seen[kind]
}

// clock is the system's, moved forward by a test.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Round(0).Add(c.ahead)
}

func (c *clock) NewTimer(d time.Duration) (<-chan time.Time, func()) {
	timer := time.NewTimer(d)
	return timer.C, func() { timer.Stop() }
}

func newFleet(t *testing.T, nodes int, open func() mtasts.Store) *fleet {
	f := &fleet{dns: new(ststest.Resolver), host: ststest.NewPolicyHost(), clock: new(clock)}
	t.Cleanup(f.host.Close)
	for range nodes {
		f.add(open())
	}
	return f
}

func (f *fleet) add(store mtasts.Store) *node {
	n := &node{seen: make(map[mtasts.EventKind]int)}
	n.Client = &mtasts.Client{Store: store, Resolver: f.dns, Fetch: f.host.FetchConfig(), Clock: f.clock, Trace: func(e mtasts.Event) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.seen[e.Kind]++
	}}
	f.nodes = append(f.nodes, n)
	return n
}

func (f *fleet) publish(domain, id string) {
	f.dns.SetTXT(domain, "v=STSv1; id="+id+";")
	f.host.SetPolicy(domain, "version: STSv1\nmode: enforce\nmx: *."+domain+"\nmax_age: 604800\n")
}

func lookup(t *testing.T, n *node, domain string) mtasts.Result {
	t.Helper()
	result, err := n.Lookup(context.Background(), domain)
	require.NoError(t, err)
	return result
}

// TestSharedCache: what one node has fetched the other obeys without a GET or a
// query, also when it starts later, and also a back-off.
func TestSharedCache(t *testing.T) {
	s := startServer(t)
	f := newFleet(t, 2, func() mtasts.Store { _, store := s.open(t, Options{}); return store })
	f.publish("partner.example", "1")
	first := lookup(t, f.nodes[0], "partner.example")
	require.Equal(t, mtasts.SourceFresh, first.Source, "%v", first.Err)
	second := lookup(t, f.nodes[1], "partner.example")
	require.Equal(t, mtasts.OutcomeEnforce, second.Outcome)
	require.Equal(t, mtasts.SourceCached, second.Source)
	require.True(t, first.Expires.Equal(second.Expires))
	require.Equal(t, first.Body, second.Body)
	require.Equal(t, 1, f.host.Gets("partner.example"))
	require.Equal(t, 1, f.dns.Queries("partner.example"))

	f.dns.SetTXT("failing.example", "v=STSv1; id=1;")
	f.host.SetFault("failing.example", ststest.FaultExpired)
	require.Equal(t, mtasts.OutcomeWebPKI, lookup(t, f.nodes[0], "failing.example").Outcome)
	require.Equal(t, mtasts.OutcomeBackoff, lookup(t, f.nodes[1], "failing.example").Outcome)
	require.Equal(t, 1, f.dns.Queries("failing.example"))

	_, late := s.open(t, Options{})
	f.dns.SetTXT("partner.example") // forged away
	third := lookup(t, f.add(late), "partner.example")
	require.Equal(t, mtasts.OutcomeEnforce, third.Outcome)
	require.Equal(t, mtasts.SourceCached, third.Source)
	for _, n := range f.nodes {
		require.Zero(t, n.count(mtasts.EventStoreError))
		require.Zero(t, n.count(mtasts.EventEntryCorrupt))
	}
}

// TestOneGetForTheFleet: all nodes ask for the same domains at the same moment, and
// each policy is fetched once.
func TestOneGetForTheFleet(t *testing.T) {
	s := startServer(t, "--appendfsync", "no")
	const nodes, domains = 3, 40
	f := newFleet(t, nodes, func() mtasts.Store { _, store := s.open(t, Options{}); return store })
	name := func(i int) string { return fmt.Sprintf("d%d.example", i) }
	for i := range domains {
		f.publish(name(i), "1")
	}
	var all sync.WaitGroup
	start := make(chan struct{})
	outcomes := make([][domains]mtasts.Outcome, nodes)
	for n := range nodes {
		for i := range domains {
			all.Go(func() {
				<-start
				result, err := f.nodes[n].Lookup(context.Background(), name(i))
				if err == nil {
					outcomes[n][i] = result.Outcome
				}
			})
		}
	}
	close(start)
	all.Wait()
	for i := range domains {
		for n := range nodes {
			require.Equal(t, mtasts.OutcomeEnforce, outcomes[n][i])
		}
		require.Equal(t, 1, f.host.Gets(name(i)), name(i))
	}
}

// TestServerKilled: while Redis is down policies are kept and applied and new ones
// found; when it is back, what it had is there and what was learned meanwhile is
// written.
func TestServerKilled(t *testing.T) {
	s := startServer(t)
	client, store := s.open(t, Options{})
	f := newFleet(t, 1, func() mtasts.Store { return store })
	n := f.nodes[0]
	f.publish("kept.example", "1")
	f.publish("new.example", "1")
	require.Equal(t, mtasts.SourceFresh, lookup(t, n, "kept.example").Source)
	before, err := store.Get(t.Context(), "kept.example")
	require.NoError(t, err)

	s.kill()
	everyCall(t, t.Context(), store, func(error) {})
	// Held in memory: applied, though DNS says now that there is nothing.
	f.dns.SetTXT("kept.example")
	f.clock.add(11 * time.Minute)
	require.Equal(t, mtasts.OutcomeEnforce, lookup(t, n, "kept.example").Outcome)
	result, changed, err := n.Recheck(t.Context(), "kept.example")
	require.NoError(t, err)
	require.False(t, changed)
	require.Equal(t, mtasts.OutcomeEnforce, result.Outcome)
	require.True(t, result.Match("mx.kept.example"))
	require.Equal(t, mtasts.ReasonRecordAbsent, result.Reason)
	// Not in memory: discovered.
	require.Equal(t, mtasts.SourceFresh, lookup(t, n, "new.example").Source)
	require.Positive(t, n.count(mtasts.EventStoreError))

	s.start()
	await(t, func() error { return client.Ping(t.Context()).Err() }, "the client is connected again")
	after, err := store.Get(t.Context(), "kept.example")
	require.NoError(t, err)
	require.Equal(t, before.Version(), after.Version(), "what was written is there")
	_, err = store.Get(t.Context(), "new.example")
	require.ErrorIs(t, err, mtasts.ErrNotFound)
	// The next observation writes.
	failures := n.count(mtasts.EventStoreError)
	f.clock.add(11 * time.Minute)
	for _, domain := range []string{"kept.example", "new.example"} {
		_, _, err = n.Recheck(t.Context(), domain)
		require.NoError(t, err)
	}
	require.Equal(t, failures, n.count(mtasts.EventStoreError))
	after, err = store.Get(t.Context(), "kept.example")
	require.NoError(t, err)
	require.Greater(t, after.Version(), before.Version())
	_, err = store.Get(t.Context(), "new.example")
	require.NoError(t, err)
	// A node that starts now has it all, and the forged absence takes nothing away.
	fresh := f.add(store)
	require.Equal(t, mtasts.OutcomeEnforce, lookup(t, fresh, "kept.example").Outcome)
	require.Equal(t, mtasts.OutcomeEnforce, lookup(t, fresh, "new.example").Outcome)
	require.Equal(t, 1, f.host.Gets("kept.example"))
	require.Equal(t, 1, f.host.Gets("new.example"))
}

// TestCorruptValues: a Client that meets damage, an entry of another domain or of
// another release in the store takes them for nothing and goes on.
func TestCorruptValues(t *testing.T) {
	s := startServer(t)
	client, store := s.open(t, Options{})
	f := newFleet(t, 1, func() mtasts.Store { return store })
	ctx := t.Context()
	evil, err := entry("evil.example", time.Now().Add(time.Hour)).WithVersion(1).MarshalText()
	require.NoError(t, err)
	for _, tc := range []struct {
		domain, value string
		corrupt       int // events
	}{
		{"damaged.example", "mtasts-entry 1\nversion 3\n", 1},
		{"swapped.example", string(evil), 1},
		{"later.example", "mtasts-entry 2\nversion 3\n", 0},
		{"huge.example", strings.Repeat("x", 4<<20), 1},
	} {
		f.publish(tc.domain, "1")
		require.NoError(t, client.Set(ctx, "mtasts:{"+tc.domain+"}", tc.value, 0).Err())
		before := f.nodes[0].count(mtasts.EventEntryCorrupt)
		result := lookup(t, f.nodes[0], tc.domain)
		require.Equal(t, mtasts.OutcomeEnforce, result.Outcome, tc.domain)
		require.True(t, result.Match("mx."+tc.domain), tc.domain)
		require.Equal(t, tc.corrupt, f.nodes[0].count(mtasts.EventEntryCorrupt)-before, tc.domain)
		_, err := store.Get(ctx, tc.domain)
		if tc.corrupt > 0 {
			require.NoError(t, err, "%s: written anew", tc.domain)
			continue
		}
		require.ErrorIs(t, err, mtasts.ErrSchema, "left alone")
		require.Equal(t, tc.value, client.Get(ctx, "mtasts:{"+tc.domain+"}").Val())
	}
}
