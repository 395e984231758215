package dnstest

import (
	"strings"

	"github.com/miekg/dns"
)

// parentName returns name without its first label, "" for the root.
func parentName(name string) string {
	if name == "." {
		return ""
	}
	i, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[i:]
}

// under reports whether name is zone or below it, label by label. Both are canonical.
func under(name, zone string) bool {
	return dns.IsSubDomain(zone, name)
}

// isWildcard reports whether the first label is an asterisk alone (RFC 4592 section 2.1.1).
func isWildcard(name string) bool { return strings.HasPrefix(name, "*.") }

// ownerLabels counts labels as the Labels field of an RRSIG does: without the root and without a
// leading "*" (RFC 4034 section 3.1.3).
func ownerLabels(name string) int {
	n := dns.CountLabel(name)
	if isWildcard(name) {
		n--
	}
	return n
}

// sortKey maps a name to a string whose order as octets is the canonical DNS name order (RFC 4034
// section 6.1): labels from the right, each as lower-case octets, a missing label before any other.
// Octets 0 and 1 are escaped so that 0 can end a label.
func sortKey(name string) string {
	wire := make([]byte, 256)
	n, err := dns.PackDomainName(dns.CanonicalName(name), wire, 0, nil, false)
	if err != nil {
		return name // names reach this function parsed and packed once already
	}
	var starts []int
	for i := 0; i < n && wire[i] != 0; i += int(wire[i]) + 1 {
		starts = append(starts, i)
	}
	var key strings.Builder
	for j := len(starts) - 1; j >= 0; j-- {
		i := starts[j]
		for _, c := range wire[i+1 : i+1+int(wire[i])] {
			if c <= 1 {
				key.WriteByte(1)
				c++
			}
			key.WriteByte(c)
		}
		key.WriteByte(0)
	}
	return key.String()
}
