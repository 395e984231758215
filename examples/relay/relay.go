//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smtpsec/smtpsec/certs"
	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/examples/relay/alert"
	"github.com/smtpsec/smtpsec/examples/relay/config"
	"github.com/smtpsec/smtpsec/examples/relay/outbound"
	"github.com/smtpsec/smtpsec/examples/relay/spool"
	"github.com/smtpsec/smtpsec/mtasts"
	stsstore "github.com/smtpsec/smtpsec/mtasts/dirstore"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt"
	rptstore "github.com/smtpsec/smtpsec/tlspolicy/tlsrpt/dirstore"
)

const (
	// certInterval is how often certificate files are looked at.
	certInterval = time.Minute
	// drainInterval is how often sessions are asked to end when the relay does.
	drainInterval = 50 * time.Millisecond
	// deadTime is how long a domain to which no session could be opened is left alone by
	// other messages.
	deadTime = time.Minute
	// maxOwn bounds messages of our own: a DSN with what it gives back, an alert.
	maxOwn = 64 << 20
)

// A relay is everything that runs, from the ports on which mail comes in to the
// sessions on which it goes out.
type relay struct {
	log      *slog.Logger
	hostname string
	world    *world
	spool    *spool.Spool
	queue    *spool.Queue
	sts      *mtasts.Client
	reports  *tlsrpt.Aggregator // nil: nothing is counted
	metrics  counters
	alerts   *alert.Sender
	fronts   []*front
	http     *http.Server // nil: no metrics
	web      net.Listener

	setup    atomic.Pointer[setup] // what a reload replaces
	draining atomic.Bool
	wakes    atomic.Uint64 // orders of operators so far
	sessions sync.Map      // of *smtpserver.Conn to *session: who is connected now; nil: without a session

	stopWork, stopHard context.CancelFunc
	workers, tasks     sync.WaitGroup
	background         context.Context // ends with the relay
}

// A setup is what a reload replaces as a whole. Attempts and sessions that have begun
// with one may go on with it.
type setup struct {
	config *config.Config
	dialer *smtpclient.Dialer
	pool   *outbound.Pool
	end    context.CancelFunc // of what follows its certificates
}

// start opens everything, in an order in which nothing is done for a relay that
// cannot run: the spool first, of which there can be one runner only.
func start(ctx context.Context, c *config.Config, w *world, log *slog.Logger) (_ *relay, err error) {
	r := &relay{log: log, hostname: c.Hostname, world: w, queue: spool.NewQueue(c.Queue.PerDomain)}
	r.alerts = alert.New(r.mailAlert, log)
	var stop, hard context.Context
	stop, r.stopWork = context.WithCancel(context.WithoutCancel(ctx))
	hard, r.stopHard = context.WithCancel(context.WithoutCancel(ctx))
	r.background = hard
	defer func() {
		if err != nil {
			r.release()
		}
	}()
	options := c.Spool.Options
	var early []error // found while the spool is opened, when nobody can be alerted yet
	options.Report = func(err error) {
		if r.setup.Load() == nil {
			early = append(early, err)
		} else {
			r.reported(err)
		}
	}
	if r.spool, err = spool.Open(c.Spool.Dir, options); err != nil {
		return nil, err
	}
	if err = r.openPolicy(c); err != nil {
		return nil, err
	}
	first, err := r.newSetup(c)
	if err != nil {
		return nil, err
	}
	r.setup.Store(first)
	for _, err := range early {
		r.reported(err)
	}
	for i := range c.Listeners {
		f, err := r.newFront(&c.Listeners[i])
		if err != nil {
			return nil, err
		}
		r.fronts = append(r.fronts, f)
	}
	if err = r.listenHTTP(c.Metrics); err != nil {
		return nil, err
	}
	if err = r.fill(); err != nil {
		return nil, err
	}
	for range c.Queue.Total {
		r.workers.Go(func() { r.work(stop, hard) })
	}
	for _, f := range r.fronts {
		r.tasks.Go(func() { f.run(log) })
	}
	r.tasks.Go(func() { r.alerts.Run(hard) })
	r.checkResolver()
	return r, nil
}

// openPolicy makes what finds out about other domains and remembers it.
func (r *relay) openPolicy(c *config.Config) error {
	r.sts = &mtasts.Client{
		Resolver: dnssec.NetResolver{Resolver: r.world.resolver},
		Fetch:    mtasts.FetchConfig{RootCAs: r.world.roots, DialContext: r.world.dial, AllowPrefixes: r.world.prefixes},
		Logger:   r.log,
	}
	if r.sts.Fetch.RootCAs == nil {
		r.sts.Fetch.RootCAs = c.Trust.Snapshot().Pool()
	}
	if c.MTASTSDirectory != "" {
		store, err := stsstore.Open(c.MTASTSDirectory, stsstore.Options{})
		if err != nil {
			return fmt.Errorf("MTA-STS cache: %w", err)
		}
		r.sts.Store = store
	}
	r.tasks.Go(func() { r.ended("MTA-STS refresh", r.sts.Run(r.background)) })
	if c.Reports == nil {
		return nil
	}
	store, err := rptstore.Open(c.Reports.Dir, rptstore.Options{})
	if err != nil {
		return fmt.Errorf("TLS reports: %w", err)
	}
	resolver := dnssec.NetResolver{Resolver: r.world.resolver}
	if r.reports, err = tlsrpt.NewAggregator(store, tlsrpt.AggregatorOptions{Resolver: resolver}); err != nil {
		return err
	}
	r.tasks.Go(func() { r.ended("TLS report counts", r.reports.Run(r.background)) })
	if c.Reports.Send {
		// By HTTPS alone: a report by mail needs a DKIM signature, which a relay that
		// signs nothing has not got.
		reporter := &tlsrpt.Reporter{Store: store, Resolver: resolver, Organization: c.Reports.Organization, Contact: c.Reports.Contact,
			From: c.Reports.From, FailuresOnly: c.Reports.FailuresOnly,
			HTTP: &tlsrpt.HTTPSender{RootCAs: r.world.roots, DialContext: r.world.dial, AllowPrefixes: r.world.prefixes}}
		r.tasks.Go(func() { r.ended("TLS reports", reporter.Run(r.background)) })
	}
	return nil
}

