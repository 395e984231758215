package dnssec

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCacheHitAllocs(t *testing.T) {
	s := newTestStub(t, nil, startServer(t, script{"host.example. A": hostA, "none.example. A": {rcode: 2, ede: 6}}.handle))
	ctx := context.Background()
	lookup(t, s, "host.example", TypeA)
	lookupError(t, s, "none.example", TypeA)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if a, err := s.Lookup(ctx, "host.example.", TypeA); err != nil || a.Security != Secure {
			t.Fatal(a, err)
		}
	}))
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if _, err := s.Lookup(ctx, "none.example.", TypeA); err == nil {
			t.Fatal("no error")
		}
	}), "a failure that is kept")
}

func BenchmarkCacheHit(b *testing.B) {
	s := newTestStub(b, nil, startServer(b, script{"host.example. A": hostA}.handle))
	lookup(b, s, "host.example", TypeA)
	b.ReportAllocs()
	for b.Loop() {
		s.Lookup(context.Background(), "host.example.", TypeA)
	}
}

func BenchmarkColdLookup(b *testing.B) {
	s := newTestStub(b, func(o *StubOptions) { o.Cache.Disable = true }, startServer(b, script{"host.example. A": hostA}.handle))
	lookup(b, s, "host.example", TypeA)
	b.ReportAllocs()
	for b.Loop() {
		s.Lookup(context.Background(), "host.example.", TypeA)
	}
}

func BenchmarkParseMessage(b *testing.B) {
	m := packed(b, fullMessage(b))
	b.ReportAllocs()
	for b.Loop() {
		parseMessage(m)
	}
}
