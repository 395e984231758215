package tlsrpt

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// clock is a clock that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock(s string) *clock {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return &clock{now: t}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(s string) {
	t := newClock(s).now
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// events keeps what was told.
type events struct {
	mu   sync.Mutex
	list []Event
}

func (e *events) trace(event Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, event)
}

func (e *events) kinds() map[EventKind]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	kinds := make(map[EventKind]int)
	for _, event := range e.list {
		kinds[event.Kind]++
	}
	return kinds
}

func newAggregator(t testing.TB, store Store, o AggregatorOptions) *Aggregator {
	t.Helper()
	if o.Now == nil {
		o.Now = newClock("2026-03-01T12:00:00Z").Now
	}
	a, err := NewAggregator(store, o)
	require.NoError(t, err)
	return a
}

func session(domain string, results ...PolicyResult) *Session {
	s := &Session{RecipientDomain: domain, MXHost: "mx." + domain, Helo: "mx." + domain,
		LocalIP: netip.MustParseAddr("192.0.2.1"), RemoteIP: netip.MustParseAddr("198.51.100.1")}
	for _, r := range results {
		s.Add(r)
	}
	return s
}

func load(t testing.TB, store Store, d, domain string) *Tally {
	t.Helper()
	tally, err := store.Load(t.Context(), day(d), domain)
	require.NoError(t, err)
	return tally
}

func domains(t testing.TB, store Store, d string) []string {
	t.Helper()
	list := []string{}
	for domain, err := range store.Domains(t.Context(), day(d)) {
		require.NoError(t, err)
		list = append(list, domain)
	}
	return list
}

func TestCollect(t *testing.T) {
	store := new(Memory)
	a := newAggregator(t, store, AggregatorOptions{})
	sts := NewSTSPolicy("r.example", []byte("version: STSv1\n"), []string{"mx.r.example"})
	a.Collect(session("r.example", PolicyResult{Policy: sts}))
	a.Collect(session("R.example.", PolicyResult{Policy: sts})) // the same domain
	again := NewSTSPolicy("r.example", []byte("version: STSv1\n"), []string{"mx.r.example"})
	a.Collect(session("r.example", PolicyResult{Policy: again, Result: CertificateExpired, Reason: "not-yet-valid", Info: "https://a.example/"}))
	a.Collect(session("r.example", PolicyResult{Policy: sts, Result: STSPolicyFetchError, Reason: "status"}))
	a.Collect(session("r.example", PolicyResult{Policy: sts, Result: "cosmic-rays", Reason: "Peer\r\nsays"}))
	bad := session("r.example", PolicyResult{Policy: sts, Result: ValidationFailure})
	bad.Helo, bad.MXHost = "evil\r\nX: y\xff"+strings.Repeat("\u00e9", 300), ""
	bad.RemoteIP, bad.LocalIP = netip.MustParseAddr("::ffff:198.51.100.1"), netip.Addr{}
	a.Collect(bad)
	require.NoError(t, a.Flush(t.Context()))

	policies := load(t, store, "2026-03-01", "r.example").Policies()
	require.Len(t, policies, 1, "equal policies are one")
	p := policies[0]
	require.Equal(t, *sts, p.Policy)
	require.Equal(t, uint64(2), p.Successes)
	require.Equal(t, uint64(4), p.Failures)
	local, remote := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")
	require.Equal(t, []FailureDetail{
		{Result: CertificateExpired, SendingIP: local, ReceivingMX: "mx.r.example", ReceivingHelo: "mx.r.example", ReceivingIP: remote, Count: 1, Reason: "not-yet-valid", AdditionalInformation: "https://a.example/"},
		{Result: STSPolicyFetchError, Count: 1, Reason: "status"},
		{Result: ValidationFailure, ReceivingHelo: "evilX: y\ufffd" + strings.Repeat("\u00e9", 122), ReceivingIP: remote, Count: 1},
		{Result: ValidationFailure, SendingIP: local, ReceivingMX: "mx.r.example", ReceivingHelo: "mx.r.example", ReceivingIP: remote, Count: 1, Reason: "peer--says"},
	}, p.Details)
	require.Equal(t, Stats{Sessions: 6}, a.Stats())
}

