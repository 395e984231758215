//go:build interop

package redisstore

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func BenchmarkGet(b *testing.B) {
	_, store := startServer(b, "--appendfsync", "everysec").open(b, Options{})
	_, err := store.Put(b.Context(), entry("a.example", time.Now().Add(time.Hour)), 0)
	require.NoError(b, err)
	for b.Loop() {
		if _, err := store.Get(b.Context(), "a.example"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPut(b *testing.B) {
	_, store := startServer(b, "--appendfsync", "everysec").open(b, Options{})
	e := entry("a.example", time.Now().Add(time.Hour))
	version, err := store.Put(b.Context(), e, 0)
	require.NoError(b, err)
	for b.Loop() {
		if version, err = store.Put(b.Context(), e, version); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLease(b *testing.B) {
	_, store := startServer(b, "--appendfsync", "everysec").open(b, Options{})
	for b.Loop() {
		release, held, err := store.Lease(b.Context(), "a.example", time.Minute)
		if err != nil || !held {
			b.Fatal(held, err)
		}
		release()
	}
}
