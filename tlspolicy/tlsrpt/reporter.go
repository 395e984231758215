package tlsrpt

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"maps"
	"net/textproto"
	"sync"
	"time"
)

const (
	// sendAfter is how long after its end a day is sent: once it is closed and the
	// last flush of every node has come in.
	sendAfter = closeAfter + 5*time.Minute
	// sendWithin is over what time the reports of a day are spread (RFC 8460
	// section 5 asks for a delay).
	sendWithin = 4 * time.Hour
	// retryFirst doubles with each attempt, until retryFor after the first (RFC
	// 8460 section 5.5).
	retryFirst = 15 * time.Minute
	retryFor   = 24 * time.Hour
	// sendDays is how old a day may be whose report is still sent, after a time in
	// which nobody did; what is older is removed.
	sendDays = 7
	// leaseTime is for how long a node may send a report.
	leaseTime = 15 * time.Minute
	// noteTime bounds how long the note of a delivery may take whose time is over.
	noteTime = 10 * time.Second
	// sendsAtOnce bounds the deliveries at once. To one target host goes one.
	sendsAtOnce = 10
	// hostPatience is how long a delivery waits for another to the same host. Then
	// it lets others go first and is looked at again by the next look.
	hostPatience = 5 * time.Second
	// A host that takes longer than slowSend for a report gets no other for
	// restFactor times as long, at most longestRest: the domains that name it,
	// however many, must not take the time of the others.
	slowSend    = 5 * time.Second
	restFactor  = 10
	longestRest = 10 * time.Minute
	// maxDone bounds what is remembered of the reports of a day that are done. What
	// is forgotten is asked of the store again.
	maxDone = memoryDomains
	// lookEvery is how often Run looks for what is due.
	lookEvery = time.Minute
)

// Reporter sends the reports of what Aggregators have counted. Every node of a
// fleet can run one: each report is sent by one of them. The fields are read-only
// once it is in use. It is safe for concurrent use.
type Reporter struct {
	// Store and Resolver must be set.
	Store    Store
	Resolver Resolver
	// Organization is the name of the sender, and Contact its mail address, whose
	// domain is the submitter of the reports. Both must be set.
	Organization, Contact string
	// From is the address that reports by mail come from; empty: Contact.
	From string

	// Mail signs and delivers a message, see Message for how; nil: mailto targets
	// get nothing. An error that matches ErrPermanent, or is a *textproto.Error
	// with a code of 500 or more, as that of net/smtp, ends the target; others are
	// temporary.
	Mail func(ctx context.Context, m *Message) error
	// HTTP posts to https targets; nil: the zero HTTPSender.
	HTTP *HTTPSender

	// FailuresOnly sends no report about days without failures. RFC 8460 wants
	// them: that reports come is how an owner knows that all is well.
	FailuresOnly bool
	// FirstTarget stops at the first target that takes a report; otherwise every
	// target gets it.
	FirstTarget bool

	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Trace is told of what happens; nil: nobody is. It must be safe for concurrent
	// use.
	Trace func(Event)

	mu    sync.Mutex
	seed  maphash.Seed                // of the hashes in done; made with it
	done  map[Day]map[uint64]struct{} // reports that need no look any more, by the hash of their domain
	hosts map[string]*hostLock
}

// Delivery is a report that is due.
type Delivery struct {
	Day    Day
	Domain string
}

// SendAt returns when the report of a submitter about a domain and day is sent at
// the earliest: up to four hours after the day is closed. The delay differs for the
// domains of one submitter, so that its reports do not all go at once, and for the
// submitters of one domain, so that they do not all come at once (RFC 8460 section
// 4.1). It is the same on every node.
func SendAt(day Day, domain, submitter string) time.Time {
	sum := sha256.Sum256([]byte(day.String() + "\x00" + domain + "\x00" + submitter))
	delay := time.Duration(binary.BigEndian.Uint32(sum[:]) % uint32(sendWithin/time.Second))
	return day.Next().Begin().Add(sendAfter + delay*time.Second)
}

func (r *Reporter) now() time.Time {
	if r.Now == nil {
		return time.Now()
	}
	return r.Now()
}

