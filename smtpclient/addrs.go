package smtpclient

import (
	"net/netip"
	"slices"

	"github.com/smtpsec/smtpsec/dane/dnssec"
)

// limitedBroadcast is 255.255.255.255 (RFC 919 section 7).
var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// allowed tells whether an address may be connected to. What is in somebody's MX
// records must not turn this system against itself.
func (c *config) allowed(a netip.Addr, local bool) bool {
	a = a.Unmap()
	if allow := c.d.AllowAddr; allow != nil {
		return allow(a)
	}
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && a != limitedBroadcast && (local || !a.IsLoopback())
}

// order returns the addresses of a host in the order in which they are tried,
// and how many were refused: each family shuffled, both in turn.
func (c *config) order(addrs dnssec.Addrs, local bool) (list []netip.Addr, refused int) {
	var v4, v6 []netip.Addr
	for _, ips := range [...][]netip.Addr{addrs.A.IPs, addrs.AAAA.IPs} {
		for _, a := range ips {
			a = a.Unmap().WithZone("")
			family := &v6
			if a.Is4() {
				family = &v4
			}
			switch {
			case !c.allowed(a, local):
				refused++
			case !slices.Contains(*family, a):
				*family = append(*family, a)
			}
		}
	}
	switch c.d.Family {
	case OnlyIPv4:
		v6 = nil
	case OnlyIPv6:
		v4 = nil
	}
	c.shuffle(len(v4), func(i, j int) { v4[i], v4[j] = v4[j], v4[i] })
	c.shuffle(len(v6), func(i, j int) { v6[i], v6[j] = v6[j], v6[i] })
	first, second := v6, v4
	if c.d.Family == PreferIPv4 {
		first, second = v4, v6
	}
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			list = append(list, first[i])
		}
		if i < len(second) {
			list = append(list, second[i])
		}
	}
	return list[:min(len(list), c.limits.Addresses)], refused
}
