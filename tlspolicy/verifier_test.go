package tlspolicy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/testpki"
)

// plan is the requirement of a mode with DANE none.
func plan(mode Mode, sts STSState) Requirement {
	return Plan(Settings{Mode: mode, DANE: DANENone, MTASTS: On, Fallback: FallbackAfter220}, DANEUnknown, sts)
}

func session(chain []*x509.Certificate) *tls.ConnectionState {
	return &tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: chain}
}

// counting is a ChainVerifier that counts how often it is asked.
type counting struct {
	ChainVerifier
	calls int
}

func (c *counting) VerifyChain(chain []*x509.Certificate, usage x509.ExtKeyUsage) ([]*x509.Certificate, error) {
	c.calls++
	return c.ChainVerifier.VerifyChain(chain, usage)
}

type verifierFunc func(chain []*x509.Certificate, usage x509.ExtKeyUsage) ([]*x509.Certificate, error)

func (f verifierFunc) VerifyChain(chain []*x509.Certificate, usage x509.ExtKeyUsage) ([]*x509.Certificate, error) {
	return f(chain, usage)
}

func TestCheck(t *testing.T) {
	root := testpki.NewRoot("Root", valid(-1000, 1000))
	stranger := testpki.NewRoot("Stranger", valid(-1000, 1000))
	leaf := func(a *testpki.Authority, san names, mods ...testpki.Mod) []*x509.Certificate {
		return a.Leaf(san, append([]testpki.Mod{valid(-10, 10)}, mods...)...).Chain()
	}
	domainSAN := leaf(root, names{"example.com"})
	bothSAN := leaf(root, names{"example.com", "mx.example.net"})
	mxSAN := leaf(root, names{"mx.example.net"}, testpki.CommonName("Title"))
	mxCN := leaf(root, nil, testpki.CommonName("mx.example.net"))
	expired := leaf(root, names{"example.com", "mx.example.net"}, valid(-90, -1))

	secure := toMX
	secure.MXSecure = true
	insecureMX, secureMX := references(t, toMX), references(t, secure)
	domainID := Identity{true, ReferenceRecipientDomain, "example.com", NameSourceSAN, "example.com", true}
	stsID := Identity{true, ReferenceMXHost, "mx.example.net", NameSourceSAN, "mx.example.net", true}
	established := Outcome{TLS: TLSEstablished}
	chainOK := Outcome{TLS: TLSEstablished, Chain: ChainOK}
	with := func(o Outcome, change func(*Outcome)) Outcome { change(&o); return o }

	for _, tc := range []struct {
		why   string
		req   Requirement
		chain []*x509.Certificate
		refs  *References
		opts  VerifyOptions
		want  Outcome
		id    Identity
		cause Cause // CauseNone: no error
	}{
		{why: "Preferred looks at nothing", req: plan(Preferred, STSNoPolicy), chain: leaf(stranger, nil), want: established},
		{why: "nor does Required", req: plan(Required, STSNoPolicy), chain: nil, want: established},
		{why: "nor kind clear", req: plan(No, STSUnknown), chain: domainSAN, want: established},
		{why: "nor a requirement that skips", req: Requirement{}, chain: domainSAN, want: established},
		{why: "TLSA is judged elsewhere", chain: domainSAN, refs: insecureMX, want: established,
			req: Plan(Settings{Mode: RequiredVerify, DANE: DANEMandatory, MTASTS: Off, Fallback: FallbackAfter220}, DANEUsable, STSUnknown)},
		{why: "a mismatching testing policy needs no certificate", req: plan(Preferred, STSTestingMismatch), chain: leaf(stranger, nil), want: established},

		{why: "Preferred-Verify proven", req: plan(PreferredVerify, STSNoPolicy), chain: domainSAN, refs: insecureMX,
			want: with(chainOK, func(o *Outcome) { o.VerifyName = true }), id: domainID},
		{why: "Preferred-Verify, wrong name", req: plan(PreferredVerify, STSNoPolicy), chain: mxSAN, refs: insecureMX, want: chainOK, cause: CauseNameMismatch},
		{why: "Preferred-Verify, stranger", req: plan(PreferredVerify, STSNoPolicy), chain: leaf(stranger, names{"example.com"}), refs: insecureMX,
			want: Outcome{TLS: TLSEstablished, Chain: ChainUntrusted}, cause: CauseChainUntrusted},
		{why: "Required-Verify", req: plan(RequiredVerify, STSNoPolicy), chain: mxCN, refs: insecureMX,
			want: with(chainOK, func(o *Outcome) { o.VerifyName = true }),
			id:   Identity{true, ReferenceMXHost, "mx.example.net", NameSourceCN, "mx.example.net", false}},
		{why: "Required-Verify, expired alone", req: plan(RequiredVerify, STSNoPolicy), chain: expired, refs: insecureMX,
			want: Outcome{TLS: TLSEstablished, Chain: ChainExpired}, cause: CauseChainExpired},
		{why: "Hosted", req: plan(RequiredVerifyHosted, STSNoPolicy), chain: mxSAN, refs: insecureMX,
			want: with(chainOK, func(o *Outcome) { o.HostedName = true }),
			id:   Identity{true, ReferenceMXHost, "mx.example.net", NameSourceSAN, "mx.example.net", false}},
		{why: "Hosted, SecureMXOnly", req: plan(RequiredVerifyHosted, STSNoPolicy), chain: mxSAN, refs: insecureMX, opts: VerifyOptions{SecureMXOnly: true},
			want: chainOK, cause: CauseNameMismatch},

		{why: "MTA-STS", req: plan(Preferred, STSEnforceMatch), chain: mxSAN, refs: secureMX,
			want: with(chainOK, func(o *Outcome) { o.STSName = true }), id: stsID},
		{why: "MTA-STS ignores the common name", req: plan(Preferred, STSEnforceMatch), chain: mxCN, refs: secureMX, want: chainOK, cause: CauseNameMismatch},
		{why: "MTA-STS is not touched by optional checks", req: plan(Preferred, STSEnforceMatch), chain: mxSAN, refs: secureMX,
			opts: VerifyOptions{FQDN: true, X509: X509Checks{Signature: true, Algorithms: []x509.SignatureAlgorithm{}}},
			want: with(chainOK, func(o *Outcome) { o.STSName = true }), id: stsID},
		{why: "MTA-STS with Preferred-Verify decides alone", req: plan(PreferredVerify, STSEnforceMatch), chain: mxSAN, refs: secureMX,
			want: with(chainOK, func(o *Outcome) { o.STSName = true }), id: stsID},
		{why: "MTA-STS and Required-Verify, both hold", req: plan(RequiredVerify, STSEnforceMatch), chain: bothSAN, refs: secureMX,
			want: with(chainOK, func(o *Outcome) { o.STSName, o.VerifyName = true, true }), id: domainID},
		{why: "MTA-STS holds, Required-Verify does not", req: plan(RequiredVerify, STSEnforceMatch), chain: mxSAN, refs: secureMX,
			want: with(chainOK, func(o *Outcome) { o.STSName = true }), cause: CauseNameMismatch},
		{why: "Required-Verify holds, MTA-STS does not", req: plan(RequiredVerify, STSEnforceMatch), chain: domainSAN, refs: secureMX,
			want: with(chainOK, func(o *Outcome) { o.VerifyName = true }), cause: CauseNameMismatch},
		{why: "testing policy, checked for the report; its name is no identity", req: plan(Preferred, STSTestingMatch), chain: mxSAN, refs: secureMX,
			want: with(chainOK, func(o *Outcome) { o.STSName = true })},
		{why: "testing policy failing beside a mode that holds", req: plan(RequiredVerify, STSTestingMatch), chain: domainSAN, refs: secureMX,
			want: with(chainOK, func(o *Outcome) { o.VerifyName = true }), id: domainID, cause: CauseNameMismatch},

		{why: "optional check fails", req: plan(RequiredVerify, STSNoPolicy), chain: leaf(root, names{"example.com", "localhost"}), refs: insecureMX,
			opts: VerifyOptions{FQDN: true},
			want: with(chainOK, func(o *Outcome) { o.VerifyName, o.ExtraFailed = true, true }), cause: CauseExtraFailed},
		{why: "name and optional check fail: the name is reported", req: plan(RequiredVerify, STSNoPolicy), chain: leaf(root, names{"localhost"}), refs: insecureMX,
			opts: VerifyOptions{FQDN: true}, want: with(chainOK, func(o *Outcome) { o.ExtraFailed = true }), cause: CauseNameMismatch},

		{why: "no references", req: plan(RequiredVerify, STSNoPolicy), chain: domainSAN, want: chainOK, cause: CauseNameMismatch},
		{why: "no references for MTA-STS", req: plan(Required, STSEnforceMatch), chain: domainSAN, want: chainOK, cause: CauseNameMismatch},
		{why: "no certificate", req: plan(RequiredVerify, STSNoPolicy), chain: nil, refs: insecureMX,
			want: Outcome{TLS: TLSEstablished, Chain: ChainUntrusted}, cause: CauseChainUntrusted},
		{why: "nil certificate", req: plan(RequiredVerify, STSNoPolicy), chain: []*x509.Certificate{nil}, refs: insecureMX,
			want: Outcome{TLS: TLSEstablished, Chain: ChainUntrusted}, cause: CauseChainUntrusted},
	} {
		t.Run(tc.why, func(t *testing.T) {
			trust := &counting{ChainVerifier: poolVerifier(t, PoolOptions{Now: newClock(noon).now}, root.Cert)}
			v := NewVerifier(trust, tc.opts)
			for range 2 { // cold and warm
				got, id, err := v.Check(tc.req, session(tc.chain), tc.refs)
				require.Equal(t, tc.want, got)
				require.Equal(t, tc.id, id)
				if tc.cause == CauseNone {
					require.NoError(t, err)
					continue
				}
				var failed *VerifyError
				require.ErrorAs(t, err, &failed)
				require.Equal(t, tc.cause, failed.Cause, "%v", err)
			}
			if !tc.req.NeedsChain() {
				require.Zero(t, trust.calls, "what the requirement does not ask for is not done")
			}
		})
	}
}

