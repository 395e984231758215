package tlsrpt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/smtp"
	"net/textproto"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
)

// postbox is the Mail function of a Reporter.
type postbox struct {
	mu   sync.Mutex
	got  []*Message
	fail error
}

func (p *postbox) mail(_ context.Context, m *Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		return p.fail
	}
	p.got = append(p.got, m)
	return nil
}

func (p *postbox) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.got)
}

// fill counts a session for each domain on a day.
func fill(t testing.TB, store Store, d string, names ...string) {
	t.Helper()
	a := newAggregator(t, store, AggregatorOptions{Now: newClock(d + "T12:00:00Z").Now})
	for _, name := range names {
		a.Collect(session(name, PolicyResult{Policy: NewNoPolicy(name)}))
	}
	require.NoError(t, a.Flush(t.Context()))
}

func newReporter(store Store, resolver Resolver, c *clock) (*Reporter, *postbox, *events) {
	box, seen := new(postbox), new(events)
	return &Reporter{Store: store, Resolver: resolver, Organization: "Sender", Contact: "tls@sender.example", Mail: box.mail,
		HTTP: &HTTPSender{}, Now: c.Now, Trace: seen.trace}, box, seen
}

func TestReporterNeeds(t *testing.T) {
	store, c := new(Memory), newClock("2026-03-02T12:00:00Z")
	for why, change := range map[string]func(*Reporter){
		"store": func(r *Reporter) { r.Store = nil }, "resolver": func(r *Reporter) { r.Resolver = nil },
		"organization": func(r *Reporter) { r.Organization = "" }, "contact": func(r *Reporter) { r.Contact = "nobody" },
	} {
		r, _, _ := newReporter(store, new(dns), c)
		change(r)
		require.Error(t, r.Run(t.Context()), why)
		require.Error(t, r.Deliver(t.Context(), Delivery{}), why)
	}
}

// TestDue: nothing before the day is closed, everything within four hours, spread.
func TestDue(t *testing.T) {
	store, c := new(Memory), newClock("2026-03-02T00:00:00Z")
	var names []string
	for i := range 400 {
		names = append(names, fmt.Sprintf("r%d.example", i))
	}
	fill(t, store, "2026-03-01", names...)
	fill(t, store, "2026-03-02", "today.example")
	fill(t, store, "2026-02-20", "old.example")
	r, _, _ := newReporter(store, new(dns), c)
	due := func(when string) int {
		list, err := r.Due(t.Context(), newClock(when).now)
		require.NoError(t, err)
		return len(list)
	}
	require.Zero(t, due("2026-03-02T00:00:00Z"))
	require.Zero(t, due("2026-03-02T00:19:59Z"))
	require.InDelta(t, 100, due("2026-03-02T01:20:00Z"), 40)
	require.InDelta(t, 200, due("2026-03-02T02:20:00Z"), 50)
	require.Equal(t, 400, due("2026-03-02T04:20:00Z"))
	require.Equal(t, 401, due("2026-03-03T04:20:00Z"))
	require.Zero(t, due("2026-03-20T00:00:00Z"), "too old")
	require.Equal(t, SendAt(day("2026-03-01"), "a.example", "s.example"), SendAt(day("2026-03-01"), "a.example", "s.example"))
	require.NotEqual(t, SendAt(day("2026-03-01"), "a.example", "s.example").Sub(day("2026-03-01").End()), SendAt(day("2026-03-02"), "a.example", "s.example").Sub(day("2026-03-02").End()), "not at the same hour every day")
}

