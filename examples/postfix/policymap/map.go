package policymap

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

const (
	// DefaultEntries is how many answers a Map remembers. At a few hundred octets each
	// that is some tens of megabytes.
	DefaultEntries = 100_000
	// DefaultLookups is how many next hops are looked up at once.
	DefaultLookups = 64
	// DefaultWait is how long a request waits for its answer. Postfix gives up after 100 s
	// (tcp_table(5)).
	DefaultWait = 30 * time.Second

	// failedAge is how long a TEMP is remembered: so long that a queue run does not ask
	// again for each message, and no longer. RFC 9520 section 3.2 has a second to five
	// minutes.
	failedAge = 5 * time.Second
	// maxHosts is how many MX hosts are looked at. Domains of real mail have up to about
	// twenty.
	maxHosts = 64
	// maxDialers is how many ports other than 25 are remembered.
	maxDialers = 16
	// lookupTime bounds one look-up, which goes on when those who asked have given up.
	lookupTime = 2 * time.Minute
)

// A Map answers lookups. Set the fields and call Reload before its first use; it
// must not be copied or changed then, and is safe for concurrent use.
type Map struct {
	// Resolver answers DNS questions; it must be set. What it does not call secure counts
	// as unsigned.
	Resolver dnssec.Resolver
	// MTASTS finds policies; nil: none, and all lookups for next hops with MTA-STS on fail.
	MTASTS smtpclient.STSClient
	// Port is that of next hops which name none: what smtp_tcp_port says. It stands in the
	// name of TLSA records. 0 is 25.
	Port uint16
	// Entries is how many answers are remembered, Lookups how many next hops are looked
	// up at once, and Wait how long a request waits for its answer. 0 means the
	// defaults.
	Entries int
	Lookups int
	Wait    time.Duration
	// Logger is told of answers that make mail wait, and at level debug of all that are
	// made; nil: nobody is.
	Logger *slog.Logger

	// Metrics count what the Map does.
	Metrics Metrics

	table tlspolicy.Live
	once  sync.Once
	slots chan struct{} // one for each lookup under way
	cache cache

	mu      sync.Mutex
	dialers map[uint16]*smtpclient.Dialer // by port
}

func (m *Map) init() {
	m.once.Do(func() {
		m.slots = make(chan struct{}, positive(m.Lookups, DefaultLookups))
		m.cache.limit = positive(m.Entries, DefaultEntries)
		m.dialers = map[uint16]*smtpclient.Dialer{}
	})
}

func positive[T int | time.Duration](n, otherwise T) T {
	if n > 0 {
		return n
	}
	return otherwise
}

// Reload puts a table in force and forgets the answers that were given under the
// former one. A nil table is refused, and the former one stays.
func (m *Map) Reload(t *tlspolicy.Table) error {
	if err := m.table.Replace(t); err != nil {
		return err
	}
	m.cache.clear()
	return nil
}

// Lookup returns the answer for a key, from memory if it is there and has not
// expired. Calls for one next hop share one look-up. If ctx or Map.Wait end first the
// answer is a TEMP; the look-up goes on, so that the next request finds its
// result.
func (m *Map) Lookup(ctx context.Context, key string) Answer {
	m.init()
	hop, err := ParseKey(key)
	if err != nil {
		return m.counted(Answer{Status: Perm, Row: "A20", Why: err.Error()})
	}
	return m.find(ctx, hop)
}

// find is Lookup for a key that has been read.
func (m *Map) find(ctx context.Context, hop NextHop) Answer {
	if hop.Parent {
		return m.counted(Answer{Status: NotFound, Row: "A21", Why: "the entries for parent domains have been looked at for the domain itself"})
	}
	key := hop.String()
	now := time.Now()
	if a, early, ok := m.cache.get(key, now); ok {
		m.Metrics.hits.Add(1)
		if early {
			m.renew(hop, key)
		}
		return m.counted(a)
	}
	m.Metrics.misses.Add(1)
	ctx, cancel := context.WithTimeout(ctx, positive(m.Wait, DefaultWait))
	defer cancel()
	f, first := m.cache.join(key)
	if first {
		// Whoever comes first brings the slot. While all are taken it waits as long as it
		// would for an answer, so that flights are bounded and nobody queues unseen.
		select {
		case m.slots <- struct{}{}:
			go m.fly(hop, key, f)
		case <-ctx.Done():
			a := temp("A19", "too many look-ups at once")
			m.cache.land(key, f, a)
			return m.counted(a)
		}
	}
	select {
	case <-f.done:
		return m.counted(f.answer)
	case <-ctx.Done():
		return m.counted(temp("A19", "the look-up takes too long"))
	}
}

// fly looks a next hop up and gives the slot back.
func (m *Map) fly(hop NextHop, key string, f *flight) {
	defer func() { <-m.slots }()
	ctx, cancel := context.WithTimeout(context.Background(), lookupTime)
	defer cancel()
	begin := time.Now()
	m.Metrics.underWay.Add(1)
	a, _ := m.ask(ctx, hop)
	a.render(time.Now())
	m.Metrics.underWay.Add(-1)
	m.Metrics.took(time.Since(begin))
	if m.Logger != nil {
		level := slog.LevelDebug
		if a.Status == Temp {
			level = slog.LevelWarn
		}
		m.Logger.Log(ctx, level, "answer", "nexthop", key, "answer", a.String(), "row", a.Row, "why", a.Why, "took", time.Since(begin))
	}
	m.cache.land(key, f, a)
}

