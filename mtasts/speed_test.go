package mtasts

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	usualRecord = "v=STSv1; id=20160831085700Z;"
	usualPolicy = "version: STSv1\r\nmode: enforce\r\nmx: mx1.mail.example.com\r\nmx: mx2.mail.example.com\r\nmx: mx3.mail.example.com\r\nmx: backup.example.net\r\nmx: *.relay.example.org\r\nmax_age: 604800\r\n"
)

func TestAllocsOfTexts(t *testing.T) {
	body, reused := []byte(usualPolicy), new(Policy)
	require.NoError(t, Parser{}.Policy(usualPolicy, reused))
	for _, tc := range []struct {
		what string
		want float64
		f    func()
	}{
		{"ParseRecord", 0, func() { _, _ = ParseRecord(usualRecord) }},
		{"ParsePolicy", 2, func() { _, _ = ParsePolicy(body) }},
		{"Parser.Policy", 0, func() { _ = Parser{}.Policy(usualPolicy, reused) }},
		{"Match, wildcard", 0, func() { reused.Match("MX9.Relay.Example.ORG.") }},
		{"Match, miss", 0, func() { reused.Match("mx9.mail.example.com") }},
		{"normalDomain", 0, func() { _, _ = normalDomain("example.com") }},
	} {
		require.Equal(t, tc.want, testing.AllocsPerRun(100, tc.f), tc.what)
	}
}

func BenchmarkParseRecord(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = ParseRecord(usualRecord)
	}
}

func BenchmarkParsePolicy(b *testing.B) {
	b.ReportAllocs()
	body := []byte(usualPolicy)
	for b.Loop() {
		_, _ = ParsePolicy(body)
	}
}

func BenchmarkParserPolicyReused(b *testing.B) {
	b.ReportAllocs()
	dst := new(Policy)
	for b.Loop() {
		_ = Parser{}.Policy(usualPolicy, dst)
	}
}

func BenchmarkMatch(b *testing.B) {
	p, err := ParsePolicy([]byte(usualPolicy))
	if err != nil {
		b.Fatal(err)
	}
	for _, bc := range []struct{ name, host string }{
		{"wildcard", "mx9.relay.example.org"}, {"case", "MX9.Relay.Example.ORG"}, {"miss", "mx9.mail.example.com"},
	} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Match(bc.host)
			}
		})
	}
	// What a comparison costs that knows neither letter case nor wildcards.
	b.Run("plain", func(b *testing.B) {
		hits, host := 0, "mx9.mail.example.com"
		for b.Loop() {
			for _, pattern := range p.MX {
				if pattern == host {
					hits++
				}
			}
		}
		if hits > 0 {
			b.Fatal(hits)
		}
	})
}

// BenchmarkLookup answers from caches of a few domains, which are near, and of very
// many, on all cores. The names lie in memory in the order in which they are asked
// for, as a caller has just read them; what the cache has lies anywhere.
func BenchmarkLookup(b *testing.B) {
	for _, domains := range []int{1000, 100000} {
		w, names := worldOf(b, domains)
		ctx := b.Context()
		b.Run(fmt.Sprint(domains, "/client"), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := rand.IntN(domains); pb.Next(); i = (i + 1) % domains {
					if r, err := w.Lookup(ctx, names[i]); err != nil || r.Outcome == OutcomeUnknown {
						b.Error(r, err)
					}
				}
			})
		})
		// What it costs to find the entry alone, out of as much memory. As little
		// is done with it, the processor finds several at once.
		bare := make(map[string]*entry, domains)
		for _, name := range names {
			bare[strings.Clone(name)] = w.Client.engine.cache.peek(name)
		}
		b.Run(fmt.Sprint(domains, "/map"), func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for i := rand.IntN(domains); pb.Next(); i = (i + 1) % domains {
					if e := bare[names[i]]; e.SeenAt.IsZero() {
						b.Error(e)
					}
				}
			})
		})
	}
}

// worldOf has a cache of so many domains, every other one with a policy.
func worldOf(b *testing.B, domains int) (*world, []string) {
	w := newWorld()
	w.Trace = nil
	g, now := w.start(), w.clock.Now()
	names := make([]string, domains)
	for i, n := range rand.Perm(domains) {
		names[i] = fmt.Sprintf("domain%d.example.com", n)
	}
	for _, i := range rand.Perm(domains) {
		e := entry{Domain: strings.Clone(names[i])}
		if i%2 == 0 {
			policy, err := ParsePolicy([]byte(usualPolicy))
			if err != nil {
				b.Fatal(err)
			}
			e, _, _ = g.observeRecord(e, now, recordSeen{id: "1"})
			e, _ = g.observePolicy(e, policySeen{id: "1", start: now, end: now, policy: policy})
		} else {
			e, _, _ = g.observeRecord(e, now, recordSeen{fail: recordFailure(names[i], OutcomeNoRecord, ReasonRecordAbsent, nil)})
		}
		g.store(&e, now, delivery)
	}
	g.clock = systemAt{now}
	return w, names
}

// systemAt is the system's clock without its movement.
type systemAt struct{ now time.Time }

func (c systemAt) Now() time.Time { return c.now }

func (systemAt) NewTimer(d time.Duration) (<-chan time.Time, func()) {
	return systemClock{}.NewTimer(d)
}
