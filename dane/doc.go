// Package dane reads, publishes and enforces TLSA records: certificates
// published in DNSSEC-signed DNS (RFC 6698, RFC 7671), and above all their use
// between mail servers (RFC 7672).
//
// An operator publishes, at _25._tcp.<mail host>, what the certificate of his
// server or its issuer looks like. A sender that finds such records over DNSSEC
// must use TLS with this host, and must see a certificate that satisfies one of
// them. No public certification authority is involved, and nobody on the way can
// take STARTTLS out of the conversation. The package answers three questions,
// each by itself:
//
//   - What do the records say? ParseRecord, ParseWire and Record.Check read them;
//     NewRecord, NewRecordSPKI, RolloverSet and Advise make them.
//   - Does a certificate chain satisfy them? NewVerifier compiles a set once;
//     Verifier.Verify judges chains, Verifier.TLSConfig does so inside crypto/tls.
//   - Which records hold for a mail host? DiscoverHost asks a dnssec.Resolver.
//
// To send mail, begin with DiscoverHost and look at the Outcome. Only with
// OutcomeUsable there is a Verifier. A record names a certificate in one of four
// ways:
//
//	3 DANE-EE  the server's own certificate or key; names and dates do not count
//	2 DANE-TA  an issuer, public or not, that the path must end at; names count
//	1 PKIX-EE  like 3, and the path must be valid to a public root; not for mail
//	0 PKIX-TA  like 2, and the path must be valid to a public root; not for mail
//
// # What must be kept apart
//
// Verify has three verdicts. Matched and Mismatched are what they say; Unusable
// means that there are records and none makes sense, and then TLS is still
// mandatory but cannot be authenticated this way. That there are no records at
// all is not among them: see OutcomeNoTLSA and OutcomeInsecure. Nor is a lookup
// that failed, which is never "no records". Every zero value fails closed.
//
// # What is not here
//
// The package states facts and makes no policy: whether to go on to the next
// host, to wait, or to ask MTA-STS is for the caller. It does not connect, and
// without DNSSEC it has no meaning: never feed it records from a resolver that
// cannot tell what is secure.
//
// # Limits
//
// Of a chain the first 256 certificates are looked at. Building paths, which only
// usages 0 to 2 need, is that of crypto/x509: at most 100 signature checks, and at
// most 32 more for keys published without certificate. A chain that needs more is
// a mismatch with ReasonLimit. From crypto/x509 come these too: certificates
// issued to their own issuer count for pathLen; no path holds two certificates
// with the same subject, key and alternative names; certificates with a negative
// serial number or a key on an unknown curve cannot be read.
//
// All types are safe for concurrent use once made. Nothing that a caller or a
// resolver owns is changed.
package dane
