package tlspolicy_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	. "github.com/smtpsec/smtpsec/tlspolicy"
)

// The invariants are promises about the whole input space. They use the
// decisions alone, not the tables, and hold for all three fallbacks.

// protection orders what a decision leads to, after the reconnect if there is
// one. 0 is no delivery.
func protection(d Decision) int {
	switch d.Action {
	case DeliverClear, ReconnectClear:
		return 1
	case DeliverUnverified:
		return 2
	case DeliverVerified:
		return 3
	}
	return 0
}

func delivers(d Decision) bool { return protection(d) > 0 }
func inClear(d Decision) bool  { return protection(d) == 1 }

// facts are the conditions that the invariants speak of.
type facts struct {
	no, required, verifies, preferred bool // mode
	dane                              bool // DANE is used
	enforced                          bool // MTA-STS is on and the policy enforced
}

func factsOf(s Settings, t STSState) facts {
	return facts{
		no:        s.Mode == No,
		required:  s.Mode == Required || s.Mode == RequiredVerify || s.Mode == RequiredVerifyHosted,
		verifies:  s.Mode == RequiredVerify || s.Mode == RequiredVerifyHosted,
		preferred: s.Mode == Preferred || s.Mode == PreferredVerify,
		dane:      s.Mode != No && s.DANE != DANENone,
		enforced:  s.Mode != No && s.MTASTS == On && (t == STSEnforceMatch || t == STSEnforceMismatch),
	}
}

// everywhere asserts a promise about each single decision.
func everywhere(t *testing.T, holds func(p point, f facts, got Decision) bool) {
	t.Helper()
	t.Parallel()
	points, outcomes := 0, allOutcomes()
	eachHost(func(s Settings, d DANEState, st STSState) {
		f, r := factsOf(s, st), Plan(s, d, st)
		for _, o := range outcomes {
			points++
			if got := r.Decide(o); !holds(point{s, d, st, o}, f, got) {
				t.Fatalf("%+v: got %+v", point{s, d, st, o}, got)
			}
		}
	})
	t.Logf("%d combinations", points)
}

// pairwise asserts a promise about two decisions on the same outcome, whose
// settings or findings are the point's own and what other makes of them. Where
// other returns false there is nothing to compare, and a pair of requirements is
// compared once, since a decision depends on nothing else.
func pairwise(t *testing.T, other func(point) (point, bool), holds func(own, other Decision) bool) {
	t.Helper()
	points, outcomes := 0, allOutcomes()
	compared := map[[2]Requirement]bool{}
	eachHost(func(s Settings, d DANEState, st STSState) {
		own := point{s: s, d: d, t: st}
		with, ok := other(own)
		if !ok {
			return
		}
		r, q := Plan(s, d, st), Plan(with.s, with.d, with.t)
		if compared[[2]Requirement{r, q}] {
			return
		}
		compared[[2]Requirement{r, q}] = true
		for _, o := range outcomes {
			points++
			if a, b := r.Decide(o), q.Decide(o); !holds(a, b) {
				t.Fatalf("%v\n%v, %v, %+v: %+v\n%v, %v: %+v", s, d, st, o, a, with.s, with.t, b)
			}
		}
	})
	require.NotZero(t, points)
	t.Logf("%d pairs", points)
}

// 1. Clear text only where the settings want none, or want it if need be and
// nothing that DNSSEC or MTA-STS proved is against it.
func TestInvariant1ClearTextOnlyWhereAllowed(t *testing.T) {
	everywhere(t, func(p point, f facts, got Decision) bool {
		if f.no {
			return got.Action == DeliverClear
		}
		allowed := f.preferred && p.o.TLS != TLSEstablished && !f.enforced &&
			(!f.dane || p.s.DANE == DANEOpportunistic && (p.d == DANEInsecure || p.d == DANENoTLSA))
		return allowed || !inClear(got)
	})
}

// 2. Whatever demands TLS excludes clear text.
func TestInvariant2DemandExcludesClearText(t *testing.T) {
	everywhere(t, func(p point, f facts, got Decision) bool {
		demanded := f.required || f.enforced || f.dane && (p.s.DANE == DANEMandatory ||
			p.d == DANEUsable || p.d == DANEUnusable || p.d == DANEBogus || p.d == DANELookupError)
		return f.no || !demanded || !inClear(got)
	})
}

// 3. Mandatory DANE delivers on a matching usable record alone; the modes that
// verify deliver verified or not at all.
func TestInvariant3MandatoryAndVerifyingModes(t *testing.T) {
	everywhere(t, func(p point, f facts, got Decision) bool {
		if f.no || !delivers(got) {
			return true
		}
		if p.s.DANE == DANEMandatory && !(p.d == DANEUsable && p.o.DANEMatch && got.Action == DeliverVerified) {
			return false
		}
		return !f.verifies || got.Action == DeliverVerified
	})
}

// 4. An enforced policy lets through only verified sessions with hosts it lists.
func TestInvariant4EnforcedPolicy(t *testing.T) {
	everywhere(t, func(p point, f facts, got Decision) bool {
		if !f.enforced || f.dane && p.d == DANEUsable || !delivers(got) {
			return true
		}
		return got.Action == DeliverVerified && p.t == STSEnforceMatch && p.o.STSName && p.o.Chain == ChainOK
	})
}

