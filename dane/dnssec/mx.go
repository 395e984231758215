package dnssec

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"
)

// MX is one mail exchanger of a domain.
type MX struct {
	Host string // lower case, absolute
	Pref uint16 // lower is tried first
}

// MXSet is what the MX records of a domain say.
type MXSet struct {
	Hosts   []MX    // sorted by Pref, and as received among equals: spreading the load is up to the caller
	Null    bool    // the sole record is a null MX: the domain takes no mail (RFC 7505)
	Dropped int     // records left out: malformed, not a host name, or a null MX among others
	Answer  *Answer // where this comes from; its Outcome tells "no MX" from "no such domain"
}

// LookupMX asks for the mail exchangers of domain. A domain without MX records is not an error but an empty MXSet; so
// is one that has only unusable records, with Dropped set. Errors are those of r.
func LookupMX(ctx context.Context, r Resolver, domain string) (MXSet, error) {
	a, err := r.Lookup(ctx, domain, TypeMX)
	if err != nil {
		return MXSet{}, err
	}
	set := MXSet{Answer: a}
	for _, record := range a.Records {
		pref, host, ok := parseMX(record.Data)
		switch {
		case ok && host == rootName && len(a.Records) == 1:
			set.Null = true // RFC 7505 section 3; "." is no host, whatever the preference
		case ok && host.isHost():
			set.Hosts = append(set.Hosts, MX{host.String(), pref})
		default:
			set.Dropped++
		}
	}
	slices.SortStableFunc(set.Hosts, func(a, b MX) int { return cmp.Compare(a.Pref, b.Pref) })
	return set, nil
}

// parseMX reads MX RDATA (RFC 1035 section 3.3.9).
func parseMX(data []byte) (pref uint16, host wireName, ok bool) {
	if len(data) < 3 {
		return 0, "", false
	}
	host, ok = wholeName(data[2:])
	return binary.BigEndian.Uint16(data), host, ok
}
