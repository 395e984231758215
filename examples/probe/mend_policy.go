package main

import (
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/mtasts"
)

const (
	// minMaxAge is the least max_age that outlives a long weekend of an attacker who
	// forges DNS. RFC 8461 section 3.2 says that weeks are what is meant.
	minMaxAge = 7 * 24 * time.Hour

	// rollover is how long before the end of a certificate the next key should stand in
	// DNS: some TTLs, and time to notice that it does not.
	rollover = 21 * 24 * time.Hour
)

// daneRules are about DNSSEC and TLSA records.
var daneRules = []rule{
	func(r *Result, add adder) {
		for _, h := range r.Hosts {
			for _, l := range h.Lookups {
				if l.Security == "bogus" {
					add("dnssec-bogus", SeverityError, h.Host, "DNSSEC validation of the %s records of %s fails (%s), so senders that validate do not deliver to this host. Sign the zone again, and see that the DS record in the parent zone is that of its key.", l.Type, l.Name, l.Error)
				}
			}
			if h.DANE.State != "lookup-error" {
				continue
			}
			for _, l := range h.Lookups {
				if l.Error != "" && l.Security != "bogus" {
					add("tlsa-lookup-failed", SeverityError, h.Host, "The %s lookup of %s fails (%s), so senders with DANE do not deliver to this host: that no answer comes must not look like no record. Mend the name server; old ones do not know how to say that there is no TLSA record.", l.Type, l.Name, l.Error)
				}
			}
		}
	},
	func(r *Result, add adder) {
		for _, h := range r.Hosts {
			if h.DANE.State == "insecure" && len(h.DANE.Records) > 0 {
				zone := "the zone of " + h.Host
				if r.MX.Lookup.Security == "insecure" {
					zone = "the zone of " + r.Domain
				}
				if r.MX.Lookup.Security == "indeterminate" {
					continue // that is our resolver's fault
				}
				add("tlsa-unsigned", SeverityWarning, h.Host, "There are TLSA records at %s, and nobody may use them, because DNS is not signed all the way (%s). Sign %s with DNSSEC, and have its DS record put into the parent zone.", h.DANE.Owner, h.DANE.Reason, zone)
			}
		}
	},
	func(r *Result, add adder) {
		r.eachAddress(func(h *Host, a *Address) {
			if !h.daneCounts() || a.STARTTLS != "established" || len(a.TLSA) == 0 {
				return
			}
			why := ""
			for _, m := range a.TLSA {
				if m.OK {
					return
				}
				why = m.Why
			}
			add("tlsa-mismatch", SeverityError, a.Address, "No TLSA record at %s matches the certificate that %s presents (%s), so senders with DANE do not deliver here. %sIf the certificate is the mail server's own, publish \"%s\" beside the records there are, or go back to the former key and certificate; if it is not, somebody is on the way.",
				h.DANE.Owner, h.Host, why, missingAnchor(h), ownRecord(a))
		})
	},
	func(r *Result, add adder) {
		r.eachAddress(func(h *Host, a *Address) {
			if h.DANE.State == "unusable" {
				add("tlsa-unusable", SeverityError, h.Host, "None of the TLSA records at %s can be used for mail (%s): they authenticate nothing, and make TLS mandatory all the same. Publish \"%s\" in their place%s.", h.DANE.Owner, firstWhy(h), ownRecord(a), caution(h, a))
			}
		})
	},
	func(r *Result, add adder) {
		for _, h := range r.Hosts {
			for _, t := range h.DANE.Records {
				if h.DANE.State == "usable" && t.Advice != "" {
					add("tlsa-advice", SeverityInfo, h.DANE.Owner, "About the TLSA record \"%s\": %s.", short(t.Record), strings.TrimSuffix(t.Advice, "."))
				}
			}
		}
	},
	tlsaRollover,
	func(r *Result, add adder) {
		r.eachAddress(func(h *Host, a *Address) {
			if h.DANE.State == "no-tlsa" && len(a.Certificates) > 0 {
				add("tlsa-missing", SeverityInfo, h.Host, "DNS is signed all the way, and there is no TLSA record, so that DANE protects nobody. Publish \"%s\" at %s%s, and renew the certificate with the same key from then on.", ownRecord(a), tlsaOwner(h), caution(h, a))
			}
		})
	},
}

