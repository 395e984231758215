package dnssec

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

func noAD(c canned) canned {
	c.ad = false
	return c
}

// What a server must say to be believed, and what it means if it says something else.
func TestSelfCheck(t *testing.T) {
	host := script{"host.example. A": hostA}
	with := func(key string, c canned) script {
		s := script{key: c}
		for k, v := range host {
			s[k] = v
		}
		return s
	}
	const root, probe = ". DNSKEY", "bogus.example. A"
	for _, c := range []struct {
		name   string
		script script
		probe  bool
		want   Security // of host.example
		check  string   // what Check says
		fails  Kind     // no verdict
	}{
		{"fit", host, false, Secure, "", 0},
		{"no AD", with(root, noAD(rootKeys)), false, Indeterminate, "turn on DNSSEC validation", 0},
		{"no keys", with(root, canned{ad: true}), false, Indeterminate, "no DNSKEY", 0},
		{"no root", with(root, canned{ad: true, rcode: dns.RcodeNameError}), false, Indeterminate, "no DNSKEY", 0},
		{"keys and NXDOMAIN", with(root, canned{ad: true, rcode: dns.RcodeNameError, answer: rootKeys.answer}), false, Indeterminate, "no DNSKEY", 0},
		{"keys of another", with(root, canned{ad: true, answer: []string{"a" + rootKeys.answer[0]}}), false, Indeterminate, "no DNSKEY", 0},
		{"SERVFAIL is no verdict", with(root, canned{ad: true, rcode: dns.RcodeServerFailure, answer: rootKeys.answer}), false, 0, "", KindServFail},
		{"REFUSED is no verdict", with(root, canned{rcode: dns.RcodeRefused}), false, 0, "", KindRefused},
		{"probe fails as it must", with(probe, canned{rcode: dns.RcodeServerFailure}), true, Secure, "", 0},
		{"probe is answered", with(probe, canned{answer: []string{"bogus.example. 60 IN A 192.0.2.1"}}), true, Indeterminate, "bogus.example, which must fail", 0},
		{"probe is denied", with(probe, canned{ad: true, rcode: dns.RcodeNameError}), true, Indeterminate, "bogus.example, which must fail", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := startServer(t, c.script.handle)
			s := newTestStub(t, func(o *StubOptions) {
				if c.probe {
					o.ProbeBogus = "bogus.example"
				}
			}, server)
			err := s.Check(context.Background())
			if c.fails != 0 {
				require.ErrorIs(t, err, c.fails)
				e := lookupError(t, s, "host.example", TypeA)
				require.Equal(t, c.fails, e.Kind, "an ordinary error of the lookup")
				require.Equal(t, "host.example.", e.Name)
				require.Equal(t, ".", e.At)
				require.Equal(t, 2, server.checks(), "tried anew each time")
				return
			}
			a := lookup(t, s, "host.example", TypeA)
			require.Equal(t, c.want, a.Security)
			require.Equal(t, c.want, a.Final)
			require.Equal(t, SourceAD, a.Source)
			require.Equal(t, 1, server.checks(), "the verdict stands for a while")
			if c.check == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, KindUnusable)
			require.ErrorContains(t, err, c.check)
		})
	}
}

// A Stub whose server does not reply has no verdict, only errors; as soon as there is a reply, all is well.
func TestSelfCheckSilence(t *testing.T) {
	var up atomic.Bool
	server := startServer(t, func(q *dns.Msg, tcp bool) []any {
		if !up.Load() {
			return nil
		}
		return script{"host.example. A": hostA}.handle(q, tcp)
	})
	s := newTestStub(t, nil, server)
	s.source.list.timeout = brief
	require.ErrorIs(t, s.Check(context.Background()), KindTimeout)
	require.Equal(t, KindTimeout, lookupError(t, s, "host.example", TypeA).Kind)
	up.Store(true)
	s.source.list.timeout = patient
	require.Equal(t, Secure, lookup(t, s, "host.example", TypeA).Security)
}

// Indeterminate parts of an untrusted answer stay Indeterminate: nothing is made Insecure of them.
func TestUntrustedIsIndeterminate(t *testing.T) {
	const www = "www.example. 30 IN CNAME host.example."
	server := startServer(t, script{
		"www.example. A":     {ad: true, answer: []string{www}},
		"host.example. A":    hostA,
		"plain.example. A":   {answer: []string{"plain.example. 60 IN A 192.0.2.1"}},
		"www.example. CNAME": {ad: true, answer: []string{www}},
	}.handle)
	s := newTestStub(t, func(o *StubOptions) { o.Trust = TrustNever }, server)
	require.ErrorContains(t, s.Check(context.Background()), "TrustNever")
	for _, name := range []string{"www.example", "host.example", "plain.example", "none.example"} {
		a := lookup(t, s, name, TypeA)
		require.Equal(t, Indeterminate, a.Security, name)
		require.Equal(t, Indeterminate, a.Final, name)
		for _, step := range a.Chain {
			require.Equal(t, Indeterminate, step.Security)
			security, err := StepSecurity(context.Background(), s, step)
			require.NoError(t, err)
			require.Equal(t, Indeterminate, security)
		}
	}
	require.Zero(t, server.checks(), "nothing to find out")
}

