package mtasts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"
)

// discover brings the entry of a domain up to date. No caller can cancel it, and
// each of its steps has a deadline of its own; only a planned refresh ends with
// ctx, and then leaves no trace. release, if not nil, gives a lease back; it may take
// as long as the store does and is for after the answer is out.
func (g *engine) discover(ctx context.Context, domain string, why purpose) (a answer, release func()) {
	now := g.clock.Now()
	e := entry{Domain: strings.Clone(domain)} // the caller's text may be part of a large one
	if cached := g.cache.peek(domain); cached != nil {
		e = *cached
	}
	e, events := g.settle(e, now)
	g.emit(events)
	e, news := g.load(e, now)
	// Another flight may have ended since the caller looked, or another process
	// may have written to the store.
	if r, enough := g.enough(&e, news, now, why); enough {
		g.store(&e, now, why)
		return answer{result: r}, nil
	}
	e, release, done := g.lease(ctx, e, why)
	if done {
		now = g.clock.Now()
		g.store(&e, now, why)
		return answer{result: g.result(&e, now), asked: true}, release
	}
	return g.ask(ctx, e, why), release
}

// ask asks for the record and, if that is due, fetches the policy.
func (g *engine) ask(ctx context.Context, e entry, why purpose) answer {
	now, domain := g.clock.Now(), e.Domain
	if g.trace {
		g.emit([]Event{{Kind: EventDNSQuery, Level: slog.LevelDebug, Time: now, Domain: domain}})
	}
	seen := g.queryRecord(ctx, domain)
	if ctx.Err() != nil {
		return answer{}
	}
	seen.refresh = why == planned
	now = g.clock.Now()
	e, events := g.settle(e, now)
	g.emit(events)
	e, events, get := g.observeRecord(e, now, seen)
	g.emit(events)
	if !get.wanted {
		r := g.result(&e, now)
		e = g.save(e, now, why)
		g.store(&e, now, why)
		if merged := g.result(&e, now); merged.Policy != nil {
			r = merged // another process has fetched it meanwhile
		}
		return answer{result: r, asked: true}
	}
	g.store(&e, now, why)
	if wait := get.at.Sub(now); wait > 0 {
		g.pause(ctx, wait)
	}
	fetched := g.getPolicy(ctx, domain, get.id)
	if ctx.Err() != nil {
		return answer{}
	}
	e, events = g.observePolicy(e, fetched)
	g.emit(events)
	now = g.clock.Now()
	r := g.resultFetched(&e, now)
	kept, events := g.settle(e, now)
	g.emit(events)
	kept = g.save(kept, now, why)
	g.store(&kept, now, why)
	if merged := g.result(&kept, now); r.Policy == nil && merged.Policy != nil {
		r = merged // the store has it after all
	}
	return answer{result: r, asked: true}
}

// enough tells whether an entry answers the purpose without asking anybody; news
// says that the store has just brought it.
func (g *engine) enough(e *entry, news bool, now time.Time, why purpose) (Result, bool) {
	r, need := g.serve(e, now)
	switch why {
	case delivery: // a check in the background is up to the next lookup
		return r, need == needNothing || need == needCheck && news
	case recheck:
		recent := !e.SeenAt.IsZero() && now.Sub(e.SeenAt) < recheckGap
		return r, need != needAnswer && recent
	case planned:
		info := e.info(now)
		info.LastUsed = now // the plan has looked at that
		due, _ := Plan(now, slices.Values([]EntryInfo{info}), PlanLimits{RefreshInterval: g.RefreshInterval})
		return r, len(due) == 0
	}
	return r, false
}

// pause waits without a place, so that domains that must wait keep no others
// from being served.
func (g *engine) pause(ctx context.Context, d time.Duration) {
	<-g.places
	c, stop := g.clock.NewTimer(d)
	select {
	case <-c:
	case <-ctx.Done():
	}
	stop()
	g.places <- struct{}{}
}

