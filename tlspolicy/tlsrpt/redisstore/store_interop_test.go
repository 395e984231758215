//go:build interop

package redisstore

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt"
	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt/tlsrpttest"
	"github.com/stretchr/testify/require"
)

// day is one of which nothing expires while the tests run.
var day = tlsrpt.DayOf(time.Now())

func TestConformance(t *testing.T) {
	s := startServer(t, "--appendfsync", "no")
	n := 0
	tlsrpttest.TestStore(t, func(t testing.TB) tlsrpttest.Backend {
		n++
		prefix := fmt.Sprintf("test%d:", n)
		client := s.client()
		t.Cleanup(func() { client.Close() })
		open := func() *Store {
			store, err := New(client, Options{Prefix: prefix})
			require.NoError(t, err)
			return store
		}
		return tlsrpttest.Backend{
			Open: func() tlsrpt.Store { return open() },
			Damage: func(snapshot *tlsrpt.Snapshot) error {
				key := open().key(snapshot.Day, snapshot.Domain)
				text, err := client.HGet(t.Context(), key, snapshot.Writer).Result()
				if err != nil {
					return err
				}
				return client.HSet(t.Context(), key, snapshot.Writer, strings.Replace(text, `"successes":1`, `"successes":9`, 1)).Err()
			},
		}
	})
}

// TestKilled kills the server again and again while a writer saves: what was
// acknowledged is there, and nothing is there twice.
func TestKilled(t *testing.T) {
	s := startServer(t)
	random := rand.New(rand.NewPCG(8, 460))
	last := uint64(0)
	for round := range 15 {
		store := s.open(t)
		var acknowledged atomic.Uint64
		acknowledged.Store(last)
		done, started := make(chan uint64), make(chan struct{})
		go func() {
			n := last + 1
			for ; store.Save(t.Context(), []*tlsrpt.Snapshot{tlsrpttest.Snapshot(day, "r.example", "w1", n)}) == nil; n++ {
				acknowledged.Store(n)
				if n == last+uint64(5) {
					close(started)
				}
			}
			done <- n
		}()
		<-started
		for range random.IntN(5000) {
			runtime.Gosched()
		}
		s.kill()
		tried := <-done
		s.start()
		tally, err := s.open(t).Load(t.Context(), day, "r.example")
		require.NoError(t, err)
		require.Len(t, tally.Snapshots(), 1)
		got := tally.Policies()[0].Successes
		require.GreaterOrEqual(t, got, acknowledged.Load(), "round %d", round)
		require.LessOrEqual(t, got, tried, "round %d", round)
		// What was not acknowledged is sent again, and counts once.
		require.NoError(t, s.open(t).Save(t.Context(), []*tlsrpt.Snapshot{tlsrpttest.Snapshot(day, "r.example", "w1", tried)}))
		last = tried
	}
}

// TestFleet: three nodes count, the server dies between two flushes, and the report
// is that of one node that has seen everything.
func TestFleet(t *testing.T) {
	s := startServer(t)
	one := new(tlsrpt.Memory)
	single, err := tlsrpt.NewAggregator(one, tlsrpt.AggregatorOptions{})
	require.NoError(t, err)
	var nodes []*tlsrpt.Aggregator
	for range 3 {
		node, err := tlsrpt.NewAggregator(s.open(t), tlsrpt.AggregatorOptions{})
		require.NoError(t, err)
		nodes = append(nodes, node)
	}
	feed := func() {
		for i := range 300 {
			session := tlsrpt.Session{Time: day.Begin().Add(12 * time.Hour), RecipientDomain: "r.example"}
			session.Add(tlsrpt.PolicyResult{Policy: tlsrpt.NewNoPolicy("r.example"), Result: []tlsrpt.ResultType{"", tlsrpt.ValidationFailure}[i%2], Reason: fmt.Sprint(i % 7)})
			single.Collect(&session)
			nodes[i%3].Collect(&session)
		}
	}
	feed()
	for _, node := range nodes {
		require.NoError(t, node.Flush(t.Context()))
	}
	feed()
	s.kill()
	for _, node := range nodes {
		require.Error(t, node.Flush(t.Context()))
	}
	s.start()
	feed()
	for _, node := range append(nodes, single) {
		require.NoError(t, node.Flush(t.Context()))
	}
	want, err := one.Load(t.Context(), day, "r.example")
	require.NoError(t, err)
	got, err := s.open(t).Load(t.Context(), day, "r.example")
	require.NoError(t, err)
	require.Equal(t, want.Policies(), got.Policies())
	require.Len(t, got.Snapshots(), 3)
}