// 5. A policy that is tested, or could not be had, is as good as none.
func TestInvariant5TestingIsNoPolicy(t *testing.T) {
	t.Parallel()
	for _, state := range []STSState{STSDiscoveryError, STSTestingMatch, STSTestingMismatch} {
		pairwise(t, func(p point) (point, bool) {
			ok := p.s.MTASTS == On && p.t == STSNoPolicy
			p.t = state
			return p, ok
		}, equivalent)
	}
	pairwise(t, func(p point) (point, bool) {
		ok := p.s.MTASTS == On && p.t == STSNoPolicy
		p.s.MTASTS = Off
		return p, ok
	}, equivalent)
}

func equivalent(a, b Decision) bool {
	return a.Action == b.Action && a.Reason == b.Reason && a.Status == b.Status && a.Result == b.Result
}

// withMode compares each decision of one mode with that of another.
func withMode(from, to Mode) func(point) (point, bool) {
	return func(p point) (point, bool) {
		ok := p.s.Mode == from
		p.s.Mode = to
		return p, ok
	}
}

// 6. A stricter mode never delivers what a laxer one does not, and never with
// less protection.
func TestInvariant6MonotoneInTheMode(t *testing.T) {
	t.Parallel()
	ranks := [][]Mode{{No}, {Preferred, PreferredVerify}, {Required}, {RequiredVerify, RequiredVerifyHosted}}
	for i, laxer := range ranks {
		for _, stricter := range slices.Concat(ranks[i+1:]...) {
			for _, lax := range laxer {
				pairwise(t, withMode(stricter, lax), func(strict, lax Decision) bool { return !delivers(strict) || delivers(lax) })
			}
		}
	}
	for _, last := range []Mode{RequiredVerify, RequiredVerifyHosted} {
		for _, chain := range [][]Mode{{No, Preferred, Required, last}, {No, Preferred, PreferredVerify, last}} {
			for i, lax := range chain {
				for _, strict := range chain[i+1:] {
					pairwise(t, withMode(strict, lax), func(strict, lax Decision) bool {
						return !delivers(strict) || protection(strict) >= protection(lax)
					})
				}
			}
		}
	}
	pairwise(t, withMode(PreferredVerify, Preferred), func(verify, plain Decision) bool {
		return delivers(verify) == delivers(plain) && inClear(verify) == inClear(plain)
	})
}

// 7. A stricter DANE or MTA-STS setting only ever takes deliveries away, and the
// fallback "always" only ever adds some.
func TestInvariant7MonotoneInTheOtherSettings(t *testing.T) {
	t.Parallel()
	pairwise(t, func(p point) (point, bool) {
		ok := p.s.DANE == DANEMandatory
		p.s.DANE = DANEOpportunistic
		return p, ok
	}, func(mandatory, opportunistic Decision) bool {
		return !delivers(mandatory) || mandatory == opportunistic
	})
	pairwise(t, func(p point) (point, bool) {
		ok := p.s.DANE == DANEOpportunistic
		p.s.DANE = DANENone
		return p, ok
	}, func(opportunistic, none Decision) bool { return !inClear(opportunistic) || inClear(none) })
	pairwise(t, func(p point) (point, bool) {
		ok := p.s.MTASTS == On
		p.s.MTASTS = Off
		return p, ok
	}, func(on, off Decision) bool {
		return !delivers(on) || delivers(off) && protection(off) <= protection(on)
	})
	for _, fallback := range []Fallback{FallbackAfter220, FallbackBefore220} {
		pairwise(t, func(p point) (point, bool) {
			ok := p.s.Fallback == fallback
			p.s.Fallback = FallbackAlways
			return p, ok
		}, func(other, always Decision) bool { return !delivers(other) || delivers(always) })
	}
}

// 8. One more thing proven never turns a delivery into none.
func TestInvariant8ProofNeverHurts(t *testing.T) {
	everywhere(t, func(p point, _ facts, got Decision) bool {
		if !delivers(got) {
			return true
		}
		r := Plan(p.s, p.d, p.t)
		for _, prove := range []func(*Outcome){
			func(o *Outcome) { o.DANEMatch = true }, func(o *Outcome) { o.STSName = true },
			func(o *Outcome) { o.VerifyName = true }, func(o *Outcome) { o.HostedName = true },
		} {
			o := p.o
			prove(&o)
			if o != p.o && !delivers(r.Decide(o)) {
				return false
			}
		}
		return true
	})
}

// 9a. Nothing is permanent: a status is of class 4, and there is one exactly if
// nothing is delivered.
func TestInvariant9StatusIsTemporary(t *testing.T) {
	everywhere(t, func(_ point, _ facts, got Decision) bool {
		if delivers(got) {
			return got.Status == StatusNone
		}
		return strings.HasPrefix(got.Status.String(), "4.")
	})
}

// 9b. Decisions depend on their arguments alone, not on what was decided before
// or at the same time.
func TestInvariant9Deterministic(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	settings, outcomes := allSettings(), allOutcomes()
	points := make([]point, 50_000)
	first := make([]Decision, len(points))
	for i := range points {
		p := point{settings[random.IntN(len(settings))], DANEState(random.IntN(int(lastDANE) + 1)), STSState(random.IntN(int(lastSTS) + 1)), outcomes[random.IntN(len(outcomes))]}
		points[i], first[i] = p, Plan(p.s, p.d, p.t).Decide(p.o)
	}
	var wg sync.WaitGroup
	for range 4 {
		order := random.Perm(len(points))
		wg.Go(func() {
			for _, i := range order {
				p := points[i]
				if got := Plan(p.s, p.d, p.t).Decide(p.o); got != first[i] {
					t.Errorf("%+v: first %+v, then %+v", p, first[i], got)
					return
				}
			}
		})
	}
	wg.Wait()
}
