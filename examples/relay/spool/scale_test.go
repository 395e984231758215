//go:build unix

package spool

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fill writes messages as Commit does, without its syncs.
func fill(t testing.TB, dir string, messages int) {
	t.Helper()
	sum := sha256.Sum256([]byte(sampleBody))
	at := time.Date(2026, 11, 24, 9, 15, 0, 0, time.UTC)
	for i := range messages {
		e := Envelope{ID: fmt.Sprintf("20261124-091500-%012x", i), Sender: "a@example.org", Recipients: to(fmt.Sprint(i, "@example.com")),
			Size: int64(len(sampleBody)), SHA256: hex.EncodeToString(sum[:])}
		e.fill(at)
		text, err := e.encode()
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, bodyName(e.ID)), []byte(sampleBody), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, envelopeName(e.ID)), text, 0o600))
	}
}

// TestManyMessages: opening and listing a long queue takes the memory of one message.
func TestManyMessages(t *testing.T) {
	s, dir := newSpool(t)
	fill(t, dir, manyMessages)
	require.NoError(t, s.Close())
	before := heapInUse()
	begin := time.Now()
	s = openSpool(t, dir, Options{Report: func(err error) { t.Error(err) }})
	opened := time.Since(begin)
	begin = time.Now()
	seen, most := 0, int64(0)
	for _, err := range s.All() {
		require.NoError(t, err)
		if seen++; seen%(manyMessages/5) == 0 {
			most = max(most, heapInUse()-before)
		}
	}
	require.Equal(t, manyMessages, seen)
	runtime.KeepAlive(s)
	t.Logf("%d messages: opened in %v, listed in %v, with %d KiB more memory at most", seen, opened.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond), most>>10)
	require.Less(t, most, int64(1<<20), "whatever the number of messages")
}

// BenchmarkCommit receives messages of 4 KiB, durably, by so many at a time.
func BenchmarkCommit(b *testing.B) {
	body := strings.Repeat("0123456789abcdef", 256)
	for _, at := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("parallel=%d", at), func(b *testing.B) {
			s, err := Open(b.TempDir(), Options{})
			require.NoError(b, err)
			defer s.Close()
			b.SetBytes(int64(len(body)))
			b.SetParallelism(max(1, at/runtime.GOMAXPROCS(0)))
			b.ReportAllocs()
			one := func() {
				if _, err := add(s, body, &Envelope{Sender: "a@example.org", Recipients: to("b@example.com")}); err != nil {
					b.Error(err)
				}
			}
			if at == 1 {
				for b.Loop() {
					one()
				}
			} else {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						one()
					}
				})
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkLife is a message from Create over one Update to Remove.
func BenchmarkLife(b *testing.B) {
	s, err := Open(b.TempDir(), Options{})
	require.NoError(b, err)
	defer s.Close()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			id, err := add(s, sampleBody, &Envelope{Recipients: to("b@example.com")})
			if err == nil {
				err = s.change(id, func(r *Recipient) { r.State = Delivered })
			}
			if err == nil {
				err = s.Remove(id)
			}
			if err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkDecode reads an envelope with one recipient.
func BenchmarkDecode(b *testing.B) {
	e := fullEnvelope()
	e.Recipients = e.Recipients[:1]
	file := encoded(b, e)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decode(file); err != nil {
			b.Fatal(err)
		}
	}
}
