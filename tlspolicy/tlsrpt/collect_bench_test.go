package tlsrpt

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCollectAllocations(t *testing.T) {
	a := newAggregator(t, new(Memory), AggregatorOptions{})
	now := newClock("2026-03-01T12:00:00Z").now
	sts, tlsa := NewSTSPolicy("r.example", []byte("version: STSv1"), nil), NewTLSAPolicy("mx.r.example", "mx.r.example", nil)
	for why, s := range map[string]*Session{
		"success":            session("r.example", PolicyResult{Policy: sts}),
		"success under DANE": session("r.example", PolicyResult{Policy: tlsa}),
		"failure":            session("r.example", PolicyResult{Policy: sts, Result: CertificateExpired, Reason: "not-yet-valid"}),
		"two policies":       session("r.example", PolicyResult{Policy: tlsa, Result: TLSAInvalid}, PolicyResult{Policy: sts}),
	} {
		s.Time = now
		a.Collect(s)
		require.Zero(t, testing.AllocsPerRun(100, func() { a.Collect(s) }), why)
	}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		s := Session{Time: now, RecipientDomain: "r.example", MXHost: "mx.r.example"}
		s.Add(PolicyResult{Policy: sts})
		a.Collect(&s)
	}), "a session on the stack")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		var none Collector
		if none != nil {
			none.Collect(&Session{})
		}
		(*Aggregator)(nil).Collect(nil)
	}), "no collector")
}

func BenchmarkCollect(b *testing.B) {
	sts := NewSTSPolicy("r.example", []byte("version: STSv1"), nil)
	success := session("r.example", PolicyResult{Policy: sts})
	failure := session("r.example", PolicyResult{Policy: sts, Result: CertificateExpired, Reason: "not-yet-valid"})
	for name, s := range map[string]*Session{"success": success, "failure": failure} {
		s.Time = newClock("2026-03-01T12:00:00Z").now
		b.Run(name, func(b *testing.B) {
			a := newAggregator(b, new(Memory), AggregatorOptions{})
			b.ReportAllocs()
			for b.Loop() {
				a.Collect(s)
			}
		})
		b.Run(name+"/parallel", func(b *testing.B) {
			a := newAggregator(b, new(Memory), AggregatorOptions{})
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					a.Collect(s)
				}
			})
		})
	}
	b.Run("nil", func(b *testing.B) {
		var a *Aggregator
		for b.Loop() {
			a.Collect(success)
		}
	})
}

// BenchmarkDay counts a day of sessions to a hundred thousand domains, each with an
// MTA-STS policy of its own and one session in a hundred failing, and says what a
// domain costs, its policy included.
func BenchmarkDay(b *testing.B) {
	for _, size := range []struct{ sessions, domains int }{{100_000, 10_000}, {10_000_000, 100_000}} {
		b.Run(fmt.Sprintf("%d sessions to %d domains", size.sessions, size.domains), func(b *testing.B) {
			now := newClock("2026-03-01T12:00:00Z").now
			b.ReportAllocs()
			for b.Loop() {
				before := heap()
				a := newAggregator(b, new(Memory), AggregatorOptions{})
				sessions := make([]*Session, size.domains)
				for i := range sessions {
					name := fmt.Sprintf("domain%d.example", i)
					sessions[i] = session(name, PolicyResult{Policy: NewSTSPolicy(name, []byte("version: STSv1\nmode: enforce\nmx: mx."+name+"\nmax_age: 604800\n"), []string{"mx." + name})})
					sessions[i].Time = now
				}
				for i := range size.sessions {
					s := sessions[i%size.domains]
					s.Policies[0].Result = Success
					if i%101 == 0 {
						s.Policies[0].Result = ValidationFailure
					}
					a.Collect(s)
				}
				sessions = nil
				b.ReportMetric(float64(heap()-before)/float64(size.domains), "B/domain")
				require.Equal(b, uint64(size.sessions), a.Stats().Sessions)
				runtime.KeepAlive(a)
			}
		})
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMemory: what a domain costs does not grow with its sessions.
func TestMemory(t *testing.T) {
	const count = 5000
	a := newAggregator(t, new(Memory), AggregatorOptions{})
	sessions := make([]*Session, count)
	for i := range sessions {
		name := fmt.Sprintf("domain%d.example", i)
		sessions[i] = session(name, PolicyResult{Policy: NewNoPolicy(name)})
	}
	before := heap()
	feed := func(rounds int) int64 {
		for range rounds {
			for _, s := range sessions {
				a.Collect(s)
			}
		}
		return (heap() - before) / count
	}
	first := feed(1)
	require.Less(t, first, int64(1000), "octets for each domain: 100 MiB for 100000")
	require.Less(t, feed(20), first+50)
	runtime.KeepAlive(a)
	runtime.KeepAlive(sessions)
}
