package main

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/internal/testpki"
)

// TestMendInLab: what is wrong with each domain of the lab's world, and nothing else.
// Suggestions that hold for nearly everybody are left out.
func TestMendInLab(t *testing.T) {
	want := map[string]string{
		"alias.example":          "mx-alias tlsa-rollover",
		"ancient.example":        "no-esmtp",
		"bad-policy.example":     "sts-policy",
		"bogus.example":          "mx-bogus",
		"both.example":           "",
		"breaks.example":         "tls-broken",
		"dane-bogus.example":     "dnssec-bogus",
		"dane-lookup.example":    "tlsa-lookup-failed",
		"dane-mismatch.example":  "tlsa-mismatch",
		"dane-ta.example":        "",
		"dane-unusable.example":  "tlsa-unusable",
		"dane.example":           "tlsa-rollover",
		"dead.example":           "", // may be our own fault
		"early.example":          "cert-not-yet-valid",
		"expired.example":        "cert-expired",
		"forged-null.example":    "null-mx sts-pattern-unused",
		"good.example":           "",
		"half-dead.example":      "ipv6-dead",
		"hosted.example":         "",
		"implicit.example":       "implicit-mx",
		"injected.example":       "starttls-injection",
		"mixed.example":          "tlsa-mismatch tlsa-rollover",
		"no-address.example":     "host-no-address",
		"no-chain.example":       "cert-untrusted",
		"no-policy-file.example": "sts-fetch",
		"null.example":           "null-mx",
		"old-tls.example":        "old-tls",
		"plain.example":          "no-starttls",
		"provider.example":       "",
		"refusing.example":       "starttls-refused",
		"reset.example":          "handshake-failed",
		"self-signed.example":    "cert-self-signed",
		"sha1.example":           "cert-weak-signature",
		"short-age.example":      "sts-max-age",
		"signed.example":         "tlsa-missing",
		"silent.example":         "no-smtp",
		"spare-pattern.example":  "tlsrpt-invalid sts-pattern-unused",
		"sts-broken.example":     "sts-certificate",
		"sts-cert.example":       "cert-self-signed",
		"sts-mx.example":         "sts-mx-unlisted sts-pattern-unused",
		"sts-testing.example":    "cert-self-signed sts-testing",
		"sts.example":            "",
		"two-faults.example":     "no-starttls cert-self-signed",
		"two-hosts.example":      "host-dead",
		"two-records.example":    "sts-record",
		"unsigned-tlsa.example":  "tlsa-unsigned",
		"wrong-name.example":     "cert-name",
	}
	w := labWorld()
	_, p := inLab(t, w)
	for _, d := range w.Domains {
		expected, ok := want[d.Name]
		require.True(t, ok, "%s has no expectation", d.Name)
		r := p.probe(context.Background(), d.Name)
		got := slices.DeleteFunc(slices.Compact(codes(r)), func(c string) bool { return c == "sts-missing" || c == "tlsrpt-missing" })
		require.Equal(t, expected, strings.Join(got, " "), "%s: %v", d.Name, r.Mend)
	}
}

// base is a Result without anything to mend but what everybody is told.
func base(now time.Time) *Result {
	leaf := certificate(testpki.NewRoot("Root").Leaf([]string{"mx.test.example"}, testpki.Valid(now.AddDate(0, -1, 0), now.AddDate(0, 2, 0))).Cert)
	return &Result{
		Domain: "test.example", Time: now, Asked: Asked{Port: 25},
		MX:     MX{Lookup: Lookup{Outcome: "found", Security: "secure"}, Hosts: []MXHost{{"mx.test.example", 10}}},
		MTASTS: &MTASTS{Outcome: "enforce", Mode: "enforce", MaxAge: 2592000, MX: []string{"mx.test.example"}, Source: "fresh"},
		TLSRPT: &TLSRPT{Record: "v=TLSRPTv1; rua=mailto:a@test.example"},
		Hosts: []Host{{Host: "mx.test.example", Pref: 10, MTASTS: "enforce-mx-match",
			DANE: DANE{State: "usable", Owner: "_25._tcp.mx.test.example", Records: []TLSA{{Record: "3 1 1 00", Usable: true}, {Record: "3 1 1 11", Usable: true}}},
			Addresses: []Address{{Address: "192.0.2.1:25", Stage: "ready", STARTTLS: "established", Version: "TLS 1.3", Chain: "ok",
				HostName: true, Certificates: []Certificate{leaf}, TLSA: []Match{{OK: true}, {Why: "no match"}}}},
		}},
	}
}