// TestReportDomains: a tlsa result goes to two reports, and the one of the base
// domain names no recipient.
func TestReportDomains(t *testing.T) {
	store := new(Memory)
	a := newAggregator(t, store, AggregatorOptions{})
	tlsa := NewTLSAPolicy("mx.host.example", "mx.host.example", []TLSARecord{{3, 1, 1, []byte{1}}})
	for i := range 20 {
		name := fmt.Sprintf("r%d.example", i%3)
		a.Collect(session(name, PolicyResult{Policy: tlsa}, PolicyResult{Policy: NewNoPolicy(name), Result: STARTTLSNotSupported}))
	}
	a.Collect(session("mx.host.example", PolicyResult{Policy: tlsa})) // its own recipient domain: once
	a.Collect(session("MX.host.example", PolicyResult{Policy: tlsa}))
	require.NoError(t, a.Flush(t.Context()))
	require.ElementsMatch(t, []string{"r0.example", "r1.example", "r2.example", "mx.host.example"}, domains(t, store, "2026-03-01"))
	base := load(t, store, "2026-03-01", "mx.host.example")
	policies := base.Policies()
	require.Len(t, policies, 1)
	require.Equal(t, PolicyTLSA, policies[0].Policy.Type)
	require.Equal(t, uint64(22), policies[0].Successes)
	direct, sources, many := base.sources()
	require.True(t, direct)
	require.Equal(t, []string{"r0.example", "r1.example", "r2.example"}, sources)
	require.False(t, many)
	text, err := (&Report{Policies: policies}).MarshalJSON()
	require.NoError(t, err)
	require.NotContains(t, string(text), "r0.example")
	require.Equal(t, Stats{Sessions: 22}, a.Stats())
	recipient := load(t, store, "2026-03-01", "r0.example").Policies()
	require.Len(t, recipient, 2)
	require.Equal(t, uint64(7), recipient[0].Failures)
	require.Equal(t, uint64(7), recipient[1].Successes)

	for i := range 30 {
		a.Collect(session(fmt.Sprintf("s%d.example", i), PolicyResult{Policy: tlsa}))
	}
	require.NoError(t, a.Flush(t.Context()))
	_, sources, many = load(t, store, "2026-03-01", "mx.host.example").sources()
	require.Empty(t, sources)
	require.True(t, many)
}

func TestNotCollected(t *testing.T) {
	store, seen := new(Memory), new(events)
	a := newAggregator(t, store, AggregatorOptions{MaxDomains: 2, Trace: seen.trace})
	ok := PolicyResult{Policy: NewNoPolicy("r.example")}
	for why, s := range map[string]*Session{
		"nothing": nil, "no policy": session("r.example"), "no domain": session("", ok), "address": session("[192.0.2.1]", ok),
		"negative": {RecipientDomain: "r.example", NPolicies: -1},
	} {
		a.Collect(s)
		require.Zero(t, a.Stats().Sessions, why)
	}
	(*Aggregator)(nil).Collect(session("r.example", ok))
	require.Equal(t, uint64(2), a.Stats().Invalid)
	many := session("r.example", ok)
	many.Add(ok)
	many.Add(ok)
	many.Add(ok) // the fourth
	require.Equal(t, 3, many.NPolicies)
	many.NPolicies = 100
	a.Collect(many)
	a.Collect(session("r.example", PolicyResult{}, PolicyResult{Policy: &PolicyInfo{Type: "other"}}))
	for i := range 5 {
		a.Collect(session(fmt.Sprintf("r%d.example", i), ok))
	}
	require.Equal(t, uint64(4), a.Stats().Refused)
	require.Equal(t, map[EventKind]int{EventDomainsFull: 1}, seen.kinds(), "told once a day")
	require.NoError(t, a.Flush(t.Context()))
	require.Equal(t, uint64(3), load(t, store, "2026-03-01", "r.example").Policies()[0].Successes)
	for _, o := range []AggregatorOptions{{Node: "Upper"}, {Node: strings.Repeat("x", 33)}, {Node: "a/b"}} {
		_, err := NewAggregator(store, o)
		require.Error(t, err)
	}
	_, err := NewAggregator(nil, AggregatorOptions{})
	require.Error(t, err)
}

