package smtpserver

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Table is a compiled host access table: sender groups in order, of which the first
// that an entry of matches a peer decides. It is immutable and safe for concurrent
// use.
type Table struct {
	groups   []*Group // those with access Continue are nil
	findings []Finding

	v4    ipv4Index
	v6    ipv6Index
	hosts hostIndex

	all        int32    // the first group with ALL
	unverified [3]int32 // the first group with each failure of the host name
	firstHost  int32    // the first group for which a host name matters
}

// none stands for no group: it lies behind every other.
const none = int32(1<<31 - 1)

// MaxGroups bounds the sender groups of a table.
const MaxGroups = 1 << 20

// Compile makes a Table of sender groups in order. What a policy leaves unset comes
// from defaults, and behind those from the values that Policy names.
//
// Everything that is wrong is reported at once, as *EntryError and *PolicyError
// joined; there is no table then. What is legal but unwise is in Findings.
//
// Give the last group the entry ALL: a peer that nothing matches is treated as
// TCPRefuse.
func Compile(groups []SenderGroup, defaults Policy) (*Table, error) {
	c := compiler{table: &Table{all: none, unverified: [3]int32{none, none, none}, firstHost: none}}
	if len(groups) > MaxGroups {
		return nil, &PolicyError{Field: "groups", Problem: fmt.Sprintf("%d sender groups, more than %d", len(groups), MaxGroups)}
	}
	names := make(map[string]bool, len(groups))
	for i, g := range groups {
		switch {
		case g.Name == "":
			c.fail(&PolicyError{Group: fmt.Sprintf("#%d", i), Field: "Name", Problem: "empty"})
		case names[g.Name]:
			c.fail(&PolicyError{Group: g.Name, Field: "Name", Problem: "another group has it"})
		}
		names[g.Name] = true
		c.add(int32(i), g, defaults)
	}
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	c.unreachable()
	t := c.table
	t.v4, t.v6 = newIPv4Index(c.v4), newIPv6Index(c.v6)
	t.findings = c.findings
	return t, nil
}

// compiler gathers the entries of all groups.
type compiler struct {
	table    *Table
	v4, v6   []span
	findings []Finding
	errs     []error
}

func (c *compiler) fail(err error) { c.errs = append(c.errs, err) }

func (c *compiler) find(code FindingCode, group, format string, args ...any) {
	c.findings = append(c.findings, Finding{Code: code, Group: group, Detail: fmt.Sprintf(format, args...)})
}

// add compiles one group. Its entries are read also when it does not count, so that
// a mistake does not wait for the day on which Continue is taken out.
func (c *compiler) add(i int32, g SenderGroup, defaults Policy) {
	policy, problems := g.Policy.settle(g.Name, defaults)
	for _, p := range problems {
		c.fail(p)
	}
	if g.Unverified&^unverifiedAll != 0 {
		c.fail(&PolicyError{Group: g.Name, Field: "Unverified", Problem: fmt.Sprintf("no such condition: %#x", g.Unverified)})
	}
	senders := c.senders(g)
	if policy.Access == Continue {
		c.table.groups = append(c.table.groups, nil)
		return
	}
	c.table.groups = append(c.table.groups, &Group{Name: g.Name, Index: int(i), Policy: policy})
	for _, s := range senders {
		c.enter(i, s)
	}
	for bit := range c.table.unverified {
		if g.Unverified&(1<<bit) != 0 {
			c.table.unverified[bit] = min(c.table.unverified[bit], i)
			c.table.firstHost = min(c.table.firstHost, i)
		}
	}
	c.judge(g.Name, policy, senders)
}

// senders reads the entries of a group, without those that stand there twice.
func (c *compiler) senders(g SenderGroup) []Sender {
	list := make([]Sender, 0, len(g.Senders))
	seen := make(map[Sender]struct{}, len(g.Senders))
	for i, text := range g.Senders {
		s, err := ParseSender(text)
		if err != nil {
			c.fail(&EntryError{Group: g.Name, Index: i, Text: text, Err: err})
			continue
		}
		if _, ok := seen[s]; ok {
			c.find(FindingDuplicate, g.Name, "entry %d (%q) stands there already", i, clip(text))
			continue
		}
		seen[s] = struct{}{}
		list = append(list, s)
	}
	return list
}

