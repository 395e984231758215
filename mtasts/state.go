package mtasts

import (
	"bytes"
	"log/slog"
	"math"
	"slices"
	"time"
)

const (
	firstBackoff = 5 * time.Minute
	doublings    = 8 // 5 minutes to 1280
	dayBackoff   = 24 * time.Hour
	// maxBackoffIDs is how many ids have a back-off record: forged TXT answers
	// must not fill the memory.
	maxBackoffIDs = 4
	// maxIDsPerHour is how many ids within an hour are no alarm.
	maxIDsPerHour = 3
)

// machine is the cache state machine: functions of an entry, the time and an
// observation. It asks nobody and waits for nothing; the Client does.
type machine struct {
	Limits      // filled with defaults
	trace  bool // whether events are wanted
}

// getJob is a GET to make, under the id that its policy will have. The zero getJob
// is none.
type getJob struct {
	wanted bool
	id     string
	at     time.Time // not before
}

// recordSeen is the observation of a TXT query.
type recordSeen struct {
	id      string  // of a valid record
	fail    failure // zero for a valid record
	refresh bool    // a held policy is to be fetched again, due or not
}

// policySeen is the observation of a GET.
type policySeen struct {
	id         string // of the getJob
	host       string
	start, end time.Time
	policy     *Policy
	body       []byte
	warnings   []Warning
	fail       failure // zero for a valid policy
}

// settle brings an entry to the present: it removes a policy that ran out, and
// if the clock was set back it moves what then lies in the future, so that no
// policy is applied for more than its max_age from now, and no wait grows.
func (m *machine) settle(e entry, now time.Time) (entry, []Event) {
	if e.FetchedAt.After(now) {
		if e.Policy != nil {
			e.Expires = now.Add(e.Expires.Sub(e.FetchedAt))
		}
		e.FetchedAt = now
	}
	if e.SeenAt.After(now) {
		e.NextCheck = now.Add(e.NextCheck.Sub(e.SeenAt))
		e.SeenAt = now
	}
	if e.LastGET.After(now) {
		e.LastGET = now
	}
	if slices.ContainsFunc(e.Backoff, func(a attempt) bool { return a.At.After(now) }) {
		e.Backoff = slices.Clone(e.Backoff)
		for i := range e.Backoff {
			if a := &e.Backoff[i]; a.At.After(now) {
				a.Until = now.Add(a.Until.Sub(a.At))
				a.At = now
			}
		}
	}
	if e.Policy == nil || e.held(now) {
		return e, nil
	}
	var events []Event
	if m.trace && e.Expires.After(e.FetchedAt) { // max_age 0 does not run out
		level := slog.LevelInfo
		if e.Policy.Mode == ModeEnforce {
			level = slog.LevelWarn
		}
		events = append(events, Event{Kind: EventPolicyExpired, Level: level, Time: now, Domain: e.Domain, ID: e.AppliedID, Old: e.Policy})
	}
	e.dropPolicy()
	// What was seen while the policy was held bound only the checks of a held
	// policy: look at once.
	e.NextCheck = now
	return e, events
}

