//go:build interop

package redisstore

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt"
	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt/tlsrpttest"
	"github.com/stretchr/testify/require"
)

// TestConformanceRing: two servers that know nothing of each other share the keys.
func TestConformanceRing(t *testing.T) {
	one, two := startServer(t, "--appendfsync", "no"), startServer(t, "--appendfsync", "no")
	ring := redis.NewRing(&redis.RingOptions{
		Addrs:     map[string]string{"one": one.socket, "two": two.socket},
		NewClient: func(o *redis.Options) *redis.Client { o.Network = "unix"; return redis.NewClient(o) },
	})
	t.Cleanup(func() { ring.Close() })
	n := 0
	tlsrpttest.TestStore(t, func(t testing.TB) tlsrpttest.Backend {
		n++
		prefix := fmt.Sprintf("test%d:", n)
		return tlsrpttest.Backend{Open: func() tlsrpt.Store {
			store, err := New(ring, Options{Prefix: prefix})
			require.NoError(t, err)
			return store
		}}
	})
	for _, s := range []*server{one, two} {
		client := s.client()
		defer client.Close()
		size, err := client.DBSize(t.Context()).Result()
		require.NoError(t, err)
		require.Positive(t, size, "both have a share")
	}
}

// TestSentinel: the counts outlive the master, on its replica, and a flush that is
// sent again to the new master counts once.
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
	t.Cleanup(func() { _ = sentinel.Process.Kill(); _ = sentinel.Wait() }) // killed
	address := "127.0.0.1:" + strconv.Itoa(sentinelPort)
	client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "mta", SentinelAddrs: []string{address}, DialerRetries: 1})
	t.Cleanup(func() { client.Close() })
	await(t, func() error { return client.Ping(t.Context()).Err() })
	store, err := New(client, Options{})
	require.NoError(t, err)
	save := func(n uint64) error {
		return store.Save(t.Context(), []*tlsrpt.Snapshot{tlsrpttest.Snapshot(day, "r.example", "w1", n)})
	}
	require.NoError(t, save(3))
	admin := master.client()
	defer admin.Close()
	await(t, func() error {
		if n, err := admin.Wait(t.Context(), 1, time.Second).Result(); n != 1 {
			return fmt.Errorf("%d replicas have it: %v", n, err)
		}
		return nil
	})
	watch := redis.NewSentinelClient(&redis.Options{Addr: address})
	t.Cleanup(func() { watch.Close() })
	await(t, func() error {
		if replicas, err := watch.Replicas(t.Context(), "mta").Result(); len(replicas) != 1 {
			return fmt.Errorf("the sentinel knows %d replicas: %v", len(replicas), err)
		}
		return nil
	})
	master.kill()
	// While the roles change, some connections still go to the old master.
	for _, n := range []uint64{3, 5} {
		await(t, func() error { return save(n) })
		await(t, func() error {
			tally, err := store.Load(t.Context(), day, "r.example")
			if err == nil {
				require.Equal(t, n, tally.Policies()[0].Successes)
			}
			return err
		})
	}
}
