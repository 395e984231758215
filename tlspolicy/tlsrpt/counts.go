package tlsrpt

import (
	"slices"
	"strings"
)

// maxField bounds a name or URI in a failure detail, in octets.
const maxField = 255

// domainCounts counts for one report domain and day.
type domainCounts struct {
	dirty    bool // since the last snapshot
	wanted   bool // there is a record
	unwanted bool // there is none: nothing is counted
	direct   bool
	many     bool
	details  int32
	sources  []string
	// What the policies and details were charged to the day.
	policyMemory, detailMemory int64

	policies []policyCounts
}

type policyCounts struct {
	given               *PolicyInfo // as the last session had it
	policy              *PolicyInfo // the same within bounds, which is what is written
	successes, failures uint64
	details             detailList
}

// addSource remembers the recipient domain behind a base domain, or without one
// that the domain is the recipients' own.
func (d *domainCounts) addSource(recipient string) {
	if recipient == "" {
		d.direct = true
		return
	}
	if d.many || slices.Contains(d.sources, recipient) {
		return
	}
	if len(d.sources) == maxSources {
		d.sources, d.many = nil, true
		return
	}
	d.sources = append(d.sources, strings.Clone(recipient))
}

// count counts one result.
func (d *domainCounts) count(info *dayInfo, s *Session, r *PolicyResult) {
	if r.Policy == nil || !r.Policy.Type.Known() {
		return
	}
	d.dirty = true
	p := d.policy(info, r.Policy)
	if r.Result == Success {
		p.successes++
		return
	}
	p.failures++
	key := DetailKey{Result: r.Result, Reason: cleanReason(r.Reason), Info: cleanField(r.Info)}
	if !key.Result.Known() {
		key.Result = ValidationFailure
	}
	if !key.Result.beforeConnection() {
		key.SendingIP, key.ReceivingIP = plainAddr(s.LocalIP), plainAddr(s.RemoteIP)
		key.ReceivingMX, key.ReceivingHelo = cleanField(s.MXHost), cleanField(s.Helo)
	}
	if n := p.details.find(&key); n != nil {
		*n++
		return
	}
	cost := key.memory()
	if d.details == maxDetails || info.detailMemory.Add(cost) > maxDetailMemory && d.details >= sureDetails {
		if d.details < maxDetails {
			info.detailMemory.Add(-cost)
		}
		key = key.folded()
		if n := p.details.find(&key); n != nil {
			*n++
		} else {
			p.details.add(key)
		}
		return
	}
	d.details++
	d.detailMemory += cost
	key.Reason, key.Info = strings.Clone(key.Reason), strings.Clone(key.Info)
	key.ReceivingMX, key.ReceivingHelo = strings.Clone(key.ReceivingMX), strings.Clone(key.ReceivingHelo)
	p.details.add(key)
}

// policy returns the counts of a policy, new ones if there are none.
func (d *domainCounts) policy(info *dayInfo, given *PolicyInfo) *policyCounts {
	for i := range d.policies {
		if d.policies[i].given == given {
			return &d.policies[i]
		}
	}
	for i := range d.policies {
		if p := &d.policies[i]; p.given.equal(given) {
			p.given = given
			return p
		}
	}
	policy := given
	if given.size() > 2*maxPolicyText || !given.plain() {
		policy = given.clone()
	}
	if len(d.policies) >= maxPolicies {
		return d.withoutText(given.Type)
	}
	cost := policy.memory()
	if d.policyMemory+cost > maxDomainPolicies {
		return d.withoutText(given.Type)
	}
	if info.policyMemory.Add(cost) > maxPolicyMemory {
		info.policyMemory.Add(-cost)
		return d.withoutText(given.Type)
	}
	d.policyMemory += cost
	d.policies = append(d.policies, policyCounts{given: given, policy: policy})
	return &d.policies[len(d.policies)-1]
}

// withoutText returns the counts of all policies of a type that came too late to be
// told apart.
func (d *domainCounts) withoutText(t PolicyType) *policyCounts {
	for i := range d.policies {
		if p := d.policies[i].policy; p.Type == t && p.Domain == "" {
			return &d.policies[i]
		}
	}
	folded := &PolicyInfo{Type: t} // the report domain becomes its domain
	d.policies = append(d.policies, policyCounts{given: folded, policy: folded})
	return &d.policies[len(d.policies)-1]
}

// snapshot returns a copy of what was counted.
func (d *domainCounts) snapshot(day Day, domain, writer string) *Snapshot {
	s := &Snapshot{Day: day, Domain: domain, Writer: writer, Direct: d.direct, Sources: slices.Sorted(slices.Values(d.sources)), ManySources: d.many,
		Policies: make([]PolicyCount, len(d.policies))}
	for i := range d.policies {
		p := &d.policies[i]
		policy := p.policy
		if policy.Domain == "" {
			policy = &PolicyInfo{Type: policy.Type, Domain: domain}
		}
		s.Policies[i] = PolicyCount{policy, p.successes, p.failures, p.details.counts()}
	}
	return s
}

// plain reports whether all texts of the policy are fit for a report and the domain
// is within bounds.
func (p *PolicyInfo) plain() bool {
	ok := func(s string) bool { return s != "" && validText(s) }
	return ok(p.Domain) && len(p.Domain) <= maxField &&
		!slices.ContainsFunc(p.Lines, func(s string) bool { return !ok(s) }) &&
		!slices.ContainsFunc(p.MXHosts, func(s string) bool { return !ok(s) })
}

// cleanField makes a text of the peer's fit for a report: UTF-8 without control
// characters, and not long.
func cleanField(s string) string {
	if len(s) <= maxField {
		clean := true
		for i := 0; i < len(s) && clean; i++ {
			clean = ' ' <= s[i] && s[i] <= '~'
		}
		if clean {
			return s
		}
	}
	return cut(printable(cut(s, 2*maxField)), maxField)
}
