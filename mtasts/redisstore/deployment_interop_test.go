//go:build interop

package redisstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/mtasts/ststest"
	"github.com/stretchr/testify/require"
)

func containsAll(text string, parts ...string) bool {
	return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(text, p) })
}

// conformance runs the suite; each subtest has a prefix of its own.
func conformance(t *testing.T, connect func(t testing.TB) redis.UniversalClient) {
	n := 0
	ststest.TestStore(t, func(t testing.TB) ststest.Backend {
		n++
		prefix := fmt.Sprintf("test[%d]*:", n)
		client := connect(t)
		return ststest.Backend{
			Open: func() mtasts.Store {
				s, err := New(connect(t), Options{Prefix: prefix})
				require.NoError(t, err)
				return s
			},
			Plant: func(domain string, text []byte) error {
				return client.Set(t.Context(), prefix+"{"+domain+"}", text, 0).Err()
			},
		}
	})
}

func TestConformance(t *testing.T) {
	s := startServer(t, "--appendfsync", "no")
	conformance(t, func(t testing.TB) redis.UniversalClient {
		client := s.client()
		t.Cleanup(func() { client.Close() })
		return client
	})
}

func TestConformanceCluster(t *testing.T) {
	cluster := startCluster(t)
	conformance(t, func(testing.TB) redis.UniversalClient { return cluster })
}

func TestConformanceRing(t *testing.T) {
	one, two := startServer(t, "--appendfsync", "no"), startServer(t, "--appendfsync", "no")
	ring := redis.NewRing(&redis.RingOptions{
		Addrs:     map[string]string{"one": one.socket, "two": two.socket},
		NewClient: func(o *redis.Options) *redis.Client { o.Network = "unix"; return redis.NewClient(o) },
	})
	t.Cleanup(func() { ring.Close() })
	conformance(t, func(testing.TB) redis.UniversalClient { return ring })
	for _, s := range []*server{one, two} {
		client, _ := s.open(t, Options{})
		n, err := client.DBSize(t.Context()).Result()
		require.NoError(t, err)
		require.Positive(t, n, "both have a share")
	}
}

// TestSentinel: the entries outlive the master, on its replica.
func TestSentinel(t *testing.T) {
	masterPort, replicaPort, sentinelPort := freePort(t), freePort(t), freePort(t)
	loopback := func(port int) []string { return []string{"--bind", "127.0.0.1", "--port", strconv.Itoa(port)} }
	master := startServer(t, loopback(masterPort)...)
	replica := startServer(t, append(loopback(replicaPort), "--replicaof", fmt.Sprintf("127.0.0.1 %d", masterPort))...)
	config := filepath.Join(replica.dir, "sentinel.conf")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `port %d
bind 127.0.0.1
dir %s
logfile %s
sentinel monitor mta 127.0.0.1 %d 1
sentinel down-after-milliseconds mta 500
sentinel failover-timeout mta 5000
`, sentinelPort, replica.dir, filepath.Join(replica.dir, "sentinel.log"), masterPort), 0o600))
	sentinel := exec.Command("redis-server", config, "--sentinel")
	require.NoError(t, sentinel.Start())
	t.Cleanup(func() { _ = sentinel.Process.Kill(); _ = sentinel.Wait() })
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: "mta", SentinelAddrs: []string{"127.0.0.1:" + strconv.Itoa(sentinelPort)}, DialerRetries: 1,
	})
	t.Cleanup(func() { client.Close() })
	await(t, func() error { return client.Ping(t.Context()).Err() }, "the sentinel knows the master")
	store, err := New(client, Options{})
	require.NoError(t, err)
	want := entry("a.example", time.Now().Add(time.Hour))
	version, err := store.Put(t.Context(), want, 0)
	require.NoError(t, err)
	admin, _ := master.open(t, Options{})
	await(t, func() error {
		if n, err := admin.Wait(t.Context(), 1, time.Second).Result(); n != 1 {
			return fmt.Errorf("%d replicas have it: %v", n, err)
		}
		return nil
	}, "the replica has the entry")
	watch := redis.NewSentinelClient(&redis.Options{Addr: "127.0.0.1:" + strconv.Itoa(sentinelPort)})
	t.Cleanup(func() { watch.Close() })
	await(t, func() error {
		if replicas, err := watch.Replicas(t.Context(), "mta").Result(); len(replicas) != 1 {
			return fmt.Errorf("the sentinel knows %d replicas: %v", len(replicas), err)
		}
		return nil
	}, "the sentinel knows the replica")

	master.kill()
	await(t, func() error {
		_, err := store.Put(t.Context(), want, version)
		require.NotErrorIs(t, err, mtasts.ErrNotFound)
		if errors.Is(err, mtasts.ErrStoreConflict) {
			return nil // written, and its answer lost
		}
		return err
	}, "the replica takes over")
	e, err := store.Get(t.Context(), "a.example")
	require.NoError(t, err)
	require.Equal(t, version+1, e.Version())
}

