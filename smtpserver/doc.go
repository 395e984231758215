// Package smtpserver puts a host access table (HAT) in front of an SMTP server: it
// says, by address and verified host name, who may speak, who must speak TLS, and
// to whom TLS is not even offered.
//
// A table is a list of sender groups. The first group with an entry that matches
// the peer decides, whatever stands below it, and its mail flow policy says what
// the connection gets. Compile folds a million entries into sorted intervals and one
// map, so that a lookup is a binary search. A peer that nothing matches is refused:
// end the table with a group for ALL.
package smtpserver
