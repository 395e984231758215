// Package smtpsec is the map of a library for SMTP transport security; it has
// no code of its own.
//
// A mail server has one question to which the answer is spread over a dozen
// standards: may this message travel over this connection? Given a recipient
// domain, the packages here find out what protects the way there (DNSSEC and
// DANE, MTA-STS, the operator's own settings), open the connection, decide what
// may be sent over it, and say why.
//
//   - dane: TLSA records and the verification of certificates against them
//     (RFC 6698, 7671, 7672), and discovery of the records for a mail host
//   - dane/dnssec: DNS answers that carry their security; a stub resolver and
//     a validator
//   - mtasts: MTA-STS, for senders and for those who publish (RFC 8461); its
//     stores in mtasts/dirstore and mtasts/redisstore
//   - certs: certificates and keys, made, requested, kept and served; lists of
//     authorities, those of Mozilla in certs/roots
//   - tlspolicy: delivery modes, the destination table, the decision as a pure
//     function, the identity checks
//   - tlspolicy/tlsrpt: TLS reports, sent and received (RFC 8460); its stores
//     in tlspolicy/tlsrpt/dirstore and tlspolicy/tlsrpt/redisstore
//   - smtpclient: the dialer that joins all of these: recipient domain in,
//     ready session out
//   - smtpserver: a host access table in front of any Go SMTP server;
//     smtpserver/gosmtp has what only a server can see, for emersion/go-smtp
//
// # How they stand on each other
//
// internal and dane/dnssec are the ground. dane, mtasts, certs and tlspolicy
// stand on it side by side and never import each other, so that each is useful
// alone; facts pass between them as small values. smtpclient and smtpserver
// stand on those. The examples are the roof. A test in this package keeps it so.
//
// # Two rules that every package obeys
//
// A check that failed or could not be made is never taken for an absent policy.
// And nothing that somebody in the network can send before the peer is
// authenticated causes clear text where policy forbids it, a permanent failure,
// a crash or unbounded work.
//
// Start with smtpclient if you write an MTA, with smtpserver if you have a server,
// with tlspolicy if you have a dialer of your own, with dane or mtasts if you
// need just that standard. The program in examples/quickstart runs the whole
// system in one process.
package smtpsec
