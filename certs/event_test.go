package certs

import (
	"bytes"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// The hook is called without a lock: it may use the store.
func TestEventHookMayUseTheStore(t *testing.T) {
	var s *Store
	var seen []EventKind
	s = openStore(t, StoreOptions{Events: func(e Event) {
		seen = append(seen, e.Kind)
		if e.Kind == EventChanged && e.Name == "a.example" {
			_, err := s.Assign("https", e.Name)
			require.NoError(t, err)
			created(t, s, "b.example")
		}
	}})
	created(t, s, "a.example")
	require.Equal(t, []EventKind{EventChanged, EventChanged}, seen)
	require.NoError(t, s.Source("https").Ready())
}

func TestEventsInTheLog(t *testing.T) {
	var out bytes.Buffer
	clock := newStoreClock()
	s := openStore(t, StoreOptions{Now: clock.Now, Logger: slog.New(slog.NewTextHandler(&out, nil))})
	line := func(want ...string) {
		t.Helper()
		for _, w := range want {
			require.Contains(t, out.String(), w)
		}
		out.Reset()
	}
	r, err := s.Demonstration()
	require.NoError(t, err)
	line("level=INFO", `msg="certs: changed"`, "entry=demonstration.invalid", "place=current", `subject="CN=demonstration.invalid"`, "sha256=", "not_after=")
	_, err = s.Assign("https", r.Name)
	require.NoError(t, err)
	line("level=WARN", "demonstration", "role=https")
	_, err = s.CheckExpiry()
	require.NoError(t, err)
	line("level=WARN", "expiring")
	clock.advance(31 * day)
	_, err = s.CheckExpiry()
	require.NoError(t, err)
	line("level=ERROR", "expired")
	require.NoError(t, s.Remove(r.Name, true))
	line("removed")
}

func TestEventText(t *testing.T) {
	require.Equal(t, `reload-failed entry "a\n": no private key`, Event{Kind: EventReloadFailed, Name: "a\n", Err: ErrNoKey}.String())
	require.Equal(t, `expired entry "mx": issuer certificate "CN=x", valid until 2030-01-02T00:00:00Z`,
		Event{Kind: EventExpired, Name: "mx", Place: "issuer", Subject: "CN=x", NotAfter: time.Date(2030, 1, 2, 0, 0, 0, 0, time.UTC)}.String())
	require.Equal(t, `certs: the certificate of entry "mx" does not cover "a.example": a cluster needs a wildcard or SAN certificate for every member`,
		(&NotCoveredError{Name: "mx", Hosts: []string{"a.example"}}).Error())
}

// Watch tells of what expires, by the clock.
func TestWatchTellsOfExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := &storeEvents{}
		s := openStore(t, StoreOptions{Events: events.add})
		leaf := testpki.SelfSigned([]string{"a.example"}, testpki.Valid(time.Now(), time.Now().Add(60*time.Hour)))
		_, err := s.ImportPEM("a", storePair(t, leaf), ImportOptions{})
		require.NoError(t, err)
		events.take()
		start := time.Now()
		polls := watched(t, s)
		polls(100 * 3600)
		var got []string
		for _, e := range events.take() {
			got = append(got, string(e.Kind)+" "+e.Time.Sub(start).String())
		}
		require.Equal(t, []string{"expiring 0s", "expiring 36h0m0s", "expired 61h0m0s", "expired 85h0m0s"}, got)
	})
}
