package dnssec

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/dnstest"
)

// testSystem is FromSystem with private anchors.
func testSystem(t *testing.T, tree *dnstest.Tree, change func(*Common), servers ...netip.AddrPort) (*system, func() []EventKind) {
	anchors, err := ParseAnchors(strings.NewReader(tree.RootAnchor()))
	require.NoError(t, err)
	var mu sync.Mutex
	var events []EventKind
	c := Common{Upstream: Upstream{Servers: servers, Timeout: patient}, Trace: func(e Event) {
		if e.Kind == EventTrusted || e.Kind == EventUntrusted {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, e.Kind)
		}
	}}
	if change != nil {
		change(&c)
	}
	s, err := newSystem(c, anchors)
	require.NoError(t, err)
	return s, func() []EventKind {
		mu.Lock()
		defer mu.Unlock()
		return append([]EventKind(nil), events...)
	}
}

func TestFromSystemChooses(t *testing.T) {
	tree := liarTree(t)
	for _, tt := range []struct {
		kind   dnstest.Behaviour
		want   Security
		source Source
		event  EventKind
	}{
		{dnstest.Validating, Secure, SourceAD, EventTrusted},
		{dnstest.PassThrough, Secure, SourceValidated, EventTrusted},
		{dnstest.Stripping, Indeterminate, SourceAD, EventUntrusted},
	} {
		server := serve(t, tree, tt.kind)
		s, events := testSystem(t, tree, nil, server.Addr())
		for _, name := range []string{"mx.zone.com.", "alias.zone.org."} {
			a, err := ask(s, name, TypeA)
			require.NoError(t, err)
			require.Equal(t, tt.want, a.Security)
			require.Equal(t, tt.source, a.Source)
		}
		require.Equal(t, []EventKind{tt.event}, events(), "told once")
		if tt.want == Secure {
			require.NoError(t, s.Check(t0))
		} else {
			err := s.Check(t0)
			require.ErrorIs(t, err, KindUnusable)
			require.ErrorContains(t, err, "does not set the AD bit")
			require.ErrorContains(t, err, "strips DNSSEC")
		}
		require.Equal(t, []EventKind{tt.event}, events())
	}
}

// A server that begins to strip after the choice does not bring the choice down.
func TestFromSystemStays(t *testing.T) {
	tree := liarTree(t)
	server := serve(t, tree, dnstest.PassThrough)
	now := time.Now()
	s, events := testSystem(t, tree, func(c *Common) { c.Now = func() time.Time { return now } }, server.Addr())
	require.NoError(t, s.Check(t0))
	server.Edit(func(q, m *dns.Msg) *dns.Msg {
		m.Answer, m.Ns = unsignedOf(m.Answer), nil
		return m
	})
	_, err := ask(s, "mx.zone.com.", TypeA)
	require.ErrorIs(t, err, KindBogus)
	now = now.Add(fitFor)
	_, err = ask(s, "mx.zone.com.", TypeA)
	require.ErrorIs(t, err, KindUnusable)
	require.ErrorIs(t, s.Check(t0), KindUnusable)
	require.Equal(t, []EventKind{EventTrusted, EventUntrusted}, events())
	server.Edit(nil)
	now = now.Add(unfitFor)
	a, err := ask(s, "mx.zone.com.", TypeA)
	require.NoError(t, err)
	require.Equal(t, Secure, a.Security)
}

// Without a reply there is no choice, and the next lookup tries again.
func TestFromSystemWithoutReply(t *testing.T) {
	tree := liarTree(t)
	server := serve(t, tree, dnstest.PassThrough)
	server.Fault("", dns.TypeNone, dnstest.Fault{Action: dnstest.Drop})
	s, events := testSystem(t, tree, func(c *Common) { c.Upstream.Timeout, c.Upstream.Tries = brief, 1 }, server.Addr())
	_, err := ask(s, "mx.zone.com.", TypeA)
	require.ErrorIs(t, err, KindTimeout)
	require.ErrorIs(t, s.Check(t0), KindTimeout)
	_, err = ask(s, "a..b", TypeA)
	require.ErrorIs(t, err, KindBadName)
	ctx, cancel := context.WithCancel(t0)
	cancel()
	_, err = s.Lookup(ctx, "mx.zone.com.", TypeA)
	require.ErrorIs(t, err, KindCanceled)
	require.ErrorIs(t, s.Check(ctx), KindCanceled)
	require.Empty(t, events())
	server.ClearFaults()
	a, err := ask(s, "mx.zone.com.", TypeA)
	require.NoError(t, err)
	require.Equal(t, SourceValidated, a.Source)
}

// Another resolv.conf is another choice.
func TestFromSystemWithAnotherFile(t *testing.T) {
	tree := liarTree(t)
	passing, validating := serve(t, tree, dnstest.PassThrough), serve(t, tree, dnstest.Validating)
	file := filepath.Join(t.TempDir(), "resolv.conf")
	require.NoError(t, os.WriteFile(file, []byte("nameserver 127.0.0.1\n"), 0o600))
	var mu sync.Mutex
	now := time.Now()
	s, events := testSystem(t, tree, func(c *Common) {
		c.Upstream.Servers, c.Upstream.ResolvConf = nil, file
		c.Now = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return now
		}
		c.Upstream.Exchange = func(ctx context.Context, server netip.AddrPort, query []byte) ([]byte, error) {
			q := new(dns.Msg)
			if err := q.Unpack(query); err != nil {
				return nil, err
			}
			to := passing.Addr()
			if server.Addr() != netip.MustParseAddr("127.0.0.1") {
				to = validating.Addr()
			}
			m, _, err := (&dns.Client{Net: "tcp"}).ExchangeContext(ctx, q, to.String())
			if err != nil {
				return nil, err
			}
			return m.Pack()
		}
	})
	a, err := ask(s, "mx.zone.com.", TypeA)
	require.NoError(t, err)
	require.Equal(t, SourceValidated, a.Source)
	require.NoError(t, os.WriteFile(file, []byte("nameserver 127.0.0.2\noptions trust-ad\n"), 0o600))
	mu.Lock()
	now = now.Add(resolvConfEvery)
	mu.Unlock()
	a, err = ask(s, "mx.zone.com.", TypeA)
	require.NoError(t, err)
	require.Equal(t, SourceAD, a.Source)
	require.Equal(t, []EventKind{EventTrusted, EventTrusted}, events())
}