// What Check finds leads to the decision that the tables want.
func TestCheckThenDecide(t *testing.T) {
	root := testpki.NewRoot("Root")
	v := NewVerifier(poolVerifier(t, PoolOptions{}, root.Cert), VerifyOptions{})
	good := root.Leaf(names{"example.com"}).Chain()
	bad := testpki.SelfSigned(names{"example.com"}).Chain()
	for _, tc := range []struct {
		req   Requirement
		chain []*x509.Certificate
		want  Action
	}{
		{plan(Preferred, STSNoPolicy), bad, DeliverUnverified},
		{plan(PreferredVerify, STSNoPolicy), good, DeliverVerified},
		{plan(PreferredVerify, STSNoPolicy), bad, DeliverUnverified},
		{plan(RequiredVerify, STSNoPolicy), good, DeliverVerified},
		{plan(RequiredVerify, STSNoPolicy), bad, Next},
		{plan(Preferred, STSEnforceMatch), good, Next}, // not the MX host's name
		{Plan(Settings{Mode: Preferred, DANE: DANEOpportunistic, MTASTS: Off, Fallback: FallbackAfter220}, DANEUsable, STSUnknown), good, Next}, // DANEMatch is nobody's yet
	} {
		o, _, _ := v.Check(tc.req, session(tc.chain), references(t, toMX))
		require.Equal(t, tc.want, tc.req.Decide(o).Action, "%v %v", tc.req.Kind(), tc.req.Mode())
	}
}

