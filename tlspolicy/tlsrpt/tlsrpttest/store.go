// Package tlsrpttest has the tests that every tlsrpt.Store must pass. Whoever
// writes a Store for another database runs TestStore over it.
package tlsrpttest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt"
)

// Backend is what a test of a Store works with: one place, empty at first, over
// which any number of Stores can be opened.
type Backend struct {
	// Open returns a Store over the place, as another process would have it.
	Open func() tlsrpt.Store
	// Damage changes what is stored of a snapshot so that its checksum is wrong;
	// nil if nothing of the kind can happen to the Store.
	Damage func(s *tlsrpt.Snapshot) error
}

const day = tlsrpt.Day(20513) // 2026-03-01

// Snapshot returns one with n successes and n failures of a kind.
func Snapshot(d tlsrpt.Day, domain, writer string, n uint64) *tlsrpt.Snapshot {
	return &tlsrpt.Snapshot{Day: d, Domain: domain, Writer: writer, Direct: true, Sources: []string{"a.example", "b.example"}, Policies: []tlsrpt.PolicyCount{{
		Policy:    tlsrpt.NewSTSPolicy(domain, []byte("version: STSv1\nmx: <\u00e9>\n"), []string{"mx." + domain}),
		Successes: n, Failures: n,
		Details: map[tlsrpt.DetailKey]uint64{{Result: tlsrpt.CertificateExpired, ReceivingMX: "mx." + domain, Reason: "issuer-expired"}: n},
	}}}
}

