package mtasts

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// textStore is a Store that keeps texts in a map and can be made to fail.
type textStore struct {
	mu    sync.Mutex
	texts map[string][]byte
	down  error
	puts  int
}

func newStore() *textStore { return &textStore{texts: map[string][]byte{}} }

func (s *textStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = err
}

func (s *textStore) read(domain string) (*Entry, error) {
	if s.down != nil {
		return nil, s.down
	}
	text, ok := s.texts[domain]
	if !ok {
		return nil, ErrNotFound
	}
	e := new(Entry)
	if err := e.UnmarshalText(text); err != nil {
		delete(s.texts, domain)
		return nil, err
	}
	return e, nil
}

func (s *textStore) Get(_ context.Context, domain string) (*Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read(domain)
}

func (s *textStore) Put(_ context.Context, e *Entry, old Version) (Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stored, err := s.read(e.Domain())
	if err != nil && !errors.Is(err, ErrNotFound) {
		return 0, err
	}
	var now Version
	if stored != nil {
		now = stored.Version()
	}
	if now != old {
		return 0, ErrStoreConflict
	}
	s.puts++
	s.texts[e.Domain()], err = e.WithVersion(old + 1).MarshalText()
	return old + 1, err
}

func (s *textStore) Delete(_ context.Context, domain string, old Version) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	stored, err := s.read(domain)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err == nil && stored.Version() != old {
		return ErrStoreConflict
	}
	delete(s.texts, domain)
	return err
}

func (s *textStore) All(ctx context.Context) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		s.mu.Lock()
		domains := make([]string, 0, len(s.texts))
		for d := range s.texts {
			domains = append(domains, d)
		}
		s.mu.Unlock()
		for _, d := range domains {
			if !yield(s.Get(ctx, d)) {
				return
			}
		}
	}
}

// second is another process over the same store and the same Internet.
func (w *world) second() *world {
	v := newWorld()
	v.dns, v.clock = w.dns, w.clock
	v.Resolver, v.Clock, v.Store = w.dns, w.clock, w.Store
	return v
}

func TestStoreOutlivesTheProcess(t *testing.T) {
	w := newWorld()
	w.Store = newStore()
	first := w.lookup(t)
	w.dns.set("example.com") // forged away after the restart
	w.clock.add(time.Minute)
	v := w.second()
	r := v.lookup(t)
	require.Equal(t, OutcomeEnforce, r.Outcome)
	require.Equal(t, SourceCached, r.Source)
	require.Equal(t, first.Expires, r.Expires)
	require.Equal(t, first.Body, r.Body)
	require.True(t, first.Policy.Equal(r.Policy))
	require.Zero(t, v.gets.Load())
	require.Equal(t, 1, w.dns.count("example.com"))
	// Long after: served at once, checked in the background.
	w.clock.add(time.Hour)
	u := w.second()
	require.Equal(t, SourceStale, u.lookup(t).Source)
	u.lookup(t)
	u.idle()
	require.Equal(t, ReasonRecordAbsent, u.lookup(t).Reason)
	require.Equal(t, OutcomeEnforce, u.lookup(t).Outcome)
}

func TestStoreKeepsNegativeAndBackoff(t *testing.T) {
	w := newWorld()
	w.Store = newStore()
	w.setBody("")
	w.lookup(t)
	v := w.second()
	r := v.lookup(t)
	require.Equal(t, OutcomeBackoff, r.Outcome)
	require.ErrorIs(t, r.Err, ErrBackoff)
	require.Equal(t, ReasonStatus, r.Reason)
	require.Zero(t, v.gets.Load())
}

func TestStoreErrorsDecideNothing(t *testing.T) {
	w := newWorld()
	s := newStore()
	w.Store = s
	w.lookup(t)
	w.events()
	down := errors.New("store down")
	s.fail(down)
	w.clock.add(11 * time.Minute)
	require.Equal(t, OutcomeEnforce, w.lookup(t).Outcome)
	w.idle()
	require.Contains(t, w.events(), EventStoreError)
	require.Equal(t, SourceCached, w.lookup(t).Source, "the check went on")
	// Nothing in memory: discovery as if there were no store.
	v := w.second()
	require.Equal(t, SourceFresh, v.lookup(t).Source)
	require.Contains(t, v.events(), EventStoreError)
	// The next observation writes.
	s.fail(nil)
	puts := s.puts
	w.clock.add(11 * time.Minute)
	w.lookup(t)
	w.idle()
	require.Equal(t, puts+1, s.puts)
	s.fail(down)
	require.ErrorIs(t, w.Forget(t.Context(), "example.com", ScopeAll), down)
}