// TestMendRules: the rules one by one, above all for what the lab does not have.
func TestMendRules(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	at := func(mods ...testpki.Mod) Certificate {
		return certificate(testpki.NewRoot("Root").Leaf([]string{"mx.test.example"}, mods...).Cert)
	}
	until := func(days int) testpki.Mod {
		return testpki.Valid(now.AddDate(0, -2, 0), now.AddDate(0, 0, days))
	}
	for _, c := range []struct {
		why    string
		change func(r *Result, h *Host, a *Address)
		want   string // code and severity; empty: nothing
		says   string // a part of the words that the owner needs
	}{
		{"nothing is wrong", func(r *Result, h *Host, a *Address) {}, "", ""},
		{"a certificate that ends in 13 days", func(r *Result, h *Host, a *Address) { a.Certificates[0] = at(until(13)) }, "cert-expires warning", "2026-05-14"},
		{"one that ends in 15 days is none to speak of yet", func(r *Result, h *Host, a *Address) { a.Certificates[0] = at(until(15)) }, "", ""},
		{"expired, and an enforced policy rests on it", func(r *Result, h *Host, a *Address) { a.Certificates[0] = at(until(-1)) }, "cert-expired error", "2026-04-30"},
		{"expired, and no policy rests on it", func(r *Result, h *Host, a *Address) { a.Certificates[0], r.MTASTS = at(until(-1)), nil }, "cert-expired warning", "Renew it"},
		{"RSA with 1024 bits", func(r *Result, h *Host, a *Address) {
			a.Certificates[0] = at(until(60), testpki.Key(testpki.NewRSA(1024)))
		}, "cert-weak-key warning", "1024 bits"},
		{"RSA with 2048 bits is good", func(r *Result, h *Host, a *Address) {
			a.Certificates[0] = at(until(60), testpki.Key(testpki.NewRSA(2048)))
		}, "", ""},
		{"self-signed, and DANE speaks for it to those who know it, but an enforced policy wants more", func(r *Result, h *Host, a *Address) {
			a.Chain, a.Certificates[0] = "untrusted", certificate(testpki.SelfSigned([]string{"mx.test.example"}, until(60)).Cert)
		}, "cert-self-signed error", "public authority"},
		{"self-signed, and DANE alone counts", func(r *Result, h *Host, a *Address) {
			a.Chain, a.Certificates[0] = "untrusted", certificate(testpki.SelfSigned([]string{"mx.test.example"}, until(60)).Cert)
			r.MTASTS = nil
		}, "", ""},
		{"unknown authority under an enforced policy", func(r *Result, h *Host, a *Address) {
			a.Chain, a.HostName, a.Certificates = "untrusted", false, append(a.Certificates, a.Certificates[0])
		}, "cert-untrusted error", "public authority"},
		{"another name under an enforced policy", func(r *Result, h *Host, a *Address) {
			a.HostName, a.Certificates[0].Names = false, []string{"other.example"}
		}, "cert-name error", "other.example"},
		{"another name, and DANE alone counts", func(r *Result, h *Host, a *Address) {
			a.HostName, a.Certificates[0].Names, r.MTASTS = false, []string{"other.example"}, nil
		}, "", ""},
		{"a wildcard is a name for the host", func(r *Result, h *Host, a *Address) {
			a.HostName, a.Certificates[0].Names = false, []string{"*.TEST.example"}
		}, "", ""},
		{"TLS 1.0, and nothing newer", func(r *Result, h *Host, a *Address) { a.Version, a.Strict = "TLS 1.0", "handshake-failed" }, "old-tls error", "RFC 8996"},
		{"TLS 1.1 by preference of the server", func(r *Result, h *Host, a *Address) { a.Version, a.Strict = "TLS 1.1", "established" }, "old-tls warning", "below TLS 1.2"},
		{"RSA key exchange", func(r *Result, h *Host, a *Address) {
			a.Version, a.Cipher = "TLS 1.2", "TLS_RSA_WITH_AES_128_GCM_SHA256"
		}, "weak-cipher warning", "ECDHE"},
		{"one TLSA record only, the certificate lasts", func(r *Result, h *Host, a *Address) { h.DANE.Records, a.TLSA = h.DANE.Records[:1], a.TLSA[:1] }, "tlsa-rollover info", "comes into use."},
		{"an issuer's record helps only those who send the issuer", func(r *Result, h *Host, a *Address) {
			h.DANE.Records, a.TLSA, a.Certificates = h.DANE.Records[:1], a.TLSA[:1], append(a.Certificates, a.Certificates[0])
		}, "tlsa-rollover info", "must go on sending"},
		{"one TLSA record only, and the certificate ends soon", func(r *Result, h *Host, a *Address) {
			h.DANE.Records, a.TLSA, a.Certificates[0] = h.DANE.Records[:1], a.TLSA[:1], at(until(20))
		}, "tlsa-rollover warning", "2026-05-21"},
		{"one TLSA record only, and it is for the whole certificate", func(r *Result, h *Host, a *Address) {
			h.DANE.Records, a.TLSA = []TLSA{{Record: "3 0 1 00", Usable: true}}, a.TLSA[:1]
		}, "tlsa-rollover warning", "at least two TTLs before the next renewal"},
		{"one TLSA record of an issuer serves the next key too", func(r *Result, h *Host, a *Address) {
			h.DANE.Records, a.TLSA = []TLSA{{Record: "2 1 1 00", Usable: true}}, a.TLSA[:1]
		}, "", ""},
		{"a record that the library advises against", func(r *Result, h *Host, a *Address) { h.DANE.Records[1].Advice = "too large." }, "tlsa-advice info", "too large."},
		{"no record matches", func(r *Result, h *Host, a *Address) { a.TLSA[0] = Match{Why: "no match"} }, "tlsa-mismatch error", base(now).Hosts[0].DANE.Owner},
		{"no record of an issuer matches", func(r *Result, h *Host, a *Address) {
			h.DANE.Records[0].Record, a.TLSA[0] = "2 1 1 00", Match{Why: "no match"}
		}, "tlsa-mismatch error", "only if the server sends the issuer's certificate too"},
		{"the certificate may be somebody else's", func(r *Result, h *Host, a *Address) { a.TLSA[0] = Match{Why: "no match"} }, "tlsa-mismatch error", "somebody is on the way"},
		{"no TLSA record, and a certificate that is vouched for", func(r *Result, h *Host, a *Address) {
			h.DANE, a.TLSA = DANE{State: "no-tlsa"}, nil
		}, "tlsa-missing info", "mx.test.example, and renew"},
		{"no TLSA record, and a certificate that nobody vouches for", func(r *Result, h *Host, a *Address) {
			h.DANE, a.TLSA, a.Chain, r.MTASTS, r.TLSRPT = DANE{State: "no-tlsa"}, nil, "untrusted", nil, nil
		}, "cert-untrusted warning tlsa-missing info", "comparing it with the key on the mail server"},
		{"the issuer's certificate has expired", func(r *Result, h *Host, a *Address) {
			a.Chain, a.Certificates = "untrusted", append(a.Certificates, at(until(-3)))
		}, "cert-untrusted error", "expired on 2026-04-28"},
		{"an expired certificate that nobody needs", func(r *Result, h *Host, a *Address) { a.Certificates = append(a.Certificates, at(until(-3))) }, "", ""},
		{"a host that the policy does not list may not be the owner's", func(r *Result, h *Host, a *Address) { h.MTASTS = "enforce-mx-mismatch" }, "sts-mx-unlisted error", "remove its MX record"},
		{"a null MX among others", func(r *Result, h *Host, a *Address) { r.MX.Malformed = 1 }, "mx-malformed error", "must stand alone"},
		{"an MX record that names an alias", func(r *Result, h *Host, a *Address) {
			h.Lookups = []Lookup{{Type: "A", Canonical: "c.example"}, {Type: "AAAA", Canonical: "c.example"}}
		}, "mx-alias warning", "RFC 5321 section 5.1"},
		{"a TLSA record behind an alias is as it should be", func(r *Result, h *Host, a *Address) {
			h.Lookups = []Lookup{{Type: "TLSA", Canonical: "c.example"}}
		}, "", ""},
		{"a host that turns us away", func(r *Result, h *Host, a *Address) {
			*a = Address{Address: a.Address, Stage: "greeting", Error: "answered with 554", Ours: oursTurned}
		}, "turned-away warning", "a block list"},
		{"no way from here to an address, and one that is dead", func(r *Result, h *Host, a *Address) {
			h.Addresses = append(h.Addresses, Address{Address: "[2001:db8::1]:25", Stage: "connect", Ours: oursRoute}, Address{Address: "[2001:db8::2]:25", Stage: "connect"})
		}, "ipv6-dead warning", "remove the AAAA record"},
		{"no way from here to a whole host", func(r *Result, h *Host, a *Address) {
			r.Hosts = append(r.Hosts, Host{Host: "v6.test.example", Addresses: []Address{{Address: "[2001:db8::1]:25", Stage: "connect", Ours: oursRoute}}})
		}, "", ""},
		{"the time ran out in the handshake", func(r *Result, h *Host, a *Address) {
			*a = Address{Address: a.Address, Stage: "handshake", STARTTLS: "handshake-failed", Error: "context deadline exceeded", Ours: oursTime}
		}, "", ""},
		{"an unsigned domain with TLSA records", func(r *Result, h *Host, a *Address) {
			h.DANE.State, r.MX.Lookup.Security = "insecure", "insecure"
		}, "tlsa-unsigned warning", "Sign the zone of test.example"},
		{"the same behind a resolver that cannot tell", func(r *Result, h *Host, a *Address) {
			h.DANE.State, r.MX.Lookup.Security = "insecure", "indeterminate"
		}, "", ""},
		{"max_age of six days", func(r *Result, h *Host, a *Address) { r.MTASTS.MaxAge = 518400 }, "sts-max-age warning", "2592000"},
		{"a host that a policy in testing does not list", func(r *Result, h *Host, a *Address) {
			r.MTASTS.Mode, h.MTASTS = "testing", "testing-mx-mismatch"
		}, "sts-mx-unlisted warning sts-testing info", "mx: mx.test.example"},
		{"the TXT record has gone and the policy is still held", func(r *Result, h *Host, a *Address) { r.MTASTS.Reason = "record-absent" }, "sts-record-gone warning", "Put it back"},
		{"the TXT record cannot be read", func(r *Result, h *Host, a *Address) {
			*r.MTASTS = MTASTS{Outcome: "invalid-record", Reason: "record-invalid"}
		}, "sts-record error", "letters and digits"},
		{"the TXT lookup fails", func(r *Result, h *Host, a *Address) { *r.MTASTS = MTASTS{Outcome: "dns-error", Reason: "dns-error"} }, "sts-record error", "name server"},
		{"the policy host redirects while a policy is held", func(r *Result, h *Host, a *Address) { r.MTASTS.Reason = "redirect" }, "sts-fetch warning", "without redirect"},
		{"the policy host's certificate ends soon", func(r *Result, h *Host, a *Address) {
			r.MTASTS.Findings = []Finding{{"certificate", "warning", "mta-sts.test.example", "valid for 3 more days"}}
		}, "sts-certificate-expires warning", "3 more days"},
		{"the policy host's certificate is good for long", func(r *Result, h *Host, a *Address) {
			r.MTASTS.Findings = []Finding{{"certificate", "info", "mta-sts.test.example", "valid for 60 more days"}}
		}, "", ""},
		{"the policy file has a blemish", func(r *Result, h *Host, a *Address) {
			r.MTASTS.Findings = []Finding{{"blemish", "warning", "mta-sts.test.example", "line 2: bom"}}
		}, "sts-blemish warning", "line 2"},
		{"the file changed and the id did not", func(r *Result, h *Host, a *Address) {
			r.MTASTS.Findings = []Finding{{"policy", "error", "mta-sts.test.example", "the file says"}}
		}, "sts-stale warning", "Change the id"},
		{"protected, and nobody hears of failures", func(r *Result, h *Host, a *Address) { *r.TLSRPT = TLSRPT{Absent: true} }, "tlsrpt-missing info", "v=TLSRPTv1"},
		{"no policy", func(r *Result, h *Host, a *Address) {
			*r.MTASTS = MTASTS{Outcome: "no-record", Reason: "record-absent"}
		}, "sts-missing info", "mode testing"},
		{"an MX record that is an address", func(r *Result, h *Host, a *Address) { r.MX.Dropped = []Dropped{{"192.0.2.1", 10, "an IP address"}} }, "mx-not-a-host error", "address records"},
		{"a null MX under an enforced policy", func(r *Result, h *Host, a *Address) { r.MX.Null, r.MX.Hosts, r.Hosts = true, nil, nil }, "null-mx error", "forged"},
		{"a null MX", func(r *Result, h *Host, a *Address) { r.MX.Null, r.MX.Hosts, r.Hosts, r.MTASTS = true, nil, nil, nil }, "null-mx info", "MX records of its mail hosts"},
		{"no such domain", func(r *Result, h *Host, a *Address) { r.MX.Lookup.Outcome, r.Hosts = "nxdomain", nil }, "no-domain error", "Register"},
		{"a dead IPv4 address beside a good one", func(r *Result, h *Host, a *Address) {
			h.Addresses = append(h.Addresses, Address{Address: "192.0.2.2:25", Stage: "connect"})
		}, "address-dead warning", "remove the A record"},
	} {
		r := base(now)
		c.change(r, &r.Hosts[0], &r.Hosts[0].Addresses[0])
		var got []string
		text := ""
		for _, a := range mend(r) {
			got = append(got, a.Code+" "+string(a.Severity))
			text += a.Text
		}
		require.Equal(t, c.want, strings.Join(got, " "), c.why)
		require.Contains(t, text, c.says, c.why)
	}
}