// TestFolding: 200 ways to fail are kept apart, the rest is counted without address,
// name and reason, and the sums are right.
func TestFolding(t *testing.T) {
	store := new(Memory)
	a := newAggregator(t, store, AggregatorOptions{})
	p := NewNoPolicy("r.example")
	for i := range 1000 {
		s := session("r.example", PolicyResult{Policy: p, Result: []ResultType{ValidationFailure, STARTTLSNotSupported}[i%2]})
		s.Helo = fmt.Sprintf("h%d", i)
		a.Collect(s)
	}
	require.NoError(t, a.Flush(t.Context()))
	got := load(t, store, "2026-03-01", "r.example").Policies()[0]
	require.Len(t, got.Details, maxDetails+2)
	require.Equal(t, uint64(1000), got.Failures)
	require.Equal(t, uint64(1000), got.DetailSum())
	require.Equal(t, FailureDetail{Result: STARTTLSNotSupported, Count: 400}, got.Details[0])
}

// TestManyPolicies: a domain that changes its policy with every fetch gets no
// memory for it, and the sums are right.
func TestManyPolicies(t *testing.T) {
	store := new(Memory)
	a := newAggregator(t, store, AggregatorOptions{})
	for i := range 100 {
		a.Collect(session("r.example", PolicyResult{Policy: NewSTSPolicy("r.example", fmt.Appendf(nil, "id: %d", i), nil)}))
	}
	require.NoError(t, a.Flush(t.Context()))
	policies := load(t, store, "2026-03-01", "r.example").Policies()
	require.Len(t, policies, maxPolicies+1)
	successes, _ := (&Report{Policies: policies}).Totals()
	require.Equal(t, uint64(100), successes)
	require.Equal(t, PolicyReport{Policy: PolicyInfo{PolicySTS, "r.example", []string{}, []string{}}, Successes: 100 - maxPolicies, Details: []FailureDetail{}}, policies[0])

	large := &PolicyInfo{Type: PolicySTS, Domain: "r.example", Lines: slicesRepeat(strings.Repeat("x\xff", 1000), 1000)}
	for range 3 {
		a.Collect(session("large.example", PolicyResult{Policy: large}))
	}
	require.NoError(t, a.Flush(t.Context()))
	policies = load(t, store, "2026-03-01", "large.example").Policies()
	require.Len(t, policies, 1)
	require.Equal(t, uint64(3), policies[0].Successes)
	require.LessOrEqual(t, policies[0].Policy.size(), maxPolicyText+100)
}

