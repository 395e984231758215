// Package dnstest is a DNS world for tests: a tree of zones from the root down, really signed,
// served on loopback.
//
// A [Tree] holds zones. [Tree.Zone] adds one from master-file lines; delegations, glue and DS
// records appear in the parent by themselves. [Tree.Sign] makes keys, signs what changed and
// publishes everything at once, also while servers answer. What is broken is said per zone or per
// RRset with a [Flaw], and [ZoneOptions] chooses algorithm, NSEC or NSEC3, opt-out and dates:
//
//	tree := dnstest.NewTree(dnstest.Options{})
//	tree.Zone("com.", dnstest.ZoneOptions{})
//	tree.Zone("good.com.", dnstest.ZoneOptions{}, "@ MX 10 mx", "mx A 127.0.0.1")
//	tree.Zone("old.com.", dnstest.ZoneOptions{Flaw: dnstest.Expired}, "@ MX 10 mx.good.com.")
//	err := tree.Sign()
//
// [ServeAuthoritative] serves the zones as their own name servers would: referrals, DS at the
// parent side, proofs of denial (RFC 4035 section 3.1, RFC 5155 section 7.2). [ServeRecursive]
// stands for a resolver in one of three [Behaviour]s: one that validates and says so with AD or
// SERVFAIL, one that only passes DNSSEC records on, one that strips them. Its verdicts come from
// how the tree was built, not from a validator, so that they can judge one; a test with the build
// tag interop compares them with unbound. [Tree.Verdict] gives the same verdict without a query.
//
// Each [Server] keeps a log of queries, takes faults per question ([Server.Fault]) and hooks that
// change replies as messages or as octets ([Server.Edit], [Server.EditWire]), and leaves no
// goroutine behind after Close.
//
// With the build tag interop it can also start daemons of other people's make on loopback, unbound
// (Unbound) and NSD (StartNSD).
//
// The package trusts its caller: it is for tests, examples and the lab, never for serving real
// zones. RSA keys are short (1,024 bits) so that they are made fast.
package dnstest
