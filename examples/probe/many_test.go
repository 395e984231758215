package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/lab"
)

func numbers(n int) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for i := range n {
			if !yield(fmt.Sprint(i), nil) {
				return
			}
		}
	}
}

// TestInOrder: results come in the order of the items whatever time each takes, and
// not more than so many are under way.
func TestInOrder(t *testing.T) {
	for _, n := range []int{1, 2, 8} {
		synctest.Test(t, func(t *testing.T) {
			var running, most atomic.Int64
			var got []string
			err := inOrder(t.Context(), n, numbers(100), func(text string) string {
				now := running.Add(1)
				for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
				}
				time.Sleep(time.Duration(100-len(text)*37%100) * time.Millisecond)
				running.Add(-1)
				return text
			}, func(text string) { got = append(got, text) })
			require.NoError(t, err)
			require.Len(t, got, 100)
			for i, text := range got {
				require.Equal(t, fmt.Sprint(i), text)
			}
			require.LessOrEqual(t, most.Load(), int64(n))
		})
	}
}

// TestInOrderEnds: the error of the list comes behind the results, and when ctx ends
// those under way are shown, although the list goes on or hangs.
func TestInOrderEnds(t *testing.T) {
	broken := errors.New("broken")
	var got []string
	show := func(text string) { got = append(got, text) }
	err := inOrder(t.Context(), 4, func(yield func(string, error) bool) {
		_ = yield("a", nil) && yield("b", nil) && yield("", broken)
	}, func(text string) string { return text }, show)
	require.ErrorIs(t, err, broken)
	require.Equal(t, []string{"a", "b"}, got)

	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		got = nil
		hanging := func(yield func(string, error) bool) {
			_ = yield("a", nil) && yield("b", nil)
			<-release
		}
		time.AfterFunc(time.Second, cancel)
		require.NoError(t, inOrder(ctx, 4, hanging, func(text string) string {
			<-ctx.Done()
			return text
		}, show))
		require.Equal(t, []string{"a", "b"}, got)
		close(release)
	})
}

// TestThousand: a thousand domains in a row leave nothing behind: what is in memory
// after the second half is what was there after the first. Domains share the mail
// hosts of a provider, as they do outside.
func TestThousand(t *testing.T) {
	domains := 1000
	if raceEnabled {
		domains = 100
	}
	w := thousandWorld(domains)
	l, p := inLab(t, w)
	live := func() uint64 {
		for _, h := range l.Hosts() {
			require.NoError(t, h.Idle(t.Context()))
			h.Forget() // that is the lab's memory and not ours
		}
		l.PlainServer().Reset()
		l.FrontServer().Reset()
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	count := map[Status]int{}
	look := func(from, to int) {
		err := inOrder(t.Context(), 8, func(yield func(string, error) bool) {
			for _, d := range w.Domains[from:to] {
				if !yield(d.Name, nil) {
					return
				}
			}
		}, func(text string) *Result { return p.probe(t.Context(), text) }, func(r *Result) { count[r.Status]++ })
		require.NoError(t, err)
	}
	begin := live()
	look(0, domains/2)
	half := live()
	look(domains/2, domains)
	end := live()
	growth := int64(end-half) / int64(domains/2)
	t.Logf("live heap: %d KiB at first, %d KiB after %d domains, %d KiB after %d: %d octets for each of the second half",
		begin>>10, half>>10, domains/2, end>>10, domains, growth)
	require.Less(t, growth, int64(32<<10))
	require.Equal(t, domains, count[StatusOK]+count[StatusMend])
	require.Greater(t, count[StatusMend], domains/5)
	require.Greater(t, count[StatusOK], domains/5)
}

// thousandWorld is a world of domains of many kinds at the mail hosts of a provider,
// which is a domain as well.
func thousandWorld(domains int) lab.World {
	provider := lab.Domain{Name: "provider.example", DNSSEC: lab.Signed}
	for i := range 20 {
		h := lab.Host{Name: fmt.Sprintf("mx%d.provider.example", i)}
		switch i % 4 {
		case 1:
			h.TLSA = []lab.TLSA{lab.TLSAMatch}
		case 2:
			h.Cert.Kind = lab.CertExpired
		case 3:
			h.Fault = lab.NoSTARTTLS()
		}
		provider.Hosts = append(provider.Hosts, h)
	}
	all := []lab.Domain{provider}
	for i := range domains - 1 {
		d := lab.Domain{Name: fmt.Sprintf("d%d.example", i), MX: []lab.MX{{Host: provider.Hosts[i%20].Name, Pref: 10}}}
		if i%2 == 0 {
			d.DNSSEC = lab.Signed
		}
		all = append(all, d)
	}
	slices.SortStableFunc(all, func(a, b lab.Domain) int { return len(a.Name) - len(b.Name) })
	return lab.World{Domains: all}
}