// For a message with REQUIRETLS a name out of unprotected DNS proves nothing,
// whatever the options say.
func TestCheckRequireTLS(t *testing.T) {
	root := testpki.NewRoot("Root")
	v := NewVerifier(poolVerifier(t, PoolOptions{}, root.Cert), VerifyOptions{PTR: true})
	secure := toMX
	secure.MXSecure = true
	forgeable := toMX
	forgeable.PTR = []PTRName{{"mx.example.net", false}}
	for _, mode := range []Mode{No, RequiredVerify} {
		s := BuiltIn()
		s.Mode = mode
		r := Plan(s.For(Message{RequireTLS: true}), DANENoTLSA, STSNoPolicy)
		for _, chain := range [][]*x509.Certificate{
			root.Leaf(names{"mx.example.net"}).Chain(),
			root.Leaf(nil, testpki.CommonName("mx.example.net")).Chain(),
		} {
			o, id, err := v.Check(r, session(chain), references(t, forgeable))
			require.Equal(t, Next, r.Decide(o).Action, "%v: the MX host name may be forged", r.Mode())
			require.Zero(t, id)
			require.Error(t, err)
		}
		proven := root.Leaf(nil, testpki.CommonName("mx.example.net")).Chain()
		o, id, err := v.Check(r, session(proven), references(t, secure))
		require.NoError(t, err)
		require.Equal(t, DeliverVerified, r.Decide(o).Action, "%v: DNSSEC proves the name", r.Mode())
		require.True(t, id.Secure)
	}
}

