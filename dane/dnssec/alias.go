package dnssec

import "context"

// StepSecurity returns the security of one alias alone. If s carries it, that is the result; if it is not
// established, the alias RRset is asked for by itself.
//
// It is needed because the AD bit speaks for a whole chain, while DANE for SMTP wants the first alias of an MX host
// judged by itself (RFC 7672 sections 2.2.2 and 2.2.3): a secure alias into an unsigned zone is still a secure alias.
// For a DNAME the DNAME RRset is asked for, because the CNAME made from it has no signature of its own.
//
// The result may be Indeterminate if r cannot tell. An error means that nothing is known and must not be read as
// Insecure; errors are those of r, and KindMalformed if the alias is gone by now.
func StepSecurity(ctx context.Context, r Resolver, s Step) (Security, error) {
	if s.Security != Indeterminate {
		return s.Security, nil
	}
	a, err := r.Lookup(ctx, s.Owner, s.Type)
	if err != nil {
		return Indeterminate, err
	}
	if a.Outcome != Found || a.Aliased() {
		return Indeterminate, &Error{
			Kind: KindMalformed, Name: a.Name, Type: a.Type, EDE: noEDE,
			Reason: "an alias was followed here, but the resolver has no such alias any more",
		}
	}
	return a.Security, nil
}
