// Package tlsrpt is SMTP TLS Reporting (RFC 8460): telling the owners of domains how
// TLS with their mail hosts went, and reading what others tell.
//
// A domain that publishes MTA-STS or DANE cannot see whom its policy keeps away: mail
// that is not delivered leaves no trace at the receiver. So it asks senders for a
// daily summary, with a TXT record at _smtp._tls.<domain>:
//
//	v=TLSRPTv1; rua=mailto:tls-reports@example.com
//
// A sender counts its sessions, successes and failures, under each policy that
// applied, and the day after sends one report for the domain to the targets of its
// record: JSON, compressed, as mail or by POST.
//
// # Senders
//
// A mail client fills a [Session] for each connection attempt and gives it to a
// [Collector]. [ResultOf] turns errors of TLS and certificates into result types;
// [NewSTSPolicy], [NewTLSAPolicy] and [NewNoPolicy] make the policies, once each. An
// [Aggregator] is the Collector that counts by UTC day and report domain and writes
// to a [Store]: [Memory], package tlsrpt/dirstore or, for a fleet, package
// tlsrpt/redisstore. A [Reporter] sends what is due:
//
//	aggregator, err := tlsrpt.NewAggregator(store, tlsrpt.AggregatorOptions{Resolver: net.DefaultResolver})
//	go aggregator.Run(ctx)
//	reporter := &tlsrpt.Reporter{Store: store, Resolver: net.DefaultResolver, Organization: "Sender Inc.",
//		Contact: "tls-reports@sender.example", Mail: signAndDeliver}
//	go reporter.Run(ctx)
//
// # Receivers
//
// [NewRecord] makes the record to publish. [Receiver] is the http.Handler of an https
// target; [ParseMessage] reads a report that came as mail, [ParseReport] one from
// anywhere. They take what real senders send, and say in warnings what was wrong.
//
// # What it does not do
//
// It sends no mail and signs nothing: [BuildMessage] makes a message and says how to
// deliver it. It verifies no DKIM signature: a report by mail means nothing until the
// caller has. It decides nothing about deliveries, and knows MTA-STS and DANE by
// their names alone.
//
// # What is promised
//
// Counting a session that is like one before allocates nothing, and without a
// Collector nothing is built. Memory is bounded whatever comes, and sums stay right
// when details are folded. Counts that a Store has taken before a day is sent are in
// the report once: merging is commutative, associative and idempotent. The same counts make the same
// report, octet for octet. Whatever a record or a report of a stranger has in it
// breaks no header line and makes nobody post into a private network.
package tlsrpt
