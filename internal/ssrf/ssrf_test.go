package ssrf

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		why, addr string
		ok        bool
	}{
		{"public", "8.8.8.8", true},
		{"public IPv6", "2a00:1450:4001::1", true},
		{"public, mapped", "::ffff:8.8.8.8", true},
		{"public, NAT64", "64:ff9b::808:808", true},
		{"public, 6to4", "2002:808:808::1", true},
		{"public, Teredo: server 8.8.8.8, client 8.8.4.4", "2001:0:808:808:0:0:f7f7:fbfb", true},
		{"first after a blocked prefix", "11.0.0.0", true},
		{"last before private 172.16/12", "172.15.255.255", true},
		{"first after private 172.16/12", "172.32.0.0", true},
		{"first after shared", "100.128.0.0", true},

		{"unspecified", "0.0.0.0", false},
		{"this network", "0.1.2.3", false},
		{"private", "10.1.2.3", false},
		{"private", "172.31.255.255", false},
		{"private", "192.168.0.1", false},
		{"shared", "100.64.0.1", false},
		{"shared, last", "100.127.255.255", false},
		{"loopback", "127.0.0.1", false},
		{"loopback, last", "127.255.255.255", false},
		{"link-local, cloud metadata", "169.254.169.254", false},
		{"protocol assignments", "192.0.0.8", false},
		{"documentation", "192.0.2.1", false},
		{"documentation", "198.51.100.1", false},
		{"documentation", "203.0.113.1", false},
		{"6to4 relay", "192.88.99.1", false},
		{"benchmarking", "198.19.255.255", false},
		{"multicast", "224.0.0.1", false},
		{"reserved", "240.0.0.1", false},
		{"broadcast", "255.255.255.255", false},

		{"unspecified IPv6", "::", false},
		{"loopback IPv6", "::1", false},
		{"IPv4-compatible", "::8.8.8.8", false},
		{"translated", "::ffff:0:8.8.8.8", false},
		{"mapped private", "::ffff:10.0.0.1", false},
		{"mapped loopback", "::ffff:127.0.0.1", false},
		{"NAT64 of a private address", "64:ff9b::a00:1", false},
		{"NAT64 of the metadata address", "64:ff9b::a9fe:a9fe", false},
		{"NAT64 for local use", "64:ff9b:1::808:808", false},
		{"6to4 of a private address", "2002:a00:1::1", false},
		{"6to4 of loopback", "2002:7f00:1::", false},
		{"Teredo with a private client", "2001:0:808:808:0:0:f5ff:fffe", false},
		{"Teredo with a private server", "2001:0:a00:1:0:0:f7f7:f7f7", false},
		{"discard only", "100::1", false},
		{"protocol assignments IPv6", "2001:1::1", false},
		{"benchmarking IPv6", "2001:2::1", false},
		{"ORCHIDv2", "2001:20::1", false},
		{"documentation IPv6", "2001:db8::1", false},
		{"documentation IPv6, new", "3fff::1", false},
		{"segment routing", "5f00::1", false},
		{"unique local", "fd00::1", false},
		{"link-local IPv6", "fe80::1", false},
		{"link-local IPv6 with zone", "fe80::1%eth0", false},
		{"site-local", "fec0::1", false},
		{"multicast IPv6", "ff02::1", false},
	} {
		err := Guard{}.Check(netip.MustParseAddr(tc.addr))
		if tc.ok {
			require.NoError(t, err, "%s: %s", tc.why, tc.addr)
			continue
		}
		require.ErrorIs(t, err, ErrBlocked, "%s: %s", tc.why, tc.addr)
		require.ErrorContains(t, err, netip.MustParseAddr(tc.addr).String())
	}
	require.ErrorIs(t, Guard{}.Check(netip.Addr{}), ErrBlocked, "no address")
}

func TestAllow(t *testing.T) {
	g := Guard{Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("fd00::/8")}}
	for _, addr := range []string{"192.0.2.1", "::ffff:192.0.2.1", "64:ff9b::c000:201", "2002:c000:201::1", "fd12::1", "fd12::1%eth0", "8.8.8.8"} {
		require.NoError(t, g.Check(netip.MustParseAddr(addr)), addr)
	}
	for _, addr := range []string{"198.51.100.1", "fc00::1", "127.0.0.1", "10.0.0.1"} {
		require.Error(t, g.Check(netip.MustParseAddr(addr)), addr)
	}
}