// renew looks up again what is about to expire, if there is a slot to spare.
func (m *Map) renew(hop NextHop, key string) {
	select {
	case m.slots <- struct{}{}:
	default:
		return
	}
	if f, first := m.cache.join(key); first {
		m.Metrics.renewals.Add(1)
		go m.fly(hop, key, f)
		return
	}
	<-m.slots
}

func (m *Map) counted(a Answer) Answer {
	m.Metrics.count(a)
	return a
}

// Explain looks a key up anew and returns the answer and the whole story of how it
// came about, for people.
func (m *Map) Explain(ctx context.Context, key string) (Answer, string) {
	m.init()
	hop, err := ParseKey(key)
	switch {
	case err != nil:
		return Answer{Status: Perm, Row: "A20", Why: err.Error()}, ""
	case hop.Parent:
		return m.find(ctx, hop), ""
	}
	return m.ask(ctx, hop)
}

// ask finds out what there is to know about a next hop, and chooses.
func (m *Map) ask(ctx context.Context, hop NextHop) (Answer, string) {
	settings, origin, err := m.table.Lookup(hop.entry(m.port(hop)))
	if err != nil {
		return Answer{Status: Perm, Row: "A20", Why: err.Error()}, ""
	}
	f := Findings{Settings: settings, ModeStated: origin.Mode != tlspolicy.SourceBuiltIn, Name: hop.name()}
	if !NeedsHosts(settings) {
		a := Choose(f)
		a.Expires = time.Now().Add(smtpclient.MaxPlanAge)
		return a, fmt.Sprintf("Settings: %v (entry %s).\n", settings, origin.Entry())
	}
	plan, err := m.plan(ctx, hop)
	if err != nil {
		return failed(err), explainFailure(err)
	}
	f.read(plan)
	a := Choose(f)
	// RFC 8461 section 5.1: before mail waits for a policy, it is looked at again.
	if a.Row == "A8" && m.MTASTS != nil {
		if _, changed, err := m.MTASTS.Recheck(ctx, f.PolicyDomain); err == nil && changed {
			if plan, err = m.plan(ctx, hop); err != nil {
				return failed(err), explainFailure(err)
			}
			f.read(plan)
			a = Choose(f)
		}
	}
	a.Expires = plan.Expires
	if a.Status == Temp {
		a.Expires = time.Now().Add(failedAge)
	}
	return a, plan.Explain()
}

// failed is the answer when no hosts were found.
func failed(err error) Answer {
	a := temp("A19", err.Error())
	var e *smtpclient.Error
	switch {
	case errors.Is(err, smtpclient.ErrBadName):
		a.Status, a.Row = Perm, "A20"
	case errors.As(err, &e):
		// Without "permanent", which is for whoever would bounce the mail.
		a.Why = e.Err.Error()
	}
	a.Expires = time.Now().Add(failedAge)
	return a
}

func explainFailure(err error) string {
	var e *smtpclient.Error
	if errors.As(err, &e) {
		return e.Report.Explain()
	}
	return ""
}

// plan asks the Dialer of the next hop's port.
func (m *Map) plan(ctx context.Context, hop NextHop) (*smtpclient.Plan, error) {
	port := m.port(hop)
	d, err := m.dialer(port)
	if err != nil {
		return nil, err
	}
	return d.Plan(ctx, hop.target(port))
}

func (m *Map) port(hop NextHop) uint16 {
	return cmp.Or(hop.Port, m.Port, smtpclient.DefaultPort)
}

// dialer returns the Dialer for a port: the owner name of TLSA records has it.
func (m *Map) dialer(port uint16) (*smtpclient.Dialer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.dialers[port]; d != nil {
		return d, nil
	}
	// It never connects, so it trusts nobody and may look at every address.
	nobody, err := tlspolicy.NewPoolVerifier(x509.NewCertPool(), tlspolicy.PoolOptions{})
	if err != nil {
		return nil, err
	}
	d := &smtpclient.Dialer{
		Hostname: "policymap.invalid", Port: port, Policy: &m.table, Resolver: m.Resolver, MTASTS: m.MTASTS, Trust: nobody,
		AllowAddr: func(netip.Addr) bool { return true }, Limits: smtpclient.Limits{Hosts: maxHosts},
	}
	if len(m.dialers) < maxDialers {
		m.dialers[port] = d
	}
	return d, nil
}

// read takes from a plan what an answer depends on.
func (f *Findings) read(p *smtpclient.Plan) {
	report := p.Hosts[0].Report
	// A reload may have come between; what the plan was made with counts.
	f.Settings, f.ModeStated = report.Settings, report.Origin.Mode != tlspolicy.SourceBuiltIn
	f.Beyond = report.MX.Beyond > 0
	f.STSUnknown = report.MTASTS.Outcome == mtasts.OutcomeDNSError
	f.Policy, f.PolicyDomain, f.PolicyEnd = report.MTASTS.Policy, report.MTASTS.Domain, report.MTASTS.Expires
	f.Hosts = nil
	for _, h := range p.Hosts {
		if h.DANEState == tlspolicy.DANEUnknown && f.Settings.DANE != tlspolicy.DANENone {
			continue // no address: Postfix cannot connect to it either
		}
		name := h.Host
		if _, err := netip.ParseAddr(name); err == nil {
			name = ""
		}
		f.Hosts = append(f.Hosts, Host{Name: name, DANE: h.DANEState, STS: h.STSState})
		f.STSUnknown = f.STSUnknown || f.Settings.MTASTS == tlspolicy.On && h.STSState == tlspolicy.STSUnknown
	}
}
