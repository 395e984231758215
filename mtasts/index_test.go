package mtasts

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestIndexAgainstMap adds, replaces and removes domains at random, and holds the
// index against a map after each round.
func TestIndexAgainstMap(t *testing.T) {
	for seed := range uint64(10) {
		random := rand.New(rand.NewPCG(seed, 1))
		x, want := newIndex(), map[string]*slot{}
		for round := range 30 {
			for range random.IntN(200) {
				domain := fmt.Sprintf("d%d", random.IntN(300))
				if random.IntN(4) == 0 {
					domain += strings.Repeat(".long-enough-not-to-fit", 2)
				}
				if random.IntN(3) == 0 {
					require.Same(t, want[domain], x.remove(domain))
					delete(want, domain)
					continue
				}
				s := bare(entry{Domain: domain})
				require.Same(t, want[domain], x.set(s), "the slot that it had")
				want[domain] = s
			}
			require.Equal(t, len(want), x.live)
			require.LessOrEqual(t, x.live, x.taken)
			require.LessOrEqual(t, x.taken, fullGroups*len(*x.groups.Load()), "some places are always free")
			got := map[string]*slot{}
			for s := range x.all() {
				require.NotContains(t, got, s.entry.Domain, "once")
				got[s.entry.Domain] = s
			}
			require.Equal(t, want, got, "seed %d round %d", seed, round)
			for domain, s := range want {
				require.Same(t, s, x.get(domain))
			}
			require.Nil(t, x.get("none"))
		}
	}
}

// TestIndexWhileItChanges reads domains that stay while others come and go and the
// index grows: they are always found, and never a slot of another domain.
func TestIndexWhileItChanges(t *testing.T) {
	x := newIndex()
	const stay = 50
	for i := range stay {
		x.set(bare(entry{Domain: fmt.Sprintf("stay%d", i)}))
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for i := range stay {
					domain := fmt.Sprintf("stay%d", i)
					if s := x.get(domain); s == nil || s.entry.Domain != domain {
						t.Error("lost", domain)
						return
					}
				}
			}
		})
	}
	for i := range 20000 {
		x.set(bare(entry{Domain: fmt.Sprintf("stay%d", i%stay)})) // a new entry of the same domain
		x.set(bare(entry{Domain: fmt.Sprintf("go%d", i)}))
		if i%3 > 0 {
			x.remove(fmt.Sprintf("go%d", i))
		}
	}
	close(stop)
	readers.Wait()
}

// TestIndexOfEqualTags has twenty domains that only their names tell apart.
func TestIndexOfEqualTags(t *testing.T) {
	x := newIndex()
	var names []string
	for i := 0; len(names) < 20; i++ {
		name := fmt.Sprintf("d%d", i)
		if at, _ := x.find(*x.groups.Load(), name); at.tag == 1 {
			names = append(names, name)
		}
	}
	for _, name := range names {
		require.Nil(t, x.set(bare(entry{Domain: name})))
	}
	for i, name := range names {
		require.Equal(t, name, x.get(name).entry.Domain)
		if i%2 == 0 {
			require.Equal(t, name, x.remove(name).entry.Domain)
			require.Nil(t, x.get(name))
		}
	}
	for i, name := range names {
		require.Equal(t, i%2 == 1, x.get(name) != nil, name)
	}
}
