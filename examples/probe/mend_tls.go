package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/mtasts"
)

// soon is how long before its end a certificate is spoken of: time enough to find out
// why it was not renewed. Those who renew by themselves do so a month before.
const soon = 14 * 24 * time.Hour

// eachAddress calls f with every address and its host.
func (r *Result) eachAddress(f func(h *Host, a *Address)) {
	for i := range r.Hosts {
		for j := range r.Hosts[i].Addresses {
			f(&r.Hosts[i], &r.Hosts[i].Addresses[j])
		}
	}
}

// eachLeaf calls f with the certificate of every address that presented one.
func (r *Result) eachLeaf(f func(h *Host, a *Address, c *Certificate)) {
	r.eachAddress(func(h *Host, a *Address) {
		if len(a.Certificates) > 0 {
			f(h, a, &a.Certificates[0])
		}
	})
}

// tlsRules are about STARTTLS and the handshake.
var tlsRules = []rule{
	func(r *Result, add adder) {
		r.eachAddress(func(h *Host, a *Address) {
			if a.Ours != "" {
				return
			}
			switch a.STARTTLS {
			case "not-offered":
				add("no-starttls", SeverityError, a.Address, "%s does not offer STARTTLS: mail comes in clear text, or not at all from those who want TLS. Give the mail server a certificate and switch TLS on; if it is on, look for a firewall that takes STARTTLS out of the conversation.", h.Host)
			case "no-esmtp":
				add("no-esmtp", SeverityError, a.Address, "%s does not know EHLO, so there can be no TLS. Bring the mail server, or the firewall that answers in its place, up to date.", h.Host)
			case "refused":
				add("starttls-refused", SeverityError, a.Address, "%s offers STARTTLS and then refuses it (%s). Look into the mail server's log: often it cannot read its key or certificate.", h.Host, orNothing(a.Error))
			case "handshake-failed":
				code, then := "handshake-failed", "Look into the mail server's log, and at its certificate, TLS versions and cipher suites."
				if strings.Contains(a.Error, "plaintext-after-220") {
					code, then = "starttls-injection", "Somebody on the way injects commands, or the server has a bug that lets him (CVE-2011-0411): bring it up to date and look at what stands in front of it."
				}
				add(code, SeverityError, a.Address, "The TLS handshake with %s fails: %s. %s", h.Host, orNothing(a.Error), then)
			}
		})
	},
	func(r *Result, add adder) {
		r.eachAddress(func(h *Host, a *Address) {
			switch {
			case a.Version != "TLS 1.0" && a.Version != "TLS 1.1":
			case a.Strict == "established":
				add("old-tls", SeverityWarning, a.Address, "%s comes to %s with some senders. Switch versions below TLS 1.2 off (RFC 8996).", h.Host, a.Version)
			default:
				add("old-tls", SeverityError, a.Address, "%s speaks nothing newer than %s, which DANE, MTA-STS and careful senders refuse (RFC 8996). Switch TLS 1.2 and 1.3 on, with a newer TLS library if need be.", h.Host, a.Version)
			}
		})
	},
	func(r *Result, add adder) {
		r.eachAddress(func(h *Host, a *Address) {
			if strings.HasPrefix(a.Cipher, "TLS_RSA_") || a.Version == "TLS 1.2" && strings.Contains(a.Cipher, "CBC_SHA") {
				add("weak-cipher", SeverityWarning, a.Address, "%s chose the cipher suite %s. Prefer TLS 1.3, or ECDHE with AES-GCM or ChaCha20.", h.Host, a.Cipher)
			}
		})
	},
	func(r *Result, add adder) {
		r.eachAddress(func(h *Host, a *Address) {
			if a.STARTTLS == "established" && a.Stage == "ehlo-tls" && a.Error != "" && a.Ours == "" {
				add("tls-broken", SeverityError, a.Address, "%s makes a TLS session and then fails in it: %s. Look into the mail server's log.", h.Host, a.Error)
			}
		})
	},
}

// daneCounts tells whether the TLSA records of a host take the place of public
// certificate authorities for senders that know DANE.
func (h *Host) daneCounts() bool { return h.DANE.State == "usable" }

// owed is how grave it is that a certificate does not convince public authorities:
// an enforced MTA-STS policy rests on that.
func (r *Result) owed() Severity {
	if r.MTASTS != nil && r.MTASTS.Mode == "enforce" {
		return SeverityError
	}
	return SeverityWarning
}

