// Package smtpserver puts a host access table (HAT) in front of an SMTP server: it
// says, by address and verified host name, who may speak, who must speak TLS, and
// to whom TLS is not even offered. Any server that serves a net.Listener and does
// STARTTLS itself can be put behind it, unchanged.
//
// # The table
//
// A table is a list of sender groups. The first group with an entry that matches the
// peer decides, whatever stands below it, and its mail flow policy says what the
// connection gets. A peer that nothing matches is reset: end the table with a group
// for ALL. Compile folds a million entries into sorted intervals and one map, so
// that Lookup is a binary search.
//
// # The three TLS settings
//
//	No         STARTTLS is taken out of the EHLO reply and answered with 502
//	Preferred  TLS and clear text are both accepted
//	Required   before TLS everything but EHLO, NOOP, QUIT and STARTTLS is answered
//	           with 530 "Must issue a STARTTLS command first"
//
// # How it works
//
// Listener turns peers away that the table does not want, and wraps the others in a
// Conn. Until TLS is up, a Conn hands the server one command at a time, answers what
// the policy forbids, takes from the EHLO reply what the peer must not see, and
// follows the server's replies to know what the next octets are: that logic is Gate,
// which does no I/O. Octets behind STARTTLS, line ends that are not CRLF, BDAT in
// clear text and TLS where SMTP belongs end the session, and so do replies after which
// nobody knows where the server is: broken ones, and those that come before the server
// has had the whole command or message. From the 220 to STARTTLS on
// the server cannot write anything but TLS records, nor read anything else until the
// handshake is complete: there is no way back to clear text.
//
// # How to use it
//
// Call Compile, then NewListener with the Table and a CertificateSource. Serve the
// Listener, and give the server TLSConfig as its TLS configuration: it picks
// certificate, versions and client certificates by sender group. FromConn finds the
// Conn in the server's connection, with Group, Relay and ClientChains. SetTable
// replaces the table while connections go on. Events, Logger and Stats tell what
// happens.
//
// # What it cannot do
//
// Inside TLS the filter is blind. Messages, recipients, AUTH and smuggling in message
// data are then the business of the server or of an adapter in it, such as
// smtpserver/gosmtp; limits per message, TLSRequiredFrom and delayed rejection inside
// TLS need one. A server that falls back to clear text without saying so, reads far
// ahead and ignores that its replies cannot be written, is beyond help once a client
// has sent an encrypted alert padded to the size of a Finished message. Do not put
// the filter before LMTP, which has several replies to one message.
//
// # What is promised
//
// In Required no command but those four reaches the server in clear text; message
// data reaches it unchanged or not at all; the result does not depend on how the
// client's octets were cut into segments. Everything read from peers and server is
// bounded. A command through Conn allocates nothing. Table, Policy and Listener are
// safe for concurrent use.
package smtpserver
