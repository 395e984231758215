//go:build interop

package redisstore

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// startPatience is how long a server may take until it answers, and a sentinel
// until the replica is the master: on a busy machine it pauses for half a minute
// at a time (its TILT mode).
const startPatience = 2 * time.Minute

// server is a redis-server of a test's own, reached over a Unix socket.
type server struct {
	t           testing.TB
	dir, socket string
	args        []string
	cmd         *exec.Cmd
}

// startServer starts a server that writes every change to disk before it answers.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") != "" {
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
	s.cmd = exec.Command("redis-server", append([]string{
		"--dir", s.dir, "--unixsocket", s.socket, "--port", "0", "--daemonize", "no", "--save", "",
		"--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction", "--logfile", filepath.Join(s.dir, "log"),
	}, s.args...)...)
	require.NoError(s.t, s.cmd.Start())
	client := s.client()
	defer client.Close()
	await(s.t, func() error { return client.Ping(s.t.Context()).Err() })
}

// await tries until there is no error.
func await(t testing.TB, try func() error) {
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
			t.Fatalf("not within %v: %v", startPatience, err)
		}
	}
}

func containsLine(text, line string) bool {
	return slices.Contains(strings.Split(strings.ReplaceAll(text, "\r", ""), "\n"), line)
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

// client returns a client that fails fast.
func (s *server) client() *redis.Client {
	return redis.NewClient(&redis.Options{Network: "unix", Addr: s.socket, MaxRetries: -1, DialerRetries: 1})
}

func (s *server) open(t testing.TB) *Store {
	t.Helper()
	client := s.client()
	t.Cleanup(func() { client.Close() })
	store, err := New(client, Options{})
	require.NoError(t, err)
	return store
}