func (r *relay) ended(what string, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		r.log.Error("stopped", "task", what, "err", err)
	}
}

// newSetup makes a dialer, and the pool over it, of a configuration.
func (r *relay) newSetup(c *config.Config) (*setup, error) {
	d := c.Dialer()
	d.Resolver, d.MTASTS, d.Logger, d.DialContext = r.world.resolver, r.sts, r.log, r.world.dial
	d.OnAlert = func(_ context.Context, a tlspolicy.Alert) { r.raise(a.Kind.String(), a.Domain, a.String()) }
	d.OnEvent = func(_ context.Context, e tlspolicy.Event) { r.metrics.events.Add(e.Kind.String()) }
	d.Hostname = r.hostname
	d.Self = func(host string, _ netip.Addr) bool { return host == r.hostname }
	if r.reports != nil {
		d.Reports = r.reports
	}
	if r.world.roots != nil {
		trust, err := tlspolicy.NewPoolVerifier(r.world.roots, tlspolicy.PoolOptions{})
		if err != nil {
			return nil, err
		}
		d.Trust = trust
	}
	if err := d.Validate(); err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(r.background)
	c.CertificateEvents(func(e certs.Event) { r.alert(string(e.Kind), e.Name, e.String()) })
	r.tasks.Go(func() { r.ended("certificate watch", c.Certs.Watch(ctx, certInterval)) })
	return &setup{config: c, pool: outbound.New(d, outbound.Options{
		MaxMessages: c.Queue.ConnMessages, MaxWait: c.Queue.ConnIdle, DeadTime: min(deadTime, c.Queue.Retry.First/2)}), end: end, dialer: d}, nil
}

// fill reads the spool and plans what is in it.
func (r *relay) fill() error {
	messages := 0
	for e, err := range r.spool.All() {
		switch {
		case e == nil:
			return err
		case err != nil: // not now; nothing that was acknowledged is forgotten
			if again := r.trouble(e.ID, err); !again.IsZero() {
				r.queue.Add(spool.Job{ID: e.ID}, again)
			}
			continue
		}
		if e.Done() { // the end came between Update and Remove
			if err := r.spool.Remove(e.ID); err != nil {
				_ = r.trouble(e.ID, err)
			}
			continue
		}
		messages++
		r.schedule(e)
	}
	r.log.Info("spool read", "messages", messages, "jobs", r.queue.Len())
	return nil
}

// checkResolver tells at once if DANE will not protect anybody.
func (r *relay) checkResolver() {
	r.tasks.Go(func() {
		err := r.setup.Load().dialer.CheckResolver(r.background)
		if err != nil && r.background.Err() == nil {
			r.alert("resolver", "", "DNS answers carry no security, so DANE is off where it is opportunistic and stops mail where it is mandatory: "+err.Error())
		}
	})
}

// woken does what operators have asked for in the spool.
func (r *relay) woken() {
	ids, all, err := r.spool.Woken()
	if err != nil {
		_ = r.trouble("", err)
	}
	if all {
		ids = append(ids, "")
	}
	for _, id := range ids {
		r.wakes.Add(1)
		r.setup.Load().pool.Forgive()
		r.log.Info("queue run", "id", id, "found", r.queue.Expedite(id))
	}
}

// submit puts a message of our own into the spool and plans it.
func (r *relay) submit(e *spool.Envelope, text io.Reader) error {
	w, err := r.spool.Create(maxOwn)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := io.Copy(w, text); err != nil {
		return err
	}
	if err := w.Commit(e); err != nil {
		return err
	}
	r.schedule(e)
	return nil
}

// stop ends the relay: no new connections and no new attempts; what has begun may
// finish until ctx ends. What is cut off then was not acknowledged, or is sent again.
func (r *relay) stop(ctx context.Context) {
	r.log.Info("stopping")
	r.draining.Store(true)
	r.stopWork()
	defer context.AfterFunc(ctx, r.stopHard)()
	var fronts sync.WaitGroup
	for _, f := range r.fronts {
		fronts.Go(func() { r.ended("listener "+f.name, f.stop(ctx)) })
	}
	gone := make(chan struct{})
	go func() {
		fronts.Wait()
		close(gone)
	}()
	// A session may just be on its way from a transaction to the next command, so they
	// are asked more than once.
	again := time.NewTicker(drainInterval)
	defer again.Stop()
	for waiting := true; waiting; {
		r.drain()
		select {
		case <-gone:
			waiting = false
		case <-again.C:
		}
	}
	r.workers.Wait()
	r.setup.Load().pool.Close()
	r.release()
	r.log.Info("stopped")
}

// release gives back what start has opened.
func (r *relay) release() {
	r.stopWork()
	r.stopHard()
	for _, f := range r.fronts {
		f.listener.Close()
	}
	if r.http != nil {
		r.http.Close()
	}
	r.tasks.Wait()
	if r.reports != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		r.ended("TLS report counts", r.reports.Flush(ctx))
	}
	if r.spool != nil {
		r.spool.Close()
	}
}
