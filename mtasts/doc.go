// Package mtasts is SMTP MTA Strict Transport Security (RFC 8461): obeying the
// policies of others, and publishing one's own.
//
// SMTP asks DNS for the mail hosts of a domain and takes TLS if it is offered.
// Whoever can forge DNS or touch the connection can take the mail. A domain
// closes this hole by two things: a TXT record at _mta-sts.<domain>, whose id
// says "I have a policy, this is its version", and a file at
//
//	https://mta-sts.<domain>/.well-known/mta-sts.txt
//
// which lists patterns of mail host names, a mode and a max_age. The record can
// be forged, the file cannot: it comes under a certificate of the web. So the
// record only says when to look, and what was fetched once is obeyed until
// max_age has passed, whatever DNS says meanwhile. That is the whole defence:
// trust on first use, then memory.
//
// In mode enforce mail goes only to hosts that the policy names, over TLS, with
// a certificate valid for the host's name. Mode testing is for reports, mode
// none takes a policy back.
//
// # What to call
//
// A sender calls [Client.Lookup] before a delivery, [Result.Match] for each mail
// host before connecting, and [Client.Recheck] when every host failed. Keep one
// Client for the process: it is the memory. Give it a [Store], such as that of
// package mtasts/dirstore, so that the memory outlives a restart, and let
// [Client.Run] fetch policies again before they expire.
//
// What the operator of a sender knows better than discovery is a [Pin]: a switch to
// leave MTA-STS alone for a domain, a fixed policy, or a floor below which no
// forgery can bring the domain.
//
// A receiver serves its [Policy] with a [Publisher] and puts what [RecordFor] says
// into DNS: the file first, then the record. [PlanRollout] says which steps lead to
// a new policy and how long to wait between them, [Check] whether the world sees
// what it should.
//
// [ParseRecord] and [ParsePolicy] read the two texts; a [Parser] in mode [Strict]
// with a Warn function judges them.
//
// # What it does not do
//
// It connects to no mail host and decides no delivery: DANE, local policy and the
// TLS mode of the destination come in above it. It follows no redirect, asks no
// private address and has no switch that turns verification off.
//
// # What is promised
//
// A failed or impossible check is never told as an absent policy. An unexpired
// policy is never dropped because DNS or HTTPS failed. A lookup that the cache
// answers allocates nothing. Whatever a domain's owner sends is bounded: octets,
// time, tries and memory.
package mtasts
