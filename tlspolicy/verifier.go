package tlspolicy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

// Verifier makes the findings about a peer's certificate that a [Requirement]
// asks for. It is safe for concurrent use; one serves a whole process. Make it
// with [NewVerifier]; the zero Verifier trusts nothing.
type Verifier struct {
	trust ChainVerifier
	opts  VerifyOptions
}

// NewVerifier returns a Verifier that trusts what trust accepts, or the
// operating system's roots if trust is nil (see [NewSystemVerifier]).
func NewVerifier(trust ChainVerifier, opts VerifyOptions) *Verifier {
	if trust == nil {
		trust = NewSystemVerifier(PoolOptions{})
	}
	opts.X509.Algorithms = slices.Clone(opts.X509.Algorithms)
	return &Verifier{trust: trust, opts: opts}
}

// Generation returns the generation of the [ChainVerifier] if it has one, else 0.
// It belongs into the keys under which TLS sessions and connections are kept.
func (v *Verifier) Generation() uint64 {
	if v == nil {
		return 0
	}
	if trust, ok := v.trust.(interface{ Generation() uint64 }); ok {
		return trust.Generation()
	}
	return 0
}

// Check looks at the certificate of an established session as far as r needs it
// and records what it finds; [Requirement.Decide] draws the conclusion. It is
// made to be called in [tls.Config.VerifyConnection], which crypto/tls also runs
// when a session is resumed, with InsecureSkipVerify set, and its error is not to
// be returned from there: a certificate that proves nothing must not look like a
// failed handshake, after which Preferred would try again in clear text.
//
//   - Nothing is looked at for the modes Preferred and Required alone, and nothing
//     below TLS 1.2, where no certificate counts.
//   - The chain is checked where a name is; a name on a chain that leads nowhere
//     proves nothing, so the name flags then stay false. An MTA-STS policy that is
//     not enforced is checked like an enforced one, for the report.
//   - For kind dane Check finds out the TLS version only. Judging TLSA records is
//     the work of package dane, and DANEMatch is the caller's to set; while it
//     is false, Decide refuses the session. It is the caller's too where
//     [Requirement.NeedsDANEMatch] wants it for the report alone.
//
// Outcome has TLS established, which the caller replaces if the handshake fails
// afterwards, and OldTLS set below TLS 1.2. Identity is that of the check on which
// delivery depends, the mode's before the one of MTA-STS, and is zero unless all
// of them hold; the name for a policy that is not enforced is not reported there.
//
// The error is nil or a *[VerifyError]: the first thing that did not hold, in the
// order TLS version, chain, MTA-STS name, name of the mode, optional checks. That
// it is set does not mean that mail may not be delivered: Preferred (Verify)
// delivers all the same.
//
// A nil cs gives the zero Outcome, which Decide refuses. More than
// [MaxCertificates] certificates are untrusted. With the chain in the cache and
// nothing failing, Check does not allocate.
func (v *Verifier) Check(r Requirement, cs *tls.ConnectionState, refs *References) (Outcome, Identity, error) {
	if cs == nil {
		return Outcome{}, Identity{}, &VerifyError{Cause: CauseNotChecked, Err: errors.New("there is no TLS session")}
	}
	o := Outcome{TLS: TLSEstablished, OldTLS: cs.Version < tls.VersionTLS12}
	if !r.NeedsChain() {
		return o, Identity{}, nil
	}
	if o.OldTLS { // no finding could make Decide call this session verified
		return o, Identity{}, &VerifyError{Cause: CauseOldTLS, Err: fmt.Errorf("the session is %s, and nothing is verified below TLS 1.2", tls.VersionName(cs.Version))}
	}
	path, failed := v.path(cs.PeerCertificates)
	switch {
	case failed == nil:
		o.Chain = ChainOK
	case failed.Cause == CauseChainExpired:
		o.Chain = ChainExpired
		return o, Identity{}, failed
	default:
		o.Chain = ChainUntrusted
		return o, Identity{}, failed
	}
	if refs == nil {
		refs = &References{}
	}
	cert := newCertificate(cs.PeerCertificates[0], path)
	return v.names(r, o, cert, refs)
}

// path verifies the chain.
func (v *Verifier) path(chain []*x509.Certificate) ([]*x509.Certificate, *VerifyError) {
	err := checkChainShape(chain)
	switch {
	case err != nil:
	case v == nil || v.trust == nil:
		err = ErrNoTrust
	default:
		var path []*x509.Certificate
		path, err = v.trust.VerifyChain(chain, x509.ExtKeyUsageServerAuth)
		if err == nil && len(path) > 0 {
			return path, nil
		}
		if err == nil {
			err = errors.New("the chain verifier returned neither a path nor an error")
		}
	}
	return nil, chainError(chain, err)
}

// names compares the certificate with the references as far as r asks for it.
// The chain is good.
func (v *Verifier) names(r Requirement, o Outcome, cert certificate, refs *References) (Outcome, Identity, error) {
	var id Identity
	var stsErr, modeErr error
	holds := true // what delivery depends on
	if r.NeedsSTSName() {
		match, ok := cert.stsName(refs)
		o.STSName = ok
		if !ok {
			stsErr = nameError(cert, refs.receiving)
		}
		if r.Kind() == KindSTS {
			id, holds = match, ok
		}
	}
	if r.NeedsVerify() || r.NeedsHosted() {
		rule := modeRule{
			hosted:     r.NeedsHosted(),
			ptr:        v.opts.PTR,
			secureOnly: v.opts.SecureMXOnly || r.SecureMXOnly(),
		}
		match, ok := cert.mode(refs, rule)
		id = match
		o.VerifyName, o.HostedName = ok && !rule.hosted, ok && rule.hosted
		if !ok {
			modeErr = nameError(cert, refs.considered(rule)...)
		}
		if err := v.opts.extra(cert, refs); err != nil {
			o.ExtraFailed = true
			if modeErr == nil {
				modeErr = extraError(cert, err)
			}
		}
		holds = holds && modeErr == nil
	}
	if !holds {
		id = Identity{}
	}
	if stsErr != nil {
		return o, id, stsErr
	}
	return o, id, modeErr
}