// certificateRules are about the certificates of mail hosts.
var certificateRules = []rule{
	func(r *Result, add adder) {
		r.eachLeaf(func(h *Host, a *Address, c *Certificate) {
			left := c.NotAfter.Sub(r.Time)
			switch {
			case r.Time.Before(c.NotBefore):
				add("cert-not-yet-valid", r.owed(), a.Address, "The certificate of %s is valid from %s on only. Set the clock of whoever issued it, or install the former one until then.", h.Host, day(c.NotBefore))
			case left < 0:
				add("cert-expired", r.owed(), a.Address, "The certificate of %s expired on %s. Renew it, let the mail server load it, and find out why that did not happen by itself.", h.Host, day(c.NotAfter))
			case left < soon:
				add("cert-expires", SeverityWarning, a.Address, "The certificate of %s expires on %s. Renew it, and see to it that the mail server loads it.", h.Host, day(c.NotAfter))
			}
		})
	},
	func(r *Result, add adder) {
		r.eachLeaf(func(h *Host, a *Address, c *Certificate) {
			if a.Chain != "untrusted" || weakSignature(c) {
				return // the latter has words of its own
			}
			if h.daneCounts() && r.owed() == SeverityWarning {
				return // the TLSA records speak for it
			}
			code, why := "cert-untrusted", "Use a certificate of a public authority"
			switch {
			case c.SelfSigned:
				code = "cert-self-signed"
				if h.daneCounts() {
					break // there is one already
				}
				why += ", or publish a TLSA record for this one in a signed zone"
			case expiredIssuer(a, r.Time) != nil:
				issuer := expiredIssuer(a, r.Time)
				why = fmt.Sprintf("The certificate %s that is sent behind it expired on %s: let the mail server send the authority's current one", named(issuer.Subject), day(issuer.NotAfter))
			case len(a.Certificates) == 1:
				why = "Only one certificate is sent: let the mail server send the intermediate ones too (the \"full chain\"). If it does, use a certificate of a public authority"
			}
			add(code, r.owed(), a.Address, "The certificate of %s, issued by %s, is not trusted by senders who check it. %s.", h.Host, named(c.Issuer), why)
		})
	},
	func(r *Result, add adder) {
		r.eachLeaf(func(h *Host, a *Address, c *Certificate) {
			if a.HostName || c.isFor(h.Host) {
				return
			}
			if h.daneCounts() && r.owed() == SeverityWarning {
				return
			}
			add("cert-name", r.owed(), a.Address, "The certificate of %s is for %s and not for the name in the MX record. Issue one with the DNS name %s, or let the MX record name a host that the certificate is for.", h.Host, namesOf(c), h.Host)
		})
	},
	func(r *Result, add adder) {
		r.eachLeaf(func(h *Host, a *Address, c *Certificate) {
			if c.Key == "RSA" && c.Bits < 2048 {
				add("cert-weak-key", SeverityWarning, a.Address, "The RSA key of %s has %d bits, which many senders refuse. Make a new key, ECDSA P-256 or RSA with 2048 bits at least, and publish its TLSA record before it comes into use if there are any.", h.Host, c.Bits)
			}
		})
	},
	func(r *Result, add adder) {
		r.eachLeaf(func(h *Host, a *Address, c *Certificate) {
			if weakSignature(c) {
				add("cert-weak-signature", r.owed(), a.Address, "The certificate of %s is signed with %s, which nobody trusts any more. Have it issued anew.", h.Host, c.Signature)
			}
		})
	},
}

// expiredIssuer returns a certificate behind the host's own that has expired.
func expiredIssuer(a *Address, now time.Time) *Certificate {
	for i := range a.Certificates {
		if c := &a.Certificates[i]; i > 0 && c.NotAfter.Before(now) {
			return c
		}
	}
	return nil
}

// isFor tells whether the certificate has the name of the host. That its chain is
// trusted is another matter.
func (c *Certificate) isFor(host string) bool {
	return slices.ContainsFunc(c.Names, func(n string) bool { return mtasts.MatchPattern(n, host) })
}

// weakSignature tells whether somebody else signed the certificate in a way that can
// be forged. Nobody looks at the signature of one that signed itself.
func weakSignature(c *Certificate) bool {
	return !c.SelfSigned && (strings.Contains(c.Signature, "SHA1") || strings.Contains(c.Signature, "MD5"))
}

func day(t time.Time) string { return t.Format(time.DateOnly) }

func named(subject string) string {
	if subject == "" {
		return "an authority without name"
	}
	return "\"" + subject + "\""
}

func namesOf(c *Certificate) string {
	if len(c.Names) == 0 {
		return "no DNS name"
	}
	return some(c.Names)
}

// some writes the first few entries of a list.
func some(list []string) string {
	if len(list) > 3 {
		return strings.Join(list[:3], ", ") + " and others"
	}
	return strings.Join(list, ", ")
}
