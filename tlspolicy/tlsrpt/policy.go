package tlsrpt

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
)

// PolicyType is a policy type of a report (RFC 8460 section 4.4).
type PolicyType string

// The policy types of RFC 8460 section 4.4.
const (
	PolicySTS           PolicyType = "sts"             // MTA-STS, mode enforce or testing
	PolicyTLSA          PolicyType = "tlsa"            // DANE
	PolicyNoPolicyFound PolicyType = "no-policy-found" // neither
)

// Known reports whether RFC 8460 defines the type.
func (p PolicyType) Known() bool {
	return p == PolicySTS || p == PolicyTLSA || p == PolicyNoPolicyFound
}

// maxPolicyText is how much of a policy a report repeats, in octets: more than a
// policy file of MTA-STS may have (RFC 8461 section 3.3).
const maxPolicyText = 64 << 10

// PolicyInfo is a policy of a receiver as a report tells it. It is made once,
// when the policy is learned, shared by all sessions under the policy, and never
// changed: sessions with the same pointer are counted without another look.
type PolicyInfo struct {
	Type PolicyType
	// Domain is what the policy is about: the recipient domain for sts and
	// no-policy-found, the TLSA base domain for tlsa. In canonical form.
	Domain string
	// Lines are the lines of an MTA-STS policy as they were served, or the TLSA
	// records; empty if there is no policy or none was ever fetched.
	Lines []string
	// MXHosts are the mx patterns of an MTA-STS policy, or the mail host.
	MXHosts []string
}

// NewSTSPolicy returns an MTA-STS policy: the file as it was served, which may be
// empty if none could be fetched, and the patterns of the policy. Blank lines are
// left out, faulty ones are not: they are what the owner wants to see.
func NewSTSPolicy(domain string, served []byte, patterns []string) *PolicyInfo {
	p := &PolicyInfo{Type: PolicySTS, Domain: domain, MXHosts: clean(patterns)}
	served = bytes.TrimPrefix(served, []byte("\ufeff"))
	room := maxPolicyText
	for line := range bytes.SplitSeq(served, []byte("\n")) {
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		text := cut(cleanText(string(line)), room)
		if room -= len(text); text == "" {
			break
		}
		p.Lines = append(p.Lines, text)
	}
	return p
}

// TLSARecord is a TLSA record as plain values (RFC 6698 section 2.1).
type TLSARecord struct {
	Usage, Selector, MatchingType uint8
	Data                          []byte
}

// String returns the record as RFC 8460 section 4.4 wants it: the three numbers
// and the data in upper-case hexadecimal.
func (r TLSARecord) String() string {
	text := make([]byte, 0, 12+hex.EncodedLen(len(r.Data)))
	for _, n := range [...]uint8{r.Usage, r.Selector, r.MatchingType} {
		text = append(strconv.AppendUint(text, uint64(n), 10), ' ')
	}
	data := len(text)
	text = hex.AppendEncode(text, r.Data)
	return string(text[:data]) + strings.ToUpper(string(text[data:]))
}

// NewTLSAPolicy returns the policy that the TLSA records of a base domain are,
// for a mail host. Without records it is that of a host whose lookup failed. The
// order of the records does not matter.
func NewTLSAPolicy(baseDomain, mxHost string, records []TLSARecord) *PolicyInfo {
	p := &PolicyInfo{Type: PolicyTLSA, Domain: baseDomain, MXHosts: clean([]string{mxHost})}
	room := maxPolicyText
	for _, r := range records {
		text := r.String()
		if room -= len(text); room < 0 {
			break
		}
		p.Lines = append(p.Lines, text)
	}
	slices.Sort(p.Lines)
	return p
}

// NewNoPolicy returns what stands for a domain with neither MTA-STS nor DANE.
func NewNoPolicy(domain string) *PolicyInfo {
	return &PolicyInfo{Type: PolicyNoPolicyFound, Domain: domain}
}

// clean returns the texts as cleanText does, without empty ones.
func clean(list []string) []string {
	out := make([]string, 0, len(list))
	room := maxPolicyText
	for _, s := range list {
		s = cut(cleanText(s), room)
		if room -= len(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// stringMemory is what a string of a list takes besides its octets: its header, the
// room that the list has in advance, and what the allocator rounds up.
const stringMemory = 40

// memory is what the policy takes, in octets.
func (p *PolicyInfo) memory() int64 {
	return int64(p.size() + stringMemory*(len(p.Lines)+len(p.MXHosts)))
}

// size is how much text the policy has.
func (p *PolicyInfo) size() int {
	n := len(p.Domain)
	for _, s := range p.Lines {
		n += len(s)
	}
	for _, s := range p.MXHosts {
		n += len(s)
	}
	return n
}

// equal reports whether both are the same policy.
func (p *PolicyInfo) equal(q *PolicyInfo) bool {
	return p == q || p.Type == q.Type && p.Domain == q.Domain && slices.Equal(p.Lines, q.Lines) && slices.Equal(p.MXHosts, q.MXHosts)
}

// compare orders policies by type, domain, hosts and text.
func (p *PolicyInfo) compare(q *PolicyInfo) int {
	for _, c := range [...]int{
		strings.Compare(string(p.Type), string(q.Type)), strings.Compare(p.Domain, q.Domain),
		slices.Compare(p.MXHosts, q.MXHosts), slices.Compare(p.Lines, q.Lines),
	} {
		if c != 0 {
			return c
		}
	}
	return 0
}

// clone returns a copy that shares no memory with p, within the bounds of text
// and valid UTF-8 whoever made p.
func (p *PolicyInfo) clone() *PolicyInfo {
	c := &PolicyInfo{Type: p.Type, Domain: strings.Clone(p.Domain), Lines: clean(p.Lines), MXHosts: clean(p.MXHosts)}
	for _, list := range [...][]string{c.Lines, c.MXHosts} {
		for i := range list {
			list[i] = strings.Clone(list[i])
		}
	}
	return c
}
