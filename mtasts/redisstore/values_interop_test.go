//go:build interop

package redisstore

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/stretchr/testify/require"
)

func TestWhatIsInRedis(t *testing.T) {
	s := startServer(t)
	now := time.Now()
	client, store := s.open(t, Options{Now: func() time.Time { return now }})
	ctx := t.Context()
	e := entry("a.example", now.Add(3*24*time.Hour))
	version, err := store.Put(ctx, e, 0)
	require.NoError(t, err)
	want, err := e.WithVersion(version).MarshalText()
	require.NoError(t, err)
	keys, err := client.Keys(ctx, "*").Result()
	require.NoError(t, err)
	require.Equal(t, []string{"mtasts:{a.example}"}, keys)
	got, err := client.Get(ctx, keys[0]).Result()
	require.NoError(t, err)
	require.Equal(t, string(want), got)
	left, err := client.PTTL(ctx, keys[0]).Result()
	require.NoError(t, err)
	require.InDelta(t, 4*24*time.Hour, left, float64(time.Minute), "validity and a day")

	_, held, err := store.Lease(ctx, "a.example", time.Minute)
	require.NoError(t, err)
	require.True(t, held)
	left, err = client.PTTL(ctx, "mtasts:{a.example}:lease").Result()
	require.NoError(t, err)
	require.InDelta(t, time.Minute, left, float64(30*time.Second))

	require.NoError(t, store.Delete(ctx, "a.example", version))
	now = now.Add(time.Millisecond)
	again, err := store.Put(ctx, e, 0)
	require.NoError(t, err)
	require.Greater(t, again, version, "no version of an entry that was deleted comes back")
}

// TestForeignValues: what somebody else has put under our keys is never an entry
// and never an absence, and what is not even a text stays where it is.
func TestForeignValues(t *testing.T) {
	s := startServer(t)
	client, store := s.open(t, Options{})
	ctx := t.Context()
	require.NoError(t, client.RPush(ctx, "mtasts:{a.example}", "x", "y").Err())
	require.NoError(t, client.RPush(ctx, "mtasts:{a.example}:lease", "x").Err())
	_, err := store.Get(ctx, "a.example")
	require.ErrorContains(t, err, "WRONGTYPE")
	require.NotErrorIs(t, err, mtasts.ErrNotFound)
	require.NotErrorIs(t, err, mtasts.ErrCorrupt)
	_, err = store.Put(ctx, entry("a.example", time.Now()), 0)
	require.ErrorContains(t, err, "WRONGTYPE")
	require.ErrorContains(t, store.Delete(ctx, "a.example", 0), "WRONGTYPE")
	_, held, err := store.Lease(ctx, "a.example", time.Minute)
	require.ErrorContains(t, err, "WRONGTYPE")
	require.False(t, held)
	require.EqualValues(t, 2, client.LLen(ctx, "mtasts:{a.example}").Val(), "left alone")

	// Beside ours, and one that only looks like ours.
	require.NoError(t, client.Set(ctx, "mtasts:{A Name}", "x", 0).Err())
	require.NoError(t, client.Set(ctx, "mtasts:settings", "x", 0).Err())
	require.NoError(t, client.Set(ctx, "other", "x", 0).Err())
	_, err = store.Put(ctx, entry("b.example", time.Now().Add(time.Hour)), 0)
	require.NoError(t, err)
	var domains, problems []string
	for e, err := range store.All(ctx) {
		if err != nil {
			problems = append(problems, err.Error())
		} else {
			domains = append(domains, e.Domain())
		}
	}
	require.Equal(t, []string{"b.example"}, domains)
	require.Len(t, problems, 2, "%v", problems)

	// An empty text, which is not even damage.
	require.NoError(t, client.Set(ctx, "mtasts:{empty.example}", "", 0).Err())
	_, err = store.Get(ctx, "empty.example")
	require.ErrorIs(t, err, mtasts.ErrNotFound)
	_, err = store.Put(ctx, entry("empty.example", time.Now()), 0)
	require.NoError(t, err)
}

func TestDamageIsKeptAside(t *testing.T) {
	s := startServer(t)
	client, store := s.open(t, Options{})
	ctx := t.Context()
	require.NoError(t, client.Set(ctx, "mtasts:{a.example}", "damage", 0).Err())
	_, err := store.Get(ctx, "a.example")
	require.ErrorIs(t, err, mtasts.ErrCorrupt)
	require.Equal(t, "damage", client.Get(ctx, "mtasts:{a.example}:corrupt").Val())
	left := client.PTTL(ctx, "mtasts:{a.example}:corrupt").Val()
	require.InDelta(t, asideFor, left, float64(time.Hour))
	gone, err := store.setAside(ctx, "a.example", "damage")
	require.NoError(t, err)
	require.False(t, gone, "not what is there any more")
	for range store.All(ctx) {
		t.Fatal("what is aside is no entry")
	}
}

