package mtasts

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func newMachine() machine { return machine{Limits: Limits{}.withDefaults(), trace: true} }

func enforcePolicy(maxAge time.Duration) *Policy {
	return &Policy{Mode: ModeEnforce, MaxAge: maxAge, MX: []string{"mx.example.com"}}
}

func seenID(id string) recordSeen { return recordSeen{id: id} }

func seenFailure(outcome Outcome, reason string) recordSeen {
	return recordSeen{fail: recordFailure("example.com", outcome, reason, nil)}
}

func fetched(id string, at time.Time, p *Policy) policySeen {
	return policySeen{id: id, start: at, end: at, policy: p, body: []byte(p.String())}
}

func unfetched(id string, at time.Time) policySeen {
	err := errors.New("down")
	return policySeen{id: id, start: at, end: at, fail: failure{Outcome: OutcomeFetchError, Reason: ReasonConnect, Err: err, Later: err}}
}

// holding is an entry that holds a policy since epoch, under id "1".
func holding(t *testing.T, m machine, p *Policy) entry {
	t.Helper()
	e, _, get := m.observeRecord(entry{Domain: "example.com"}, epoch, seenID("1"))
	require.Equal(t, getJob{wanted: true, id: "1", at: epoch}, get)
	e, _ = m.observePolicy(e, fetched("1", epoch, p))
	return e
}

func kinds(events []Event) (k []EventKind) {
	for _, e := range events {
		k = append(k, e.Kind)
	}
	return k
}

// V1: only a GET moves the end of validity, a TXT record with the same id never.
func TestOnlyGETExtendsValidity(t *testing.T) {
	m := newMachine()
	e := holding(t, m, enforcePolicy(10*24*time.Hour))
	expires := epoch.Add(10 * 24 * time.Hour)
	for at := epoch; at.Before(epoch.Add(20 * time.Hour)); at = at.Add(10 * time.Minute) {
		var get getJob
		e, _, get = m.observeRecord(e, at, seenID("1"))
		require.False(t, get.wanted)
		require.Equal(t, expires, e.Expires)
	}
	e, _, get := m.observeRecord(e, epoch.Add(24*time.Hour), seenID("1"))
	require.True(t, get.wanted, "a refresh is due")
	e, _ = m.observePolicy(e, unfetched("1", epoch.Add(24*time.Hour)))
	require.Equal(t, expires, e.Expires)
	slow := fetched("1", epoch.Add(25*time.Hour), enforcePolicy(10*24*time.Hour))
	slow.end = slow.start.Add(time.Minute)
	e, _ = m.observePolicy(e, slow)
	require.Equal(t, slow.start.Add(10*24*time.Hour), e.Expires, "from the start of the GET")
}

// V2: MinMaxAge raises enforce and testing, never none.
func TestMinMaxAge(t *testing.T) {
	m := machine{Limits: Limits{MinMaxAge: time.Hour}.withDefaults()}
	for _, tc := range []struct {
		mode   PolicyMode
		maxAge time.Duration
		want   time.Duration
	}{{ModeEnforce, time.Minute, time.Hour}, {ModeTesting, 0, time.Hour}, {ModeNone, time.Minute, time.Minute}, {ModeEnforce, 2 * time.Hour, 2 * time.Hour}} {
		e := holding(t, m, &Policy{Mode: tc.mode, MaxAge: tc.maxAge, MX: []string{"a"}})
		require.Equal(t, epoch.Add(tc.want), e.Expires)
	}
	require.Equal(t, MaxAge, Limits{MinMaxAge: 2 * MaxAge}.withDefaults().MinMaxAge)
}

// V3: never after Expires, never longer than max_age from now if the clock was
// set back.
func TestExpiry(t *testing.T) {
	m := newMachine()
	e := holding(t, m, enforcePolicy(time.Hour))
	r, _ := m.serve(&e, epoch.Add(time.Hour-1))
	require.Equal(t, OutcomeEnforce, r.Outcome)
	r, need := m.serve(&e, epoch.Add(time.Hour))
	require.Equal(t, needAnswer, need)
	require.Zero(t, r)
	gone, events := m.settle(e, epoch.Add(time.Hour))
	require.Nil(t, gone.Policy)
	require.Equal(t, []EventKind{EventPolicyExpired}, kinds(events))
	require.Equal(t, slog.LevelWarn, events[0].Level)

	back := epoch.Add(-1000 * time.Hour)
	_, need = m.serve(&e, back)
	require.Equal(t, needSettling, need)
	settled, events := m.settle(e, back)
	require.Empty(t, events)
	require.Equal(t, back.Add(time.Hour), settled.Expires)
	require.Equal(t, back, settled.FetchedAt)
	require.Equal(t, back.Add(10*time.Minute), settled.NextCheck)
}

