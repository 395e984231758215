//go:build unix

// Package outbound hands messages to the next host: SMTP transactions over sessions
// that smtpclient has opened under policy, kept for the next message where that is
// allowed.
//
//	pool := outbound.New(dialer, outbound.Options{MaxMessages: 50, MaxWait: 5 * time.Second})
//	results := pool.Deliver(ctx, smtpclient.Target{Domain: "partner.example"}, &envelope, recipients, m.Body)
//
// There is a [Result] for each recipient, because hosts may take a message for one
// and not for another. Deliver splits many recipients into several transactions, begins
// anew where a session that was kept has died, and remembers for a moment where no
// session could be had. It does not touch the envelope, nor decide when to try again.
//
// The dialer promises that MAIL goes out only where TLS policy is content, and that its
// errors are not permanent unless that is proven. What follows is ordinary SMTP: a 5xx
// in a session is permanent. In a session that policy allows to be in clear text, or
// unauthenticated, somebody on the way can say 5xx in the host's place, as he could
// read the message or drop it; only a stricter policy for the destination helps.
//
// What a host can make us read, and how long it can make us wait, is bounded.
package outbound
