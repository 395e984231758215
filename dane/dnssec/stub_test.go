package dnssec

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// SERVFAIL is made of many things. Only a word on validation, or data that is there but not handed out, is bogus.
func TestServFail(t *testing.T) {
	for _, c := range []struct {
		name  string
		ede   int
		cd    canned
		want  Kind
		asked int
	}{
		{"EDE 6", 6, hostA, KindBogus, 1},
		{"EDE 12", 12, hostA, KindBogus, 1},
		{"EDE 22, data with CD", 22, hostA, KindBogus, 2},
		{"no EDE, data with CD", 0, hostA, KindBogus, 2},
		{"no EDE, denial with CD", 0, canned{rcode: dns.RcodeNameError}, KindBogus, 2},
		{"no EDE, SERVFAIL with CD", 0, canned{rcode: dns.RcodeServerFailure}, KindServFail, 2},
		{"EDE 23, REFUSED with CD", 23, canned{rcode: dns.RcodeRefused}, KindServFail, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := startServer(t, whenAsked(func(q *dns.Msg, tcp bool) []any {
				if q.CheckingDisabled {
					return []any{c.cd.reply(q)}
				}
				// AD and data next to SERVFAIL mean nothing.
				return []any{canned{rcode: dns.RcodeServerFailure, ede: c.ede, ad: true, answer: forged.answer}.reply(q)}
			}))
			e := lookupError(t, newTestStub(t, nil, server), "host.example", TypeA)
			require.Equal(t, c.want, e.Kind)
			if c.ede == 0 {
				require.Equal(t, noEDE, e.EDE)
			} else {
				require.Equal(t, c.ede, e.EDE)
			}
			require.Len(t, server.queries(), c.asked)
		})
	}
}

// The error of a lookup names the question and the hop.
func TestErrorAt(t *testing.T) {
	server := startServer(t, script{
		"www.example. A":  {answer: []string{"www.example. 30 IN CNAME host.example."}},
		"host.example. A": {rcode: dns.RcodeServerFailure, ede: 9},
	}.handle)
	e := lookupError(t, newTestStub(t, nil, server), "WWW.example", TypeA)
	require.Equal(t, "www.example.", e.Name)
	require.Equal(t, TypeA, e.Type)
	require.Equal(t, "host.example.", e.At)
	require.Equal(t, 9, e.EDE)
}

func TestStepSecurityOfStub(t *testing.T) {
	const www = "www.example. 30 IN CNAME host.unsigned."
	server := startServer(t, script{
		"www.example. A":     {answer: []string{www, "host.unsigned. 60 IN A 192.0.2.1"}},
		"www.example. CNAME": {ad: true, answer: []string{www}},
	}.handle)
	s := newTestStub(t, nil, server)
	a := lookup(t, s, "www.example", TypeA)
	require.Equal(t, Insecure, a.Security)
	require.Equal(t, Indeterminate, a.Chain[0].Security)
	security, err := StepSecurity(context.Background(), s, a.Chain[0])
	require.NoError(t, err)
	require.Equal(t, Secure, security, "a secure alias into an unsigned zone")
}

