package mtasts

import (
	"cmp"
	"iter"
	"slices"
	"time"
)

// EntryInfo is what the planner must know of a policy that is held.
type EntryInfo struct {
	Domain    string
	FetchedAt time.Time // start of the GET that brought the policy
	Expires   time.Time
	LastUsed  time.Time // last lookup
	NotBefore time.Time // end of a back-off; zero: none
}

// PlanLimits are the intervals of a plan. A field of zero or less has the default
// that its comment states.
type PlanLimits struct {
	RefreshInterval time.Duration // age at which a policy is fetched again: 24 hours, at most half of its validity
	Unused          time.Duration // after so long without lookup a domain is no longer refreshed: 30 days
}

// Job is a policy to fetch again.
type Job struct {
	Domain string
	Due    time.Time // since when
	// Left is the part of the validity that is left, from 1 down to 0.
	Left float64
}

// Plan says which policies are to be fetched again at now, those first that have
// the least of their validity left, and when the next one will be; next is zero
// if none will. Expired and unused entries are passed over: they lapse.
//
// A policy is due at an age of RefreshInterval, or half of its validity if that
// is less (RFC 8461 section 3.3 recommends a day), less up to a quarter of that.
// The part taken off comes from a hash of domain and FetchedAt, so that domains
// that were fetched together drift apart and every run makes the same plan. Plan
// is pure and allocates for jobs alone.
func Plan(now time.Time, entries iter.Seq[EntryInfo], l PlanLimits) (jobs []Job, next time.Time) {
	def(&l.RefreshInterval, 24*time.Hour)
	def(&l.Unused, 30*24*time.Hour)
	for e := range entries {
		if !now.Before(e.Expires) || now.Sub(e.LastUsed) >= l.Unused {
			continue
		}
		due := latest(dueAt(e, l.RefreshInterval), e.NotBefore)
		if due.After(now) {
			if due.Before(e.Expires) && (next.IsZero() || due.Before(next)) {
				next = due
			}
			continue
		}
		left := float64(e.Expires.Sub(now)) / float64(e.Expires.Sub(e.FetchedAt))
		jobs = append(jobs, Job{Domain: e.Domain, Due: due, Left: left})
	}
	slices.SortFunc(jobs, func(a, b Job) int { return cmp.Or(cmp.Compare(a.Left, b.Left), cmp.Compare(a.Domain, b.Domain)) })
	return jobs, next
}

// dueAt is when a policy is due without regard to back-off.
func dueAt(e EntryInfo, interval time.Duration) time.Time {
	interval = min(interval, e.Expires.Sub(e.FetchedAt)/2)
	// FNV-1a, 64 bits, of which the upper 16 are used.
	hash := uint64(14695981039346656037)
	mix := func(c byte) { hash = (hash ^ uint64(c)) * 1099511628211 }
	for i := range len(e.Domain) {
		mix(e.Domain[i])
	}
	for seconds := uint64(e.FetchedAt.Unix()); seconds != 0; seconds >>= 8 {
		mix(byte(seconds))
	}
	jitter := time.Duration(float64(interval) / 4 * float64(hash>>48) / (1 << 16))
	return e.FetchedAt.Add(interval - jitter)
}

// info is the planner's view of an entry.
func (e *entry) info(now time.Time) EntryInfo {
	i := EntryInfo{Domain: e.Domain, FetchedAt: e.FetchedAt, Expires: e.Expires, LastUsed: e.LastUsed}
	if a := e.backedOff(e.AppliedID, now); a != nil {
		i.NotBefore = a.Until
	}
	return i
}