// observeRecord takes the outcome of a TXT query and says whether a GET follows.
func (m *machine) observeRecord(e entry, now time.Time, seen recordSeen) (entry, []Event, getJob) {
	var events []Event
	note := func(kind EventKind, level slog.Level, reason string) {
		if m.trace {
			events = append(events, Event{Kind: kind, Level: level, Time: now, Domain: e.Domain, ID: seen.id, Reason: reason, Err: seen.fail.Err, Old: e.Policy})
		}
	}
	before := e.Check
	e.SeenAt, e.Check = now, seen.fail
	held := e.held(now)
	var get getJob
	switch seen.fail.Outcome {
	case OutcomeUnknown: // a valid record
		note(EventRecordFound, slog.LevelInfo, "")
		e.SeenID = seen.id
		if e.rememberID(seen.id, now) {
			note(EventManyIDs, slog.LevelWarn, "")
		}
		if !held || seen.id != e.AppliedID || seen.refresh || !now.Before(m.refreshAt(&e)) {
			get = getJob{wanted: true, id: seen.id}
		}
	case OutcomeNoRecord:
		note(EventRecordAbsent, slog.LevelInfo, seen.fail.Reason)
		if held && e.Policy.Mode == ModeEnforce && before.Reason != seen.fail.Reason {
			note(EventRecordGone, slog.LevelWarn, seen.fail.Reason)
		}
		if held && e.Policy.Mode == ModeNone {
			// The end of a removal (RFC 8461 section 8.3).
			e.dropPolicy()
			held = false
		}
	case OutcomeMultipleRecords:
		note(EventRecordInvalid, slog.LevelInfo, "multiple")
	case OutcomeInvalidRecord:
		note(EventRecordInvalid, slog.LevelInfo, "syntax")
	default:
		note(EventDNSFailed, slog.LevelInfo, seen.fail.Reason)
	}
	if seen.fail.failed() && held {
		e.SeenID = e.AppliedID // the id to go by, for want of another
		if seen.refresh || !now.Before(m.refreshAt(&e)) {
			// The record is not authenticated and the file is: a forged
			// absence or a DNS outage must not let an enforce policy run out.
			get = getJob{wanted: true, id: e.AppliedID}
		}
	}
	if a := e.backedOff(get.id, now); get.wanted && a != nil {
		get = getJob{}
		if !e.Check.failed() {
			e.Check = a.Last
		}
	}
	if get.wanted {
		get.at = now
		if gap := e.LastGET.Add(m.MinFetchGap); !e.LastGET.IsZero() && gap.After(now) {
			if get.at = gap; held {
				get = getJob{} // the policy serves; the next check is at the gap's end
			}
		}
	}
	e.NextCheck = m.nextCheck(&e, now)
	return e, events, get
}

// observePolicy takes the outcome of a GET.
func (m *machine) observePolicy(e entry, seen policySeen) (entry, []Event) {
	e.LastGET = seen.end
	if seen.fail.failed() {
		return m.observeFailure(e, seen)
	}
	var events []Event
	old, oldBody, oldID := e.Policy, e.Body, e.AppliedID
	if !e.held(seen.end) {
		old = nil
	}
	lifetime := seen.policy.MaxAge
	if seen.policy.Mode != ModeNone {
		lifetime = max(lifetime, m.MinMaxAge)
	}
	e.Policy, e.Body, e.Warnings, e.AppliedID = seen.policy, seen.body, seen.warnings, seen.id
	// From the start of the GET: the file may have changed while it was sent.
	e.FetchedAt, e.Expires = seen.start, seen.start.Add(lifetime)
	e.Backoff = nil
	if e.Check.ofFetch() {
		e.Check = failure{}
	}
	e.NextCheck = m.nextCheck(&e, seen.end)
	if m.trace {
		event := Event{Level: slog.LevelInfo, Time: seen.end, Domain: e.Domain, ID: seen.id, Host: seen.host, Old: old, New: seen.policy}
		add := func(kind EventKind, level slog.Level) {
			event.Kind, event.Level = kind, level
			events = append(events, event)
		}
		add(EventFetchDone, slog.LevelInfo)
		if lifetime > 0 {
			add(EventCacheStored, slog.LevelDebug)
		}
		if old != nil {
			if seen.policy.Mode < old.Mode {
				add(EventDowngradeMode, slog.LevelWarn)
			}
			if seen.policy.MaxAge < 24*time.Hour && old.MaxAge >= 24*time.Hour || seen.policy.MaxAge < old.MaxAge/10 {
				add(EventDowngradeMaxAge, slog.LevelWarn)
			}
			if seen.policy.Mode != ModeNone && len(old.MX) > 0 && !shareString(old.MX, seen.policy.MX) {
				add(EventDowngradePatterns, slog.LevelWarn)
			}
			if oldID == seen.id && !bytes.Equal(oldBody, seen.body) {
				add(EventBodyChanged, slog.LevelWarn)
			}
		}
	}
	return e, events
}

