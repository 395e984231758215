package smtpserver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

// unknownTTL says that nobody knows how long an answer holds.
const unknownTTL = time.Duration(-1)

// netResolver makes a Resolver of the one in the standard library. That one does not
// show TTLs.
type netResolver struct{ resolver *net.Resolver }

// systemResolver asks the servers of the system with the resolver of Go. The C
// library does not tell a server that fails from a name that does not exist.
func systemResolver() *net.Resolver { return &net.Resolver{PreferGo: true} }

// LookupPTR implements Resolver.
func (n netResolver) LookupPTR(ctx context.Context, addr netip.Addr) ([]string, time.Duration, error) {
	names, err := n.resolver.LookupAddr(ctx, addr.String())
	if names != nil {
		// With a list, even an empty one, the error only says that malformed names
		// were left out of it.
		err = nil
	}
	return names, unknownTTL, err
}

// LookupAddrs implements Resolver. The final dot keeps the search list of the system
// out of it.
func (n netResolver) LookupAddrs(ctx context.Context, network, name string) ([]netip.Addr, time.Duration, error) {
	addrs, err := n.resolver.LookupNetIP(ctx, network, name+".")
	return addrs, unknownTTL, err
}

// dnsAnswer is what a Resolver said. No values and not failed: there are none.
type dnsAnswer[T any] struct {
	values []T
	ttl    time.Duration // below 0: not known
	failed bool
}

// newDNSAnswer takes "no such name" for an answer without values. Values that come with
// an error do not count. Where there are none a TTL of 0 is none: what is not there is
// remembered, or every connection of such a peer would cost a query.
func newDNSAnswer[T any](values []T, ttl time.Duration, err error) dnsAnswer[T] {
	if ttl == 0 && (err != nil || len(values) == 0) {
		ttl = unknownTTL
	}
	switch dns, ok := errors.AsType[*net.DNSError](err); {
	case ok && dns.IsNotFound:
		return dnsAnswer[T]{ttl: ttl}
	case err != nil:
		return dnsAnswer[T]{ttl: unknownTTL, failed: true}
	}
	return dnsAnswer[T]{values: values, ttl: ttl}
}

// keep returns most, or the TTL of the answer if that is known and shorter.
func (a dnsAnswer[T]) keep(most time.Duration) time.Duration {
	if a.ttl < 0 {
		return most
	}
	return min(most, a.ttl)
}

// start puts a question in a goroutine of its own, so that nobody has to wait for a
// resolver that does not look at its context.
func start[T any](question func() dnsAnswer[T]) chan dnsAnswer[T] {
	c := make(chan dnsAnswer[T], 1)
	go func() { c <- question() }()
	return c
}

// receive waits for an answer as long as ctx allows. One that is there counts, also
// when the time is up.
func receive[T any](ctx context.Context, c chan dnsAnswer[T]) dnsAnswer[T] {
	select {
	case a := <-c:
		return a
	case <-ctx.Done():
	}
	select {
	case a := <-c:
		return a
	default:
		return dnsAnswer[T]{ttl: unknownTTL, failed: true}
	}
}