// tlsaRollover tells of a host whose only record is that of the key in use: the next
// key must be in DNS long before it comes into use (RFC 7671 section 8).
func tlsaRollover(r *Result, add adder) {
	r.eachLeaf(func(h *Host, a *Address, c *Certificate) {
		usable, matching, ee := 0, -1, true
		for i, t := range h.DANE.Records {
			if !t.Usable {
				continue
			}
			usable++
			ee = ee && strings.HasPrefix(t.Record, "3 ")
			if i < len(a.TLSA) && a.TLSA[i].OK {
				matching = i
			}
		}
		if !h.daneCounts() || usable != 1 || matching < 0 || !ee {
			return
		}
		if strings.HasPrefix(h.DANE.Records[matching].Record, "3 0 ") {
			add("tlsa-rollover", SeverityWarning, h.Host, "The only TLSA record is for the certificate itself, so that each renewal breaks it (this one ends on %s). Publish \"%s\" for the key in its place, at least two TTLs before the next renewal, and renew with the same key.", day(c.NotAfter), ownRecord(a))
			return
		}
		severity := SeverityInfo
		if left := c.NotAfter.Sub(r.Time); 0 < left && left < rollover {
			severity = SeverityWarning
		}
		issuer := ""
		if !c.SelfSigned && len(a.Certificates) > 1 {
			issuer = "; or publish \"2 1 1\" of the issuer beside, whose certificate the server must go on sending (RFC 7671 section 5.2)"
		}
		add("tlsa-rollover", severity, h.Host, "The only TLSA record is for the key in use, and the certificate ends on %s. Renew it with the same key; or publish the record of the next key beside, at least two TTLs before it comes into use%s.", day(c.NotAfter), issuer)
	})
}

// ownRecord is what a host should publish for the certificate that it presents.
func ownRecord(a *Address) string {
	if len(a.Certificates) == 0 || a.Certificates[0].TLSA == "" {
		return "3 1 1 (SHA-256 of the mail server's public key)"
	}
	return a.Certificates[0].TLSA
}

// caution is for a record of a certificate that nobody vouches for: it may be that of
// somebody on the way.
func caution(h *Host, a *Address) string {
	if len(a.Certificates) == 0 || a.Chain == "ok" && (a.HostName || a.Certificates[0].isFor(h.Host)) {
		return ""
	}
	return ", after comparing it with the key on the mail server"
}

// missingAnchor is why records of usage 2 match nothing in many a case (RFC 7672
// section 3.1.2).
func missingAnchor(h *Host) string {
	for _, t := range h.DANE.Records {
		if t.Usable && strings.HasPrefix(t.Record, "2 ") {
			return "Records that begin with 2 match only if the server sends the issuer's certificate too. "
		}
	}
	return ""
}

// tlsaOwner is where the TLSA records of a host were looked for.
func tlsaOwner(h *Host) string {
	for _, l := range h.Lookups {
		if l.Type == "TLSA" {
			return l.Name
		}
	}
	return "the TLSA owner name of " + h.Host
}

func firstWhy(h *Host) string {
	for _, t := range h.DANE.Records {
		if t.Why != "" {
			return t.Why
		}
	}
	return "they are too short to be read"
}

// short cuts the digest of a record, which nobody reads in a sentence.
func short(record string) string {
	if len(record) > 24 {
		return record[:22] + "..."
	}
	return record
}

