package smtpclient

import (
	"fmt"
	"time"
)

// Default durations of the phases. Greeting and the replies have the minimum of
// RFC 5321 section 4.5.3.2 where it names one.
const (
	DefaultResolveTimeout   = 20 * time.Second
	DefaultStagger          = time.Second
	DefaultConnectTimeout   = 30 * time.Second
	DefaultGreetingTimeout  = 5 * time.Minute // RFC 5321 section 4.5.3.2.1
	DefaultEHLOTimeout      = 5 * time.Minute // as for MAIL, RFC 5321 section 4.5.3.2.2
	DefaultSTARTTLSTimeout  = 5 * time.Minute
	DefaultHandshakeTimeout = time.Minute
	DefaultQuitTimeout      = 2 * time.Second
	DefaultTotalTimeout     = 30 * time.Minute
)

// Timeouts bound the phases of a Dial. Each is a bound for the whole phase and
// not for a single read, so that a server that sends one byte a minute does not
// hold a connection for longer. ctx bounds everything as well. Zero fields mean
// the default.
type Timeouts struct {
	// Resolve is for the addresses and TLSA records of one host; 20 s.
	Resolve time.Duration
	// Stagger is how long an address may take to connect before the next one of
	// the host is tried at the same time; 1 s. Negative: strictly one after the
	// other.
	Stagger time.Duration
	// Connect is for one TCP connection; 30 s.
	Connect time.Duration
	// Greeting is for the server's first reply; 5 min.
	Greeting time.Duration
	// EHLO is for EHLO, HELO, and EHLO inside TLS, each; 5 min.
	EHLO time.Duration
	// STARTTLS is for the reply to it; 5 min.
	STARTTLS time.Duration
	// Handshake is for the TLS handshake; 1 min.
	Handshake time.Duration
	// Quit is for QUIT: on a failed attempt the time to send it, in Session.Quit
	// the time to wait for the reply; 2 s.
	Quit time.Duration
	// Total is for the whole Dial and acts like a deadline of ctx; 30 min.
	// Negative: none.
	Total time.Duration
}

// Limits bound what a Dial does and what a server may make it keep. Zero fields
// mean the default, negative ones are an error.
type Limits struct {
	// Hosts is how many MX hosts are considered; 20.
	Hosts int
	// Addresses is how many addresses of a host are used; 8.
	Addresses int
	// Connections is how many connections a Dial may open, those for clear text
	// after a failed handshake included; 24.
	Connections int
	// ReplyLine is the longest reply line in octets with its line end; 2000.
	ReplyLine int
	// ReplyLines is the largest number of lines in a reply; 100.
	ReplyLines int
	// ReplyBytes is the largest size of a reply in octets; 32 KiB.
	ReplyBytes int
	// EHLOKeywords is how many lines of an EHLO reply are kept; 64. Of the further
	// ones only STARTTLS counts.
	EHLOKeywords int
}

// Defaults of Limits that do not concern replies.
const (
	DefaultHosts       = 20
	DefaultAddresses   = 8
	DefaultConnections = 24

	// MaxReplyLine is the largest value of Limits.ReplyLine.
	MaxReplyLine = 64 << 10
)

func (t Timeouts) resolved() (Timeouts, error) {
	for _, f := range []struct {
		name     string
		value    *time.Duration
		standard time.Duration
		negative bool
	}{
		{"Resolve", &t.Resolve, DefaultResolveTimeout, false},
		{"Stagger", &t.Stagger, DefaultStagger, true},
		{"Connect", &t.Connect, DefaultConnectTimeout, false},
		{"Greeting", &t.Greeting, DefaultGreetingTimeout, false},
		{"EHLO", &t.EHLO, DefaultEHLOTimeout, false},
		{"STARTTLS", &t.STARTTLS, DefaultSTARTTLSTimeout, false},
		{"Handshake", &t.Handshake, DefaultHandshakeTimeout, false},
		{"Quit", &t.Quit, DefaultQuitTimeout, false},
		{"Total", &t.Total, DefaultTotalTimeout, true},
	} {
		if *f.value == 0 {
			*f.value = f.standard
		}
		if *f.value < 0 && !f.negative {
			return t, fmt.Errorf("negative Timeouts.%s: %v", f.name, *f.value)
		}
	}
	return t, nil
}

func (l Limits) resolved() (Limits, error) {
	for _, f := range []struct {
		name     string
		value    *int
		standard int
	}{
		{"Hosts", &l.Hosts, DefaultHosts},
		{"Addresses", &l.Addresses, DefaultAddresses},
		{"Connections", &l.Connections, DefaultConnections},
		{"ReplyLine", &l.ReplyLine, DefaultReplyLine},
		{"ReplyLines", &l.ReplyLines, DefaultReplyLines},
		{"ReplyBytes", &l.ReplyBytes, DefaultReplyBytes},
		{"EHLOKeywords", &l.EHLOKeywords, DefaultEHLOKeywords},
	} {
		if *f.value == 0 {
			*f.value = f.standard
		}
		if *f.value < 0 {
			return l, fmt.Errorf("negative Limits.%s: %d", f.name, *f.value)
		}
	}
	if l.ReplyLine > MaxReplyLine {
		return l, fmt.Errorf("too large Limits.ReplyLine: %d, at most %d", l.ReplyLine, MaxReplyLine)
	}
	return l, nil
}