// TestLifetimes: every key goes by itself.
func TestLifetimes(t *testing.T) {
	s := startServer(t, "--appendfsync", "no")
	store, client := s.open(t), s.client()
	defer client.Close()
	require.NoError(t, store.Save(t.Context(), []*tlsrpt.Snapshot{tlsrpttest.Snapshot(day, "r.example", "w1", 1)}))
	require.NoError(t, store.SetProgress(t.Context(), day, "r.example", tlsrpt.Progress{Done: true}))
	_, held, err := store.Lease(t.Context(), day, "r.example", time.Minute)
	require.NoError(t, err)
	require.True(t, held)
	keys, err := client.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.Len(t, keys, 5)
	for _, key := range keys {
		ttl, err := client.TTL(t.Context(), key).Result()
		require.NoError(t, err)
		if key != "tlsrpt:{days}" { // a few octets for each day, which Prune removes
			require.Positive(t, ttl, key)
			require.LessOrEqual(t, ttl, keptFor+24*time.Hour, key)
		}
	}
}

// TestACL: the ACL of the package comment is enough for everything.
func TestACL(t *testing.T) {
	text, err := os.ReadFile("redisstore.go")
	require.NoError(t, err)
	_, rule, found := strings.Cut(string(text), "ACL SETUSER mta ")
	require.True(t, found)
	rule, _, _ = strings.Cut(rule, "\n")
	s := startServer(t, "--appendfsync", "no")
	admin := s.client()
	defer admin.Close()
	args := []any{"acl", "setuser", "mta"}
	for word := range strings.FieldsSeq(rule) {
		args = append(args, word)
	}
	require.NoError(t, admin.Do(t.Context(), args...).Err())
	user := redis.NewClient(&redis.Options{Network: "unix", Addr: s.socket, Username: "mta", Password: "secret", DisableIdentity: true})
	defer user.Close()
	store, err := New(user, Options{})
	require.NoError(t, err)
	useAll(t, store, admin)
	require.ErrorContains(t, user.Get(t.Context(), "other").Err(), "NOPERM", "keys of others")
}

// useAll makes every call once, and each works.
func useAll(t *testing.T, store *Store, admin *redis.Client) {
	ctx := t.Context()
	require.NoError(t, store.Save(ctx, []*tlsrpt.Snapshot{tlsrpttest.Snapshot(day, "r.example", "w1", 1)}))
	require.NoError(t, store.SetProgress(ctx, day, "r.example", tlsrpt.Progress{Done: true}))
	p, err := store.Progress(ctx, day, "r.example")
	require.NoError(t, err)
	require.True(t, p.Done)
	for range 2 {
		release, held, err := store.Lease(ctx, day, "r.example", time.Minute)
		require.NoError(t, err)
		require.True(t, held)
		release()
	}
	require.NoError(t, admin.HSet(ctx, store.key(day, "r.example"), "w2", "damage").Err())
	_, err = store.Load(ctx, day, "r.example")
	require.ErrorIs(t, err, tlsrpt.ErrCorrupt)
	require.Equal(t, "damage", admin.HGet(ctx, store.key(day, "r.example")+":corrupt", "w2").Val())
	_, err = store.Load(ctx, day, "r.example")
	require.NoError(t, err)
	for domain, err := range store.Domains(ctx, day) {
		require.NoError(t, err)
		require.Equal(t, "r.example", domain)
	}
	require.NoError(t, store.Prune(ctx, day+1))
	days, err := store.Days(ctx)
	require.NoError(t, err)
	require.Empty(t, days)
	require.Zero(t, admin.DBSize(ctx).Val(), "nothing is left")
}
