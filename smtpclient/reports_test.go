package smtpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/dnstest"
	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/tlspolicy"
	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt"
)

// collected keeps copies of the sessions that it is told of, and passes them on.
type collected struct {
	all  []tlsrpt.Session
	next tlsrpt.Collector
}

func (c *collected) Collect(s *tlsrpt.Session) {
	c.all = append(c.all, *s)
	if c.next != nil {
		c.next.Collect(s)
	}
}

// text tells of each session its policies and results, "; " between sessions.
func (c *collected) text() string {
	var sessions []string
	for _, s := range c.all {
		var results []string
		for _, r := range s.Policies[:s.NPolicies] {
			results = append(results, strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Policy.Type, r.Result, r.Reason)))
		}
		sessions = append(sessions, strings.Join(results, " + "))
	}
	return strings.Join(sessions, "; ")
}

// reported is a domain with a fault, and what is to be counted for one Dial to it.
type reported struct {
	why    string
	domain lab.Domain // its name, and those of its hosts, are set by the test
	host   lab.Host
	dane   tlspolicy.DANE // zero: opportunistic
	mode   tlspolicy.Mode // zero: Preferred
	target Target
	want   string // sessions apart by "; ", policies by " + "
}

func reportedRows() []reported {
	fault := func(f lab.Fault) lab.Host { return lab.Host{Fault: f} }
	cert := func(k lab.CertKind) lab.Host { return lab.Host{Cert: lab.Cert{Kind: k}} }
	tlsa := func(records ...lab.TLSA) lab.Host { return lab.Host{TLSA: records} }
	policy := func(p lab.Policy) lab.Domain { return lab.Domain{Policy: &p} }
	signed := lab.Domain{DNSSEC: lab.Signed}
	enforce, testing, elsewhere := policy(lab.Policy{}), policy(lab.Policy{Mode: "testing"}), []string{"mail.elsewhere.example"}
	both := lab.Domain{DNSSEC: lab.Signed, Policy: &lab.Policy{}}
	broken := func(name string, qtype uint16, f lab.DNSFault) lab.Domain {
		f.Name, f.Type = name, qtype
		return lab.Domain{DNSSEC: lab.Signed, DNSFaults: []lab.DNSFault{f}}
	}
	const noPolicy, tlsaInvalid, noSTARTTLS = "no-policy-found", "tlsa tlsa-invalid", "starttls-not-supported"
	return []reported{
		{why: "all in order", want: noPolicy},
		{why: "the mode looks at no certificate", host: cert(lab.CertSelfSigned), want: noPolicy},
		{why: "a rule of our own refuses the certificate", host: cert(lab.CertWrongName), mode: tlspolicy.RequiredVerifyHosted, want: noPolicy},
		{why: "no STARTTLS, delivered", host: fault(lab.NoSTARTTLS()), want: noPolicy + " " + noSTARTTLS + " not-offered"},
		{why: "no STARTTLS, refused", host: fault(lab.NoSTARTTLS()), mode: tlspolicy.Required, want: noPolicy + " " + noSTARTTLS + " not-offered"},
		{why: "no ESMTP", host: fault(lab.NoESMTP(500)), want: noPolicy + " " + noSTARTTLS + " not-offered"},
		{why: "STARTTLS refused, delivered in clear", host: fault(lab.STARTTLSCode(454)), want: noPolicy + " " + noSTARTTLS + " refused-454"},
		{why: "STARTTLS refused, not delivered", host: fault(lab.STARTTLSCode(554)), mode: tlspolicy.Required, want: noPolicy + " " + noSTARTTLS + " refused-554"},
		{why: "alert; the second connection does not count", host: fault(lab.HandshakeAlert()), want: noPolicy + " validation-failure tls-remote-handshake-failure"},
		{why: "no TLS", host: fault(lab.HandshakeGarbage()), want: noPolicy + " validation-failure tls-record-header"},
		{why: "end of the connection", host: fault(lab.HandshakeEOF()), want: noPolicy + " validation-failure connection-closed"},
		{why: "injected plaintext", host: fault(lab.Injected("250 ok\r\n", false)), want: noPolicy + " validation-failure plaintext-after-220"},
		{why: "client certificate refused", host: lab.Host{TLS: lab.TLS{ClientAuth: lab.RefuseClientCert}}, want: noPolicy + " validation-failure tls-remote-certificate-required"},
		{why: "what follows TLS does not matter", host: fault(lab.TLSEHLOCode(502)), want: noPolicy},
		{why: "nor that it follows at all", host: fault(lab.DropInsideTLS()), want: noPolicy},
		{why: "refused connection", host: fault(lab.Refused())},
		{why: "greeting", host: fault(lab.Greeting(554))},
		{why: "EHLO", host: fault(lab.ResetAt(lab.AtEHLO))},
		{why: "421 to STARTTLS is no word about TLS", host: fault(lab.STARTTLSCode(421))},
		{why: "junk at STARTTLS neither", host: fault(lab.Junk(lab.AtSTARTTLS))},
		{why: "mode No asks for no TLS", mode: tlspolicy.No, domain: both, host: tlsa(lab.TLSAMatch)},
		{why: "a report itself", target: Target{NoReport: true}},

		{why: "enforce", domain: enforce, want: "sts"},
		{why: "enforce, and our own rule refuses", domain: enforce, mode: tlspolicy.RequiredVerify, host: lab.Host{Cert: lab.Cert{Names: []string{"mx.%s"}}}, want: "sts"},
		{why: "enforce, self-signed", domain: enforce, host: cert(lab.CertSelfSigned), want: "sts certificate-not-trusted unknown-authority"},
		{why: "enforce, expired", domain: enforce, host: cert(lab.CertExpired), want: "sts certificate-expired"},
		{why: "enforce, not yet valid", domain: enforce, host: cert(lab.CertNotYetValid), want: "sts certificate-expired not-yet-valid"},
		{why: "enforce, wrong name", domain: enforce, host: cert(lab.CertWrongName), want: "sts certificate-host-mismatch"},
		{why: "enforce, no STARTTLS", domain: enforce, host: fault(lab.NoSTARTTLS()), want: "sts " + noSTARTTLS + " not-offered"},
		{why: "enforce, other host", domain: policy(lab.Policy{MX: elsewhere}), want: "sts validation-failure mtasts-policy-mx-mismatch"},
		{why: "testing", domain: testing, want: "sts"},
		{why: "testing, self-signed, delivered", domain: testing, host: cert(lab.CertSelfSigned), want: "sts certificate-not-trusted unknown-authority"},
		{why: "testing, no STARTTLS, delivered", domain: testing, host: fault(lab.NoSTARTTLS()), want: "sts " + noSTARTTLS + " not-offered"},
		{why: "testing, other host, delivered", domain: policy(lab.Policy{Mode: "testing", MX: elsewhere}), want: "sts validation-failure mtasts-policy-mx-mismatch"},
		{why: "mode none", domain: policy(lab.Policy{Mode: "none"}), want: noPolicy},
		{why: "policy host says 404", domain: policy(lab.Policy{Fault: lab.PolicyNotFound}), want: "sts sts-policy-fetch-error status"},
		{why: "policy that is none", domain: policy(lab.Policy{Text: "version: STSv1\r\nmode: enforced\r\n"}), want: "sts sts-policy-invalid syntax"},
		{why: "policy host without certificate", domain: policy(lab.Policy{Cert: lab.Cert{Kind: lab.CertSelfSigned}}), want: "sts sts-webpki-invalid cert"},
		{why: "TXT record that says nothing", domain: policy(lab.Policy{TXT: []string{"v=STSv1;"}}), want: noPolicy},

		{why: "TLSA matches", domain: signed, host: tlsa(lab.TLSAMatch), want: "tlsa"},
		{why: "TLSA matches, MTA-STS is not looked at", domain: lab.Domain{DNSSEC: lab.Signed, Policy: &lab.Policy{MX: elsewhere}}, host: tlsa(lab.TLSAMatch), want: "tlsa"},
		{why: "nor is one that cannot be had", domain: lab.Domain{DNSSEC: lab.Signed, Policy: &lab.Policy{Fault: lab.PolicyNotFound}}, host: tlsa(lab.TLSAMatch), want: "tlsa"},
		{why: "TLSA does not match", domain: signed, host: tlsa(lab.TLSAMismatch), want: "tlsa validation-failure dane-tlsa-mismatch"},
		{why: "TLSA does not match, reported only", domain: signed, host: tlsa(lab.TLSAMismatch), target: Target{Message: tlspolicy.Message{TLSOptional: true}}, want: "tlsa validation-failure dane-tlsa-mismatch"},
		{why: "TLSA, no STARTTLS", domain: signed, host: lab.Host{TLSA: []lab.TLSA{lab.TLSAMatch}, Fault: lab.NoSTARTTLS()}, want: "tlsa " + noSTARTTLS + " not-offered"},
		{why: "no TLSA", domain: signed, want: noPolicy},
		{why: "TLSA cannot be applied", domain: signed, host: tlsa(lab.TLSAPKIX), want: tlsaInvalid},
		{why: "TLSA cannot be applied, enforce", domain: both, host: tlsa(lab.TLSAPKIX), want: tlsaInvalid + " + sts"},
		{why: "TLSA cannot be applied, no policy to be had", domain: lab.Domain{DNSSEC: lab.Signed, Policy: &lab.Policy{Fault: lab.PolicyNotFound}}, host: tlsa(lab.TLSAPKIX),
			want: tlsaInvalid + " + sts sts-policy-fetch-error status"},
		{why: "TLSA SERVFAIL", domain: broken("_25._tcp.mx.%s", dns.TypeTLSA, lab.DNSFault{Action: dnstest.ServFail}), host: tlsa(lab.TLSAMatch), want: tlsaInvalid + " tlsa-lookup-servfail"},
		{why: "TLSA refused", domain: broken("_25._tcp.mx.%s", dns.TypeTLSA, lab.DNSFault{Action: dnstest.Refused}), host: tlsa(lab.TLSAMatch), want: tlsaInvalid + " tlsa-lookup-refused"},
		{why: "TLSA forged", domain: broken("_25._tcp.mx.%s", dns.TypeTLSA, lab.DNSFault{Flaw: dnstest.BadSignature}), host: tlsa(lab.TLSAMatch), want: "tlsa dnssec-invalid"},
		{why: "MX forged", domain: broken("%s", dns.TypeMX, lab.DNSFault{Flaw: dnstest.BadSignature}), host: tlsa(lab.TLSAMatch), want: "tlsa dnssec-invalid"},
		{why: "MX SERVFAIL is nobody's failure", domain: broken("%s", dns.TypeMX, lab.DNSFault{Action: dnstest.ServFail}), host: tlsa(lab.TLSAMatch)},
		{why: "DANE demanded, unsigned", dane: tlspolicy.DANEMandatory, want: "tlsa dane-required"},
		{why: "DANE demanded, no TLSA", dane: tlspolicy.DANEMandatory, domain: signed, want: "tlsa dane-required"},
	}
}

