package dnssec

import (
	"context"
	"net/netip"
	"time"
)

// How long the verdict of a self-check stands.
const (
	fitFor   = time.Hour
	unfitFor = time.Minute
)

// A fitness is what is known about the servers of a list. It is never changed.
type fitness struct {
	list       *serverList
	servers    []netip.AddrPort // those to ask: all, or if trusted those that passed
	trusted    bool             // their AD bit counts
	reason     *Error           // why not; nil if trusted
	due        time.Time        // when to check again; zero = never
	generation uint64           // of the cache, for answers given under this verdict
}

// Check implements Checker. It runs the self-check now, which costs each server one query, or two with ProbeBogus. If
// it finds that answers cannot be trusted, the error is KindUnusable and says what to change.
func (s *Stub) Check(ctx context.Context) error {
	fit, failed := s.check(ctx, s.source.current(s.options.Now()))
	switch {
	case failed == nil:
	case ctx.Err() != nil:
		return canceled(ctx, Question{".", TypeDNSKEY})
	default:
		return failed
	}
	if fit.reason != nil {
		return fit.reason
	}
	return nil
}

// fitness returns the verdict that stands, and finds one if there is none.
func (s *Stub) fitness(ctx context.Context) (*fitness, *Error) {
	now := s.options.Now()
	list := s.source.current(now)
	if fit := s.fit.Load(); fit != nil && fit.list == list && (fit.due.IsZero() || now.Before(fit.due)) {
		return fit, nil
	}
	return s.check(ctx, list)
}

// check runs the self-check, once for all who want it at the same time.
func (s *Stub) check(ctx context.Context, list *serverList) (*fitness, *Error) {
	fit, err, ok := s.checks.do(ctx, list, func(ctx context.Context) (*fitness, error) {
		fit, failed := s.judge(ctx, list)
		if failed != nil {
			return nil, failed
		}
		return s.adopt(fit), nil
	})
	switch {
	case !ok:
		return nil, ended(ctx, checkQuery, nil)
	case err != nil:
		return nil, err.(*Error)
	}
	return fit, nil
}

// checkQuery is the question of the self-check: whoever validates has these records and knows that they are secure.
var checkQuery = query{name: rootName, typ: TypeDNSKEY, ad: true}

// judge finds out whether the servers of list can be believed. An error is no verdict.
func (s *Stub) judge(ctx context.Context, list *serverList) (*fitness, *Error) {
	if reason := s.distrust(list); reason != "" {
		return &fitness{list: list, servers: list.servers, reason: unusable(reason, nil)}, nil
	}
	type verdict struct {
		server   netip.AddrPort
		unfit    string
		failed   *Error
		position int
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	verdicts := make(chan verdict, len(list.servers))
	for i, server := range list.servers {
		go func() {
			unfit, failed := s.judgeServer(ctx, list, server)
			verdicts <- verdict{server, unfit, failed, i}
		}()
	}
	// A server that is down must not hold up the others: once its first try is over, one that passed is enough.
	patience := time.NewTimer(list.timeout)
	defer patience.Stop()
	var failure, reason *Error
	passed := make([]netip.AddrPort, len(list.servers))
	anyPassed := false
	for waiting := len(list.servers); waiting > 0; waiting-- {
		var v verdict
		if anyPassed {
			select {
			case v = <-verdicts:
			case <-patience.C:
				waiting = 1
				continue
			}
		} else {
			v = <-verdicts
		}
		switch {
		case v.failed != nil:
			failure = moreTelling(failure, v.failed)
		case v.unfit != "":
			reason = &Error{Kind: KindUnusable, Reason: v.unfit, EDE: noEDE, Server: v.server}
		default:
			passed[v.position], anyPassed = v.server, true
		}
	}
	now := s.options.Now()
	switch {
	case reason != nil: // also if another passed: the list is as good as its worst server
		return &fitness{list: list, servers: list.servers, reason: reason, due: now.Add(unfitFor)}, nil
	case !anyPassed:
		return nil, failure
	}
	fit := &fitness{list: list, trusted: true, due: now.Add(fitFor)}
	for _, server := range passed {
		if server.IsValid() {
			fit.servers = append(fit.servers, server)
		}
	}
	return fit, nil
}

// distrust says why the servers are not believed, before any of them is asked; empty = believed.
func (s *Stub) distrust(list *serverList) string {
	switch s.options.Trust {
	case TrustAlways:
		return ""
	case TrustAuto:
		return list.distrust()
	}
	return "StubOptions.Trust is TrustNever"
}

// judgeServer says why server is unfit; empty = fit. Only an answer is evidence: SERVFAIL is also what a validating
// resolver says that has lost its own network, and must not make answers Indeterminate.
func (s *Stub) judgeServer(ctx context.Context, list *serverList, server netip.AddrPort) (unfit string, failed *Error) {
	start := time.Now()
	defer func() {
		event := Event{Kind: EventCheck, Question: Question{".", TypeDNSKEY}, Server: server, Elapsed: time.Since(start)}
		if unfit != "" {
			event.Err = unusable(unfit, nil)
		} else if failed != nil {
			event.Err = failed
		}
		s.options.Trace(event)
	}()
	one := []netip.AddrPort{server}
	r, failed := s.net.ask(ctx, list, one, checkQuery)
	if failed != nil {
		return "", failed
	}
	keys, _, problem := r.at(rootName, TypeDNSKEY)
	switch {
	case problem != "" || len(keys) == 0 || r.rcode != rcodeSuccess:
		return "it has no DNSKEY records for the root zone; name a resolver that validates", nil
	case !r.ad:
		return "it does not set the AD bit, so it does not validate or does not say so; turn on DNSSEC validation there", nil
	}
	if s.probe == "" {
		return "", nil
	}
	if _, failed := s.net.ask(ctx, list, one, query{name: s.probe, typ: TypeA, ad: true}); failed == nil {
		return "it answers for " + s.options.ProbeBogus + ", which must fail; turn on DNSSEC validation there", nil
	} else if ctx.Err() != nil {
		return "", failed
	}
	return "", nil
}

// adopt makes fit the verdict that stands. Answers given under another one are forgotten.
func (s *Stub) adopt(fit *fitness) *fitness {
	s.adopting.Lock()
	defer s.adopting.Unlock()
	old := s.fit.Load()
	if old == nil || old.list != fit.list || old.trusted != fit.trusted {
		fit.generation = s.cache.purge()
	} else {
		fit.generation = old.generation
	}
	s.fit.Store(fit)
	switch {
	case s.silent.Load():
	case fit.trusted && (old == nil || !old.trusted):
		s.options.Logger.Info("DNS answers carry security")
		s.options.Trace(Event{Kind: EventTrusted})
	case !fit.trusted && (old == nil || old.trusted || old.reason.Error() != fit.reason.Error()):
		s.options.Logger.Warn("DNS answers are not trusted", "reason", fit.reason)
		s.options.Trace(Event{Kind: EventUntrusted, Err: fit.reason})
	}
	return fit
}

// doubt makes the self-check due: none of the servers that passed it can be reached, and others may be back.
func (s *Stub) doubt(fit *fitness) {
	if !fit.trusted || len(fit.servers) == len(fit.list.servers) {
		return
	}
	doubtful := *fit
	doubtful.due = s.options.Now()
	s.fit.CompareAndSwap(fit, &doubtful)
}
