package smtpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smtpsec/smtpsec/dane"
	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/hostname"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/tlspolicy"
	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt"
)

// PolicyTable gives the settings of a destination. *tlspolicy.Table and
// *tlspolicy.Live are PolicyTables.
type PolicyTable interface {
	Lookup(domain string, hop tlspolicy.NextHop) (tlspolicy.Settings, tlspolicy.Origin, error)
}

// STSClient finds MTA-STS policies. *mtasts.Client is one.
type STSClient interface {
	Lookup(ctx context.Context, domain string) (mtasts.Result, error)
	Recheck(ctx context.Context, domain string) (r mtasts.Result, changed bool, err error)
}

// Family says which address families are used, and which comes first.
type Family uint8

const (
	// AnyFamily is the zero value, PreferIPv6.
	AnyFamily Family = iota
	// PreferIPv6 takes IPv6 and IPv4 addresses in turn, IPv6 first.
	PreferIPv6
	// PreferIPv4 takes them in turn, IPv4 first.
	PreferIPv4
	// OnlyIPv6 uses no IPv4 address.
	OnlyIPv6
	// OnlyIPv4 uses no IPv6 address.
	OnlyIPv4
)

// DefaultPort is the port of mail exchangers (RFC 5321 section 4.5.4.2).
const DefaultPort = 25

// Dialer opens SMTP sessions to recipient domains under policy. Configure it,
// then use it; from the first call on it must not be changed or copied. It is
// safe for concurrent use, and one serves a whole process. The zero Dialer works:
// built-in settings, the system's resolver and roots.
type Dialer struct {
	// Hostname is our name in EHLO: a fully qualified name, or an address literal
	// in brackets. Empty: the operating system's host name if it is fully
	// qualified, else the literal of the local address.
	Hostname string
	// Policy is the destination table. Nil: tlspolicy.BuiltIn for everybody.
	Policy PolicyTable
	// Routes says which domains have a next hop instead of their MX hosts. Nil:
	// none has. Targets that name a host are not asked for.
	Routes RouteSource
	// Resolver answers all DNS questions. Nil: dnssec.FromSystem at first use.
	// Only what it calls secure is taken as secure.
	Resolver dnssec.Resolver
	// MTASTS finds MTA-STS policies. Nil: none; a destination with MTA-STS on
	// then fails with ErrNoMTASTS, because a wish is not ignored.
	MTASTS STSClient
	// Trust decides which certificate chains are trusted. Nil: the operating
	// system's roots.
	Trust tlspolicy.ChainVerifier
	// Verify holds the optional rules about certificates. The zero value: none.
	Verify tlspolicy.VerifyOptions

	// ClientCertificate returns the certificate to offer to servers that ask for
	// one, nil for none. It is the same for all destinations, whatever authorities
	// a server lists, and is not offered where the key does not fit the signature
	// schemes or the TLS version of the request. It is called once for each Dial or
	// Plan that may use TLS, with a request that accepts everything and without
	// context, because its fingerprint must be known before a handshake. An error
	// fails the Dial. Nil: none is offered.
	ClientCertificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)

	// StrictTLS is used where policy excludes clear text. Nil: TLS 1.2 and up
	// with the suites of crypto/tls. It is cloned. ServerName,
	// InsecureSkipVerify and ClientSessionCache are set by the Dialer, and a
	// VerifyConnection can refuse a session, which counts as a failed handshake,
	// but make none acceptable. RootCAs (see Trust), certificates (see
	// ClientCertificate), VerifyPeerCertificate (which crypto/tls skips when a
	// session is resumed), renegotiation, settings for encrypted ClientHello
	// (crypto/tls does not call VerifyConnection when the server rejects it) and a
	// version below TLS 1.2 are errors.
	StrictTLS *tls.Config
	// OpportunisticTLS is used where clear text would be the alternative, so that
	// even old TLS is better than none. Nil: TLS 1.0 and up, with RSA key exchange
	// and CBC suites but without RC4 and 3DES. The rules of StrictTLS apply, but
	// for the version. What is refused here may go in clear text instead.
	OpportunisticTLS *tls.Config

	// Sessions is how many TLS sessions are remembered for resumption; 0 is
	// DefaultSessions, negative none. A session is only resumed where everything
	// that its security rests on is as it was, and its certificate is checked again.
	Sessions int

	// Port is the port of MX hosts, and of a host given to DialHost without one.
	// 0 is 25. It does not change on the way to clear text.
	Port uint16
	// LocalIPv4 and LocalIPv6 are the addresses to connect from. Invalid: the
	// operating system chooses. They have no effect with DialContext.
	LocalIPv4, LocalIPv6 netip.Addr
	// Family selects among the addresses of a host.
	Family Family
	// DialContext opens TCP connections, to literal addresses only. It must
	// return when its context ends. Nil: a net.Dialer.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// AllowAddr tells whether an address may be connected to; IPv4 comes
	// unmapped. Nil refuses unspecified, multicast and broadcast addresses, and
	// loopback except for a host that the operator named: that of DialHost, of
	// Target.Host or of a literal Hop.
	AllowAddr func(netip.Addr) bool
	// Self tells whether a host or address is this mail system, which ends the
	// list of MX hosts (RFC 5321 section 5.1). It is called once with each host
	// and the zero address, before anything is resolved, and again with each
	// address; not for a host that the operator named. Nil: never.
	Self func(host string, addr netip.Addr) bool

	// Timeouts and Limits; zero fields mean their defaults.
	Timeouts Timeouts
	Limits   Limits

	// Reports is told of every attempt that came to the point where STARTTLS was due
	// or that policy stopped before, for the reports that receiving domains ask for
	// (RFC 8460): a *tlsrpt.Aggregator. A session is counted at its handshake and not
	// when it is used again, a second connection for clear text is not, and Plan and
	// Probe count nothing. Nil: nothing is collected.
	Reports tlsrpt.Collector

	// OnEvent learns what happens in a Dial, and OnAlert at its end that a domain
	// gets no mail because of TLS. They are called synchronously and must not
	// block. Nil: nobody learns it.
	OnEvent func(context.Context, tlspolicy.Event)
	OnAlert func(context.Context, tlspolicy.Alert)
	// Logger gets a line for each event and each alert, in the words of the AsyncOS
	// chapter and with attributes, and a debug line for each attempt that ended
	// outside policy and for each Dial. Nil: silent.
	Logger *slog.Logger
	// Now is the clock for certificates and TLSA records. Nil: time.Now. Time
	// limits always use the system's clock.
	Now func() time.Time
	// Rand orders MX hosts of equal preference and the addresses of a host. Nil:
	// math/rand/v2.
	Rand rand.Source

	once sync.Once
	conf *config
	err  error

	connections atomic.Uint64 // opened so far
	warned      sync.Once     // that DANE is unavailable

	mu       sync.Mutex      // guards what follows, and Rand
	resolver dnssec.Resolver // the system's, when first needed
}

