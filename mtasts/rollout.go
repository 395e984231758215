package mtasts

import (
	"fmt"
	"slices"
	"time"
)

const (
	// trialMaxAge is the validity of a policy that may have to be taken back
	// soon.
	trialMaxAge = 24 * time.Hour
	// proxyAge is how long a reverse proxy before a Publisher may serve the
	// file before: a sender must not get the old file under the new id.
	proxyAge = time.Minute
	// cleanWeeks is how long reports must be clean before enforce.
	cleanWeeks = 14 * 24 * time.Hour
	// trialEnforce is how long enforce stays on trial.
	trialEnforce = 7 * 24 * time.Hour
	// unknownTTL stands for a TTL that is not known: hardly any is longer.
	unknownTTL = 24 * time.Hour
)

// RolloutFacts is what the waits of a roll-out depend on.
type RolloutFacts struct {
	// RecordTTL is the TTL of the TXT record that is in DNS; 0: a day.
	RecordTTL time.Duration
	// MXTTL is the TTL of the MX records; 0: a day.
	MXTTL time.Duration
	// LongestMaxAge is the largest max_age ever served; that of the current
	// policy if it is less.
	LongestMaxAge time.Duration
	// CleanReports is for how long mode testing has been reported on without
	// failures that were not explained.
	CleanReports time.Duration
}

// Action is what is to be done in a Step.
type Action uint8

const (
	ActionServe        Action = iota + 1 // serve Step.Policy as the policy file
	ActionRecord                         // publish RecordFor(Step.Policy) as the TXT record
	ActionMoveMX                         // change the MX records to the new mail hosts
	ActionReports                        // read TLS reports; go on only if they have been clean all the while
	ActionRemoveRecord                   // remove the TXT record
	ActionRemoveFile                     // remove the policy file and its host
)

var actionNames = [...]string{"unknown", "serve", "record", "move-mx", "reports", "remove-record", "remove-file"}

// String returns the action's stable name, such as "serve".
func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return fmt.Sprintf("Action(%d)", uint8(a))
}

// Step is one thing to do, and how long to wait before the next.
type Step struct {
	Action Action
	Policy *Policy       // for ActionServe and ActionRecord
	Wait   time.Duration // after the step
	Why    string        // what the wait, or without one the step, is for
}

// String returns the step as a line for people.
func (s Step) String() string {
	text := s.Action.String()
	if s.Policy != nil {
		text += fmt.Sprintf(" %s %v max_age=%v", s.Policy.Mode, s.Policy.MX, s.Policy.MaxAge)
	}
	if s.Wait > 0 {
		text += fmt.Sprintf(", wait %v", s.Wait)
	}
	return text + ": " + s.Why
}

// PlanRollout says how a domain gets from its current policy to the next without
// losing mail from senders that remember the one before; nil is no policy. It is
// pure; the policies must be valid, and those of the steps share their strings. If
// there is nothing to do it returns nil.
//
// The file always comes before the record that makes senders fetch it. Enforce is
// reached through testing with a validity of a day, two weeks of clean reports and
// enforce with a day. New mail hosts are named beside the old ones for as long as
// anybody can remember the policy without them, then the MX records move, then
// the old ones go. A domain leaves by mode none, and takes the record and the file
// down when every policy it ever served has run out (RFC 8461 section 8.3).
func PlanRollout(current, next *Policy, facts RolloutFacts) []Step {
	if current.Equal(next) {
		return nil
	}
	def(&facts.RecordTTL, unknownTTL)
	def(&facts.MXTTL, unknownTTL)
	if current != nil {
		facts.LongestMaxAge = max(facts.LongestMaxAge, current.MaxAge)
	}
	r := rollout{facts: facts, now: current}
	if next == nil {
		r.remove()
		return r.steps
	}
	if current != nil && current.Mode != ModeNone && next.Mode != ModeNone {
		r.moveHosts(next)
	}
	r.raise(next)
	r.publish(next, 0, "the goal")
	return r.steps
}

// rollout is a plan in the making.
type rollout struct {
	facts RolloutFacts
	now   *Policy // after the steps
	steps []Step
}

func (r *rollout) add(action Action, p *Policy, wait time.Duration, why string) {
	r.steps = append(r.steps, Step{action, p, wait, why})
}

// publish serves a policy and publishes its record, unless that is done.
func (r *rollout) publish(p *Policy, wait time.Duration, why string) {
	if p.Equal(r.now) {
		return
	}
	r.add(ActionServe, p, proxyAge, "until no reverse proxy has the file before")
	r.add(ActionRecord, p, wait, why)
	r.facts.LongestMaxAge = max(r.facts.LongestMaxAge, p.MaxAge)
	r.now = p
}

// forgotten is how long after a change of the record somebody can go by a policy
// before: one that was fetched under the old record at the end of its TTL.
func (r *rollout) forgotten() time.Duration { return r.facts.RecordTTL + r.facts.LongestMaxAge }

func (r *rollout) remove() {
	r.facts.LongestMaxAge = max(r.facts.LongestMaxAge, trialMaxAge)
	const why = "until every policy ever served has run out"
	if r.now.Mode == ModeNone { // nobody knows since when
		r.add(ActionRecord, r.now, r.forgotten(), why)
	} else {
		r.publish(&Policy{Mode: ModeNone, MaxAge: trialMaxAge}, r.forgotten(), why)
	}
	r.add(ActionRemoveRecord, nil, r.facts.RecordTTL, "until nobody looks for the file")
	r.add(ActionRemoveFile, nil, 0, "nobody looks for it")
}

// moveHosts brings the mail hosts of the next policy into the current one.
func (r *rollout) moveHosts(next *Policy) {
	old := r.now
	if sameHosts(old.MX, next.MX) {
		return
	}
	both := *old
	both.MX = slices.Clone(old.MX)
	for _, pattern := range next.MX {
		if !slices.Contains(both.MX, pattern) {
			both.MX = append(both.MX, pattern)
		}
	}
	if len(both.MX) > len(old.MX) {
		r.publish(&both, r.forgotten(), "until nobody remembers a policy without the new hosts")
	}
	r.add(ActionMoveMX, nil, r.facts.MXTTL, "until nobody remembers the old MX records")
}

// raise goes to enforce step by step.
func (r *rollout) raise(next *Policy) {
	if r.now != nil && r.now.Mode >= next.Mode || next.Mode == ModeNone {
		return
	}
	trial := *next
	trial.MaxAge = min(next.MaxAge, trialMaxAge)
	if next.Mode == ModeTesting {
		r.publish(&trial, r.facts.RecordTTL+trial.MaxAge, "until senders have seen it and may report")
		return
	}
	clean := r.facts.CleanReports
	if r.now == nil || r.now.Mode != ModeTesting || !sameHosts(r.now.MX, next.MX) {
		testing := trial
		testing.Mode = ModeTesting
		r.publish(&testing, 0, "failures are reported, mail flows")
		clean = 0 // what was reported was another policy
	}
	if clean < cleanWeeks {
		r.add(ActionReports, nil, cleanWeeks-clean, "two weeks without failures before enforce")
	}
	r.publish(&trial, max(trialEnforce, r.facts.RecordTTL+trialMaxAge), "enforce, while it can still be taken back in a day")
}

// sameHosts reports whether two lists have the same patterns in any order.
func sameHosts(a, b []string) bool {
	in := func(list []string) func(string) bool {
		return func(s string) bool { return !slices.Contains(list, s) }
	}
	return !slices.ContainsFunc(a, in(b)) && !slices.ContainsFunc(b, in(a))
}
