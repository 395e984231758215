package tlspolicy

import (
	"errors"
	"fmt"
	"slices"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

// ErrNoReference says that not one name is known that the peer's certificate
// could be compared with. It is never read as "no name check": a delivery that
// must compare names cannot take place (see [Requirement.WithoutReferences]).
var ErrNoReference = errors.New("tlspolicy: no reference identity: neither a domain nor a host name is known for the peer")

// MaxPTRNames is the number of PTR names that [NewReferences] looks at; further
// ones are left out. The owner of an address may publish any number of them; ten
// is what RFC 7208 section 4.6.4 grants the ptr mechanism of SPF.
const MaxPTRNames = 10

// ReferenceKind says where a reference identity comes from.
type ReferenceKind uint8

// The kinds of reference identities. The zero value means none.
const (
	ReferenceNone            ReferenceKind = iota
	ReferenceRecipientDomain               // domain of the recipient address
	ReferenceMXHost                        // host name from the MX RRset
	ReferenceRouteHost                     // host or domain the operator configured
	ReferencePTR                           // forward-confirmed PTR name of the connected address
)

var referenceKindNames = [...]string{"none", "recipient-domain", "mx-host", "route-host", "ptr"}

// String returns the name of the kind, such as "recipient-domain".
func (k ReferenceKind) String() string {
	return nameOf(referenceKindNames[:], uint8(k), "ReferenceKind")
}

// MarshalText returns the name of the kind; an unnamed value is an error.
func (k ReferenceKind) MarshalText() ([]byte, error) {
	return appendName(nil, referenceKindNames[:], uint8(k), "ReferenceKind")
}

// Reference is one name that the peer's certificate may prove (a reference
// identifier in the words of RFC 9525).
type Reference struct {
	Name string // A-labels, lower case, no final dot
	Kind ReferenceKind
	// Secure says that the name did not come out of unprotected DNS: a person
	// typed it, DNSSEC proved it, or an enforced MTA-STS policy lists it. A
	// certificate for any other name proves only what the DNS answer claimed.
	Secure bool
}

// PeerNames are the names that a delivery knows its peer by, as they were found.
// Empty fields are names that do not exist; IP addresses, also in brackets, are
// never reference identities and count as empty.
type PeerNames struct {
	// Domain is the recipient domain. It is empty for a delivery to a configured
	// host without one, and RouteHost then takes its place.
	Domain string
	// MXHost is the host connected to as the MX RRset names it, before any alias
	// (the domain itself if the MX is implicit). Empty if a configured host is
	// connected to without MX lookup.
	MXHost string
	// MXSecure says that MXHost can be relied on: DNSSEC validated the MX RRset,
	// or the name matched an MTA-STS policy in mode enforce. A policy in mode
	// testing does not count.
	MXSecure bool
	// RouteHost is the next hop an operator configured: the host itself, or the
	// domain whose MX hosts are used.
	RouteHost string
	// PTR holds the names that the connected address has in the reverse zone,
	// each confirmed by a forward lookup. They are used only with
	// [VerifyOptions.PTR].
	PTR []PTRName
}

// PTRName is a forward-confirmed name of the connected address.
type PTRName struct {
	Name   string
	Secure bool // DNSSEC validated the PTR and the forward lookup
}

// References are the normalised reference identities of one connection. Make
// them with [NewReferences], once per attempt. They do not change and may be
// used concurrently. A nil *References is the empty set, which matches nothing.
type References struct {
	domain    Reference   // recipient domain, or the route host in its place
	receiving Reference   // the host connected to: MX host, else route host
	route     Reference   // route host
	ptr       []Reference // in the order given
}

// NewReferences normalises the names: internationalized labels to A-labels
// (IDNA2008 lookup, non-transitional), ASCII letters to lower case, one final
// dot dropped. A Domain, MXHost or RouteHost that is then no host name (labels
// of 1 to 63 letters, digits, hyphens and underscores, 253 octets in all) is an
// error that wraps [ErrBadDomain].
//
// PTR names are a stranger's data: one that is no host name is left out, so that
// it cannot spoil the names that count, and so is what exceeds [MaxPTRNames].
//
// If nothing remains the error is [ErrNoReference].
func NewReferences(names PeerNames) (*References, error) {
	domain, err := newReference(names.Domain, ReferenceRecipientDomain, true)
	if err != nil {
		return nil, err
	}
	mx, err := newReference(names.MXHost, ReferenceMXHost, names.MXSecure)
	if err != nil {
		return nil, err
	}
	route, err := newReference(names.RouteHost, ReferenceRouteHost, true)
	if err != nil {
		return nil, err
	}
	refs := &References{domain: domain, receiving: mx, route: route}
	if domain.Kind == ReferenceNone {
		refs.domain = route
	}
	if mx.Kind == ReferenceNone {
		refs.receiving = route
	}
	for _, name := range names.PTR[:min(len(names.PTR), MaxPTRNames)] {
		ref, err := newReference(name.Name, ReferencePTR, name.Secure)
		if err == nil && ref.Kind != ReferenceNone {
			refs.ptr = append(refs.ptr, ref)
		}
	}
	if refs.empty() {
		return nil, ErrNoReference
	}
	return refs, nil
}

// newReference returns the zero Reference for an empty name or an address.
func newReference(name string, kind ReferenceKind, secure bool) (Reference, error) {
	if name == "" || hostname.IsLiteral(name) {
		return Reference{}, nil
	}
	canonical, err := hostname.Parse(name)
	if err != nil {
		return Reference{}, fmt.Errorf("%w: %s: %w", ErrBadDomain, kind, err)
	}
	return Reference{Name: canonical, Kind: kind, Secure: secure}, nil
}

func (r *References) empty() bool {
	return r == nil || r.domain.Kind == ReferenceNone && r.receiving.Kind == ReferenceNone && len(r.ptr) == 0
}

// All returns the reference identities in the order in which they are tried:
// recipient domain, MX host, route host, PTR names. The slice is the caller's.
func (r *References) All() []Reference {
	if r == nil {
		return nil
	}
	all := make([]Reference, 0, 3+len(r.ptr))
	for _, ref := range append([]Reference{r.domain, r.receiving, r.route}, r.ptr...) {
		if ref.Kind != ReferenceNone && !slices.Contains(all, ref) {
			all = append(all, ref)
		}
	}
	return all
}