// config is a Dialer with every default filled in.
type config struct {
	d        *Dialer
	hostname string // "" = literal of the local address
	port     uint16
	timeouts Timeouts
	limits   Limits
	strict   *tls.Config
	lax      *tls.Config
	verifier *tlspolicy.Verifier
	sessions tls.ClientSessionCache // nil: none
	dane     dane.Options
	policies *policies
	now      func() time.Time
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	log      *slog.Logger
}

// Validate returns all that is wrong with the Dialer and can be found without a
// network. Dial and DialHost fail with the same error.
func (d *Dialer) Validate() error {
	_, err := d.configure()
	return err
}

// config returns the settled configuration, made at the first call.
func (d *Dialer) config() (*config, error) {
	d.once.Do(func() { d.conf, d.err = d.configure() })
	return d.conf, d.err
}

func (d *Dialer) configure() (*config, error) {
	c := &config{d: d, port: d.Port, now: d.Now, dial: d.DialContext, log: d.Logger}
	var errs []error
	fail := func(err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("smtpclient: Dialer: %w", err))
		}
	}
	var err error
	c.hostname, err = ownName(d.Hostname, os.Hostname)
	fail(err)
	c.timeouts, err = d.Timeouts.resolved()
	fail(err)
	c.limits, err = d.Limits.resolved()
	fail(err)
	if c.port == 0 {
		c.port = DefaultPort
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if d.Family > OnlyIPv4 {
		fail(fmt.Errorf("unknown Family %d", d.Family))
	}
	if a := d.LocalIPv4; a.IsValid() && !a.Is4() {
		fail(fmt.Errorf("no IPv4 address in LocalIPv4: %v", a))
	}
	if a := d.LocalIPv6; a.IsValid() && (!a.Is6() || a.Is4In6()) {
		fail(fmt.Errorf("no IPv6 address in LocalIPv6: %v", a))
	}
	if c.dial == nil {
		c.dial = systemDial
	}
	c.strict, err = profile("StrictTLS", d.StrictTLS, strictProfile, c.now)
	fail(err)
	c.lax, err = profile("OpportunisticTLS", d.OpportunisticTLS, opportunisticProfile, c.now)
	fail(err)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	c.sessions = newSessions(d.Sessions)
	c.verifier = tlspolicy.NewVerifier(d.Trust, d.Verify)
	c.policies = new(policies)
	c.dane = dane.Options{Now: c.now, Cache: dane.NewChainCache(0, 0)}
	return c, nil
}

