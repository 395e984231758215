package policymap

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/smtpsec/smtpsec/internal/hostname"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// ErrKey says that a lookup key is no next hop of Postfix.
var ErrKey = errors.New("policymap: not a next hop")

// A NextHop is a lookup key of smtp_tls_policy_maps, read: a domain whose MX
// hosts are used, or a host in brackets, perhaps with a port. The zero value is
// none.
type NextHop struct {
	Domain string // A-labels, lower case; "" for a host
	Host   string // A-labels, lower case, or an address in its shortest form; "" for a domain
	Port   uint16 // 0: the key names none
	// Parent tells that the key was ".example.com": Postfix asks for the parents of a
	// domain of which it was told NOTFOUND.
	Parent bool
}

// ParseKey reads a key: "example.com", "example.com:587", "[mx.example.com]",
// "[192.0.2.1]:25", "[ipv6:2001:db8::1]", ".example.com". Ports may be names of
// services. Letter case and one final dot do not count, and U-labels become
// A-labels. The error matches ErrKey.
func ParseKey(key string) (h NextHop, err error) {
	if parent, ok := strings.CutPrefix(key, "."); ok {
		if h.Domain, err = hostname.Parse(parent); err != nil {
			return NextHop{}, badKey(key, err)
		}
		h.Parent = true
		return h, nil
	}
	host, port := key, ""
	if rest, ok := strings.CutPrefix(key, "["); ok {
		inside, after, ok := strings.Cut(rest, "]")
		if !ok || after != "" && after[0] != ':' {
			return NextHop{}, badKey(key, errors.New("brackets"))
		}
		host, port = inside, after
		if h.Host, err = parseHost(host); err != nil {
			return NextHop{}, badKey(key, err)
		}
	} else {
		if i := strings.IndexByte(key, ':'); i >= 0 {
			host, port = key[:i], key[i:]
		}
		if h.Domain, err = hostname.Parse(host); err != nil {
			return NextHop{}, badKey(key, err)
		}
	}
	if port != "" {
		n, err := net.LookupPort("tcp", port[1:])
		if err != nil || n < 1 || n > 65535 {
			return NextHop{}, badKey(key, errors.New("port"))
		}
		h.Port = uint16(n)
	}
	return h, nil
}

func badKey(key string, err error) error {
	return fmt.Errorf("%w: %q: %w", ErrKey, key[:min(len(key), 64)], err)
}

// parseHost reads what stands in brackets.
func parseHost(host string) (string, error) {
	if addr, ok := hostname.Literal("[" + host + "]"); ok {
		return addr.Unmap().WithZone("").String(), nil
	}
	return hostname.Parse(host)
}

// String returns the key in canonical form.
func (h NextHop) String() string {
	name := h.Domain
	switch {
	case h.Parent:
		return "." + name
	case h.Host != "":
		name = "[" + h.Host + "]"
	}
	if h.Port != 0 {
		name += ":" + strconv.Itoa(int(h.Port))
	}
	return name
}

// target is what to ask a Dialer for whose Port is port.
func (h NextHop) target(port uint16) smtpclient.Target {
	if h.Host != "" {
		return smtpclient.Target{Host: net.JoinHostPort(h.Host, strconv.Itoa(int(port)))}
	}
	return smtpclient.Target{Domain: h.Domain}
}

// entry is what to ask the table for.
func (h NextHop) entry(port uint16) (domain string, hop tlspolicy.NextHop) {
	if h.Host != "" {
		return "", tlspolicy.NextHop{Host: h.Host, Port: port}
	}
	return h.Domain, tlspolicy.NextHop{}
}

// name is what a certificate would be compared with; "" for an address.
func (h NextHop) name() string {
	if h.Domain != "" {
		return h.Domain
	}
	if _, err := netip.ParseAddr(h.Host); err == nil {
		return ""
	}
	return h.Host
}