func TestStubCache(t *testing.T) {
	var clock atomic.Int64
	now := func() time.Time { return time.Unix(1_700_000_000, clock.Load()) }
	advance := func(d time.Duration) { clock.Add(int64(d)) }
	server := startServer(t, script{
		"host.example. A":  hostA,
		"brief.example. A": {ad: true, answer: []string{"brief.example. 0 IN A 192.0.2.1"}},
		"long.example. A":  {ad: true, answer: []string{"long.example. 1000000 IN A 192.0.2.1"}},
		"fail.example. A":  {rcode: dns.RcodeServerFailure, ede: 6},
		"nosoa.example. A": {rcode: dns.RcodeNameError, ad: true},
	}.handle)
	asked := 0
	expect := func(n int, why string) {
		t.Helper()
		asked += n
		require.Len(t, server.queries(), asked, why)
	}
	var events []Event
	s := newTestStub(t, func(o *StubOptions) {
		o.Now = now
		o.Trace = func(e Event) { events = append(events, e) }
	}, server)
	first := lookup(t, s, "host.example", TypeA)
	expect(1, "cold")
	require.Same(t, first, lookup(t, s, "HOST.example.", TypeA))
	expect(0, "any spelling of the name")
	require.Equal(t, Event{Kind: EventCache, Question: Question{"host.example.", TypeA}, Security: Secure}, events[len(events)-1])
	advance(60*time.Second - 1)
	lookup(t, s, "host.example", TypeA)
	expect(0, "until the last moment")
	advance(1)
	require.EqualValues(t, 60, lookup(t, s, "host.example", TypeA).Records[0].TTL)
	expect(1, "nothing stale is served")

	lookup(t, s, "brief.example", TypeA)
	lookup(t, s, "brief.example", TypeA)
	expect(2, "TTL 0 is not kept")

	lookup(t, s, "nosoa.example", TypeA)
	lookup(t, s, "nosoa.example", TypeA)
	expect(2, "a denial without SOA is not kept")

	lookup(t, s, "none.example", TypeA)
	lookup(t, s, "none.example", TypeA)
	expect(1, "a denial is kept")
	lookup(t, s, "none.example", TypeMX)
	lookup(t, s, "a.none.example", TypeA)
	expect(2, "for this name and type alone")

	lookupError(t, s, "fail.example", TypeA)
	require.Equal(t, KindBogus, lookupError(t, s, "fail.example", TypeA).Kind)
	expect(1, "a failure is kept")
	require.ErrorIs(t, events[len(events)-1].Err, KindBogus)
	advance(defaultFailTTL)
	lookupError(t, s, "fail.example", TypeA)
	expect(1, "for a short time")

	lookup(t, s, "long.example", TypeA)
	advance(defaultMaxTTL)
	require.NoError(t, s.Check(context.Background()))
	lookup(t, s, "long.example", TypeA)
	expect(2, "no longer than MaxTTL")

	s = newTestStub(t, func(o *StubOptions) { o.Cache.Disable = true }, server)
	lookup(t, s, "host.example", TypeA)
	lookup(t, s, "host.example", TypeA)
	expect(2, "Disable")
	s = newTestStub(t, func(o *StubOptions) { o.Cache.FailTTL = -1 }, server)
	lookupError(t, s, "fail.example", TypeA)
	lookupError(t, s, "fail.example", TypeA)
	expect(2, "negative FailTTL")
}

func TestBadNames(t *testing.T) {
	server := startServer(t, script{}.handle)
	s := newTestStub(t, nil, server)
	require.Equal(t, KindBadName, lookupError(t, s, "a..example", TypeA).Kind)
	require.Equal(t, KindBadName, lookupError(t, s, "example", 255).Kind)
	require.Empty(t, server.seen)
	_, err := NewStub(StubOptions{ProbeBogus: "a..b", Common: Common{Upstream: Upstream{Servers: []netip.AddrPort{server.addr}}}})
	require.ErrorIs(t, err, KindBadName)
}