func TestControl(t *testing.T) {
	require.NoError(t, Guard{}.Control(t.Context(), "tcp4", "8.8.8.8:443", nil))
	require.ErrorIs(t, Guard{}.Control(t.Context(), "tcp4", "10.0.0.1:443", nil), ErrBlocked)
	require.ErrorIs(t, Guard{}.Control(t.Context(), "tcp6", "[::1]:443", nil), ErrBlocked)
	require.ErrorIs(t, Guard{}.Control(t.Context(), "unix", "/run/socket", nil), ErrBlocked)
}

// TestControlStopsDialer: the guard works where it is used, before a packet.
func TestControlStopsDialer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, err = (&net.Dialer{ControlContext: Guard{}.Control}).DialContext(t.Context(), "tcp", l.Addr().String())
	require.ErrorIs(t, err, ErrBlocked)
	open := Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	conn, err := (&net.Dialer{ControlContext: open.Control}).DialContext(t.Context(), "tcp", l.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, open.CheckConn(conn))
	require.ErrorIs(t, Guard{}.CheckConn(conn), ErrBlocked)
}

type otherConn struct {
	net.Conn
	addr net.Addr
}

func (c otherConn) RemoteAddr() net.Addr { return c.addr }

type textAddr string

func (textAddr) Network() string  { return "text" }
func (a textAddr) String() string { return string(a) }

func TestCheckConnOfOtherKinds(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	err := Guard{}.CheckConn(a)
	require.ErrorIs(t, err, ErrBlocked, "what cannot be judged is refused")
	var blocked *Error
	require.True(t, errors.As(err, &blocked))
	require.False(t, blocked.Addr.IsValid())
	require.ErrorContains(t, err, "no IP address")
	require.NoError(t, Guard{}.CheckConn(otherConn{a, textAddr("8.8.8.8:443")}))
	require.Error(t, Guard{}.CheckConn(otherConn{a, textAddr("[fd00::1]:443")}))
}

// FuzzCheck: an IPv4 address and every IPv6 form of it are judged alike, and what
// is allowed is unicast that net/netip finds nothing special in.
func FuzzCheck(f *testing.F) {
	f.Add([]byte{10, 0, 0, 1})
	f.Add([]byte{8, 8, 8, 8})
	f.Add([]byte(net.ParseIP("2001:db8::1")))
	f.Add([]byte(net.ParseIP("2001:0:808:808::f7f7:f7f7")))
	f.Fuzz(func(t *testing.T, octets []byte) {
		addr, ok := netip.AddrFromSlice(octets)
		if !ok {
			return
		}
		allowed := Guard{}.Check(addr) == nil
		if allowed {
			plain := addr.Unmap()
			require.True(t, plain.IsGlobalUnicast() && !plain.IsPrivate() && !plain.IsLoopback() && !plain.IsLinkLocalUnicast(), addr)
		}
		all := Guard{Allow: []netip.Prefix{netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())}}
		require.NoError(t, all.Check(addr))
		if !addr.Is4() {
			return
		}
		a := addr.As4()
		for _, form := range [][16]byte{
			{10: 0xff, 11: 0xff, 12: a[0], 13: a[1], 14: a[2], 15: a[3]},
			{0: 0, 1: 0x64, 2: 0xff, 3: 0x9b, 12: a[0], 13: a[1], 14: a[2], 15: a[3]},
			{0: 0x20, 1: 0x02, 2: a[0], 3: a[1], 4: a[2], 5: a[3]},
			{0: 0x20, 1: 0x01, 4: 8, 5: 8, 6: 8, 7: 8, 12: ^a[0], 13: ^a[1], 14: ^a[2], 15: ^a[3]},
		} {
			require.Equal(t, allowed, Guard{}.Check(netip.AddrFrom16(form)) == nil, netip.AddrFrom16(form))
		}
	})
}

func TestAllocs(t *testing.T) {
	addr := netip.MustParseAddr("64:ff9b::808:808")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if err := (Guard{}).Check(addr); err != nil {
			t.Error(err)
		}
	}))
}
