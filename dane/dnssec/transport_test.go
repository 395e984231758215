package dnssec

import (
	"context"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// rcode answers everything but self-checks with an error code.
func rcode(code, ede int) handler {
	return whenAsked(func(q *dns.Msg, tcp bool) []any { return []any{canned{rcode: code, ede: ede}.reply(q)} })
}

func silent(q *dns.Msg, tcp bool) []any { return nil }

// A server that has no answer is not the last word: the next one is asked.
func TestFailover(t *testing.T) {
	for _, c := range []struct {
		name string
		h    handler
		want Kind // if there is no other server
	}{
		{"SERVFAIL", rcode(dns.RcodeServerFailure, 0), KindServFail},
		{"SERVFAIL, bogus", rcode(dns.RcodeServerFailure, 6), KindBogus},
		{"REFUSED", rcode(dns.RcodeRefused, 0), KindRefused},
		{"NOTIMP", rcode(dns.RcodeNotImplemented, 0), KindRefused},
		{"FORMERR", rcode(dns.RcodeFormatError, 0), KindRefused},
		{"YXDOMAIN", rcode(dns.RcodeYXDomain, 0), KindRefused},
		{"BADVERS", rcode(dns.RcodeBadVers, 0), KindRefused},
		{"referral", whenAsked(func(q *dns.Msg, tcp bool) []any {
			return []any{canned{ns: []string{"example. 60 IN NS ns.example."}, edit: func(m *dns.Msg) { m.RecursionAvailable = false }}.reply(q)}
		}), KindRefused},
		{"silence", whenAsked(silent), KindTimeout},
		{"rubbish", whenAsked(func(q *dns.Msg, tcp bool) []any { b := packed(t, hostA.reply(q)); return []any{b[:len(b)-1]} }), KindMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := startServer(t, c.h)
			good := startServer(t, script{"host.example. A": hostA}.handle)
			s := newTestStub(t, nil, bad, good)
			require.NoError(t, s.Check(context.Background()))
			s.source.list.timeout = brief
			if c.want != KindTimeout && c.want != KindMalformed {
				s.source.list.timeout = patient
			}
			require.Equal(t, Secure, lookup(t, s, "host.example", TypeA).Security)

			s = newTestStub(t, nil, bad)
			require.NoError(t, s.Check(context.Background()))
			s.source.list.timeout = brief
			if c.want != KindTimeout && c.want != KindMalformed {
				s.source.list.timeout = patient
			}
			require.Equal(t, c.want, lookupError(t, s, "host.example", TypeA).Kind)
		})
	}
}

// When all servers fail, the error is that of the server that had most to say, wherever it stands in the list.
func TestMostTellingError(t *testing.T) {
	bogus := startServer(t, rcode(dns.RcodeServerFailure, 7))
	fail := startServer(t, rcode(dns.RcodeServerFailure, 0))
	refused := startServer(t, rcode(dns.RcodeRefused, 0))
	for _, servers := range [][]*testServer{{bogus, fail, refused}, {refused, fail, bogus}, {fail, bogus, refused}} {
		e := lookupError(t, newTestStub(t, nil, servers...), "host.example", TypeA)
		require.Equal(t, KindBogus, e.Kind)
		require.Equal(t, 7, e.EDE)
		require.Equal(t, bogus.addr, e.Server)
	}
	e := lookupError(t, newTestStub(t, nil, refused, fail), "host.example", TypeA)
	require.Equal(t, KindServFail, e.Kind)
}

// Tries are rounds over the servers, and only for servers that have said nothing final.
func TestTries(t *testing.T) {
	mute, refused := startServer(t, whenAsked(silent)), startServer(t, rcode(dns.RcodeRefused, 0))
	s := newTestStub(t, func(o *StubOptions) { o.Upstream.Tries = 3 }, mute, refused)
	require.NoError(t, s.Check(context.Background()))
	s.source.list.timeout = brief
	lookupError(t, s, "host.example", TypeA)
	require.Len(t, mute.queries(), 3)
	require.Len(t, refused.queries(), 1)
}

// A server that has just failed is tried last, for a while; what is wrong with a name is not held against a server.
func TestFailedServersLast(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		h      handler
		blamed bool
	}{
		{rcode(dns.RcodeRefused, 0), true},
		{rcode(dns.RcodeServerFailure, 0), false},
		{rcode(dns.RcodeServerFailure, 6), false},
	} {
		bad, good := startServer(t, c.h), startServer(t, script{}.handle)
		clock := now
		s := newTestStub(t, func(o *StubOptions) { o.Now = func() time.Time { return clock } }, bad, good)
		lookup(t, s, "a.example", TypeA)
		require.Len(t, bad.queries(), 1)
		lookup(t, s, "b.example", TypeA)
		if c.blamed {
			require.Len(t, bad.queries(), 1, "not asked again")
		} else {
			require.Len(t, bad.queries(), 2, "still the first")
		}
		clock = clock.Add(serverPenalty)
		before := len(bad.queries())
		lookup(t, s, "c.example", TypeA)
		require.Len(t, bad.queries(), before+1, "back in its place")
	}
}

// The time for the whole lookup bounds all tries together.
func TestLookupTimeout(t *testing.T) {
	noLeaks(t)
	mute := startServer(t, whenAsked(silent))
	s := newTestStub(t, func(o *StubOptions) { o.Timeout = patient }, mute)
	require.NoError(t, s.Check(context.Background()))
	s.lookups.timeout = brief
	e := lookupError(t, s, "host.example", TypeA)
	require.Equal(t, KindTimeout, e.Kind)
	require.True(t, e.Timeout())
	require.ErrorIs(t, e, context.DeadlineExceeded)
}