// TestReports counts by hand what one Dial to each row of a fault matrix adds to the
// reports of its domain, and compares that with what is collected, and the sums with
// what an Aggregator stores for the reports.
func TestReports(t *testing.T) {
	rows := reportedRows()
	var world lab.World
	for i := range rows {
		row := &rows[i]
		d, h := row.domain, row.host
		d.Name = fmt.Sprintf("r%d.example", i)
		h.Name = "mx." + d.Name
		for j, f := range d.DNSFaults {
			d.DNSFaults = []lab.DNSFault{f}
			d.DNSFaults[j].Name = strings.ReplaceAll(f.Name, "%s", d.Name)
		}
		switch {
		case h.Cert.Names != nil:
			h.Cert.Names = []string{h.Name}
		case h.Cert.Kind != lab.CertWrongName:
			h.Cert.Names = []string{h.Name, d.Name}
		}
		h.TLS.Max = 0
		d.Hosts = []lab.Host{h}
		world.Domains = append(world.Domains, d)
		row.domain = d
	}
	l := startLab(t, world)
	sts := labSTS(l)
	store := new(tlsrpt.Memory)
	aggregator, err := tlsrpt.NewAggregator(store, tlsrpt.AggregatorOptions{})
	require.NoError(t, err)
	ctx := context.Background()
	day := tlsrpt.DayOf(time.Now())
	for _, row := range rows {
		s := tlspolicy.Settings{Mode: row.mode, DANE: row.dane, MTASTS: tlspolicy.On, Fallback: tlspolicy.FallbackAlways}
		if s.Mode == tlspolicy.ModeDefault {
			s.Mode = tlspolicy.Preferred
		}
		if s.DANE == tlspolicy.DANEDefault {
			s.DANE = tlspolicy.DANEOpportunistic
		}
		d := labDialer(t, l, s)
		d.MTASTS = sts
		seen := &collected{next: aggregator}
		d.Reports = seen
		row.target.Domain = row.domain.Name
		session, err := d.DialTarget(ctx, row.target)
		if err == nil {
			session.Close()
		}
		require.Equal(t, row.want, seen.text(), "%s: %v", row.why, err)
		for _, s := range seen.all {
			require.Equal(t, row.domain.Name, s.RecipientDomain, row.why)
			if s.Policies[0].Result == tlsrpt.DNSSECInvalid && row.domain.DNSFaults[0].Type == dns.TypeMX {
				require.Empty(t, s.MXHost, row.why)
				continue
			}
			require.Equal(t, "mx."+row.domain.Name, s.MXHost, row.why)
			connected := len(l.Host(s.MXHost).Connections()) > 0
			require.Equal(t, connected, s.RemoteIP.IsValid() && s.LocalIP.IsValid(), row.why)
			require.Equal(t, connected, s.Helo != "", row.why)
		}
		_, err = d.Probe(ctx, row.target)
		if err != nil {
			_, ok := errors.AsType[*Error](err)
			require.True(t, ok, row.why)
		}
		require.Equal(t, row.want, seen.text(), "%s: a Probe counts nothing", row.why)
	}

	require.NoError(t, aggregator.Flush(ctx))
	for _, row := range rows {
		tally, err := store.Load(ctx, day, row.domain.Name)
		require.NoError(t, err)
		var got []string
		for _, p := range tally.Policies() {
			line := string(p.Policy.Type)
			for _, d := range p.Details {
				line = strings.TrimSpace(fmt.Sprintf("%s %s %s", line, d.Result, d.Reason))
			}
			require.EqualValues(t, 1, p.Successes+p.Failures, row.why)
			require.EqualValues(t, len(p.Details), p.Failures, row.why)
			got = append(got, line)
		}
		var want []string
		if row.want != "" {
			want = strings.Split(row.want, " + ")
		}
		require.ElementsMatch(t, want, got, row.why)
	}
}

