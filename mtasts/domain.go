package mtasts

import (
	"errors"
	"strings"
)

// maxDomain is the longest policy domain in octets: RFC 1035 section 2.3.4
// leaves 253, and "_mta-sts." must fit before it.
const maxDomain = 253 - len("_mta-sts.")

// normalDomain brings a policy domain into the form in which it is asked for,
// stored and compared: A-labels, lower case, no final dot. What could not be a
// mail domain is refused here, before any name, URL or key is made of it.
// Without work to do it does not allocate.
func normalDomain(domain string) (string, error) {
	d := strings.TrimSuffix(domain, ".")
	if equalPlain(d, d) && d[0] != '.' && !numericTLD(d) {
		return d, nil // at a glance, as nearly always
	}
	if len(d) > 4*maxDomain { // no U-label takes more octets than this as UTF-8
		return "", domainError(domain, "too long")
	}
	if !isASCII(d) {
		converted, ok := toALabels(d)
		if !ok {
			return "", domainError(domain, "not a valid internationalized name")
		}
		d = converted
	}
	if len(d) > maxDomain {
		return "", domainError(domain, "longer than 244 octets")
	}
	if !validName(d, false) {
		return "", domainError(domain, "labels must be 1 to 63 letters, digits and inner hyphens")
	}
	if numericTLD(d) {
		return "", domainError(domain, "an address is not a domain")
	}
	return lowerASCII(d), nil
}

func domainError(domain, problem string) error {
	return &Error{Op: opDomain, Domain: domain, Reason: reasonDomain, Err: errors.New(problem)}
}
