// Package dnssec answers DNS questions and says how far each answer can be trusted.
//
// DANE rests on one thing that package net cannot tell: whether DNS data is authentic. A TLSA record from an unsigned
// zone protects nobody, a forged denial of TLSA records would switch protection off, and so "there is no such
// record", "nobody knows" and "somebody has tampered with it" must never be mixed up. Here they are three things:
//
//   - An [Answer] has an [Outcome] (found, no data, no such domain) and a [Security]: Secure if it was validated up
//     to a trust anchor, Insecure if it was shown to be unsigned, Indeterminate if nobody has looked.
//     Only Secure answers may be relied on; Indeterminate ones must not even be taken for unsigned.
//   - An [Error] means that nothing is known. Its [Kind] says why, KindBogus among them: bogus data is never returned.
//     Everything but KindBadName is temporary, so mail waits and is not bounced.
//   - An alias (CNAME or DNAME) on the way is a [Step] with its own security.
//
// # Where to begin
//
// [FromSystem] uses the servers in resolv.conf and finds out which of the following they are good for.
//
// [NewStub] makes a [Stub], which asks a validating resolver, such as unbound, and believes its AD bit. The bit is not
// signed, so it counts only if the resolver runs on the same machine or the administrator vouches for the way to it,
// and if it passes a self-check; else all answers are Indeterminate, and Check says what to change. Call Check at start
// if the program must have DNSSEC.
//
// [NewValidator] makes a [Validator], which needs nobody's word: it asks any resolver that passes DNSSEC records on and
// checks all signatures and proofs itself, from the root keys that are built in or from other anchors. It is for machines
// without a validating resolver of their own. What it costs in questions to the resolver:
//
//	                                                   nothing known  zone known  answer known
//	TLSA in a signed zone two below the root                       6           1             0
//	denial in a signed zone two below the root                     6           1             0
//	address in an unsigned zone two below the root                 5           1             0
//	address in a signed zone three below the root                  8           1             0
//	alias into another signed zone                                10           1             0
//
// [Static] answers from a table, for tests. Anything else can be a [Resolver]: it has one method. The functions
// [LookupMX], [LookupAddrs], [LookupTXT], [LookupPTR] and [StepSecurity] work with each of them, and [NetResolver]
// gives one the method forms of package net.
//
// # What an answer means for mail
//
// Secure TLSA records must be honoured, and Secure denials prove that there are none: deliver as if DANE did not exist.
// Insecure answers carry mail but no DANE: the domain has chosen not to sign. Indeterminate ones carry mail too, but
// what demands DANE must refuse. An error is none of these: the mail waits, because a forged answer looks just like it.
//
// # What it does not do
//
// It is no recursive resolver: it needs one to ask. It has no search list, reads no hosts file, and never falls back
// to the resolver of the system: a lookup that fails has failed.
//
// # What is promised
//
// Values are safe for concurrent use. A reply counts only if it is whole, readable and to our question; forged
// datagrams are passed over. Names in answers are lower case and absolute. What is read from a server is bounded, as
// are the cache and the time of a lookup. An answer from the cache costs no allocation if the name is asked for in the
// form that answers have.
package dnssec
