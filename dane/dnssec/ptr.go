package dnssec

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
)

// LookupPTR asks for the names that the reverse zone gives to addr. An IPv4 address in IPv6 form is taken as IPv4,
// and a zone is dropped. The names are lower case and absolute, in the order received; malformed records are left
// out. No records is not an error. The names are claims of whoever holds the address: they prove nothing about the
// zones that they lie in. Errors are those of r, and KindBadName for an invalid addr.
func LookupPTR(ctx context.Context, r Resolver, addr netip.Addr) ([]string, *Answer, error) {
	if !addr.IsValid() {
		return nil, nil, &Error{Kind: KindBadName, Type: TypePTR, Reason: "the address is not valid", EDE: noEDE}
	}
	a, err := r.Lookup(ctx, reverseName(addr), TypePTR)
	if err != nil {
		return nil, nil, err
	}
	var names []string
	for _, record := range a.Records {
		if name, ok := wholeName(record.Data); ok && name != rootName {
			names = append(names, name.String())
		}
	}
	return names, a, nil
}

// reverseName returns the name under in-addr.arpa (RFC 1035 section 3.5) or ip6.arpa (RFC 3596 section 2.5).
func reverseName(addr netip.Addr) string {
	octets := addr.Unmap().AsSlice()
	var b strings.Builder
	for i := len(octets) - 1; i >= 0; i-- {
		if len(octets) == 4 {
			b.WriteString(strconv.Itoa(int(octets[i])) + ".")
			continue
		}
		const hex = "0123456789abcdef"
		b.Write([]byte{hex[octets[i]&15], '.', hex[octets[i]>>4], '.'})
	}
	if len(octets) == 4 {
		b.WriteString("in-addr.arpa.")
	} else {
		b.WriteString("ip6.arpa.")
	}
	return b.String()
}
