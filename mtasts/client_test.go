package mtasts

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLookupFirstAndCached(t *testing.T) {
	w := newWorld()
	r := w.lookup(t)
	require.Equal(t, OutcomeEnforce, r.Outcome)
	require.Equal(t, SourceFresh, r.Source)
	require.Equal(t, "example.com", r.Domain)
	require.Equal(t, "1", r.ID)
	require.Equal(t, goodBody, string(r.Body))
	require.Equal(t, w.clock.Now(), r.FetchedAt)
	require.Equal(t, w.clock.Now().Add(604800*time.Second), r.Expires)
	require.NoError(t, r.Err)
	require.True(t, r.Match("MX1.example.com."))
	require.False(t, r.Match("example.com"))
	require.Equal(t, []EventKind{EventDNSQuery, EventRecordFound, EventFetchStart, EventFetchDone, EventCacheStored}, w.events())
	again, err := w.Lookup(t.Context(), "EXAMPLE.com.")
	require.NoError(t, err)
	require.Equal(t, SourceCached, again.Source)
	require.Same(t, r.Policy, again.Policy)
	require.EqualValues(t, 1, w.gets.Load())
	require.Equal(t, 1, w.dns.count("example.com"))
	require.Empty(t, w.events())
}

func TestLookupServesWhileItChecks(t *testing.T) {
	w := newWorld()
	w.lookup(t)
	w.clock.add(10 * time.Minute)
	w.dns.set("example.com", "v=STSv1; id=2;")
	w.setBody("version: STSv1\nmode: testing\nmx: a.example\nmax_age: 604800\n")
	w.mu.Lock()
	w.block = make(chan struct{})
	w.mu.Unlock()
	r := w.lookup(t)
	require.Equal(t, OutcomeEnforce, r.Outcome, "the old policy serves meanwhile")
	w.mu.Lock()
	close(w.block)
	w.mu.Unlock()
	w.idle()
	r = w.lookup(t)
	require.Equal(t, OutcomeTesting, r.Outcome)
	require.Equal(t, "2", r.ID)
	require.Equal(t, SourceCached, r.Source)
	require.Contains(t, w.events(), EventDowngradeMode)
}

func TestLookupBadDomain(t *testing.T) {
	w := newWorld()
	for _, tc := range badDomains {
		r, err := w.Lookup(t.Context(), tc.in)
		require.ErrorIs(t, err, ErrDomain, tc.why)
		require.Equal(t, OutcomeUnknown, r.Outcome, tc.why)
		require.ErrorIs(t, r.Err, ErrDomain, tc.why)
		_, changed, err := w.Recheck(t.Context(), tc.in)
		require.ErrorIs(t, err, ErrDomain, tc.why)
		require.False(t, changed, tc.why)
		require.ErrorIs(t, w.Forget(t.Context(), tc.in, ScopeAll), ErrDomain, tc.why)
	}
	require.Empty(t, w.dns.asked, "no query")
	require.Zero(t, w.gets.Load(), "no GET")
	require.Zero(t, w.start().cache.index.live, "no key")
}

