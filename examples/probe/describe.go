package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/smtpsec/smtpsec/dane"
	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// neverNull makes an empty list of a nil one, so that programs that read JSON find
// what the schema says.
func neverNull(list any) {
	if v := reflect.ValueOf(list).Elem(); v.IsNil() {
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	}
}

func isBogus(err error) bool { return errors.Is(err, dnssec.KindBogus) }

// lookupOf describes a DNS answer, or why there is none.
func lookupOf(name string, t dnssec.Type, a *dnssec.Answer, err error) Lookup {
	l := Lookup{Name: name, Type: t.String()}
	switch {
	case err != nil:
		l.Error = err.Error()
		if isBogus(err) {
			l.Security = "bogus"
		}
	case a != nil:
		l.Outcome, l.Security = a.Outcome.String(), a.Security.String()
		if a.Aliased() {
			l.Canonical = strings.TrimSuffix(a.Canonical, ".")
		}
	}
	return l
}

func (l *look) describeMX(mx *smtpclient.MXReport) {
	m := &l.r.MX
	m.Implicit, m.Null, m.Beyond, m.Malformed = mx.Implicit, mx.Null, mx.Beyond, mx.Malformed
	m.Lookup = Lookup{Name: l.domain, Type: dnssec.TypeMX.String()}
	switch {
	case mx.Err != nil:
		m.Lookup = lookupOf(l.domain, dnssec.TypeMX, nil, mx.Err)
	case mx.Outcome != 0:
		m.Lookup.Outcome, m.Lookup.Security = mx.Outcome.String(), mx.Security.String()
	}
	if m.Lookup.Security == dnssec.Indeterminate.String() {
		l.r.note(untrusted)
	}
	for _, h := range mx.Hosts {
		m.Hosts = append(m.Hosts, MXHost{h.Host, h.Pref})
	}
	for _, d := range mx.Dropped {
		m.Dropped = append(m.Dropped, Dropped{d.Name, d.Pref, errText(d.Err)})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// describeSTS tells what is known of the MTA-STS policy and, if there is one to be
// kept, how it compares with what is there.
func (l *look) describeSTS(ctx context.Context, sts *mtasts.Result) {
	if sts.Outcome == mtasts.OutcomeUnknown {
		return // nothing was asked, or the name cannot have a policy
	}
	m := &MTASTS{Outcome: sts.Outcome.String(), ID: sts.ID, Source: sts.Source.String(), Reason: sts.Reason, Error: errText(sts.Err)}
	l.r.MTASTS = m
	if !sts.FetchedAt.IsZero() {
		m.Fetched, m.Expires = second(sts.FetchedAt), second(sts.Expires)
	}
	if p := sts.Policy; p != nil {
		m.Mode, m.MaxAge, m.MX = p.Mode.String(), int64(p.MaxAge/time.Second), slices.Clone(p.MX)
		if ctx.Err() == nil {
			m.Findings = l.compare(ctx, sts)
		}
	}
	neverNull(&m.MX)
	neverNull(&m.Findings)
}

func second(t time.Time) *time.Time {
	t = t.UTC().Truncate(time.Second)
	return &t
}

// compare lets mtasts.Check look at the policy as its owner would. TLS of the mail
// hosts and TLS reports are told elsewhere in the Result.
func (l *look) compare(ctx context.Context, sts *mtasts.Result) []Finding {
	var all []Finding
	for _, f := range mtasts.Check(ctx, l.domain, sts.Policy, mtasts.CheckOptions{
		Resolver: checkResolver{dnssec.NetResolver{Resolver: l.resolver}}, Fetch: l.fetch, RootCAs: l.roots, ID: sts.ID,
	}) {
		if f.Code != mtasts.FindingTLSRPT {
			all = append(all, Finding{string(f.Code), f.Severity.String(), f.Subject, f.Detail})
		}
	}
	return all
}

// describeHosts tells of each mail host what DNS says about it, and of each of its
// addresses what was found there.
func (l *look) describeHosts(ctx context.Context, report *smtpclient.Report, f *facts) {
	var answer *dnssec.Answer
	if set, err := dnssec.LookupMX(ctx, l.resolver, l.domain); err == nil {
		answer = set.Answer
	}
	for _, mx := range report.MX.Hosts {
		found := dane.DiscoverHost(ctx, l.resolver, dane.SMTPQuery{Host: mx.Host, Port: l.port, MX: answer})
		host := Host{Host: mx.Host, Pref: mx.Pref}
		known := hostFacts{host: mx.Host, noAddress: found.Outcome == dane.OutcomeNoAddress, unseen: true}
		verifier := l.describeDANE(ctx, &host, &found)
		for i := range report.Attempts {
			a := &report.Attempts[i]
			if a.Host != mx.Host {
				continue
			}
			known.dane, known.sts, known.unseen = a.DANEState, a.STSState, false
			host.MTASTS = a.STSState.String()
			if !a.Addr.IsValid() {
				host.Error = errText(a.Err)
				continue
			}
			known.addrs = append(known.addrs, factsOf(a))
			host.Addresses = append(host.Addresses, l.address(ctx, a, verifier, found.RefIDs))
			l.advise(&host, a, verifier)
		}
		switch {
		case len(host.Addresses) > 0:
		case ctx.Err() != nil:
			host.Error = "not looked at any more"
		case known.unseen:
			host.Error = "not looked at: the hosts before it took all connections that a look has"
		}
		neverNull(&host.Addresses)
		neverNull(&host.DANE.Records)
		l.r.Hosts = append(l.r.Hosts, host)
		f.hosts = append(f.hosts, known)
	}
}

// describeDANE returns the Verifier of the host's TLSA records, nil if they do not
// count.
func (l *look) describeDANE(ctx context.Context, host *Host, found *dane.SMTPHost) *dane.Verifier {
	host.Lookups = []Lookup{
		lookupOf(host.Host, dnssec.TypeA, found.Addrs.A.Answer, found.Addrs.A.Err),
		lookupOf(host.Host, dnssec.TypeAAAA, found.Addrs.AAAA.Answer, found.Addrs.AAAA.Err),
	}
	host.DANE = DANE{State: found.Outcome.String()}
	if ctx.Err() != nil && found.Outcome == dane.OutcomeLookupError {
		host.DANE.State = "unknown" // that we gave up is nobody else's fault
		return nil
	}
	if found.Reason != dane.DiscoverReasonNone {
		host.DANE.Reason = found.Reason.String()
	}
	if found.Reason == dane.ReasonResolverUntrusted {
		l.r.note(untrusted)
	}
	base := found.Base
	if base == "" {
		base = host.Host
	}
	owner, err := dane.OwnerName(l.port, "tcp", base)
	if err != nil || found.Outcome == dane.OutcomeNoAddress {
		return nil
	}
	// Of an insecure host too, because its owner may not know that they are in vain.
	set, err := dane.LookupTLSA(ctx, l.resolver, l.port, "tcp", base)
	owner = strings.TrimSuffix(owner, ".")
	host.Lookups = append(host.Lookups, lookupOf(owner, dnssec.TypeTLSA, set.Answer, err))
	if err != nil || len(set.Records) == 0 {
		return nil
	}
	host.DANE.Owner = owner
	verifier, err := dane.NewVerifier(set.Records[:min(len(set.Records), maxList)], dane.Options{Now: l.now})
	if err != nil {
		return nil
	}
	for _, s := range verifier.Records() {
		t := TLSA{Record: s.Record.String(), Usable: s.Reason == dane.ReasonNone}
		if !t.Usable {
			t.Why = s.Reason.String()
		}
		host.DANE.Records = append(host.DANE.Records, t)
	}
	for _, a := range dane.Advise(set.Records[:len(host.DANE.Records)], nil) {
		host.DANE.Records[a.Index].Advice = a.Kind.String()
	}
	if found.Outcome != dane.OutcomeUsable {
		return nil
	}
	return verifier
}

// untrusted is what there is to say about a resolver whose answers carry no security.
const untrusted = "the DNS resolver here cannot tell what is secure, so that DANE protects nobody who asks it; see -resolver"

// note adds a note that is not there yet.
func (r *Result) note(text string) {
	if !slices.Contains(r.Notes, text) {
		r.Notes = append(r.Notes, text)
	}
}

// factsOf returns what decisions need to know about a connection.
func factsOf(a *smtpclient.Attempt) addrFacts {
	var policy *smtpclient.PolicyError
	fine := a.Err == nil || errors.As(a.Err, &policy)
	f := addrFacts{
		addr: a.Addr, outcome: a.Outcome, weak: isWeak(a),
		reached:   fine || a.Stage >= smtpclient.StageSTARTTLS,
		connected: a.Stage > smtpclient.StageConnect && !turnedAway(a),
		broken:    !fine && a.Outcome.TLS == tlspolicy.TLSEstablished,
	}
	if f.weak { // until somebody has tried
		f.strict = &addrFacts{addr: a.Addr, reached: true, outcome: tlspolicy.Outcome{TLS: tlspolicy.TLSHandshakeFailed}}
	}
	return f
}

// address describes one connection.
func (l *look) address(ctx context.Context, a *smtpclient.Attempt, verifier *dane.Verifier, ids dane.RefIDs) Address {
	d := Address{
		Address: a.Addr.String(), Stage: a.Stage.String(), Error: errText(a.Err), Greeting: a.Greeting,
		HostName: a.Outcome.STSName, VerifyName: a.Outcome.VerifyName, HostedName: a.Outcome.HostedName,
	}
	var policy *smtpclient.PolicyError
	if errors.As(a.Err, &policy) {
		d.Error = errText(policy.Err)
	}
	if d.Ours = ours(ctx, a); d.Ours == oursRoute {
		l.r.note(noRoute)
	}
	if a.Outcome.TLS != tlspolicy.TLSUnknown {
		d.STARTTLS = a.Outcome.TLS.String()
	}
	if a.Outcome.TLS == tlspolicy.TLSEstablished {
		d.Version, d.Cipher = tls.VersionName(a.Version), tls.CipherSuiteName(a.Suite)
		if a.Outcome.Chain != tlspolicy.ChainUnchecked {
			d.Chain = a.Outcome.Chain.String()
		}
		if a.Unverified != nil {
			d.Unverified = a.Unverified.Error()
		}
		// What was presented in a handshake that failed proves nothing: anybody could
		// have sent it.
		chain := l.presented(a)
		for _, c := range chain[:min(len(chain), tlspolicy.MaxCertificates)] {
			d.Certificates = append(d.Certificates, certificate(c))
		}
		if verifier != nil {
			for _, s := range verifier.Explain(chain, ids, l.now()) {
				m := Match{OK: s.Reason == dane.ReasonNone}
				if !m.OK {
					m.Why = s.Reason.String()
				}
				d.TLSA = append(d.TLSA, m)
			}
		}
	}
	neverNull(&d.Certificates)
	neverNull(&d.TLSA)
	return d
}

// Values of Address.Ours.
const (
	oursTime   = "time"
	oursRoute  = "route"
	oursTurned = "turned-away"
)

// ours returns why the failure of an attempt may lie at this end.
func ours(ctx context.Context, a *smtpclient.Attempt) string {
	is := func(errs ...error) bool {
		return slices.ContainsFunc(errs, func(err error) bool { return errors.Is(a.Err, err) })
	}
	switch {
	case ctx.Err() != nil && is(context.DeadlineExceeded, context.Canceled):
		return oursTime
	case a.Stage == smtpclient.StageConnect && is(syscall.ENETUNREACH, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT):
		return oursRoute
	case turnedAway(a):
		return oursTurned
	}
	return ""
}

// turnedAway tells whether a host answers the first words of the conversation with no.
func turnedAway(a *smtpclient.Attempt) bool {
	var reply *smtpclient.ReplyError
	return errors.As(a.Err, &reply) && reply.Code >= 400 && a.Stage <= smtpclient.StageHELO
}

// noRoute is what there is to say about addresses that this end has no way to.
const noRoute = "the network here has no route to some addresses, perhaps because it has no IPv6: nothing can be said about them"

// advise tells of records that a server makes useless by what it sends.
func (l *look) advise(host *Host, a *smtpclient.Attempt, verifier *dane.Verifier) {
	if verifier == nil || a.Outcome.TLS != tlspolicy.TLSEstablished {
		return
	}
	var records []dane.Record
	for _, s := range verifier.Records() {
		records = append(records, s.Record)
	}
	for _, advice := range dane.Advise(records, l.presented(a)) {
		if t := &host.DANE.Records[advice.Index]; t.Advice == "" {
			t.Advice = advice.Kind.String()
		}
	}
}

func (l *look) presented(a *smtpclient.Attempt) []*x509.Certificate {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.chains[a.Addr]
}

func certificate(c *x509.Certificate) Certificate {
	sum := sha256.Sum256(c.Raw)
	d := Certificate{
		Subject: c.Subject.String(), Issuer: c.Issuer.String(), Names: slices.Clone(c.DNSNames[:min(len(c.DNSNames), maxList)]),
		NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(), Signature: c.SignatureAlgorithm.String(),
		SelfSigned: string(c.RawIssuer) == string(c.RawSubject) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil,
		SHA256:     hex.EncodeToString(sum[:]),
		Key:        c.PublicKeyAlgorithm.String(),
	}
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		d.Bits = k.N.BitLen()
	case *ecdsa.PublicKey:
		d.Bits = k.Curve.Params().BitSize
	case ed25519.PublicKey:
		d.Bits = 8 * len(k)
	}
	if record, err := dane.NewRecord(dane.UsageDANEEE, dane.SelectorSPKI, dane.MatchingSHA256, c); err == nil {
		d.TLSA = record.String()
	}
	neverNull(&d.Names)
	return d
}