func TestClockSetBackKeepsNoWaitLonger(t *testing.T) {
	m := newMachine()
	e, _, _ := m.observeRecord(entry{}, epoch, seenID("1"))
	e, _ = m.observePolicy(e, unfetched("1", epoch))
	back := epoch.Add(-24 * time.Hour)
	settled, _ := m.settle(e, back)
	require.Equal(t, back, settled.LastGET)
	require.Equal(t, back.Add(5*time.Minute), settled.Backoff[0].Until)
	require.Equal(t, epoch.Add(5*time.Minute), e.Backoff[0].Until, "the old entry is not touched")
}

// V3: max_age 0 serves those who wait, replaces what was cached, and is not kept.
func TestMaxAgeZero(t *testing.T) {
	m := newMachine()
	e := holding(t, m, enforcePolicy(time.Hour))
	at := epoch.Add(31 * time.Minute)
	e, _, get := m.observeRecord(e, at, seenID("2"))
	require.True(t, get.wanted)
	e, _ = m.observePolicy(e, fetched("2", at, enforcePolicy(0)))
	r := m.resultFetched(&e, at.Add(time.Second))
	require.Equal(t, OutcomeEnforce, r.Outcome)
	require.Equal(t, SourceFresh, r.Source)
	e, events := m.settle(e, at.Add(time.Second))
	require.Nil(t, e.Policy)
	require.Empty(t, events, "nothing ran out")
}

// V4: an unexpired policy outlives whatever discovery says.
func TestHeldPolicyOutlivesEveryFailure(t *testing.T) {
	m := newMachine()
	for _, tc := range []struct {
		why    string
		seen   recordSeen
		reason string
		kind   EventKind
	}{
		{"absent", seenFailure(OutcomeNoRecord, ReasonRecordAbsent), ReasonRecordAbsent, EventRecordAbsent},
		{"multiple", seenFailure(OutcomeMultipleRecords, ReasonRecordMultiple), ReasonRecordMultiple, EventRecordInvalid},
		{"malformed", seenFailure(OutcomeInvalidRecord, ReasonRecordInvalid), ReasonRecordInvalid, EventRecordInvalid},
		{"DNS error", seenFailure(OutcomeDNSError, ReasonDNSError), ReasonDNSError, EventDNSFailed},
	} {
		for _, mode := range []PolicyMode{ModeEnforce, ModeTesting} {
			e := holding(t, m, &Policy{Mode: mode, MaxAge: 7 * 24 * time.Hour, MX: []string{"a"}})
			at := epoch.Add(10 * time.Minute)
			e, events, get := m.observeRecord(e, at, tc.seen)
			require.False(t, get.wanted, "%s: no GET before a refresh is due", tc.why)
			require.Equal(t, tc.kind, events[0].Kind, tc.why)
			r := m.result(&e, at)
			require.NotNil(t, r.Policy, tc.why)
			require.Equal(t, SourceStale, r.Source, tc.why)
			require.Equal(t, ReportFetchError, r.Report, tc.why)
			require.Equal(t, tc.reason, r.Reason, tc.why)
			require.Error(t, r.Err, tc.why)
			// The refresh happens all the same, under the id that applied.
			at = epoch.Add(24 * time.Hour)
			e, _, get = m.observeRecord(e, at, tc.seen)
			require.Equal(t, getJob{wanted: true, id: "1", at: at}, get, tc.why)
			e, _ = m.observePolicy(e, fetched("1", at, e.Policy))
			require.Equal(t, at.Add(7*24*time.Hour), e.Expires, tc.why)
			r = m.result(&e, at)
			require.Equal(t, SourceStale, r.Source, "%s: the record still fails", tc.why)
			require.Equal(t, "1", r.ID, tc.why)
		}
	}
	e := holding(t, m, enforcePolicy(7*24*time.Hour))
	at := epoch.Add(time.Hour)
	e, _, _ = m.observeRecord(e, at, seenID("2"))
	e, events := m.observePolicy(e, unfetched("2", at))
	require.Equal(t, []EventKind{EventFetchFailed, EventRefreshFailed}, kinds(events))
	r := m.resultFetched(&e, at)
	require.Equal(t, OutcomeEnforce, r.Outcome)
	require.Equal(t, SourceStale, r.Source)
	require.Equal(t, "1", r.ID)
	require.Equal(t, ReportFetchError, r.Report)
}

