package mtasts

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	hour = time.Hour
	day  = 24 * time.Hour
	week = 7 * day
)

// plan writes steps as one word each, and a policy as mode:hosts:max_age.
func plan(steps []Step) (words []string) {
	for _, s := range steps {
		word := s.Action.String()
		if s.Policy != nil {
			word += fmt.Sprintf("=%s:%s:%v", s.Policy.Mode, strings.Join(s.Policy.MX, ","), s.Policy.MaxAge)
		}
		words = append(words, fmt.Sprintf("%s+%v", word, s.Wait))
	}
	return words
}

func TestPlanRollout(t *testing.T) {
	pol := func(mode PolicyMode, age time.Duration, mx ...string) *Policy {
		return &Policy{Mode: mode, MaxAge: age, MX: mx}
	}
	facts := RolloutFacts{RecordTTL: hour, MXTTL: 2 * hour}
	for _, tc := range []struct {
		why           string
		current, next *Policy
		facts         RolloutFacts
		want          []string
	}{
		{"nothing to do", pol(ModeEnforce, week, "a"), pol(ModeEnforce, week, "a"), facts, nil},
		{"nothing and nothing", nil, nil, facts, nil},
		{"new, enforce", nil, pol(ModeEnforce, week, "a"), facts, []string{
			"serve=testing:a:24h0m0s+1m0s", "record=testing:a:24h0m0s+0s", "reports+336h0m0s",
			"serve=enforce:a:24h0m0s+1m0s", "record=enforce:a:24h0m0s+168h0m0s",
			"serve=enforce:a:168h0m0s+1m0s", "record=enforce:a:168h0m0s+0s"}},
		{"new, enforce for less than a day: no third stage", nil, pol(ModeEnforce, hour, "a"), facts, []string{
			"serve=testing:a:1h0m0s+1m0s", "record=testing:a:1h0m0s+0s", "reports+336h0m0s",
			"serve=enforce:a:1h0m0s+1m0s", "record=enforce:a:1h0m0s+168h0m0s"}},
		{"new, testing", nil, pol(ModeTesting, week, "a"), facts, []string{
			"serve=testing:a:24h0m0s+1m0s", "record=testing:a:24h0m0s+25h0m0s",
			"serve=testing:a:168h0m0s+1m0s", "record=testing:a:168h0m0s+0s"}},
		{"new, none", nil, pol(ModeNone, day), facts, []string{"serve=none::24h0m0s+1m0s", "record=none::24h0m0s+0s"}},
		{"from none as from nothing", pol(ModeNone, day), pol(ModeEnforce, day, "a"), facts, []string{
			"serve=testing:a:24h0m0s+1m0s", "record=testing:a:24h0m0s+0s", "reports+336h0m0s",
			"serve=enforce:a:24h0m0s+1m0s", "record=enforce:a:24h0m0s+168h0m0s"}},
		{"from testing, reports clean for ten days", pol(ModeTesting, week, "a"), pol(ModeEnforce, week, "a"),
			RolloutFacts{RecordTTL: hour, CleanReports: 10 * day}, []string{
				"reports+96h0m0s", "serve=enforce:a:24h0m0s+1m0s", "record=enforce:a:24h0m0s+168h0m0s",
				"serve=enforce:a:168h0m0s+1m0s", "record=enforce:a:168h0m0s+0s"}},
		{"from testing, reports clean for long", pol(ModeTesting, week, "a"), pol(ModeEnforce, day, "a"),
			RolloutFacts{RecordTTL: hour, CleanReports: 3 * week}, []string{
				"serve=enforce:a:24h0m0s+1m0s", "record=enforce:a:24h0m0s+168h0m0s"}},
		{"reports on other hosts do not count", pol(ModeTesting, day, "a"), pol(ModeEnforce, day, "b"),
			RolloutFacts{RecordTTL: hour, MXTTL: hour, CleanReports: 3 * week}, []string{
				"serve=testing:a,b:24h0m0s+1m0s", "record=testing:a,b:24h0m0s+25h0m0s", "move-mx+1h0m0s",
				"serve=testing:b:24h0m0s+1m0s", "record=testing:b:24h0m0s+0s", "reports+336h0m0s",
				"serve=enforce:b:24h0m0s+1m0s", "record=enforce:b:24h0m0s+168h0m0s"}},
		{"a very long TTL outlasts the trial", pol(ModeTesting, day, "a"), pol(ModeEnforce, day, "a"),
			RolloutFacts{RecordTTL: 2 * week, CleanReports: 3 * week}, []string{
				"serve=enforce:a:24h0m0s+1m0s", "record=enforce:a:24h0m0s+360h0m0s"}},
		{"other hosts", pol(ModeEnforce, week, "a", "b"), pol(ModeEnforce, week, "b", "c"), facts, []string{
			"serve=enforce:a,b,c:168h0m0s+1m0s", "record=enforce:a,b,c:168h0m0s+169h0m0s", "move-mx+2h0m0s",
			"serve=enforce:b,c:168h0m0s+1m0s", "record=enforce:b,c:168h0m0s+0s"}},
		{"other hosts, an older policy had a larger max_age", pol(ModeEnforce, day, "a"), pol(ModeEnforce, day, "b"),
			RolloutFacts{RecordTTL: hour, MXTTL: hour, LongestMaxAge: 4 * week}, []string{
				"serve=enforce:a,b:24h0m0s+1m0s", "record=enforce:a,b:24h0m0s+673h0m0s", "move-mx+1h0m0s",
				"serve=enforce:b:24h0m0s+1m0s", "record=enforce:b:24h0m0s+0s"}},
		{"unknown TTLs are a day", pol(ModeEnforce, day, "a"), pol(ModeEnforce, day, "b"), RolloutFacts{}, []string{
			"serve=enforce:a,b:24h0m0s+1m0s", "record=enforce:a,b:24h0m0s+48h0m0s", "move-mx+24h0m0s",
			"serve=enforce:b:24h0m0s+1m0s", "record=enforce:b:24h0m0s+0s"}},
		{"a host more", pol(ModeEnforce, day, "a"), pol(ModeEnforce, day, "a", "b"), facts, []string{
			"serve=enforce:a,b:24h0m0s+1m0s", "record=enforce:a,b:24h0m0s+25h0m0s", "move-mx+2h0m0s"}},
		{"a host less", pol(ModeEnforce, day, "a", "b"), pol(ModeEnforce, day, "a"), facts, []string{
			"move-mx+2h0m0s", "serve=enforce:a:24h0m0s+1m0s", "record=enforce:a:24h0m0s+0s"}},
		{"the same hosts in another order", pol(ModeEnforce, day, "a", "b"), pol(ModeEnforce, day, "b", "a"), facts, []string{
			"serve=enforce:b,a:24h0m0s+1m0s", "record=enforce:b,a:24h0m0s+0s"}},
		{"longer", pol(ModeEnforce, day, "a"), pol(ModeEnforce, week, "a"), facts, []string{
			"serve=enforce:a:168h0m0s+1m0s", "record=enforce:a:168h0m0s+0s"}},
		{"back to testing", pol(ModeEnforce, week, "a"), pol(ModeTesting, day, "a"), facts, []string{
			"serve=testing:a:24h0m0s+1m0s", "record=testing:a:24h0m0s+0s"}},
		{"to none, which stays", pol(ModeEnforce, week, "a"), pol(ModeNone, day), facts, []string{
			"serve=none::24h0m0s+1m0s", "record=none::24h0m0s+0s"}},
		{"removal", pol(ModeEnforce, week, "a"), nil, RolloutFacts{RecordTTL: hour, LongestMaxAge: 4 * week}, []string{
			"serve=none::24h0m0s+1m0s", "record=none::24h0m0s+673h0m0s", "remove-record+1h0m0s", "remove-file+0s"}},
		{"removal of a short one: none itself must run out", pol(ModeTesting, hour, "a"), nil, facts, []string{
			"serve=none::24h0m0s+1m0s", "record=none::24h0m0s+25h0m0s", "remove-record+1h0m0s", "remove-file+0s"}},
		{"removal after none", pol(ModeNone, week), nil, facts, []string{
			"record=none::168h0m0s+169h0m0s", "remove-record+1h0m0s", "remove-file+0s"}},
	} {
		require.Equal(t, tc.want, plan(PlanRollout(tc.current, tc.next, tc.facts)), tc.why)
	}
}

