package ststest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/smtpsec/smtpsec/mtasts"
)

// Backend is a place for entries, empty at first, on which TestStore runs one test.
type Backend struct {
	// Open returns a Store over the place. Each call returns another one, as
	// several processes have it, if the place can be shared; otherwise the same.
	Open func() mtasts.Store
	// Plant puts a text where the entry of a domain is kept, behind the back of
	// every Store; nil if the place knows no texts. Then damaged and foreign
	// entries are not tested.
	Plant func(domain string, text []byte) error
}

// TestStore holds an implementation of mtasts.Store, and of mtasts.Leaser if it
// has it, to what mtasts.Client expects of it. It calls backend once for each of
// its subtests, with the T of that subtest.
//
// What it wants is told by the names of the subtests. Run it under the race
// detector, too.
func TestStore(t *testing.T, backend func(t testing.TB) Backend) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) { c.check(t, backend(t)) })
	}
}

// check is one subtest of TestStore.
type check struct {
	name  string
	check func(t testing.TB, b Backend)
}

var checks = []check{
	{"absent", checkAbsent},
	{"round trip", checkRoundTrip},
	{"versions", checkVersions},
	{"delete", checkDelete},
	{"no version comes back", checkVersionsDiffer},
	{"all", checkAll},
	{"names that are no domains", checkNames},
	{"ended context", checkContext},
	{"one of many creates", checkCreateRace},
	{"no update is lost", checkCounter},
	{"merges agree", checkMerge},
	{"damaged entry", checkDamaged},
	{"entry of another domain", checkWrongDomain},
	{"entry of another release", checkForeignSchema},
	{"lease", checkLease},
	{"lease runs out", checkLeaseEnds},
	{"one of many gets the lease", checkLeaseRace},
}

// must fails the test at once.
func must(t testing.TB, err error, format string, args ...any) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", fmt.Sprintf(format, args...), err)
	}
}

// mustBe fails the test unless the error matches.
func mustBe(t testing.TB, err, want error, format string, args ...any) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: got error %v, want %v", fmt.Sprintf(format, args...), err, want)
	}
}

// text returns an entry as text under a version.
func text(t testing.TB, e *mtasts.Entry, version mtasts.Version) string {
	t.Helper()
	if e == nil {
		t.Fatal("entry is nil, without error")
	}
	b, err := e.WithVersion(version).MarshalText()
	must(t, err, "MarshalText")
	return string(b)
}

// create puts a new entry and returns its version.
func create(t testing.TB, s mtasts.Store, e *mtasts.Entry) mtasts.Version {
	t.Helper()
	version, err := s.Put(t.Context(), e, 0)
	must(t, err, "Put(%s, 0)", e.Domain())
	if version == 0 {
		t.Fatalf("Put(%s, 0): version 0, which means no entry", e.Domain())
	}
	return version
}

// mustHold fails unless the store has this entry under this version.
func mustHold(t testing.TB, s mtasts.Store, want *mtasts.Entry, version mtasts.Version) {
	t.Helper()
	got, err := s.Get(t.Context(), want.Domain())
	must(t, err, "Get(%s)", want.Domain())
	if got.Version() != version {
		t.Fatalf("Get(%s): version %d, want %d", want.Domain(), got.Version(), version)
	}
	if g, w := text(t, got, version), text(t, want, version); g != w {
		t.Fatalf("Get(%s):\n%s\nwant:\n%s", want.Domain(), g, w)
	}
}

// mustLack fails unless the store says that it has no entry.
func mustLack(t testing.TB, s mtasts.Store, domain string) {
	t.Helper()
	e, err := s.Get(t.Context(), domain)
	mustBe(t, err, mtasts.ErrNotFound, "Get(%s)", domain)
	if e != nil {
		t.Fatalf("Get(%s): an entry along with ErrNotFound", domain)
	}
}

