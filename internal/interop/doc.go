// Package interop holds tests against mail servers and TLS tools of other people's make, and starts them.
//
// [smtpclient] delivers here to Postfix, Exim and OpenSMTPD, and through TLS servers of OpenSSL, over DNS zones that
// ldns has signed, NSD serves and unbound validates; and the verdict of Postfix's posttls-finger about each host
// is compared with ours. README.md lists the counterparts and what is proven with each.
//
// Everything but this file has the build tag interop, so that go test ./... needs Go alone. The programs are Debian
// packages; mta.sh fetches those two mail servers that cannot be installed next to Postfix. The tests want root:
// mail servers change their user, and what must not be changed in the system is changed in a mount namespace of
// their own. All addresses are loopback, and whatever a test starts or writes is gone when it ends.
//
// [smtpclient]: github.com/smtpsec/smtpsec/smtpclient
package interop
