package ststest

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/stretchr/testify/require"
)

func TestMemory(t *testing.T) {
	TestStore(t, func(testing.TB) Backend { return newMemory("").backend() })
}

// Without leases and without a way to plant texts the rest is tested.
func TestPlainStore(t *testing.T) {
	TestStore(t, func(testing.TB) Backend {
		s := struct{ mtasts.Store }{newMemory("")}
		return Backend{Open: func() mtasts.Store { return s }}
	})
}

// recorder is a TB that fails without failing the test.
type recorder struct {
	testing.TB
	mu     sync.Mutex
	failed bool
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(string, ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
}

func (r *recorder) Error(...any) { r.Errorf("") }

func (r *recorder) Fatalf(string, ...any) {
	r.Errorf("")
	runtime.Goexit()
}

func (r *recorder) Fatal(...any) { r.Fatalf("") }

// failures returns the subtests that a backend does not pass.
func failures(t *testing.T, backend func() Backend) (names []string) {
	for _, c := range checks {
		r := &recorder{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.check(r, backend())
		}()
		<-done
		if r.failed {
			names = append(names, c.name)
		}
	}
	return names
}

// TestSuiteFails breaks a store in every way that a subtest is for.
func TestSuiteFails(t *testing.T) {
	for broken, name := range map[string]string{
		"overwrites":                        "versions",
		"counts nothing":                    "versions",
		"compares and swaps apart":          "no update is lost",
		"cuts bodies":                       "round trip",
		"deletes any version":               "delete",
		"counts from one again":             "no version comes back",
		"fails to delete nothing":           "absent",
		"yields some twice":                 "all",
		"stops at an error":                 "damaged entry",
		"keeps damage":                      "damaged entry",
		"tells damage as absence":           "damaged entry",
		"applies entries of others":         "entry of another domain",
		"drops other releases":              "entry of another release",
		"tells an ended context as absence": "ended context",
		"tells an ended context as the end": "ended context",
		"takes any name":                    "names that are no domains",
		"leases to all":                     "lease",
		"releases for others":               "lease",
	} {
		t.Run(broken, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, failures(t, func() Backend { return newMemory(broken).backend() }), name)
		})
	}
	require.Empty(t, failures(t, func() Backend { return newMemory("").backend() }))
}

func TestSamplesAreWhatTheySay(t *testing.T) {
	require.Len(t, longestDomain, 244)
	for kind, e := range samples() {
		require.True(t, e.KeepUntil().After(time.Now()), kind)
	}
}
