package redisstore

import (
	"fmt"
	"strings"

	"github.com/smtpsec/smtpsec/mtasts"
)

// maxDomain is the longest domain that can have a policy, in octets: 253 less
// "_mta-sts." (RFC 1035 section 2.3.4).
const maxDomain = 244

// checkDomain refuses what is no normalised domain before a key is made of it. A
// domain has no brace, and so cannot move its keys to another slot of a Cluster.
func checkDomain(domain string) error {
	good := domain != "" && len(domain) <= maxDomain && domain[0] != '.'
	for i := 0; i < len(domain) && good; i++ {
		c := domain[i]
		good = c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.'
	}
	if !good {
		return fmt.Errorf("redisstore: %w: %.300q is not normalised", mtasts.ErrDomain, domain)
	}
	return nil
}

// The braces make a Cluster keep the keys of one domain together.

func (s *Store) key(domain string) string      { return s.prefix + "{" + domain + "}" }
func (s *Store) leaseKey(domain string) string { return s.key(domain) + ":lease" }
func (s *Store) asideKey(domain string) string { return s.key(domain) + ":corrupt" }

// pattern matches the keys of all entries, and no other keys of this package.
func (s *Store) pattern() string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `^`, `\^`).Replace(s.prefix) + "{*}"
}

// domain is the reverse of key. The error is about keys of others.
func (s *Store) domain(key string) (string, error) {
	domain, ok := strings.CutPrefix(key, s.prefix+"{")
	domain, closed := strings.CutSuffix(domain, "}")
	if !ok || !closed || checkDomain(domain) != nil {
		return "", fmt.Errorf("redisstore: key %.300q is not of an entry", key)
	}
	return domain, nil
}
