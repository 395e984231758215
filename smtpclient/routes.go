package smtpclient

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

// RouteSource says where mail for a domain goes instead of its MX hosts.
// *RouteTable is one. It must be safe for concurrent use and must not block.
type RouteSource interface {
	// Route returns the hops for a recipient domain, and whether it has a route.
	// domain is in A-labels without final dot, or an address literal such as
	// "[192.0.2.1]" in its shortest form. A route without hops is an error of
	// whoever configured it, and mail is deferred: it does not go to the MX hosts,
	// which it was not meant for.
	Route(domain string) (hops []Hop, ok bool)
}

// RouteTable is a fixed RouteSource with the matching rules of a destination
// table: the domain itself, then the longest ".parent", then the default. It is
// immutable and safe for concurrent use. A nil *RouteTable has no route.
type RouteTable struct {
	def     []Hop
	entries map[string][]Hop // by domain, by address literal, and by parent with a dot in front
}

// NewRouteTable returns a table of routes. The keys are domains and ".parents",
// where ".example.com" stands for every name below example.com but not for itself,
// and address literals in brackets. An entry without hops sends mail to the MX
// hosts, whatever a shorter parent or the default say. def is the route of all
// other domains; empty: their MX hosts.
//
// The error names all entries that are wrong.
func NewRouteTable(def []Hop, entries map[string][]Hop) (*RouteTable, error) {
	t := &RouteTable{entries: make(map[string][]Hop, len(entries))}
	var errs []error
	fail := func(key string, err error) {
		errs = append(errs, fmt.Errorf("smtpclient: route of %q: %w", key, err))
	}
	hops := func(key string, given []Hop) []Hop {
		checked := make([]Hop, 0, len(given))
		for _, h := range given {
			c, _, err := h.canonical()
			if err != nil {
				fail(key, err)
				continue
			}
			checked = append(checked, c)
		}
		return checked
	}
	t.def = hops("default", def)
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		canonical, err := routeKey(key)
		if err != nil {
			fail(key, err)
			continue
		}
		if _, twice := t.entries[canonical]; twice {
			fail(key, fmt.Errorf("%q has two entries", canonical))
			continue
		}
		t.entries[canonical] = hops(key, entries[key])
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return t, nil
}

func routeKey(key string) (string, error) {
	if strings.HasPrefix(key, "*.") {
		return "", fmt.Errorf("wildcards are not used here; write %q for every name below the domain", key[1:])
	}
	if addr, ok := hostname.Literal(key); ok {
		if !strings.HasPrefix(key, "[") {
			return "", fmt.Errorf("an address as recipient domain stands in brackets; write %q", literal(addr))
		}
		return literal(addr), nil
	}
	parent, below := strings.CutPrefix(key, ".")
	canonical, err := hostname.Parse(parent)
	if err == nil && below {
		canonical = "." + canonical
	}
	return canonical, err
}

// Route returns the hops for domain; see RouteSource. The slice is shared and must
// not be changed.
func (t *RouteTable) Route(domain string) ([]Hop, bool) {
	if t == nil {
		return nil, false
	}
	hops, ok := t.entries[domain]
	for rest := domain; !ok && !strings.HasPrefix(domain, "["); {
		dot := strings.IndexByte(rest, '.')
		if dot < 0 {
			break
		}
		hops, ok = t.entries[rest[dot:]]
		rest = rest[dot+1:]
	}
	if !ok {
		hops = t.def
	}
	return hops, len(hops) > 0
}

// ErrRoute: a route has no hop, or one that is no host or domain; or the domain
// that it leads to has no mail hosts or does not exist. It is the operator's to
// mend, and says nothing about the recipient.
var ErrRoute = errors.New("the route leads nowhere")
