package dnssec

import (
	"context"
	"errors"
	"sync/atomic"
)

// FromSystem returns a Resolver over the servers that c names, by default those of the system's resolv.conf. It asks them
// what they can do and takes the first of these that is possible:
//
//   - A Stub with TrustAuto, if the servers can be believed and pass its self-check.
//   - A Validator with the built-in root anchors, if they pass signatures on and the root keys validate.
//   - A Stub whose answers are all Indeterminate: mail flows, opportunistic DANE is off, and what demands DANE refuses.
//     One EventUntrusted and one warning in c.Logger tell.
//
// The Resolver is a Checker, and Check says for the last case what is wrong with both. The choice is made now and again
// when resolv.conf has changed, but never because a lookup fails: if the servers of a Validator begin to strip signatures,
// lookups fail. Servers that did not reply at all are no reason for a choice; the next lookup asks them again.
//
// Whoever controls the network when the program starts can keep answers Indeterminate, and so opportunistic DANE off. Who
// needs certainty calls Check at start and stops on an error, or makes the Stub or Validator himself.
//
// The error is a *Error: KindUnusable if no server is configured, KindCanceled if ctx ended.
func FromSystem(ctx context.Context, c Common) (Resolver, error) {
	s, err := newSystem(c, nil)
	if err != nil {
		return nil, err
	}
	s.choice(ctx) // an error here is one of the next lookup
	if ctx.Err() != nil {
		return nil, canceled(ctx, Question{})
	}
	return s, nil
}

// A system chooses between a Stub and a Validator over the same servers.
type system struct {
	common    Common
	stub      *Stub
	validator *Validator
	choices   flights[*serverList, *choice]
	chosen    atomic.Pointer[choice]
}

// A choice is made once for each list of servers.
type choice struct {
	list     *serverList
	resolver interface {
		Resolver
		Checker
	}
	reason *Error // why answers are Indeterminate; nil if they are not
}

// newSystem makes a system that has not chosen yet; anchors nil = the root's.
func newSystem(c Common, anchors []Anchor) (*system, error) {
	stub, err := NewStub(StubOptions{Common: c})
	if err != nil {
		return nil, err
	}
	validator, err := NewValidator(ValidatorOptions{Common: c, Anchors: anchors})
	if err != nil {
		return nil, err
	}
	c.setDefaults()
	validator.source = stub.source // one look at resolv.conf for both
	s := &system{common: c, stub: stub, validator: validator}
	s.choices.timeout = 2 * c.Timeout // two checks
	return s, nil
}

// Lookup implements Resolver.
func (s *system) Lookup(ctx context.Context, name string, t Type) (*Answer, error) {
	c := s.standing()
	if c == nil {
		q, failed := newQuestion(name, t)
		if failed != nil {
			return nil, failed
		}
		if c, failed = s.choice(ctx); failed != nil {
			if ctx.Err() != nil {
				return nil, canceled(ctx, q)
			}
			return nil, about(q, failed)
		}
	}
	return c.resolver.Lookup(ctx, name, t)
}

// Check implements Checker.
func (s *system) Check(ctx context.Context) error {
	c, failed := s.choice(ctx)
	switch {
	case failed == nil:
	case ctx.Err() != nil:
		return canceled(ctx, Question{".", TypeDNSKEY})
	default:
		return failed
	}
	err := c.resolver.Check(ctx)
	if c.reason != nil && errors.Is(err, KindUnusable) {
		return c.reason
	}
	return err
}

// standing returns the choice for the servers as they are now, nil if there is none yet.
func (s *system) standing() *choice {
	if c := s.chosen.Load(); c != nil && c.list == s.stub.source.current(s.common.Now()) {
		return c
	}
	return nil
}

// choice returns the standing choice or makes one, once for all who want it at the same time.
func (s *system) choice(ctx context.Context) (*choice, *Error) {
	if c := s.standing(); c != nil {
		return c, nil
	}
	list := s.stub.source.current(s.common.Now())
	c, err, ok := s.choices.do(ctx, list, func(ctx context.Context) (*choice, error) {
		c, failed := s.choose(ctx, list)
		if failed != nil {
			return nil, failed
		}
		return c, nil
	})
	switch {
	case !ok:
		return nil, ended(ctx, checkQuery, nil)
	case err != nil:
		return nil, err.(*Error)
	}
	return c, nil
}

// choose finds out what the servers can do. An error is no verdict about them. Until it is done neither the Stub nor the
// Validator says anything about its fitness; then the one chosen does.
func (s *system) choose(ctx context.Context, list *serverList) (*choice, *Error) {
	s.stub.silent.Store(true)
	s.validator.silent.Store(true)
	c := &choice{list: list, resolver: s.stub}
	unfit, _ := s.stub.Check(ctx).(*Error)
	if unfit != nil {
		if unfit.Kind != KindUnusable {
			return nil, unfit
		}
		failed, _ := s.validator.Check(ctx).(*Error)
		switch {
		case failed == nil:
			c.resolver = s.validator
		case failed.Kind == KindTimeout || failed.Kind == KindNetwork || failed.Kind == KindCanceled:
			return nil, &Error{Kind: failed.Kind, Reason: unfit.Reason + "; and it does not reply", EDE: noEDE, Err: failed}
		default:
			c.reason = unusable(unfit.Reason+"; and nothing can be validated here", failed)
		}
	}
	s.chosen.Store(c)
	if c.reason != nil {
		s.common.Logger.Warn("DNS answers are not trusted", "reason", c.reason)
		s.common.Trace(Event{Kind: EventUntrusted, Err: c.reason})
	} else {
		s.common.Logger.Info("DNS answers carry security")
		s.common.Trace(Event{Kind: EventTrusted})
	}
	if c.resolver == s.validator {
		s.validator.silent.Store(false)
	} else {
		s.stub.silent.Store(false)
	}
	return c, nil
}