// V5: a policy that was obtained replaces the old one, a laxer one too.
func TestObtainedPolicyReplaces(t *testing.T) {
	m := newMachine()
	week := 7 * 24 * time.Hour
	for _, tc := range []struct {
		why    string
		id     string
		next   *Policy
		events []EventKind
	}{
		{"same", "2", enforcePolicy(week), nil},
		{"laxer mode", "2", &Policy{Mode: ModeTesting, MaxAge: week, MX: []string{"mx.example.com"}}, []EventKind{EventDowngradeMode}},
		{"none", "2", &Policy{Mode: ModeNone, MaxAge: week}, []EventKind{EventDowngradeMode}},
		{"short", "2", enforcePolicy(24*time.Hour - time.Second), []EventKind{EventDowngradeMaxAge}},
		{"six sevenths are no alarm", "2", enforcePolicy(week * 6 / 7), nil},
		{"other patterns", "2", &Policy{Mode: ModeEnforce, MaxAge: week, MX: []string{"evil.example"}}, []EventKind{EventDowngradePatterns}},
		{"one pattern in common", "2", &Policy{Mode: ModeEnforce, MaxAge: week, MX: []string{"b.example", "mx.example.com"}}, nil},
		// V6
		{"changed under the same id", "1", &Policy{Mode: ModeEnforce, MaxAge: week, MX: []string{"b.example", "mx.example.com"}}, []EventKind{EventBodyChanged}},
		{"same under the same id", "1", enforcePolicy(week), nil},
	} {
		e := holding(t, m, enforcePolicy(week))
		e, events := m.observePolicy(e, fetched(tc.id, epoch.Add(time.Hour), tc.next))
		require.Same(t, tc.next, e.Policy, tc.why)
		require.Equal(t, tc.id, e.AppliedID, tc.why)
		require.Equal(t, append([]EventKind{EventFetchDone, EventCacheStored}, tc.events...), kinds(events), tc.why)
		for _, event := range events[2:] {
			require.Equal(t, slog.LevelWarn, event.Level, tc.why)
			require.NotNil(t, event.Old, tc.why)
		}
	}
	e := holding(t, m, &Policy{Mode: ModeEnforce, MaxAge: MaxAge, MX: []string{"a"}})
	_, events := m.observePolicy(e, fetched("2", epoch.Add(time.Hour), &Policy{Mode: ModeEnforce, MaxAge: MaxAge / 11 / time.Second * time.Second, MX: []string{"a"}}))
	require.Contains(t, kinds(events), EventDowngradeMaxAge, "under a tenth")
}

func TestHeldModeNone(t *testing.T) {
	m := newMachine()
	e := holding(t, m, &Policy{Mode: ModeNone, MaxAge: 24 * time.Hour})
	at := epoch.Add(10 * time.Minute)
	failed, _, _ := m.observeRecord(e, at, seenFailure(OutcomeDNSError, ReasonDNSError))
	r := m.result(&failed, at)
	require.Equal(t, OutcomeNone, r.Outcome)
	require.Empty(t, r.Report, "nothing is reported of mode none")
	failed, events := m.observePolicy(failed, unfetched("1", at))
	require.Equal(t, []EventKind{EventFetchFailed}, kinds(events), "no alarm of a refresh")
	r = m.result(&failed, at)
	require.Empty(t, r.Report)
	gone, _, get := m.observeRecord(e, at, seenFailure(OutcomeNoRecord, ReasonRecordAbsent))
	require.False(t, get.wanted)
	r = m.result(&gone, at)
	require.Equal(t, OutcomeNoRecord, r.Outcome, "the end of a removal")
	require.Equal(t, at.Add(15*time.Minute), gone.NextCheck)
}

func TestNegativeEntries(t *testing.T) {
	m := newMachine()
	for _, tc := range []struct {
		seen   recordSeen
		ttl    time.Duration
		target error
	}{
		{seenFailure(OutcomeNoRecord, ReasonRecordAbsent), 15 * time.Minute, ErrNoRecord},
		{seenFailure(OutcomeMultipleRecords, ReasonRecordMultiple), 15 * time.Minute, ErrMultipleRecords},
		{seenFailure(OutcomeInvalidRecord, ReasonRecordInvalid), 15 * time.Minute, ErrRecordSyntax},
		{seenFailure(OutcomeDNSError, ReasonDNSError), time.Minute, ErrDNS},
	} {
		e, _, get := m.observeRecord(entry{Domain: "example.com"}, epoch, tc.seen)
		require.False(t, get.wanted)
		r, need := m.serve(&e, epoch.Add(tc.ttl-1))
		require.Equal(t, needNothing, need)
		require.Equal(t, tc.seen.fail.Outcome, r.Outcome)
		require.Equal(t, SourceNone, r.Source)
		require.Empty(t, r.Report, "without a record there is no policy to fail")
		require.ErrorIs(t, r.Err, tc.target)
		_, need = m.serve(&e, epoch.Add(tc.ttl))
		require.Equal(t, needAnswer, need)
	}
}

