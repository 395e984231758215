// Package config reads the one TOML file of the reference relay and turns it
// into values that the library takes as they are: host access tables, a
// destination table, routes, certificates, trust lists, durations, sizes.
//
//	c, err := config.Load("relay.toml")
//	if err != nil {
//		return err // a *Error: every mistake in the file, with its line
//	}
//	for _, w := range c.Warnings {
//		fmt.Fprintln(os.Stderr, w)
//	}
//	dialer := c.Dialer() // policy, routes, trust, names, time limits
//	for _, l := range c.Listeners {
//		... smtpserver.NewListener(inner, l.Options)
//	}
//
// Somebody who has made four mistakes wants to hear of four, and where. So
// nothing stops at the first one: the file is read into a tree that knows the
// line of each key and value, every part takes from it what it needs, and what
// nobody took is an unknown key. A [Problem] has file, line, key, what is wrong
// and what to write instead.
//
// # What is promised
//
// Load opens no sockets, starts nothing and writes nothing, so that it can check
// a file beside a running relay and be called again for a reload. Either it
// returns a Config without errors, or none: a broken file never starts a relay
// and never replaces what one is running with.
//
// An open relay cannot be configured by leaving something out. A sender group
// that may send to anybody has to say so with access "relay" and must not stand
// for everybody, unless each client has to show a certificate of an authority
// that the file names. All others reach the domains in relay.recipient-domains,
// and if there are none, nobody.
//
// Relative paths are relative to the directory that the file is in.
package config

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/smtpsec/smtpsec/certs"
	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/examples/relay/spool"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/smtpserver"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// Config is a file that has no mistakes, as values that are ready for use. It is
// read-only, and safe for concurrent use.
type Config struct {
	// Path is the file, as given to Load.
	Path string
	// Hostname is the name of the relay in greetings, EHLO, Received fields and
	// reports: a fully qualified name in A-labels.
	Hostname string
	// Postmaster is the mail address that people are sent to in bounces and that
	// bounces come from in their From field; by default postmaster@Hostname.
	Postmaster string

	// Listeners are the ports on which mail is taken in, one at least.
	Listeners []Listener
	// Recipients are the domains that sender groups which may not relay can write to.
	// It is never nil; give Recipients.Contains to gosmtp.Options.Local.
	Recipients *Domains

	// Certs holds the certificates that the file names. Its sources are in Listeners
	// and Delivery already. Certs.Watch follows changes of unencrypted PEM files; the
	// rest, and everything after a reload, is read by Load. See CertificateEvents.
	Certs *certs.Store
	// Trust decides which certificates of other hosts are trusted.
	Trust *certs.TrustStore

	Delivery Delivery
	Resolver Resolver
	Spool    Spool
	Queue    Queue
	// MTASTSDirectory is where MTA-STS policies are kept, for mtasts/dirstore; "":
	// in memory only.
	MTASTSDirectory string
	// Reports says what to do about TLS reports; nil: nothing.
	Reports *Reports
	Alerts  Alerts
	// Metrics is the address, host:port, of the HTTP endpoint; "": there is none.
	Metrics string
	Log     Log

	// Warnings are what is legal in the file and unwise, in the order of its lines.
	Warnings []Problem

	certEvents *eventRelay
}

// Listener is one port.
type Listener struct {
	// Name is unique in the file; it stands in events and logs.
	Name string
	// Address is host:port for net.Listen.
	Address string
	// Options are complete but for Events, Logger and Resolver. Options.Table is the
	// host access table of this listener; its policies carry the certificates, so that
	// Listener.SetTable brings in new ones as well.
	Options smtpserver.Options
	// MaxMessageBytes and MaxRecipients are the largest limits of any policy of the
	// table: what a server has to allow and, for the size, to announce. The adapter
	// holds each connection to its own policy.
	MaxMessageBytes int64
	MaxRecipients   int
}

// Delivery is how mail goes out. Dialer puts it to use.
type Delivery struct {
	// Destinations is the destination table, with its default entry.
	Destinations *tlspolicy.Table
	// Routes lead domains elsewhere than to their MX hosts.
	Routes *smtpclient.RouteTable
	// Verify holds the optional rules about certificates.
	Verify tlspolicy.VerifyOptions
	// ClientCertificate is offered to hosts that ask for one; nil: none is.
	ClientCertificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
	// Timeouts, Port, Family and the local addresses are as in smtpclient.Dialer.
	Timeouts             smtpclient.Timeouts
	Port                 uint16
	Family               smtpclient.Family
	LocalIPv4, LocalIPv6 netip.Addr
	// HonorTLSRequiredNo lets the header field "TLS-Required: No" (RFC 8689 section 3)
	// lift the Required modes too: tlspolicy.Message.OverrideLocal.
	HonorTLSRequiredNo bool
}