// TestStore runs every test, each over a Backend of its own.
func TestStore(t *testing.T, backend func(testing.TB) Backend) {
	for name, test := range map[string]func(*testing.T, Backend){
		"empty": testEmpty, "save and load": testSave, "versions": testVersions, "merge": testMerge, "days": testDays,
		"names": testNames, "progress": testProgress, "lease": testLease, "prune": testPrune, "context": testContext,
		"concurrent": testConcurrent, "damage": testDamage,
	} {
		t.Run(name, func(t *testing.T) { test(t, backend(t)) })
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t testing.TB, got, want T, what string) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// counts returns successes and failures, and the number of writers.
func counts(t testing.TB, s tlsrpt.Store, d tlsrpt.Day, domain string) (successes, failures uint64, writers int) {
	t.Helper()
	tally, err := s.Load(t.Context(), d, domain)
	check(t, err)
	successes, failures = (&tlsrpt.Report{Policies: tally.Policies()}).Totals()
	return successes, failures, len(tally.Snapshots())
}

func domains(t testing.TB, s tlsrpt.Store, d tlsrpt.Day) []string {
	t.Helper()
	seen := make(map[string]bool)
	for domain, err := range s.Domains(t.Context(), d) {
		check(t, err)
		if seen[domain] {
			t.Fatalf("%s comes twice", domain)
		}
		seen[domain] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

func testEmpty(t *testing.T, b Backend) {
	s := b.Open()
	days, err := s.Days(t.Context())
	check(t, err)
	equal(t, len(days), 0, "days")
	equal(t, len(domains(t, s, day)), 0, "domains")
	_, _, writers := counts(t, s, day, "r.example")
	equal(t, writers, 0, "writers")
	p, err := s.Progress(t.Context(), day, "r.example")
	check(t, err)
	equal(t, p.Done, false, "done")
	check(t, s.Prune(t.Context(), day))
	check(t, s.Save(t.Context(), nil))
}

// testSave: what is stored is what was given, for another process too.
func testSave(t *testing.T, b Backend) {
	want := Snapshot(day, "r.example", "w1", 1<<60)
	check(t, b.Open().Save(t.Context(), []*tlsrpt.Snapshot{want}))
	tally, err := b.Open().Load(t.Context(), day, "r.example")
	check(t, err)
	equal(t, len(tally.Snapshots()), 1, "writers")
	got, err := tally.Snapshots()[0].MarshalText()
	check(t, err)
	text, err := want.MarshalText()
	check(t, err)
	equal(t, string(got), string(text), "snapshot")
}

// testVersions: twice is once, and an earlier snapshot that comes late is nothing.
func testVersions(t *testing.T, b Backend) {
	s := b.Open()
	for _, n := range []uint64{3, 3, 5, 4, 5, 1} {
		check(t, s.Save(t.Context(), []*tlsrpt.Snapshot{Snapshot(day, "r.example", "w1", n)}))
	}
	successes, failures, writers := counts(t, s, day, "r.example")
	equal(t, successes, 5, "successes")
	equal(t, failures, 5, "failures")
	equal(t, writers, 1, "writers")
}

func testMerge(t *testing.T, b Backend) {
	one, two := b.Open(), b.Open()
	check(t, one.Save(t.Context(), []*tlsrpt.Snapshot{Snapshot(day, "r.example", "w1", 3), Snapshot(day, "s.example", "w1", 7)}))
	check(t, two.Save(t.Context(), []*tlsrpt.Snapshot{Snapshot(day, "r.example", "w2", 4)}))
	check(t, one.Save(t.Context(), []*tlsrpt.Snapshot{Snapshot(day, "r.example", "w1", 10)}))
	successes, _, writers := counts(t, two, day, "r.example")
	equal(t, successes, 14, "successes")
	equal(t, writers, 2, "writers")
	equal(t, fmt.Sprint(domains(t, two, day)), "[r.example s.example]", "domains")
}

func testDays(t *testing.T, b Backend) {
	s := b.Open()
	for _, d := range []tlsrpt.Day{day + 1, day - 2, day} {
		check(t, s.Save(t.Context(), []*tlsrpt.Snapshot{Snapshot(d, "r.example", "w1", uint64(d))}))
	}
	days, err := s.Days(t.Context())
	check(t, err)
	equal(t, fmt.Sprint(days), fmt.Sprint([]tlsrpt.Day{day - 2, day, day + 1}), "days")
	successes, _, _ := counts(t, s, day, "r.example")
	equal(t, successes, uint64(day), "each day has its own")
}

// testNames: long names work, and names that are none are refused.
func testNames(t *testing.T, b Backend) {
	s := b.Open()
	long := ""
	for len(long) < 240 {
		long += "a23456789."
	}
	long += "example"
	for _, domain := range []string{long, "_x.r.example", "localhost"} {
		check(t, s.Save(t.Context(), []*tlsrpt.Snapshot{Snapshot(day, domain, "w1", 1)}))
		successes, _, _ := counts(t, s, day, domain)
		equal(t, successes, 1, domain)
	}
	equal(t, fmt.Sprint(domains(t, s, day)), fmt.Sprint(slices.Sorted(slices.Values([]string{long, "_x.r.example", "localhost"}))), "domains")
	for _, bad := range [][2]string{{"", "w"}, {"../x", "w"}, {"R.example", "w"}, {"r.example", ""}, {"r.example", "../w"}, {"r.example", "a.b"}, {"{x}", "w"}, {"r.example.", "w"}} {
		if err := s.Save(t.Context(), []*tlsrpt.Snapshot{Snapshot(day, bad[0], bad[1], 1)}); err == nil {
			t.Errorf("domain %q, writer %q: saved", bad[0], bad[1])
		}
	}
}

func testProgress(t *testing.T, b Backend) {
	s := b.Open()
	want := tlsrpt.Progress{Attempts: 2, First: day.Begin(), Next: day.End(), Targets: map[string]tlsrpt.TargetState{
		"https://r.example/": {Error: "no \"luck\"\n"}, "mailto:a@r.example": {Sent: day.Begin()}}}
	check(t, s.SetProgress(t.Context(), day, "r.example", want))
	check(t, s.SetProgress(t.Context(), day, "s.example", tlsrpt.Progress{}))
	got, err := b.Open().Progress(t.Context(), day, "r.example")
	check(t, err)
	equal(t, fmt.Sprint(got), fmt.Sprint(want), "progress")
	want.Done = true
	check(t, s.SetProgress(t.Context(), day, "r.example", want))
	got, err = b.Open().Progress(t.Context(), day, "r.example")
	check(t, err)
	equal(t, got.Done, true, "done")
	got, err = s.Progress(t.Context(), day+1, "r.example")
	check(t, err)
	equal(t, got.Done, false, "another day")
	equal(t, len(domains(t, s, day)), 0, "progress alone is no domain")
}

func testLease(t *testing.T, b Backend) {
	one, two := b.Open(), b.Open()
	release, held, err := one.Lease(t.Context(), day, "r.example", time.Hour)
	check(t, err)
	equal(t, held, true, "first")
	for _, s := range []tlsrpt.Store{one, two} {
		none, held, err := s.Lease(t.Context(), day, "r.example", time.Hour)
		check(t, err)
		equal(t, held, false, "taken")
		none()
	}
	other, held, err := two.Lease(t.Context(), day, "s.example", time.Hour)
	check(t, err)
	equal(t, held, true, "another domain")
	defer other()
	release()
	release()
	again, held, err := two.Lease(t.Context(), day, "r.example", time.Hour)
	check(t, err)
	equal(t, held, true, "released")
	release() // of the first holder: nothing
	_, held, err = one.Lease(t.Context(), day, "r.example", time.Hour)
	check(t, err)
	equal(t, held, false, "the second holds it")
	again()
}

func testPrune(t *testing.T, b Backend) {
	s := b.Open()
	for d := day - 5; d <= day; d++ {
		check(t, s.Save(t.Context(), []*tlsrpt.Snapshot{Snapshot(d, "r.example", "w1", 1)}))
		check(t, s.SetProgress(t.Context(), d, "r.example", tlsrpt.Progress{Done: true}))
	}
	check(t, s.Prune(t.Context(), day-1))
	days, err := s.Days(t.Context())
	check(t, err)
	equal(t, fmt.Sprint(days), fmt.Sprint([]tlsrpt.Day{day - 1, day}), "days")
	_, _, writers := counts(t, s, day-2, "r.example")
	equal(t, writers, 0, "writers")
	p, err := s.Progress(t.Context(), day-2, "r.example")
	check(t, err)
	equal(t, p.Done, false, "progress")
}

// testContext: a context that has ended is told, never taken for an empty store.
func testContext(t *testing.T, b Backend) {
	s := b.Open()
	check(t, s.Save(t.Context(), []*tlsrpt.Snapshot{Snapshot(day, "r.example", "w1", 1)}))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func() error{
		"save":         func() error { return s.Save(ended, []*tlsrpt.Snapshot{Snapshot(day, "r.example", "w1", 2)}) },
		"load":         func() error { _, err := s.Load(ended, day, "r.example"); return err },
		"days":         func() error { _, err := s.Days(ended); return err },
		"progress":     func() error { _, err := s.Progress(ended, day, "r.example"); return err },
		"set progress": func() error { return s.SetProgress(ended, day, "r.example", tlsrpt.Progress{}) },
		"lease":        func() error { _, _, err := s.Lease(ended, day, "r.example", time.Hour); return err },
		"domains": func() error {
			for _, err := range s.Domains(ended, day) {
				return err
			}
			return nil
		},
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// testConcurrent: many writers at once lose nothing.
func testConcurrent(t *testing.T, b Backend) {
	const writers, rounds = 8, 10
	var all sync.WaitGroup
	errs := make(chan error, writers)
	for w := range writers {
		s := b.Open()
		all.Go(func() {
			for n := range rounds {
				err := s.Save(t.Context(), []*tlsrpt.Snapshot{Snapshot(day, "r.example", fmt.Sprintf("w%d", w), uint64(n+1)), Snapshot(day, fmt.Sprintf("d%d.example", n), fmt.Sprintf("w%d", w), 1)})
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(errs)
	check(t, <-errs)
	s := b.Open()
	successes, _, _ := counts(t, s, day, "r.example")
	equal(t, successes, writers*rounds, "successes")
	equal(t, len(domains(t, s, day)), rounds+1, "domains")
}

// testDamage: what is damaged is told once, put aside, and the others are there.
func testDamage(t *testing.T, b Backend) {
	if b.Damage == nil {
		return
	}
	s := b.Open()
	bad := Snapshot(day, "r.example", "w1", 1)
	check(t, s.Save(t.Context(), []*tlsrpt.Snapshot{bad, Snapshot(day, "r.example", "w2", 2)}))
	check(t, b.Damage(bad))
	tally, err := s.Load(t.Context(), day, "r.example")
	if !errors.Is(err, tlsrpt.ErrCorrupt) {
		t.Fatalf("not told: %v", err)
	}
	equal(t, len(tally.Snapshots()), 1, "the other writer")
	successes, _, _ := counts(t, s, day, "r.example")
	equal(t, successes, 2, "put aside")
	check(t, s.Save(t.Context(), []*tlsrpt.Snapshot{bad}))
	successes, _, _ = counts(t, s, day, "r.example")
	equal(t, successes, 3, "written again")
}
