//go:build interop

package redisstore

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// startPatience is how long a server may take until it answers, and a sentinel
// until the replica is the master: on a busy machine it pauses for half a minute
// at a time (its TILT mode).
const startPatience = 2 * time.Minute

// server is a redis-server of a test's own: its data in a temporary directory,
// reached over a Unix socket, without any configuration of the system's.
type server struct {
	t      testing.TB
	dir    string
	socket string
	args   []string
	cmd    *exec.Cmd
}

// startServer starts a server that writes every change to disk before it answers.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server is not installed (Debian package redis-server)")
		}
		t.Skip("redis-server is not installed (Debian package redis-server)")
	}
	dir, err := os.MkdirTemp("", "redis") // the path of a socket must be short
	require.NoError(t, err)
	s := &server{t: t, dir: dir, socket: filepath.Join(dir, "s"), args: args}
	t.Cleanup(func() {
		s.kill()
		os.RemoveAll(dir)
	})
	s.start()
	return s
}

func (s *server) start() {
	s.t.Helper()
	args := append([]string{
		"--dir", s.dir, "--unixsocket", s.socket, "--port", "0", "--daemonize", "no", "--save", "",
		"--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction", "--logfile", filepath.Join(s.dir, "log"),
	}, s.args...)
	s.cmd = exec.Command("redis-server", args...)
	require.NoError(s.t, s.cmd.Start())
	client := s.client()
	defer client.Close()
	await(s.t, func() error { return client.Ping(s.t.Context()).Err() }, "redis-server answers")
}

// kill ends the server as a crash would.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // killed
	s.cmd = nil
}

// client returns a client that fails fast and knows no more than it is told.
func (s *server) client() *redis.Client {
	return redis.NewClient(&redis.Options{Network: "unix", Addr: s.socket, MaxRetries: -1, DialerRetries: 1})
}

// open returns a client that is closed after the test, and a Store over it.
func (s *server) open(t testing.TB, o Options) (*redis.Client, *Store) {
	t.Helper()
	client := s.client()
	t.Cleanup(func() { client.Close() })
	store, err := New(client, o)
	require.NoError(t, err)
	return client, store
}

// await tries until there is no error.
func await(t testing.TB, try func() error, what string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startPatience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %v: %v", what, startPatience, err)
		}
	}
}

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
		bus, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port+10000))
		if err == nil {
			bus.Close()
			return port
		}
	}
}

// startCluster starts a Cluster of three masters, each with a third of the slots.
func startCluster(t testing.TB) *redis.ClusterClient {
	t.Helper()
	const masters, slots = 3, 16384
	var addrs []string
	var nodes []*redis.Client
	for i := range masters {
		port := freePort(t)
		addr := "127.0.0.1:" + strconv.Itoa(port)
		s := startServer(t, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--cluster-enabled", "yes", "--appendfsync", "no")
		node := s.client()
		t.Cleanup(func() { node.Close() })
		require.NoError(t, node.ClusterAddSlotsRange(t.Context(), slots*i/masters, slots*(i+1)/masters-1).Err())
		if i > 0 {
			require.NoError(t, nodes[0].ClusterMeet(t.Context(), "127.0.0.1", strconv.Itoa(port)).Err())
		}
		addrs, nodes = append(addrs, addr), append(nodes, node)
	}
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs})
	t.Cleanup(func() { cluster.Close() })
	await(t, func() error {
		for _, node := range nodes {
			info, err := node.ClusterInfo(t.Context()).Result()
			if err != nil {
				return err
			}
			known, err := node.ClusterNodes(t.Context()).Result()
			if err != nil {
				return err
			}
			if !containsAll(info, "cluster_state:ok", "cluster_known_nodes:3") || !containsAll(known, addrs...) {
				return fmt.Errorf("cluster: %s", info)
			}
		}
		cluster.ReloadState(t.Context())
		return cluster.ForEachMaster(t.Context(), func(ctx context.Context, c *redis.Client) error { return c.Ping(ctx).Err() })
	}, "the Cluster is whole")
	return cluster
}
