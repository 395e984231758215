package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/hostname"
	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/mtasts/dirstore"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// maxRemembered bounds what is kept of the MTA-STS policies of domains that have been
// looked at: a probe meets each domain once.
const maxRemembered = 256

// prober sets everything up. closing ends what was started.
func (o *options) prober(ctx context.Context) (p *prober, closing func(), err error) {
	p = &prober{
		helo: o.helo, port: uint16(o.port), timeout: o.timeout, question: o.question, now: time.Now,
		dial:  (&net.Dialer{}).DialContext,
		trust: tlspolicy.NewSystemVerifier(tlspolicy.PoolOptions{}),
	}
	closing = func() {}
	if o.helo != "" {
		if p.helo, err = hostname.Parse(o.helo); err != nil {
			return nil, nil, fmt.Errorf("-helo: %w", err)
		}
	}
	if o.lab {
		if closing, err = p.intoLab(); err != nil {
			return nil, nil, err
		}
	} else if p.resolver, err = newResolver(ctx, o.resolver); err != nil {
		return nil, nil, fmt.Errorf("-resolver %s: %w", o.resolver, err)
	}
	p.policies = &mtasts.Client{
		Resolver: dnssec.NetResolver{Resolver: p.resolver}, Fetch: p.fetch,
		Limits: mtasts.Limits{MaxPolicies: maxRemembered, MaxNegative: maxRemembered, MaxPolicyBytes: maxRemembered << 16},
	}
	if o.cache != "" {
		store, err := dirstore.Open(o.cache, dirstore.Options{})
		if err != nil {
			closing()
			return nil, nil, fmt.Errorf("-cache: %w", err)
		}
		p.policies.Store = store
	}
	return p, closing, nil
}

// newResolver returns who answers DNS questions. Only the servers of the system may be
// believed without their signatures being checked, and only if they have earned it.
func newResolver(ctx context.Context, who string) (dnssec.Resolver, error) {
	switch who {
	case "system":
		return dnssec.FromSystem(ctx, dnssec.Common{})
	case "validator":
		return dnssec.NewValidator(dnssec.ValidatorOptions{})
	}
	at, err := netip.ParseAddrPort(who)
	if err != nil {
		addr, err := netip.ParseAddr(who)
		if err != nil {
			return nil, fmt.Errorf("want system, validator, or the address of a server such as 192.0.2.53 or [2001:db8::53]:53")
		}
		at = netip.AddrPortFrom(addr, 53)
	}
	return dnssec.NewValidator(dnssec.ValidatorOptions{Common: dnssec.Common{Upstream: dnssec.Upstream{Servers: []netip.AddrPort{at}}}})
}

// intoLab starts the Internet in this process and lets the prober look there.
func (p *prober) intoLab() (closing func(), err error) {
	l, err := lab.Start(labWorld())
	if err != nil {
		return nil, err
	}
	if err := p.lookInto(l); err != nil {
		l.Close()
		return nil, err
	}
	return func() { l.Close() }, nil
}

// lookInto lets the prober look at a lab.
func (p *prober) lookInto(l *lab.Lab) (err error) {
	p.resolver, p.dial, p.roots = l.Resolver(), l.DialContext, l.Roots()
	if p.helo == "" {
		p.helo = "probe.sender.example"
	}
	p.fetch = mtasts.FetchConfig{RootCAs: l.Roots(), DialContext: l.DialContext,
		AllowPrefixes: append(lab.Prefixes(), netip.MustParsePrefix("127.0.0.0/8"))}
	p.trust, err = tlspolicy.NewPoolVerifier(l.Roots(), tlspolicy.PoolOptions{})
	return err
}
