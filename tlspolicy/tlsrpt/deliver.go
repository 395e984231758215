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
// A target whose host is busy with other reports, or rests from a slow one, is left
// for a later call.
func (r *Reporter) Deliver(ctx context.Context, d Delivery) error {
	if err := r.check(); err != nil {
		return err
	}
	release, held, err := r.Store.Lease(ctx, d.Day, d.Domain, leaseTime)
	if err != nil || !held {
		return err
	}
	defer release()
	work, cancel := context.WithTimeout(ctx, leaseTime-time.Minute)
	defer cancel()
	p, err := r.Store.Progress(work, d.Day, d.Domain)
	if err != nil && !errors.Is(err, ErrCorrupt) { // a lost note is a report sent again, with the same id
		return err
	}
	now := r.now()
	if p.Done || now.Before(p.Next) {
		return nil
	}
	if p.First.IsZero() {
		p.First = now
	}
	tried, err := r.attempt(work, d, &p)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil && !p.Done {
		return err // what was cut short by the end of the process is no attempt
	}
	if tried { // a host that is busy is no attempt either
		p.Attempts++
		p.Next = now.Add(retryFirst << min(p.Attempts-1, 10))
	}
	if !p.Done && p.Next.Sub(p.First) > retryFor {
		p.Done = true
		if !p.sent() {
			r.trace(Event{Kind: EventGivenUp, Level: slog.LevelWarn, Day: d.Day, Domain: d.Domain})
		}
	}
	if p.Done {
		r.setDone(d.Day, d.Domain)
	}
	return r.note(ctx, d, p)
}

// note notes how far a report has come, also when ctx has just ended: what is not
// noted is sent again.
func (r *Reporter) note(ctx context.Context, d Delivery, p Progress) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
	defer cancel()
	return r.Store.SetProgress(ctx, d.Day, d.Domain, p)
}

// attempt makes the report and sends it to the targets that have not got it. tried
// tells whether there was anything that could be tried.
func (r *Reporter) attempt(ctx context.Context, d Delivery, p *Progress) (tried bool, err error) {
	tally, err := r.Store.Load(ctx, d.Day, d.Domain)
	if err != nil {
		if !errors.Is(err, ErrCorrupt) || tally == nil {
			return false, err
		}
		r.trace(Event{Kind: EventDeliverError, Level: slog.LevelError, Day: d.Day, Domain: d.Domain, Err: err})
	}
	report := r.report(d, tally)
	_, failures := report.Totals()
	if len(report.Policies) == 0 || r.FailuresOnly && failures == 0 {
		p.Done = true
		return true, nil
	}
	record, err := r.lookup(ctx, d.Domain)
	switch {
	case errors.Is(err, ErrDNS):
		r.trace(Event{Kind: EventSendFailed, Level: slog.LevelInfo, Day: d.Day, Domain: d.Domain, Err: err})
		return true, nil // tried again
	case err != nil:
		p.Done = true
		r.trace(Event{Kind: EventNoRecord, Level: slog.LevelDebug, Day: d.Day, Domain: d.Domain, Err: err})
		return true, nil
	}
	if r.duplicate(ctx, tally, record) {
		p.Done = true
		r.trace(Event{Kind: EventDuplicate, Level: slog.LevelDebug, Day: d.Day, Domain: d.Domain})
		return true, nil
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
	contact, submitter, _ := plainAddress(r.Contact) // checked before
	return &Report{
		Organization: r.Organization, Begin: d.Day.Begin(), End: d.Day.End(), Contact: contact,
		ID: ReportID(d.Day, d.Domain, submitter), Policies: tally.Policies(),
	}
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
		uris = append(uris, t.key())
	}
	slices.Sort(uris)
	return uris
}

// sendAll sends a report to each target that has not got it. What was sent is noted
// at once: after a crash nobody gets it a second time.
func (r *Reporter) sendAll(ctx context.Context, d Delivery, p *Progress, report *Report, targets []Target) (tried bool, err error) {
	if p.Targets == nil {
		p.Targets = make(map[string]TargetState)
	}
	sent, waiting, busy := 0, 0, 0
	for _, t := range targets {
		state := p.Targets[t.URI]
		if state.Sent.IsZero() && !state.Ended {
			err := r.send(ctx, d, report, t)
			if rest, ok := errors.AsType[*busyError](err); ok {
				if busy++; busy == 1 || rest.until.Before(p.Next) {
					p.Next = rest.until
				}
				continue
			}
			tried = true
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
				if err := r.note(ctx, d, *p); err != nil {
					return tried, err
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
			busy = 0
			break
		}
	}
	switch {
	case busy > 0: // every target is tried once
	case sent > 0:
		p.Done = true // one target is success (RFC 8460 section 3)
	case waiting == 0:
		p.Done = true
		r.trace(Event{Kind: EventGivenUp, Level: slog.LevelWarn, Day: d.Day, Domain: d.Domain})
	}
	return tried || p.Done, nil
}

// send sends a report to one target, when no other goes to its host.
func (r *Reporter) send(ctx context.Context, d Delivery, report *Report, t Target) error {
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
		zipped, err := report.Gzip()
		if err != nil {
			return err
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