// TestReportedPolicies: the policies of a report are what the domain publishes, and
// the same policy is the same pointer, Dial after Dial.
func TestReportedPolicies(t *testing.T) {
	l := startLab(t, lab.World{Domains: []lab.Domain{
		{Name: "sts.example", Policy: &lab.Policy{MX: []string{"*.sts.example", "mail.elsewhere.example"}}, Hosts: []lab.Host{{Name: "mx.sts.example"}}},
		{Name: "dane.example", DNSSEC: lab.Signed, MX: []lab.MX{{Host: "mx.dane.example", Pref: 1}},
			Records: []string{"mx IN CNAME real.dane.example."},
			Hosts:   []lab.Host{{Name: "real.dane.example", TLSA: []lab.TLSA{lab.TLSAMatch}}}},
		{Name: "none.example", Hosts: []lab.Host{{Name: "mx1.none.example", Fault: lab.Refused()}, {Name: "mx2.none.example"}}},
	}})
	d := labDialer(t, l, tlspolicy.Recommended())
	seen := new(collected)
	d.Reports = seen
	infos := map[string]*tlsrpt.PolicyInfo{}
	for range 3 {
		for _, domain := range []string{"sts.example", "dane.example", "none.example"} {
			s, err := d.Dial(context.Background(), domain)
			require.NoError(t, err)
			s.Close()
			last := seen.all[len(seen.all)-1]
			require.Equal(t, 1, last.NPolicies)
			if known := infos[domain]; known != nil {
				require.Same(t, known, last.Policies[0].Policy)
			}
			infos[domain] = last.Policies[0].Policy
		}
	}
	require.Len(t, seen.all, 9, "a refused connection is no session")
	rdata, err := l.Host("real.dane.example").RData(lab.TLSAMatch)
	require.NoError(t, err)
	require.Equal(t, &tlsrpt.PolicyInfo{Type: tlsrpt.PolicySTS, Domain: "sts.example",
		Lines:   []string{"version: STSv1", "mode: enforce", "mx: *.sts.example", "mx: mail.elsewhere.example", "max_age: 604800"},
		MXHosts: []string{"*.sts.example", "mail.elsewhere.example"}}, infos["sts.example"])
	require.Equal(t, &tlsrpt.PolicyInfo{Type: tlsrpt.PolicyTLSA, Domain: "real.dane.example",
		Lines: []string{strings.ToUpper(rdata)}, MXHosts: []string{"mx.dane.example"}}, infos["dane.example"])
	require.Equal(t, &tlsrpt.PolicyInfo{Type: tlsrpt.PolicyNoPolicyFound, Domain: "none.example"}, infos["none.example"])
}

