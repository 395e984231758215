package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/hostname"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt"
)

// prober is what all looks share. It is safe for concurrent use.
type prober struct {
	resolver dnssec.Resolver
	policies *mtasts.Client
	fetch    mtasts.FetchConfig
	roots    *x509.CertPool // for mtasts.Check; nil: the system's
	trust    tlspolicy.ChainVerifier
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	helo     string
	port     uint16
	timeout  time.Duration // for one domain
	question question
	now      func() time.Time
}

// Bounds on the phases of a conversation. Receivers that are slower on purpose wait
// half a minute at the most; RFC 5321 section 4.5.3.2 would allow them minutes.
const (
	connectTimeout = 10 * time.Second
	replyTimeout   = 35 * time.Second
)

// look is one look at one domain.
type look struct {
	*prober
	r        *Result
	resolver *memo
	domain   string

	mu      sync.Mutex
	current netip.AddrPort                         // that was dialed last
	chains  map[netip.AddrPort][]*x509.Certificate // what was presented there
}

// probe finds out all about one domain. When ctx ends the Result has what was found
// until then.
func (p *prober) probe(ctx context.Context, text string) *Result {
	r := &Result{Schema: Schema, Domain: text, Time: p.now().UTC().Truncate(time.Second), Asked: p.question.asked(p.port)}
	defer r.finish()
	domain, err := mailDomain(text)
	if err != nil {
		r.Status, r.Why = StatusInvalid, err.Error()
		neutralise(r)
		return r
	}
	r.Domain = domain
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	l := &look{prober: p, r: r, resolver: &memo{Resolver: p.resolver}, domain: domain, chains: map[netip.AddrPort][]*x509.Certificate{}}
	f := l.all(ctx)
	neutralise(r)         // what follows is made of the texts that are clean now
	if ctx.Err() == nil { // nothing that was not looked at any more decides
		r.Decisions = p.question.decisions(f)
	}
	r.Mend = mend(r)
	r.judge(f, p.question.settled(), ctx.Err(), outer.Err())
	return r
}

// finish makes empty lists of those that nothing was put into.
func (r *Result) finish() {
	for _, list := range []any{&r.MX.Hosts, &r.MX.Dropped, &r.Hosts, &r.Decisions, &r.Mend, &r.Notes} {
		neverNull(list)
	}
}

// mailDomain returns the A-labels of a domain that mail can be sent to.
func mailDomain(text string) (string, error) {
	if hostname.IsLiteral(text) {
		return "", errors.New("this is an address and not a domain: it has no MX records, no DNSSEC and no MTA-STS policy to look at")
	}
	domain, err := hostname.Parse(text)
	var bad *hostname.Error
	if errors.As(err, &bad) {
		return "", errors.New("this is no domain name: " + bad.Problem)
	}
	return domain, err
}

// all asks everything. What cannot be found out is in the Result.
func (l *look) all(ctx context.Context) *facts {
	f := &facts{}
	report, err := l.connect(ctx, tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEOpportunistic,
		MTASTS: tlspolicy.On, Fallback: tlspolicy.FallbackAfter220}, tlspolicy.Message{TLSOptional: true})
	if report == nil {
		f.end = err
		return f
	}
	f.mx, f.sts, f.end = report.MX, report.MTASTS.Outcome, err
	l.describeMX(&report.MX)
	l.describeSTS(ctx, &report.MTASTS)
	l.describeReports(ctx)
	l.describeHosts(ctx, report, f)
	if needsSecondLook(report) {
		l.lookAgain(ctx, f)
	}
	return f
}