// TestMendCodes: every code is tested, and the README says what it stands for.
func TestMendCodes(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		return string(b)
	}
	tests, readme := read("mend_test.go"), read("README.md")
	var found []string
	for _, file := range []string{"mend.go", "mend_tls.go", "mend_policy.go"} {
		source := read(file)
		for _, m := range regexp.MustCompile(`(?:add\(|code :?= |code, \w+ :?= )"([a-z0-9-]+)"`).FindAllStringSubmatch(source, -1) {
			found = append(found, m[1])
		}
	}
	require.Greater(t, len(found), 30)
	for _, code := range found {
		require.Regexp(t, `[" ]`+code+`[" ]`, tests, "a test")
		require.Contains(t, readme, "`"+code+"`")
	}
}

// TestMendTwoFaults: advice about several hosts and addresses stands for itself, and
// the gravest comes first.
func TestMendTwoFaults(t *testing.T) {
	_, p := inLab(t, lab.World{Domains: []lab.Domain{{Name: "two.example", Hosts: []lab.Host{
		{Name: "a.two.example", Cert: lab.Cert{Kind: lab.CertSelfSigned}},
		{Name: "b.two.example", Fault: lab.NoSTARTTLS()},
	}}}})
	r := p.probe(context.Background(), "two.example")
	require.Equal(t, []string{"no-starttls", "cert-self-signed", "sts-missing"}, codes(r))
	require.Equal(t, SeverityError, r.Mend[0].Severity)
}
