package dane

import (
	"fmt"
	"slices"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

// RefIDs is the set of names of which the server's certificate must carry one:
// the reference identifiers (RFC 7672 section 3.2.2). The zero value is the
// empty set, and a check against it fails: it never stands for "any name will
// do". It is immutable; copies are cheap.
type RefIDs struct{ names []string }

// NewRefIDs returns the set of base, which is the TLSA base domain, and further
// names. Each is brought into the form in which it is compared: A-labels, lower
// case, without a final dot; names that occur twice are kept once.
//
// A name that is empty, has an empty or over-long label, a star or another octet
// that no host name has, or is an IP address, is refused with an error that is
// ErrReferenceID. Identifiers are never patterns.
func NewRefIDs(base string, more ...string) (RefIDs, error) {
	names := make([]string, 0, 1+len(more))
	for i := -1; i < len(more); i++ {
		name := base
		if i >= 0 {
			name = more[i]
		}
		parsed, err := hostname.Parse(name)
		if err != nil {
			return RefIDs{}, fmt.Errorf("%w: %w", ErrReferenceID, err)
		}
		if !slices.Contains(names, parsed) {
			names = append(names, parsed)
		}
	}
	return RefIDs{names}, nil
}

// Base returns the first name, which is also the one to send as SNI (RFC 7672
// section 8.1); "" for the empty set.
func (r RefIDs) Base() string {
	if len(r.names) == 0 {
		return ""
	}
	return r.names[0]
}

// Names returns a copy of the set, Base first.
func (r RefIDs) Names() []string { return slices.Clone(r.names) }

// Empty reports whether there is no name in the set.
func (r RefIDs) Empty() bool { return len(r.names) == 0 }