func TestLookupRecords(t *testing.T) {
	temporary := errors.New("i/o timeout")
	for _, tc := range []struct {
		why     string
		rrs     []string
		err     error
		outcome Outcome
		target  error
		kind    EventKind
	}{
		{"NXDOMAIN", nil, &net.DNSError{Err: "no such host", IsNotFound: true}, OutcomeNoRecord, ErrNoRecord, EventRecordAbsent},
		{"NODATA", nil, nil, OutcomeNoRecord, ErrNoRecord, EventRecordAbsent},
		{"foreign", []string{"v=spf1 -all"}, nil, OutcomeNoRecord, ErrNoRecord, EventRecordAbsent},
		{"several", []string{"v=STSv1; id=1", "v=STSv1; id=2"}, nil, OutcomeMultipleRecords, ErrMultipleRecords, EventRecordInvalid},
		{"malformed", []string{"v=STSv1; id=;"}, nil, OutcomeInvalidRecord, ErrRecordSyntax, EventRecordInvalid},
		{"malformed as the tolerant mode takes it", []string{"v=STSv1;; id=1"}, nil, OutcomeInvalidRecord, ErrRecordSyntax, EventRecordInvalid},
		{"SERVFAIL", nil, &net.DNSError{Err: "server misbehaving", IsTemporary: true}, OutcomeDNSError, ErrDNS, EventDNSFailed},
		{"timeout", nil, &net.DNSError{Err: "i/o timeout", IsTimeout: true}, OutcomeDNSError, ErrDNS, EventDNSFailed},
		{"REFUSED or any other error", nil, temporary, OutcomeDNSError, ErrDNS, EventDNSFailed},
		{"cancelled query", nil, context.Canceled, OutcomeDNSError, ErrDNS, EventDNSFailed},
	} {
		w := newWorld()
		w.dns.set("example.com", tc.rrs...)
		if tc.err != nil {
			w.dns.setError("example.com", tc.err)
		}
		r := w.lookup(t)
		require.Equal(t, tc.outcome, r.Outcome, tc.why)
		require.Nil(t, r.Policy, tc.why)
		require.ErrorIs(t, r.Err, tc.target, tc.why)
		if tc.err != nil {
			require.ErrorIs(t, r.Err, tc.err, "%s: the cause is kept", tc.why)
		}
		require.Empty(t, r.Report, tc.why)
		require.Zero(t, w.gets.Load(), tc.why)
		require.Equal(t, []EventKind{EventDNSQuery, tc.kind}, w.events(), tc.why)
		w.lookup(t)
		require.Equal(t, 1, w.dns.count("example.com"), "%s: remembered", tc.why)
	}
}

func TestLookupTolerantRecordAndStrictPolicy(t *testing.T) {
	w := newWorld()
	w.TolerantRecord = true
	w.dns.set("example.com", "v=STSv1;; id=1")
	require.Equal(t, OutcomeEnforce, w.lookup(t).Outcome)
	w = newWorld()
	w.setBody(goodBody + "\n")
	r := w.lookup(t)
	require.Equal(t, OutcomeEnforce, r.Outcome)
	require.Equal(t, []Warning{{WarnEmptyLine, 5, 1, "", ""}}, r.Warnings)
	w = newWorld()
	w.StrictPolicy = true
	w.setBody(goodBody + "\n")
	r = w.lookup(t)
	require.Equal(t, OutcomePolicyInvalid, r.Outcome)
	require.Equal(t, ReportPolicyInvalid, r.Report)
	require.ErrorIs(t, r.Err, ErrPolicySyntax)
	var syntax *SyntaxError
	require.ErrorAs(t, r.Err, &syntax)
}

func TestLookupKeepsFewWarnings(t *testing.T) {
	w := newWorld()
	w.setBody(goodBody + string(bytes.Repeat([]byte("\n"), 10000)))
	require.Len(t, w.lookup(t).Warnings, maxWarnings)
}

func TestLookupBackoff(t *testing.T) {
	w := newWorld()
	w.setBody("")
	r := w.lookup(t)
	require.Equal(t, OutcomeFetchError, r.Outcome)
	require.Equal(t, ReasonStatus, r.Reason)
	require.Equal(t, ReportFetchError, r.Report)
	require.ErrorIs(t, r.Err, ErrFetch)
	require.NotErrorIs(t, r.Err, ErrBackoff)
	r = w.lookup(t)
	require.Equal(t, OutcomeBackoff, r.Outcome)
	require.ErrorIs(t, r.Err, ErrBackoff)
	require.ErrorIs(t, r.Err, ErrFetch)
	require.Equal(t, ReportFetchError, r.Report)
	require.Equal(t, ReasonStatus, r.Reason)
	require.Equal(t, "1", r.ID)
	w.setBody(goodBody)
	w.clock.add(5 * time.Minute)
	require.Equal(t, OutcomeEnforce, w.lookup(t).Outcome)
}