// list returns the domains of All, sorted, and its errors.
func list(t testing.TB, s mtasts.Store) (domains []string, errs []error) {
	t.Helper()
	for e, err := range s.All(t.Context()) {
		switch {
		case err != nil:
			errs = append(errs, err)
		case e == nil:
			t.Fatal("All: neither entry nor error")
		default:
			domains = append(domains, e.Domain())
		}
	}
	slices.Sort(domains)
	return domains, errs
}

// mustList fails unless All yields these domains and no error.
func mustList(t testing.TB, s mtasts.Store, want ...string) {
	t.Helper()
	got, errs := list(t, s)
	must(t, errors.Join(errs...), "All")
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("All: %d domains %q, want %d %q", len(got), clip(got), len(want), clip(want))
	}
}

func clip(domains []string) []string { return domains[:min(len(domains), 10)] }

func checkAbsent(t testing.TB, b Backend) {
	s := b.Open()
	mustLack(t, s, "example.com")
	must(t, s.Delete(t.Context(), "example.com", 0), "Delete of nothing")
	must(t, s.Delete(t.Context(), "example.com", 7), "Delete of nothing, with a version")
	mustList(t, s)
}

func checkRoundTrip(t testing.TB, b Backend) {
	s, other := b.Open(), b.Open()
	var domains []string
	for kind, e := range samples() {
		domains = append(domains, e.Domain())
		before := text(t, e, 0)
		version := create(t, s, e)
		if e.Version() != 0 || text(t, e, 0) != before {
			t.Fatalf("%s: Put has changed its argument", kind)
		}
		mustHold(t, s, e, version)
		mustHold(t, other, e, version)
		got, err := s.Get(t.Context(), e.Domain())
		must(t, err, "Get")
		if !got.KeepUntil().Equal(e.KeepUntil()) {
			t.Fatalf("%s: KeepUntil %v, want %v", kind, got.KeepUntil(), e.KeepUntil())
		}
	}
	mustList(t, other, domains...)
}

func checkVersions(t testing.TB, b Backend) {
	s, other := b.Open(), b.Open()
	ctx := t.Context()
	one, two, three := counterEntry("example.com", 1), counterEntry("example.com", 2), counterEntry("example.com", 3)
	_, err := s.Put(ctx, one, 5)
	mustBe(t, err, mtasts.ErrStoreConflict, "Put over a version that is gone")
	mustLack(t, s, "example.com")
	first := create(t, s, one)
	_, err = s.Put(ctx, two, 0)
	mustBe(t, err, mtasts.ErrStoreConflict, "Put as new over an entry")
	_, err = s.Put(ctx, two, first+1)
	mustBe(t, err, mtasts.ErrStoreConflict, "Put over a version to come")
	mustHold(t, s, one, first)
	second, err := other.Put(ctx, two, first)
	must(t, err, "Put over the version that is stored")
	if second <= first {
		t.Fatalf("Put: version %d after %d", second, first)
	}
	mustHold(t, s, two, second)
	_, err = s.Put(ctx, three, first)
	mustBe(t, err, mtasts.ErrStoreConflict, "Put over a version that was replaced")
	mustHold(t, other, two, second)
	// The version of the argument says nothing: it is where the entry came from.
	third, err := s.Put(ctx, three.WithVersion(99), second)
	must(t, err, "Put of an entry with a version of its own")
	mustHold(t, other, three, third)
	mustList(t, s, "example.com")
}

func checkDelete(t testing.TB, b Backend) {
	s, other := b.Open(), b.Open()
	ctx := t.Context()
	one, two := counterEntry("example.com", 1), counterEntry("example.com", 2)
	neighbour := counterEntry("neighbour.example", 1)
	first, kept := create(t, s, one), create(t, s, neighbour)
	second, err := s.Put(ctx, two, first)
	must(t, err, "Put")
	mustBe(t, s.Delete(ctx, "example.com", first), mtasts.ErrStoreConflict, "Delete of a version that was replaced")
	mustBe(t, s.Delete(ctx, "example.com", 0), mtasts.ErrStoreConflict, "Delete with version 0 of an entry")
	mustHold(t, s, two, second)
	must(t, other.Delete(ctx, "example.com", second), "Delete")
	mustLack(t, s, "example.com")
	must(t, s.Delete(ctx, "example.com", second), "Delete again")
	_, err = s.Put(ctx, one, second)
	mustBe(t, err, mtasts.ErrStoreConflict, "Put over a version that was deleted")
	mustHold(t, s, neighbour, kept)
	again := create(t, s, one)
	mustHold(t, other, one, again)
}

