package config

import (
	"strings"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

// Domains is a set of domains. An entry "example.com" is that domain, ".example.com"
// every one below it. The nil set is empty. It is read-only and safe for concurrent
// use.
type Domains struct {
	exact, below map[string]bool
}

// Contains reports whether the domain, in any letter case and as U-labels or
// A-labels, is in the set. What is no domain, such as an address literal, is not.
func (d *Domains) Contains(domain string) bool {
	if d == nil {
		return false
	}
	name, err := hostname.Parse(domain)
	if err != nil {
		return false
	}
	if d.exact[name] {
		return true
	}
	for {
		i := strings.IndexByte(name, '.')
		if i < 0 {
			return false
		}
		name = name[i+1:]
		if d.below[name] {
			return true
		}
	}
}

// Len returns the number of entries.
func (d *Domains) Len() int {
	if d == nil {
		return 0
	}
	return len(d.exact) + len(d.below)
}