// connect probes every address of every host under one set of settings. With
// TLSOptional nothing that the domain publishes keeps a host from being looked at.
func (l *look) connect(ctx context.Context, s tlspolicy.Settings, m tlspolicy.Message) (*smtpclient.Report, error) {
	table, err := tlspolicy.NewTable(s, nil)
	if err != nil {
		return nil, err
	}
	keep := func(cs tls.ConnectionState) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if _, seen := l.chains[l.current]; !seen {
			l.chains[l.current] = cs.PeerCertificates
		}
		return nil
	}
	d := &smtpclient.Dialer{
		Hostname: l.helo, Policy: table, Resolver: l.resolver, MTASTS: l.policies, Trust: l.trust, Port: l.port,
		StrictTLS:        &tls.Config{MinVersion: tls.VersionTLS12, VerifyConnection: keep},
		OpportunisticTLS: &tls.Config{MinVersion: tls.VersionTLS10, CipherSuites: anySuite(), VerifyConnection: keep},
		Sessions:         -1,
		DialContext:      l.dialNoting,
		Timeouts: smtpclient.Timeouts{Connect: connectTimeout, Greeting: replyTimeout, EHLO: replyTimeout,
			STARTTLS: replyTimeout, Handshake: replyTimeout, Total: -1},
		Now: l.now,
	}
	return d.Probe(ctx, smtpclient.Target{Domain: l.domain, Message: m})
}

// dialNoting connects and remembers where to. A Probe has one connection at a time.
func (l *look) dialNoting(ctx context.Context, network, address string) (net.Conn, error) {
	if at, err := netip.ParseAddrPort(address); err == nil {
		l.mu.Lock()
		l.current = at
		l.mu.Unlock()
	}
	return l.dial(ctx, network, address)
}

// anySuite returns every cipher suite but those with RC4 and 3DES: to see what an
// old server can do is the purpose here.
func anySuite() []uint16 {
	var all []uint16
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if !strings.Contains(s.Name, "RC4") && !strings.Contains(s.Name, "3DES") {
			all = append(all, s.ID)
		}
	}
	return all
}

// needsSecondLook tells whether a sender that takes good TLS only, or one that obeys
// TLSA records, may find something else: old TLS, a weak suite, or a TLSA base domain
// that is not the host's name and stands in its place in the handshake (RFC 7672
// section 8.1).
func needsSecondLook(r *smtpclient.Report) bool {
	for i := range r.Attempts {
		a := &r.Attempts[i]
		if isWeak(a) || otherBase(a) {
			return true
		}
	}
	return false
}

func isWeak(a *smtpclient.Attempt) bool {
	return a.Version != 0 && (a.Version < tls.VersionTLS12 || isInsecureSuite(a.Suite))
}

func otherBase(a *smtpclient.Attempt) bool {
	return a.DANEState == tlspolicy.DANEUsable && a.TLSABase != a.Host && a.Addr.IsValid()
}

func isInsecureSuite(id uint16) bool {
	for _, s := range tls.InsecureCipherSuites() {
		if s.ID == id {
			return true
		}
	}
	return false
}

// lookAgain is the look of a sender that takes good TLS only and obeys TLSA records.
func (l *look) lookAgain(ctx context.Context, f *facts) {
	report, _ := l.connect(ctx, tlspolicy.Settings{Mode: tlspolicy.Required, DANE: tlspolicy.DANEOpportunistic,
		MTASTS: tlspolicy.Off, Fallback: tlspolicy.FallbackAfter220}, tlspolicy.Message{})
	if report == nil {
		return
	}
	for i := range report.Attempts {
		a := &report.Attempts[i]
		again := factsOf(a)
		for h := range f.hosts {
			for j := range f.hosts[h].addrs {
				first := &f.hosts[h].addrs[j]
				if f.hosts[h].host != a.Host || first.addr != a.Addr || !a.Addr.IsValid() {
					continue
				}
				shown := &l.r.Hosts[h].Addresses[j]
				if a.Requirement.Kind() == tlspolicy.KindDANE {
					first.dane = &again
				}
				if first.weak {
					first.strict = &again
					shown.Strict = again.outcome.TLS.String()
				}
			}
		}
	}
}

// describeReports looks for the record that asks senders for TLS reports.
func (l *look) describeReports(ctx context.Context) {
	record, err := tlsrpt.Lookup(ctx, dnssec.NetResolver{Resolver: l.resolver}, l.domain)
	switch {
	case err == nil:
		l.r.TLSRPT = &TLSRPT{Record: record.String()}
	case errors.Is(err, tlsrpt.ErrNoRecord):
		l.r.TLSRPT = &TLSRPT{Absent: true}
	case ctx.Err() == nil:
		l.r.TLSRPT = &TLSRPT{Error: err.Error()}
	}
}
