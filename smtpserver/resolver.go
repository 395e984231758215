package smtpserver

import (
	"context"
	"net/netip"
	"time"
)

// Resolver answers the two questions that verifying a peer's host name takes. An
// answer without data, or an error that is a *net.DNSError with IsNotFound, says
// that there is none; every other error says that DNS did not answer. Answers come
// from DNS and are not trusted further than that.
//
// Implementations must be safe for concurrent use.
type Resolver interface {
	// LookupPTR returns the names of addr and for how long they hold: below 0 if that
	// is not known, 0 if they are for this one use.
	LookupPTR(ctx context.Context, addr netip.Addr) (names []string, ttl time.Duration, err error)
	// LookupAddrs returns the addresses of a name: those of IPv4 if network is
	// "ip4", those of IPv6 if it is "ip6". The time is as that of LookupPTR.
	LookupAddrs(ctx context.Context, network, name string) (addrs []netip.Addr, ttl time.Duration, err error)
}

// hostVerifier says what DNS makes of a peer. It is safe for concurrent use.
type hostVerifier interface {
	verify(ctx context.Context, peer netip.Addr) Host
}
