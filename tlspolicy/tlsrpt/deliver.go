package tlsrpt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// Deliver tries to send a report to its targets, unless another node does or it is
// done, and notes in the store what came of it. The error tells that it could not
// be tried or noted; a target that does not take the report is none, but an event.
func (r *Reporter) Deliver(ctx context.Context, d Delivery) error {
	if err := r.check(); err != nil {
		return err
	}
	release, held, err := r.Store.Lease(ctx, d.Day, d.Domain, leaseTime)
	if err != nil || !held {
		return err
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, leaseTime-time.Minute)
	defer cancel()
	p, err := r.Store.Progress(ctx, d.Day, d.Domain)
	if err != nil && !errors.Is(err, ErrCorrupt) { // a lost note is a report sent again, with the same id
		return err
	}
	now := r.now()
	if p.Done || now.Before(p.Next) {
		return nil
	}
	p.Attempts++
	if p.First.IsZero() {
		p.First = now
	}
	if err := r.attempt(ctx, d, &p); err != nil {
		return err
	}
	if !p.Done {
		p.Next = now.Add(retryFirst << min(p.Attempts-1, 10))
		if p.Next.Sub(p.First) > retryFor {
			p.Done = true
			r.trace(Event{Kind: EventGivenUp, Level: slog.LevelWarn, Day: d.Day, Domain: d.Domain})
		}
	}
	if p.Done {
		r.setDone(d.Day, d.Domain)
	}
	return r.Store.SetProgress(ctx, d.Day, d.Domain, p)
}

// attempt makes the report and sends it to the targets that have not got it.
func (r *Reporter) attempt(ctx context.Context, d Delivery, p *Progress) error {
	tally, err := r.Store.Load(ctx, d.Day, d.Domain)
	if err != nil {
		if !errors.Is(err, ErrCorrupt) || tally == nil {
			return err
		}
		r.trace(Event{Kind: EventDeliverError, Level: slog.LevelError, Day: d.Day, Domain: d.Domain, Err: err})
	}
	report := r.report(d, tally)
	_, failures := report.Totals()
	if len(report.Policies) == 0 || r.FailuresOnly && failures == 0 {
		p.Done = true
		return nil
	}
	record, err := r.lookup(ctx, d.Domain)
	switch {
	case errors.Is(err, ErrDNS):
		r.trace(Event{Kind: EventSendFailed, Level: slog.LevelInfo, Day: d.Day, Domain: d.Domain, Err: err})
		return nil // tried again
	case err != nil:
		p.Done = true
		r.trace(Event{Kind: EventNoRecord, Level: slog.LevelDebug, Day: d.Day, Domain: d.Domain, Err: err})
		return nil
	}
	if r.duplicate(ctx, tally, record) {
		p.Done = true
		r.trace(Event{Kind: EventDuplicate, Level: slog.LevelDebug, Day: d.Day, Domain: d.Domain})
		return nil
	}
	return r.sendAll(ctx, d, p, report, slices.Collect(record.usable()))
}

func (r *Reporter) lookup(ctx context.Context, domain string) (Record, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	return Lookup(ctx, r.Resolver, domain)
}

// report makes the report of a tally.
func (r *Reporter) report(d Delivery, tally *Tally) *Report {
	report := &Report{Organization: r.Organization, Begin: d.Day.Begin(), End: d.Day.End(), Contact: r.Contact, Policies: tally.Policies()}
	report.ID = ReportID(d.Day, d.Domain, report.Submitter())
	return report
}

// duplicate reports whether everything in the report of a TLSA base domain goes to
// the same targets in the reports of the recipient domains. A recipient domain that
// cannot be asked proves nothing.
func (r *Reporter) duplicate(ctx context.Context, tally *Tally, record Record) bool {
	direct, sources, many := tally.sources()
	if direct || many || len(sources) == 0 {
		return false
	}
	want := targetSet(record)
	for _, source := range sources {
		other, err := r.lookup(ctx, source)
		if err != nil || !slices.Equal(targetSet(other), want) {
			return false
		}
	}
	return true
}

