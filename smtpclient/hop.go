package smtpclient

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/smtpsec/smtpsec/internal/hostname"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// Hop is a next hop that the operator configured: where mail for a domain goes
// instead of the domain's MX hosts. It is comparable; the zero Hop is none.
type Hop struct {
	// Host is a domain whose MX hosts take the mail or, with Literal, the host
	// itself. An address, with or without brackets, is Literal in any case.
	Host string
	// Port is the port to connect to; 0 is Dialer.Port.
	Port uint16
	// Literal: Host is the host, and no MX records are asked for.
	Literal bool
	// Pref orders the hops of a route, the lowest first; equals in random order.
	Pref uint16
}

// ParseHop reads a hop in the usual notation: "example.net" is a domain with MX
// hosts, "[mx.example.net]" is a host, an address is a host with or without
// brackets, and ":587" may follow (an IPv6 address with a port needs brackets).
// Pref is 0. The error wraps ErrBadName.
func ParseHop(s string) (Hop, error) {
	hop := Hop{Host: s}
	if _, ok := hostname.Literal(s); !ok {
		host, port, err := cutPort(s)
		if err != nil {
			return Hop{}, badName(s, err)
		}
		hop.Host, hop.Port = host, port
		if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
			hop.Literal = true
			if _, ok := hostname.Literal(host); !ok {
				hop.Host = host[1 : len(host)-1]
			}
		}
	}
	hop, _, err := hop.canonical()
	if err != nil {
		return Hop{}, badName(s, err)
	}
	return hop, nil
}

// canonical returns the hop with its host in A-labels or, if it is one, the
// address in its shortest form.
func (h Hop) canonical() (Hop, netip.Addr, error) {
	if addr, ok := hostname.Literal(h.Host); ok {
		addr = addr.Unmap().WithZone("")
		h.Host, h.Literal = addr.String(), true
		return h, addr, nil
	}
	var err error
	h.Host, err = hostname.Parse(h.Host)
	return h, netip.Addr{}, err
}

// String returns the notation that ParseHop reads, "" for the zero Hop.
func (h Hop) String() string {
	s := h.Host
	if addr, ok := hostname.Literal(s); ok {
		s = literal(addr)
	} else if h.Literal {
		s = "[" + s + "]"
	}
	if h.Port != 0 {
		s += ":" + strconv.Itoa(int(h.Port))
	}
	return s
}

// nextHop is the hop as the policy table knows it.
func (h Hop) nextHop(port uint16) tlspolicy.NextHop {
	host := h.Host
	if addr, ok := hostname.Literal(host); ok {
		host = literal(addr)
	}
	return tlspolicy.NextHop{Host: host, Port: port}
}

// cutPort splits "host" and "host:port", with brackets around an IPv6 address
// that has a port. The brackets around a name stay with it.
func cutPort(s string) (host string, port uint16, err error) {
	if _, ok := hostname.Literal(s); ok {
		return s, 0, nil
	}
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 || strings.HasSuffix(s, "]") {
		return s, 0, nil
	}
	if _, _, err := net.SplitHostPort(s); err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(s[colon+1:], 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("port %q is not a number from 1 to 65535", s[colon+1:])
	}
	return s[:colon], uint16(n), nil
}