func TestTrustRules(t *testing.T) {
	for _, c := range []struct {
		name    string
		servers []string // given in Upstream.Servers
		conf    string   // or in resolv.conf
		trust   TrustAD
		want    string // "" = believed
	}{
		{"loopback", []string{"127.0.0.1:53"}, "", TrustAuto, ""},
		{"loopback, another address and port", []string{"127.9.9.9:5353"}, "", TrustAuto, ""},
		{"IPv6 loopback", []string{"[::1]:53"}, "", TrustAuto, ""},
		{"mapped loopback", []string{"[::ffff:127.0.0.1]:53"}, "", TrustAuto, ""},
		{"all loopback", []string{"127.0.0.1:53", "[::1]:53"}, "", TrustAuto, ""},
		{"elsewhere", []string{"192.0.2.1:53"}, "", TrustAuto, "set TrustAlways"},
		{"mixed", []string{"127.0.0.1:53", "192.0.2.1:53"}, "", TrustAuto, "192.0.2.1:53 is not on this machine"},
		{"elsewhere, vouched for", []string{"192.0.2.1:53"}, "", TrustAlways, ""},
		{"loopback, not wanted", []string{"127.0.0.1:53"}, "", TrustNever, "TrustNever"},
		{"unknown TrustAD", []string{"127.0.0.1:53"}, "", 99, "TrustNever"},
		{"container", []string{"127.0.0.11:53"}, "", TrustAuto, "container"},
		{"mapped container", []string{"[::ffff:127.0.0.11]:53"}, "", TrustAuto, "container"},
		{"container, vouched for", []string{"127.0.0.11:53"}, "", TrustAlways, ""},
		{"file, loopback", nil, "nameserver 127.0.0.53", TrustAuto, ""},
		{"file, elsewhere", nil, "nameserver 192.0.2.1", TrustAuto, "options trust-ad"},
		{"file, trust-ad", nil, "nameserver 192.0.2.1\noptions edns0 trust-ad", TrustAuto, ""},
		{"file, mixed", nil, "nameserver 127.0.0.1\nnameserver 192.0.2.1", TrustAuto, "192.0.2.1"},
		{"file, mixed, trust-ad", nil, "nameserver 127.0.0.1\nnameserver 192.0.2.1\noptions trust-ad", TrustAuto, ""},
		{"file, container, trust-ad", nil, "nameserver 127.0.0.11\noptions edns0 trust-ad ndots:0", TrustAuto, "container"},
		{"file, trust-ad, not wanted", nil, "nameserver 192.0.2.1\noptions trust-ad", TrustNever, "TrustNever"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := StubOptions{Trust: c.trust}
			for _, server := range c.servers {
				o.Upstream.Servers = append(o.Upstream.Servers, netip.MustParseAddrPort(server))
			}
			if c.conf != "" {
				o.Upstream.ResolvConf = filepath.Join(t.TempDir(), "resolv.conf")
				require.NoError(t, os.WriteFile(o.Upstream.ResolvConf, []byte(c.conf), 0o600))
			}
			o.Upstream.Exchange = func(_ context.Context, _ netip.AddrPort, query []byte) ([]byte, error) {
				q := new(dns.Msg)
				if err := q.Unpack(query); err != nil {
					return nil, err
				}
				return script{"host.example. A": hostA}.handle(q, false)[0].(*dns.Msg).Pack()
			}
			s, err := NewStub(o)
			require.NoError(t, err)
			a := lookup(t, s, "host.example", TypeA)
			if c.want == "" {
				require.NoError(t, s.Check(context.Background()))
				require.Equal(t, Secure, a.Security)
				return
			}
			require.ErrorIs(t, s.Check(context.Background()), KindUnusable)
			require.ErrorContains(t, s.Check(context.Background()), c.want)
			require.Equal(t, Indeterminate, a.Security, "although AD is set")
		})
	}
}