func TestCheckOldTLS(t *testing.T) {
	root := testpki.NewRoot("Root")
	trust := &counting{ChainVerifier: poolVerifier(t, PoolOptions{}, root.Cert)}
	v := NewVerifier(trust, VerifyOptions{})
	refs, chain := references(t, toMX), root.Leaf(names{"example.com"}).Chain()
	for version, old := range map[uint16]bool{
		0: true, tls.VersionTLS10: true, tls.VersionTLS11: true, tls.VersionTLS12: false, tls.VersionTLS13: false,
	} {
		for _, req := range []Requirement{plan(Preferred, STSNoPolicy), plan(PreferredVerify, STSNoPolicy), plan(RequiredVerify, STSNoPolicy),
			Plan(Settings{Mode: Preferred, DANE: DANEOpportunistic, MTASTS: Off, Fallback: FallbackAfter220}, DANEUsable, STSUnknown)} {
			trust.calls = 0
			o, id, err := v.Check(req, &tls.ConnectionState{Version: version, PeerCertificates: chain}, refs)
			require.Equal(t, old, o.OldTLS, "%x", version)
			require.Equal(t, TLSEstablished, o.TLS)
			if !old || !req.NeedsChain() {
				require.NoError(t, err)
				continue
			}
			var failed *VerifyError
			require.ErrorAs(t, err, &failed)
			require.Equal(t, CauseOldTLS, failed.Cause)
			require.Zero(t, id)
			require.Equal(t, Outcome{TLS: TLSEstablished, OldTLS: true}, o)
			require.Zero(t, trust.calls)
			require.Equal(t, CauseOldTLS, req.Decide(o).Cause, "Decide gives the same cause")
		}
	}
}

func TestCheckWithoutSession(t *testing.T) {
	v := NewVerifier(nil, VerifyOptions{})
	for _, req := range []Requirement{plan(Preferred, STSNoPolicy), plan(RequiredVerify, STSEnforceMatch)} {
		o, id, err := v.Check(req, nil, nil)
		require.Error(t, err)
		require.Zero(t, o)
		require.Zero(t, id)
		require.Equal(t, Next, req.Decide(o).Action)
	}
}

func TestZeroVerifierTrustsNothing(t *testing.T) {
	chain := testpki.NewRoot("Root").Leaf(names{"example.com"}).Chain()
	req := plan(RequiredVerify, STSNoPolicy)
	var none *PoolVerifier
	for why, v := range map[string]*Verifier{
		"nil":                   nil,
		"zero":                  {},
		"nil pool verifier":     NewVerifier(none, VerifyOptions{}),
		"verifier without path": NewVerifier(verifierFunc(func([]*x509.Certificate, x509.ExtKeyUsage) ([]*x509.Certificate, error) { return nil, nil }), VerifyOptions{}),
	} {
		o, id, err := v.Check(req, session(chain), references(t, toMX))
		require.Equal(t, Outcome{TLS: TLSEstablished, Chain: ChainUntrusted}, o, why)
		require.Zero(t, id, why)
		require.Error(t, err, why)
		if why != "verifier without path" {
			require.ErrorIs(t, err, ErrNoTrust, why)
		}
	}
}