// An end of the context ends the lookup at once, for its caller alone, and leaves nothing behind.
func TestCancel(t *testing.T) {
	noLeaks(t)
	asked := make(chan struct{}, 10)
	release := make(chan struct{})
	server := startServer(t, whenAsked(func(q *dns.Msg, tcp bool) []any {
		asked <- struct{}{}
		<-release
		return []any{hostA.reply(q)}
	}))
	s := newTestStub(t, nil, server)
	require.NoError(t, s.Check(context.Background()))

	type result struct {
		a   *Answer
		err error
	}
	start := func(ctx context.Context) chan result {
		c := make(chan result, 1)
		go func() {
			a, err := s.Lookup(ctx, "host.example", TypeA)
			c <- result{a, err}
		}()
		return c
	}
	callers := func() int {
		s.lookups.mu.Lock()
		defer s.lookups.mu.Unlock()
		if f := s.lookups.flying[Question{"host.example.", TypeA}]; f != nil {
			return f.callers
		}
		return 0
	}
	impatient, giveUp := context.WithCancel(context.Background())
	first := start(impatient)
	<-asked
	second := start(context.Background())
	require.Eventually(t, func() bool { return callers() == 2 }, 10*time.Second, time.Millisecond)
	giveUp()
	got := <-first
	require.ErrorIs(t, got.err, KindCanceled)
	require.ErrorIs(t, got.err, context.Canceled)
	var e *Error
	require.ErrorAs(t, got.err, &e)
	require.False(t, e.Timeout())
	close(release)
	got = <-second
	require.NoError(t, got.err, "the other caller is not disturbed")
	require.Equal(t, Secure, got.a.Security)
	require.Len(t, server.queries(), 1, "one exchange for both")

	_, err := s.Lookup(impatient, "host.example", TypeA)
	require.ErrorIs(t, err, context.Canceled, "even if it is in the cache")
	require.ErrorIs(t, s.Check(impatient), KindCanceled)
}

// When all callers are gone, the work stops: the socket closes long before the try's timeout, and the failure is not
// kept for those who come later.
func TestCancelAll(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		t.Run(fmt.Sprintf("tcp=%v", tcp), func(t *testing.T) {
			noLeaks(t)
			asked := make(chan struct{}, 10)
			verdicts := make(chan Event, 10)
			stopped := make(chan struct{})
			release := sync.OnceFunc(func() { close(stopped) })
			defer release()
			var answers atomic.Bool
			server := startServer(t, whenAsked(func(q *dns.Msg, tcp bool) []any {
				if answers.Load() {
					return []any{hostA.reply(q)}
				}
				asked <- struct{}{}
				if tcp {
					<-stopped // the server hangs up after this, which must not be what ends the work
				}
				return nil
			}))
			s := newTestStub(t, func(o *StubOptions) {
				o.Upstream.TCPOnly = tcp
				o.Timeout, o.Upstream.Timeout = time.Hour, time.Hour // nothing ends by itself
				o.Trace = func(e Event) {
					if e.Kind == EventVerdict {
						verdicts <- e
					}
				}
			}, server)
			require.NoError(t, s.Check(context.Background()))
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error)
			go func() {
				_, err := s.Lookup(ctx, "host.example", TypeA)
				done <- err
			}()
			<-asked
			cancel()
			require.ErrorIs(t, <-done, KindCanceled)
			require.ErrorIs(t, (<-verdicts).Err, KindCanceled, "the work has stopped")
			release()
			answers.Store(true)
			lookup(t, s, "host.example", TypeA)
		})
	}
}

// Without a network: nothing is left waiting when the bubble ends, and the times are exact.
func TestTimes(t *testing.T) {
	stub := func(o StubOptions) *Stub {
		o.Trust = TrustAlways
		o.Upstream.Servers = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("192.0.2.2:53")}
		o.Upstream.Exchange = func(ctx context.Context, _ netip.AddrPort, query []byte) ([]byte, error) {
			q := new(dns.Msg)
			if err := q.Unpack(query); err != nil {
				return nil, err
			}
			if q.Question[0].Qtype == dns.TypeDNSKEY {
				return rootKeys.reply(q).Pack()
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		s, err := NewStub(o)
		require.NoError(t, err)
		return s
	}
	for _, c := range []struct {
		name    string
		options StubOptions
		ctx     time.Duration // 0 = none
		want    time.Duration
		kind    Kind
	}{
		{"defaults", StubOptions{}, 0, 2 * 2 * defaultTryTimeout, KindTimeout},
		{"tries", StubOptions{Common: Common{Upstream: Upstream{Tries: 1, Timeout: time.Second}}}, 0, 2 * time.Second, KindTimeout},
		{"whole lookup", StubOptions{Common: Common{Timeout: 3 * time.Second}}, 0, 3 * time.Second, KindTimeout},
		{"default for the whole", StubOptions{Common: Common{Upstream: Upstream{Tries: 9}}}, 0, defaultLookupTimeout, KindTimeout},
		{"nearer deadline of the caller", StubOptions{}, time.Second, time.Second, KindCanceled},
		{"farther deadline of the caller", StubOptions{}, time.Minute, 8 * time.Second, KindTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := stub(c.options)
				ctx := context.Background()
				if c.ctx > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.ctx)
					defer cancel()
				}
				start := time.Now()
				_, err := s.Lookup(ctx, "host.example", TypeA)
				require.Equal(t, c.want, time.Since(start))
				require.ErrorIs(t, err, c.kind)
				var e *Error
				require.ErrorAs(t, err, &e)
				require.True(t, e.Timeout())
			})
		})
	}
}