// TestDeliver: a report to a mail and an https target, through a real server each.
func TestDeliver(t *testing.T) {
	b := &backend{got: make(chan []byte, 1)}
	address := mailServer(t, b)
	posted := make(chan *Report, 1)
	target, sender := receiverHost(t, "reports.r.example", &Receiver{Accept: func(_ context.Context, r *Report, warnings []Warning) error {
		if len(warnings) > 0 {
			return errors.New("warnings")
		}
		posted <- r
		return nil
	}})
	store, c := new(Memory), newClock("2026-03-02T12:00:00Z")
	fill(t, store, "2026-03-01", "r.example")
	r, _, seen := newReporter(store, &dns{records: map[string][]string{"r.example": {"v=TLSRPTv1;rua=mailto:in@r.example,ftp:x," + target.URI}}}, c)
	r.HTTP = sender
	r.Mail = func(_ context.Context, m *Message) error {
		return smtp.SendMail(address, nil, m.From, []string{m.To}, m.Bytes())
	}
	due, err := r.Due(t.Context(), c.Now())
	require.NoError(t, err)
	require.Equal(t, []Delivery{{day("2026-03-01"), "r.example"}}, due)
	require.NoError(t, r.Deliver(t.Context(), due[0]))
	message, err := ParseMessage(bytes.NewReader(<-b.got), Limits{})
	require.NoError(t, err)
	require.Empty(t, message.Warnings)
	report := <-posted
	require.Equal(t, report, message.Report)
	require.Equal(t, "Sender", report.Organization)
	require.Equal(t, day("2026-03-01").Begin(), report.Begin)
	require.Equal(t, ReportID(day("2026-03-01"), "r.example", "sender.example"), report.ID)
	require.Equal(t, []PolicyReport{{Policy: PolicyInfo{PolicyNoPolicyFound, "r.example", []string{}, []string{}}, Successes: 1, Details: []FailureDetail{}}}, report.Policies)
	require.Equal(t, "r.example", message.Domain)
	require.Equal(t, map[EventKind]int{EventSent: 2}, seen.kinds())
	due, err = r.Due(t.Context(), c.Now())
	require.NoError(t, err)
	require.Empty(t, due)
	require.NoError(t, r.Deliver(t.Context(), Delivery{day("2026-03-01"), "r.example"}), "done: nothing")
	other, _, _ := newReporter(store, r.Resolver, c)
	due, err = other.Due(t.Context(), c.Now())
	require.NoError(t, err)
	require.Empty(t, due, "done for every node")
}

func TestRetries(t *testing.T) {
	temporary := &textproto.Error{Code: 451, Msg: "later"}
	for _, tc := range []struct {
		why      string
		err      error
		attempts int // until it is given up
	}{
		{"temporary", temporary, 7}, // at 0, 15 m, 45 m, 105 m, 225 m, 465 m, 945 m; then a day is over
		{"permanent", &textproto.Error{Code: 550}, 1},
		{"permanent, of go-smtp", fmt.Errorf("%w: %w", ErrPermanent, &gosmtp.SMTPError{Code: 550}), 1},
		{"unknown", errors.New("connection lost"), 7},
	} {
		t.Run(tc.why, func(t *testing.T) {
			store, c := new(Memory), newClock("2026-03-02T06:00:00Z")
			fill(t, store, "2026-03-01", "r.example")
			r, box, seen := newReporter(store, &dns{records: map[string][]string{"r.example": {"v=TLSRPTv1;rua=mailto:in@r.example"}}}, c)
			box.fail = tc.err
			attempts := 0
			for range 3 * 24 * 12 {
				due, err := r.Due(t.Context(), c.Now())
				require.NoError(t, err)
				for _, d := range due {
					attempts++
					require.NoError(t, r.Deliver(t.Context(), d))
				}
				c.now = c.now.Add(5 * time.Minute)
			}
			require.Equal(t, tc.attempts, attempts)
			require.Equal(t, map[EventKind]int{EventSendFailed: attempts, EventGivenUp: 1}, seen.kinds())
			p, err := store.Progress(t.Context(), day("2026-03-01"), "r.example")
			require.NoError(t, err)
			require.True(t, p.Done)
			require.NotEmpty(t, p.Targets["mailto:in@r.example"].Error)
		})
	}
	// A target that failed at first gets it later, and none gets it twice.
	store, c := new(Memory), newClock("2026-03-02T06:00:00Z")
	fill(t, store, "2026-03-01", "r.example")
	resolver := &dns{records: map[string][]string{"r.example": {"v=TLSRPTv1;rua=mailto:in@r.example"}}, fail: map[string]bool{"r.example": true}}
	r, box, _ := newReporter(store, resolver, c)
	d := Delivery{day("2026-03-01"), "r.example"}
	require.NoError(t, r.Deliver(t.Context(), d), "DNS is away")
	require.NoError(t, r.Deliver(t.Context(), d), "not yet again")
	resolver.fail = nil
	c.now = c.now.Add(retryFirst)
	require.NoError(t, r.Deliver(t.Context(), d))
	require.NoError(t, r.Deliver(t.Context(), d))
	require.Equal(t, 1, box.count())
	require.Equal(t, 2, resolver.asked["r.example"])
}

