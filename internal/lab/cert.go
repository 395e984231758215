package lab

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
)

// Cert says what certificate a host presents. All are ECDSA P-256; a good one is
// valid for some weeks around now and comes with its intermediate.
type Cert struct {
	Kind CertKind
	// Names are the dNSName entries; nil = the host's own name, or for CertWrongName a
	// name that nobody has.
	Names []string
	// CommonName is the subject's; "" = empty subject.
	CommonName string
}

// CertKind is what is right or wrong with a certificate.
type CertKind uint8

const (
	CertGood           CertKind = iota // zero value: chains to Lab.Roots, in its dates, right names
	CertWrongName                      // good in all but its name
	CertExpired                        // ended yesterday, and that is all that is wrong
	CertNotYetValid                    // begins tomorrow, and that is all that is wrong
	CertSelfSigned                     // signed by its own key
	CertUnknownCA                      // chains to an authority that is not in Lab.Roots
	CertNoIntermediate                 // sent without the intermediate that it needs
	CertSHA1                           // signed with ECDSA and SHA-1
	CertClientOnly                     // extended key usage clientAuth alone
	CertHuge                           // good, with a megabyte of further certificates behind it
)

var certNames = [...]string{"good", "wrong name", "expired", "not yet valid", "self-signed", "unknown CA", "no intermediate", "SHA-1", "client only", "huge"}

// String returns the kind in words.
func (k CertKind) String() string {
	if int(k) < len(certNames) {
		return certNames[k]
	}
	return fmt.Sprintf("certificate kind %d", uint8(k))
}

// noName is what a wrong name is; .invalid never exists (RFC 6761 section 6.4).
const noName = "wrong-name.invalid"

// hugeChain is how many octets of certificates CertHuge sends at least.
const hugeChain = 1 << 20

// authority is the lab's own, with one that nobody trusts beside it.
type authority struct {
	root, inter *testpki.Authority
	unknown     *testpki.Authority
}

// newAuthority makes authorities that were valid long ago and will be for long, so
// that a leaf's dates can be the only thing wrong with a chain.
func newAuthority() *authority {
	now := time.Now()
	valid := testpki.Valid(now.AddDate(-5, 0, 0), now.AddDate(5, 0, 0))
	root := testpki.NewRoot("Lab Root", valid)
	return &authority{
		root:    root,
		inter:   root.Intermediate("Lab Issuing CA", valid),
		unknown: testpki.NewRoot("Nobody's Root", valid).Intermediate("Nobody's Issuing CA", valid),
	}
}

// issue makes the certificate that c asks for, for the host called name.
func (a *authority) issue(c Cert, name string) (*testpki.Leaf, tls.Certificate, error) {
	names := c.Names
	if names == nil {
		names = []string{name}
		if c.Kind == CertWrongName {
			names = []string{noName}
		}
	}
	mods := []testpki.Mod{testpki.CommonName(c.CommonName)}
	issuer, now := a.inter, time.Now().Truncate(time.Second)
	switch c.Kind {
	case CertGood, CertWrongName, CertSelfSigned, CertNoIntermediate, CertHuge:
	case CertExpired:
		mods = append(mods, testpki.Valid(now.AddDate(0, 0, -30), now.AddDate(0, 0, -1)))
	case CertNotYetValid:
		mods = append(mods, testpki.Valid(now.AddDate(0, 0, 1), now.AddDate(0, 0, 30)))
	case CertUnknownCA:
		issuer = a.unknown
	case CertSHA1:
		mods = append(mods, testpki.Template(func(t *x509.Certificate) { t.SignatureAlgorithm = x509.ECDSAWithSHA1 }))
	case CertClientOnly:
		mods = append(mods, testpki.Template(func(t *x509.Certificate) {
			t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}))
	default:
		return nil, tls.Certificate{}, fmt.Errorf("lab: host %s: %v is unknown", name, c.Kind)
	}
	if c.Kind == CertSelfSigned {
		leaf := testpki.SelfSigned(names, mods...)
		return leaf, leaf.TLS(), nil
	}
	leaf := issuer.Leaf(names, mods...)
	presented := leaf.TLS()
	switch c.Kind {
	case CertNoIntermediate:
		presented.Certificate = presented.Certificate[:1]
	case CertHuge:
		junk := a.unknown.Cert.Raw
		for n := 0; n < hugeChain; n += len(junk) {
			presented.Certificate = append(presented.Certificate, junk)
		}
	}
	return leaf, presented, nil
}
