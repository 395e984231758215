package policymap

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	benchDomains = 10_000
	benchClients = 8
)

// bare is the least that a socketmap server can do: a map, and the same protocol.
type bare struct {
	mu      sync.RWMutex
	entries map[string]string
}

func (b *bare) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			in, buf := bufio.NewReader(conn), make([]byte, MaxRequest)
			var reply []byte
			for {
				request, err := readNetstring(in, buf, MaxRequest)
				if err != nil || len(request) < 7 {
					return
				}
				b.mu.RLock()
				entry, ok := b.entries[string(request[7:])]
				b.mu.RUnlock()
				if reply = appendNetstring(reply[:0], "NOTFOUND "); ok {
					reply = appendNetstring(reply[:0], "OK ", entry)
				}
				if _, err := conn.Write(reply); err != nil {
					return
				}
			}
		}()
	}
}

// ask puts n questions from several connections, and returns how long that took.
func ask(b *testing.B, address string, n int) time.Duration {
	var group sync.WaitGroup
	begin := time.Now()
	for c := range benchClients {
		group.Go(func() {
			conn, err := net.Dial("unix", address)
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			r, buf := bufio.NewReader(conn), make([]byte, 4096)
			var request []byte
			random := rand.New(rand.NewPCG(1, uint64(c)))
			for range n / benchClients {
				request = appendNetstring(request[:0], fmt.Sprintf("policy d%d.example", random.IntN(benchDomains)))
				if _, err := conn.Write(request); err != nil {
					b.Error(err)
					return
				}
				reply, err := readNetstring(r, buf, len(buf))
				if err != nil || string(reply[:3]) != "OK " {
					b.Error(string(reply), err)
					return
				}
			}
		})
	}
	group.Wait()
	return time.Since(begin)
}

// 10,000 domains, asked for by 8 connections at a time: answers from memory, beside a
// bare server in the same run. cold-ms is what it took to look all of them up, on a resolver that
// answers at once.
func BenchmarkCached(b *testing.B) {
	m := gated(b, &gate{})
	m.Entries = 2 * benchDomains
	dir := b.TempDir()
	listen := func(name string) net.Listener {
		l, err := net.Listen("unix", filepath.Join(dir, name))
		require.NoError(b, err)
		b.Cleanup(func() { l.Close() })
		return l
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	l := listen("service")
	go func() { ended <- (&Server{Map: m}).Serve(ctx, l, Socketmap) }()
	b.Cleanup(func() { cancel(); <-ended })
	plain := &bare{entries: map[string]string{}}
	go plain.serve(listen("bare"))

	begin := time.Now()
	var group sync.WaitGroup
	for c := range benchClients {
		group.Go(func() {
			for i := c; i < benchDomains; i += benchClients {
				m.Lookup(ctx, fmt.Sprintf("d%d.example", i))
			}
		})
	}
	group.Wait()
	cold := time.Since(begin)
	for i := range benchDomains {
		plain.entries[fmt.Sprintf("d%d.example", i)] = "dane"
	}
	// In turns, so that whatever else the machine does strikes both.
	const turns = 10
	var service, least time.Duration
	n := max(b.N/turns, benchClients)
	b.ResetTimer()
	for range turns {
		service += ask(b, filepath.Join(dir, "service"), n)
		b.StopTimer()
		least += ask(b, filepath.Join(dir, "bare"), n)
		b.StartTimer()
	}
	b.ReportMetric(float64(service)/float64(least), "times-bare")
	b.ReportMetric(float64(n*turns)/service.Seconds(), "answers/s")
	b.ReportMetric(float64(n*turns)/least.Seconds(), "bare-answers/s")
	b.ReportMetric(float64(cold.Milliseconds()), "cold-ms")
}

// An answer from memory, without a socket.
func BenchmarkLookup(b *testing.B) {
	m := gated(b, &gate{})
	m.Lookup(b.Context(), "d.example")
	b.ReportAllocs()
	for b.Loop() {
		m.Lookup(b.Context(), "d.example")
	}
}

// A request that memory answers costs what its key costs: one string.
func TestAllocs(t *testing.T) {
	m := gated(t, &gate{})
	request, reply := []byte("policy d.example"), make([]byte, 0, 1000)
	m.Lookup(t.Context(), "d.example")
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() {
		reply = Socketmap.respond(context.Background(), reply[:0], request, m.Lookup)
	}), 2.0, "the key, and the function that answers")
}