func TestWhatIsNotSent(t *testing.T) {
	for _, tc := range []struct {
		why    string
		txt    []string
		change func(*Reporter)
		want   map[EventKind]int
	}{
		{"no record", nil, nil, map[EventKind]int{EventNoRecord: 1}},
		{"two records", []string{"v=TLSRPTv1;rua=mailto:a@b.example", "v=TLSRPTv1;rua=mailto:a@b.example"}, nil, map[EventKind]int{EventNoRecord: 1}},
		{"no failures", []string{"v=TLSRPTv1;rua=mailto:a@b.example"}, func(r *Reporter) { r.FailuresOnly = true }, map[EventKind]int{}},
		{"other schemes", []string{"v=TLSRPTv1;rua=ftp:x"}, nil, map[EventKind]int{EventGivenUp: 1}},
		{"no mail", []string{"v=TLSRPTv1;rua=mailto:a@b.example"}, func(r *Reporter) { r.Mail = nil }, map[EventKind]int{EventSendFailed: 1, EventGivenUp: 1}},
		{"inside address", []string{"v=TLSRPTv1;rua=https://127.0.0.1/"}, nil, map[EventKind]int{EventSendFailed: 1}},
	} {
		t.Run(tc.why, func(t *testing.T) {
			store, c := new(Memory), newClock("2026-03-02T06:00:00Z")
			fill(t, store, "2026-03-01", "r.example")
			r, box, seen := newReporter(store, &dns{records: map[string][]string{"r.example": tc.txt}}, c)
			if tc.change != nil {
				tc.change(r)
			}
			require.NoError(t, r.Deliver(t.Context(), Delivery{day("2026-03-01"), "r.example"}))
			require.Equal(t, tc.want, seen.kinds())
			require.Zero(t, box.count())
		})
	}
}

func TestFirstTarget(t *testing.T) {
	store, c := new(Memory), newClock("2026-03-02T06:00:00Z")
	fill(t, store, "2026-03-01", "r.example")
	r, box, seen := newReporter(store, &dns{records: map[string][]string{"r.example": {"v=TLSRPTv1;rua=https://127.0.0.1/,mailto:a@r.example,mailto:b@r.example"}}}, c)
	r.FirstTarget = true
	require.NoError(t, r.Deliver(t.Context(), Delivery{day("2026-03-01"), "r.example"}))
	require.Equal(t, 1, box.count())
	require.Equal(t, map[EventKind]int{EventSendFailed: 1, EventSent: 1}, seen.kinds())
}

// TestBaseDomain: the report of a TLSA base domain is left out if all of it goes to
// the same targets in the reports of the recipient domains.
func TestBaseDomain(t *testing.T) {
	same, other := "v=TLSRPTv1;rua=mailto:a@b.example, mailto:c@d.example", "v=TLSRPTv1;rua=mailto:x@y.example"
	swapped := "v=TLSRPTv1; rua=mailto:c@d.example,mailto:a@b.example;"
	for _, tc := range []struct {
		why     string
		records map[string][]string
		direct  bool
		sent    bool
	}{
		{"the same", map[string][]string{"mx.example": {same}, "r.example": {swapped}, "s.example": {same}}, false, false},
		{"one is different", map[string][]string{"mx.example": {same}, "r.example": {same}, "s.example": {other}}, false, true},
		{"one has none", map[string][]string{"mx.example": {same}, "r.example": {same}}, false, true},
		{"recipients of its own", map[string][]string{"mx.example": {same}, "r.example": {same}, "s.example": {same}}, true, true},
	} {
		t.Run(tc.why, func(t *testing.T) {
			store, c := new(Memory), newClock("2026-03-02T06:00:00Z")
			a := newAggregator(t, store, AggregatorOptions{Now: newClock("2026-03-01T12:00:00Z").Now})
			tlsa := NewTLSAPolicy("mx.example", "mx.example", nil)
			a.Collect(session("r.example", PolicyResult{Policy: tlsa}))
			a.Collect(session("s.example", PolicyResult{Policy: tlsa}))
			if tc.direct {
				a.Collect(session("mx.example", PolicyResult{Policy: tlsa}))
			}
			require.NoError(t, a.Flush(t.Context()))
			r, box, seen := newReporter(store, &dns{records: tc.records}, c)
			require.NoError(t, r.Deliver(t.Context(), Delivery{day("2026-03-01"), "mx.example"}))
			require.Equal(t, tc.sent, box.count() > 0)
			require.Equal(t, !tc.sent, seen.kinds()[EventDuplicate] == 1)
		})
	}
}

