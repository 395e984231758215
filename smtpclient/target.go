package smtpclient

import (
	"errors"
	"fmt"
	"slices"

	"github.com/smtpsec/smtpsec/internal/hostname"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// Target is what a Dial is to reach. One of Domain and Host at least is set.
type Target struct {
	// Domain is the recipient domain, or an address literal in brackets. Its MX
	// hosts are used unless it has a route.
	Domain string
	// Host is a configured host, "host", "host:port" or an address: a route for
	// this Dial alone. Without Domain it takes the domain's place among the names
	// that a certificate is compared with.
	Host string
	// Message is what the message asks of its transport (RFC 8689). With
	// RequireTLS only hosts that offer REQUIRETLS inside TLS give a Session; the
	// option of the MAIL command is the caller's to send.
	Message tlspolicy.Message
	// NoReport keeps the delivery out of Dialer.Reports. It is for mail that carries
	// TLS reports itself, which would be reported on for ever.
	NoReport bool
}

// String returns Domain, or Host if there is none.
func (t Target) String() string {
	if t.Domain == "" {
		return t.Host
	}
	return t.Domain
}

// ways returns the ways to a target in the order in which they are tried: one for
// each hop of its route, or one to its MX hosts. Nothing has been looked up but
// the policy.
func (c *config) ways(t Target) ([]*delivery, error) {
	way := delivery{conf: c, port: c.port, budget: new(c.limits.Connections), message: t.Message, noReport: t.NoReport}
	report := Report{}
	var self []candidate // the host of an address literal
	if addr, ok := hostname.Literal(t.Domain); ok {
		addr = addr.Unmap().WithZone("")
		report.Domain = literal(addr)
		self = []candidate{{name: addr.String(), literal: addr}}
	} else if t.Domain != "" || t.Host == "" {
		var err error
		if way.domain, err = hostname.Parse(t.Domain); err != nil {
			return nil, badName(t.Domain, err)
		}
		report.Domain = way.domain
	}
	hops, err := c.route(t, report.Domain)
	if err != nil {
		return nil, err
	}
	if len(hops) == 0 {
		way.hosts, way.route = self, tlspolicy.Route{Domain: report.Domain}
		var hop tlspolicy.NextHop
		if self != nil {
			hop = tlspolicy.NextHop{Host: report.Domain, Port: way.port}
		}
		way.report = &report
		if err := way.settle(hop); err != nil {
			return nil, err
		}
		return c.withOffer([]*delivery{&way})
	}
	ways := make([]*delivery, 0, len(hops))
	for _, hop := range hops {
		x, r := way, report
		x.report = &r
		if err := x.through(hop); err != nil {
			return nil, configError(t.String(), err)
		}
		if err := x.settle(x.hop.nextHop(x.port)); err != nil {
			return nil, err
		}
		ways = append(ways, &x)
	}
	return c.withOffer(ways)
}

// route returns the hops for a target, none if mail goes to MX hosts.
func (c *config) route(t Target, domain string) ([]Hop, error) {
	if t.Host != "" {
		hop, err := ParseHop(t.Host)
		hop.Literal = true
		return []Hop{hop}, err
	}
	if c.d.Routes == nil {
		return nil, nil
	}
	hops, ok := c.d.Routes.Route(domain)
	switch {
	case !ok:
		return nil, nil
	case len(hops) == 0:
		return nil, configError(t.String(), fmt.Errorf("%w: it has no hops", ErrRoute))
	}
	hops = slices.Clone(hops)
	inOrder(c, hops, func(h Hop) uint16 { return h.Pref })
	return hops[:min(len(hops), c.limits.Hosts)], nil
}

// through makes the delivery go to a configured hop.
func (x *delivery) through(hop Hop) error {
	hop, addr, err := hop.canonical()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRoute, err)
	}
	if hop.Port != 0 {
		x.port = hop.Port
	}
	x.hop, x.report.Route = hop, hop
	x.route = tlspolicy.Route{Domain: x.report.Domain, Host: hop.Host, MX: !hop.Literal}
	if hop.Literal {
		x.report.Host = fmt.Sprintf("%s:%d", hop.nextHop(0).Host, x.port)
		x.hosts = []candidate{{name: hop.Host, literal: addr, named: true, local: true}}
	}
	return nil
}

// settle looks up the settings of the destination.
func (x *delivery) settle(hop tlspolicy.NextHop) error {
	var err error
	x.settings, x.report.Origin, err = x.conf.lookup(x.domain, hop)
	switch {
	case errors.Is(err, tlspolicy.ErrBadDomain):
		return badName(x.label(), err)
	case err != nil: // the table could not be asked; nothing is known about the destination
		return configError(x.label(), err)
	}
	wished := x.settings.Mode != tlspolicy.No && x.settings.MTASTS == tlspolicy.On
	x.settings = x.settings.For(x.message)
	x.report.Settings = x.settings
	if x.settings.Mode != tlspolicy.No {
		x.useDANE = x.settings.DANE != tlspolicy.DANENone
		x.useSTS = x.settings.MTASTS == tlspolicy.On
	}
	if x.useSTS && x.conf.d.MTASTS == nil {
		if wished {
			return configError(x.label(), ErrNoMTASTS)
		}
		x.noSTS = tlspolicy.STSDiscoveryError // it is on for this message only
	}
	return nil
}