// checkVersionsDiffer makes and deletes an entry again and again. Whoever remembers
// an entry that was deleted must not take the next one for it.
func checkVersionsDiffer(t testing.TB, b Backend) {
	s, other := b.Open(), b.Open()
	ctx := t.Context()
	e := counterEntry("example.com", 1)
	var past []mtasts.Version
	for round := range 20 {
		version := create(t, s, e)
		for writes := 0; ; writes++ {
			if slices.Contains(past, version) {
				t.Fatalf("version %d, which an entry had that was deleted", version)
			}
			past = append(past, version)
			if writes == round%3 {
				break
			}
			var err error
			version, err = other.Put(ctx, e, version)
			must(t, err, "Put")
		}
		for _, old := range past[:len(past)-1] {
			_, err := other.Put(ctx, e, old)
			mustBe(t, err, mtasts.ErrStoreConflict, "Put over a version from before a Delete")
			mustBe(t, other.Delete(ctx, "example.com", old), mtasts.ErrStoreConflict, "Delete of a version from before a Delete")
		}
		mustHold(t, s, e, version)
		must(t, other.Delete(ctx, "example.com", version), "Delete")
		_, err := s.Put(ctx, e, version)
		mustBe(t, err, mtasts.ErrStoreConflict, "Put over a version that was deleted")
		mustLack(t, s, "example.com")
	}
}

func checkAll(t testing.TB, b Backend) {
	s := b.Open()
	const many = 300
	var want []string
	for i := range many {
		domain := fmt.Sprintf("d%d.example", i)
		create(t, s, counterEntry(domain, i))
		want = append(want, domain)
	}
	mustList(t, b.Open(), want...)
	seen := 0
	for range s.All(t.Context()) {
		if seen++; seen == 3 {
			break
		}
	}
	if seen != 3 {
		t.Fatalf("All: %d entries before the break, want 3", seen)
	}
	// The loop may write: Refresh looks at the entries and stores new ones.
	for e, err := range s.All(t.Context()) {
		must(t, err, "All")
		_, err = s.Put(t.Context(), e, e.Version())
		must(t, err, "Put(%s) within All", e.Domain())
	}
	mustList(t, s, want...)
}

func checkNames(t testing.TB, b Backend) {
	s := b.Open()
	for _, bad := range []string{
		"", ".", "..", "../x", "a/b", ".hidden", "A.example", "under_score.example", "a\x00b", "a b", "a\nb", "a{b}", "a*", "ä.example",
	} {
		_, err := s.Get(t.Context(), bad)
		if err == nil || errors.Is(err, mtasts.ErrNotFound) {
			t.Errorf("Get(%q): error %v, want one that is not ErrNotFound", bad, err)
		}
		if s.Delete(t.Context(), bad, 0) == nil {
			t.Errorf("Delete(%q): no error", bad)
		}
	}
	if _, err := s.Put(t.Context(), new(mtasts.Entry), 0); err == nil {
		t.Error("Put of an entry without domain: no error")
	}
	mustList(t, s)
}

