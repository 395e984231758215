//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/smtpsec/smtpsec/examples/relay/dsn"
	"github.com/smtpsec/smtpsec/examples/relay/outbound"
	"github.com/smtpsec/smtpsec/examples/relay/spool"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

const (
	// busyWait is when to look again at a message that an operator has in his hands,
	// and troubleWait at one that the disk does not give out or take.
	busyWait    = time.Second
	troubleWait = time.Minute
)

// schedule puts the jobs of a message into the queue: one for each domain that has
// recipients left. A held one has a job too; it comes up now and then and finds
// nothing to do, until Release and Wake make it due.
func (r *relay) schedule(e *spool.Envelope) {
	now := time.Now()
	retry := r.setup.Load().config.Queue.Retry
	due := e.Due()
	for i := range e.Recipients {
		domain := e.Recipients[i].Domain()
		if _, ok := due[domain]; !ok && e.Recipients[i].State == spool.Held {
			if due == nil {
				due = map[string]time.Time{}
			}
			due[domain] = now.Add(retry.Longest)
		}
	}
	for domain, at := range due {
		r.queue.Add(spool.Job{ID: e.ID, Domain: domain}, retry.Due(at, now))
	}
}

// work makes attempts until stop ends. An attempt that has begun goes on until hard
// ends.
func (r *relay) work(stop, hard context.Context) {
	for {
		job, err := r.queue.Next(stop)
		if err != nil {
			return
		}
		wakes := r.wakes.Load()
		if again := r.attempt(hard, job); !again.IsZero() {
			r.queue.Add(job, again)
			if r.wakes.Load() != wakes { // somebody asked for it while it was not in the queue
				r.queue.Expedite(job.ID)
			}
		}
		r.queue.Done(job)
	}
}

// attempt tries to deliver a message to its recipients in one domain. It returns when
// to try again; zero: there is nothing left to do.
func (r *relay) attempt(ctx context.Context, job spool.Job) (again time.Time) {
	now := time.Now()
	m, err := r.spool.Get(job.ID)
	switch {
	case errors.Is(err, spool.ErrNotFound): // an operator has removed it
		return time.Time{}
	case errors.Is(err, spool.ErrBusy):
		return now.Add(busyWait)
	case err != nil:
		return r.trouble(job.ID, err)
	}
	defer m.Close()
	e := m.Envelope()
	if job.Domain == "" { // it could not be read when the relay began
		r.schedule(&e)
		return time.Time{}
	}
	to, held := recipients(&e, job.Domain)
	if len(to) == 0 {
		if held {
			return now.Add(r.setup.Load().config.Queue.Retry.Longest)
		}
		return time.Time{}
	}
	results := r.send(ctx, m, &e, job.Domain, to)
	for _, res := range results {
		if damage := (*spool.CorruptError)(nil); errors.As(res.Err, &damage) {
			return r.trouble(job.ID, m.Quarantine(damage))
		}
	}
	return r.settle(ctx, m, &e, job, to, results)
}

// recipients returns those in a domain that are to be tried, and whether others
// there are held.
func recipients(e *spool.Envelope, domain string) (to []*spool.Recipient, held bool) {
	for i := range e.Recipients {
		if r := &e.Recipients[i]; r.Domain() == domain {
			switch r.State {
			case spool.Queued:
				to = append(to, r)
			case spool.Held:
				held = true
			}
		}
	}
	return to, held
}

// trouble is a message that cannot be worked on: it is damaged and was put aside for
// somebody to look at, or the disk fails, and then it is tried again.
func (r *relay) trouble(id string, err error) (again time.Time) {
	r.log.Error("spool", "id", id, "err", err)
	r.alert("spool-failed", "", err.Error())
	if damage := (*spool.CorruptError)(nil); errors.As(err, &damage) && damage.Aside != "" || errors.Is(err, spool.ErrNotFound) {
		r.metrics.corrupt.Add(1)
		return time.Time{}
	}
	return time.Now().Add(troubleWait)
}

// reported is told of what the spool finds by itself: damage, and leftovers of a crash,
// which are nobody's mail.
func (r *relay) reported(err error) {
	if damage := (*spool.CorruptError)(nil); errors.As(err, &damage) {
		_ = r.trouble(damage.ID, err)
		return
	}
	r.log.Warn("spool", "err", err)
}

// send has the pool try it.
func (r *relay) send(ctx context.Context, m *spool.Message, e *spool.Envelope, domain string, to []*spool.Recipient) []outbound.Result {
	setup := r.setup.Load()
	target := smtpclient.Target{Domain: domain, Message: tlspolicy.Message{
		RequireTLS: e.RequireTLS, TLSOptional: e.TLSOptional, OverrideLocal: setup.config.Delivery.HonorTLSRequiredNo,
	}}
	return setup.pool.Deliver(ctx, target, e, to, m.Body)
}