// TestFleetSendsOnce: three nodes through two days, each with its own clock, and
// each report goes once.
func TestFleetSendsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(Memory)
		records := make(map[string][]string)
		for i := range 30 {
			records[fmt.Sprintf("r%d.example", i)] = []string{"v=TLSRPTv1;rua=mailto:in@r.example"}
		}
		resolver := &dns{records: records}
		start := time.Now() // that of synctest: midnight UTC
		ctx, cancel := context.WithCancel(t.Context())
		box := new(postbox)
		var all sync.WaitGroup
		sessions := 0
		var nodes []*Aggregator
		for range 3 {
			a := newAggregator(t, store, AggregatorOptions{Resolver: resolver, Now: time.Now})
			r := &Reporter{Store: store, Resolver: resolver, Organization: "S", Contact: "a@sender.example", Mail: box.mail}
			nodes = append(nodes, a)
			all.Go(func() { require.NoError(t, a.Run(ctx)) })
			all.Go(func() { require.ErrorIs(t, r.Run(ctx), context.Canceled) })
		}
		for time.Since(start) < 48*time.Hour {
			for name := range records {
				for _, a := range nodes {
					s := session(name, PolicyResult{Policy: NewNoPolicy(name)})
					s.Time = time.Now()
					a.Collect(s)
					sessions++
				}
			}
			time.Sleep(3 * time.Hour)
		}
		time.Sleep(6 * time.Hour)
		cancel()
		all.Wait()
		ids := make(map[string]int)
		total := uint64(0)
		for _, m := range box.got {
			parsed, err := ParseMessage(bytes.NewReader(m.Bytes()), Limits{})
			require.NoError(t, err)
			ids[parsed.Report.ID]++
			n, _ := parsed.Report.Totals()
			total += n
		}
		require.Len(t, ids, 60, "30 domains, two days")
		require.Len(t, box.got, 60)
		require.Equal(t, uint64(sessions), total)
	})
}

// TestLease: whoever holds it sends, nobody else.
func TestLease(t *testing.T) {
	store, c := new(Memory), newClock("2026-03-02T06:00:00Z")
	fill(t, store, "2026-03-01", "r.example")
	resolver := &dns{records: map[string][]string{"r.example": {"v=TLSRPTv1;rua=mailto:a@r.example"}}}
	r, box, _ := newReporter(store, resolver, c)
	d := Delivery{day("2026-03-01"), "r.example"}
	release, held, err := store.Lease(t.Context(), d.Day, d.Domain, time.Hour)
	require.NoError(t, err)
	require.True(t, held)
	require.NoError(t, r.Deliver(t.Context(), d))
	require.Zero(t, box.count())
	release()
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if err := r.Deliver(t.Context(), d); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.Equal(t, 1, box.count())
}