// stsRules are about MTA-STS and TLS reports.
var stsRules = []rule{
	func(r *Result, add adder) {
		m := r.MTASTS
		if m == nil || m.Mode != "enforce" && m.Mode != "testing" {
			return
		}
		severity, then := SeverityError, "so senders that obey it do not deliver there"
		if m.Mode == "testing" {
			severity, then = SeverityWarning, "so senders would not deliver there if it were enforced"
		}
		for _, h := range r.Hosts {
			if strings.HasSuffix(h.MTASTS, "-mx-mismatch") {
				add("sts-mx-unlisted", severity, h.Host, "The MTA-STS policy does not list this mail host (it lists %s), %s. If the host is yours, add the line \"mx: %s\" to https://mta-sts.%s/.well-known/mta-sts.txt, and then change the id in the TXT record at _mta-sts.%s; if it is not, remove its MX record, and find out how that came there.",
					some(m.MX), then, h.Host, r.Domain, r.Domain)
			}
		}
	},
	func(r *Result, add adder) {
		if r.MTASTS != nil && r.MTASTS.Mode == "testing" {
			add("sts-testing", SeverityInfo, r.Domain, "The MTA-STS policy is in mode testing, which protects nobody. Once TLS reports have shown no failures for two weeks, change it to \"mode: enforce\" and change the id in the TXT record.")
		}
	},
	func(r *Result, add adder) {
		if r.MTASTS != nil && (r.MTASTS.Mode == "enforce" || r.MTASTS.Mode == "testing") && r.MTASTS.MaxAge < int64(minMaxAge/time.Second) {
			severity := SeverityInfo
			if r.MTASTS.Mode == "enforce" {
				severity = SeverityWarning
			}
			add("sts-max-age", severity, r.Domain, "max_age of the MTA-STS policy is %d seconds: senders forget it so soon that an attacker only has to wait. Raise it to some weeks (\"max_age: 2592000\") once the policy has proved itself.", r.MTASTS.MaxAge)
		}
	},
	func(r *Result, add adder) {
		m := r.MTASTS
		if m == nil {
			return
		}
		where := "https://mta-sts." + r.Domain + "/.well-known/mta-sts.txt"
		txt := "_mta-sts." + r.Domain
		severity := SeverityError
		if m.Mode != "" { // a policy is held, for now
			severity = SeverityWarning
		}
		switch m.Reason {
		case "":
		case mtasts.ReasonRecordAbsent:
			if m.Mode == "" && len(r.Hosts) > 0 {
				add("sts-missing", SeverityInfo, r.Domain, "There is no MTA-STS policy. With one, senders without DANE too would insist on TLS and on the right certificate: put a policy in mode testing at %s, and a TXT record \"v=STSv1; id=1;\" at %s.", where, txt)
			} else if m.Mode != "" {
				add("sts-record-gone", SeverityWarning, txt, "The TXT record is gone while senders still hold the policy, until its max_age has passed. Put it back, or publish a policy of mode none first.")
			}
		case mtasts.ReasonRecordMultiple:
			add("sts-record", severity, txt, "There are several MTA-STS records, which counts as none (RFC 8461 section 3.1). Leave one.")
		case mtasts.ReasonRecordInvalid:
			add("sts-record", severity, txt, "The MTA-STS record cannot be read (%s), which counts as none. Write \"v=STSv1; id=1;\", with an id of letters and digits.", m.Error)
		case mtasts.ReasonDNSError:
			add("sts-record", severity, txt, "The TXT lookup fails (%s). Mend the name server of the zone.", m.Error)
		case mtasts.ReasonCert, mtasts.ReasonTLS:
			add("sts-certificate", severity, "mta-sts."+r.Domain, "The policy host has no certificate that senders accept (%s), so nobody gets the policy. Renew it; it must be of a public authority and for the name mta-sts.%s.", m.Error, r.Domain)
		case mtasts.ReasonSyntax, mtasts.ReasonEmpty, mtasts.ReasonTooLarge:
			add("sts-policy", severity, where, "What is served is no MTA-STS policy (%s). It must have the lines \"version: STSv1\", \"mode: ...\", \"mx: ...\" and \"max_age: ...\".", m.Error)
		default:
			add("sts-fetch", severity, where, "The policy cannot be fetched (%s: %s). The host must answer with status 200 and text/plain, without redirect.", m.Reason, m.Error)
		}
	},
	func(r *Result, add adder) {
		if r.MTASTS == nil {
			return
		}
		for _, f := range r.MTASTS.Findings {
			switch {
			case f.Code == string(mtasts.FindingBlemish) && strings.Contains(f.Detail, "max-age-short"):
				// that is sts-max-age
			case f.Code == string(mtasts.FindingBlemish):
				add("sts-blemish", SeverityWarning, f.Subject, "Some senders may not understand the policy file: %s. Mend that line.", f.Detail)
			case f.Code == string(mtasts.FindingPatternUnused):
				add("sts-pattern-unused", SeverityInfo, f.Subject, "The MTA-STS policy lists this pattern, and no MX host fits it. Remove it unless it is for a host to come.")
			case f.Code == string(mtasts.FindingCertificate) && f.Severity != "info":
				add("sts-certificate-expires", SeverityWarning, f.Subject, "The certificate of the policy host ends soon (%s). Renew it: with an expired one nobody gets the policy.", f.Detail)
			case f.Code == string(mtasts.FindingPolicy), f.Code == string(mtasts.FindingRecordID):
				add("sts-stale", SeverityWarning, f.Subject, "The policy that a sender holds is not the one that is there now (%s). Change the id in the TXT record at _mta-sts.%s whenever the file changes.", f.Detail, r.Domain)
			}
		}
	},
	func(r *Result, add adder) {
		protected := r.MTASTS != nil && (r.MTASTS.Mode == "enforce" || r.MTASTS.Mode == "testing")
		for _, h := range r.Hosts {
			protected = protected || h.DANE.State == "usable"
		}
		switch {
		case r.TLSRPT == nil || !protected:
		case r.TLSRPT.Absent:
			add("tlsrpt-missing", SeverityInfo, "_smtp._tls."+r.Domain, "Nobody tells when TLS to the domain fails. Publish the TXT record \"v=TLSRPTv1; rua=mailto:tls-reports@%s\" (RFC 8460).", r.Domain)
		case r.TLSRPT.Error != "":
			add("tlsrpt-invalid", SeverityWarning, "_smtp._tls."+r.Domain, "The record that asks for TLS reports cannot be used: %s. Write \"v=TLSRPTv1; rua=mailto:tls-reports@%s\".", r.TLSRPT.Error, r.Domain)
		}
	},
}