// TestClock: a clock through two days, with sessions that come late, a zone with
// daylight-saving time and a clock that is set back.
func TestClock(t *testing.T) {
	store, seen, c := new(Memory), new(events), newClock("2026-03-28T23:59:50Z")
	a := newAggregator(t, store, AggregatorOptions{Now: c.Now, Trace: seen.trace})
	p := NewNoPolicy("r.example")
	at := func(when string) {
		s := session("r.example", PolicyResult{Policy: p})
		if when != "" {
			s.Time = newClock(when).now
		}
		a.Collect(s)
	}
	count := func(d string) (n uint64) {
		for _, p := range load(t, store, d, "r.example").Policies() {
			n += p.Successes
		}
		return n
	}
	at("2026-03-28T23:59:59Z")
	at("2026-03-29T00:00:00Z") // its handshake ended after midnight, before our clock says so
	at("2026-03-29T01:30:00+02:00")
	at("")                     // now
	at("2026-03-30T00:00:00Z") // the day after tomorrow
	require.Equal(t, uint64(1), a.Stats().Late)
	c.set("2026-03-29T00:14:59Z")
	at("2026-03-28T23:59:59Z") // the day is still open
	require.NoError(t, a.Flush(t.Context()))
	at("2026-03-28T23:59:58Z")
	c.set("2026-03-29T00:15:00Z")
	require.NoError(t, a.Flush(t.Context()))
	at("2026-03-28T23:59:59Z") // closed
	at("2026-03-28T12:00:00Z")
	require.Equal(t, uint64(3), a.Stats().Late)
	require.Equal(t, map[EventKind]int{EventLate: 2}, seen.kinds(), "once for each day")
	c.set("2026-03-28T20:00:00Z") // set back
	require.NoError(t, a.Flush(t.Context()))
	at("")
	at("2026-03-28T20:00:00Z")
	require.Equal(t, uint64(4), a.Stats().Late, "what is closed stays closed, what has no time counts today")
	c.set("2026-03-30T00:20:00Z")
	require.NoError(t, a.Flush(t.Context()))
	require.Equal(t, uint64(5), count("2026-03-28"))
	require.Equal(t, uint64(2), count("2026-03-29"))
	require.Empty(t, a.days, "everything is written and closed")
}

// failing is a store that can be away.
type failing struct {
	Memory
	away bool
}

func (f *failing) Save(ctx context.Context, s []*Snapshot) error {
	if f.away {
		return errors.New("store is away")
	}
	return f.Memory.Save(ctx, s)
}

func TestStoreAway(t *testing.T) {
	store, seen, c := &failing{away: true}, new(events), newClock("2026-03-01T12:00:00Z")
	a := newAggregator(t, store, AggregatorOptions{Now: c.Now, Trace: seen.trace})
	p := NewNoPolicy("r.example")
	a.Collect(session("r.example", PolicyResult{Policy: p}))
	require.ErrorContains(t, a.Flush(t.Context()), "store is away")
	a.Collect(session("r.example", PolicyResult{Policy: p}))
	c.set("2026-03-02T01:00:00Z")
	require.Error(t, a.Flush(t.Context()))
	store.away = false
	require.NoError(t, a.Flush(t.Context()), "also what is closed meanwhile")
	require.Equal(t, uint64(2), load(t, store, "2026-03-01", "r.example").Policies()[0].Successes)
	require.Empty(t, a.days)
	require.Equal(t, map[EventKind]int{EventFlushFailed: 2}, seen.kinds())

	store.away = true
	a.Collect(session("r.example", PolicyResult{Policy: p}))
	for d := 2; d < 8; d++ {
		c.set(fmt.Sprintf("2026-03-%02dT12:00:00Z", d))
		require.ErrorContains(t, a.Flush(t.Context()), "away")
		a.Collect(session("r.example", PolicyResult{Policy: p}))
		require.LessOrEqual(t, len(a.days), heldDays+1)
	}
	require.Equal(t, 3, seen.kinds()[EventLost], "days 2 to 4")
}

// dns has a record for some names; others fail or are absent.
type dns struct {
	mu      sync.Mutex
	records map[string][]string
	fail    map[string]bool
	asked   map[string]int
}

func (d *dns) LookupTXT(_ context.Context, name string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name = strings.TrimSuffix(strings.TrimPrefix(name, "_smtp._tls."), ".")
	if d.asked == nil {
		d.asked = make(map[string]int)
	}
	d.asked[name]++
	switch {
	case d.fail[name]:
		return nil, &net.DNSError{IsTemporary: true}
	case d.records[name] == nil:
		return nil, &net.DNSError{IsNotFound: true}
	}
	return d.records[name], nil
}

