package dnssec

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

func TestNoServers(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	require.NoError(t, os.WriteFile(empty, []byte("search example\n"), 0o600))
	for _, c := range []struct {
		name string
		up   Upstream
	}{
		{"no file", Upstream{ResolvConf: filepath.Join(dir, "none")}},
		{"a directory", Upstream{ResolvConf: dir}},
		{"a file without servers", Upstream{ResolvConf: empty}},
		{"an empty list", Upstream{Servers: []netip.AddrPort{}}},
		{"no address", Upstream{Servers: []netip.AddrPort{{}}}},
		{"no port", Upstream{Servers: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}}},
	} {
		_, err := NewStub(StubOptions{Common: Common{Upstream: c.up}})
		require.ErrorIs(t, err, KindUnusable, c.name)
		_, err = FromSystem(context.Background(), Common{Upstream: c.up})
		require.ErrorIs(t, err, KindUnusable, c.name)
	}
}

// A change of resolv.conf changes the servers, and whether they are believed, without a restart.
func TestResolvConfChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	replace := func(text string) { // as resolvconf(8) and NetworkManager do it
		require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
	replace("nameserver 127.0.0.1\n")
	var clock atomic.Int64
	var asked netip.AddrPort
	s := newTestStub(t, func(o *StubOptions) {
		o.Upstream.ResolvConf = path
		o.Now = func() time.Time { return time.Unix(1_700_000_000, clock.Load()) }
		o.Upstream.Exchange = func(_ context.Context, server netip.AddrPort, query []byte) ([]byte, error) {
			asked = server
			q := new(dns.Msg)
			if err := q.Unpack(query); err != nil {
				return nil, err
			}
			return script{"host.example. A": {ad: true, answer: []string{"host.example. 3600 IN A 192.0.2.1"}}}.handle(q, false)[0].(*dns.Msg).Pack()
		}
	})
	expect := func(want Security, server, why string) {
		t.Helper()
		require.Equal(t, want, lookup(t, s, "host.example", TypeA).Security, why)
		require.Equal(t, server, asked.String(), why)
	}
	later := func() { clock.Add(int64(resolvConfEvery)) }
	expect(Secure, "127.0.0.1:53", "first")
	replace("nameserver 192.0.2.1\n")
	expect(Secure, "127.0.0.1:53", "not looked at yet")
	later()
	expect(Indeterminate, "192.0.2.1:53", "other servers, not believed, and the cache is forgotten")
	replace("nameserver 192.0.2.1\noptions trust-ad\n")
	later()
	expect(Secure, "192.0.2.1:53", "the administrator vouches for them")
	replace("# being written\n")
	later()
	expect(Secure, "192.0.2.1:53", "a file without servers changes nothing")
	require.NoError(t, os.Remove(path))
	later()
	expect(Secure, "192.0.2.1:53", "nor one that is gone")
	replace("nameserver 127.0.0.2\n")
	later()
	expect(Secure, "127.0.0.2:53", "back again")
	require.NoError(t, os.Chmod(path, 0o600))
	before := s.source.list
	later()
	expect(Secure, "127.0.0.2:53", "unchanged")
	require.Same(t, before, s.source.list, "not read again")
}

func TestServerOptions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	require.NoError(t, os.WriteFile(path, []byte("nameserver 127.0.0.1\noptions timeout:7 attempts:4 use-vc\n"), 0o600))
	source, failed := newServerSource(Upstream{ResolvConf: path}, time.Now())
	require.Nil(t, failed)
	require.Equal(t, 7*time.Second, source.list.timeout)
	require.Equal(t, 4, source.list.tries)
	require.True(t, source.list.tcpOnly)
	source, failed = newServerSource(Upstream{ResolvConf: path, Timeout: time.Second, Tries: 1}, time.Now())
	require.Nil(t, failed)
	require.Equal(t, time.Second, source.list.timeout, "options of the program win")
	require.Equal(t, 1, source.list.tries)
	given := []netip.AddrPort{netip.MustParseAddrPort("[fe80::1%lo]:53")}
	source, failed = newServerSource(Upstream{Servers: given, ResolvConf: path}, time.Now())
	require.Nil(t, failed)
	require.Equal(t, 2*time.Second, source.list.timeout, "the file is not read")
	require.Equal(t, 2, source.list.tries)
	given[0] = netip.AddrPort{}
	require.Equal(t, "[fe80::1%lo]:53", source.list.servers[0].String(), "the caller's slice is not kept")
}
