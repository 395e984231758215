// Package chainpath finds the path from a peer's certificate to a root, as trust
// lists need it: with crypto/x509, but so that "expired" means that nothing else
// is wrong, and with a choice among several paths that does not depend on the
// order in which the peer sends.
//
// Names are not compared here.
package chainpath

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/smtpsec/smtpsec/internal/certname"
)

// ErrNeverValid says that the leaf's validity ends before it begins, so that
// nothing at all could be verified.
var ErrNeverValid = errors.New("the validity of the certificate ends before it begins")

// Options say what a path must be like.
type Options struct {
	Roots *x509.CertPool // nil: the operating system's
	Usage x509.ExtKeyUsage
	Now   time.Time
	// Accept, unless nil, refuses a path by returning an error. Paths that it
	// refuses do not exist; its error is returned if there is no other.
	Accept func(path []*x509.Certificate) error
}

// Verify returns a path from chain[0] to one of the roots. The rest of chain, in
// any order, are candidates for it. Of several paths one without name constraints
// is preferred, since those rule out the common name, then the shortest.
//
// An x509.CertificateInvalidError with reason Expired on the leaf says that its
// dates are the only defect: crypto/x509 looks at them before it looks for a path,
// so such a chain is verified once more at a moment inside them. Other errors are
// those of crypto/x509 and Accept, and [ErrNeverValid].
func Verify(chain []*x509.Certificate, o Options) ([]*x509.Certificate, error) {
	leaf := chain[0]
	opts := x509.VerifyOptions{
		Roots:         o.Roots,
		Intermediates: x509.NewCertPool(),
		// Validity has whole seconds and includes both ends (RFC 5280 section
		// 4.1.2.5), so a fraction of a second must not end it early.
		CurrentTime: o.Now.Truncate(time.Second),
		KeyUsages:   []x509.ExtKeyUsage{o.Usage},
		// DNSName stays empty: x509 takes that for success, and knows neither
		// the common name nor the rules of those who ask.
	}
	for _, cert := range chain[1:] {
		opts.Intermediates.AddCert(cert)
	}
	paths, err := o.paths(leaf, opts)
	if LeafExpired(err, leaf) {
		err = o.besidesDates(leaf, opts, err)
	}
	if err != nil {
		return nil, err
	}
	return slices.MinFunc(paths, compare), nil
}

// paths returns what crypto/x509 finds and Accept lets pass.
func (o *Options) paths(leaf *x509.Certificate, opts x509.VerifyOptions) ([][]*x509.Certificate, error) {
	paths, err := leaf.Verify(opts)
	if err != nil || o.Accept == nil {
		return paths, err
	}
	var refusal error
	paths = slices.DeleteFunc(paths, func(path []*x509.Certificate) bool {
		err := o.Accept(path)
		if err != nil {
			refusal = err
		}
		return err != nil
	})
	if len(paths) == 0 {
		return nil, errors.Join(refusal, x509.UnknownAuthorityError{Cert: leaf})
	}
	return paths, nil
}

// LeafExpired reports whether err says that now is outside the validity of the
// leaf itself.
func LeafExpired(err error, leaf *x509.Certificate) bool {
	var invalid x509.CertificateInvalidError
	return errors.As(err, &invalid) && invalid.Reason == x509.Expired && leaf.Equal(invalid.Cert)
}

// besidesDates finds out what else is wrong with a chain whose leaf is outside its
// validity. It returns expired if nothing is. It verifies at the end of the leaf's
// validity that is nearer to now; of the paths found then, one must consist of
// certificates that are valid at the real now.
func (o *Options) besidesDates(leaf *x509.Certificate, opts x509.VerifyOptions, expired error) error {
	now := opts.CurrentTime
	if !now.Before(leaf.NotBefore) && !now.After(leaf.NotAfter) {
		// The verifier of macOS names the leaf whichever certificate it means.
		return fmt.Errorf("a certificate above the leaf is outside its validity: %v", expired)
	}
	opts.CurrentTime = leaf.NotAfter
	if now.Before(leaf.NotBefore) {
		opts.CurrentTime = leaf.NotBefore
	}
	paths, err := o.paths(leaf, opts)
	if LeafExpired(err, leaf) {
		return fmt.Errorf("%w: from %s to %s", ErrNeverValid, leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	if err != nil {
		return err
	}
	for _, path := range paths {
		invalid := slices.IndexFunc(path[1:], func(cert *x509.Certificate) bool {
			return now.Before(cert.NotBefore) || now.After(cert.NotAfter)
		})
		if invalid < 0 {
			return expired
		}
		err = x509.CertificateInvalidError{
			Cert:   path[1+invalid],
			Reason: x509.Expired,
			Detail: "and so is the certificate that it was issued to",
		}
	}
	return err
}

// compare orders paths by preference.
func compare(a, b []*x509.Certificate) int {
	constrained := func(path []*x509.Certificate) int {
		if slices.ContainsFunc(path, certname.HasNameConstraints) {
			return 1
		}
		return 0
	}
	if d := constrained(a) - constrained(b); d != 0 {
		return d
	}
	return len(a) - len(b)
}

// Validity returns the latest start and the earliest end of a path.
func Validity(path []*x509.Certificate) (notBefore, notAfter time.Time) {
	notBefore, notAfter = path[0].NotBefore, path[0].NotAfter
	for _, cert := range path[1:] {
		if cert.NotBefore.After(notBefore) {
			notBefore = cert.NotBefore
		}
		if cert.NotAfter.Before(notAfter) {
			notAfter = cert.NotAfter
		}
	}
	return notBefore, notAfter
}