// Many callers, few names, a cache too small for them.
func TestConcurrent(t *testing.T) {
	noLeaks(t)
	answers := script{}
	for i := range 20 {
		name := fmt.Sprintf("h%d.example.", i)
		answers[name+" A"] = canned{ad: i%2 == 0, answer: []string{name + " 60 IN A 192.0.2." + fmt.Sprint(i)}}
	}
	server := startServer(t, answers.handle)
	s := newTestStub(t, func(o *StubOptions) { o.Cache.Entries = 5; o.Trace = func(Event) {} }, server)
	var wg sync.WaitGroup
	for g := range 100 {
		wg.Go(func() {
			for n := range 20 {
				i := (g + n*7) % 21 // one of them does not exist
				a, err := s.Lookup(context.Background(), fmt.Sprintf("H%d.example", i), TypeA)
				if err != nil {
					t.Error(err)
					return
				}
				switch {
				case i == 20 && a.Outcome == NXDomain:
				case i < 20 && a.Records[0].Data[3] == byte(i) && (a.Security == Secure) == (i%2 == 0):
				default:
					t.Errorf("h%d: %+v", i, a)
				}
			}
			if g%10 == 0 {
				if err := s.Check(context.Background()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// Identical cold lookups at the same time cost one query.
func TestSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		s := newTestStub(t, func(o *StubOptions) {
			o.Upstream.Servers = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}
			o.Upstream.Exchange = func(ctx context.Context, _ netip.AddrPort, query []byte) ([]byte, error) {
				asked.Add(1)
				time.Sleep(time.Second) // of the bubble: all callers are waiting by then
				q := new(dns.Msg)
				if err := q.Unpack(query); err != nil {
					return nil, err
				}
				return script{"host.example. A": hostA}.handle(q, false)[0].(*dns.Msg).Pack()
			}
		})
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				a, err := s.Lookup(context.Background(), "host.example", TypeA)
				if err != nil || a.Security != Secure {
					t.Error(a, err)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 2, asked.Load(), "the self-check and the lookup")
	})
}

func TestTrace(t *testing.T) {
	server := startServer(t, script{
		"host.example. A": hostA,
		"loop.example. A": {answer: []string{"loop.example. 60 IN CNAME loop.example."}},
	}.handle)
	var mu sync.Mutex
	var events []Event
	s := newTestStub(t, func(o *StubOptions) {
		o.Trace = func(e Event) {
			mu.Lock()
			defer mu.Unlock()
			e.Elapsed = 0
			events = append(events, e)
		}
	}, server)
	q := Question{"host.example.", TypeA}
	lookup(t, s, "host.example", TypeA)
	lookup(t, s, "host.example", TypeA)
	root := Question{".", TypeDNSKEY}
	require.Equal(t, []Event{
		{Kind: EventQuery, Question: root, Server: server.addr},
		{Kind: EventCheck, Question: root, Server: server.addr},
		{Kind: EventTrusted},
		{Kind: EventQuery, Question: q, Server: server.addr},
		{Kind: EventVerdict, Question: q, Security: Secure},
		{Kind: EventCache, Question: q, Security: Secure},
	}, events)
	lookupError(t, s, "loop.example", TypeA)
	last := events[len(events)-1]
	require.Equal(t, EventLimit, last.Kind)
	require.ErrorIs(t, last.Err, KindLoop)
}
