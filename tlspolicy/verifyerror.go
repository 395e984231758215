package tlspolicy

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"github.com/smtpsec/smtpsec/internal/certname"
	"github.com/smtpsec/smtpsec/internal/chainpath"
)

// maxNamesInText bounds how many of a peer's names an error text shows.
const maxNamesInText = 5

// VerifyError tells which check of a peer's certificate did not hold. It is a
// record of a finding: whether mail may be delivered all the same is for
// [Requirement.Decide] to say.
type VerifyError struct {
	Cause      Cause
	References []Reference // the names that were looked for; nil if the search did not get that far
	Presented  []string    // dNSNames, then common names of the certificate: the peer's own text
	// Err is the error underneath: of crypto/x509 for the chain, an
	// [x509.HostnameError] for a name, [ErrNoReference] or [ErrNoTrust].
	Err error
}

// Error returns the error as one line of text.
func (e *VerifyError) Error() string {
	switch e.Cause {
	case CauseChainUntrusted:
		return "tlspolicy: certificate chain not trusted: " + text(e.Err)
	case CauseChainExpired:
		return "tlspolicy: certificate outside its validity period, and nothing else wrong with the chain: " + text(e.Err)
	case CauseNameMismatch:
		if len(e.References) == 0 {
			return "tlspolicy: " + text(e.Err)
		}
		return "tlspolicy: certificate names " + quoteSome(e.Presented) + ", wanted " + wanted(e.References)
	case CauseExtraFailed:
		return "tlspolicy: certificate refused by an optional check: " + text(e.Err)
	}
	return "tlspolicy: certificate not checked: " + text(e.Err)
}

// Unwrap returns Err.
func (e *VerifyError) Unwrap() error { return e.Err }

func text(err error) string {
	if err == nil {
		return "no cause recorded"
	}
	return strings.TrimPrefix(err.Error(), "tlspolicy: ")
}

// chainError is the finding for a chain that could not be verified.
func chainError(chain []*x509.Certificate, err error) *VerifyError {
	e := &VerifyError{Cause: CauseChainUntrusted, Err: err}
	if len(chain) > 0 && chain[0] != nil {
		e.Presented = presentedNames(chain[0])
		if chainpath.LeafExpired(err, chain[0]) {
			e.Cause = CauseChainExpired
		}
	}
	return e
}

// nameError is the finding for a certificate without any of the names looked for.
func nameError(cert certificate, refs ...Reference) *VerifyError {
	refs = slices.DeleteFunc(refs, func(ref Reference) bool { return ref.Kind == ReferenceNone })
	e := &VerifyError{Cause: CauseNameMismatch, References: refs, Presented: presentedNames(cert.leaf), Err: ErrNoReference}
	if len(refs) > 0 {
		e.Err = x509.HostnameError{Certificate: cert.leaf, Host: refs[0].Name}
	}
	return e
}

// extraError is the finding for a failed optional check.
func extraError(cert certificate, err error) *VerifyError {
	return &VerifyError{Cause: CauseExtraFailed, Presented: presentedNames(cert.leaf), Err: err}
}

// presentedNames returns all dNSNames and common names.
func presentedNames(leaf *x509.Certificate) []string {
	names := slices.Clone(leaf.DNSNames)
	certname.CommonName(leaf, "", func(presented, _ string) bool {
		names = append(names, presented)
		return false
	})
	return names
}

func quoteSome(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	shown := names[:min(len(names), maxNamesInText)]
	var b strings.Builder
	for i, name := range shown {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%.80q", name)
	}
	if more := len(names) - len(shown); more > 0 {
		fmt.Fprintf(&b, " and %d more", more)
	}
	return b.String()
}

func wanted(refs []Reference) string {
	var b strings.Builder
	for i, ref := range refs {
		if i > 0 {
			b.WriteString(" or ")
		}
		fmt.Fprintf(&b, "%s %q", ref.Kind, ref.Name)
	}
	return b.String()
}