// TestBackoffSequence asks every minute for weeks: the waits between the end of
// one failed GET and the next are exactly those promised.
func TestBackoffSequence(t *testing.T) {
	m := newMachine()
	e := entry{Domain: "example.com"}
	var waits []time.Duration
	var days int
	var lastEnd time.Time
	for at := epoch; len(waits) < 14; at = at.Add(time.Minute) {
		r, need := m.serve(&e, at)
		if need == needNothing {
			require.Equal(t, OutcomeBackoff, r.Outcome)
			require.Equal(t, ReportFetchError, r.Report)
			continue
		}
		var get getJob
		e, _, get = m.observeRecord(e, at, seenID("1"))
		if !get.wanted {
			continue
		}
		if !lastEnd.IsZero() {
			waits = append(waits, at.Sub(lastEnd))
		}
		var events []Event
		e, events = m.observePolicy(e, unfetched("1", at))
		lastEnd = at
		require.Equal(t, len(waits)+1, events[0].Attempts)
		require.Equal(t, e.Backoff[0].Until, events[0].Next)
		for _, event := range events {
			if event.Kind == EventBackoffDay {
				days++
			}
		}
	}
	var want []time.Duration
	for _, minutes := range []int{5, 10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440, 1440, 1440, 1440} {
		want = append(want, time.Duration(minutes)*time.Minute)
	}
	require.Equal(t, want, waits)
	require.Equal(t, 1, days, "the cap is told once")
}

func TestBackoffOfHeldPolicyIsCapped(t *testing.T) {
	m := newMachine()
	e := holding(t, m, enforcePolicy(80*time.Hour))
	at := epoch.Add(40 * time.Hour)
	for range 12 {
		e, _ = m.observePolicy(e, unfetched("1", at))
	}
	require.Equal(t, at.Add(5*time.Hour), e.Backoff[0].Until, "an eighth of the 40 hours left")
	at = epoch.Add(80*time.Hour - time.Minute)
	e, _ = m.observePolicy(e, unfetched("1", at))
	require.Equal(t, at.Add(5*time.Minute), e.Backoff[0].Until, "at least five minutes")
}

func TestBackoffIsPerID(t *testing.T) {
	m := newMachine()
	e := entry{Domain: "example.com"}
	at := epoch
	for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
		var get getJob
		e, _, get = m.observeRecord(e, at, seenID(id))
		require.True(t, get.wanted, "another id starts its own record")
		require.False(t, get.at.Before(e.LastGET.Add(m.MinFetchGap)) && !e.LastGET.IsZero(), "but waits for the gap")
		e, _ = m.observePolicy(e, unfetched(id, get.at))
		at = at.Add(time.Second)
		require.LessOrEqual(t, len(e.Backoff), 4)
	}
	ids := []string{}
	for _, a := range e.Backoff {
		ids = append(ids, a.ID)
	}
	require.Equal(t, []string{"f", "e", "d", "c"}, ids, "the newest four")
	at = e.LastGET.Add(time.Minute)
	e, _, get := m.observeRecord(e, at, seenID("d"))
	require.False(t, get.wanted)
	require.Equal(t, OutcomeBackoff, m.result(&e, at).Outcome)
	_, _, get = m.observeRecord(e, at, seenID("a"))
	require.True(t, get.wanted, "forgotten")
	e, _ = m.observePolicy(e, fetched("a", at, enforcePolicy(time.Hour)))
	require.Empty(t, e.Backoff, "success clears the domain")
}

// A new id ends a long back-off, since the record is still looked at.
func TestBackoffLooksAtRecord(t *testing.T) {
	m := newMachine()
	e := entry{Domain: "example.com"}
	for range 10 {
		e, _, _ = m.observeRecord(e, epoch, seenID("1"))
		e, _ = m.observePolicy(e, unfetched("1", epoch))
	}
	_, need := m.serve(&e, epoch.Add(10*time.Minute-1))
	require.Equal(t, needNothing, need)
	_, need = m.serve(&e, epoch.Add(10*time.Minute))
	require.Equal(t, needAnswer, need)
	e, _, get := m.observeRecord(e, epoch.Add(10*time.Minute), seenID("1"))
	require.False(t, get.wanted)
	_, _, get = m.observeRecord(e, epoch.Add(20*time.Minute), seenID("2"))
	require.True(t, get.wanted)
}

