package smtpserver

import (
	"crypto/tls"
	"log/slog"
	"time"
)

// Options is the configuration of a Listener. Every field but Table may stay zero.
// It is read-only once it is in use.
type Options struct {
	Table *Table // who gets what; required

	// Certificate is for groups whose policy names none.
	Certificate CertificateSource
	// TLSConfig is what the configurations of the groups begin with; nil: an empty
	// one. Its VerifyConnection is called first, and its Time says whether certificates
	// are valid; its client certificate settings,
	// versions, cipher suites, curves and ALPN protocols give way to those of the
	// policies, and GetConfigForClient is not called.
	TLSConfig *tls.Config
	// ImplicitTLS says that connections begin with TLS, as on port 465 (RFC 8314).
	// The server below then gets tls.NewListener(l, l.TLSConfig()).
	ImplicitTLS bool
	// SessionTickets turns TLS session resumption on, with keys of their own for
	// every policy, changed every TicketLifetime. Policies that ask for client
	// certificates do without.
	SessionTickets bool

	Name string // for events; empty: the address that the listener has

	// Resolver verifies host names; nil: that of the system, in Go.
	Resolver Resolver
	// DNSTimeout bounds the verification of one peer. 0: 5 seconds; below 0: DNS is
	// never asked, and names count as PTRTempFail.
	DNSTimeout time.Duration

	// Limits: 0 is the default, below 0 is no limit.
	MaxConns       int // connections at a time; 0: no limit
	MaxRefusing    int // refused peers being told so at a time, others are reset; 0: DefaultMaxRefusing
	MaxPending     int // peers whose address or name is being found before they are delivered; 0: DefaultMaxPending
	MaxBadCommands int // commands refused by the filter per connection; 0: DefaultMaxBadCommands
	IPv6Prefix     int // prefix length that counts as one address, 1 to 128; 0: DefaultIPv6Prefix
	// MaxLine bounds a command line, its CRLF included. 0: DefaultMaxLine. Less than
	// MinLine counts as MinLine. AUTH has MaxAuthLine.
	MaxLine int

	// EarlyTalker is how long the greeting waits for peers that speak first, which
	// are then refused. 0: it does not wait.
	EarlyTalker time.Duration

	// Timeouts: 0 is the default, below 0 is none. An earlier deadline of the server
	// goes first.
	CommandTimeout   time.Duration // for a whole line; 0: DefaultCommandTimeout
	HandshakeTimeout time.Duration // for a whole handshake; 0: DefaultHandshakeTimeout
	DataTimeout      time.Duration // without an octet of message data; 0: DefaultDataTimeout
	WriteTimeout     time.Duration // for each write; 0: DefaultWriteTimeout
	IdleTimeout      time.Duration // without an octet inside TLS, if the server has no deadline; 0: DefaultIdleTimeout
	MaxConnAge       time.Duration // for a connection; 0: none
	// DataMinRate is how many octets per second of message data must come in clear
	// text, DataTimeout being allowed on top. 0: any.
	DataMinRate int

	// Events is called for every event, on the goroutine that it happens on: it must
	// be quick and safe for concurrent use, and must not call methods of the Conn.
	Events func(Event)
	// Logger gets every event as a record; nil: nothing is logged.
	Logger *slog.Logger
}

// Defaults and bounds of Options.
const (
	DefaultMaxRefusing    = 256
	DefaultMaxPending     = 1024
	DefaultMaxBadCommands = 10
	DefaultIPv6Prefix     = 64 // one customer's network (RFC 6177)

	// DefaultMaxLine leaves room for the parameters that extensions add to the 512
	// octets of RFC 5321 section 4.5.3.1.4, which are MinLine.
	DefaultMaxLine = 2048
	MinLine        = 512
	// MaxAuthLine bounds AUTH and its responses (RFC 4954 section 4).
	MaxAuthLine = 12288
	// MaxReply bounds a reply of the server.
	MaxReply = 64 << 10

	DefaultCommandTimeout   = 5 * time.Minute // RFC 5321 section 4.5.3.2.7
	DefaultHandshakeTimeout = 30 * time.Second
	DefaultDataTimeout      = 5 * time.Minute
	DefaultWriteTimeout     = 2 * time.Minute
	DefaultIdleTimeout      = 10 * time.Minute

	// TicketLifetime is how long a key for session tickets is used. It opens tickets
	// for as long again.
	TicketLifetime = 12 * time.Hour
)

// settle returns o with its defaults filled in.
func (o Options) settle() Options {
	or(&o.MaxRefusing, DefaultMaxRefusing)
	or(&o.MaxPending, DefaultMaxPending)
	or(&o.MaxBadCommands, DefaultMaxBadCommands)
	or(&o.MaxLine, DefaultMaxLine)
	o.MaxLine = min(max(o.MaxLine, MinLine), MaxAuthLine)
	if o.IPv6Prefix <= 0 || o.IPv6Prefix > 128 {
		o.IPv6Prefix = DefaultIPv6Prefix
	}
	or(&o.CommandTimeout, DefaultCommandTimeout)
	or(&o.HandshakeTimeout, DefaultHandshakeTimeout)
	or(&o.DataTimeout, DefaultDataTimeout)
	or(&o.WriteTimeout, DefaultWriteTimeout)
	or(&o.IdleTimeout, DefaultIdleTimeout)
	return o
}