func (m *machine) observeFailure(e entry, seen policySeen) (entry, []Event) {
	last := attempt{ID: seen.id, Failures: 1, At: seen.end, Last: seen.fail}
	others := make([]attempt, 1, maxBackoffIDs)
	var waited time.Duration
	for _, a := range e.Backoff {
		if a.ID == seen.id {
			last.Failures = a.Failures + 1
			waited = a.Until.Sub(a.At)
		} else if len(others) < maxBackoffIDs {
			others = append(others, a)
		}
	}
	wait := backoffAfter(last.Failures)
	held := e.held(seen.end)
	if held {
		wait = min(wait, max(e.Expires.Sub(seen.end)/8, firstBackoff))
	}
	last.Until = seen.end.Add(wait)
	others[0] = last
	e.Backoff = others
	e.Check = seen.fail
	e.NextCheck = m.nextCheck(&e, seen.end)
	if !m.trace {
		return e, nil
	}
	event := Event{
		Kind: EventFetchFailed, Level: slog.LevelInfo, Time: seen.end, Domain: e.Domain, ID: seen.id, Host: seen.host,
		Reason: seen.fail.Reason, Err: seen.fail.Err, Attempts: last.Failures, Next: last.Until, Old: e.Policy,
	}
	events := []Event{event}
	add := func(kind EventKind, level slog.Level) {
		event.Kind, event.Level = kind, level
		events = append(events, event)
	}
	if seen.fail.Reason == ReasonBlockedAddress {
		add(EventBlockedAddress, slog.LevelWarn)
	}
	if held && e.Policy.Mode != ModeNone {
		// RFC 8461 section 3.3: senders SHOULD alert an administrator.
		add(EventRefreshFailed, slog.LevelWarn)
	}
	if wait == dayBackoff && waited != dayBackoff {
		add(EventBackoffDay, slog.LevelInfo)
	}
	return e, events
}

// backoffAfter is the wait after so many failures in a row.
func backoffAfter(failures int) time.Duration {
	if failures > doublings+1 {
		return dayBackoff
	}
	return firstBackoff << (failures - 1)
}

// refreshAt is when a held policy is due to be fetched again.
func (m *machine) refreshAt(e *entry) time.Time {
	return e.FetchedAt.Add(min(m.RefreshInterval, e.Expires.Sub(e.FetchedAt)/2))
}

