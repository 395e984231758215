//go:build unix

package outbound

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/smtpsec/smtpsec/examples/relay/spool"
	"github.com/smtpsec/smtpsec/smtpclient"
)

const (
	// maxPlans bounds the plans that are remembered.
	maxPlans = 10_000
	// maxIdle bounds the sessions that wait for another message.
	maxIdle = 256
)

// Options of a Pool.
type Options struct {
	// MaxMessages is how many messages go over one session; less than 1 is 1.
	MaxMessages int
	// MaxWait is how long a session is kept for another message; 0: it is not.
	MaxWait time.Duration
	// DeadTime is how long a target to which no session could be opened is left alone,
	// so that not every message to it has to wait for the same; 0: it is not.
	DeadTime time.Duration
}

// Pool delivers messages over sessions that it opens and keeps. Which deliveries may
// share one is not a matter of host names: the policy of one domain must not leak to
// another one on the same host. The dialer's ReuseKey covers everything that counts.
// It is safe for concurrent use.
type Pool struct {
	dialer  *smtpclient.Dialer
	options Options
	dead    deadTargets

	mu     sync.Mutex
	plans  map[smtpclient.Target]*smtpclient.Plan
	idle   map[smtpclient.ReuseKey][]*conversation
	count  int // of idle
	closed bool
	quits  sync.WaitGroup
}

// A conversation is a session on which MAIL may be sent: TLS policy is satisfied.
type conversation struct {
	*smtp.Client
	session  *smtpclient.Session
	messages int // sent on it before
	timer    *time.Timer
}

// New returns a pool over a dialer.
func New(d *smtpclient.Dialer, o Options) *Pool {
	return &Pool{dialer: d, options: o, plans: map[smtpclient.Target]*smtpclient.Plan{}, idle: map[smtpclient.ReuseKey][]*conversation{}}
}

// Deliver tries to hand a message to some of its recipients, all of whom t reaches. body
// returns the message from its first octet; it is called for each transaction. The
// results are those of to, in its order. When ctx ends, the connection is closed.
func (p *Pool) Deliver(ctx context.Context, t smtpclient.Target, e *spool.Envelope, to []*spool.Recipient, body func() io.Reader) []Result {
	if err := p.dead.get(t); err != nil {
		return failedDial(err, len(to))
	}
	var results []Result
	for batch := range slices.Chunk(to, maxBatch) {
		for fresh := false; ; fresh = true {
			o, err := p.get(ctx, t, fresh)
			if err != nil {
				if ctx.Err() == nil {
					p.dead.put(t, err, p.options.DeadTime)
				}
				return append(results, failedDial(err, len(to)-len(results))...)
			}
			used := o.messages > 0
			got, alive := o.transfer(ctx, e, batch, body)
			if alive {
				p.put(o)
			} else {
				o.session.Close()
			}
			// A session that was kept may have been closed by the host meanwhile. If
			// that is all that went wrong, nothing was sent.
			if used && !alive && ctx.Err() == nil && !slices.ContainsFunc(got, func(r Result) bool { return r.Err == nil || r.Permanent || r.sent }) {
				continue
			}
			results = append(results, got...)
			break
		}
	}
	return results
}

// Forgive tries targets again to which no session could be opened.
func (p *Pool) Forgive() { p.dead.clear() }

// get returns a session to t: one that is there if its key is that of a host in the
// plan, else a new one. fresh wants a new one.
func (p *Pool) get(ctx context.Context, t smtpclient.Target, fresh bool) (*conversation, error) {
	plan, err := p.plan(ctx, t)
	if err != nil {
		return nil, err
	}
	for _, host := range plan.Hosts {
		if host.Err == nil && !fresh {
			if o := p.take(host.Key); o != nil {
				return o, nil
			}
		}
	}
	session, err := p.dialer.DialPlan(ctx, plan)
	if errors.Is(err, smtpclient.ErrPlanExpired) {
		p.forget(t)
		if plan, err = p.plan(ctx, t); err == nil {
			session, err = p.dialer.DialPlan(ctx, plan)
		}
	}
	if err != nil {
		p.forget(t) // the next attempt looks at DNS again
		return nil, err
	}
	o := &conversation{session: session, Client: smtp.NewClient(&bounded{Conn: session.ReplayConn()})}
	o.SubmissionTimeout = replyTimeout
	if err := o.Hello(session.LocalName()); err != nil { // answered from what the dialer has heard
		session.Close()
		return nil, err
	}
	return o, nil
}

// plan returns what DNS and the policies say about t, asking them every few minutes.
func (p *Pool) plan(ctx context.Context, t smtpclient.Target) (*smtpclient.Plan, error) {
	p.mu.Lock()
	plan := p.plans[t]
	p.mu.Unlock()
	if plan != nil && time.Now().Before(plan.Expires) {
		return plan, nil
	}
	plan, err := p.dialer.Plan(ctx, t)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for old := range p.plans { // in no order
		if len(p.plans) < maxPlans {
			break
		}
		delete(p.plans, old)
	}
	p.plans[t] = plan
	return plan, nil
}

func (p *Pool) forget(t smtpclient.Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.plans, t)
}

func (p *Pool) take(key smtpclient.ReuseKey) *conversation {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle[key]) > 0 {
		list := p.idle[key]
		o := list[len(list)-1]
		p.drop(key, len(list)-1)
		if o.timer.Stop() && time.Now().Before(o.session.Expires()) {
			return o
		}
		p.quit(o)
	}
	return nil
}

// drop takes an idle session out; the caller holds the lock.
func (p *Pool) drop(key smtpclient.ReuseKey, i int) {
	list := p.idle[key]
	list[i] = list[len(list)-1]
	list[len(list)-1] = nil
	if p.idle[key] = list[:len(list)-1]; len(list) == 1 {
		delete(p.idle, key)
	}
	p.count--
}

// put gives a session back, between transactions.
func (p *Pool) put(o *conversation) {
	p.mu.Lock()
	if p.closed || p.options.MaxWait <= 0 || o.messages >= p.options.MaxMessages || p.count >= maxIdle {
		p.mu.Unlock()
		_ = o.session.Quit(context.Background())
		return
	}
	defer p.mu.Unlock()
	key := o.session.ReuseKey()
	o.timer = time.AfterFunc(p.options.MaxWait, func() { p.expire(key, o) })
	p.idle[key] = append(p.idle[key], o)
	p.count++
}

func (p *Pool) expire(key smtpclient.ReuseKey, o *conversation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.idle[key] {
		if other == o {
			p.drop(key, i)
			p.quit(o)
			return
		}
	}
}

// quit takes leave; nobody has to wait for it.
func (p *Pool) quit(o *conversation) {
	p.quits.Go(func() { _ = o.session.Quit(context.Background()) })
}

// Close ends the idle sessions and keeps none from now on. Deliver can still be called. It waits for as long as
// smtpclient.Timeouts.Quit.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	for key, list := range p.idle {
		for i := len(list) - 1; i >= 0; i-- {
			list[i].timer.Stop()
			p.quit(list[i])
			p.drop(key, i)
		}
	}
	p.mu.Unlock()
	p.quits.Wait()
}
