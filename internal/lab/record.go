package lab

import (
	"crypto/tls"
	"slices"
	"time"
)

// Message is one message that a mail host has accepted.
type Message struct {
	Host string    // name of the mail host
	At   time.Time // when the last octet was in
	Helo string    // the argument of the last EHLO or HELO
	From string    // reverse path, "" for <>
	To   []string
	// Data is what came after DATA without the transparency dots and the final one
	// (RFC 5321 section 4.5.2), and nothing else changed.
	Data []byte
	// TLS is the session's state, nil when the message came in clear.
	TLS *tls.ConnectionState
	// RequireTLS is set when MAIL had the REQUIRETLS parameter (RFC 8689 section 4.2.1).
	RequireTLS bool
}

// Connection is what a mail host remembers of one TCP connection.
type Connection struct {
	At    time.Time
	Fault Fault // the one that struck, or would have
	// Clear and Inside are the command lines of the client, before and inside TLS, in
	// order, without line end and cut at 512 octets. Message text is not among them.
	Clear, Inside []string
	// Octets is everything that came in clear up to the ClientHello, at most 64 KiB.
	Octets []byte
	// SNI is the server name of the ClientHello; Hello tells that one came.
	SNI   string
	Hello bool
	// TLS is the state after the handshake; nil without one. HandshakeErr is why it
	// failed on the host's side.
	TLS          *tls.ConnectionState
	HandshakeErr error
	// Closed tells that the connection has ended.
	Closed bool
}

// Bounds of what is remembered of a connection; more is dropped.
const (
	maxCommand  = 512 // RFC 5321 section 4.5.3.1.4
	maxCommands = 1000
	maxOctets   = 64 << 10
)

func (c *Connection) clone() Connection {
	d := *c
	d.Clear, d.Inside, d.Octets = slices.Clone(c.Clear), slices.Clone(c.Inside), slices.Clone(c.Octets)
	return d
}
