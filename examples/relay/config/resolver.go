package config

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/smtpsec/smtpsec/dane/dnssec"
)

const (
	trustNever = dnssec.TrustNever
	// maxAnchors bounds a file of trust anchors.
	maxAnchors = 1 << 20
	// dnsPort is where name servers listen (RFC 1035 section 4.2).
	dnsPort = 53
)

var (
	resolverKinds = []choice[ResolverKind]{
		{"system", ResolverSystem}, {"stub", ResolverStub}, {"validator", ResolverValidator}, {"lab", ResolverLab},
	}
	trusts = []choice[dnssec.TrustAD]{
		{"auto", dnssec.TrustAuto}, {"always", dnssec.TrustAlways}, {"never", dnssec.TrustNever},
	}
)

// resolver reads the choice of a DNS resolver and what belongs to it.
func (l *loader) resolver(t *table) {
	r := &l.c.Resolver
	r.Kind, _ = pick(t, "kind", ResolverSystem, resolverKinds)
	var common dnssec.Common
	servers, _ := t.texts("servers")
	for _, item := range servers {
		if addr, ok := server(item.text); ok {
			common.Upstream.Servers = append(common.Upstream.Servers, addr)
		} else {
			item.fail(l, "%s is no name server: write an IP address, with a port as \"192.0.2.1:53\" or \"[2001:db8::1]:53\"", show(item.text))
		}
	}
	common.Timeout = t.duration("timeout", 0, 100*time.Millisecond, 5*time.Minute)
	r.Stub.Common, r.Validator.Common = common, common
	r.Stub.Trust, _ = pick(t, "trust", dnssec.TrustAuto, trusts)
	if path, n := t.text("anchors"); n != nil {
		r.Validator.Anchors = l.anchors(n, path)
	}
	zones, _ := t.texts("insecure-zones")
	for _, item := range zones {
		if zone := l.host(item, item.text); zone != "" {
			r.Validator.InsecureZones = append(r.Validator.InsecureZones, zone)
		}
	}
	if t != nil {
		l.belongs(t, "servers", r.Kind != ResolverLab)
		l.belongs(t, "timeout", r.Kind != ResolverLab)
		l.belongs(t, "trust", r.Kind == ResolverStub)
		l.belongs(t, "anchors", r.Kind == ResolverValidator)
		l.belongs(t, "insecure-zones", r.Kind == ResolverValidator)
	}
	t.done()
}

// belongs tells of a key that another kind of resolver has.
func (l *loader) belongs(t *table, key string, ok bool) {
	n := t.n.table[key]
	if kind := t.n.table["kind"]; n != nil && !ok && !(kind != nil && wordOf(resolverKinds, l.c.Resolver.Kind) != kind.text) {
		n.fail(l, "has no effect with kind = %q: choose another kind, or take it out", wordOf(resolverKinds, l.c.Resolver.Kind))
	}
}

// server reads the address of a name server.
func server(text string) (netip.AddrPort, bool) {
	if addr, err := netip.ParseAddrPort(text); err == nil {
		return addr, addr.Port() != 0
	}
	addr, err := netip.ParseAddr(text)
	return netip.AddrPortFrom(addr, dnsPort), err == nil
}

func (l *loader) anchors(n *node, path string) []dnssec.Anchor {
	path = l.path(n, path)
	if path == "" {
		return nil
	}
	data, problem := readBounded(path, maxAnchors)
	if problem != "" {
		n.fail(l, "%s %s", show(path), problem)
		return nil
	}
	anchors, err := dnssec.ParseAnchors(bytes.NewReader(data))
	if err == nil && len(anchors) == 0 {
		n.fail(l, "%s has no DS or DNSKEY record", show(path))
	}
	if err != nil {
		n.fail(l, "%s: %s", show(path), reason(err))
	}
	return anchors
}

func (r Resolver) open(ctx context.Context, logger *slog.Logger) (dnssec.Resolver, error) {
	switch r.Kind {
	case ResolverStub:
		o := r.Stub
		o.Logger = logger
		return resolverOf(dnssec.NewStub(o))
	case ResolverValidator:
		o := r.Validator
		o.Logger = logger
		return resolverOf(dnssec.NewValidator(o))
	case ResolverLab:
		return nil, ErrLab
	}
	common := r.Stub.Common
	common.Logger = logger
	return dnssec.FromSystem(ctx, common)
}

// resolverOf keeps a nil pointer out of the interface.
func resolverOf[R dnssec.Resolver](r R, err error) (dnssec.Resolver, error) {
	if err != nil {
		return nil, err
	}
	return r, nil
}
