package smtpserver

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

// Access says what becomes of a connection. The zero value inherits.
type Access uint8

const (
	AccessInherit Access = iota
	Accept               // the session goes on; the server's own rules for recipients apply
	Relay                // the session goes on, and any recipient may pass
	Reject               // the peer is told that it is not welcome
	TCPRefuse            // the connection is reset without an octet
	Continue             // the group does not count: matching goes on below it
)

// String returns the name that the AsyncOS guides use.
func (a Access) String() string {
	return enumName(uint8(a), "Access", "inherit", "accept", "relay", "reject", "tcp-refuse", "continue")
}

// TLS is one of the three settings of a mail flow policy. The zero value inherits.
type TLS uint8

const (
	TLSInherit   TLS = iota
	TLSNo            // STARTTLS is not offered and not accepted
	TLSPreferred     // STARTTLS is offered; clear text is accepted
	TLSRequired      // no mail before TLS
)

// String returns "no", "preferred" or "required".
func (s TLS) String() string {
	return enumName(uint8(s), "TLS", "inherit", "no", "preferred", "required")
}

// ClientCert says whether peers are asked for a certificate. The zero value inherits.
type ClientCert uint8

const (
	ClientCertInherit  ClientCert = iota
	ClientCertOff                 // not asked
	ClientCertIfGiven             // asked; none is fine, an invalid one ends the handshake
	ClientCertRequired            // without a valid one the handshake ends
)

// String returns "off", "if-given" or "required".
func (c ClientCert) String() string {
	return enumName(uint8(c), "ClientCert", "inherit", "off", "if-given", "required")
}

// Switch is a setting that is on or off. The zero value inherits.
type Switch uint8

const (
	Inherit Switch = iota
	Off
	On
)

// String returns "off" or "on".
func (s Switch) String() string { return enumName(uint8(s), "Switch", "inherit", "off", "on") }

func enumName(v uint8, kind string, names ...string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("%s(%d)", kind, v)
}

// CertificateSource gives the certificate of a listener or of a group. A source
// may also have
//
//	Ready() error        // not nil: there is no usable certificate now, STARTTLS is not offered
//	Demonstration() bool // true: it is a certificate for trying things out
//
// The sources of package certs do.
type CertificateSource interface {
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
}

// Policy is a mail flow policy: what a connection of a sender group gets. A zero or
// nil field takes the value of the table's defaults; what is unset there too takes
// the value that its comment names. In the policies that a Table gives out every
// field is settled.
type Policy struct {
	Name   string // for events and Listener.Policy; unset: the name of the group
	Access Access // required: unset in the defaults too is an error

	// Reject is what a rejected peer is told. Unset: 554, at once.
	Reject *Rejection

	TLS          TLS               // unset: No
	Certificate  CertificateSource // unset: the listener's
	MinVersion   uint16            // unset: TLS 1.2
	CipherSuites []uint16          // for TLS 1.2 and below; unset: those of crypto/tls
	Curves       []tls.CurveID     // unset: those of crypto/tls

	ClientCert ClientCert     // unset: off
	ClientCAs  *x509.CertPool // who may sign client certificates; needed unless ClientCert is off
	// NativeClientVerify leaves the check of client certificates to crypto/tls:
	// ConnectionState.VerifiedChains is then set, and the reason of a refusal is
	// coarser. Unset: off.
	NativeClientVerify Switch

	// AuthInClear lets AUTH pass before TLS. Unset: off, AUTH is neither offered nor
	// accepted in clear text.
	AuthInClear Switch
	// TLSRequiredFrom lists envelope senders for whom a group with TLS Preferred
	// demands TLS all the same. It needs an adapter inside the server, such as
	// smtpserver/gosmtp. Unset: nobody.
	TLSRequiredFrom *AddressList
	// Banner replaces the server's greeting. Unset: the server's stays.
	Banner *Banner
	// BareNewline lets message data with bare CR or LF pass in clear text, which
	// lets a peer smuggle messages past servers that take a bare LF for a line
	// end. For old internal clients only. Unset: off.
	BareNewline Switch

	// Limits: 0 inherits, below 0 is no limit.
	MaxConnsPerIP      int   // connections at a time from one address (IPv6: one /64). Unset: 1,000
	MaxMessagesPerConn int   // with an adapter. Unset: 1,000
	MaxRcptsPerMessage int   // with an adapter. Unset: 1,000
	MaxRcptsPerHour    int   // from one address (IPv6: one /64), with an adapter. Unset: no limit
	MaxMessageBytes    int64 // with an adapter. Unset: 100 MiB

	refusal []byte // the reply line of Reject, in a settled policy
}