// TestPlanRolloutLosesNoMail follows random plans with the worst of senders: it
// takes a policy at the last moment at which its record can be cached, and keeps it
// to its end. No such sender ever holds an enforce policy that does not name every
// host that may still be in somebody's MX records, nor any policy that binds when
// the file goes; enforce is never served for longer than a day without trial; and
// what a plan begins it ends.
func TestPlanRolloutLosesNoMail(t *testing.T) {
	random := rand.New(rand.NewPCG(8461, 10))
	names := []string{"a.example", "b.example", "c.example", "*.d.example"}
	some := func() *Policy {
		p := &Policy{Mode: PolicyMode(1 + random.IntN(3)), MaxAge: time.Duration(1+random.IntN(60*24)) * hour}
		for _, name := range names {
			if random.IntN(2) == 0 {
				p.MX = append(p.MX, name)
			}
		}
		if len(p.MX) == 0 {
			p.MX = names[:1]
		}
		if p.Mode == ModeNone {
			p.MX = nil
		}
		if random.IntN(8) == 0 {
			return nil
		}
		return p
	}
	type memory struct {
		policy *Policy
		until  time.Duration
	}
	moved := 0
	for round := range 3000 {
		current, next := some(), some()
		facts := RolloutFacts{
			RecordTTL: time.Duration(1+random.IntN(72)) * hour, MXTTL: time.Duration(1+random.IntN(72)) * hour,
			LongestMaxAge: time.Duration(random.IntN(100*24)) * hour,
		}
		steps := PlanRollout(current, next, facts)
		why := fmt.Sprintf("round %d: %v to %v: %v", round, current, next, plan(steps))
		var now time.Duration
		served, published := current, current
		var held []memory
		var mx, oldMX []string // in DNS, and in caches
		if current != nil {
			mx = current.MX
			held = append(held, memory{current, facts.RecordTTL + max(facts.LongestMaxAge, current.MaxAge)})
		}
		var oldMXUntil time.Duration
		check := func() {
			live := slices.Clone(mx)
			if now < oldMXUntil {
				live = append(live, oldMX...)
			}
			for _, m := range append(held, memory{published, now + 1}) {
				if m.policy == nil || m.policy.Mode != ModeEnforce || now >= m.until {
					continue
				}
				for _, host := range live {
					require.True(t, slices.Contains(m.policy.MX, host), "%s: at %v %s is refused", why, now, host)
				}
			}
		}
		for _, step := range steps {
			switch step.Action {
			case ActionServe:
				require.NoError(t, step.Policy.Validate(), why)
				if step.Policy.Mode == ModeEnforce && (served == nil || served.Mode != ModeEnforce) {
					require.LessOrEqual(t, step.Policy.MaxAge, day, why)
				}
				served = step.Policy
			case ActionRecord:
				require.Same(t, served, step.Policy, "%s: the record comes after its file", why)
				if published != nil {
					held = append(held, memory{published, now + facts.RecordTTL + published.MaxAge})
				}
				if published = served; current == nil || current.Mode == ModeNone {
					mx = served.MX // the hosts that the domain has always had
				}
			case ActionMoveMX:
				oldMX, oldMXUntil, mx = mx, now+facts.MXTTL, next.MX
				moved++
			case ActionRemoveRecord, ActionRemoveFile:
				for _, m := range held {
					require.GreaterOrEqual(t, now, m.until, why)
				}
				published = nil
				if step.Action == ActionRemoveFile {
					served = nil
				}
			}
			check()
			now += step.Wait
			check()
		}
		require.True(t, next.Equal(published), why)
		require.True(t, next.Equal(served), why)
		if next != nil && next.Mode != ModeNone && current != nil && current.Mode != ModeNone {
			require.True(t, sameHosts(mx, next.MX), why)
		}
	}
	require.Greater(t, moved, 500)
}

func TestStepString(t *testing.T) {
	require.Equal(t, "move-mx, wait 2h0m0s: why", Step{Action: ActionMoveMX, Wait: 2 * hour, Why: "why"}.String())
	require.Equal(t, "serve none [] max_age=24h0m0s: why", Step{Action: ActionServe, Policy: &Policy{Mode: ModeNone, MaxAge: day}, Why: "why"}.String())
	require.Equal(t, "unknown Action(9)", Action(0).String()+" "+Action(9).String())
}
