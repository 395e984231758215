package smtpserver

import (
	"errors"
	"fmt"
	"strings"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

// AddressList is a set of envelope addresses. The nil list is empty. It is
// read-only and safe for concurrent use.
type AddressList struct {
	addresses map[address]struct{} // either half may be empty: any
	below     map[string]struct{}  // "@.example.com"
}

type address struct{ local, domain string }

// NewAddressList reads entries of these forms:
//
//	user@example.com    one address
//	user@               that local part at any domain
//	@example.com        everybody at that domain
//	@.example.com       everybody at any domain below it
//	@[192.0.2.1]        everybody at that address literal
//
// Local parts are compared exactly (RFC 5321 section 2.4), domains in lower case
// as A-labels. All entries that cannot be read are reported together.
func NewAddressList(entries ...string) (*AddressList, error) {
	l := &AddressList{addresses: map[address]struct{}{}, below: map[string]struct{}{}}
	var errs []error
	for i, e := range entries {
		if err := l.add(e); err != nil {
			errs = append(errs, fmt.Errorf("smtpserver: address list, entry %d (%q): %w", i, clip(e), err))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return l, nil
}

func (l *AddressList) add(entry string) error {
	at := strings.LastIndexByte(entry, '@')
	if at < 0 {
		return errors.New("no @")
	}
	local, domain := unquote(entry[:at]), entry[at+1:]
	if local == "" && domain == "" {
		return errors.New("neither a local part nor a domain")
	}
	if below, ok := strings.CutPrefix(domain, "."); ok {
		if local != "" {
			return errors.New("a domain with all below it stands alone: leave out what is before the @")
		}
		name, err := hostname.Parse(below)
		if err != nil {
			return err
		}
		l.below["."+name] = struct{}{}
		return nil
	}
	if domain != "" {
		canonical, ok := canonicalDomain(domain)
		if !ok {
			_, err := hostname.Parse(domain)
			return err
		}
		domain = canonical
	}
	l.addresses[address{local, domain}] = struct{}{}
	return nil
}

// Contains says whether the list has an envelope sender, given without angle
// brackets. The null sender is in no list.
func (l *AddressList) Contains(sender string) bool {
	if l == nil || sender == "" {
		return false
	}
	local, domain := sender, ""
	if at := strings.LastIndexByte(sender, '@'); at >= 0 {
		local, domain = sender[:at], sender[at+1:]
	}
	local = unquote(local)
	if canonical, ok := canonicalDomain(domain); ok {
		domain = canonical
	}
	for _, a := range [...]address{{local, domain}, {local, ""}, {"", domain}} {
		if _, ok := l.addresses[a]; ok && a != (address{}) {
			return true
		}
	}
	for i := range len(domain) {
		if domain[i] == '.' && i > 0 {
			if _, ok := l.below[domain[i:]]; ok {
				return true
			}
		}
	}
	return false
}

// canonicalDomain returns a domain in A-labels, or an address literal in brackets
// as net/netip writes it.
func canonicalDomain(domain string) (string, bool) {
	if strings.HasPrefix(domain, "[") && strings.HasSuffix(domain, "]") {
		if addr, ok := hostname.Literal(domain); ok {
			return "[" + addr.Unmap().String() + "]", true
		}
		return "", false
	}
	name, err := hostname.Parse(domain)
	return name, err == nil
}

// unquote returns what a quoted local part stands for: "user" in quotation marks is
// the same mailbox as user (RFC 5321 section 4.1.2).
func unquote(local string) string {
	if len(local) < 2 || local[0] != '"' || local[len(local)-1] != '"' {
		return local
	}
	inner := local[1 : len(local)-1]
	if !strings.ContainsRune(inner, '\\') {
		return inner
	}
	var b strings.Builder
	for i := 0; i < len(inner); i++ {
		if inner[i] == '\\' && i+1 < len(inner) {
			i++
		}
		b.WriteByte(inner[i])
	}
	return b.String()
}