// settle writes down what became of the recipients, and tells the sender of it. The
// order is: first the DSN is durable, then the result. After a crash between the two
// the sender hears of it twice, but never not at all.
func (r *relay) settle(ctx context.Context, m *spool.Message, e *spool.Envelope, job spool.Job, to []*spool.Recipient, results []outbound.Result) (again time.Time) {
	now := time.Now()
	retry := r.setup.Load().config.Queue.Retry
	var tell []notice
	cut := ctx.Err() != nil // by the end of the relay: what was not finished was no attempt
	for i, rcpt := range to {
		res, expired := &results[i], false
		if cut && res.Err != nil && !res.Permanent {
			continue
		}
		rcpt.Attempts++
		rcpt.LastAttempt = now
		if res.Err != nil {
			rcpt.LastError = reason(res.Err)
		}
		switch {
		case res.Err == nil:
			rcpt.State = spool.Delivered
			if res.Unreported {
				tell = append(tell, notice{rcpt, res, dsn.Relayed, false})
			}
		case !res.Permanent:
			var ok bool
			if rcpt.NextAttempt, ok = retry.Next(e.Received, now, rcpt.Attempts, rand.Float64()); ok {
				if retry.Late(e.Received, now) && !rcpt.DelayTold && dsn.Due(e.Sender, rcpt.Notify, dsn.Delayed) {
					rcpt.DelayTold = true
					tell = append(tell, notice{rcpt, res, dsn.Delayed, false})
				}
				break
			}
			expired = true
			fallthrough
		default:
			rcpt.State = spool.Bounced
			tell = append(tell, notice{rcpt, res, dsn.Failed, expired})
		}
	}
	for _, n := range r.notify(m, e, tell) {
		switch n.action { // the message stays until he can be told
		case dsn.Delayed:
			n.rcpt.DelayTold = false
		case dsn.Failed:
			n.rcpt.State, n.rcpt.NextAttempt = spool.Queued, now.Add(troubleWait)
		}
	}
	for i, rcpt := range to {
		if rcpt.LastAttempt.Equal(now) {
			r.told(e, rcpt, &results[i])
		}
	}
	r.record(ctx, m, e, to)
	for _, rcpt := range to {
		if rcpt.State == spool.Queued && (again.IsZero() || rcpt.NextAttempt.Before(again)) {
			again = rcpt.NextAttempt
		}
	}
	return again
}

// record makes the results durable, and removes the message when nobody is left. What
// a host has said must not be forgotten because the disk is full: it tries until it
// succeeds or the relay is made to end, after which the message is sent once more.
func (r *relay) record(ctx context.Context, m *spool.Message, e *spool.Envelope, to []*spool.Recipient) {
	for first := true; ; first = false {
		// A message that is done is removed without being written once more.
		latest := m.Envelope()
		merge(&latest, to)
		var err error
		if !latest.Done() {
			err = m.Update(func(e *spool.Envelope) error { merge(e, to); return nil })
			latest = m.Envelope()
		}
		if err == nil && latest.Done() {
			err = m.Remove()
		}
		if err == nil || errors.Is(err, spool.ErrNotFound) {
			return
		}
		if first {
			_ = r.trouble(e.ID, fmt.Errorf("the result of an attempt cannot be written, trying on: %w", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(busyWait):
		}
	}
}

// merge puts the recipients of an attempt into an envelope. Other attempts on the same
// message, in other domains, have changed other recipients meanwhile.
func merge(e *spool.Envelope, to []*spool.Recipient) {
	for i := range e.Recipients {
		for _, rcpt := range to {
			if e.Recipients[i].Address == rcpt.Address {
				e.Recipients[i] = *rcpt
			}
		}
	}
}

// told logs and counts what became of a recipient.
func (r *relay) told(e *spool.Envelope, rcpt *spool.Recipient, res *outbound.Result) {
	attrs := []any{"id", e.ID, "to", rcpt.Address, "host", res.Host, "attempts", rcpt.Attempts, "age", time.Since(e.Received).Round(time.Millisecond)}
	switch rcpt.State {
	case spool.Delivered:
		r.metrics.delivered.Add(1)
		r.metrics.secured.Add(res.Rule.String())
		r.log.Info("delivered", append(attrs, "tls", res.Rule.String())...)
	case spool.Bounced:
		r.metrics.bounced.Add(1)
		r.log.Info("bounced", append(attrs, "status", res.Status, "err", res.Err)...)
	default:
		r.metrics.deferred.Add(1)
		r.log.Info("deferred", append(attrs, "status", res.Status, "next", rcpt.NextAttempt.Format(time.RFC3339), "err", res.Err)...)
	}
}
