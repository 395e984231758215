package dnssec

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

func TestFromSystem(t *testing.T) {
	common := func(server netip.AddrPort, events *[]Event) Common {
		return Common{
			Upstream: Upstream{Servers: []netip.AddrPort{server}, Timeout: patient, Tries: 1},
			Trace:    func(e Event) { *events = append(*events, e) },
		}
	}
	untrusted := func(events []Event) (n int) {
		for _, e := range events {
			if e.Kind == EventUntrusted {
				n++
			}
		}
		return n
	}
	t.Run("fit", func(t *testing.T) {
		var events []Event
		server := startServer(t, script{"host.example. A": hostA}.handle)
		r, err := FromSystem(context.Background(), common(server.addr, &events))
		require.NoError(t, err)
		require.Equal(t, 1, server.checks(), "checked at start")
		require.Equal(t, Secure, lookup(t, r, "host.example", TypeA).Security)
		require.NoError(t, r.(Checker).Check(context.Background()))
		require.Zero(t, untrusted(events))
	})
	t.Run("unfit", func(t *testing.T) {
		var events []Event
		server := startServer(t, script{"host.example. A": hostA, ". DNSKEY": noAD(rootKeys)}.handle)
		r, err := FromSystem(context.Background(), common(server.addr, &events))
		require.NoError(t, err)
		require.Equal(t, Indeterminate, lookup(t, r, "host.example", TypeA).Security)
		require.ErrorIs(t, r.(Checker).Check(context.Background()), KindUnusable)
		require.Equal(t, 1, untrusted(events), "one event")
	})
	t.Run("not believed", func(t *testing.T) {
		var events []Event
		c := common(netip.MustParseAddrPort("192.0.2.1:53"), &events)
		c.Upstream.Exchange = func(_ context.Context, _ netip.AddrPort, query []byte) ([]byte, error) {
			q := new(dns.Msg)
			if err := q.Unpack(query); err != nil {
				return nil, err
			}
			return script{"host.example. A": hostA}.handle(q, false)[0].(*dns.Msg).Pack()
		}
		r, err := FromSystem(context.Background(), c)
		require.NoError(t, err)
		require.Equal(t, Indeterminate, lookup(t, r, "host.example", TypeA).Security)
		require.ErrorContains(t, r.(Checker).Check(context.Background()), "192.0.2.1:53 is not on this machine")
		require.Equal(t, 1, untrusted(events))
	})
	t.Run("silent at start", func(t *testing.T) {
		var events []Event
		var up atomic.Bool
		server := startServer(t, func(q *dns.Msg, tcp bool) []any {
			if !up.Load() {
				return nil
			}
			return script{"host.example. A": hostA}.handle(q, tcp)
		})
		c := common(server.addr, &events)
		c.Upstream.Timeout = brief
		r, err := FromSystem(context.Background(), c)
		require.NoError(t, err, "no verdict is no reason to give up")
		r.(*system).stub.source.list.timeout = patient
		up.Store(true)
		require.Equal(t, Secure, lookup(t, r, "host.example", TypeA).Security)
		require.Zero(t, untrusted(events))
	})
	t.Run("context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		var events []Event
		_, err := FromSystem(ctx, common(netip.MustParseAddrPort("127.0.0.1:53"), &events))
		require.ErrorIs(t, err, KindCanceled)
		require.ErrorIs(t, err, context.Canceled)
	})
	t.Run("resolv.conf", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "resolv.conf")
		require.NoError(t, os.WriteFile(path, []byte("nameserver 127.0.0.11\noptions trust-ad\n"), 0o600))
		r, err := FromSystem(context.Background(), Common{Upstream: Upstream{ResolvConf: path}})
		require.NoError(t, err)
		require.ErrorContains(t, r.(Checker).Check(context.Background()), "container")
	})
}