// The verdict is found anew each hour, and each minute while it is bad. With it changes what is believed: answers
// given before are forgotten.
func TestVerdictChanges(t *testing.T) {
	var clock atomic.Int64
	advance := func(d time.Duration) { clock.Add(int64(d)) }
	var validates atomic.Bool
	validates.Store(true)
	server := startServer(t, func(q *dns.Msg, tcp bool) []any {
		m := script{"host.example. A": {ad: true, answer: []string{"host.example. 1000000 IN A 192.0.2.1"}}}.handle(q, tcp)[0].(*dns.Msg)
		m.AuthenticatedData = validates.Load()
		return []any{m}
	})
	var changes []EventKind
	var log bytes.Buffer
	s := newTestStub(t, func(o *StubOptions) {
		o.Now = func() time.Time { return time.Unix(1_700_000_000, clock.Load()) }
		o.Cache.MaxTTL = 1000 * time.Hour
		o.Trace = func(e Event) {
			if e.Kind == EventTrusted || e.Kind == EventUntrusted {
				changes = append(changes, e.Kind)
			}
		}
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	}, server)
	step := 0
	expect := func(want Security, checks int, name, why string) {
		t.Helper()
		step++
		require.Equal(t, want, lookup(t, s, name, TypeA).Security, why)
		require.Equal(t, checks, server.checks(), why)
	}
	expect(Secure, 1, "host.example", "before the first answer")
	advance(fitFor - 1)
	expect(Secure, 1, "a.example", "the verdict stands for an hour")
	validates.Store(false)
	advance(1)
	expect(Secure, 1, "host.example", "from the cache: it was given under a good verdict")
	expect(Indeterminate, 2, "b.example", "validation has been switched off")
	expect(Indeterminate, 2, "host.example", "what was believed is forgotten")
	advance(unfitFor - 1)
	expect(Indeterminate, 2, "c.example", "the bad verdict stands for a minute")
	advance(1)
	expect(Indeterminate, 3, "d.example", "and again")
	validates.Store(true)
	advance(unfitFor)
	expect(Secure, 4, "e.example", "validation is back")
	expect(Secure, 4, "host.example", "what was not believed is forgotten")
	require.Equal(t, []EventKind{EventTrusted, EventUntrusted, EventTrusted}, changes, "one event for each change")
	require.Contains(t, log.String(), "not trusted")
}

// The list is as good as its worst server that answers. Servers that do not answer are left out, and do not hold up the
// others.
func TestSelfCheckSeveralServers(t *testing.T) {
	good := startServer(t, script{"host.example. A": hostA}.handle)
	lax := startServer(t, script{"host.example. A": hostA, ". DNSKEY": noAD(rootKeys)}.handle)
	s := newTestStub(t, nil, good, lax)
	require.Equal(t, Indeterminate, lookup(t, s, "host.example", TypeA).Security)
	var e *Error
	require.ErrorAs(t, s.Check(context.Background()), &e)
	require.Equal(t, lax.addr, e.Server, "it is named")

	refuses := startServer(t, script{". DNSKEY": {rcode: dns.RcodeRefused}, "host.example. A": forged}.handle)
	s = newTestStub(t, nil, refuses, good)
	require.Equal(t, []byte{192, 0, 2, 1}, lookup(t, s, "host.example", TypeA).Records[0].Data)
	require.Empty(t, refuses.queries(), "who has not passed is not asked")

	mute := startServer(t, silent)
	s = newTestStub(t, nil, mute, good)
	s.source.list.timeout = 10 * brief // good has passed long before
	s.source.list.tries = 1000
	require.Equal(t, Secure, lookup(t, s, "host.example", TypeA).Security)
	require.Empty(t, mute.queries())
}

// If no server that passed can be reached, those that did not reply get another chance.
func TestSelfCheckAgainAfterFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := netip.MustParseAddrPort("127.0.0.1:53"), netip.MustParseAddrPort("127.0.0.2:53")
		down := second
		s := newTestStub(t, func(o *StubOptions) {
			o.Upstream.Timeout = time.Second
			o.Upstream.Servers = []netip.AddrPort{first, second}
			o.Upstream.Exchange = func(ctx context.Context, server netip.AddrPort, query []byte) ([]byte, error) {
				if server == down {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				q := new(dns.Msg)
				if err := q.Unpack(query); err != nil {
					return nil, err
				}
				return script{"host.example. A": hostA}.handle(q, false)[0].(*dns.Msg).Pack()
			}
		})
		start := time.Now()
		lookup(t, s, "a.example", TypeA)
		require.Equal(t, time.Second, time.Since(start), "one try's time for the server that is down")
		down = first
		require.Equal(t, KindTimeout, lookupError(t, s, "b.example", TypeA).Kind)
		require.Equal(t, Secure, lookup(t, s, "host.example", TypeA).Security)
	})
}

// An answer that was asked for under a verdict that is gone by now is not kept.
func TestAnswerFromBefore(t *testing.T) {
	s := newTestStub(t, nil, startServer(t, script{}.handle))
	require.NoError(t, s.Check(context.Background()))
	before := s.fit.Load()
	s.adopt(&fitness{list: before.list, servers: before.servers, reason: unusable("test", nil)})
	q := Question{"host.example.", TypeA}
	a := &Answer{Security: Secure, Expires: time.Now().Add(time.Hour)}
	s.cache.put(q, a, nil, time.Now(), before.generation)
	got, _ := s.cache.get(q, time.Now())
	require.Nil(t, got)
	s.cache.put(q, a, nil, time.Now(), s.fit.Load().generation)
	got, _ = s.cache.get(q, time.Now())
	require.Same(t, a, got)
}