func TestStoreConflictIsMerged(t *testing.T) {
	w := newWorld()
	s := newStore()
	w.Store = s
	w.lookup(t)
	v := w.second()
	v.lookup(t)
	// One sees a new policy, the other a check; both write over version 1.
	w.clock.add(11 * time.Minute)
	w.dns.set("example.com", "v=STSv1; id=2;")
	v.setBody("version: STSv1\nmode: testing\nmx: a.example\nmax_age: 604800\n")
	v.lookup(t)
	v.idle()
	w.clock.add(time.Second)
	w.lookup(t)
	w.idle()
	require.Equal(t, OutcomeTesting, w.lookup(t).Outcome, "what the other process fetched")
	require.EqualValues(t, 1, w.gets.Load(), "without a GET of its own")
	stored, err := s.Get(t.Context(), "example.com")
	require.NoError(t, err)
	require.Equal(t, ModeTesting, stored.entry.Policy.Mode)

	// A write over a version that is gone.
	g := w.start()
	e := *g.cache.get("example.com", w.clock.Now())
	e.Version = 1
	e.SeenAt = w.clock.Now().Add(time.Minute)
	saved := g.save(e, w.clock.Now().Add(time.Minute), delivery)
	require.Greater(t, saved.Version, stored.Version())
	require.NoError(t, s.Delete(t.Context(), "example.com", saved.Version))
	require.Equal(t, Version(1), g.save(saved, w.clock.Now(), delivery).Version, "created again")
}

// TestStoreLearntTooLate: the store fails until the entry is written, and the GET
// fails as well. The policy that turns up then serves those who have waited.
func TestStoreLearntTooLate(t *testing.T) {
	w := newWorld()
	s := newStore()
	w.Store = s
	want := w.lookup(t)
	v := w.second()
	v.Fetch.Transport = roundTrip(func(*http.Request) (*http.Response, error) {
		s.fail(nil)
		return nil, errors.New("connection refused")
	})
	s.fail(errors.New("no route to host"))
	r := v.lookup(t)
	require.Equal(t, OutcomeEnforce, r.Outcome)
	require.Equal(t, SourceStale, r.Source)
	require.Equal(t, want.Expires, r.Expires)
	require.Equal(t, ReportFetchError, r.Report)
}

func TestStoreCorruptEntryIsAbsent(t *testing.T) {
	w := newWorld()
	s := newStore()
	w.Store = s
	s.texts["example.com"] = []byte("mtasts-entry 1\nbroken")
	require.Equal(t, SourceFresh, w.lookup(t).Source)
	require.Contains(t, w.events(), EventEntryCorrupt)
	other, err := s.Get(t.Context(), "example.com")
	require.NoError(t, err)
	text, err := other.MarshalText()
	require.NoError(t, err)
	s.texts["other.example"] = text
	w.dns.set("other.example")
	r, err := w.Lookup(t.Context(), "other.example")
	require.NoError(t, err)
	require.Equal(t, OutcomeNoRecord, r.Outcome, "an entry of another domain is never applied")
}

func TestStoreStrictClientDropsTolerantPolicy(t *testing.T) {
	w := newWorld()
	w.Store = newStore()
	w.setBody(goodBody + "\n")
	w.lookup(t)
	v := w.second()
	v.StrictPolicy = true
	v.setBody(goodBody)
	require.Equal(t, SourceFresh, v.lookup(t).Source)
}

func TestStoreForget(t *testing.T) {
	w := newWorld()
	s := newStore()
	w.Store = s
	w.lookup(t)
	require.NoError(t, w.Forget(t.Context(), "example.com", ScopeAll))
	require.Empty(t, s.texts)
	require.NoError(t, w.Forget(t.Context(), "example.com", ScopeAll))
	w.setBody("")
	w.lookup(t)
	v := w.second()
	require.NoError(t, v.Forget(t.Context(), "example.com", ScopeBackoff))
	w.setBody(goodBody)
	require.Equal(t, OutcomeEnforce, v.lookup(t).Outcome, "a back-off that only the store knew")
}

func TestStoreQuietEviction(t *testing.T) {
	w := newWorld()
	w.Store = newStore()
	w.Limits.MaxPolicies = 1
	w.lookup(t)
	w.dns.set("other.example", "v=STSv1; id=1;")
	w.clock.add(time.Minute)
	_, err := w.Lookup(t.Context(), "other.example")
	require.NoError(t, err)
	require.NotContains(t, w.events(), EventEvicted, "the store has it")
	require.Equal(t, SourceCached, w.lookup(t).Source)
}

func TestStoreLastUsed(t *testing.T) {
	w := newWorld()
	s := newStore()
	w.Store = s
	used := func() time.Time { e, _ := s.Get(t.Context(), "example.com"); return e.entry.LastUsed }
	start := w.clock.Now()
	w.lookup(t)
	require.Equal(t, start, used())
	for range 4 {
		w.clock.add(11 * time.Minute)
		w.lookup(t)
		w.idle()
	}
	require.Equal(t, start, used(), "once an hour")
	w.clock.add(30 * time.Minute)
	w.lookup(t)
	w.idle()
	require.Equal(t, w.clock.Now(), used())
}