func TestNilTrustMeansTheSystem(t *testing.T) {
	v := NewVerifier(nil, VerifyOptions{})
	require.EqualValues(t, 1, v.Generation())
	system, ok := v.trust.(*PoolVerifier)
	require.True(t, ok)
	require.Nil(t, system.trust.Load().roots, "nil is how x509 is asked for the system's roots")
	require.NotNil(t, system.cache)
	_, _, err := v.Check(plan(RequiredVerify, STSNoPolicy), session(testpki.NewRoot("Root").Leaf(names{"example.com"}).Chain()), references(t, toMX))
	require.Error(t, err, "a stranger is no system root")
	require.NotErrorIs(t, err, ErrNoTrust)
}

func TestGeneration(t *testing.T) {
	root := testpki.NewRoot("Root")
	trust := poolVerifier(t, PoolOptions{}, root.Cert)
	v := NewVerifier(trust, VerifyOptions{})
	require.EqualValues(t, 1, v.Generation())
	require.NoError(t, trust.Replace(pool(root.Cert)))
	require.EqualValues(t, 2, v.Generation())
	require.Zero(t, NewVerifier(verifierFunc(nil), VerifyOptions{}).Generation(), "a trust without generation")
	require.Zero(t, (*Verifier)(nil).Generation())
}

// A chain from the cache proves nothing about names and optional checks: both
// are looked at again on every hit.
func TestNamesAreCheckedOnEveryHit(t *testing.T) {
	root := testpki.NewRoot("Root")
	leaf := root.Leaf(names{"example.com", "localhost"})
	trust := poolVerifier(t, PoolOptions{}, root.Cert)
	req := plan(RequiredVerify, STSNoPolicy)
	v := NewVerifier(trust, VerifyOptions{})
	o, _, err := v.Check(req, session(leaf.Chain()), references(t, toMX))
	require.NoError(t, err)
	require.True(t, o.VerifyName)
	require.True(t, hits(trust, leaf.Chain(), server))

	o, id, err := v.Check(req, session(leaf.Chain()), references(t, PeerNames{Domain: "example.org", MXHost: "mx.example.net"}))
	require.Error(t, err)
	require.Equal(t, Outcome{TLS: TLSEstablished, Chain: ChainOK}, o)
	require.Zero(t, id)

	o, _, err = NewVerifier(trust, VerifyOptions{FQDN: true}).Check(req, session(leaf.Chain()), references(t, toMX))
	require.Error(t, err)
	require.True(t, o.ExtraFailed)
}

// The path decides whether the common name counts, also when it comes from
// somebody else's ChainVerifier.
func TestConstrainedPathRulesOutTheCommonName(t *testing.T) {
	root := testpki.NewRoot("Root", testpki.Template(func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"example.net"} }))
	leaf := root.Leaf(nil, testpki.CommonName("example.com"))
	for _, mode := range []Mode{PreferredVerify, RequiredVerify, RequiredVerifyHosted} {
		v := NewVerifier(poolVerifier(t, PoolOptions{}, root.Cert), VerifyOptions{X509: X509Checks{ServerName: true}})
		o, id, err := v.Check(plan(mode, STSNoPolicy), session(leaf.Chain()), references(t, PeerNames{Domain: "example.com", MXHost: "example.com"}))
		require.Error(t, err)
		require.Equal(t, Outcome{TLS: TLSEstablished, Chain: ChainOK, ExtraFailed: true}, o)
		require.Zero(t, id)
	}
}

