package smtpclient

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/hostname"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// candidate is a host that may receive the mail.
type candidate struct {
	name    string // A-labels, no final dot; an address in text form for a literal
	pref    uint16
	mx      *dnssec.Answer // that led here; nil for a configured host and a literal
	literal netip.Addr     // valid: name is not a name
	named   bool           // by the operator and not by an MX record
	local   bool           // may be on this machine
}

// findMX asks for the mail exchangers of a domain (RFC 5321 section 5.1) and
// writes down what it finds. The list is in the order in which the hosts are to
// be tried.
func (x *delivery) findMX(ctx context.Context, domain string) ([]candidate, error) {
	ctx, cancel := context.WithTimeout(ctx, x.conf.timeouts.Resolve)
	defer cancel()
	begin := time.Now()
	set, err := dnssec.LookupMX(ctx, x.resolver, domain)
	report := &x.report.MX
	report.Domain = domain
	report.Elapsed = time.Since(begin)
	if err != nil {
		report.Err = err
		return nil, err
	}
	report.Outcome, report.Security = set.Answer.Outcome, set.Answer.Security
	report.Malformed = set.Dropped
	switch {
	case set.Answer.Outcome == dnssec.NXDomain:
		return nil, ErrNoDomain
	case set.Null:
		report.Null = true
		return nil, ErrNullMX
	case set.Answer.Outcome == dnssec.NoData:
		// RFC 5321 section 5.1: the domain itself, as if its preference were 0.
		report.Implicit = true
		set.Hosts = []dnssec.MX{{Host: domain}}
	}
	hosts := x.candidates(set)
	if len(hosts) == 0 {
		return nil, ErrNoHosts
	}
	hosts, loop := x.withoutSelf(hosts)
	if loop && len(hosts) == 0 {
		return nil, ErrMailLoop
	}
	for _, h := range hosts {
		report.Hosts = append(report.Hosts, MXHost{h.name, h.pref})
	}
	return hosts, nil
}

// candidates brings the hosts of an MX RRset into the order in which they are
// tried. Names that cannot be connected to are dropped and recorded.
func (x *delivery) candidates(set dnssec.MXSet) []candidate {
	hosts := make([]candidate, 0, len(set.Hosts))
	for _, mx := range set.Hosts {
		name, err := hostname.Parse(mx.Host)
		if err != nil {
			if len(x.report.MX.Dropped) < x.conf.limits.Hosts {
				x.report.MX.Dropped = append(x.report.MX.Dropped, DroppedHost{printable([]byte(mx.Host), peerText), mx.Pref, err})
			}
			continue
		}
		if !slices.ContainsFunc(hosts, func(c candidate) bool { return c.name == name }) {
			hosts = append(hosts, candidate{name: name, pref: mx.Pref, mx: set.Answer})
		}
	}
	inOrder(x.conf, hosts, func(h candidate) uint16 { return h.pref })
	if n := x.conf.limits.Hosts; len(hosts) > n {
		x.report.MX.Beyond = len(hosts) - n
		hosts = hosts[:n]
	}
	return hosts
}

// inOrder sorts by preference and shuffles what is equal (RFC 5321 section 5.1).
func inOrder[T any](c *config, list []T, pref func(T) uint16) {
	slices.SortStableFunc(list, func(a, b T) int { return int(pref(a)) - int(pref(b)) })
	for start := 0; start < len(list); {
		end := start + 1
		for end < len(list) && pref(list[end]) == pref(list[start]) {
			end++
		}
		equal := list[start:end]
		c.shuffle(len(equal), func(i, j int) { equal[i], equal[j] = equal[j], equal[i] })
		start = end
	}
}

// withoutSelf drops the hosts that are this system and all that are no better
// (RFC 5321 section 5.1): mail sent there could only come back.
func (x *delivery) withoutSelf(hosts []candidate) (rest []candidate, loop bool) {
	self := x.conf.d.Self
	if self == nil {
		return hosts, false
	}
	for _, h := range hosts { // in the order of preference, but equals are shuffled
		if self(h.name, netip.Addr{}) {
			return slices.DeleteFunc(hosts, func(c candidate) bool { return c.pref >= h.pref }), true
		}
	}
	return hosts, false
}

// mxState is what a failed MX lookup means for DANE.
func mxState(err error) tlspolicy.DANEState {
	if errors.Is(err, dnssec.KindBogus) {
		return tlspolicy.DANEBogus
	}
	return tlspolicy.DANELookupError
}

// The facts about a domain that end a Dial before any host is tried.
var (
	// ErrNullMX: the domain says that it accepts no mail (RFC 7505). Permanent.
	ErrNullMX = errors.New("the domain accepts no mail: it has a null MX record")
	// ErrNoDomain: the domain does not exist. Permanent.
	ErrNoDomain = errors.New("the domain does not exist")
	// ErrMailLoop: the best mail host is this system itself.
	ErrMailLoop = errors.New("mail for the domain loops back to this system")
	// ErrNoHosts: no MX record has a usable host, or no host has a usable address.
	ErrNoHosts = errors.New("no mail host with a usable address")
)