// ResolverKind says where DNS answers come from.
type ResolverKind uint8

// The kinds of resolvers.
const (
	ResolverSystem    ResolverKind = iota // the servers of resolv.conf, as far as they can be trusted
	ResolverStub                          // servers that validate, and are believed
	ResolverValidator                     // signatures are checked here, from trust anchors down
	ResolverLab                           // an Internet inside this process, for trying things out
)

// Resolver is the choice of a DNS resolver.
type Resolver struct {
	Kind ResolverKind
	// Stub and Validator are the options for their kind, complete but for Logger and
	// Trace.
	Stub      dnssec.StubOptions
	Validator dnssec.ValidatorOptions
}

// Open makes the resolver. With ResolverSystem it asks the servers what they can
// do, until ctx ends. logger may be nil. The lab is the caller's to start, which
// then uses its resolver, its DialContext and its roots in place of Config.Trust:
// for ResolverLab the error is ErrLab.
func (r Resolver) Open(ctx context.Context, logger *slog.Logger) (dnssec.Resolver, error) {
	return r.open(ctx, logger)
}

// Spool is where messages wait.
type Spool struct {
	// Dir is the directory, an absolute path. Load does not make it.
	Dir string
	// Options are complete but for Report.
	Options spool.Options
}

// Queue is when and how often deliveries are tried.
type Queue struct {
	// Retry is the schedule; every field is set.
	Retry spool.Retry
	// PerDomain is how many deliveries to one domain run at a time, and Total how many
	// run at all; both are at least 1.
	PerDomain, Total int
	// ConnMessages is how many messages may go over one connection, at least 1, and
	// ConnIdle how long an idle one is kept; 0: it is not kept.
	ConnMessages int
	ConnIdle     time.Duration
	// MaxReturned is the largest message in octets that a bounce gives back whole;
	// of larger ones it has the header. 0: always the header.
	MaxReturned int64
}

// Reports says what to do about TLS reports (RFC 8460).
type Reports struct {
	// Organization, Contact and From are as in tlsrpt.Reporter.
	Organization, Contact, From string
	// Dir is where the counts are kept, for tlsrpt/dirstore; an absolute path.
	Dir string
	// Send says whether reports go out; otherwise they are counted and kept only.
	Send bool
	// FailuresOnly sends none about days without failures.
	FailuresOnly bool
}

// Alerts says who is told what somebody should look at.
type Alerts struct {
	// Log writes alerts to the log.
	Log bool
	// Mail are the addresses that get a message.
	Mail []string
	// Command is run with the alert on its standard input; the first element is an
	// absolute path. nil: none.
	Command []string
	// Every is the shortest time between two alerts that say the same, at least a second.
	Every time.Duration
}

// Log is the form of the log.
type Log struct {
	JSON  bool
	Level slog.Level
}

// Handler returns the handler that writes the log in the form chosen.
func (l Log) Handler(w io.Writer) slog.Handler {
	o := &slog.HandlerOptions{Level: l.Level}
	if l.JSON {
		return slog.NewJSONHandler(w, o)
	}
	return slog.NewTextHandler(w, o)
}

// Load reads a file and everything that it names. The error is a *Error with all
// that is wrong, warnings included, in the order of the lines; the Config is then
// nil.
func Load(path string) (*Config, error) {
	return load(path)
}

// Dialer returns a new dialer with everything that the file says about deliveries.
// Resolver, MTASTS, Reports, Logger and the like are the caller's to set before
// its first use.
func (c *Config) Dialer() *smtpclient.Dialer {
	return &smtpclient.Dialer{
		Hostname:          c.Hostname,
		Policy:            c.Delivery.Destinations,
		Routes:            c.Delivery.Routes,
		Trust:             c.Trust,
		Verify:            c.Delivery.Verify,
		ClientCertificate: c.Delivery.ClientCertificate,
		Port:              c.Delivery.Port,
		LocalIPv4:         c.Delivery.LocalIPv4,
		LocalIPv6:         c.Delivery.LocalIPv6,
		Family:            c.Delivery.Family,
		Timeouts:          c.Delivery.Timeouts,
	}
}

// RestartNeeded returns, in words and in the order of the file, what differs from
// the old Config and cannot be changed in a running relay. Empty: everything in c
// can be put in force by swapping tables, dialer and limits.
func (c *Config) RestartNeeded(old *Config) []string {
	return c.restartNeeded(old)
}

// CertificateEvents has f told what happens to the certificates, such as that one
// is about to expire. Certs sends events only while its Watch or CheckExpiry runs.
// f is called from several goroutines; nil: nobody is told.
func (c *Config) CertificateEvents(f func(certs.Event)) {
	c.certEvents.set(f)
}
