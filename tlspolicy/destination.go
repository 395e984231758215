package tlspolicy

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

// destination is the key of a table entry in canonical form.
type destination struct {
	match Match      // MatchDomain, MatchParent, MatchNextHopPort or MatchNextHop
	name  string     // domain or host name, "" for an address
	addr  netip.Addr // address of a next hop, without IPv4-in-IPv6 form
	port  uint16     // with MatchNextHopPort
}

// parseDestination reads a key of a destination table. The problem is "" if the
// key is well-formed.
func parseDestination(key string) (d destination, problem string) {
	switch {
	case key == "":
		return d, "empty"
	case key[0] == '[':
		return parseNextHop(key)
	case key[0] == '.':
		d.match = MatchParent
		d.name, problem = parseName(key[1:])
		return d, problem
	case strings.HasPrefix(key, "*."):
		return d, "wildcards are not used here; write " + strconv.Quote(key[1:]) +
			" for every name below the domain, and a second entry for the domain itself"
	case hostname.IsLiteral(key):
		return d, "an address is a next hop; write " + strconv.Quote("["+key+"]")
	}
	if host, port, ok := strings.Cut(key, ":"); ok {
		return d, "a port belongs to a next hop; write " + strconv.Quote("["+host+"]:"+port)
	}
	d.match = MatchDomain
	d.name, problem = parseName(key)
	return d, problem
}

// parseNextHop reads "[host]" and "[host]:port", where host is a name or an
// address.
func parseNextHop(key string) (d destination, problem string) {
	end := strings.LastIndexByte(key, ']')
	if end < 0 {
		return d, `"]" is missing`
	}
	d.match = MatchNextHop
	if rest := key[end+1:]; rest != "" {
		number, ok := strings.CutPrefix(rest, ":")
		port, err := strconv.ParseUint(number, 10, 16)
		if !ok || err != nil || port == 0 || number[0] == '0' {
			return d, `after "]" comes nothing, or ":" and a port from 1 to 65535`
		}
		d.match, d.port = MatchNextHopPort, uint16(port)
	}
	if addr, ok := hostname.Literal(key[:end+1]); ok {
		d.addr = addr.Unmap()
		return d, ""
	}
	d.name, problem = parseName(key[1:end])
	return d, problem
}

// parseName returns the canonical form of a domain or host name.
func parseName(name string) (canonical, problem string) {
	canonical, err := hostname.Parse(name)
	if bad, ok := errors.AsType[*hostname.Error](err); ok {
		return "", bad.Problem
	}
	if err != nil {
		return "", err.Error()
	}
	return canonical, ""
}

// String returns the key in canonical form.
func (d destination) String() string {
	host := d.name
	if d.addr.IsValid() {
		host = d.addr.String()
	}
	switch d.match {
	case MatchParent:
		return "." + host
	case MatchNextHop:
		return "[" + host + "]"
	case MatchNextHopPort:
		return "[" + host + "]:" + strconv.Itoa(int(d.port))
	}
	return host
}