func TestFetchGap(t *testing.T) {
	m := newMachine()
	e := holding(t, m, enforcePolicy(time.Hour))
	at := epoch.Add(10 * time.Second)
	e, _, get := m.observeRecord(e, at, seenID("2"))
	require.False(t, get.wanted, "held: put off")
	require.Equal(t, epoch.Add(30*time.Second), e.NextCheck)
	require.Equal(t, SourceStale, m.resultAt(e, at), "another version is out")
	_, _, get = m.observeRecord(e, e.NextCheck, seenID("2"))
	require.True(t, get.wanted)
	// Nothing held: the GET waits, it is not left out.
	e.dropPolicy()
	_, _, get = m.observeRecord(e, at, seenID("2"))
	require.Equal(t, getJob{wanted: true, id: "2", at: epoch.Add(30 * time.Second)}, get)
}

func (m *machine) resultAt(e entry, at time.Time) Source { r := m.result(&e, at); return r.Source }

func TestSources(t *testing.T) {
	m := newMachine()
	e := holding(t, m, enforcePolicy(7*24*time.Hour))
	require.Equal(t, SourceCached, m.resultAt(e, epoch))
	require.Equal(t, SourceCached, m.resultAt(e, epoch.Add(10*time.Minute)))
	require.Equal(t, SourceStale, m.resultAt(e, epoch.Add(10*time.Minute+1)), "the check is overdue")
	e, _, _ = m.observeRecord(e, epoch.Add(24*time.Hour-time.Minute), seenID("1"))
	require.Equal(t, SourceCached, m.resultAt(e, epoch.Add(24*time.Hour-1)))
	require.Equal(t, SourceStale, m.resultAt(e, epoch.Add(24*time.Hour)), "the refresh is due")
	require.Equal(t, epoch.Add(24*time.Hour), e.NextCheck)
}

func TestRecordGoneIsToldOnce(t *testing.T) {
	m := newMachine()
	e := holding(t, m, enforcePolicy(7*24*time.Hour))
	count := 0
	for i := range 5 {
		var events []Event
		e, events, _ = m.observeRecord(e, epoch.Add(time.Duration(i)*10*time.Minute), seenFailure(OutcomeNoRecord, ReasonRecordAbsent))
		for _, event := range events {
			if event.Kind == EventRecordGone {
				count++
			}
		}
	}
	require.Equal(t, 1, count)
}

func TestManyIDs(t *testing.T) {
	m := newMachine()
	e := entry{Domain: "example.com"}
	alarms := 0
	see := func(id string, at time.Time) {
		var events []Event
		e, events, _ = m.observeRecord(e, at, seenID(id))
		for _, event := range events {
			if event.Kind == EventManyIDs {
				alarms++
			}
		}
	}
	for i, id := range []string{"1", "2", "3", "2", "1"} {
		see(id, epoch.Add(time.Duration(i)*time.Minute))
	}
	require.Zero(t, alarms, "three ids")
	see("4", epoch.Add(6*time.Minute))
	require.Equal(t, 1, alarms)
	for i := range 10 {
		see(string(rune('a'+i)), epoch.Add(time.Duration(i+2)*time.Hour))
	}
	require.Equal(t, 1, alarms, "one an hour is no alarm")
	require.LessOrEqual(t, len(e.IDs), maxIDsPerHour+1)
}

func TestBlockedAddressIsAnEvent(t *testing.T) {
	m := newMachine()
	seen := unfetched("1", epoch)
	seen.fail.Reason = ReasonBlockedAddress
	_, events := m.observePolicy(entry{}, seen)
	require.Equal(t, []EventKind{EventFetchFailed, EventBlockedAddress}, kinds(events))
}

func TestNoEventsUnlessWanted(t *testing.T) {
	m := newMachine()
	m.trace = false
	e, events, _ := m.observeRecord(entry{}, epoch, seenID("1"))
	require.Nil(t, events)
	e, events = m.observePolicy(e, fetched("1", epoch, enforcePolicy(time.Hour)))
	require.Nil(t, events)
	_, events = m.observePolicy(e, unfetched("1", epoch))
	require.Nil(t, events)
	_, events = m.settle(e, epoch.Add(2*time.Hour))
	require.Nil(t, events)
}
