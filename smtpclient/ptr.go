package smtpclient

import (
	"context"
	"net/netip"
	"slices"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// references returns the names that the server's certificate is compared with,
// nil if the requirement compares none.
func (t *attempt) references(ctx context.Context) *tlspolicy.References {
	if !t.requirement.NeedsChain() {
		return nil
	}
	names := t.plan.names
	if t.requirement.NeedsVerify() && t.x.conf.d.Verify.PTR {
		if t.plan.ptr != nil {
			names.PTR = t.plan.ptr[t.a.Addr.Addr()]
		} else {
			names.PTR = t.x.confirmedPTR(ctx, t.a.Addr.Addr())
		}
	}
	refs, err := tlspolicy.NewReferences(names)
	if err != nil {
		return nil // matches nothing
	}
	return refs
}

// confirmedPTR returns the names of an address that lead back to it. What cannot
// be looked up is no name: the check becomes stricter by it, never laxer.
func (x *delivery) confirmedPTR(ctx context.Context, addr netip.Addr) []tlspolicy.PTRName {
	ctx, cancel := context.WithTimeout(ctx, x.conf.timeouts.Resolve)
	defer cancel()
	names, answer, err := dnssec.LookupPTR(ctx, x.resolver, addr)
	if err != nil {
		return nil
	}
	var confirmed []tlspolicy.PTRName
	for _, name := range names[:min(len(names), tlspolicy.MaxPTRNames)] {
		forward := dnssec.TypeAAAA
		if addr.Is4() {
			forward = dnssec.TypeA
		}
		back, err := x.resolver.Lookup(ctx, name, forward)
		if err != nil {
			continue
		}
		if slices.ContainsFunc(back.Records, func(r dnssec.Record) bool {
			a, ok := netip.AddrFromSlice(r.Data)
			return ok && a == addr
		}) {
			secure := answer.Security == dnssec.Secure && back.Security == dnssec.Secure
			confirmed = append(confirmed, tlspolicy.PTRName{Name: name, Secure: secure})
		}
	}
	return confirmed
}
