package mtasts

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// MXProber connects to mail hosts for Check.
type MXProber interface {
	// ProbeMX connects to port 25 of a mail host, asks for TLS with the host's
	// name as SNI and returns what the handshake brought. It need not verify
	// the certificate, Check does. The error says that there was no TLS.
	ProbeMX(ctx context.Context, host string) (tls.ConnectionState, error)
}

// CheckResolver is what Check asks of DNS. *net.Resolver fits. If it also has
// LookupNetIP, policy hosts resolve through it.
type CheckResolver interface {
	Resolver
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
}

// CheckOptions are the ways of Check to the world. The zero value asks the real
// one, but connects to no mail host.
type CheckOptions struct {
	// Resolver answers all queries; nil: net.DefaultResolver.
	Resolver CheckResolver
	// Fetch says how the policy file is fetched.
	Fetch FetchConfig
	// Prober connects to the mail hosts; nil: they are not connected to.
	Prober MXProber
	// RootCAs are the roots that vouch for mail hosts; nil: the system's.
	RootCAs *x509.CertPool
	// Clock is the source of time; nil: the system's.
	Clock Clock
	// ID is the id that the TXT record should have; empty: PolicyID of the
	// intended policy.
	ID string
	// MinValidity is how long certificates should still be valid; 0: 14 days.
	MinValidity time.Duration
}

// Check compares the policy that a domain intends to have with what senders see,
// by the very code with which a Client discovers policies: the record, the file
// and its certificate, the mail hosts and theirs, and the record for reports. A
// nil policy is invalid; for a policy of mode none mail hosts are not looked at.
//
// A failed look is a finding of its own and never taken for a good one. ctx
// bounds the whole; when it ends, what is left fails.
func Check(ctx context.Context, domain string, intended *Policy, o CheckOptions) Findings {
	def(&o.MinValidity, 14*24*time.Hour)
	c := checker{CheckOptions: o}
	var err error
	if c.domain, err = normalDomain(domain); err != nil {
		c.add(FindingArgument, SeverityError, domain, "not a policy domain", err)
		return c.found
	}
	if err = errors.New("no policy"); intended != nil {
		c.text, err = intended.MarshalText()
	}
	if err != nil {
		c.add(FindingArgument, SeverityError, c.domain, err.Error(), err)
		return c.found
	}
	c.intended = new(Policy)
	_ = Parser{}.Policy(string(c.text), c.intended) // normalised; it has just been validated
	if c.Resolver == nil {
		c.Resolver = net.DefaultResolver
	}
	c.engine = newEngine(&Client{Resolver: c.Resolver, Fetch: o.Fetch, Clock: o.Clock})
	c.checkRecord(ctx)
	c.checkFile(ctx)
	if c.intended.Mode != ModeNone {
		c.checkHosts(ctx)
	}
	c.checkReports(ctx)
	return c.found
}

// checker is one Check.
type checker struct {
	CheckOptions
	domain   string
	intended *Policy
	text     []byte // of intended
	engine   *engine
	found    Findings
}

func (c *checker) add(code FindingCode, severity Severity, subject, detail string, err error) {
	c.found = append(c.found, Finding{code, severity, subject, detail, err})
}

// detail is the reason of a failure and its cause.
func (f *failure) detail() string {
	if cause := errors.Unwrap(f.Err); cause != nil {
		return f.Reason + ": " + cause.Error()
	}
	return f.Reason
}

func (c *checker) checkRecord(ctx context.Context) {
	name := "_mta-sts." + c.domain
	seen := c.engine.queryRecord(ctx, c.domain)
	if seen.fail.failed() {
		c.add(FindingRecord, SeverityError, name, seen.fail.detail(), seen.fail.Err)
		return
	}
	want := c.ID
	if want == "" {
		want = policyID(c.text)
	}
	if seen.id != want {
		c.add(FindingRecordID, SeverityError, name, fmt.Sprintf("id is %s, not %s: senders do not see the change", seen.id, want), nil)
	}
}

func (c *checker) checkFile(ctx context.Context) {
	host := policyHostPrefix + c.domain
	var served *tls.ConnectionState
	c.engine.fetcher.handshake = func(state *tls.ConnectionState) { served = state }
	seen := c.engine.getPolicy(ctx, c.domain, "")
	if served != nil {
		c.checkDates(host, served.PeerCertificates[0])
	}
	if seen.fail.failed() {
		c.add(FindingFetch, SeverityError, host, seen.fail.detail(), seen.fail.Err)
		return
	}
	if !c.intended.Equal(seen.policy) {
		c.add(FindingPolicy, SeverityError, host, fmt.Sprintf("the file says %q, not %q", clip(seen.policy.String()), clip(string(c.text))), nil)
	}
	if err := (Parser{Mode: Strict}).Policy(string(seen.body), new(Policy)); err != nil {
		c.add(FindingBlemish, SeverityWarning, host, err.Error(), err)
	}
	for _, w := range seen.warnings {
		c.add(FindingBlemish, SeverityWarning, host, w.String(), nil)
	}
}

