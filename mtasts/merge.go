package mtasts

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"slices"
	"time"
)

// Merge returns what two entries of one domain know together: the policy that
// was fetched later, the check that was made later, of each id the back-off of
// the later attempt unless a success came after it, and the later use. Equal
// times are decided by content, the policy first by the greater hash of its body.
//
// The order of arguments and of several merges does not matter, and merging an
// entry with itself changes nothing. The version is the greater one.
func Merge(a, b *Entry) *Entry { return &Entry{entry: mergeEntries(a.entry, b.entry)} }

func mergeEntries(a, b entry) entry {
	if cmp.Or(a.FetchedAt.Compare(b.FetchedAt), compareBodies(a.Body, b.Body), cmp.Compare(a.AppliedID, b.AppliedID), a.Expires.Compare(b.Expires)) < 0 {
		a.Policy, a.Body, a.Warnings, a.AppliedID, a.FetchedAt, a.Expires = b.Policy, b.Body, b.Warnings, b.AppliedID, b.FetchedAt, b.Expires
	}
	if cmp.Or(a.SeenAt.Compare(b.SeenAt), cmp.Compare(a.Check.Outcome, b.Check.Outcome), cmp.Compare(a.Check.Reason, b.Check.Reason),
		cmp.Compare(a.SeenID, b.SeenID), a.NextCheck.Compare(b.NextCheck)) < 0 {
		a.SeenID, a.SeenAt, a.Check, a.NextCheck = b.SeenID, b.SeenAt, b.Check, b.NextCheck
	}
	a.Backoff = newest(slices.Concat(a.Backoff, b.Backoff), maxBackoffIDs, func(x attempt) string { return x.ID }, func(x, y attempt) int {
		return cmp.Or(x.At.Compare(y.At), cmp.Compare(x.Failures, y.Failures), x.Until.Compare(y.Until), cmp.Compare(x.ID, y.ID),
			cmp.Compare(x.Last.Outcome, y.Last.Outcome), cmp.Compare(x.Last.Reason, y.Last.Reason))
	})
	// The GET that brought the policy has cleared what failed before it.
	a.Backoff = slices.DeleteFunc(a.Backoff, func(x attempt) bool { return x.At.Before(a.FetchedAt) })
	a.IDs = newest(slices.Concat(a.IDs, b.IDs), maxIDsPerHour+1, func(x idAt) string { return x.ID }, func(x, y idAt) int {
		return cmp.Or(x.At.Compare(y.At), cmp.Compare(x.ID, y.ID))
	})
	a.LastGET = latest(a.LastGET, b.LastGET)
	a.LastUsed = latest(a.LastUsed, b.LastUsed)
	a.Version = max(a.Version, b.Version)
	return a
}

func compareBodies(a, b []byte) int {
	if len(a) == 0 || len(b) == 0 {
		return cmp.Compare(len(a), len(b))
	}
	x, y := sha256.Sum256(a), sha256.Sum256(b)
	return bytes.Compare(x[:], y[:])
}

// newest returns the greatest element of each id, and of these the n greatest,
// greatest first.
func newest[T any](all []T, n int, id func(T) string, compare func(x, y T) int) []T {
	slices.SortFunc(all, func(x, y T) int { return compare(y, x) })
	seen := make(map[string]struct{}, n)
	all = slices.DeleteFunc(all, func(x T) bool {
		_, twice := seen[id(x)]
		seen[id(x)] = struct{}{}
		return twice
	})
	return all[:min(n, len(all))]
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
