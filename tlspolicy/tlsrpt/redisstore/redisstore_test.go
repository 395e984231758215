package redisstore

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt"
	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt/tlsrpttest"
	"github.com/stretchr/testify/require"
)

func TestNew(t *testing.T) {
	_, err := New(nil, Options{})
	require.Error(t, err)
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer client.Close()
	_, err = New(client, Options{Prefix: "{x}:"})
	require.ErrorContains(t, err, "braces")
	s, err := New(client, Options{})
	require.NoError(t, err)
	require.Equal(t, "tlsrpt:{2026-03-01:r.example}", s.key(20513, "r.example"))
	require.Equal(t, "tlsrpt:{2026-03-01}", s.dayKey(20513))
}

// TestServerAway: every call fails, and none says that there is nothing.
func TestServerAway(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	s, err := New(client, Options{})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.Error(t, s.Save(ctx, []*tlsrpt.Snapshot{tlsrpttest.Snapshot(20513, "r.example", "w1", 1)}))
	tally, err := s.Load(ctx, 20513, "r.example")
	require.Error(t, err)
	require.Nil(t, tally)
	_, err = s.Days(ctx)
	require.Error(t, err)
	n := 0
	for _, err := range s.Domains(ctx, 20513) {
		require.Error(t, err)
		n++
	}
	require.Equal(t, 1, n)
	_, err = s.Progress(ctx, 20513, "r.example")
	require.Error(t, err)
	require.Error(t, s.SetProgress(ctx, 20513, "r.example", tlsrpt.Progress{}))
	release, held, err := s.Lease(ctx, 20513, "r.example", time.Minute)
	require.Error(t, err)
	require.False(t, held)
	release()
	require.Error(t, s.Prune(ctx, 20513))
}