// Rejection is what a rejected peer is told.
type Rejection struct {
	Code int    // 400 to 599; 0: 554 at once, 550 when delayed
	Text string // without codes; empty: a short refusal
	// Delayed lets the peer come as far as RCPT, so that the log shows senders and
	// recipients, and refuses each of those.
	Delayed bool
}

// Banner is a greeting.
type Banner struct {
	Code int    // 220; 0 is 220
	Host string // the name that the greeting begins with; empty: the server's stays
	Text string // what follows it; empty: "ESMTP"
}

// Values that a policy ends up with if neither it nor the defaults say otherwise.
const (
	DefaultMaxConnsPerIP      = 1000
	DefaultMaxMessagesPerConn = 1000
	DefaultMaxRcptsPerMessage = 1000
	DefaultMaxMessageBytes    = 100 << 20
)

// MaxReplyText bounds the texts of Rejection and Banner, so that the reply line
// stays within 512 octets (RFC 5321 section 4.5.3.1.5).
const MaxReplyText = 400

// inherit returns p with every unset field taken from d.
func (p Policy) inherit(d Policy) Policy {
	or(&p.Access, d.Access)
	or(&p.Reject, d.Reject)
	or(&p.TLS, d.TLS)
	if p.Certificate == nil {
		p.Certificate = d.Certificate
	}
	or(&p.MinVersion, d.MinVersion)
	if p.CipherSuites == nil {
		p.CipherSuites = d.CipherSuites
	}
	if p.Curves == nil {
		p.Curves = d.Curves
	}
	or(&p.ClientCert, d.ClientCert)
	or(&p.ClientCAs, d.ClientCAs)
	or(&p.NativeClientVerify, d.NativeClientVerify)
	or(&p.AuthInClear, d.AuthInClear)
	or(&p.TLSRequiredFrom, d.TLSRequiredFrom)
	or(&p.Banner, d.Banner)
	or(&p.BareNewline, d.BareNewline)
	or(&p.MaxConnsPerIP, d.MaxConnsPerIP)
	or(&p.MaxMessagesPerConn, d.MaxMessagesPerConn)
	or(&p.MaxRcptsPerMessage, d.MaxRcptsPerMessage)
	or(&p.MaxRcptsPerHour, d.MaxRcptsPerHour)
	or(&p.MaxMessageBytes, d.MaxMessageBytes)
	return p
}

// or sets *v to other if it has the zero value.
func or[T comparable](v *T, other T) {
	var zero T
	if *v == zero {
		*v = other
	}
}

// final returns what stands behind the defaults.
func final() Policy {
	return Policy{
		Reject:             &Rejection{},
		TLS:                TLSNo,
		MinVersion:         tls.VersionTLS12,
		ClientCert:         ClientCertOff,
		NativeClientVerify: Off,
		AuthInClear:        Off,
		BareNewline:        Off,
		MaxConnsPerIP:      DefaultMaxConnsPerIP,
		MaxMessagesPerConn: DefaultMaxMessagesPerConn,
		MaxRcptsPerMessage: DefaultMaxRcptsPerMessage,
		MaxRcptsPerHour:    -1,
		MaxMessageBytes:    DefaultMaxMessageBytes,
	}
}

