// Package gosmtp lets an emersion/go-smtp server carry out the rules of a host
// access table that only a server can carry out.
//
// A smtpserver.Listener filters what it can see: the dialogue before TLS. Once TLS
// is up it sees records. What is said inside is decided here, between the server and
// its Backend, by the mail flow policy that the connection got:
//
//   - no mail without TLS where TLS is Required, a second time and independently of
//     the filter, and for the envelope senders in TLSRequiredFrom (530 5.7.0);
//   - delayed rejection: every recipient is refused, and the Backend hears nothing;
//   - the limits on messages, recipients, recipients per hour and size;
//   - which domains a group that may not relay can write to (Options.Local);
//   - message data that has a CR or an LF on its own is refused (554 5.6.0), because
//     go-smtp passes it on, and a server further on may take it for the end of the
//     message and read what follows as the next one.
//
// Call Attach before Serve. The Backend stays as it is: its sessions are wrapped, and
// those that implement smtp.AuthSession or smtp.LMTPSession still do.
//
// # What a Backend has to do
//
// Data reads until io.EOF and delivers only then: any other error of the reader means
// that the message must be thrown away. go-smtp asks for the same, since a connection
// can break in the middle of a message. Within a chunk of BDAT go-smtp itself takes
// that for the end; here it is an error there too.
//
// # What go-smtp decides itself
//
// Server.MaxMessageBytes and Server.MaxRecipients hold for all groups and are what
// EHLO announces; the limits of a policy come on top of them. A CR that follows a dot
// at the beginning of a line is dropped by go-smtp before anybody else can see it: it
// neither ends the message nor reaches the Backend. Go-smtp's LMTP has its own word
// for EHLO, which the filter does not know: for LMTP with TLS use implicit TLS.
package gosmtp
