package dnssec

import (
	"context"
	"errors"
	"net/netip"
)

// AddrSet is what is known about the addresses of one family.
type AddrSet struct {
	IPs    []netip.Addr // in the order received; malformed records are left out
	Answer *Answer      // nil if Err is set
	Err    error        // the lookup failed: nothing is known about this family
}

// Addrs holds the addresses of a host. Each family has its own answer: they are different RRsets, and an alias may
// have changed between the two.
type Addrs struct{ A, AAAA AddrSet }

// LookupAddrs asks for the IPv4 and the IPv6 addresses of host, at the same time unless one of the answers is at hand.
// It fails only if both lookups failed, with the more telling error; one failed family is noted in its AddrSet.
func LookupAddrs(ctx context.Context, r Resolver, host string) (Addrs, error) {
	var addrs Addrs
	if atHand(r, host, TypeA) || atHand(r, host, TypeAAAA) {
		// One wait at the most: nothing to gain by a goroutine, which costs more than the answer.
		addrs.A = lookupFamily(ctx, r, host, TypeA)
		addrs.AAAA = lookupFamily(ctx, r, host, TypeAAAA)
	} else {
		done := make(chan struct{})
		go func() {
			defer close(done)
			addrs.AAAA = lookupFamily(ctx, r, host, TypeAAAA)
		}()
		addrs.A = lookupFamily(ctx, r, host, TypeA)
		<-done
	}
	if addrs.A.Err == nil || addrs.AAAA.Err == nil {
		return addrs, nil
	}
	var a, aaaa *Error
	if errors.As(addrs.A.Err, &a) && errors.As(addrs.AAAA.Err, &aaaa) && moreTelling(a, aaaa) == aaaa {
		return addrs, addrs.AAAA.Err
	}
	return addrs, addrs.A.Err
}

// A ready Resolver can say whether it would answer without waiting.
type ready interface {
	ready(name string, t Type) bool
}

func atHand(r Resolver, name string, t Type) bool {
	if r, ok := r.(ready); ok {
		return r.ready(name, t)
	}
	return false
}

func lookupFamily(ctx context.Context, r Resolver, host string, t Type) AddrSet {
	answer, err := r.Lookup(ctx, host, t)
	if err != nil {
		return AddrSet{Err: err}
	}
	set := AddrSet{Answer: answer}
	for _, record := range answer.Records {
		ip, ok := netip.AddrFromSlice(record.Data)
		if ok && ip.Is4() == (t == TypeA) {
			set.IPs = append(set.IPs, ip)
		}
	}
	return set
}
