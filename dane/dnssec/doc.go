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
// without a validating resolver of their own. What it costs in questions to the resolver, if nothing is known, if the keys
// of the zone are known, and if the answer is known:
//
//	                                               cold  warm  cached
//	TLSA in a signed zone two below the root          6     1       0
//	denial in a signed zone two below the root        6     1       0
//	address in an unsigned zone two below the root    5     1       0
//	address in a signed zone three below the root     8     1       0
//	alias into another signed zone                   10     1       0
//	MX, A, AAAA and TLSA for a domain and its host    9     4       0
//
// A Stub asks once for each lookup, and once more each hour for its self-check.
//
// [Static] answers from a table, for tests. Anything else can be a [Resolver]: it has one method. The functions
// [LookupMX], [LookupAddrs], [LookupTXT], [LookupPTR] and [StepSecurity] work with each of them, and [NetResolver]
// gives one the method forms of package net.
//
// # What an answer means for mail
//
// RFC 4033 section 5 has four words, and delivery under RFC 7672 section 2 needs all of them. They are about the answer
// as a whole, an answer that something does not exist included:
//
//   - Secure: signed all the way from an anchor. MX and address records may lead to DANE, TLSA records must be honoured,
//     and a denial of TLSA records is proof that the host has none: deliver as if there were no DANE.
//   - Insecure: the zone is proven not to be signed, so no TLSA record there would be worth anything. Deliver without
//     DANE; where it is mandatory, do not deliver.
//   - Indeterminate: nobody can tell, because the resolver neither validates nor lets us. Optional DANE is off and mail
//     flows; where it is mandatory, do not deliver. This is a fault of the sender's own setup: Check says which.
//   - Bogus: an [Error] with KindBogus. It should be signed and is not signed rightly. A mistake of the domain and an
//     attack look the same, so TLSA records may well exist: do not connect. Try the next host, or later.
//
// Every other error is treated like Bogus: an attacker who cannot forge an answer can suppress it. Never take an error for
// "there is no TLSA record", and never bounce mail for it, KindBadName excepted.
//
// A host name that is an alias is judged hop by hop, with [Answer].Chain and [StepSecurity]: RFC 7672 section 2.2.2 lets
// a Secure alias count although it leads to an Insecure zone.
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