func TestOptionsAreCopied(t *testing.T) {
	algorithms := []x509.SignatureAlgorithm{x509.ECDSAWithSHA256}
	root := testpki.NewRoot("Root")
	v := NewVerifier(poolVerifier(t, PoolOptions{}, root.Cert), VerifyOptions{X509: X509Checks{Signature: true, Algorithms: algorithms}})
	algorithms[0] = x509.MD5WithRSA
	_, _, err := v.Check(plan(RequiredVerify, STSNoPolicy), session(root.Leaf(names{"example.com"}).Chain()), references(t, toMX))
	require.NoError(t, err)
}

func TestOptionalChecks(t *testing.T) {
	refs := references(t, toMX)
	withCN := func(cn string, san ...string) *x509.Certificate {
		return named(san, names{cn}).leaf
	}
	signed := func(a x509.SignatureAlgorithm) *x509.Certificate { return &x509.Certificate{SignatureAlgorithm: a} }
	signature := VerifyOptions{X509: X509Checks{Signature: true}}
	serverName := VerifyOptions{X509: X509Checks{ServerName: true}}
	version := VerifyOptions{X509: X509Checks{Version: true}}
	fqdn := VerifyOptions{FQDN: true}
	for _, tc := range []struct {
		why  string
		opts VerifyOptions
		leaf *x509.Certificate
		ok   bool
	}{
		{"all off", VerifyOptions{}, &x509.Certificate{}, true},

		{"names qualified", fqdn, withCN("mx.example.net", "example.com", "*.example.com"), true},
		{"SAN only", fqdn, named(names{"example.com"}, nil).leaf, true},
		{"CN only", fqdn, withCN("example.com"), true},
		{"CN is a title", fqdn, withCN("Mail Server", "example.com"), false},
		{"one label", fqdn, named(names{"example.com", "localhost"}, nil).leaf, false},
		{"underscore", fqdn, named(names{"mx_1.example.com"}, nil).leaf, false},
		{"final dot", fqdn, named(names{"example.com."}, nil).leaf, false},
		{"wildcard too wide", fqdn, named(names{"*.com"}, nil).leaf, false},
		{"address", fqdn, withCN("192.0.2.1", "example.com"), false},
		{"second CN is a title", fqdn, named(nil, names{"example.com", "Title"}).leaf, false},
		{"no name at all", fqdn, named(nil, nil).leaf, false},

		{"ECDSA with SHA-256", signature, signed(x509.ECDSAWithSHA256), true},
		{"RSA-PSS with SHA-512", signature, signed(x509.SHA512WithRSAPSS), true},
		{"RSA with SHA-384", signature, signed(x509.SHA384WithRSA), true},
		{"Ed25519", signature, signed(x509.PureEd25519), true},
		{"RSA with SHA-1", signature, signed(x509.SHA1WithRSA), false},
		{"ECDSA with SHA-1", signature, signed(x509.ECDSAWithSHA1), false},
		{"RSA with MD5", signature, signed(x509.MD5WithRSA), false},
		{"DSA with SHA-256", signature, signed(x509.DSAWithSHA256), false},
		{"unknown", signature, signed(x509.UnknownSignatureAlgorithm), false},
		{"list of one's own", VerifyOptions{X509: X509Checks{Signature: true, Algorithms: []x509.SignatureAlgorithm{x509.PureEd25519}}}, signed(x509.ECDSAWithSHA256), false},
		{"empty list allows none", VerifyOptions{X509: X509Checks{Signature: true, Algorithms: []x509.SignatureAlgorithm{}}}, signed(x509.PureEd25519), false},
		{"a list alone switches nothing on", VerifyOptions{X509: X509Checks{Algorithms: []x509.SignatureAlgorithm{}}}, signed(x509.MD5WithRSA), true},

		{"SAN for the host", serverName, named(names{"mx.example.net"}, nil).leaf, true},
		{"wildcard SAN for the host", serverName, named(names{"*.example.net"}, nil).leaf, true},
		{"CN for the host beside a SAN", serverName, withCN("mx.example.net", "example.com"), true},
		{"the domain is not the host", serverName, named(names{"example.com"}, nil).leaf, false},

		{"version 3", version, &x509.Certificate{Version: 3}, true},
		{"version 1", version, &x509.Certificate{Version: 1}, false},
	} {
		t.Run(tc.why, func(t *testing.T) {
			err := tc.opts.extra(certificate{leaf: tc.leaf, cn: true}, refs)
			require.Equal(t, tc.ok, err == nil, "%v", err)
		})
	}
	require.Error(t, serverName.extra(named(names{"example.com"}, nil), references(t, PeerNames{Domain: "example.com"})), "host unknown")
}