// ownName settles the EHLO name. "" means the literal of the local address.
func ownName(name string, system func() (string, error)) (string, error) {
	if name == "" {
		if own, err := system(); err == nil {
			if own, err = hostname.Parse(own); err == nil && hostname.CheckFQDN(own) == nil {
				return own, nil
			}
		}
		return "", nil
	}
	if addr, ok := hostname.Literal(name); ok {
		return literal(addr), nil
	}
	canonical, err := hostname.Parse(name)
	if err != nil {
		return "", fmt.Errorf("bad Hostname: %w", err)
	}
	if err := hostname.CheckFQDN(canonical); err != nil {
		return "", fmt.Errorf("bad Hostname: %w", err)
	}
	return canonical, nil
}

// literal is an address as a domain (RFC 5321 section 4.1.3).
func literal(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return "[" + a.String() + "]"
	}
	return "[IPv6:" + a.String() + "]"
}

// localName is our name on a connection.
func (c *config) localName(conn net.Conn) string {
	if c.hostname != "" {
		return c.hostname
	}
	if a, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		return literal(a.AddrPort().Addr())
	}
	return literal(netip.AddrFrom4([4]byte{127, 0, 0, 1})) // not TCP: nothing better is known
}

// localAddr is the key under which the source address travels to systemDial.
type localAddr struct{}

func systemDial(ctx context.Context, network, address string) (net.Conn, error) {
	var nd net.Dialer
	if a, ok := ctx.Value(localAddr{}).(netip.Addr); ok {
		nd.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 0))
	}
	return nd.DialContext(ctx, network, address)
}

// connect opens a connection to addr, from the address source if it is valid.
func (c *config) connect(ctx context.Context, addr netip.AddrPort, source netip.Addr) (net.Conn, error) {
	if !source.IsValid() {
		source = c.d.LocalIPv6
		if addr.Addr().Is4() {
			source = c.d.LocalIPv4
		}
	}
	if source.IsValid() {
		ctx = context.WithValue(ctx, localAddr{}, source)
	}
	network := "tcp6"
	if addr.Addr().Is4() {
		network = "tcp4"
	}
	conn, err := c.dial(ctx, network, addr.String())
	if err == nil && conn == nil {
		return nil, errNoConn
	}
	return conn, err
}

// errNoConn is the fault of a DialContext that breaks its contract.
var errNoConn = errors.New("DialContext returned neither a connection nor an error")

// resolverFor returns the Resolver, the system's if none was given.
func (c *config) resolverFor(ctx context.Context) (dnssec.Resolver, error) {
	if c.d.Resolver != nil {
		return c.d.Resolver, nil
	}
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	if c.d.resolver == nil {
		r, err := dnssec.FromSystem(ctx, dnssec.Common{})
		if err != nil {
			return nil, err
		}
		c.d.resolver = r
	}
	return c.d.resolver, nil
}

// shuffle brings n things into a random order.
func (c *config) shuffle(n int, swap func(i, j int)) {
	if c.d.Rand == nil {
		rand.Shuffle(n, swap)
		return
	}
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	rand.New(c.d.Rand).Shuffle(n, swap)
}

// lookup asks the table for the settings of a destination.
func (c *config) lookup(domain string, hop tlspolicy.NextHop) (tlspolicy.Settings, tlspolicy.Origin, error) {
	if c.d.Policy == nil {
		return (*tlspolicy.Table)(nil).Lookup(domain, hop)
	}
	return c.d.Policy.Lookup(domain, hop)
}