// settle returns p with everything inherited and no zero limits, and what is wrong
// with it, as pairs of field and problem.
func (p Policy) settle(group string, defaults Policy) (*Policy, []*PolicyError) {
	p = p.inherit(defaults).inherit(final())
	or(&p.Name, group)
	rejection := *p.Reject // a copy: the caller's stays as it is
	or(&rejection.Code, rejection.defaultCode())
	or(&rejection.Text, "Access denied")
	p.Reject = &rejection
	p.refusal = rejection.refusal()
	if p.Banner != nil {
		banner := *p.Banner
		or(&banner.Code, 220)
		or(&banner.Text, "ESMTP")
		p.Banner = &banner
	}
	return &p, p.problems(group)
}

func (r Rejection) defaultCode() int {
	if r.Delayed {
		return 550
	}
	return 554
}

// problems lists what is wrong with a settled policy.
func (p *Policy) problems(group string) []*PolicyError {
	var found []*PolicyError
	add := func(field, format string, args ...any) {
		found = append(found, &PolicyError{Group: group, Field: field, Problem: fmt.Sprintf(format, args...)})
	}
	switch {
	case p.Access == AccessInherit:
		add("Access", "unset here and in the defaults: choose one")
	case p.Access > Continue:
		add("Access", "no such value: %d", p.Access)
	}
	if p.TLS > TLSRequired {
		add("TLS", "no such value: %d", p.TLS)
	}
	if p.ClientCert > ClientCertRequired {
		add("ClientCert", "no such value: %d", p.ClientCert)
	}
	for _, s := range []struct {
		field string
		value Switch
	}{{"NativeClientVerify", p.NativeClientVerify}, {"AuthInClear", p.AuthInClear}, {"BareNewline", p.BareNewline}} {
		if s.value > On {
			add(s.field, "no such value: %d", s.value)
		}
	}
	if (p.ClientCert == ClientCertIfGiven || p.ClientCert == ClientCertRequired) && p.ClientCAs == nil {
		add("ClientCAs", "client certificates are asked for and nobody may sign them: give a pool")
	}
	if p.MinVersion < tls.VersionTLS10 || p.MinVersion > tls.VersionTLS13 {
		add("MinVersion", "%#04x is no version of TLS that crypto/tls has", p.MinVersion)
	}
	if p.Reject.Code < 400 || p.Reject.Code > 599 {
		add("Reject", "code %d is no refusal: it must be 400 to 599", p.Reject.Code)
	}
	if problem := replyProblem(p.Reject.Text); problem != "" {
		add("Reject", "%s", problem)
	}
	if b := p.Banner; b != nil {
		if b.Code != 220 {
			add("Banner", "code %d is no greeting: it must be 220", b.Code)
		}
		if problem := replyProblem(b.Text); problem != "" {
			add("Banner", "%s", problem)
		}
		if problem := bannerHostProblem(b.Host); problem != "" {
			add("Banner", "%s", problem)
		}
	}
	return found
}

// bannerHostProblem says what is wrong with the name in a greeting: it is one word,
// a domain or an address literal (RFC 5321 section 4.2), or unset.
func bannerHostProblem(host string) string {
	for i := range len(host) {
		if host[i] <= ' ' || host[i] >= 0x7f {
			return fmt.Sprintf("host %q has an octet that a host name cannot have", clip(host))
		}
	}
	if len(host) > 255 {
		return "the host name is longer than 255 octets"
	}
	return ""
}

// replyProblem says why text cannot stand in a reply line.
func replyProblem(text string) string {
	if len(text) > MaxReplyText {
		return fmt.Sprintf("the text has %d octets, more than %d", len(text), MaxReplyText)
	}
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return fmt.Sprintf("the text %q has an octet that is not printable ASCII", clip(text))
		}
	}
	return ""
}