func (r *Reporter) trace(e Event) {
	if r.Trace != nil {
		e.Time = r.now()
		r.Trace(e)
	}
}

// submitter returns the domain of the contact in canonical form, however the
// operator of this node spells it.
func (r *Reporter) submitter() string {
	_, domain, _ := plainAddress(r.Contact)
	return domain
}

// check finds out whether the fields are set.
func (r *Reporter) check() error {
	if r.Store == nil || r.Resolver == nil || r.Organization == "" {
		return errors.New("tlsrpt: a Reporter needs a Store, a Resolver and an Organization")
	}
	if _, _, problem := plainAddress(r.Contact); problem != "" {
		return fmt.Errorf("tlsrpt: contact %q: %s", clip(r.Contact), problem)
	}
	return nil
}

// Run sends reports when they are due, until ctx ends, and removes from the store
// what is older than a week. It returns an error at once if a field is missing;
// otherwise that of ctx.
func (r *Reporter) Run(ctx context.Context) error {
	if err := r.check(); err != nil {
		return err
	}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	pruned := Day(0)
	for {
		now := r.now()
		if today := DayOf(now); today > pruned {
			if err := r.Store.Prune(ctx, today-sendDays-1); err != nil && ctx.Err() == nil {
				r.trace(Event{Kind: EventDeliverError, Level: slog.LevelError, Day: today, Err: err})
			}
			pruned = today
			r.forget(today - sendDays - 1)
		}
		due, err := r.Due(ctx, now)
		if err != nil && ctx.Err() == nil {
			r.trace(Event{Kind: EventDeliverError, Level: slog.LevelError, Day: DayOf(now), Err: err})
		}
		slots := make(chan struct{}, sendsAtOnce)
		var all sync.WaitGroup
		for _, d := range due {
			slots <- struct{}{}
			all.Go(func() {
				defer func() { <-slots }()
				if err := r.Deliver(ctx, d); err != nil && ctx.Err() == nil {
					r.trace(Event{Kind: EventDeliverError, Level: slog.LevelError, Day: d.Day, Domain: d.Domain, Err: err})
				}
			})
		}
		all.Wait()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// forget drops what is known of reports before a day.
func (r *Reporter) forget(day Day) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.done, func(d Day, _ map[uint64]struct{}) bool { return d < day })
}

// Due returns the reports that are to be sent at a moment. With an error come
// those that were found all the same.
func (r *Reporter) Due(ctx context.Context, now time.Time) ([]Delivery, error) {
	days, err := r.Store.Days(ctx)
	if err != nil {
		return nil, err
	}
	submitter := r.submitter()
	var due []Delivery
	var failed error
	for _, day := range days {
		if day < DayOf(now)-sendDays || now.Before(day.Next().Begin().Add(sendAfter)) {
			continue
		}
		for domain, err := range r.Store.Domains(ctx, day) {
			if err != nil {
				failed = errors.Join(failed, err)
				continue
			}
			if now.Before(SendAt(day, domain, submitter)) || r.isDone(day, domain) {
				continue
			}
			p, err := r.Store.Progress(ctx, day, domain)
			if err != nil && !errors.Is(err, ErrCorrupt) {
				failed = errors.Join(failed, err)
				continue
			}
			switch {
			case p.Done:
				r.setDone(day, domain)
			case !now.Before(p.Next):
				due = append(due, Delivery{day, domain})
			}
		}
	}
	return due, failed
}

func (r *Reporter) isDone(day Day, domain string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done == nil {
		return false
	}
	_, done := r.done[day][maphash.String(r.seed, domain)]
	return done
}

func (r *Reporter) setDone(day Day, domain string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done == nil {
		r.done, r.seed = make(map[Day]map[uint64]struct{}), maphash.MakeSeed()
	}
	if r.done[day] == nil || len(r.done[day]) >= maxDone {
		r.done[day] = make(map[uint64]struct{})
	}
	r.done[day][maphash.String(r.seed, domain)] = struct{}{}
}

// permanent reports whether another try is of no use.
func permanent(err error) bool {
	reply, ok := errors.AsType[*textproto.Error](err)
	return errors.Is(err, ErrPermanent) || ok && reply.Code >= 500
}
