// Package policymap answers the lookups of Postfix's smtp_tls_policy_maps: what
// TLS must give on the way to a next hop, from DANE (RFC 7672), MTA-STS (RFC
// 8461) and a destination table.
//
// Postfix asks a table for each next hop, and gets a security level and a few
// attributes: "secure match=mx.example.com servername=hostname". One answer
// serves for all mail hosts of the next hop, while the policies of the two RFCs
// are about single hosts. [Choose] therefore looks at what package tlspolicy
// wants of each host and takes the nearest answer that is not weaker for any of
// them. Where no answer is strong enough, or where it is not known what is
// wanted, it is TEMP, and mail waits. NOTFOUND, which leaves the matter to
// main.cf, is for next hops that are known to publish nothing and of which the
// table says nothing. README.md of the program that this package belongs to has
// the rows.
//
// [Map] finds out what Choose must know, with [smtpclient.Dialer.Plan], and
// remembers answers for as long as the facts behind them hold. [Server] puts a Map on
// listeners, in either of the protocols that Postfix speaks: socketmap_table(5)
// and tcp_table(5).
//
//	m := &policymap.Map{Resolver: resolver, MTASTS: policies}
//	m.Reload(table)
//	server := &policymap.Server{Map: m}
//	err := server.Serve(ctx, listener, policymap.Socketmap)
//
// At the level dane Postfix looks TLSA records up itself, so a Postfix that uses this
// needs a validating resolver and smtp_dns_support_level = dnssec. The levels
// none, dane-only, encrypt and secure lose nothing without.
package policymap