func TestVerifyErrorTellsAndUnwraps(t *testing.T) {
	root := testpki.NewRoot("Root", valid(-1000, 1000))
	check := func(req Requirement, opts VerifyOptions, refs *References, chain []*x509.Certificate) error {
		t.Helper()
		_, _, err := NewVerifier(poolVerifier(t, PoolOptions{Now: newClock(noon).now}, root.Cert), opts).Check(req, session(chain), refs)
		require.Error(t, err)
		return err
	}
	req, refs := plan(RequiredVerify, STSNoPolicy), references(t, toMX)

	err := check(req, VerifyOptions{}, refs, root.Leaf(names{"a.example", "b.example"}, valid(-1, 1), testpki.CommonName("c.example")).Chain())
	var host x509.HostnameError
	require.ErrorAs(t, err, &host)
	require.Equal(t, "example.com", host.Host)
	require.Equal(t, `tlspolicy: certificate names "a.example", "b.example", "c.example", wanted recipient-domain "example.com" or mx-host "mx.example.net"`, err.Error())
	var failed *VerifyError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, names{"a.example", "b.example", "c.example"}, failed.Presented)
	require.Len(t, failed.References, 2)

	err = check(plan(RequiredVerify, STSEnforceMatch), VerifyOptions{}, refs, root.Leaf(names{"a.example"}, valid(-1, 1)).Chain())
	require.ErrorAs(t, err, &failed)
	require.Equal(t, []Reference{{"mx.example.net", ReferenceMXHost, false}}, failed.References, "MTA-STS is reported before the mode")

	err = check(req, VerifyOptions{}, nil, root.Leaf(names{"a.example"}, valid(-1, 1)).Chain())
	require.ErrorIs(t, err, ErrNoReference)
	require.Equal(t, ErrNoReference.Error(), err.Error())

	err = check(req, VerifyOptions{}, refs, testpki.SelfSigned(names{"example.com"}, valid(-1, 1)).Chain())
	var unknown x509.UnknownAuthorityError
	require.ErrorAs(t, err, &unknown)
	require.Contains(t, err.Error(), "not trusted")

	err = check(req, VerifyOptions{}, refs, root.Leaf(names{"example.com"}, valid(-2, -1)).Chain())
	var invalid x509.CertificateInvalidError
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, x509.Expired, invalid.Reason)
	require.Contains(t, err.Error(), "outside its validity period")

	err = check(req, VerifyOptions{FQDN: true}, refs, root.Leaf(names{"example.com", "localhost"}, valid(-1, 1)).Chain())
	require.Contains(t, err.Error(), `"localhost"`)

	err = check(req, VerifyOptions{}, refs, make([]*x509.Certificate, MaxCertificates+1))
	require.Contains(t, err.Error(), "17 certificates")

	// A hostile certificate cannot fill the log or break out of a line.
	var many names
	for range 1000 {
		many = append(many, "evil\r\n"+string(make([]byte, 500)))
	}
	text := (&VerifyError{Cause: CauseNameMismatch, References: refs.All(), Presented: many}).Error()
	require.Less(t, len(text), 3000)
	require.NotContains(t, text, "\n")
	require.Contains(t, text, "and 995 more")

	require.Contains(t, (&VerifyError{}).Error(), "no cause recorded")
	require.Contains(t, (&VerifyError{Cause: CauseNameMismatch, References: refs.All()}).Error(), "names nothing")
	require.Nil(t, errors.Unwrap(&VerifyError{}))
}
