package tlsrpt

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// maxDetails is how many failure details a report has; what is beyond is folded.
const maxDetails = 200

// Tally is what all writers have counted for a report domain and a day: the
// snapshots merged. Merging is commutative, associative and idempotent, so it does
// not matter in which order, how often or over which detours snapshots come.
//
// The zero Tally is empty and takes the day and domain of the first snapshot. It is
// not safe for concurrent use.
type Tally struct {
	day     Day
	domain  string
	writers map[string]*Snapshot
}

// Day returns the day.
func (t *Tally) Day() Day { return t.day }

// Domain returns the report domain, empty if nothing was added.
func (t *Tally) Domain() string { return t.domain }

// Add merges a snapshot, which must be of the same domain and day as those before.
// It keeps nothing of s.
func (t *Tally) Add(s *Snapshot) error {
	if t.writers == nil {
		t.day, t.domain, t.writers = s.Day, s.Domain, make(map[string]*Snapshot)
	}
	if s.Day != t.day || s.Domain != t.domain {
		return fmt.Errorf("tlsrpt: counts of %s on %s do not belong to %s on %s", s.Domain, s.Day, t.domain, t.day)
	}
	t.writers[s.Writer] = join(t.writers[s.Writer], s)
	return nil
}

// Merge adds all of another Tally, which is not changed.
func (t *Tally) Merge(other *Tally) error {
	for _, s := range other.writers {
		if err := t.Add(s); err != nil {
			return err
		}
	}
	return nil
}

// Snapshots returns the merged snapshots, one for each writer, ordered by writer.
// They are the Tally's own.
func (t *Tally) Snapshots() []*Snapshot {
	list := make([]*Snapshot, 0, len(t.writers))
	for _, writer := range slices.Sorted(maps.Keys(t.writers)) {
		list = append(list, t.writers[writer])
	}
	return list
}

// join returns the least snapshot that holds both, of the same writer: for every
// counter the larger value.
func join(a, b *Snapshot) *Snapshot {
	out := &Snapshot{Day: b.Day, Domain: b.Domain, Writer: b.Writer}
	for _, s := range []*Snapshot{a, b} {
		if s == nil {
			continue
		}
		out.joinSources(s)
		for i := range s.Policies {
			p := out.policy(s.Policies[i].Policy)
			p.Successes = max(p.Successes, s.Policies[i].Successes)
			p.Failures = max(p.Failures, s.Policies[i].Failures)
			for k, n := range s.Policies[i].Details {
				p.Details[k] = max(p.Details[k], n)
			}
		}
	}
	slices.SortFunc(out.Policies, func(a, b PolicyCount) int { return a.Policy.compare(b.Policy) })
	return out
}

// joinSources adds the sources of s. Once there were more than are remembered, none
// is: whichever had been kept would depend on the order.
func (s *Snapshot) joinSources(other *Snapshot) {
	s.Direct = s.Direct || other.Direct
	s.ManySources = s.ManySources || other.ManySources
	for _, source := range other.Sources {
		if i, found := slices.BinarySearch(s.Sources, source); !found {
			s.Sources = slices.Insert(s.Sources, i, source)
		}
	}
	if s.ManySources || len(s.Sources) > maxSources {
		s.Sources, s.ManySources = nil, true
	}
}

// policy returns the counts of a policy, new ones if there are none.
func (s *Snapshot) policy(info *PolicyInfo) *PolicyCount {
	for i := range s.Policies {
		if s.Policies[i].Policy.equal(info) {
			return &s.Policies[i]
		}
	}
	s.Policies = append(s.Policies, PolicyCount{Policy: info, Details: make(map[DetailKey]uint64)})
	return &s.Policies[len(s.Policies)-1]
}

// Policies returns the sums over all writers as a report has them: ordered, and
// with at most 200 failure details besides those folded into one of each result
// type. The most frequent ones are not folded.
func (t *Tally) Policies() []PolicyReport {
	total := t.total()
	t.fold(total)
	out := make([]PolicyReport, 0, len(total.Policies))
	for _, p := range total.Policies {
		r := PolicyReport{
			Policy:    PolicyInfo{p.Policy.Type, p.Policy.Domain, array(p.Policy.Lines), array(p.Policy.MXHosts)},
			Successes: p.Successes, Failures: p.Failures, Details: make([]FailureDetail, 0, len(p.Details)),
		}
		for _, k := range slices.SortedFunc(maps.Keys(p.Details), func(a, b DetailKey) int { return a.compare(&b) }) {
			r.Details = append(r.Details, k.detail(p.Details[k]))
		}
		out = append(out, r)
	}
	return out
}

// total sums over all writers.
func (t *Tally) total() *Snapshot {
	total := &Snapshot{Day: t.day, Domain: t.domain}
	for _, s := range t.writers {
		total.joinSources(s)
		for _, q := range s.Policies {
			p := total.policy(q.Policy)
			p.Successes, p.Failures = add(p.Successes, q.Successes), add(p.Failures, q.Failures)
			for k, n := range q.Details {
				p.Details[k] = add(p.Details[k], n)
			}
		}
	}
	slices.SortFunc(total.Policies, func(a, b PolicyCount) int { return a.Policy.compare(b.Policy) })
	return total
}

// fold folds the rarest details into details without address, name and reason.
func (t *Tally) fold(total *Snapshot) {
	type place struct {
		policy int
		key    DetailKey
		count  uint64
	}
	var all []place
	for i, p := range total.Policies {
		for k, n := range p.Details {
			if k != k.folded() {
				all = append(all, place{i, k, n})
			}
		}
	}
	if len(all) <= maxDetails {
		return
	}
	slices.SortFunc(all, func(a, b place) int {
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.policy, b.policy), a.key.compare(&b.key))
	})
	for _, d := range all[maxDetails:] {
		details := total.Policies[d.policy].Details
		details[d.key.folded()] = add(details[d.key.folded()], d.count)
		delete(details, d.key)
	}
}

// sources tells whose sessions are in the tally: its own, and of which others.
func (t *Tally) sources() (direct bool, sources []string, many bool) {
	total := t.total()
	return total.Direct, total.Sources, total.ManySources
}