// queryRecord asks for the TXT record of a domain and reads it.
func (g *engine) queryRecord(ctx context.Context, domain string) recordSeen {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	// The final dot keeps search lists out.
	rrs, err := g.lookupTXT(ctx, "_mta-sts."+domain+".")
	var dnsErr *net.DNSError
	if err != nil && !(errors.As(err, &dnsErr) && dnsErr.IsNotFound) {
		return recordSeen{fail: recordFailure(domain, OutcomeDNSError, ReasonDNSError, err)}
	}
	if err != nil {
		return recordSeen{fail: recordFailure(domain, OutcomeNoRecord, ReasonRecordAbsent, err)}
	}
	record, err := g.record.selectRecord(rrs)
	switch {
	case err == nil:
		return recordSeen{id: strings.Clone(record.ID)}
	case errors.Is(err, ErrNoRecord):
		return recordSeen{fail: recordFailure(domain, OutcomeNoRecord, ReasonRecordAbsent, nil)}
	case errors.Is(err, ErrMultipleRecords):
		return recordSeen{fail: recordFailure(domain, OutcomeMultipleRecords, ReasonRecordMultiple, nil)}
	}
	return recordSeen{fail: recordFailure(domain, OutcomeInvalidRecord, ReasonRecordInvalid, err)}
}

// lookupTXT turns a panic of the resolver into an error: it must not take the
// deliveries of other domains along.
func (g *engine) lookupTXT(ctx context.Context, name string) (rrs []string, err error) {
	defer func() {
		if p := recover(); p != nil {
			rrs, err = nil, fmt.Errorf("panic in the resolver: %v", p)
		}
	}()
	return g.resolver.LookupTXT(ctx, name)
}

func recordFailure(domain string, outcome Outcome, reason string, cause error) failure {
	return failure{Outcome: outcome, Reason: reason, Err: &Error{Op: opRecord, Domain: domain, Reason: reason, Err: cause}}
}

// getPolicy fetches and reads the policy of a domain.
func (g *engine) getPolicy(ctx context.Context, domain, id string) policySeen {
	seen := policySeen{id: id, host: policyHostPrefix + domain, start: g.clock.Now()}
	if g.trace {
		g.emit([]Event{{Kind: EventFetchStart, Level: slog.LevelDebug, Time: seen.start, Domain: domain, ID: id, Host: seen.host}})
	}
	body, err := g.fetcher.get(ctx, domain)
	seen.end = g.clock.Now()
	if err != nil {
		reason, outcome := ReasonConnect, OutcomeFetchError
		var fetchErr *fetchError
		if errors.As(err, &fetchErr) {
			reason, err = fetchErr.reason, fetchErr.err
		}
		if reason == ReasonCert {
			outcome = OutcomeWebPKI
		}
		seen.fail = fetchFailure(domain, outcome, reason, err)
		return seen
	}
	seen.policy, seen.warnings, err = readPolicy(g.policy, body)
	if err != nil {
		seen.fail = fetchFailure(domain, OutcomePolicyInvalid, ReasonSyntax, err)
		return seen
	}
	seen.body = body
	return seen
}

func fetchFailure(domain string, outcome Outcome, reason string, cause error) failure {
	host := policyHostPrefix + domain
	err := &Error{Op: opFetch, Domain: domain, Host: host, Reason: reason, Err: cause}
	return failure{Outcome: outcome, Reason: reason, Err: err, Later: &Error{Op: opBackoff, Domain: domain, Host: host, Reason: reason, Err: err}}
}

// readPolicy parses a policy file as the cache keeps it.
func readPolicy(mode Mode, body []byte) (*Policy, []Warning, error) {
	policy := new(Policy)
	var warnings []Warning
	parser := Parser{Mode: mode, Warn: func(w Warning) {
		if len(warnings) < maxWarnings {
			warnings = append(warnings, w)
		}
	}}
	if err := parser.Policy(string(body), policy); err != nil {
		return nil, nil, err
	}
	return policy, warnings, nil
}
