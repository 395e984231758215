package dnssec

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// Upstream says which servers are asked and how. The zero value uses the system's resolv.conf.
type Upstream struct {
	// Servers are asked in this order; IPv6 zones are allowed. nil = the nameserver lines of ResolvConf.
	Servers []netip.AddrPort

	// ResolvConf is the file to read if Servers is nil; "" = /etc/resolv.conf. It is looked at again every five seconds
	// of use and read again when it has changed. While it names no server, the servers read last stay in use.
	ResolvConf string

	Timeout time.Duration // per try, UDP and TCP each; 0 = "timeout" of ResolvConf, else 2 s
	Tries   int           // rounds over all servers; 0 = "attempts" of ResolvConf, else 2
	UDPSize uint16        // EDNS size; 0 = 1232, less than 512 means 512 (RFC 6891 section 6.2.3)

	// Case0x20 sends the letters of each name in random case and wants them back as sent. That makes forging a datagram
	// harder. A server that does not keep the case is asked again over TCP.
	Case0x20 bool

	TCPOnly bool        // also set by "use-vc" in ResolvConf
	Dialer  *net.Dialer // for UDP and TCP; nil = the zero Dialer

	// Exchange carries one query to one server and returns the reply as a whole. It is called by several goroutines
	// at once and must return when ctx ends. The reply is checked as if it came over TCP. nil = UDP, and TCP for a
	// reply that was cut.
	Exchange func(ctx context.Context, server netip.AddrPort, query []byte) ([]byte, error)
}

// CacheConfig bounds what a Resolver remembers. Zero fields mean the defaults.
type CacheConfig struct {
	Entries   int           // answers kept; 0 = 4,096. The one not asked for the longest goes first
	MaxTTL    time.Duration // longest time an answer is kept; 0 = 1 h
	MaxNegTTL time.Duration // longest time a denial is kept; 0 = 15 min
	FailTTL   time.Duration // time a failed lookup is kept (RFC 9520); 0 = 5 s, negative = not at all
	Disable   bool          // keep nothing; identical lookups at the same time still share one exchange
}

// Common holds the options that every Resolver of this package has. The zero value is ready for use.
type Common struct {
	Upstream Upstream
	Cache    CacheConfig

	Timeout time.Duration    // for a whole lookup; 0 = 10 s. A nearer deadline of the context holds for its caller
	Now     func() time.Time // for expiry; nil = time.Now. Waiting goes by the real clock
	Logger  *slog.Logger     // names asked for appear at debug level; nil = silent

	// Trace is told what happens, from several goroutines and while lookups wait for it; nil = nobody is told.
	Trace func(Event)
}

// EventKind says what an Event is about.
type EventKind uint8

const (
	EventQuery     EventKind = iota + 1 // one question was put to Server
	EventCheck                          // Server was tried for fitness; Err nil = fit
	EventUntrusted                      // from now on all answers are Indeterminate; Err says why
	EventTrusted                        // from now on answers carry security
	EventCache                          // Question was answered from the cache
	EventVerdict                        // Question was answered from upstream, with Security or Err
	EventLimit                          // Question hit a limit: Err is KindLimit or KindLoop
)

// An Event is one thing a Resolver did. Fields that do not apply are zero.
type Event struct {
	Kind     EventKind
	Question Question
	Server   netip.AddrPort
	Security Security
	Elapsed  time.Duration
	Err      error
}

// Defaults and bounds of the options.
const (
	defaultTryTimeout = 2 * time.Second
	defaultTries      = 2
	defaultUDPSize    = 1232 // DNS flag day 2020: fits the IPv6 minimum MTU
	minUDPSize        = 512  // RFC 6891 section 6.2.3

	defaultLookupTimeout = 10 * time.Second

	defaultCacheEntries = 4096
	defaultMaxTTL       = time.Hour
	defaultMaxNegTTL    = 15 * time.Minute
	defaultFailTTL      = 5 * time.Second // RFC 9520 section 3.2 wants at least 1 s, at most 5 min
)

// orDefault returns v, or d if v is zero.
func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}

func (c *Common) setDefaults() {
	c.Upstream.UDPSize = max(orDefault(c.Upstream.UDPSize, defaultUDPSize), minUDPSize)
	if c.Upstream.Dialer == nil {
		c.Upstream.Dialer = new(net.Dialer)
	}
	c.Cache.Entries = orDefault(c.Cache.Entries, defaultCacheEntries)
	c.Cache.MaxTTL = orDefault(c.Cache.MaxTTL, defaultMaxTTL)
	c.Cache.MaxNegTTL = orDefault(c.Cache.MaxNegTTL, defaultMaxNegTTL)
	c.Cache.FailTTL = orDefault(c.Cache.FailTTL, defaultFailTTL)
	c.Timeout = orDefault(c.Timeout, defaultLookupTimeout)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Trace == nil {
		c.Trace = func(Event) {}
	}
}
