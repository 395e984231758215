package dnssec

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

// NetResolver gives a Resolver the method forms of *net.Resolver, for code that wants names and addresses and not
// their security. Resolver must be set.
//
// A name or type that does not exist becomes a *net.DNSError with IsNotFound, as in package net. A failed lookup
// becomes a *net.DNSError without it, which wraps the error of the Resolver: what is unknown is never "not found".
type NetResolver struct{ Resolver Resolver }

// LookupTXT returns the TXT records at name, the strings of each joined.
func (n NetResolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	texts, _, err := LookupTXT(ctx, n.Resolver, name)
	if err != nil {
		return nil, failedLookup(name, err)
	}
	if len(texts) == 0 {
		return nil, notFound(name)
	}
	return texts, nil
}

// LookupNetIP returns the addresses of host; network is "ip", "ip4" or "ip6". A host that is an address is returned
// as such. If one family was found and the lookup of the other failed, the found one is returned.
func (n NetResolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if network != "ip" && network != "ip4" && network != "ip6" {
		return nil, &net.DNSError{Err: "unknown network " + network, Name: host}
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if network == "ip4" && !ip.Unmap().Is4() || network == "ip6" && ip.Is4() {
			return nil, notFound(host)
		}
		return []netip.Addr{ip}, nil
	}
	var ips []netip.Addr
	var err error
	switch network {
	case "ip4":
		set := lookupFamily(ctx, n.Resolver, host, TypeA)
		ips, err = set.IPs, set.Err
	case "ip6":
		set := lookupFamily(ctx, n.Resolver, host, TypeAAAA)
		ips, err = set.IPs, set.Err
	default:
		var addrs Addrs
		addrs, err = LookupAddrs(ctx, n.Resolver, host)
		ips = append(addrs.A.IPs, addrs.AAAA.IPs...)
		if len(ips) == 0 {
			err = errors.Join(addrs.A.Err, addrs.AAAA.Err) // half of an answer that is empty proves nothing
		}
	}
	if err != nil {
		return nil, failedLookup(host, err)
	}
	if len(ips) == 0 {
		return nil, notFound(host)
	}
	return ips, nil
}

func notFound(name string) error {
	return &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func failedLookup(name string, err error) error {
	failed := &net.DNSError{UnwrapErr: err, Err: err.Error(), Name: name, IsTemporary: true}
	var e *Error
	if errors.As(err, &e) {
		failed.IsTimeout, failed.IsTemporary = e.Timeout(), e.Temporary()
		if e.Server.IsValid() {
			failed.Server = e.Server.String()
		}
	}
	return failed
}
