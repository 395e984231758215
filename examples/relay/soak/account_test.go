//go:build interop && linux

package soak

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/examples/relay/spool"
	"github.com/smtpsec/smtpsec/internal/lab"
)

// A life is the time at the end of which a relay was killed: it was alive at from, and gone at to.
type life struct{ from, to time.Time }

// A ledger is what clients were told and what was done to the relay. It is safe for concurrent use.
type ledger struct {
	mu           sync.Mutex
	acknowledged map[int]string // spool ids by the number of the parcel
	unknown      map[int]bool   // parcels whose fate the client does not know: the connection broke
	refused      map[int]int    // replies by code
	kills        []life
}

// A fate is what became of one recipient of a parcel.
type fate struct {
	delivered []time.Time
	bounced   int // DSNs that tell of it
	queued    bool
}

// An account is the balance of a run, in recipients unless it says otherwise.
type account struct {
	messages, recipients               int // acknowledged
	once, again, bounced, queued, lost int
	// Deliveries too many, a message and a domain counted once: after kills, and where a host
	// loses its 250s.
	resent, resent250 int
	late              int      // of resent: the first copy arrived after the kill
	twoDSNs           int      // told more than once
	unacknowledged    int      // messages: delivered or bounced or queued, and no client was told 250
	wrong             []string // what must not be
}

var finalRecipient = regexp.MustCompile(`(?mi)^Final-Recipient: rfc822; *<?([^\s>]+)>?\r?$`)

// balance computes the account from what the hosts hold and what is in the spool.
func (l *ledger) balance(seed uint64, boxes map[string][]lab.Message, queue []*spool.Envelope) *account {
	a := &account{}
	fates := map[string]*fate{}
	of := func(to string) *fate {
		if fates[to] == nil {
			fates[to] = &fate{}
		}
		return fates[to]
	}
	complain := func(format string, args ...any) { a.wrong = append(a.wrong, fmt.Sprintf(format, args...)) }
	for domain, box := range boxes {
		for _, m := range box {
			switch {
			case domain == "return.example":
				if m.From != "" || !bytes.Contains(m.Data, []byte("Action: failed\r\n")) {
					complain("%s is no DSN: %.2000s", m.To, m.Data)
				}
				for _, to := range finalRecipient.FindAllSubmatch(m.Data, -1) {
					of(string(to[1])).bounced++
					if numberOf(string(to[1])) != numberOf(m.To[0]) {
						complain("%s is told about %s", m.To[0], to[1])
					}
				}
			default:
				n := numberOf(m.To[0])
				p := newParcel(seed, n)
				if m.From != p.sender() || !bytes.HasSuffix(m.Data, p.text()) || !bytes.HasPrefix(m.Data, []byte("Received: ")) {
					complain("message %d has arrived damaged", n)
				}
				if id := l.acknowledged[n]; id != "" && !bytes.Contains(m.Data, []byte(" id "+id+"\r\n")) {
					complain("message %d was acknowledged as %s and arrives as another one: %.300s", n, id, m.Data)
				}
				if m.RequireTLS != strings.Contains(p.options, "REQUIRETLS") {
					complain("message %d: REQUIRETLS %t", n, m.RequireTLS)
				}
				if (m.TLS == nil) != (domain == "plain.example") {
					complain("message %d: TLS %t at %s", n, m.TLS != nil, domain)
				}
				for _, to := range m.To {
					if !slices.Contains(p.to, to) {
						complain("message %d came to %s", n, to)
					}
					of(to).delivered = append(of(to).delivered, m.At)
				}
			}
		}
	}
	for _, e := range queue {
		for _, r := range e.Recipients {
			if r.State != spool.Queued {
				continue
			}
			of(r.Address).queued = true
			if id := l.acknowledged[numberOf(r.Address)]; id != "" && e.ID != id {
				complain("%s waits as %s and was acknowledged as %s", r.Address, e.ID, id)
			}
		}
	}
	resent, resent250 := map[string]int{}, map[string]int{} // by message and domain
	for n := range l.acknowledged {
		a.messages++
		p := newParcel(seed, n)
		for _, to := range p.to {
			a.recipients++
			f := of(to)
			states := 0
			for _, is := range []bool{len(f.delivered) > 0, f.bounced > 0, f.queued} {
				if is {
					states++
				}
			}
			switch {
			case states == 0:
				a.lost++
				complain("%s: lost", to)
				continue
			case states > 1:
				complain("%s: in more than one place: %+v", to, *f)
			}
			switch {
			case f.queued:
				a.queued++
			case f.bounced > 0:
				a.bounced++
				a.twoDSNs += min(1, f.bounced-1)
			case len(f.delivered) == 1:
				a.once++
			default:
				a.again++
				_, domain, _ := strings.Cut(to, "@")
				key := fmt.Sprint(n, domain)
				if domain == "flaky.example" || domain == "picky.example" && slices.ContainsFunc(p.to, losing) {
					resent250[key] = max(resent250[key], len(f.delivered)-1)
					break
				}
				slices.SortFunc(f.delivered, time.Time.Compare)
				for i := range f.delivered[1:] {
					switch first, second := f.delivered[i], f.delivered[i+1]; {
					case l.killedBetween(first, second):
					case l.killedBetween(first.Add(-onTheWay), second):
						a.late++
					default:
						complain("%s: delivered again without a kill in between: %v, %v", to, first, second)
					}
				}
				resent[key] = max(resent[key], len(f.delivered)-1)
			}
			if f.queued != waits(to) {
				complain("%s: still in the queue %t", to, f.queued)
			}
			if f.bounced > 0 != p.bounces(to) {
				complain("%s: bounced %t", to, f.bounced > 0)
			}
		}
	}
	for _, n := range resent {
		a.resent += n
	}
	for _, n := range resent250 {
		a.resent250 += n
	}
	ghosts := map[int]bool{}
	for to, f := range fates {
		n := numberOf(to)
		if _, ok := l.acknowledged[n]; !ok && (len(f.delivered) > 0 || f.bounced > 0 || f.queued) {
			ghosts[n] = true
			if !l.unknown[n] {
				complain("%s: delivered, though the client was told no", to)
			}
		}
	}
	a.unacknowledged = len(ghosts)
	return a
}

