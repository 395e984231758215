package lab

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

// tlsaOwner is where the records of a mail host are (RFC 7672 section 2.2.3, with
// the host's own name as the TLSA base domain).
func (h *Host) tlsaOwner() string { return fmt.Sprintf("_%d._tcp.%s.", h.Port, h.Name) }

// tlsaLines returns the records for the host's present certificate in master-file
// form.
func (h *MailHost) tlsaLines(records []TLSA) ([]string, error) {
	var lines []string
	for _, t := range records {
		rdata, err := h.RData(t)
		if err != nil {
			return nil, err
		}
		lines = append(lines, h.spec.tlsaOwner()+" TLSA "+rdata)
	}
	return lines, nil
}

// RData returns t for the certificate that the host presents now, in presentation
// form: "3 1 1 " and hexadecimal digits. TLSAMatchTA of a self-signed certificate
// is an error.
func (h *MailHost) RData(t TLSA) (string, error) {
	h.mu.Lock()
	leaf := h.leaf
	h.mu.Unlock()
	key := sha256.Sum256(leaf.Cert.RawSubjectPublicKeyInfo)
	switch t {
	case TLSAMatch:
		return fmt.Sprintf("3 1 1 %x", key), nil
	case TLSAMatchTA:
		if leaf.Issuer == nil {
			return "", fmt.Errorf("lab: host %s: a self-signed certificate has no issuer for a 2 1 1 record", h.spec.Name)
		}
		return fmt.Sprintf("2 1 1 %x", sha256.Sum256(leaf.Issuer.Cert.RawSubjectPublicKeyInfo)), nil
	case TLSAMismatch:
		return fmt.Sprintf("3 1 1 %x", sha256.Sum256(key[:])), nil
	case TLSAUnknown:
		return fmt.Sprintf("3 1 9 %x", key), nil
	case TLSABadLength:
		return fmt.Sprintf("3 1 1 %x", key[:31]), nil
	case TLSAPKIX:
		return fmt.Sprintf("1 1 1 %x", key), nil
	}
	if len(strings.Fields(string(t))) < 4 {
		return "", fmt.Errorf("lab: host %s: TLSA %q is neither a known kind nor RDATA", h.spec.Name, t)
	}
	return string(t), nil
}
