// Package ssrf keeps requests to hosts that strangers name away from addresses
// that only we can reach.
//
// The owner of any domain to which mail is sent chooses the name of its MTA-STS
// policy host and of its report receiver, and so the address that a GET or POST
// from inside our network goes to. A Guard refuses every address that is not
// globally routable unicast. It judges addresses, not names, at the moment of
// the connection: a name that resolves differently the second time gains nothing.
package ssrf

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// ErrBlocked is matched by every error of this package.
var ErrBlocked = errors.New("address is not globally routable")

// Error tells which address was refused.
type Error struct {
	Addr netip.Addr // invalid if the connection has no IP address to judge
}

// Error returns the error as one line of text.
func (e *Error) Error() string {
	if !e.Addr.IsValid() {
		return "no IP address to judge: " + ErrBlocked.Error()
	}
	return fmt.Sprintf("%s: %s", e.Addr, ErrBlocked)
}

// Unwrap returns ErrBlocked.
func (e *Error) Unwrap() error { return ErrBlocked }

// Guard decides which addresses may be asked. The zero Guard allows globally
// routable unicast alone. It is read-only in use and safe for concurrent use.
type Guard struct {
	// Allow opens further prefixes, for a lab or a site that hosts policy
	// files inside. An IPv4 prefix also opens the IPv6 forms of its addresses.
	Allow []netip.Prefix
}

// Check returns nil if addr may be asked, otherwise a *Error.
func (g Guard) Check(addr netip.Addr) error {
	if !g.allowed(addr.WithZone("").Unmap()) {
		return &Error{addr}
	}
	return nil
}

// CheckConn judges the remote address of a connection, which covers dialers that
// resolve names by themselves. An address that is not of TCP is refused.
func (g Guard) CheckConn(conn net.Conn) error {
	if remote, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return g.Check(remote.AddrPort().Addr())
	}
	addrPort, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return &Error{}
	}
	return g.Check(addrPort.Addr())
}

// Control judges the address of a socket before it is connected. It fits
// net.Dialer.ControlContext.
func (g Guard) Control(_ context.Context, _, address string, _ syscall.RawConn) error {
	addrPort, err := netip.ParseAddrPort(address)
	if err != nil {
		return &Error{}
	}
	return g.Check(addrPort.Addr())
}

// allowed judges an address without zone that is no IPv4-mapped one.
func (g Guard) allowed(addr netip.Addr) bool {
	for _, p := range g.Allow {
		if p.Contains(addr) {
			return true
		}
	}
	if addr.Is4() {
		return !within(addr, blocked4[:])
	}
	if !addr.Is6() {
		return false
	}
	b := addr.As16()
	switch {
	case nat64.Contains(addr):
		return g.allowed(netip.AddrFrom4([4]byte(b[12:16])))
	case sixToFour.Contains(addr):
		return g.allowed(netip.AddrFrom4([4]byte(b[2:6])))
	case teredo.Contains(addr):
		// RFC 4380 section 4: the server, and the client with all bits turned.
		server := netip.AddrFrom4([4]byte(b[4:8]))
		client := netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})
		return g.allowed(server) && g.allowed(client)
	}
	return unicast6.Contains(addr) && !within(addr, blocked6[:])
}

func within(addr netip.Addr, prefixes []netip.Prefix) bool {
	for i := range prefixes {
		if prefixes[i].Contains(addr) {
			return true
		}
	}
	return false
}

// The IANA special-purpose registries (RFC 6890, updated by RFC 8190), without
// the rows that are globally reachable.
var (
	blocked4 = [...]netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),       // this network, RFC 791
		netip.MustParsePrefix("10.0.0.0/8"),      // private, RFC 1918
		netip.MustParsePrefix("100.64.0.0/10"),   // shared, RFC 6598
		netip.MustParsePrefix("127.0.0.0/8"),     // loopback, RFC 1122
		netip.MustParsePrefix("169.254.0.0/16"),  // link-local, RFC 3927
		netip.MustParsePrefix("172.16.0.0/12"),   // private, RFC 1918
		netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments, RFC 6890
		netip.MustParsePrefix("192.0.2.0/24"),    // documentation, RFC 5737
		netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relay, deprecated by RFC 7526
		netip.MustParsePrefix("192.168.0.0/16"),  // private, RFC 1918
		netip.MustParsePrefix("198.18.0.0/15"),   // benchmarking, RFC 2544
		netip.MustParsePrefix("198.51.100.0/24"), // documentation, RFC 5737
		netip.MustParsePrefix("203.0.113.0/24"),  // documentation, RFC 5737
		netip.MustParsePrefix("224.0.0.0/4"),     // multicast, RFC 1112
		netip.MustParsePrefix("240.0.0.0/4"),     // reserved, RFC 1112, and broadcast
	}

	// unicast6 is all that IANA has opened for global unicast (RFC 4291
	// section 2.4): unique local, link-local, multicast, IPv4-compatible
	// addresses and whatever comes later lie outside.
	unicast6 = netip.MustParsePrefix("2000::/3")
	blocked6 = [...]netip.Prefix{
		netip.MustParsePrefix("2001::/23"),     // protocol assignments, benchmarking, ORCHID: RFC 2928
		netip.MustParsePrefix("2001:db8::/32"), // documentation, RFC 3849
		netip.MustParsePrefix("3fff::/20"),     // documentation, RFC 9637
	}

	// Forms with an IPv4 address inside, to which the packets go in the end.
	nat64     = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	sixToFour = netip.MustParsePrefix("2002::/16")    // RFC 3056
	teredo    = netip.MustParsePrefix("2001::/32")    // RFC 4380
)