// TestReportsOnTheWay: who is reported on where there is a route, a plan, a pin or
// no name.
func TestReportsOnTheWay(t *testing.T) {
	l := startLab(t, lab.World{Domains: []lab.Domain{
		{Name: "hub.example", Hosts: []lab.Host{{Name: "smart.hub.example", Addrs: []netip.Addr{netip.MustParseAddr("203.0.113.7")}}}},
		{Name: "pinned.example", Policy: &lab.Policy{Mode: "none"}, Hosts: []lab.Host{{Name: "mx.pinned.example"}}},
	}})
	ctx := context.Background()
	dial := func(edit func(d *Dialer), targets ...Target) *collected {
		d := labDialer(t, l, tlspolicy.Recommended())
		seen := new(collected)
		d.Reports = seen
		edit(d)
		for _, target := range targets {
			if s, err := d.DialTarget(ctx, target); err == nil {
				s.Close()
			}
		}
		return seen
	}
	as := func(*Dialer) {}
	seen := dial(as, Target{Host: "smart.hub.example"}, Target{Domain: "user.example", Host: "smart.hub.example:25"})
	require.Equal(t, "no-policy-found; no-policy-found", seen.text())
	for _, s := range seen.all {
		require.Equal(t, "smart.hub.example", s.RecipientDomain, "the smart host's owner can do something about it")
	}
	require.Empty(t, dial(as, Target{Host: "203.0.113.7"}, Target{Domain: "[203.0.113.7]"}, Target{Domain: "user.example", Host: "203.0.113.7"}).all,
		"there is nobody to report to")

	ok := policyOf("enforce", "mx.pinned.example")
	ok.Domain, ok.Source = "pinned.example", mtasts.SourcePinned
	bad := ok
	bad.Policy = policyOf("enforce", "mail.elsewhere.example").Policy
	for _, pin := range []mtasts.Result{ok, bad} {
		require.Empty(t, dial(func(d *Dialer) { d.MTASTS = found(pin) }, Target{Domain: "pinned.example"}).all, "a pin is not the receiver's policy")
	}

	d := labDialer(t, l, tlspolicy.Recommended())
	planned := new(collected)
	d.Reports = planned
	for _, quiet := range []bool{false, true} {
		p, err := d.Plan(ctx, Target{Domain: "hub.example", NoReport: quiet})
		require.NoError(t, err)
		for range 2 {
			s, err := d.DialPlan(ctx, p)
			require.NoError(t, err)
			s.Close()
		}
	}
	require.Equal(t, "no-policy-found; no-policy-found", planned.text())

	ctx, cancel := context.WithCancel(ctx)
	d.OnEvent = func(_ context.Context, e tlspolicy.Event) {
		if e.Kind == tlspolicy.EventConnect {
			cancel()
		}
	}
	_, err := d.Dial(ctx, "hub.example")
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, planned.all, 2, "what we break off ourselves is not counted")
}

