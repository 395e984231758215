package main

import (
	"bytes"
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain lets the test program be a helper, as the program itself is one.
func TestMain(m *testing.M) {
	if os.Getenv(helperMark) != "" {
		exit(help(os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// TestContendersAgree holds every contender of every row to the answer of
// smtpsec on the row's own inputs, and smtpsec to its allocations.
func TestContendersAgree(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rows() {
		require.False(t, seen[r.name], "two rows named %s", r.name)
		seen[r.name] = true
		t.Run(r.name, func(t *testing.T) { checkRow(t, r) })
	}
}

func checkRow(t *testing.T, r row) {
	contenders := r.setup()
	defer done(contenders)
	require.Equal(t, us, contenders[0].name, "smtpsec comes first")
	require.NoError(t, agree(contenders, 100))
	names := map[string]bool{}
	for _, c := range contenders {
		require.False(t, names[c.name], "two contenders named %s", c.name)
		names[c.name] = true
		require.True(t, c.answer != nil || c.kind == floor, "%s gives no answer", c.name)
		require.Equal(t, c.name == us, c.kind == ours, c.name)
		require.Equal(t, c.end == nil, contenders[0].end == nil, "%s: both ends or none", c.name)
		require.False(t, r.clock == bothEnds && c.end == nil, "%s has no other end", c.name)
	}
	if r.limit > 0 {
		require.True(t, names[r.limitOf], "limit of an unknown contender")
	}
	if raceEnabled {
		return
	}
	if r.more > 0 {
		perRun := make(map[string]float64)
		for _, c := range contenders {
			perRun[c.name] = testing.AllocsPerRun(4, func() { c.run(5) }) / 5
		}
		require.LessOrEqual(t, perRun[us], perRun[r.limitOf]+float64(r.more), "allocations beyond %s", r.limitOf)
	}
	if r.allocs == anyAllocs {
		return
	}
	// A hundred operations at once: goroutines that share them are no part of
	// one.
	got := testing.AllocsPerRun(10, func() { contenders[0].run(100) }) / 100
	require.LessOrEqual(t, math.Floor(got), float64(r.allocs), "allocations")
}

// What the answers of all contenders are must be what the name of the row says.
func TestRowsAreWhatTheySay(t *testing.T) {
	for _, tc := range []struct {
		name string
		want []string // the answers in turn
	}{
		{"DANE 3 1 1, match", []string{"match"}},
		{"DANE 3 1 1, mismatch", []string{"no match"}},
		{"DANE 3 1 0, match", []string{"match"}},
		{"DANE 2 1 1, nothing matches", []string{"no match"}},
		{"DANE 2 1 1, chain seen for the first time", []string{"match"}},
		{"DANE 2 1 1, same chain again", []string{"match", "match"}},
		{"MTA-STS record", []string{recordID}},
		{"MTA-STS policy, 5 mx, new policy", []string{
			"enforce 604800 [mx1.mail.example.com mx2.mail.example.com mx3.mail.example.com backup.example.net *.relay.example.org]"}},
		{"MTA-STS match, wildcard, last of 5", []string{"match"}},
		{"MTA-STS match, no hit among 5", []string{"no match"}},
		{"MTA-STS cache hit, 100,000 domains, 1 core", []string{"policy", "none", "policy", "none"}}, // the stride is odd
		{"Destination table, 1,000 entries, hit", []string{"required-verify"}},
		{"Destination table, 1,000,000 entries, miss", []string{"preferred"}},
		{"Plan and Decide", []string{"deliver-clear", "deliver-tls-verified", "deliver-tls-verified", "next-mx-then-defer"}},
		{"Check of a certificate, first time", []string{"match"}},
		{"Check of a certificate, chain in the cache", []string{"match"}},
		{"Identity, 10 names, the last matches", []string{"match"}},
		{"Identity, 10 names, none matches", []string{"no match"}},
		{"DNSSEC, TLSA, nothing known (6 replies)", []string{"secure"}},
		{"DNSSEC, TLSA, zone known (1 reply)", []string{"secure", "secure"}},
		{"DNSSEC, TLSA, answer known", []string{"secure"}},
		{coldDelivery, []string{"secure"}},
		{"HAT, address, 1,000 entries", []string{"group 0", "group 1", "group 2"}},
		{"HAT, host name, 1,000 entries", []string{"group 0", "group 1", "group 2"}},
		{"Dial, Preferred", []string{"match"}},
		{"Dial, Required-Verify-Hosted, TLS resumed", []string{"match", "match"}},
		{"Listener, session with TLS", []string{"accepted"}},
	} {
		r := find(t, tc.name)
		contenders := r.setup()
		defer done(contenders)
		c := contenders[0]
		for _, want := range tc.want {
			c.run(1)
			require.Equal(t, want, c.answer(), tc.name)
		}
	}
}

func find(t *testing.T, name string) row {
	for _, r := range rows() {
		if r.name == name {
			return r
		}
	}
	t.Fatalf("no row %s", name)
	return row{}
}

// A contender that answers otherwise is found out, at whichever operation.
func TestAgreeFindsTheLiar(t *testing.T) {
	done := 0
	honest := contender{name: us, run: func(int) {}, answer: func() string { return "match" }}
	liar := contender{name: "liar", run: func(n int) { done += n }, answer: func() string { return matched(done < 3) }}
	require.NoError(t, agree([]contender{honest, liar}, 2))
	require.EqualError(t, agree([]contender{honest, liar}, 2), `operation 1: smtpsec finds "match", liar "no match"`)
}

// A contender is counted, timed and charged for what it allocates, per operation.
func TestMeasure(t *testing.T) {
	var sink []byte
	var turns []string
	make1k := contender{name: "a", run: func(n int) {
		turns = append(turns, "a")
		for range n {
			sink = make([]byte, 1024)
		}
	}}
	nothing := contender{name: "b", run: func(n int) {
		turns = append(turns, "b")
		for i := range n {
			sink = sink[:i&1]
		}
	}}
	all := measure("job", []contender{make1k, nothing}, ownCPU, plan{rounds: 4, sample: time.Millisecond})
	for i := range 4 {
		require.EqualValues(t, 1, all[0].samples[i].allocs)
		require.EqualValues(t, 1024, all[0].samples[i].octets)
		require.Zero(t, all[1].samples[i].allocs)
		require.Positive(t, all[1].samples[i].ns)
		require.Equal(t, all[0].samples[0].n, all[0].samples[i].n, "samples of one size")
	}
	require.Equal(t, "aabbbbaaaabbbbaa", strings.Join(turns[len(turns)-16:], ""), "every round begins with another contender")
}

// The intervals of confidence for the median are those of the binomial
// distribution.
func TestSpread(t *testing.T) {
	for _, tc := range []struct {
		n, left int // how many values are left out at each end
	}{{1, 0}, {5, 0}, {6, 0}, {8, 0}, {9, 1}, {15, 3}, {21, 5}, {31, 9}, {101, 40}} {
		values := make([]float64, tc.n)
		for i := range values {
			values[i] = float64((i*7 + 3) % tc.n) // in no order, if n is no multiple of 7
		}
		if tc.n%7 == 0 {
			for i := range values {
				values[i] = float64(tc.n - 1 - i)
			}
		}
		require.Equal(t, spread{
			median: float64(tc.n-1) / 2, low: float64(tc.left), high: float64(tc.n - 1 - tc.left),
		}, spreadOf(values), "%d values", tc.n)
	}
}

// Ratios are those of neighbours: a machine that becomes slower in the middle
// does not change them.
func TestEvaluate(t *testing.T) {
	r := row{name: "job", limit: 1.15, limitOf: "bare", goalNs: 100}
	samples := func(times float64, allocs uint64) (s []sample) {
		for i := range 9 {
			s = append(s, sample{n: 1, ns: times * float64(1+i), allocs: allocs + uint64(i), octets: 8})
		}
		return s
	}
	named := func(name string, k kind, s []sample) series { return series{contender{name: name, kind: k}, s} }
	lines := evaluate(r, []series{
		named(us, ours, samples(12, 0)), named("bare", floor, samples(10, 0)), named("slow", peer, samples(24, 3)), named("quick", peer, samples(6, 0)),
	})
	require.Equal(t, line{name: us, kind: ours, ns: spread{60, 24, 96}, octets: 8, ratio: spread{1, 1, 1}, verdict: "allocs <= 0: yes"}, lines[0])
	require.Equal(t, line{name: "bare", kind: floor, ns: spread{50, 20, 80}, octets: 8, ratio: spread{1.2, 1.2, 1.2}, verdict: "ratio <= 1.15: MISSED", missed: true}, lines[1])
	require.Equal(t, line{name: "slow", kind: peer, ns: spread{120, 48, 192}, octets: 8, allocs: 3, ratio: spread{0.5, 0.5, 0.5}, verdict: "ahead of it: yes"}, lines[2])
	require.Equal(t, line{name: "quick", kind: peer, ns: spread{30, 12, 48}, octets: 8, ratio: spread{2, 2, 2}, verdict: "ahead of it: MISSED", missed: true}, lines[3])

	wasteful := evaluate(r, []series{named(us, ours, samples(12, 1))})
	require.Equal(t, "allocs <= 0: MISSED", wasteful[0].verdict)
	require.True(t, wasteful[0].missed)
	r.allocs = anyAllocs
	require.Empty(t, evaluate(r, []series{named(us, ours, samples(12, 1))})[0].verdict)

	r.limit, r.more = 1.25, 2
	for allocs, verdict := range map[uint64]string{2: "ratio <= 1.25, 2 allocs more: yes", 3: "ratio <= 1.25, 2 allocs more: MISSED"} {
		lines := evaluate(r, []series{named(us, ours, samples(12, allocs)), named("bare", floor, samples(10, 0))})
		require.Equal(t, verdict, lines[1].verdict)
	}

	require.Equal(t, `
| job | contender    | smtpsec ÷ it |      95 % | allocs/op | B/op | ns/op | time | asked ns | demanded              |
| --- | ------------ | -----------: | --------: | --------: | ---: | ----: | ---- | -------: | --------------------- |
| job | smtpsec      |              |           |         0 |    8 |    60 | CPU  |      100 | allocs <= 0: yes      |
|     | bare (floor) |         1.20 | 1.20-1.20 |         0 |    8 |    50 |      |          | ratio <= 1.15: MISSED |
`, "\n"+markdown(append([][]string{columns}, cells(r, lines[:2])...)))
}

// Which time counts is what the row says. What waits takes no processor time.
func TestClocks(t *testing.T) {
	nap := contender{name: us, run: func(n int) { <-time.After(time.Duration(n) * 20 * time.Millisecond) }}
	require.Less(t, take(nap, 1, ownCPU).ns, 10e6, "processor time")
	require.GreaterOrEqual(t, take(nap, 1, wall).ns, 20e6, "time that passes")
	require.GreaterOrEqual(t, take(nap, 1, ownCPU).passed, 20e6, "which is kept besides")

	end := newHelper()
	defer end.close()
	end.do(order{Do: "serve", N: 1}) // makes keys and certificates
	nap.end = end
	nap.run = func(n int) { end.do(order{Do: "serve", N: 200}) }
	require.Greater(t, take(nap, 1, bothEnds).ns, 2*take(nap, 1, ownCPU).ns, "what the other end does")
}

// The command from its flags to its table, on the one row that is cheapest.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	file := t.TempDir() + "/samples"
	p := plan{rounds: 2, sample: time.Millisecond}
	require.NoError(t, run(&out, options{plan: p, only: "^MTA-STS record$", samples: file}))
	require.Contains(t, out.String(), "github.com/mjl-/mox v0.0.15")
	require.Contains(t, out.String(), "| MTA-STS record | smtpsec ")
	require.NotContains(t, out.String(), "DANE")

	text, err := os.ReadFile(file)
	require.NoError(t, err)
	samples := string(text)
	require.Equal(t, 2, strings.Count(samples, "BenchmarkMTA-STS_record/go-mtasts "))
	require.Equal(t, 8, strings.Count(samples, " allocs/op\n"))

	require.ErrorContains(t, run(&out, options{plan: p, only: "("}), "missing closing")
	require.ErrorContains(t, run(&out, options{plan: p, only: "no such job"}), "nothing matches")
	require.ErrorContains(t, run(&out, options{plan: plan{sample: 1}}), "measure nothing")
	require.ErrorContains(t, run(&out, options{plan: p, only: "DANE", write: t.TempDir()}), "everything")
	require.Error(t, run(&out, options{plan: p, write: t.TempDir()}), "no document there")
	require.Error(t, run(&out, options{plan: p, samples: t.TempDir()}), "the file is a directory")
	profile := t.TempDir() + "/profile"
	record := func() error { return run(&out, options{plan: p, only: "^MTA-STS record$"}) }
	require.NoError(t, profiled(profile, record))
	info, err := os.Stat(profile)
	require.NoError(t, err)
	require.Positive(t, info.Size())
	require.ErrorIs(t, profiled(profile, func() error { return errBroken }), errBroken)
	require.ErrorIs(t, profiled("", func() error { return errBroken }), errBroken)
	require.ErrorIs(t, run(broken{}, options{plan: p, only: "^MTA-STS record$"}), errBroken)
}

var errBroken = errors.New("broken")

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errBroken }
