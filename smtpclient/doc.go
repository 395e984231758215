// Package smtpclient opens SMTP sessions under a transport security policy: a
// recipient domain goes in, and out comes a connection on which MAIL may be
// sent, or an error that tells what happened at every host.
//
// Between the two lies what every mail system has to do and few do alike. The
// MX records are looked up, with their DNSSEC state, and at the same time the
// domain's MTA-STS policy (RFC 8461). For each host the addresses and TLSA
// records are found (RFC 7672). Package tlspolicy turns settings and findings
// into a requirement. Then the Dialer connects, says EHLO, sends STARTTLS (RFC
// 3207), checks the certificate inside the handshake as far as the requirement
// needs it, and asks tlspolicy again: deliver, deliver in clear text, connect
// again without TLS, or try the next address. There is no policy in this
// package; the rules stand in one table, and the Report names those that decided.
//
//	d := &smtpclient.Dialer{Hostname: "mta.sender.example", Policy: table, MTASTS: sts}
//	s, err := d.Dial(ctx, "partner.example")
//	if err != nil {
//		return err // an *Error: status, reason, every host and address tried
//	}
//	defer s.Close()
//	c, err := s.NetSMTP() // *net/smtp.Client, ready for Mail
//
// One Dialer serves a whole process. A Session gives its connection to net/smtp
// (NetSMTP), to another client library that wants to begin with the greeting
// (ReplayConn, or Dialer.DialContextFunc where the library dials), or as it is
// (NetConn).
//
// Dial is the plain case. DialTarget also takes a configured host and what a message
// asks for (RFC 8689), and Routes lead domains elsewhere than to their MX hosts. Plan
// stops before connecting: it tells what would happen, and gives connection pools the
// keys by which they know which deliveries may share a Session. Probe connects to
// everything and sends nothing. CheckResolver belongs where a program starts. Reports
// counts how TLS went, for the domains that ask senders about it (RFC 8460).
//
// What is promised:
//   - Nothing that a server says is permanent: an Error is, only if DNS says that
//     the domain does not exist or takes no mail. Before a server is
//     authenticated, anybody on the way could speak for it.
//   - Where policy demands TLS no MAIL goes out in clear text, whatever the server
//     or somebody on the way does. The end of ctx is ctx's error, and never looks
//     like a failed handshake after which clear text would be allowed.
//   - What comes in behind the 220 to STARTTLS in clear text is never read as a
//     reply, and what was said before TLS does not count inside it.
//   - A TLS session is resumed, and a connection shared, only where everything that
//     its security rests on is the same; the certificate is checked again.
//   - Each phase has one absolute deadline, each thing read a bound; see Timeouts
//     and Limits. When Dial returns, no goroutine and no connection of it is left
//     but that of the Session.
//
// The package does not queue, does not choose retry times, does not submit mail
// with a password to a smart host and knows no TLS without STARTTLS.
package smtpclient
