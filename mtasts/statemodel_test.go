package mtasts

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// model is the state machine a second time, slowly: it keeps every observation
// and works each answer out from the whole history.
type model struct {
	looks []modelLook
	gets  []modelGet
}

type modelLook struct {
	at time.Time
	id string // "" for a failure
	o  Outcome
}

type modelGet struct {
	id         string
	start, end time.Time
	policy     *Policy // nil: failed
}

// held returns the GET whose policy applies at t, the last success unless it ran
// out, or was of mode none and the record vanished since.
func (d *model) held(t time.Time) *modelGet {
	for i := len(d.gets) - 1; i >= 0; i-- {
		g := &d.gets[i]
		if g.policy == nil {
			continue
		}
		if !t.Before(g.start.Add(g.policy.MaxAge)) {
			return nil
		}
		for j := len(d.looks) - 1; j >= 0 && g.policy.Mode == ModeNone && d.looks[j].at.After(g.start); j-- {
			if look := d.looks[j]; look.o == OutcomeNoRecord && !look.at.After(t) {
				return nil
			}
		}
		return g
	}
	return nil
}

// until replays the failures of an id since the last success. Only the four ids
// that failed last have a record.
func (d *model) until(id string) (until time.Time) {
	type record struct {
		n          int
		last, till time.Time
	}
	records := map[string]*record{}
	first := len(d.gets)
	for first > 0 && d.gets[first-1].policy == nil {
		first--
	}
	for i := first; i < len(d.gets); i++ {
		g := d.gets[i]
		r := records[g.id]
		if r == nil {
			r = &record{}
			records[g.id] = r
			if len(records) > 4 {
				oldest := ""
				for id, r := range records {
					if id != g.id && (oldest == "" || r.last.Before(records[oldest].last)) {
						oldest = id
					}
				}
				delete(records, oldest)
			}
		}
		r.n++
		r.last = g.end
		wait := 24 * time.Hour
		if minutes := []int{5, 10, 20, 40, 80, 160, 320, 640, 1280}; r.n <= len(minutes) {
			wait = time.Duration(minutes[r.n-1]) * time.Minute
		}
		past := model{looks: d.looks, gets: d.gets[:i]}
		if h := past.held(g.end); h != nil {
			eighth := h.start.Add(h.policy.MaxAge).Sub(g.end) / 8
			wait = min(wait, max(eighth, 5*time.Minute))
		}
		r.till = g.end.Add(wait)
	}
	if r := records[id]; r != nil {
		return r.till
	}
	return time.Time{}
}

// asks says whether a lookup at t asks for the record.
func (d *model) asks(t time.Time) bool {
	if len(d.looks) == 0 {
		return true
	}
	look := d.looks[len(d.looks)-1]
	last := look.at // the last observation of any kind
	if n := len(d.gets); n > 0 && d.gets[n-1].end.After(last) {
		last = d.gets[n-1].end
	}
	due := func(at time.Time) bool { return !t.Before(at) }
	held := d.held(t)
	if held == nil {
		if n := len(d.gets); d.held(look.at) != nil || n > 0 && d.gets[n-1].policy != nil && !d.gets[n-1].start.Before(look.at) {
			return true // it ran out since
		}
		switch {
		case look.o == OutcomeDNSError:
			return due(look.at.Add(time.Minute))
		case look.id == "":
			return due(look.at.Add(15 * time.Minute))
		}
		till := d.until(look.id)
		return !till.After(last) || due(till) || due(look.at.Add(10*time.Minute))
	}
	if due(look.at.Add(10 * time.Minute)) {
		return true
	}
	refresh := held.start.Add(min(24*time.Hour, held.policy.MaxAge/2))
	same := look.id == "" || look.id == held.id
	if same && refresh.After(last) {
		return due(refresh)
	}
	id := look.id
	if id == "" {
		id = held.id
	}
	if till := d.until(id); till.After(last) {
		return due(till)
	}
	return due(d.gets[len(d.gets)-1].end.Add(30 * time.Second))
}

// fetches says whether and when a GET follows the look that was just made.
func (d *model) fetches() (bool, string, time.Time) {
	look := d.looks[len(d.looks)-1]
	held := d.held(look.at)
	id := look.id
	if held != nil {
		refresh := !look.at.Before(held.start.Add(min(24*time.Hour, held.policy.MaxAge/2)))
		if id == "" {
			id = held.id
		}
		if id == held.id && !refresh {
			return false, "", time.Time{}
		}
	}
	if id == "" || d.until(id).After(look.at) {
		return false, "", time.Time{}
	}
	at := look.at
	if n := len(d.gets); n > 0 && d.gets[n-1].end.Add(30*time.Second).After(at) {
		at = d.gets[n-1].end.Add(30 * time.Second)
		if held != nil {
			return false, "", time.Time{}
		}
	}
	return true, id, at
}