func TestUnwantedDomains(t *testing.T) {
	store, seen := new(Memory), new(events)
	resolver := &dns{records: map[string][]string{"yes.example": {"v=TLSRPTv1;rua=mailto:a@b.example"}, "bad.example": {"v=TLSRPTv1;"}}, fail: map[string]bool{"later.example": true}}
	a := newAggregator(t, store, AggregatorOptions{MaxDomains: 4, Resolver: resolver, Trace: seen.trace})
	feed := func() {
		for _, name := range []string{"yes.example", "no.example", "bad.example", "later.example"} {
			a.Collect(session(name, PolicyResult{Policy: NewNoPolicy(name)}))
		}
	}
	for range 3 {
		feed()
		require.NoError(t, a.Flush(t.Context()))
	}
	require.ElementsMatch(t, []string{"yes.example", "later.example"}, domains(t, store, "2026-03-01"))
	require.Equal(t, map[string]int{"yes.example": 1, "no.example": 1, "bad.example": 1, "later.example": 3}, resolver.asked)
	require.Equal(t, uint64(3), load(t, store, "2026-03-01", "later.example").Policies()[0].Successes, "a failure says nothing")
	require.Equal(t, uint64(4), a.Stats().Unwanted)
	require.Equal(t, map[EventKind]int{EventNoRecord: 2}, seen.kinds())
	a.Collect(session("new.example", PolicyResult{Policy: NewNoPolicy("new.example")}))
	a.Collect(session("newer.example", PolicyResult{Policy: NewNoPolicy("newer.example")}))
	require.Zero(t, a.Stats().Refused, "unwanted domains take no room")
}

// TestSums: whatever comes in whatever order, totals are the sessions that were
// fed, and three writers make the same report as one.
func TestSums(t *testing.T) {
	for seed := range uint64(14) {
		folds := seed >= 12 // with more ways to fail than are kept apart, writers fold others
		reasons := int(seed%6) + 1
		if folds {
			reasons = 20
		}
		random := rand.New(rand.NewPCG(seed, 8460))
		one, three := new(Memory), new(Memory)
		single := newAggregator(t, one, AggregatorOptions{})
		nodes := []*Aggregator{newAggregator(t, three, AggregatorOptions{Node: "a"}), newAggregator(t, three, AggregatorOptions{Node: "b"}), newAggregator(t, three, AggregatorOptions{Node: "c"})}
		const sessions = 3000
		var group sync.WaitGroup
		parts := make([][]*Session, len(nodes))
		for range sessions {
			name := fmt.Sprintf("r%d.example", random.IntN(3))
			r := PolicyResult{Policy: NewNoPolicy(name)}
			if random.IntN(2) == 0 {
				r = PolicyResult{Policy: NewTLSAPolicy("mx.example", "mx.example", nil), Result: resultTypes[random.IntN(len(resultTypes))], Reason: fmt.Sprint(random.IntN(reasons))}
			}
			s := session(name, r)
			single.Collect(s)
			n := random.IntN(len(nodes))
			parts[n] = append(parts[n], s)
		}
		for i, part := range parts {
			group.Go(func() {
				for j, s := range part {
					nodes[i].Collect(s)
					if j%500 == 0 {
						_ = nodes[i].Flush(context.Background()) // of a store that does not fail
					}
				}
			})
		}
		group.Wait()
		for _, a := range append(nodes, single) {
			require.NoError(t, a.Flush(t.Context()))
			require.NoError(t, a.Flush(t.Context()), "twice counts once")
		}
		var total uint64
		for _, name := range []string{"r0.example", "r1.example", "r2.example", "mx.example"} {
			want := &Report{Policies: load(t, one, "2026-03-01", name).Policies()}
			got := &Report{Policies: load(t, three, "2026-03-01", name).Policies()}
			if folds {
				for i := range want.Policies {
					want.Policies[i].Details, got.Policies[i].Details = nil, nil
				}
			}
			require.Equal(t, want, got, "seed %d", seed)
			for _, p := range load(t, three, "2026-03-01", name).Policies() {
				require.Equal(t, p.Failures, p.DetailSum())
			}
			if name != "mx.example" {
				s, f := got.Totals()
				total += s + f
			}
		}
		require.Equal(t, uint64(sessions), total)
	}
}
