package dnssec

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// TrustAD says when the AD bit of the servers is believed.
type TrustAD uint8

const (
	// TrustAuto believes servers that are all on this machine, or named in a resolv.conf with "options trust-ad".
	// 127.0.0.11, the forwarder of container engines, is not believed, nor is a list that mixes both sorts.
	TrustAuto TrustAD = iota

	// TrustAlways believes all servers. Whoever sets it vouches that they validate and that nobody can tamper with
	// the path to them; if that is wrong, forged answers are taken for secure.
	TrustAlways

	// TrustNever believes none: all answers are Indeterminate.
	TrustNever
)

// StubOptions are the options of a Stub. The zero value asks the servers of the system and decides by itself whether
// they can be believed.
type StubOptions struct {
	Common
	Trust TrustAD

	// ProbeBogus is a name whose address records fail validation, for the self-check: a server that answers for it
	// is not believed. "" = no such probe. It is asked for each hour, so use a name of your own.
	ProbeBogus string
}

// A Stub asks a validating resolver and believes its AD bit (RFC 6840 section 5.8). It is safe for concurrent use.
//
// All answers are Secure or Insecure if the servers can be believed (see TrustAD) and pass the self-check: they must
// return the root DNSKEY records with AD. It runs before the first answer and each hour, and each minute while it fails.
// If the servers cannot be believed or answer the check without AD, all answers are Indeterminate, whatever their AD
// bit; Check says why. If no server replies to the check, lookups fail: that is no verdict about them.
type Stub struct {
	front
	options StubOptions
	probe   wireName // ProbeBogus; "" = none
	source  *serverSource
	net     *transport
	checks  flights[*serverList, *fitness]

	adopting sync.Mutex // held while fit is replaced
	fit      atomic.Pointer[fitness]
	silent   atomic.Bool // somebody else tells whether answers carry security
}

// NewStub returns a Stub. It reads resolv.conf if o asks for that, but sends nothing. The error is a *Error: KindUnusable
// if there is no server, KindBadName if ProbeBogus is not a name.
func NewStub(o StubOptions) (*Stub, error) {
	o.setDefaults()
	s := &Stub{options: o, net: newTransport(&o.Common)}
	s.init(&s.options.Common)
	s.checks.timeout = o.Timeout
	if o.ProbeBogus != "" {
		q, failed := newQuestion(o.ProbeBogus, TypeA)
		if failed != nil {
			return nil, failed
		}
		s.probe, _ = parseName(q.Name)
	}
	source, failed := newServerSource(o.Upstream, o.Now())
	if failed != nil {
		return nil, failed
	}
	s.source = source
	return s, nil
}

// Lookup implements Resolver. Answers with an alias and without AD are Insecure as a whole, while their parts are
// Indeterminate: AD speaks for the whole reply. StepSecurity finds out about a part.
//
// Errors are *Error. KindBogus is what the server reports by an extended error (RFC 8914) or by answering only with
// checking disabled.
func (s *Stub) Lookup(ctx context.Context, name string, t Type) (*Answer, error) {
	return s.lookup(ctx, s, name, t)
}

func (s *Stub) ready(name string, t Type) bool { return s.has(s, name, t) }

// settled implements finder.
func (s *Stub) settled(now time.Time) bool {
	fit := s.fit.Load()
	return fit != nil && fit.list == s.source.current(now)
}

// find implements finder.
func (s *Stub) find(ctx context.Context, q Question) (*Answer, *Error) {
	fit, failed := s.fitness(ctx)
	if failed != nil {
		return nil, about(q, failed)
	}
	answer, failed := s.walk(ctx, fit, q)
	s.cache.put(q, answer, failed, s.options.Now(), fit.generation)
	return answer, failed
}

// about returns failed, which stopped the lookup of q elsewhere, as an error about q.
func about(q Question, failed *Error) *Error {
	e := *failed
	e.Name, e.Type = q.Name, q.Type
	if e.At == "" {
		e.At = failed.Name
	}
	return &e
}

// walk asks until the walk from q has come to its end. One reply usually holds the whole chain; a forwarder that
// returns an alias without its target is asked for the target.
func (s *Stub) walk(ctx context.Context, fit *fitness, q Question) (*Answer, *Error) {
	w := newWalk(q)
	whole := Secure
	final := Indeterminate
	for w.outcome == 0 {
		m, failed := s.ask(ctx, fit, query{name: w.at, typ: q.Type, ad: true})
		if failed != nil {
			return nil, about(q, failed)
		}
		before := len(w.steps)
		if failed := w.follow(m.message); failed != nil {
			failed.Server, failed.EDE = m.server, m.ede
			return nil, failed
		}
		switch {
		case !fit.trusted:
			whole = Indeterminate
		case m.ad: // of a NOERROR or NXDOMAIN reply to our question, RFC 4035 section 3.2.3
			for i := range w.steps[before:] {
				w.steps[before+i].Security = Secure
			}
			final = Secure
		default:
			whole = min(whole, Insecure)
			final = Indeterminate
			if len(w.steps) == before {
				final = Insecure
			}
		}
	}
	answer := w.answer(s.options.Now())
	answer.Security, answer.Final, answer.Source = whole, final, SourceAD
	return answer, nil
}

// ask puts a question to the servers that are fit. A SERVFAIL without a word on its cause is asked for again with
// checking disabled: if there is an answer then, it was validation that failed. That answer is used for nothing else.
func (s *Stub) ask(ctx context.Context, fit *fitness, q query) (reply, *Error) {
	r, failed := s.net.ask(ctx, fit.list, fit.servers, q)
	if failed == nil {
		return r, nil
	}
	switch failed.Kind {
	case KindServFail:
		q.cd, q.ad = true, false
		if _, err := s.net.askServer(ctx, fit.list, failed.Server, q); err == nil {
			failed.Kind = KindBogus
			failed.Reason = "the resolver fails, but has an answer with checking disabled"
		}
	case KindTimeout, KindNetwork:
		s.doubt(fit)
	}
	return reply{}, failed
}