// checkDates tells how long a certificate is valid.
func (c *checker) checkDates(host string, cert *x509.Certificate) {
	const day = 24 * time.Hour
	severity := SeverityInfo
	left := cert.NotAfter.Sub(c.engine.clock.Now())
	if left < c.MinValidity {
		severity = SeverityWarning
	}
	c.add(FindingCertificate, severity, host, fmt.Sprintf("valid for %d more days", left/day), nil)
}

// hostSeverity is how bad it is if senders cannot use a mail host.
func (c *checker) hostSeverity() Severity {
	if c.intended.Mode == ModeEnforce {
		return SeverityError
	}
	return SeverityWarning
}

func (c *checker) checkHosts(ctx context.Context) {
	hosts, err := c.mailHosts(ctx)
	if err != nil {
		c.add(FindingMX, SeverityError, c.domain, "the MX records cannot be looked up", err)
		return
	}
	for _, host := range hosts {
		if !c.intended.Match(host) {
			c.add(FindingMXUnmatched, c.hostSeverity(), host, "no pattern of the policy matches this mail host", nil)
		}
	}
	for _, pattern := range c.intended.MX {
		if !slices.ContainsFunc(hosts, func(host string) bool { return MatchPattern(pattern, host) }) {
			c.add(FindingPatternUnused, SeverityWarning, pattern, "no mail host matches this pattern", nil)
		}
	}
	if c.Prober == nil {
		return
	}
	for _, host := range hosts {
		c.probe(ctx, host)
	}
}

// mailHosts returns the names that senders try, without final dot. Without MX
// records that is the domain itself; with a null MX (RFC 7505) there is none.
func (c *checker) mailHosts(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	records, err := c.Resolver.LookupMX(ctx, c.domain+".")
	var dnsErr *net.DNSError
	if err != nil && !(errors.As(err, &dnsErr) && dnsErr.IsNotFound) {
		return nil, err
	}
	if len(records) == 0 {
		return []string{c.domain}, nil
	}
	records = slices.Clone(records)
	slices.SortStableFunc(records, func(a, b *net.MX) int { return cmp.Compare(a.Pref, b.Pref) })
	var hosts []string
	for _, mx := range records {
		host := lowerASCII(strings.TrimSuffix(mx.Host, "."))
		if host != "" && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts, nil
}

// probe looks at the TLS of a mail host, as RFC 8461 section 4.2 has senders do.
func (c *checker) probe(ctx context.Context, host string) {
	state, err := c.Prober.ProbeMX(ctx, host)
	if err == nil && len(state.PeerCertificates) == 0 {
		err = errors.New("no certificate")
	}
	if err != nil {
		c.add(FindingMXTLS, c.hostSeverity(), host, "no TLS: "+err.Error(), err)
		return
	}
	if state.Version < tls.VersionTLS12 {
		c.add(FindingMXTLS, c.hostSeverity(), host, tls.VersionName(state.Version)+" is below TLS 1.2", nil)
	}
	leaf := state.PeerCertificates[0]
	between := x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: c.RootCAs, Intermediates: between, CurrentTime: c.engine.clock.Now()}); err != nil {
		c.add(FindingMXCertificate, c.hostSeverity(), host, err.Error(), err)
		return
	}
	c.checkDates(host, leaf)
}

// checkReports looks for the record by which senders report failures.
func (c *checker) checkReports(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	name := "_smtp._tls." + c.domain
	rrs, err := c.engine.lookupTXT(ctx, name+".")
	var dnsErr *net.DNSError
	switch {
	case err != nil && !(errors.As(err, &dnsErr) && dnsErr.IsNotFound):
		c.add(FindingTLSRPT, SeverityWarning, name, "the TXT query failed", err)
	case !slices.ContainsFunc(rrs, func(rr string) bool { return strings.HasPrefix(rr, "v=TLSRPTv1;") }):
		c.add(FindingTLSRPT, SeverityWarning, name, "no record: failures of senders will not be reported", nil)
	}
}
