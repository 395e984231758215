package smtpclient

import (
	"net/netip"
	"time"

	"github.com/smtpsec/smtpsec/dane"
	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// Report is what a Dial found and did, step by step. A Session and every *Error
// carry one. Its size is bounded by Limits, and text from servers is printable
// ASCII of at most 512 octets a piece, but for the names in certificates that the
// errors about them hold.
type Report struct {
	// Domain is the recipient domain in A-labels; empty for DialHost.
	Domain string
	// Host is the configured host with its port, that of DialHost, Target.Host or
	// a literal Hop; empty if MX records say which hosts.
	Host string
	// Route is the hop that this Report is about; zero without a route.
	Route Hop
	// Before are the hops of the route that were tried before this one, each with
	// its own settings and attempts. Nil without a route.
	Before []*Report
	// Settings are what the policy table says about the destination, and Origin
	// where it says so.
	Settings tlspolicy.Settings
	Origin   tlspolicy.Origin
	// MX is what the MX lookup found. Zero for configured hosts and address
	// literals.
	MX MXReport
	// MTASTS is what is known about the domain's MTA-STS policy. Its Outcome is
	// OutcomeUnknown if nothing was looked up.
	MTASTS mtasts.Result
	// Rechecked tells that MTASTS was asked for again after hosts had failed the
	// policy (RFC 8461 section 5.1).
	Rechecked bool
	// Attempts are the hosts and addresses tried, in order. A host that was left
	// before connecting is an attempt without address.
	Attempts []Attempt
	// Elapsed is how long the Dial took.
	Elapsed time.Duration
}

// MXReport is the MX lookup of a Dial.
type MXReport struct {
	Domain    string          // whose MX records: the recipient domain, or that of the Route
	Outcome   dnssec.Outcome  // 0 if the lookup failed
	Security  dnssec.Security // of the answer
	Implicit  bool            // no MX record: the domain itself is the host
	Null      bool            // a null MX (RFC 7505)
	Hosts     []MXHost        // in the order in which they are tried
	Dropped   []DroppedHost   // exchanges that are no host names
	Malformed int             // records that could not be read
	Beyond    int             // hosts left out because of Limits.Hosts
	Err       error           // why the lookup failed
	// Decision is what policy made of a lookup that failed; its Reason is zero if
	// policy was not asked or takes DANE report-only.
	Decision tlspolicy.Decision
	Elapsed  time.Duration
}

// MXHost is one mail exchanger.
type MXHost struct {
	Host string // A-labels, no final dot
	Pref uint16
}

// DroppedHost is an exchange that cannot be connected to.
type DroppedHost struct {
	Name string
	Pref uint16
	Err  error // why
}

// Attempt is one connection, or a host that was left without one.
type Attempt struct {
	Host      string         // MX host, or the configured host
	Pref      uint16         // preference of the MX record
	Addr      netip.AddrPort // zero if there was no connection
	LocalAddr netip.AddrPort // zero if unknown
	ConnID    uint64         // number of the connection in the Dialer's life, as in events; 0 if there was none
	// Reconnect marks the second connection to an address, for clear text after
	// a handshake that failed.
	Reconnect bool

	DANEState   tlspolicy.DANEState // zero if DANE is not in use
	DANEReason  dane.DiscoverReason // what DANEState rests on, where that is open
	TLSABase    string              // TLSA base domain, if the host has TLSA records
	STSState    tlspolicy.STSState  // zero if MTA-STS is not in use
	STSPolicy   string              // id of the MTA-STS policy that STSState is about
	Requirement tlspolicy.Requirement
	Outcome     tlspolicy.Outcome  // its TLS is zero if it did not come that far
	Decision    tlspolicy.Decision // its Reason is zero if policy was not asked
	Identity    tlspolicy.Identity // the name that the certificate proved
	TLSA        dane.Result        // what the TLSA records said, for requirement kind dane
	// Unverified is why the certificate checks failed, also where mail is
	// delivered all the same.
	Unverified error

	Stage    Stage    // how far it came
	Greeting string   // the first line of the server's first reply
	EHLO     []string // the extension lines of the EHLO in clear, raw
	EHLOTLS  []string // the same of the EHLO inside TLS
	Version  uint16   // TLS version, as in crypto/tls; 0 without TLS
	Suite    uint16   // TLS cipher suite
	Resumed  bool     // the TLS session was begun on an earlier connection
	Timings  Timings

	// Err is why the attempt did not lead to a session; nil if it did. It is a
	// *PolicyError if policy refused the host.
	Err error
}

// Timings are the durations of the steps of an attempt; zero for steps that did
// not happen. DNS is that of the host and stands in its first attempt.
type Timings struct {
	DNS, Connect, Greeting, EHLO, STARTTLS, Handshake, Checks, EHLOTLS time.Duration
}