// targetSet returns the usable targets of a record, in order and each once.
func targetSet(record Record) []string {
	var uris []string
	for t := range record.usable() {
		uris = append(uris, t.URI)
	}
	slices.Sort(uris)
	return slices.Compact(uris)
}

// sendAll sends a report to each target that has not got it. What was sent is noted
// at once: after a crash nobody gets it a second time.
func (r *Reporter) sendAll(ctx context.Context, d Delivery, p *Progress, report *Report, targets []Target) error {
	zipped, err := report.Gzip()
	if err != nil {
		return err
	}
	if p.Targets == nil {
		p.Targets = make(map[string]TargetState)
	}
	sent, waiting := 0, 0
	for _, t := range targets {
		state := p.Targets[t.URI]
		if state.Sent.IsZero() && !state.Ended {
			err := r.send(ctx, d, report, zipped, t)
			event := Event{Kind: EventSent, Level: slog.LevelInfo, Day: d.Day, Domain: d.Domain, Target: t.URI}
			if err != nil {
				event.Kind, event.Err = EventSendFailed, err
				state.Ended, state.Error = permanent(err), clip(err.Error())
			} else {
				state = TargetState{Sent: r.now()}
			}
			r.trace(event)
			p.Targets[t.URI] = state
			if err == nil {
				if err := r.Store.SetProgress(ctx, d.Day, d.Domain, *p); err != nil {
					return err
				}
			}
		}
		switch {
		case !state.Sent.IsZero():
			sent++
		case !state.Ended:
			waiting++
		}
		if sent > 0 && r.FirstTarget {
			break
		}
	}
	if sent > 0 {
		p.Done = true // one target is success (RFC 8460 section 3)
	} else if waiting == 0 {
		p.Done = true
		r.trace(Event{Kind: EventGivenUp, Level: slog.LevelWarn, Day: d.Day, Domain: d.Domain})
	}
	return nil
}

// send sends a report to one target, when no other goes to its host.
func (r *Reporter) send(ctx context.Context, d Delivery, report *Report, zipped []byte, t Target) error {
	unlock, err := r.lockHost(ctx, t.Host)
	if err != nil {
		return err
	}
	defer unlock()
	if t.Scheme == "https" {
		sender := r.HTTP
		if sender == nil {
			sender = new(HTTPSender)
		}
		unverified, err := sender.Send(ctx, t, zipped)
		if unverified != nil {
			r.trace(Event{Kind: EventUnverified, Level: slog.LevelWarn, Day: d.Day, Domain: d.Domain, Target: t.URI, Err: unverified})
		}
		return err
	}
	if r.Mail == nil {
		return fmt.Errorf("tlsrpt: no Mail function for %s: %w", t.URI, ErrPermanent)
	}
	message, err := BuildMessage(report, MessageOptions{Domain: d.Domain, To: t, From: r.From, Date: r.now()})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPermanent, err)
	}
	return r.Mail(ctx, message)
}

// hostLock lets one delivery at a time to a host.
type hostLock struct {
	token chan struct{}
	users int
}

// lockHost waits until nothing goes to a host.
func (r *Reporter) lockHost(ctx context.Context, host string) (unlock func(), err error) {
	r.mu.Lock()
	lock := r.hosts[host]
	if lock == nil {
		if r.hosts == nil {
			r.hosts = make(map[string]*hostLock)
		}
		lock = &hostLock{token: make(chan struct{}, 1)}
		r.hosts[host] = lock
	}
	lock.users++
	r.mu.Unlock()
	leave := func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if lock.users--; lock.users == 0 {
			delete(r.hosts, host)
		}
	}
	select {
	case lock.token <- struct{}{}:
		return func() { <-lock.token; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
