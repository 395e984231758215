package certs

import (
	"crypto/x509"
	"iter"
	"strings"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

// CheckFQDN returns nil if the name is a fully qualified domain name, else a
// *FQDNError with the rule that it breaks:
//
//  1. ASCII, 1 to 253 octets, no final dot. Internationalized names are written
//     as A-labels (xn--...).
//  2. At least two labels of 1 to 63 letters, digits and hyphens, no hyphen at
//     either end of a label. An underscore is none of these.
//  3. The last label is not all digits, which rules out IPv4 addresses.
//  4. A wildcard is the whole left-most label "*" before at least two more labels.
//
// It does not allocate for a name that passes.
func CheckFQDN(name string) error {
	if err := hostname.CheckFQDN(name); err != nil {
		return &FQDNError{Names: []FQDNFailure{fqdnFailure("name", name, err)}}
	}
	return nil
}

// maxFQDNFailures bounds what is listed of a certificate that a stranger wrote.
const maxFQDNFailures = 1000

// CheckCertificateFQDN returns nil if the certificate has a common name or a
// dNSName, and every one of them passes CheckFQDN. Else the *FQDNError lists those
// that do not, a thousand at the most; the list is empty if there is no name at all.
// It does not allocate for a certificate that passes.
func CheckCertificateFQDN(cert *x509.Certificate) error {
	if fqdnPasses(cert) {
		return nil
	}
	failed := &FQDNError{}
	check := func(field, name string) {
		if len(failed.Names) == maxFQDNFailures {
			return
		}
		if err := hostname.CheckFQDN(name); err != nil {
			failed.Names = append(failed.Names, fqdnFailure(field, name, err))
		}
	}
	for cn := range commonNames(cert) {
		check("CN", cn)
	}
	for _, name := range cert.DNSNames {
		check("dNSName", name)
	}
	return failed
}

func fqdnPasses(cert *x509.Certificate) bool {
	found := len(cert.DNSNames) > 0
	for _, name := range cert.DNSNames {
		if hostname.CheckFQDN(name) != nil {
			return false
		}
	}
	for cn := range commonNames(cert) {
		found = true
		if hostname.CheckFQDN(cn) != nil {
			return false
		}
	}
	return found
}

// commonNames goes through every common name of the subject, in order; a subject
// may have several.
func commonNames(cert *x509.Certificate) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range cert.Subject.Names {
			t := cert.Subject.Names[i].Type
			if len(t) != 4 || t[0] != 2 || t[1] != 5 || t[2] != 4 || t[3] != 3 {
				continue
			}
			if cn, ok := cert.Subject.Names[i].Value.(string); ok && !yield(cn) {
				return
			}
		}
	}
}

func fqdnFailure(field, name string, err error) FQDNFailure {
	return FQDNFailure{Field: field, Name: name, Rule: fqdnRule(name), Err: err}
}

// fqdnRule says which rule a name breaks that is known to break one: the first
// in the order of their numbers, except that a star is always a matter of rule 4.
func fqdnRule(name string) int {
	if name == "" || len(name) > hostname.MaxName || strings.HasSuffix(name, ".") {
		return 1
	}
	for i := 0; i < len(name); i++ {
		if name[i] >= 0x80 {
			return 1
		}
	}
	rest, wild := strings.CutPrefix(name, "*.")
	if strings.Contains(rest, "*") || wild && !strings.Contains(rest, ".") {
		return 4
	}
	// A name that passes as soon as its last label is a letter has a last label
	// that is all digits, or one that breaks rule 2 by itself.
	dot := strings.LastIndexByte(rest, '.')
	last := rest[dot+1:]
	if dot >= 0 && len(last) <= hostname.MaxLabel && strings.Trim(last, "0123456789") == "" && last != "" &&
		hostname.CheckFQDN(rest[:dot+1]+"a") == nil {
		return 3
	}
	return 2
}

// inField names the field in a FQDNError of CheckFQDN.
func inField(err error, field string) error {
	if failed, ok := err.(*FQDNError); ok {
		for i := range failed.Names {
			failed.Names[i].Field = field
		}
	}
	return err
}
