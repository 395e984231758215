package tlspolicy

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/smtpsec/smtpsec/internal/certname"
	"github.com/smtpsec/smtpsec/internal/hostname"
)

// VerifyOptions change what the modes that look at the certificate accept. The
// zero value is the plain rule. None of them touches DANE or the MTA-STS check.
type VerifyOptions struct {
	// PTR lets Preferred (Verify) and Required (Verify) accept a common name that
	// equals a PTR name of the connected address. Reverse zones are rarely signed
	// and belong to whoever has the address, so this is weak.
	PTR bool
	// SecureMXOnly ignores the MX host and PTR names unless their Secure is set.
	// Without it a mode that accepts the MX host's name stops listening in and
	// misdirected mail, but not an attacker who forges MX records: he names a
	// host of his own, with a good certificate. For a message that demands TLS it
	// is always on; see [Settings.For].
	SecureMXOnly bool
	// FQDN demands that the common names, if there are any, and all dNSNames be
	// fully qualified, and that there be at least one name.
	FQDN bool
	// X509 holds further demands on the leaf.
	X509 X509Checks
}

// X509Checks are optional demands on the peer's own certificate, each off in the
// zero value.
type X509Checks struct {
	// Signature demands that the leaf be signed with one of Algorithms.
	Signature bool
	// Algorithms are those that Signature accepts. Nil means RSA (PKCS #1 and PSS)
	// and ECDSA with SHA-2, and Ed25519; an empty list that is not nil, none.
	Algorithms []x509.SignatureAlgorithm
	// ServerName demands that a dNSName or common name match the host connected
	// to, wildcards allowed.
	ServerName bool
	// Version demands X.509 version 3.
	Version bool
}

// extra runs the optional checks and returns the first failure. It does not
// allocate unless one fails.
func (o *VerifyOptions) extra(cert certificate, refs *References) error {
	if o.FQDN {
		if err := checkNames(cert.leaf); err != nil {
			return err
		}
	}
	if o.X509.Signature && !o.X509.allows(cert.leaf.SignatureAlgorithm) {
		return fmt.Errorf("signature algorithm %s is not among those allowed", cert.leaf.SignatureAlgorithm)
	}
	if o.X509.ServerName {
		_, ok := cert.san(refs.receiving)
		if !ok {
			_, ok = cert.commonName(refs.receiving, certname.Match)
		}
		if !ok {
			return fmt.Errorf("no name matches the host connected to, %q", refs.receiving.Name)
		}
	}
	if o.X509.Version && cert.leaf.Version != 3 {
		return fmt.Errorf("X.509 version %d instead of 3", cert.leaf.Version)
	}
	return nil
}

func (c *X509Checks) allows(algorithm x509.SignatureAlgorithm) bool {
	if c.Algorithms != nil {
		return slices.Contains(c.Algorithms, algorithm)
	}
	switch algorithm {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512,
		x509.PureEd25519:
		return true
	}
	return false
}

// checkNames returns nil if every common name and dNSName is fully qualified and
// there is one at least.
func checkNames(leaf *x509.Certificate) error {
	if cn, bad := certname.CommonName(leaf, "", notQualified); bad {
		return fmt.Errorf("common name: %w", hostname.CheckFQDN(cn))
	}
	for _, name := range leaf.DNSNames {
		if err := hostname.CheckFQDN(name); err != nil {
			return fmt.Errorf("dNSName: %w", err)
		}
	}
	if _, found := certname.CommonName(leaf, "", anyName); !found && len(leaf.DNSNames) == 0 {
		return errors.New("neither a dNSName nor a common name")
	}
	return nil
}

func notQualified(presented, _ string) bool { return hostname.CheckFQDN(presented) != nil }

func anyName(string, string) bool { return true }
