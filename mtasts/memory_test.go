package mtasts

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func domains(entries []*entry) (names []string) {
	for _, e := range entries {
		names = append(names, e.Domain)
	}
	return names
}

func policyEntry(domain string, mode PolicyMode, body int) entry {
	return entry{Domain: domain, Policy: &Policy{Mode: mode}, Body: make([]byte, body)}
}

// bare is the slot of an entry that no lookup is told of.
func bare(e entry) *slot { return newSlot(&e, Result{}, span{}) }

func TestMemoryEvictsByUse(t *testing.T) {
	c := newMemory(Limits{MaxPolicies: 3, MaxNegative: 2}.withDefaults())
	at := func(s int) time.Time { return epoch.Add(time.Duration(s) * time.Second) }
	require.Empty(t, c.put(bare(policyEntry("enforce-old", ModeEnforce, 1)), at(1)))
	require.Empty(t, c.put(bare(policyEntry("enforce-new", ModeEnforce, 1)), at(2)))
	require.Empty(t, c.put(bare(policyEntry("testing", ModeTesting, 1)), at(3)))
	require.Equal(t, []string{"testing"}, domains(c.put(bare(policyEntry("enforce-3", ModeEnforce, 1)), at(4))), "testing goes before enforce, though used later")
	require.NotNil(t, c.get("enforce-old", at(5)))
	require.Equal(t, []string{"enforce-new"}, domains(c.put(bare(policyEntry("enforce-4", ModeEnforce, 1)), at(6))), "least recently used")
	require.Equal(t, []string{"none"}, domains(c.put(bare(policyEntry("none", ModeNone, 1)), at(7))), "none does not push enforce out")

	for i, d := range []string{"a", "b"} {
		require.Empty(t, c.put(bare(entry{Domain: d}), at(10+i)))
	}
	require.NotNil(t, c.get("a", at(20)))
	require.Equal(t, []string{"b"}, domains(c.put(bare(entry{Domain: "c"}), at(21))), "negatives push out negatives alone")
	require.Nil(t, c.get("b", at(22)))
	require.NotNil(t, c.get("enforce-old", at(22)))
}

func TestMemoryEvictsByOctets(t *testing.T) {
	c := newMemory(Limits{MaxPolicyBytes: 10000}.withDefaults())
	for i := range 20 {
		require.Empty(t, c.put(bare(policyEntry(fmt.Sprintf("small%d", i), ModeEnforce, 100)), epoch))
	}
	require.Empty(t, c.put(bare(policyEntry("big", ModeEnforce, 2500)), epoch.Add(time.Hour)))
	require.Equal(t, []string{"bigger"}, domains(c.put(bare(policyEntry("bigger", ModeEnforce, 2600)), epoch.Add(2*time.Hour))), "the largest goes, though just used")
	require.Equal(t, []string{"big"}, domains(c.put(bare(policyEntry("medium", ModeEnforce, 1500)), epoch.Add(2*time.Hour))))
	require.NotNil(t, c.get("small0", epoch))
	require.LessOrEqual(t, c.bytes, int64(10000))
}

func TestMemoryReplaceAndRemove(t *testing.T) {
	c := newMemory(Limits{}.withDefaults())
	c.put(bare(entry{Domain: "a"}), epoch)
	c.put(bare(policyEntry("a", ModeEnforce, 100)), epoch)
	require.Equal(t, 1, c.policies())
	require.Empty(t, c.ranks[rankNegative].byUse)
	require.Positive(t, c.bytes)
	c.put(bare(entry{Domain: "a"}), epoch)
	require.Zero(t, c.bytes)
	require.Zero(t, c.policies())
	c.remove("a")
	c.remove("a")
	require.Nil(t, c.get("a", epoch))
	require.Empty(t, c.ranks[rankNegative].byUse)
}

// TestMemoryAgainstReference compares with a list that is searched in full.
func TestMemoryAgainstReference(t *testing.T) {
	type ref struct {
		e    entry
		used time.Time
	}
	limits := Limits{MaxPolicies: 12, MaxNegative: 8, MaxPolicyBytes: 4000}.withDefaults()
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		c := newMemory(limits)
		reference := map[string]*ref{}
		for step := range 800 {
			now := epoch.Add(time.Duration(step) * time.Second)
			domain := fmt.Sprintf("d%d", random.IntN(40))
			if random.IntN(2) == 0 {
				got := c.get(domain, now)
				r := reference[domain]
				if r == nil {
					require.Nil(t, got)
					continue
				}
				require.Equal(t, r.e, *got)
				r.used = now
				continue
			}
			e := entry{Domain: domain}
			if mode := PolicyMode(random.IntN(4)); mode != ModeUnknown {
				e = policyEntry(domain, mode, random.IntN(300))
			}
			want := map[string]bool{}
			if r := reference[domain]; r != nil {
				r.e = e
			} else {
				reference[domain] = &ref{e, now}
			}
			for {
				var policies, negatives int
				var bytes int64
				for _, r := range reference {
					bytes += r.e.size()
					if r.e.Policy != nil {
						policies++
					} else {
						negatives++
					}
				}
				var victim *ref
				pick := func(better func(a, b *ref) bool, negative bool) {
					for _, r := range reference {
						if (r.e.Policy == nil) != negative {
							continue
						}
						if victim == nil || rankOf(&r.e) < rankOf(&victim.e) || rankOf(&r.e) == rankOf(&victim.e) && better(r, victim) {
							victim = r
						}
					}
				}
				older := func(a, b *ref) bool { return a.used.Before(b.used) }
				switch {
				case negatives > limits.MaxNegative:
					pick(older, true)
				case policies > limits.MaxPolicies:
					pick(older, false)
				case bytes > limits.MaxPolicyBytes:
					pick(func(a, b *ref) bool { return a.e.size() > b.e.size() }, false)
				}
				if victim == nil {
					break
				}
				want[victim.e.Domain] = true
				delete(reference, victim.e.Domain)
			}
			sizes := map[string]bool{}
			for _, gone := range c.put(bare(e), now) {
				sizes[gone.Domain] = true
			}
			if len(want) != len(sizes) || fmt.Sprint(want) != fmt.Sprint(sizes) {
				// Two of one size are equally good victims.
				require.Len(t, sizes, len(want), "seed %d step %d: want %v got %v", seed, step, want, sizes)
				return
			}
		}
	}
}
