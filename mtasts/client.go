package mtasts

import (
	"context"
	"log/slog"
	"slices"
	"sync"
)

// Resolver looks up TXT records. *net.Resolver fits, and so does any resolver
// that fails like it: an empty list without error, or a *net.DNSError with
// IsNotFound, means that there is no record; every other error means that one
// does not know. Each string is one record, its parts joined.
//
// A Resolver that also has LookupNetIP(ctx, network, host string)
// ([]netip.Addr, error), as *net.Resolver has, resolves policy hosts too.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// Client finds out the MTA-STS policy of recipient domains, and remembers it for
// as long as it is valid. Set the fields, then use it; it must not be copied or
// changed after the first call, and is safe for concurrent use. The zero Client
// works: system resolver, system roots, memory of this process alone.
//
// Without a Store a policy lives in memory. After a restart of the process every
// domain is as unknown as on the first day, and the first discovery can be forged
// away.
type Client struct {
	// Resolver answers TXT queries; nil: net.DefaultResolver.
	Resolver Resolver
	// Fetch says how policy files are fetched.
	Fetch FetchConfig
	// Store keeps what is known across restarts; nil: memory only. A Store
	// that fails never changes a decision while the memory holds a policy.
	Store Store
	// Clock is the source of time; nil: the system's.
	Clock Clock
	// Pins are what the operator fixes for single domains, above all that
	// discovery says; nil: none.
	Pins PinSource
	// Limits are intervals and bounds; zero fields have their defaults.
	Limits Limits

	// TolerantRecord reads TXT records tolerantly. RFC 8461 section 3.1 wants
	// a malformed record treated as none, which false does.
	TolerantRecord bool
	// StrictPolicy refuses policy files that bend the grammar. The domain then
	// goes without protection.
	StrictPolicy bool

	// Trace is told every event, on the goroutine where it happens, and must
	// not block; nil: nobody is.
	Trace func(Event)
	// Logger gets every event as a record with the attribute "mtasts"; nil:
	// nothing is logged.
	Logger *slog.Logger

	once   sync.Once
	engine *engine
}

// Lookup returns what is known of the MTA-STS policy of domain: the domain of
// the envelope recipient, or that of the smart host to which its mail is routed
// (RFC 8461 section 3.4). Never a parent, a CNAME target or an MX name.
//
// A policy that is held and valid is returned at once; if a check of it is due,
// that goes on in the background. For a domain of which nothing is known Lookup
// waits for the TXT query and the GET. Calls for one domain share one discovery,
// which goes on when the callers give up.
//
// What goes wrong in discovery is in Result.Err, and does not keep a delivery
// from going on as Result.Outcome says. The error is non-nil only if domain is
// no policy domain (ErrDomain), if its pin is invalid (ErrPin), or if ctx ended
// first with nothing known and no PinFloor: that says nothing about whether there
// is a policy.
func (c *Client) Lookup(ctx context.Context, domain string) (Result, error) {
	domain, err := normalDomain(domain)
	if err != nil {
		return Result{Err: err}, err
	}
	g := c.start()
	if c.Pins == nil {
		return g.lookup(ctx, domain)
	}
	pin, err := g.pin(domain, g.clock.Now())
	if err != nil {
		return Result{Domain: domain, Err: err}, err
	}
	var r Result
	if pin.discovers() {
		if r, err = g.lookup(ctx, domain); err != nil && pin.Kind != PinFloor {
			return r, err
		}
	}
	return g.usePin(pin, domain, r), nil
}

// lookup is Lookup below the pins.
func (g *engine) lookup(ctx context.Context, domain string) (Result, error) {
	now := g.clock.Now()
	if s := g.cache.index.get(domain); s != nil {
		nanos := now.UnixNano()
		s.use(nanos)
		if s.span.has(nanos) {
			return s.steady, nil
		}
		switch g.asks(s.entry, now) {
		case needNothing:
			return g.result(s.entry, now), nil
		case needCheck:
			g.background(domain)
			return g.result(s.entry, now), nil
		}
	}
	a, err := g.wait(ctx, domain, delivery)
	if err != nil {
		err = &Error{Op: opLookup, Domain: domain, Err: err}
		return Result{Domain: domain, Err: err}, err
	}
	return a.result, nil
}

// Recheck looks at the TXT record of domain again, however recent the last look
// is, and fetches the policy if it has a new id. A deliverer calls it when every
// candidate host failed under an enforce policy: once per attempt, and always
// before it returns a message (RFC 8461 section 5.1). There is at most one TXT
// query per domain and minute.
//
// changed says that another policy now applies than when Recheck was called: the
// mode or a pattern differs, or there is one policy fewer or more. The attempt
// may then be repeated. With PinOff and PinFixed nothing is asked and nothing
// changes. The error is as that of Lookup, except that it is also non-nil when ctx
// ended before the check did; the Result then is what the cache has, under the
// pin.
func (c *Client) Recheck(ctx context.Context, domain string) (r Result, changed bool, err error) {
	domain, err = normalDomain(domain)
	if err != nil {
		return Result{Err: err}, false, err
	}
	g := c.start()
	pin, err := g.pin(domain, g.clock.Now())
	if err != nil {
		return Result{Domain: domain, Err: err}, false, err
	}
	if !pin.discovers() {
		return g.usePin(pin, domain, Result{}), false, nil
	}
	before := pin.apply(domain, g.cached(domain))
	a, err := g.wait(ctx, domain, recheck)
	if err != nil {
		err = &Error{Op: opLookup, Domain: domain, Err: err}
		before.Domain = domain
		return before, false, err
	}
	r = g.usePin(pin, domain, a.result)
	changed = !sameRules(before.Policy, r.Policy)
	if changed && g.trace {
		now := g.clock.Now()
		g.emit([]Event{{Kind: EventRecheckChanged, Level: slog.LevelInfo, Time: now, Domain: domain, ID: r.ID, Old: before.Policy, New: r.Policy}})
	}
	return r, changed, nil
}

// sameRules reports whether two policies allow the same hosts in the same way.
func sameRules(p, q *Policy) bool {
	if p == nil || q == nil {
		return p == q
	}
	return p.Mode == q.Mode && slices.Equal(p.MX, q.MX)
}

// Scope is what Forget drops.
type Scope uint8

const (
	// ScopeBackoff drops the waits after failed GETs.
	ScopeBackoff Scope = iota
	// ScopeNegative drops the knowledge that there is no usable record.
	ScopeNegative
	// ScopeAll drops everything, a valid policy too. The next delivery trusts
	// whatever discovery then says.
	ScopeAll
)

// Forget drops what is known of domain, in memory and in the Store, so that the
// next lookup asks again; other processes keep what they have in memory. It is for
// operators. It waits for a discovery that is under way; the error is non-nil
// if ctx ended first, if the Store fails, or if domain is no policy domain.
func (c *Client) Forget(ctx context.Context, domain string, what Scope) error {
	domain, err := normalDomain(domain)
	if err != nil {
		return err
	}
	if err := c.start().forgetDomain(ctx, domain, what); err != nil {
		return &Error{Op: opLookup, Domain: domain, Err: err}
	}
	return nil
}

// start makes the working parts on first use.
func (c *Client) start() *engine {
	c.once.Do(func() { c.engine = newEngine(c) })
	return c.engine
}