// The ACL of the package comment.
const (
	aclRule    = "on >secret ~mtasts:{* -@all +hello +getrange +get +set +del +rename +pexpire +scan +eval +evalsha"
	aclCluster = "+cluster|slots"
)

// limit lets nobody in but the user mta of the ACL.
func limit(t *testing.T, admin *redis.Client, rule string) {
	t.Helper()
	args := []any{"acl", "setuser", "mta"}
	for word := range strings.FieldsSeq(rule) {
		args = append(args, word)
	}
	require.NoError(t, admin.Do(t.Context(), args...).Err())
	require.NoError(t, admin.Do(t.Context(), "acl", "setuser", "default", "off").Err())
}

// TestACL: the ACL of the package comment is enough for everything, reaches no
// other keys, and whoever has no password reaches nothing.
func TestACL(t *testing.T) {
	text, err := os.ReadFile("redisstore.go")
	require.NoError(t, err)
	require.Contains(t, string(text), "ACL SETUSER mta "+aclRule+"\n")
	require.Contains(t, string(text), "A Cluster wants "+aclCluster+" ")
	s := startServer(t)
	admin := s.client()
	t.Cleanup(func() { admin.Close() })
	limit(t, admin, aclRule)
	user := redis.NewClient(&redis.Options{Network: "unix", Addr: s.socket, Username: "mta", Password: "secret", DisableIdentity: true})
	t.Cleanup(func() { user.Close() })
	useAll(t, user)
	require.ErrorContains(t, user.Get(t.Context(), "other").Err(), "NOPERM", "keys of others")
	require.ErrorContains(t, user.FlushDB(t.Context()).Err(), "NOPERM")
	_, stranger := s.open(t, Options{})
	everyCall(t, t.Context(), stranger, func(err error) { require.ErrorContains(t, err, "NOAUTH") })
}

func TestACLCluster(t *testing.T) {
	admin := startCluster(t)
	require.NoError(t, admin.ForEachMaster(t.Context(), func(_ context.Context, node *redis.Client) error {
		limit(t, node, aclRule+" "+aclCluster)
		return nil
	}))
	user := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: admin.Options().Addrs, Username: "mta", Password: "secret", DisableIdentity: true,
	})
	t.Cleanup(func() { user.Close() })
	useAll(t, user)
}

// useAll makes every call that a Client makes, and each works.
func useAll(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	store, err := New(client, Options{})
	require.NoError(t, err)
	ctx := t.Context()
	version, err := store.Put(ctx, entry("a.example", time.Now().Add(time.Hour)), 0)
	require.NoError(t, err)
	_, err = store.Get(ctx, "a.example")
	require.NoError(t, err)
	n := 0
	for _, err := range store.All(ctx) {
		require.NoError(t, err)
		n++
	}
	require.Equal(t, 1, n)
	require.NoError(t, store.Delete(ctx, "a.example", version))
	for range 2 {
		release, held, err := store.Lease(ctx, "a.example", time.Minute)
		require.NoError(t, err)
		require.True(t, held, "after a release")
		release()
	}
	require.NoError(t, client.Set(ctx, store.key("a.example"), "damage", 0).Err())
	_, err = store.Get(ctx, "a.example")
	require.ErrorIs(t, err, mtasts.ErrCorrupt)
	_, err = store.Get(ctx, "a.example")
	require.ErrorIs(t, err, mtasts.ErrNotFound, "put aside")
}
