//go:build interop

package redisstore

import (
	"fmt"
	"net"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt"
	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt/tlsrpttest"
	"github.com/stretchr/testify/require"
)

// freePort returns a loopback port on which nobody listens, and whose port for the
// bus of a Cluster is free too.
func freePort(t testing.TB) int {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if port > 50000 { // the bus is 10000 above
			continue
		}
		bus, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+10000))
		if err != nil {
			continue
		}
		bus.Close()
		return port
	}
}

// TestConformanceCluster: two nodes of a Cluster share the slots, and every call
// keeps to the keys of one.
func TestConformanceCluster(t *testing.T) {
	var addresses []string
	var nodes []*redis.Client
	for i, slots := range []string{"0 8191", "8192 16383"} {
		port := freePort(t)
		s := startServer(t, "--appendfsync", "no", "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--cluster-enabled", "yes",
			"--cluster-config-file", fmt.Sprintf("nodes%d.conf", i))
		client := s.client()
		t.Cleanup(func() { client.Close() })
		var from, to int
		_, err := fmt.Sscan(slots, &from, &to)
		require.NoError(t, err)
		require.NoError(t, client.ClusterAddSlotsRange(t.Context(), from, to).Err())
		if i > 0 {
			host, other, err := net.SplitHostPort(addresses[0])
			require.NoError(t, err)
			require.NoError(t, client.ClusterMeet(t.Context(), host, other).Err())
		}
		addresses = append(addresses, fmt.Sprintf("127.0.0.1:%d", port))
		nodes = append(nodes, client)
	}
	for _, node := range nodes {
		await(t, func() error {
			info, err := node.ClusterInfo(t.Context()).Result()
			if err == nil && !containsLine(info, "cluster_state:ok") {
				err = fmt.Errorf("not ready: %s", info)
			}
			return err
		})
	}
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addresses})
	t.Cleanup(func() { cluster.Close() })
	n := 0
	tlsrpttest.TestStore(t, func(t testing.TB) tlsrpttest.Backend {
		n++
		prefix := fmt.Sprintf("test%d:", n)
		return tlsrpttest.Backend{Open: func() tlsrpt.Store {
			store, err := New(cluster, Options{Prefix: prefix})
			require.NoError(t, err)
			return store
		}}
	})
	for _, node := range nodes {
		size, err := node.DBSize(t.Context()).Result()
		require.NoError(t, err)
		require.Positive(t, size, "both have a share")
	}
}
