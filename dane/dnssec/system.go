package dnssec

import "context"

// FromSystem returns a Resolver over the servers that c names, by default those of the system's resolv.conf, and runs
// its self-check.
//
// It is a Stub with TrustAuto. If its servers can be believed and pass the self-check, answers carry security. If not,
// every answer is Indeterminate: mail flows, opportunistic DANE is off, and what demands DANE refuses. One
// EventUntrusted and one warning in c.Logger tell; the Resolver is a Checker, and Check says why and what to
// change. Servers that did not reply are checked again by the first lookup.
//
// Whoever controls the network when the program starts can keep answers Indeterminate, and so opportunistic DANE off,
// only if he controls the servers that would be believed. Who needs certainty calls Check at start and stops on an error.
//
// The error is a *Error: KindUnusable if no server is configured, KindCanceled if ctx ended.
func FromSystem(ctx context.Context, c Common) (Resolver, error) {
	stub, err := NewStub(StubOptions{Common: c})
	if err != nil {
		return nil, err
	}
	stub.Check(ctx) // its verdict stands in stub
	if ctx.Err() != nil {
		return nil, canceled(ctx, Question{})
	}
	return stub, nil
}
