package mtasts

import (
	"bytes"
	"container/heap"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// simYear is an Internet of many domains with random faults, and what a Client
// must know of them, worked out from what was served to it.
type simYear struct {
	*world
	t       *testing.T
	random  *rand.Rand
	store   *textStore
	domains map[string]*simDomain
	order   simQueue
	round   bool // a Refresh is under way: its GETs take no time
	tally   map[string]int
}

// simDomain is one of them. Its random numbers are its own, so that the order of
// parallel refreshes changes nothing.
type simDomain struct {
	name   string
	next   time.Time // lookup
	random *rand.Rand

	// What it publishes, and how often that fails.
	id             int
	policy         *Policy
	body           string
	badDNS, badWeb float64
	answer         string // id of the last TXT answer; "" for a failure
	absent         bool   // whether that was that there is no record

	client, stored belief
	dropped        bool // a policy of mode none has gone with its record, and may come back out of the store
	want, got      []EventKind
	expired        time.Time // of the last event that a policy ran out
	served         map[string]int
}

// belief is what a Client knows of a domain, or a Store has of it.
type belief struct {
	policy     *Policy
	body, id   string
	start, end time.Time // start of the GET, end of validity
	lastGET    time.Time
	waits      []simWait // newest first
}

type simWait struct {
	id        string
	failures  int
	at, until time.Time
}

func (b *belief) held(now time.Time) bool { return b.policy != nil && now.Before(b.end) }

// learn adds what the store has.
func (b *belief) learn(s belief) {
	if s.start.After(b.start) || s.start.Equal(b.start) && b.policy == nil {
		b.policy, b.body, b.id, b.start, b.end = s.policy, s.body, s.id, s.start, s.end
	}
	b.lastGET = latest(b.lastGET, s.lastGET)
	waits := slices.SortedStableFunc(slices.Values(slices.Concat(b.waits, s.waits)), func(x, y simWait) int { return y.at.Compare(x.at) })
	b.waits = nil
	for _, w := range waits {
		known := slices.ContainsFunc(b.waits, func(x simWait) bool { return x.id == w.id })
		if !known && len(b.waits) < 4 && !w.at.Before(b.start) {
			b.waits = append(b.waits, w)
		}
	}
}

// fail notes a failed GET: 5 minutes, then twice as long each time, up to a day;
// no more than an eighth of what is left of a policy that is held.
func (b *belief) fail(id string, end time.Time) {
	w := simWait{id: id, failures: 1, at: end}
	others := []simWait{}
	for _, x := range b.waits {
		if x.id == id {
			w.failures = x.failures + 1
		} else {
			others = append(others, x)
		}
	}
	wait := 24 * time.Hour
	if w.failures < 10 {
		wait = 5 * time.Minute << (w.failures - 1)
	}
	if b.held(end) {
		wait = min(wait, max(b.end.Sub(end)/8, 5*time.Minute))
	}
	w.until = end.Add(wait)
	b.waits = append([]simWait{w}, others[:min(len(others), 3)]...)
}

// publish gives the domain another policy, mostly under another id.
func (d *simDomain) publish() {
	if d.random.IntN(5) > 0 {
		d.id++
	}
	ages := []int{0, 600, 3600, 86400, 604800, 604800, 2678400, 31557600}
	age := ages[d.random.IntN(len(ages))]
	mode := []PolicyMode{ModeEnforce, ModeEnforce, ModeEnforce, ModeTesting, ModeNone}[d.random.IntN(5)]
	d.policy = &Policy{Mode: mode, MaxAge: time.Duration(age) * time.Second, MX: []string{fmt.Sprintf("mx%d.%s", d.random.IntN(3), d.name), "backup." + d.name}}
	if d.random.IntN(3) == 0 {
		d.policy.MX = d.policy.MX[:1]
	}
	d.body = d.policy.String()
}

// LookupTXT answers with the record, or fails, or is an attacker.
func (y *simYear) LookupTXT(_ context.Context, name string) ([]string, error) {
	d := y.domains[strings.TrimSuffix(strings.TrimPrefix(name, "_mta-sts."), ".")]
	before := d.absent
	d.answer, d.absent = fmt.Sprint(d.id), false
	fault := "good record"
	if d.random.Float64() < d.badDNS {
		fault = []string{"NXDOMAIN", "NODATA", "two records", "malformed record", "SERVFAIL", "forged id"}[d.random.IntN(6)]
	}
	d.served[fault]++
	if fault == "forged id" {
		d.answer = fmt.Sprintf("forged%d", d.random.IntN(6))
	}
	record := "v=STSv1; id=" + d.answer + ";"
	if fault == "good record" || fault == "forged id" {
		return []string{record}, nil
	}
	d.answer = ""
	switch fault {
	case "two records":
		return []string{record, record}, nil
	case "malformed record":
		return []string{"v=STSv1; id=-"}, nil
	case "SERVFAIL":
		return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
	}
	d.absent = true
	if now := y.clock.Now(); d.client.held(now) {
		switch {
		case d.client.policy.Mode == ModeEnforce && !before:
			d.want = append(d.want, EventRecordGone)
		case d.client.policy.Mode == ModeNone:
			d.client.policy, d.dropped = nil, true
		}
	}
	if fault == "NODATA" {
		return nil, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// serve answers a GET or fails, and holds the Client to the waits.
func (y *simYear) serve(r *http.Request) (*http.Response, error) {
	d := y.domains[strings.TrimPrefix(r.URL.Hostname(), policyHostPrefix)]
	b, start := &d.client, y.clock.Now()
	id := d.answer
	if id == "" {
		if !b.held(start) {
			y.t.Errorf("%s at %v: GET without record or policy", d.name, start)
		}
		id = b.id
	}
	if gap := start.Sub(b.lastGET); gap < 30*time.Second {
		y.t.Errorf("%s at %v: GET %v after the last one", d.name, start, gap)
	}
	for _, w := range b.waits {
		if w.id == id && start.Before(w.until) {
			y.t.Errorf("%s at %v: GET for id %s, which waits until %v", d.name, start, id, w.until)
		}
	}
	if !y.round {
		y.clock.add(time.Duration(d.random.IntN(5)) * time.Second)
	}
	end := y.clock.Now()
	b.lastGET = end
	response := &http.Response{StatusCode: 200, ProtoMajor: 2, ContentLength: -1, Header: http.Header{"Content-Type": {"text/plain"}}}
	var err error
	body := io.Reader(strings.NewReader(d.body))
	fault := "good policy"
	if d.random.Float64() < d.badWeb {
		fault = []string{"refused", "certificate", "status", "redirect", "type", "syntax", "empty", "too large", "broken off", "panic"}[d.random.IntN(10)]
	}
	d.served[fault]++
	switch fault {
	case "good policy":
		d.fetched(id, start, end)
	case "refused":
		err = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	case "certificate":
		err = x509.UnknownAuthorityError{}
	case "status":
		response.StatusCode = 404
	case "redirect":
		response.StatusCode = 302
	case "type":
		response.Header.Set("Content-Type", "text/html")
	case "syntax":
		body = strings.NewReader(strings.Replace(d.body, "mode", "mood", 1))
	case "empty":
		body = strings.NewReader("")
	case "too large":
		body = strings.NewReader(d.body + tooMuch)
	case "broken off":
		body = io.MultiReader(strings.NewReader(d.body), brokenReader{})
	}
	if fault != "good policy" {
		b.fail(id, end)
	}
	if fault == "panic" {
		panic(fault)
	}
	response.Body = io.NopCloser(body)
	return response, err
}

var tooMuch = strings.Repeat("x: y\n", 20000)

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// fetched notes a policy and the alarms that are due over it.
func (d *simDomain) fetched(id string, start, end time.Time) {
	b := &d.client
	if old := b.policy; b.held(end) && old.Mode != ModeNone { // less than that there is not
		if d.policy.Mode < old.Mode {
			d.want = append(d.want, EventDowngradeMode)
		}
		const day = 24 * time.Hour
		if d.policy.MaxAge < old.MaxAge/10 || d.policy.MaxAge < day && old.MaxAge >= day {
			d.want = append(d.want, EventDowngradeMaxAge)
		}
		if d.policy.Mode != ModeNone && !slices.ContainsFunc(old.MX, func(p string) bool { return slices.Contains(d.policy.MX, p) }) {
			d.want = append(d.want, EventDowngradePatterns)
		}
		if b.id == id && b.body != d.body {
			d.want = append(d.want, EventBodyChanged)
		}
	}
	b.policy, b.body, b.id, b.start, b.end, b.waits = d.policy, d.body, id, start, start.Add(d.policy.MaxAge), nil
	d.dropped = false
}

// faultyStore fails in one call of twenty.
type faultyStore struct {
	*textStore
	y *simYear
}

func (s faultyStore) Get(ctx context.Context, domain string) (*Entry, error) {
	d := s.y.domains[domain]
	switch d.random.IntN(100) {
	case 0, 1, 2, 3:
		return nil, errors.New("read failed")
	case 4:
		d.stored = belief{}
		s.mu.Lock()
		delete(s.texts, domain)
		s.mu.Unlock()
		return nil, ErrCorrupt
	}
	e, err := s.textStore.Get(ctx, domain)
	if err == nil {
		d.client.learn(d.stored)
	}
	return e, err
}

func (s faultyStore) Put(ctx context.Context, e *Entry, old Version) (Version, error) {
	d := s.y.domains[e.Domain()]
	fault := d.random.IntN(100)
	switch fault {
	case 0, 1:
		return 0, errors.New("write failed")
	case 2:
		return 0, ErrStoreConflict
	}
	version, err := s.textStore.Put(ctx, e, old)
	if err == nil {
		d.stored = d.client
		if fault == 3 {
			return 0, errors.New("written, and the answer lost")
		}
	}
	return version, err
}

func newYear(t *testing.T, domains int) *simYear {
	y := &simYear{
		world: &world{clock: newClock()}, t: t, random: rand.New(rand.NewPCG(8461, 1)), store: newStore(),
		domains: map[string]*simDomain{}, tally: map[string]int{},
	}
	for i := range domains {
		d := &simDomain{name: fmt.Sprintf("d%d.example", i), random: rand.New(rand.NewPCG(8461, uint64(i)+2)), served: map[string]int{}}
		d.next = y.clock.Now().Add(time.Duration(d.random.IntN(86400)) * time.Second)
		d.badDNS, d.badWeb = 0.1, 0.2
		d.publish()
		y.domains[d.name] = d
		y.order = append(y.order, d)
	}
	heap.Init(&y.order)
	y.restart()
	return y
}

// restart begins another process, which knows what the store tells it.
func (y *simYear) restart() {
	y.Client = &Client{Resolver: y, Clock: y.clock, Store: faultyStore{y.store, y}, Fetch: FetchConfig{Transport: roundTrip(y.serve)}, Trace: y.hear}
	for _, d := range y.domains {
		d.client = belief{}
		d.absent = true // the store may tell the process that the alarm has been given
	}
}

func (y *simYear) hear(e Event) {
	d := y.domains[e.Domain]
	switch e.Kind {
	case EventDowngradeMode, EventDowngradeMaxAge, EventDowngradePatterns, EventBodyChanged, EventRecordGone:
		if e.Old.Mode != ModeNone {
			d.got = append(d.got, e.Kind)
		}
	case EventPolicyExpired:
		d.expired = e.Time
	}
}

// checkEvents holds the events of a domain since the last call to what it did.
func (y *simYear) checkEvents(d *simDomain, why string) {
	for _, kind := range d.want {
		require.Contains(y.t, d.got, kind, "%s: not announced", why)
		y.tally[string(kind)]++
	}
	for _, kind := range d.got {
		// Whether a new process knows that the record had gone depends on the
		// store.
		if kind != EventRecordGone {
			require.Contains(y.t, d.want, kind, "%s: false alarm", why)
		}
	}
	d.want, d.got = nil, nil
}

// lookup is one delivery to a domain, held to what the Client must know.
func (y *simYear) lookup(d *simDomain) {
	now := y.clock.Now()
	why := fmt.Sprintf("%s at %v", d.name, now)
	before, dropped := d.client, d.dropped
	r, err := y.Lookup(context.Background(), d.name)
	y.idle()
	require.NoError(y.t, err, why)
	if before.policy != nil && before.end.After(before.start) && !now.Before(before.end) {
		require.False(y.t, d.expired.Before(before.end), "%s: the end is not announced", why)
		y.tally[string(EventPolicyExpired)]++
	}
	want := before // what is held serves, and is checked in the background
	if !before.held(now) || dropped && !before.policy.Equal(r.Policy) {
		if want = d.client; r.Source != SourceFresh && !want.held(y.clock.Now()) {
			want.policy = nil
		}
		require.True(y.t, r.Source != SourceFresh || !want.start.Before(now), "%s: fresh without a GET", why)
	}
	y.tally[r.Outcome.String()]++
	switch {
	case want.policy != nil:
		if r.Policy == nil && want.policy.Mode == ModeNone {
			break // gone with its record
		}
		require.NotNil(y.t, r.Policy, "%s: policy lost: %v", why, r.Outcome)
		require.True(y.t, want.policy.Equal(r.Policy), "%s: want %v, got %v", why, want.policy, r.Policy)
		require.True(y.t, bytes.Equal([]byte(want.body), r.Body), why)
		require.Equal(y.t, outcomeOf(want.policy.Mode), r.Outcome, why)
		require.Equal(y.t, want.id, r.ID, why)
		require.True(y.t, r.FetchedAt.Equal(want.start), "%s: validity counts from the GET", why)
		require.True(y.t, r.Expires.Equal(want.end), "%s: validity counts from the GET", why)
	case r.Policy != nil:
		require.True(y.t, dropped && r.Policy.Mode == ModeNone && now.Before(r.Expires), "%s: a policy out of nowhere", why)
	}
	y.checkEvents(d, why)
}

// TestYear lives through a year of deliveries to a thousand domains, while their
// operators change policies, DNS fails and is forged, policy hosts fail, the store
// fails, and the process is restarted. At every step: a valid policy is neither
// lost nor weakened but by another one that was fetched, its validity counts from
// the start of the last GET that succeeded, there is no GET within a back-off or
// within MinFetchGap, and every downgrade is announced.
func TestYear(t *testing.T) {
	y := newYear(t, yearDomains)
	end := y.clock.Now().Add(365 * 24 * time.Hour)
	refresh := y.clock.Now().Add(480 * time.Hour)
	for steps := 0; y.order[0].next.Before(end); steps++ {
		d := y.order[0]
		y.clock.add(max(0, d.next.Sub(y.clock.Now())))
		if now := y.clock.Now(); now.After(refresh) {
			y.round = true
			_, err := y.Refresh(t.Context())
			y.round = false
			if err != nil {
				y.tally["refresh saw the store fail"]++
			}
			for _, d := range y.domains {
				y.checkEvents(d, d.name+" in Refresh")
			}
			refresh = now.Add(480 * time.Hour)
		}
		if y.random.IntN(5*yearDomains) == 0 {
			y.restart()
			y.tally["restart"]++
		}
		switch d.random.IntN(20) {
		case 0:
			d.publish()
		case 1:
			d.badDNS, d.badWeb = d.random.Float64()/2, d.random.Float64()
		case 2:
			d.badDNS, d.badWeb = 0, 0
		}
		y.lookup(d)
		longest := 1200 // seconds to the next
		switch d.random.IntN(10) {
		case 0, 1, 2, 3:
			longest = 8 * 86400
		case 4:
			longest = 40 * 86400
		}
		d.next = y.clock.Now().Add(time.Duration(d.random.IntN(longest)) * time.Second)
		heap.Fix(&y.order, 0)
	}
	for _, d := range y.domains {
		for what, n := range d.served {
			y.tally[what] += n
		}
	}
	t.Log(y.tally)
	for _, what := range []string{
		"enforce", "testing", "none", "no-record", "multiple-records", "invalid-record", "dns-error", "fetch-error", "webpki", "policy-invalid", "backoff",
		"downgrade-mode", "downgrade-max-age", "downgrade-patterns", "body-changed", "record-gone", "policy-expired",
		"good record", "NXDOMAIN", "NODATA", "two records", "malformed record", "SERVFAIL", "forged id",
		"good policy", "refused", "certificate", "status", "redirect", "type", "syntax", "empty", "too large", "broken off", "panic", "restart",
	} {
		require.Positive(t, y.tally[what], "%s never happened", what)
	}
}

// simQueue is a heap of domains, the next lookup first.
type simQueue []*simDomain

func (q simQueue) Len() int           { return len(q) }
func (q simQueue) Less(i, j int) bool { return q[i].next.Before(q[j].next) }
func (q simQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *simQueue) Push(x any)        { *q = append(*q, x.(*simDomain)) }
func (q *simQueue) Pop() any          { d := (*q)[len(*q)-1]; *q = (*q)[:len(*q)-1]; return d }