// TestPoliciesRemembered: what is kept for reports has a bound.
func TestPoliciesRemembered(t *testing.T) {
	var c policies
	made := 0
	get := func(i int) *tlsrpt.PolicyInfo {
		domain := fmt.Sprintf("d%d.example", i)
		return c.get(policyKey{kind: tlspolicy.PolicyNoPolicyFound, domain: domain}, func() *tlsrpt.PolicyInfo {
			made++
			return tlsrpt.NewNoPolicy(domain)
		})
	}
	for i := range 3 * rememberedPolicies {
		require.Equal(t, fmt.Sprintf("d%d.example", i), get(i).Domain)
		require.Same(t, get(i), get(i))
		require.LessOrEqual(t, len(c.known), rememberedPolicies)
	}
	require.Equal(t, 3*rememberedPolicies, made)
}

// TestReportAllocs: without a Collector nothing is built, and with one nothing but
// the session for a policy that it has met.
func TestReportAllocs(t *testing.T) {
	aggregator, err := tlsrpt.NewAggregator(new(tlsrpt.Memory), tlsrpt.AggregatorOptions{})
	require.NoError(t, err)
	policy := policyOf("enforce", "mx.partner.example")
	for _, test := range []struct {
		reports tlsrpt.Collector
		want    float64
	}{{nil, 0}, {aggregator, 1}} {
		x := &delivery{
			conf:   &config{d: &Dialer{Reports: test.reports}, policies: new(policies)},
			domain: "partner.example", settings: tlspolicy.Recommended(), sts: policy, report: new(Report),
		}
		p := &hostPlan{host: candidate{name: "mx.partner.example"}, stsState: tlspolicy.STSEnforceMatch}
		p.requirement = tlspolicy.Plan(x.settings, tlspolicy.DANEInsecure, p.stsState)
		decided := p.requirement.Decide(tlspolicy.Outcome{TLS: tlspolicy.TLSEstablished, Chain: tlspolicy.ChainOK, STSName: true})
		a := &Attempt{Greeting: "mx.partner.example ESMTP"}
		ctx := context.Background()
		require.Equal(t, test.want, testing.AllocsPerRun(100, func() {
			x.collectMX(ctx)
			x.collect(ctx, p, decided, a, nil)
		}))
	}
	require.EqualValues(t, 101, aggregator.Stats().Sessions)
}

// TestReasonOfExpiredIssuer: the result is that of a chain which is not trusted, and
// the reason says why.
func TestReasonOfExpiredIssuer(t *testing.T) {
	root := testpki.NewRoot("Root")
	over := root.Intermediate("Between", testpki.Valid(time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)))
	leaf := over.Leaf([]string{"mx.partner.example"})
	trust, err := tlspolicy.NewPoolVerifier(testpki.Pool(root), tlspolicy.PoolOptions{})
	require.NoError(t, err)
	r := tlspolicy.Plan(tlspolicy.Recommended(), tlspolicy.DANENoTLSA, tlspolicy.STSEnforceMatch)
	var a Attempt
	a.Outcome, _, a.Unverified = tlspolicy.NewVerifier(trust, tlspolicy.VerifyOptions{}).Check(r, &tls.ConnectionState{
		Version: tls.VersionTLS13, PeerCertificates: leaf.Chain(),
	}, nil)
	d := r.Decide(a.Outcome)
	require.Equal(t, tlspolicy.ResultCertificateNotTrusted, d.Result)
	require.Equal(t, "issuer-expired", connectionReason(d.Policy, tlsrpt.ResultType(d.Result.String()), &a, nil))
}