// TestFullWay goes through certificates, TCP and the lab's address mapping.
func TestFullWay(t *testing.T) {
	h := newPolicyHost(t, octets(reply("", goodBody)))
	dns := newDNS()
	dns.set("example.com", "v=STSv1; id=1;")
	dns.set("other.example", "v=STSv1; id=1;")
	dns.set("inside.example", "v=STSv1; id=1;")
	for name, addr := range map[string]string{"example.com": "192.0.2.10", "other.example": "192.0.2.10", "inside.example": "10.0.0.1"} {
		dns.addrs["mta-sts."+name+"."] = []netip.Addr{netip.MustParseAddr(addr)}
	}
	c := &Client{Resolver: dns, Fetch: labConfig(map[string]net.Listener{"192.0.2.10:443": h})}
	r, err := c.Lookup(t.Context(), "example.com")
	require.NoError(t, err)
	require.Equal(t, OutcomeEnforce, r.Outcome, "%v", r.Err)
	r, err = c.Lookup(t.Context(), "other.example")
	require.NoError(t, err)
	require.Equal(t, OutcomeWebPKI, r.Outcome)
	require.Equal(t, ReportWebPKI, r.Report)
	require.ErrorIs(t, r.Err, ErrWebPKI)
	r, err = c.Lookup(t.Context(), "inside.example")
	require.NoError(t, err)
	require.Equal(t, OutcomeFetchError, r.Outcome)
	require.ErrorIs(t, r.Err, ErrBlockedAddress)
	require.ErrorIs(t, r.Err, ErrFetch)
	var failed *Error
	require.ErrorAs(t, r.Err, &failed)
	require.Equal(t, "mta-sts.inside.example", failed.Host)
}

func TestMaxAgeZeroWaitsForTheGap(t *testing.T) {
	w := newWorld()
	w.setBody("version: STSv1\nmode: enforce\nmx: mx.example.com\nmax_age: 0\n")
	r := w.lookup(t)
	require.Equal(t, OutcomeEnforce, r.Outcome)
	require.Equal(t, SourceFresh, r.Source)
	first := w.clock.Now()
	r = w.lookup(t)
	require.Equal(t, OutcomeEnforce, r.Outcome, "not kept, and never told as absent")
	require.Equal(t, SourceFresh, r.Source)
	require.Equal(t, 30*time.Second, w.clock.Now().Sub(first), "the fake timer jumped over the gap")
	require.EqualValues(t, 2, w.gets.Load())
	require.NotContains(t, w.events(), EventCacheStored)
}

func TestClockSetBack(t *testing.T) {
	w := newWorld()
	r := w.lookup(t)
	w.clock.add(-1000 * time.Hour)
	r2 := w.lookup(t)
	require.Equal(t, OutcomeEnforce, r2.Outcome)
	require.Equal(t, w.clock.Now().Add(604800*time.Second), r2.Expires)
	require.True(t, r2.Expires.Before(r.Expires))
}

func TestExpiredPolicyIsDiscoveredAnew(t *testing.T) {
	w := newWorld()
	w.lookup(t)
	w.clock.add(604800 * time.Second)
	w.dns.set("example.com")
	r := w.lookup(t)
	require.Equal(t, OutcomeNoRecord, r.Outcome)
	require.Contains(t, w.events(), EventPolicyExpired)
}

func TestZeroClientAndSystemClock(t *testing.T) {
	c := new(Client)
	g := c.start()
	require.Same(t, net.DefaultResolver, g.resolver)
	now := g.clock.Now()
	require.Equal(t, now, now.Round(0), "no monotonic reading")
	ch, stop := g.clock.NewTimer(0)
	<-ch
	stop()
}

// TestAllocsOfLookup: an answer from the cache allocates nothing.
func TestAllocsOfLookup(t *testing.T) {
	w := newWorld()
	w.Trace = nil
	w.lookup(t)
	w.dns.set("absent.example")
	w.dns.set("down.example", "v=STSv1; id=1;")
	for _, d := range []string{"absent.example", "down.example"} {
		w.setBody("")
		_, err := w.Lookup(t.Context(), d)
		require.NoError(t, err)
	}
	ctx := t.Context()
	for _, d := range []string{"example.com", "absent.example", "down.example"} {
		require.Zero(t, testing.AllocsPerRun(100, func() {
			if _, err := w.Lookup(ctx, d); err != nil {
				t.Error(err)
			}
		}), d)
	}
}