func checkContext(t testing.TB, b Backend) {
	s := b.Open()
	one, two := counterEntry("example.com", 1), counterEntry("example.com", 2)
	version := create(t, s, one)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	// A store may answer all the same. It may not say what is not so.
	if _, err := s.Get(ended, "example.com"); errors.Is(err, mtasts.ErrNotFound) || errors.Is(err, mtasts.ErrCorrupt) {
		t.Errorf("Get under an ended context: %v, for an entry that is there", err)
	}
	yielded, failed := 0, false
	for _, err := range s.All(ended) {
		yielded++
		failed = failed || err != nil
	}
	if yielded == 0 || yielded > 2 {
		t.Errorf("All under an ended context: yielded %d times, error %v; want the entry, an error, or both", yielded, failed)
	}
	next, err := s.Put(ended, two, version)
	if errors.Is(err, mtasts.ErrStoreConflict) {
		t.Errorf("Put under an ended context: %v, over the version that was there", err)
	}
	if err == nil {
		mustHold(t, s, two, next)
	}
}

func checkDamaged(t testing.TB, b Backend) {
	if b.Plant == nil {
		return
	}
	whole := text(t, counterEntry("example.com", 1), 1)
	flipped := []byte(whole)
	flipped[len(flipped)-3] ^= 1
	for what, damage := range map[string]string{
		"rubbish":                    "rubbish",
		"half a header":              whole[:len(whole)/4],
		"a body that lacks an octet": whole[:len(whole)-1],
		"a flipped bit":              string(flipped),
		"text after the end":         whole + "x",
		"one that is too large":      whole + strings.Repeat("x", 1<<20),
	} {
		s := b.Open()
		must(t, b.Plant("example.com", []byte(damage)), "Plant")
		_, err := s.Get(t.Context(), "example.com")
		mustBe(t, err, mtasts.ErrCorrupt, "Get of %s", what)
		mustLack(t, s, "example.com") // it has been put out of the way
		version := create(t, s, counterEntry("example.com", 2))
		must(t, s.Delete(t.Context(), "example.com", version), "Delete")

		must(t, b.Plant("example.com", []byte(damage)), "Plant")
		other := counterEntry("other.example", 1)
		kept := create(t, s, other)
		domains, errs := list(t, s)
		if !slices.Equal(domains, []string{"other.example"}) || len(errs) != 1 || !errors.Is(errs[0], mtasts.ErrCorrupt) {
			t.Fatalf("All over %s: %q and errors %v, want the other entry and one error", what, domains, errs)
		}
		must(t, s.Delete(t.Context(), "other.example", kept), "Delete")

		must(t, b.Plant("example.com", []byte(damage)), "Plant")
		fresh := counterEntry("example.com", 3)
		version = create(t, s, fresh) // without a Get before
		mustHold(t, s, fresh, version)
		must(t, s.Delete(t.Context(), "example.com", version), "Delete")
	}
}

func checkWrongDomain(t testing.TB, b Backend) {
	if b.Plant == nil {
		return
	}
	s := b.Open()
	must(t, b.Plant("example.com", []byte(text(t, counterEntry("evil.example", 1), 1))), "Plant")
	_, err := s.Get(t.Context(), "example.com")
	mustBe(t, err, mtasts.ErrCorrupt, "Get of an entry that is of another domain")
	mustLack(t, s, "example.com")
	mustLack(t, s, "evil.example")
	create(t, s, counterEntry("example.com", 2))
}

func checkForeignSchema(t testing.TB, b Backend) {
	if b.Plant == nil {
		return
	}
	s := b.Open()
	must(t, b.Plant("example.com", []byte("mtasts-entry 2\ndomain example.com\nversion 5\nwhatever\n\nelse\n")), "Plant")
	for range 2 { // it is left alone
		_, err := s.Get(t.Context(), "example.com")
		mustBe(t, err, mtasts.ErrNotFound, "Get of an entry of another release")
		mustBe(t, err, mtasts.ErrSchema, "Get of an entry of another release")
		for _, old := range []mtasts.Version{0, 5} {
			_, err = s.Put(t.Context(), counterEntry("example.com", 1), old)
			mustBe(t, err, mtasts.ErrSchema, "Put over an entry of another release")
			mustBe(t, s.Delete(t.Context(), "example.com", old), mtasts.ErrSchema, "Delete of an entry of another release")
		}
		mustList(t, s)
	}
}
