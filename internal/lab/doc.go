// Package lab is an Internet in one process, on loopback only: signed DNS, a
// certificate authority, HTTPS policy hosts and mail hosts, each with the fault
// that a test or an example wants to see.
//
// A [World] says what exists: domains with their zone, mail hosts and MTA-STS
// policy. [Start] makes it real, in well under a second:
//
//	l, err := lab.Start(lab.World{Domains: []lab.Domain{{
//		Name:  "partner.example",
//		Hosts: []lab.Host{{Name: "mx.partner.example", TLSA: []lab.TLSA{lab.TLSAMatch}}},
//	}}})
//	defer l.Close()
//
// Hosts have documentation addresses in DNS (RFC 5737, RFC 3849) and listen on
// ports 25 and 443 for whoever dials through [Lab.DialContext]; behind it each is a
// listener on 127.0.0.1. Names, TLSA owner names and URLs are thus the real
// ones. [Lab.Resolver] validates every answer itself, from the root key of this world
// down; [Lab.Stub] believes a resolver that does. [Lab.Roots] holds the certificate
// authority.
//
// A mail host is emersion/go-smtp behind a front of our own ([Fault]) that speaks
// greeting, EHLO, STARTTLS and the TLS handshake, breaks them as told, and writes
// down what the client sent in clear. What is delivered stays in
// [MailHost.Mailbox], byte for byte.
//
// [Destinations] is a ready-made world of two dozen recipient domains, each
// with the facts that an honest look at it must find. The package is for tests and
// examples: it trusts its caller and must never serve a real network.
package lab