// TestOnePerHost: two reports to one host go one after the other.
func TestOnePerHost(t *testing.T) {
	var mu sync.Mutex
	busy, most := 0, 0
	target, sender := receiverHost(t, "reports.example", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		busy++
		most = max(most, busy)
		mu.Unlock()
		for range 1000 { // time in which another could come
			runtime.Gosched()
		}
		mu.Lock()
		busy--
		mu.Unlock()
	}))
	store, c := new(Memory), newClock("2026-03-02T06:00:00Z")
	records := make(map[string][]string)
	for i := range 8 {
		name := fmt.Sprintf("r%d.example", i)
		records[name] = []string{"v=TLSRPTv1;rua=" + target.URI}
		fill(t, store, "2026-03-01", name)
	}
	r, _, seen := newReporter(store, &dns{records: records}, c)
	r.HTTP = sender
	var all sync.WaitGroup
	for name := range records {
		all.Go(func() {
			if err := r.Deliver(t.Context(), Delivery{day("2026-03-01"), name}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.Equal(t, 8, seen.kinds()[EventSent])
	require.Equal(t, 1, most)
	require.Empty(t, r.hosts)
}

func TestProgressText(t *testing.T) {
	p := Progress{Attempts: 3, First: day("2026-03-01").Begin(), Targets: map[string]TargetState{"https://a.example/": {Ended: true, Error: "x"}}}
	text, err := p.MarshalText()
	require.NoError(t, err)
	var again Progress
	require.NoError(t, again.UnmarshalText(text))
	require.Equal(t, p, again)
	for i := range text {
		bad := bytes.Clone(text)
		bad[i] ^= 1
		err := new(Progress).UnmarshalText(bad)
		require.True(t, errors.Is(err, ErrCorrupt) || errors.Is(err, ErrSchema), "octet %d", i)
		require.Error(t, new(Progress).UnmarshalText(text[:i]))
	}
	_, err = Progress{Targets: map[string]TargetState{"x": {Error: strings.Repeat("x", maxProgress)}}}.MarshalText()
	require.Error(t, err)
}

// FuzzSnapshot: what is read is what was written, and damage is seen.
func FuzzSnapshot(f *testing.F) {
	s := &Snapshot{Day: 1, Domain: "r.example", Writer: "w", Direct: true, Sources: []string{"a.example"}, Policies: []PolicyCount{{
		Policy: NewSTSPolicy("r.example", []byte("version: STSv1"), nil), Successes: 1, Failures: 2, Details: map[DetailKey]uint64{{Result: ValidationFailure, Reason: "x"}: 2}}}}
	text, err := s.MarshalText()
	require.NoError(f, err)
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		var s Snapshot
		if err := s.UnmarshalText(text); err != nil {
			require.True(t, errors.Is(err, ErrCorrupt) || errors.Is(err, ErrSchema), "%v", err)
			require.Empty(t, s)
			return
		}
		var tally Tally
		require.NoError(t, tally.Add(&s))
		require.NoError(t, tally.Add(&s))
		again, err := tally.Snapshots()[0].MarshalText()
		require.NoError(t, err)
		require.NoError(t, s.UnmarshalText(again))
	})
}

// TestMerge: the order, the detours and the repetitions do not matter.
func TestMerge(t *testing.T) {
	policy := func(i int) *PolicyInfo { return NewNoPolicy(fmt.Sprintf("p%d.example", i)) }
	var list []*Snapshot
	for w := range 3 {
		for n := range uint64(4) {
			list = append(list, &Snapshot{Day: 1, Domain: "r.example", Writer: fmt.Sprint("w", w), Sources: []string{fmt.Sprintf("s%d.example", int(n)+10*w)}, Direct: n > 2,
				Policies: []PolicyCount{{policy(w % 2), n, 2 * n, map[DetailKey]uint64{{Result: TLSAInvalid, Reason: fmt.Sprint(n)}: n, {Result: DANERequired}: 2 * n}}}})
		}
	}
	texts := func(t0 *Tally) (out []string) {
		for _, s := range t0.Snapshots() {
			text, err := s.MarshalText()
			require.NoError(t, err)
			out = append(out, string(text))
		}
		return out
	}
	build := func(order []*Snapshot) *Tally {
		tally := new(Tally)
		for _, s := range order {
			require.NoError(t, tally.Add(s))
		}
		return tally
	}
	want := build(list)
	reversed := slices.Clone(list)
	slices.Reverse(reversed)
	require.Equal(t, texts(want), texts(build(reversed)), "commutative")
	require.Equal(t, texts(want), texts(build(append(reversed, list...))), "idempotent")
	for cut := range list {
		left, right := build(list[:cut]), build(list[cut:])
		a, b := new(Tally), new(Tally)
		require.NoError(t, errors.Join(a.Merge(left), a.Merge(right), a.Merge(left)))
		require.NoError(t, errors.Join(b.Merge(right), b.Merge(left)))
		require.Equal(t, texts(want), texts(a), "associative")
		require.Equal(t, texts(want), texts(b))
	}
	require.Equal(t, want.Policies(), build(reversed).Policies())
	require.Error(t, want.Add(&Snapshot{Day: 2, Domain: "r.example", Writer: "w"}))
	require.Error(t, want.Add(&Snapshot{Day: 1, Domain: "s.example", Writer: "w"}))
}