// nextCheck is when a lookup looks at the TXT record again, after the
// observations that e holds.
func (m *machine) nextCheck(e *entry, now time.Time) time.Time {
	if !e.held(now) {
		switch e.Check.Outcome {
		case OutcomeNoRecord, OutcomeMultipleRecords, OutcomeInvalidRecord:
			return e.SeenAt.Add(m.NegativeTTL)
		case OutcomeDNSError:
			return e.SeenAt.Add(m.ErrorTTL)
		}
		if a := e.backedOff(e.SeenID, now); a != nil {
			// A new id ends a long back-off.
			return earlier(e.SeenAt.Add(m.RecordInterval), a.Until)
		}
		return now
	}
	next := e.SeenAt.Add(m.RecordInterval)
	refresh := m.refreshAt(e)
	if e.SeenID == e.AppliedID && now.Before(refresh) {
		return earlier(next, refresh)
	}
	if a := e.backedOff(e.SeenID, now); a != nil {
		return earlier(next, a.Until)
	}
	// A GET is due and was put off.
	return earlier(next, e.LastGET.Add(m.MinFetchGap))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// rememberID notes an id and reports whether it is one too many for an hour.
func (e *entry) rememberID(id string, now time.Time) bool {
	known := slices.ContainsFunc(e.IDs, func(i idAt) bool { return i.ID == id && now.Sub(i.At) < time.Hour })
	ids := make([]idAt, 1, maxIDsPerHour+1)
	ids[0] = idAt{id, now}
	for _, i := range e.IDs {
		if i.ID != id && now.Sub(i.At) < time.Hour && len(ids) <= maxIDsPerHour {
			ids = append(ids, i)
		}
	}
	e.IDs = ids
	return !known && len(ids) > maxIDsPerHour
}

func shareString(a, b []string) bool {
	set := make(map[string]struct{}, len(a))
	for _, s := range a {
		set[s] = struct{}{}
	}
	return slices.ContainsFunc(b, func(s string) bool { _, ok := set[s]; return ok })
}

// need is what an entry asks of a lookup.
type need uint8

const (
	needNothing  need = iota // serve the entry
	needCheck                // serve it, and look in the background
	needAnswer               // nothing to serve: look and wait
	needSettling             // the clock was set back: settle first
)

// asks tells what an entry asks of a lookup at a time.
func (m *machine) asks(e *entry, now time.Time) need {
	switch due := !now.Before(e.NextCheck); {
	case now.Before(e.FetchedAt) || now.Before(e.SeenAt):
		return needSettling
	case e.held(now) && due:
		return needCheck
	case e.held(now):
		return needNothing
	case due || e.Policy != nil || !e.Check.failed():
		return needAnswer
	}
	return needNothing
}

// serve makes the Result of an entry at a time, unless it asks for more first.
func (m *machine) serve(e *entry, now time.Time) (Result, need) {
	need := m.asks(e, now)
	if need == needSettling || need == needAnswer {
		return Result{}, need
	}
	return m.result(e, now), need
}

// result tells what the entry says at a time, from the cache. It does not allocate.
func (m *machine) result(e *entry, now time.Time) (r Result) {
	if !e.held(now) {
		e.without(&r)
		return r
	}
	e.with(&r)
	r.Source = SourceCached
	if e.Check.failed() || e.SeenID != e.AppliedID || now.Sub(e.SeenAt) > m.RecordInterval || !now.Before(m.refreshAt(e)) {
		r.Source = SourceStale
	}
	return r
}

// span is a stretch of time in Unix nanoseconds, without its end. The zero span is
// empty.
type span struct{ from, until int64 }

func (s span) has(nanos int64) bool { return s.from <= nanos && nanos < s.until }

// steady returns what every lookup is told of an entry as long as it asks for nothing,
// and when that is: asks and result need not be asked again meanwhile.
func (m *machine) steady(e *entry) (Result, span) {
	from, until := latest(e.FetchedAt, e.SeenAt), e.NextCheck
	if m.asks(e, from) != needNothing {
		return Result{}, span{}
	}
	if e.Policy != nil {
		until = earlier(until, e.Expires)
		// Where a policy goes stale.
		for _, at := range [...]time.Time{e.SeenAt.Add(m.RecordInterval), m.refreshAt(e)} {
			if !at.Before(from) {
				until = earlier(until, at)
			}
		}
	}
	if from.Unix() < 0 || until.Unix() > maxNanos {
		return Result{}, span{}
	}
	return m.result(e, from), span{from.UnixNano(), until.UnixNano()}
}

// maxNanos is how many seconds Unix nanoseconds can count.
const maxNanos = math.MaxInt64/int64(time.Second) - 1

// resultFetched is the result for those who waited for a GET that has just been
// made: its policy serves them even if its max_age is 0 or has passed meanwhile,
// and its failure is told as itself.
func (m *machine) resultFetched(e *entry, now time.Time) (r Result) {
	switch {
	case e.Policy != nil && !e.Check.ofFetch():
		e.with(&r)
		r.Source = SourceFresh
		return r
	case e.held(now):
		return m.result(e, now)
	}
	e.without(&r)
	r.Outcome, r.Err = e.Check.Outcome, e.Check.Err
	return r
}

// with fills the Result of an entry whose policy is held.
func (e *entry) with(r *Result) {
	r.Domain, r.Policy, r.ID, r.FetchedAt, r.Expires = e.Domain, e.Policy, e.AppliedID, e.FetchedAt, e.Expires
	r.Body, r.Warnings, r.Reason, r.Err = e.Body, e.Warnings, e.Check.Reason, e.Check.Err
	if r.Outcome = outcomeOf(e.Policy.Mode); r.Outcome != OutcomeNone {
		r.Report = e.Check.report()
	}
}

// outcomeOf is the outcome while a policy of this mode is held.
func outcomeOf(mode PolicyMode) Outcome {
	switch mode {
	case ModeEnforce:
		return OutcomeEnforce
	case ModeTesting:
		return OutcomeTesting
	}
	return OutcomeNone
}

// without fills the Result of an entry that holds no policy.
func (e *entry) without(r *Result) {
	r.Domain, r.ID, r.Outcome, r.Reason, r.Err = e.Domain, e.SeenID, e.Check.Outcome, e.Check.Reason, e.Check.Err
	if e.Check.ofFetch() {
		r.Outcome, r.Report, r.Err = OutcomeBackoff, e.Check.report(), e.Check.Later
	}
}

// forget drops what an operator wants forgotten, short of the whole entry.
func (m *machine) forget(e entry, now time.Time, what Scope) entry {
	if what == ScopeBackoff && len(e.Backoff) > 0 {
		e.Backoff, e.NextCheck = nil, now
	}
	if what == ScopeNegative && !e.held(now) && !e.Check.ofFetch() {
		e.Check, e.NextCheck = failure{}, now
	}
	return e
}