// losing reports whether the host of a recipient loses its first 250 to him.
func losing(to string) bool { return strings.HasPrefix(to, "lost.") }

// onTheWay is how long what a relay has sent may lie in the buffers of a busy machine after the relay was killed.
const onTheWay = time.Second

// killedBetween reports whether a relay was killed after it may have sent one message and before it sent another one.
func (l *ledger) killedBetween(first, second time.Time) bool {
	return slices.ContainsFunc(l.kills, func(k life) bool { return !first.After(k.to) && !second.Before(k.from) })
}

// print prints the account. lost250 is how many replies hosts have lost at most.
func (l *ledger) print(t *testing.T, a *account, lost250 int, took time.Duration) {
	t.Helper()
	t.Logf(`the account
	messages acknowledged                    %d, in %s
	recipients of these                      %d
	  delivered once                         %d
	  delivered more than once               %d
	  bounced with a DSN                     %d, of them told twice %d
	  still queued                           %d
	  lost                                   %d
	kills                                    %d; deliveries too many because of them %d, of them %d where the first copy was on its way
	250s that hosts have lost                %d; deliveries too many there %d
	messages that nobody was told 250 for
	  and the relay had them                 %d, of %d whose connection broke
	refusals by code                         %v`, a.messages, took.Round(time.Second), a.recipients,
		a.once, a.again, a.bounced, a.twoDSNs, a.queued, a.lost,
		len(l.kills), a.resent, a.late, lost250, a.resent250, a.unacknowledged, len(l.unknown), l.refused)
}

// check fails the test if the account does not balance. perKill is how many deliveries may have been under way.
func (l *ledger) check(t *testing.T, a *account, lost250, perKill int) {
	t.Helper()
	require.Empty(t, a.wrong[:min(20, len(a.wrong))], "%d complaints", len(a.wrong))
	require.Zero(t, a.lost)
	require.Equal(t, a.recipients, a.once+a.again+a.bounced+a.queued, "every recipient is in one place")
	require.LessOrEqual(t, a.resent, len(l.kills)*perKill)
	require.LessOrEqual(t, a.resent250, len(l.kills)*perKill+lost250)
	for what, n := range map[string]int{"delivered": a.once, "bounced": a.bounced, "queued": a.queued} {
		require.NotZero(t, n, "the run proves nothing about what is %s", what)
	}
}
