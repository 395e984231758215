package dane

import (
	"fmt"
	"strconv"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

// OwnerName returns where the TLSA records of a service are, as an absolute name:
// "_25._tcp.mail.example.org." for port 25, "tcp" and "mail.example.org" (RFC
// 6698 section 3). The base domain may have U-labels, upper case and a final dot.
//
// Port 0, a protocol other than "tcp", "udp" and "sctp", an IP address, and a
// base that is no host name or becomes too long with the prefix are errors; those
// about the base are ErrReferenceID.
func OwnerName(port uint16, proto, base string) (string, error) {
	switch proto {
	case "tcp", "udp", "sctp":
	default:
		return "", fmt.Errorf("dane: protocol %q has no TLSA records; it is \"tcp\", \"udp\" or \"sctp\"", proto)
	}
	if port == 0 {
		return "", fmt.Errorf("dane: port 0 of %q has no TLSA records", base)
	}
	name, err := hostname.Parse(base)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrReferenceID, err)
	}
	owner := "_" + strconv.Itoa(int(port)) + "._" + proto + "." + name
	if len(owner) > hostname.MaxName {
		return "", fmt.Errorf("%w: %w", ErrReferenceID, &hostname.Error{
			Name:    owner,
			Problem: fmt.Sprintf("longer than %d octets", hostname.MaxName),
		})
	}
	return owner + ".", nil
}

// FormatRR returns a line for a zone file, without line break. The owner is
// written as it is; OwnerName makes a good one.
func FormatRR(owner string, ttl uint32, r Record) string {
	return owner + " " + strconv.FormatUint(uint64(ttl), 10) + " IN TLSA " + r.String()
}