// TestDamageIsKeptAsideByPut: also what begins like an entry, and nobody has read.
func TestDamageIsKeptAsideByPut(t *testing.T) {
	s := startServer(t)
	client, store := s.open(t, Options{})
	const damage = "mtasts-entry 1\ndomain a.example\n"
	require.NoError(t, client.Set(t.Context(), "mtasts:{a.example}", damage, 0).Err())
	_, err := store.Put(t.Context(), entry("a.example", time.Now()), 0)
	require.NoError(t, err)
	require.Equal(t, damage, client.Get(t.Context(), "mtasts:{a.example}:corrupt").Val())
}

// TestLeaseSentTwice: a client that sends a call again because the answer was lost
// has its lease all the same.
func TestLeaseSentTwice(t *testing.T) {
	s := startServer(t)
	_, store := s.open(t, Options{})
	for _, tc := range []struct {
		token string
		want  bool
	}{{"mine", true}, {"mine", true}, {"other", false}} {
		held, err := store.run(t.Context(), leaseScript, []string{store.leaseKey("a.example")}, tc.token, 60000)
		require.NoError(t, err)
		require.Equal(t, tc.want, held, tc.token)
	}
}

// repeating is a server whose SCAN tells every key twice, as it may.
type repeating struct{ *redis.Client }

func (r repeating) Scan(ctx context.Context, cursor uint64, match string, count int64) *redis.ScanCmd {
	cmd := r.Client.Scan(ctx, cursor, match, count)
	keys, next := cmd.Val()
	cmd.SetVal(append(keys, keys...), next)
	return cmd
}

func TestScanTellsKeysTwice(t *testing.T) {
	s := startServer(t)
	client, store := s.open(t, Options{})
	_, err := store.Put(t.Context(), entry("a.example", time.Now()), 0)
	require.NoError(t, err)
	n := 0
	seen := make(map[string]struct{})
	require.True(t, store.scan(t.Context(), repeating{client}, seen, func(_ *mtasts.Entry, err error) bool {
		require.NoError(t, err)
		n++
		return true
	}))
	require.Equal(t, 1, n)
}

// TestRunsOutByItself: an entry is gone when its lifetime is over.
func TestRunsOutByItself(t *testing.T) {
	s := startServer(t)
	client, store := s.open(t, Options{})
	ctx := t.Context()
	_, err := store.Put(ctx, entry("a.example", time.Now().Add(time.Hour)), 0)
	require.NoError(t, err)
	require.NoError(t, client.PExpire(ctx, "mtasts:{a.example}", time.Millisecond).Err())
	await(t, func() error {
		_, err := store.Get(ctx, "a.example")
		if errors.Is(err, mtasts.ErrNotFound) {
			return nil
		}
		return fmt.Errorf("still there: %v", err)
	}, "the entry runs out")
}

// TestKilledWhileWriting kills the server again and again while nodes write. What
// was acknowledged is never lost, and what is read is whole.
func TestKilledWhileWriting(t *testing.T) {
	s := startServer(t)
	const rounds = 5
	_, reader := s.open(t, Options{})
	var acknowledged mtasts.Version
	for round := range rounds {
		_, store := s.open(t, Options{})
		wrote := make(chan mtasts.Version, 1<<16)
		go func() {
			defer close(wrote)
			for version := acknowledged; ; {
				next, err := store.Put(context.Background(), entry("a.example", time.Now().Add(time.Hour)), version)
				if err != nil {
					return
				}
				version = next
				wrote <- version
			}
		}()
		for range 20 + 7*round {
			acknowledged = <-wrote
		}
		s.kill()
		for version := range wrote {
			acknowledged = version
		}
		s.start()
		var e *mtasts.Entry
		await(t, func() (err error) {
			if e, err = reader.Get(context.Background(), "a.example"); errors.Is(err, mtasts.ErrCorrupt) || errors.Is(err, mtasts.ErrNotFound) {
				t.Fatal(err)
			}
			return err
		}, "the entry is read")
		require.GreaterOrEqual(t, e.Version(), acknowledged, "round %d", round)
		require.LessOrEqual(t, e.Version(), acknowledged+1, "one more was written, and its answer lost")
		acknowledged = e.Version()
	}
}

// TestHungServer: a server that stops answering costs a lookup no more than the
// time that a Client gives its store.
func TestHungServer(t *testing.T) {
	s := startServer(t)
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: s.socket, ReadTimeout: time.Hour})
	t.Cleanup(func() { client.Close() })
	store, err := New(client, Options{})
	require.NoError(t, err)
	_, err = store.Put(t.Context(), entry("a.example", time.Now().Add(time.Hour)), 0)
	require.NoError(t, err)
	hang := s.client()
	hung := make(chan struct{})
	go func() {
		defer close(hung)
		hang.Do(context.Background(), "client", "pause", 60000, "all")
	}()
	<-hung
	hang.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	everyCall(t, ctx, store, func(err error) { require.ErrorIs(t, err, context.DeadlineExceeded) })
}
