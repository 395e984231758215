// Package ststest helps to test software that uses package mtasts: an Internet
// with every fault that a policy domain can have, and the conformance suite for
// implementations of mtasts.Store.
//
// A [Resolver] answers TXT queries, a [PolicyHost] serves policy files for any
// number of domains over real HTTPS on a loopback port. Together they are all that
// an mtasts.Client talks to:
//
//	dns, host := new(ststest.Resolver), ststest.NewPolicyHost()
//	defer host.Close()
//	dns.SetTXT("partner.example", "v=STSv1; id=1;")
//	host.SetPolicy("partner.example", "version: STSv1\nmode: enforce\n...")
//	client := &mtasts.Client{Resolver: dns, Fetch: host.FetchConfig()}
//
// Then [Resolver.SetFault] and [PolicyHost.SetFault] make one thing go wrong at a
// time, and [Resolver.Queries] and [PolicyHost.Gets] tell what the client asked.
//
// Whoever writes a Store of their own hands it to [TestStore].
//
// The package is for tests. Its certificates are signed by an authority that each
// PolicyHost makes for itself, and are valid from 1990 to 2190, so that a client
// under a fake clock can use them.
package ststest