// TestStateMachineAgainstModel lives through simulated years of domains whose
// records and policy hosts change, fail and are forged at random. At each lookup
// the machine asks, fetches and serves exactly as the model works out from the
// whole history.
func TestStateMachineAgainstModel(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 8461))
		m := newMachine()
		m.trace = seed%2 == 0
		e := entry{Domain: "example.com"}
		var d model
		now := epoch
		id, broken, forged := 1, 0.2, 0.1
		served := enforcePolicy(24 * time.Hour)
		year := now.Add(365 * 24 * time.Hour)
		for step := 0; now.Before(year) && step < 1500; step++ {
			// Mostly one lookup an hour or so, sometimes a burst, sometimes
			// days of silence.
			switch random.IntN(10) {
			case 0, 1, 2:
				now = now.Add(time.Duration(random.IntN(90)) * time.Second)
			case 9:
				now = now.Add(time.Duration(random.IntN(5*24)) * time.Hour)
			default:
				now = now.Add(time.Duration(random.IntN(3*3600)) * time.Second)
			}
			if random.IntN(20) == 0 {
				id++
				ages := []time.Duration{0, 10 * time.Second, time.Minute, time.Hour, 30 * time.Hour, 14 * 24 * time.Hour, MaxAge}
				served = &Policy{Mode: PolicyMode(1 + random.IntN(3)), MaxAge: ages[random.IntN(len(ages))], MX: []string{fmt.Sprintf("mx%d.example.com", id)}}
			}
			if random.IntN(50) == 0 {
				broken, forged = random.Float64(), random.Float64()/2
			}
			why := fmt.Sprintf("seed %d step %d at %v", seed, step, now.Sub(epoch))

			settled, _ := m.settle(e, now)
			if settled.Policy != nil {
				require.Same(t, e.Policy, settled.Policy, why)
			}
			held := d.held(now)
			r, need := m.serve(&e, now)
			require.Equal(t, d.asks(now), need == needCheck || need == needAnswer, "%s: asks", why)
			require.Equal(t, held != nil, r.Policy != nil, "%s: V3, V4", why)
			if held != nil {
				require.Same(t, held.policy, r.Policy, "%s: V5", why)
				require.Equal(t, held.start.Add(held.policy.MaxAge), r.Expires, "%s: V1", why)
				require.True(t, now.Before(r.Expires), "%s: V3", why)
				require.Equal(t, held.id, r.ID, why)
			} else if need == needNothing {
				last := d.looks[len(d.looks)-1]
				if last.id != "" {
					require.Equal(t, OutcomeBackoff, r.Outcome, why)
				} else {
					require.Equal(t, last.o, r.Outcome, why)
				}
			}
			if need == needNothing {
				e = settled
				continue
			}
			e = settled
			seen := seenID(fmt.Sprint(id))
			if random.Float64() < forged {
				switch random.IntN(5) {
				case 0:
					seen = seenFailure(OutcomeNoRecord, ReasonRecordAbsent)
				case 1:
					seen = seenFailure(OutcomeMultipleRecords, ReasonRecordMultiple)
				case 2:
					seen = seenFailure(OutcomeDNSError, ReasonDNSError)
				default:
					seen = seenID(fmt.Sprintf("forged%d", random.IntN(8)))
				}
			}
			d.looks = append(d.looks, modelLook{at: now, id: seen.id, o: seen.fail.Outcome})
			wanted, wantedID, at := d.fetches()
			var get getJob
			e, _, get = m.observeRecord(e, now, seen)
			require.Equal(t, wanted, get.wanted, "%s: fetches", why)
			require.LessOrEqual(t, len(e.Backoff), 4)
			if !wanted {
				continue
			}
			require.Equal(t, wantedID, get.id, why)
			require.Equal(t, at, get.at, "%s: V-gap", why)
			got := modelGet{id: get.id, start: at, end: at.Add(time.Duration(random.IntN(60)) * time.Second)}
			observed := policySeen{id: get.id, start: got.start, end: got.end}
			if random.Float64() < broken {
				observed = unfetched(get.id, at)
				observed.end = got.end
			} else {
				got.policy = served
				observed.policy, observed.body = served, []byte(served.MX[0])
			}
			d.gets = append(d.gets, got)
			e, _ = m.observePolicy(e, observed)
			now = got.end
			if got.policy != nil {
				r := m.resultFetched(&e, now)
				require.Equal(t, SourceFresh, r.Source, why)
				require.Same(t, served, r.Policy, "%s: V5", why)
			}
			e, _ = m.settle(e, now)
		}
	}
}
