package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// sender is the domain that the messages come from. The mode stands in front of
// it, so that a message in a mailbox tells under which mode it was sent.
const sender = "sender.example"

const (
	// workers is the number of deliveries at a time.
	workers = 8
	// patience is how long one of them may take.
	patience = time.Minute
)

// A trial is one message, sent to every destination under every mode.
type trial struct {
	internet     *lab.Lab
	message      []byte
	modes        []tlspolicy.Mode
	destinations []lab.Destination
	dialers      map[tlspolicy.Mode]*smtpclient.Dialer
	results      [][]result // by destination, then by mode
	counted      *counting  // for TLS reports; nil: nobody wants to see them
	elapsed      time.Duration
}

// A result is one cell: what became of the message, and what should have.
type result struct {
	got, want verdict
	report    *smtpclient.Report
	err       error // why it was deferred; or why a session could not be used
}

// newTrial sets up one Dialer for each mode; everything else they share.
func newTrial(internet *lab.Lab, o *options, message []byte, destinations []lab.Destination) (*trial, error) {
	t := &trial{internet: internet, message: message, modes: o.modes, destinations: destinations,
		dialers: map[tlspolicy.Mode]*smtpclient.Dialer{}}
	resolver := internet.Resolver()
	if o.resolver == "stub" {
		resolver = internet.Stub()
	}
	policies := &mtasts.Client{
		Resolver: dnssec.NetResolver{Resolver: resolver},
		Fetch:    mtasts.FetchConfig{RootCAs: internet.Roots(), DialContext: internet.DialContext, AllowPrefixes: networks()},
	}
	trust, err := tlspolicy.NewPoolVerifier(internet.Roots(), tlspolicy.PoolOptions{})
	if err != nil {
		return nil, err
	}
	if o.reports {
		if t.counted, err = newCounting(); err != nil {
			return nil, err
		}
	}
	for _, mode := range o.modes {
		settings := o.settings
		settings.Mode = mode
		// With mode No, DANE and MTA-STS are not looked at; to state them
		// there would be refused as a contradiction.
		if mode == tlspolicy.No {
			settings.DANE, settings.MTASTS = tlspolicy.DANENone, tlspolicy.Off
		}
		table, err := tlspolicy.NewTable(settings, nil)
		if err != nil {
			return nil, err
		}
		dialer := &smtpclient.Dialer{
			Hostname:    "mta." + sender,
			Policy:      table,
			Resolver:    resolver,
			MTASTS:      policies,
			Trust:       trust,
			DialContext: internet.DialContext,
		}
		if t.counted != nil {
			dialer.Reports = t.counted.aggregator
		}
		if err := dialer.Validate(); err != nil {
			return nil, err
		}
		t.dialers[mode] = dialer
	}
	for i := range destinations {
		row := make([]result, len(t.modes))
		for j, mode := range t.modes {
			settings := o.settings
			settings.Mode = mode
			if row[j].want, err = expect(settings, &destinations[i]); err != nil {
				return nil, err
			}
		}
		t.results = append(t.results, row)
	}
	return t, nil
}

// networks are the addresses at which policy hosts may be here: the lab's
// documentation addresses and the loopback listeners behind them. On the real
// Internet AllowPrefixes stays empty, and neither is ever connected to.
func networks() []netip.Prefix {
	return append(lab.Prefixes(), netip.MustParsePrefix("127.0.0.0/8"))
}

// run delivers to every destination under every mode, a few at a time.
func (t *trial) run(ctx context.Context, progress func(done, of int)) error {
	type job struct{ row, column int }
	jobs := make(chan job)
	done := make(chan struct{})
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for j := range jobs {
				t.deliver(ctx, &t.results[j.row][j.column], t.destinations[j.row].Domain, t.modes[j.column])
				done <- struct{}{}
			}
		})
	}
	start := time.Now()
	total := len(t.destinations) * len(t.modes)
	go func() {
		defer close(jobs)
		for row := range t.destinations {
			for column := range t.modes {
				jobs <- job{row, column}
			}
		}
	}()
	for n := range total {
		<-done
		progress(n+1, total)
	}
	group.Wait()
	t.elapsed = time.Since(start)
	if ctx.Err() != nil {
		return errInterrupted
	}
	return nil
}

var errInterrupted = errors.New("interrupted")

// deliver is what a mail server does with one recipient: dial under policy, then
// hand the message over, or keep it for later.
func (t *trial) deliver(ctx context.Context, r *result, domain string, mode tlspolicy.Mode) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	session, err := t.dialers[mode].Dial(ctx, domain)
	if err != nil {
		r.err = err
		var refused *smtpclient.Error
		if errors.As(err, &refused) {
			r.report = refused.Report
			r.got.Reason = refused.Reason
		}
		return
	}
	defer session.Close()
	// From here on the session knows no context, and net/smtp sets no deadline.
	stop := context.AfterFunc(ctx, func() { session.Close() })
	defer stop()
	r.report = session.Report
	r.got = verdict{session.Decision().Action, session.Decision().Reason}
	r.err = t.transfer(session, domain, mode)
}

// transfer hands the message over with net/smtp.
func (t *trial) transfer(session *smtpclient.Session, domain string, mode tlspolicy.Mode) error {
	client, err := session.NetSMTP()
	if err != nil {
		return err
	}
	if err := client.Mail(reversePath(mode)); err != nil {
		return err
	}
	if err := client.Rcpt(recipient(domain)); err != nil {
		return err
	}
	data, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := data.Write(t.message); err != nil {
		return err
	}
	if err := data.Close(); err != nil {
		return err
	}
	// The host has taken the message: that it takes no proper leave as well is no
	// reason to send it again.
	_ = client.Quit()
	return nil
}

func reversePath(mode tlspolicy.Mode) string { return mode.String() + "@" + sender }

func recipient(domain string) string { return "postmaster@" + domain }

// unexpected lists the cells that are not what the decision tables say.
func (t *trial) unexpected() []string {
	var problems []string
	for i, row := range t.results {
		for j := range row {
			r := &row[j]
			where := fmt.Sprintf("%s under %s", t.destinations[i].Domain, t.modes[j])
			if r.got != r.want {
				problems = append(problems, fmt.Sprintf("%s: got %s, the decision tables say %s (%v)", where, r.got, r.want, r.err))
			} else if r.got.Action != tlspolicy.Next && r.err != nil {
				problems = append(problems, fmt.Sprintf("%s: the session was granted, the message was not taken: %v", where, r.err))
			}
		}
	}
	return problems
}