// enter puts an entry of group i into the indexes.
func (c *compiler) enter(i int32, s Sender) {
	switch s.kind {
	case senderAll:
		c.table.all = min(c.table.all, i)
	case senderHost:
		c.table.hosts.add(s.host, i)
		c.table.firstHost = min(c.table.firstHost, i)
	case senderRange:
		if s.lo.Is4() {
			c.v4 = append(c.v4, span{numberOf(s.lo), numberOf(s.hi), i})
		} else {
			c.v6 = append(c.v6, span{numberOf(s.lo), numberOf(s.hi), i})
		}
	case senderGroup:
		lo, hi := numberOf(s.lo), numberOf(s.hi)
		for step := groupStep(lo, hi); ; lo = lo.plus(step) {
			c.v6 = append(c.v6, span{lo, lo, i})
			if lo == hi {
				break
			}
		}
	}
}

// judge looks for settings that are legal and unwise.
func (c *compiler) judge(name string, p *Policy, senders []Sender) {
	if p.TLS == TLSRequired && p.Access == Accept && slices.Contains(senders, Sender{kind: senderAll}) {
		c.find(FindingRequiredOnPublic, name, "TLS is required of everybody: a publicly referenced server must not do that (RFC 3207 section 4)")
	}
	if p.Access == Relay && slices.ContainsFunc(senders, func(s Sender) bool { return s.kind == senderHost }) {
		c.find(FindingRelayByName, name, "host names decide who may relay, and DNS answers can be forged: name addresses")
	}
	if p.TLSRequiredFrom != nil && p.TLS == TLSPreferred {
		c.find(FindingNeedsAdapter, name, "TLSRequiredFrom is enforced inside the server: attach an adapter such as smtpserver/gosmtp")
	}
	if p.BareNewline == On {
		c.find(FindingBareNewline, name, "bare CR and LF pass: peers of this group can smuggle messages past servers that end lines at LF")
	}
}

// unreachable reports the groups behind ALL.
func (c *compiler) unreachable() {
	all := c.table.all
	if all == none {
		return
	}
	for _, g := range c.table.groups[all+1:] {
		if g != nil {
			c.find(FindingUnreachable, g.Name, "group %q before it has ALL: nobody comes here", c.table.groups[all].Name)
		}
	}
}

// Findings returns what is legal in the table but unwise.
func (t *Table) Findings() []Finding { return slices.Clone(t.findings) }

// Groups returns the sender groups that count, in order.
func (t *Table) Groups() []*Group {
	return slices.DeleteFunc(slices.Clone(t.groups), func(g *Group) bool { return g == nil })
}

// Lookup returns the group of a peer as far as its address decides, nil if there is
// none. needHost is true if the peer's host name could lead to an earlier group:
// then ask for the name and call LookupHost. The zero Addr stands for a peer
// without an IP address, which only ALL matches. Lookup does not allocate. In a
// Table that Compile did not make nobody has a group.
func (t *Table) Lookup(peer netip.Addr) (g *Group, needHost bool) {
	if t.empty() {
		return nil, false
	}
	i := t.byAddr(peer)
	return t.group(i), t.firstHost < i
}

// LookupHost returns the group of a peer whose host name has been looked up, nil if
// there is none. Names are compared in lower case and without a final dot; those
// longer than 255 octets match nothing. LookupHost does not allocate.
func (t *Table) LookupHost(peer netip.Addr, host Host) *Group {
	if t.empty() {
		return nil
	}
	i := t.byAddr(peer)
	switch {
	case host.Status == HostVerified:
		for _, name := range host.Names {
			i = min(i, t.hosts.lookup(name))
		}
	case host.Status.mask() != 0:
		i = min(i, t.unverified[host.Status-NoPTR])
	}
	return t.group(i)
}

func (t *Table) empty() bool { return t == nil || len(t.groups) == 0 }

func (t *Table) group(i int32) *Group {
	if i == none {
		return nil
	}
	return t.groups[i]
}

// byAddr returns the first group that the address alone leads to. Mapped addresses
// are those of IPv4, zones do not count.
func (t *Table) byAddr(peer netip.Addr) int32 {
	i := t.all
	switch peer = peer.Unmap(); {
	case peer.Is4():
		i = min(i, t.v4.lookup(peer))
	case peer.Is6():
		i = min(i, t.v6.lookup(peer))
	}
	return i
}
