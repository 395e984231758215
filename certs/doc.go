// Package certs makes, reads, keeps and serves the certificates of a mail system
// and their keys, and holds the lists of authorities that it trusts.
//
// # Names
//
// A certificate stands for the dNSNames of its SAN. The common name is a title
// that many peers no longer look at, so whatever is made here has it in both
// places. A wildcard is a whole left-most label and covers exactly one.
// Internationalized names are in their ASCII form (xn--...) from creation on.
// [CheckFQDN] is the strict check of spelling that an operator can ask for on
// creation and import; [Check] reports everything else that peers may mind, as
// a [Finding]. Findings are advice and block nothing. What cannot work is an error.
//
// # Chain
//
// A server sends its own certificate first and then each one's issuer, usually
// without the root, which the client must have already. Files come in any order and
// with strangers in them: [Read] takes everything out of an input or says in which
// line it fails, and [Arrange] finds the certificate that belongs to a key and puts
// its issuers behind it, by signatures and not by names alone.
//
// # Store
//
// A [Store] keeps keys and chains under names, in memory or in a directory
// ([OpenDirectory]), and is where to begin. [Store.CreateSelfSigned] makes an entry. To
// have it signed, send the request of [Store.CSR] to an authority and hand the answer to
// [Store.Install]; without one, [Store.SelfSign] renews it. [Store.ImportPKCS12],
// [Store.ImportPEM] and [Store.ExportPKCS12] move entries between machines;
// [Store.Follow] takes those that an ACME client writes. [Store.Assign] gives entries
// to a role, a listener or service, and the [Source] of the role serves them
// ([Source.GetCertificate]). [Store.Watch] takes up what others change in the storage and
// warns before a certificate ends. [SelfSigned] and [CertificateRequest] do without a store.
//
// # Lists
//
// [TrustStore] has a system list, which comes with the program or the host and can
// only be disabled, and a custom list, which belongs to the operator. Either or both
// may be on; with both off nothing verifies, and the host's roots are never asked
// behind the operator's back. Package certs/roots has the authorities of Mozilla.
//
// # Rollover
//
// Whoever publishes TLSA records must publish the next key before it is used, and
// wait until the old records have left the caches (RFC 7671 section 8): make the next
// key and its request ([Store.PrepareNext]), publish the digests of both keys
// ([Store.PublicKeyInfos], [Store.ConfirmPublished]), install the next certificate
// ([Store.InstallNext], or [Store.SelfSignNext]), and only after two TTLs begin to serve it
// ([Store.Promote]) and, after as long again, drop the former key ([Store.Retire]).
// Renewing a certificate with the same key leaves a record of usage 3, selector 1
// (RFC 6698) as it is.
//
// # Keys
//
// A [PrivateKey] signs and cannot be printed, whatever the verb or the encoder.
// RSA from 1,024 to 16,384 bits, ECDSA on P-256, P-384 and P-521, and Ed25519 are read; what
// Go cannot use is an [UnsupportedError] with the command that converts it, where
// there is one.
//
// The package fetches nothing from the network, starts nothing on import, and keeps
// no state outside the values that it returns. Errors are matched with errors.Is and
// errors.As.
package certs
