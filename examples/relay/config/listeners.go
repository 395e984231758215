package config

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/smtpsec/smtpsec/certs"
	"github.com/smtpsec/smtpsec/smtpserver"
)

// maxListeners bounds the ports, each of which has a table of its own.
const maxListeners = 100

// bound is an address that something will listen on.
type bound struct {
	addr netip.AddrPort
	text string
	n    *node
}

// listeners reads the ports and compiles a host access table for each.
func (l *loader) listeners(t *table) {
	l.ports = map[string]*node{}
	sections := t.subs("listener")
	if len(sections) == 0 && !l.damaged && t.n.table["listener"] == nil {
		l.fail(1, "listener", "there is no [[listener]]: say where mail is taken in")
	}
	if len(sections) > maxListeners {
		sections[maxListeners].n.fail(l, "%d listeners, more than %d: further ones are not looked at", len(sections), maxListeners)
		sections = sections[:maxListeners]
	}
	for _, lt := range sections {
		l.listener(lt)
	}
	l.access(t)
	for i, lt := range sections {
		l.compile(lt, &l.c.Listeners[i])
		lt.done()
	}
	l.reachable()
}

// listener reads what a port has of its own.
func (l *loader) listener(t *table) {
	address, an := t.text("address")
	if an == nil {
		t.missing("address", "host:port, such as \"127.0.0.1:2525\" or \":25\"")
	} else {
		address = l.listen(an, address)
	}
	name, n := t.text("name")
	switch {
	case n == nil:
		t.missing("name", "a name for events and logs")
		name = address
	case name == "":
		n.fail(l, "is empty")
	case l.ports[name] != nil:
		n.fail(l, "another listener has the name %s, in line %d", show(name), l.ports[name].line)
	}
	if l.ports[name] == nil {
		l.ports[name] = t.n
	}
	o := smtpserver.Options{Name: name}
	if source, _ := l.assign(t, "certificate", certs.ListenerRole(name)); source != nil {
		o.Certificate = source
	}
	o.ImplicitTLS, _ = t.flag("implicit-tls")
	o.SessionTickets, _ = t.flag("session-tickets")
	o.MaxConns = max(t.limit("max-connections", maxLimit), 0)
	o.DNSTimeout = t.timeout("dns-timeout", false)
	o.EarlyTalker = max(t.timeout("early-talker", true), 0)
	o.CommandTimeout = t.timeout("command-timeout", true)
	o.HandshakeTimeout = t.timeout("handshake-timeout", true)
	o.DataTimeout = t.timeout("data-timeout", true)
	o.WriteTimeout = t.timeout("write-timeout", true)
	o.IdleTimeout = t.timeout("idle-timeout", true)
	o.MaxConnAge = max(t.timeout("max-connection-age", true), 0)
	l.c.Listeners = append(l.c.Listeners, Listener{Name: name, Address: address, Options: o})
}

// listen checks an address to listen on and that nothing else has it.
func (l *loader) listen(n *node, text string) string {
	host, port, ok := cutLast(text, ':')
	number, err := strconv.ParseUint(port, 10, 16)
	if !ok || err != nil {
		n.fail(l, "%s is no address: write host:port, such as \"127.0.0.1:2525\", \"[::1]:2525\" or \":25\"", show(text))
		return ""
	}
	addr := netip.IPv6Unspecified() // of all addresses, IPv4 too
	if host != "" {
		inner, bracketed := strings.CutPrefix(host, "[")
		inner = strings.TrimSuffix(inner, "]")
		if addr, err = netip.ParseAddr(inner); err != nil || addr.Is6() != bracketed {
			n.fail(l, "%s: %s is no IP address (IPv6 in brackets): names are not looked up here", show(text), show(host))
			return ""
		}
	}
	b := bound{netip.AddrPortFrom(addr.Unmap(), uint16(number)), text, n}
	for _, other := range l.bounds {
		if b.overlaps(other) {
			n.fail(l, "%s is taken by %s in line %d", show(text), show(other.text), other.n.line)
			break
		}
	}
	l.bounds = append(l.bounds, b)
	return text
}

// overlaps reports whether two addresses cannot be listened on at the same time. Port
// 0 is a free one.
func (b bound) overlaps(o bound) bool {
	if b.addr.Port() == 0 || b.addr.Port() != o.addr.Port() {
		return false
	}
	x, y := b.addr.Addr(), o.addr.Addr()
	if x == y {
		return true
	}
	all := netip.IPv6Unspecified()
	return x == all || y == all || (x.IsUnspecified() || y.IsUnspecified()) && x.Is4() == y.Is4()
}

// policyKeys are the keys of the fields that smtpserver complains about.
var policyKeys = map[string]string{
	"Access": "access", "TLS": "tls", "ClientCert": "client-certificate", "ClientCAs": "client-cas",
	"MinVersion": "min-version", "Reject": "reject", "Banner": "banner",
}

// compile makes the host access table of a listener out of the groups that count
// there.
func (l *loader) compile(t *table, dst *Listener) {
	defaults := l.defaults.p
	if dst.Options.Certificate != nil {
		defaults.Certificate = dst.Options.Certificate
	}
	var groups []smtpserver.SenderGroup
	byName := map[string]*group{}
	for _, g := range l.groups {
		if g.policy == nil || g.listeners != nil && !g.listeners[dst.Name] || byName[g.g.Name] != nil {
			continue
		}
		groups = append(groups, g.g)
		byName[g.g.Name] = g
		l.tlsPossible(t, g, dst)
	}
	if len(groups) == 0 && !l.damaged && len(l.groups) > 0 && !l.failed() {
		t.n.warn(l, "no group counts on listener %s: every client is reset", show(dst.Name))
	}
	compiled, err := smtpserver.Compile(groups, defaults)
	if err != nil {
		l.compileError(err, byName)
		return
	}
	dst.Options.Table = compiled
	for _, g := range compiled.Groups() {
		if g.Policy.Access != smtpserver.Accept && g.Policy.Access != smtpserver.Relay {
			continue
		}
		dst.MaxMessageBytes = max(dst.MaxMessageBytes, g.Policy.MaxMessageBytes)
		dst.MaxRecipients = max(dst.MaxRecipients, g.Policy.MaxRcptsPerMessage)
	}
	for _, f := range compiled.Findings() {
		g := byName[f.Group]
		if g == nil || f.Code == smtpserver.FindingNeedsAdapter { // the relay has the adapter
			continue
		}
		g.n.warn(l, "%s", f.String())
	}
}

// tlsPossible tells whether a group can have the TLS that its policy says, here.
func (l *loader) tlsPossible(t *table, g *group, dst *Listener) {
	access := or(g.policy.p.Access, l.defaults.p.Access)
	if access != smtpserver.Accept && access != smtpserver.Relay {
		return
	}
	setting := or(g.policy.p.TLS, l.defaults.p.TLS)
	no := setting == smtpserver.TLSNo || setting == smtpserver.TLSInherit
	if dst.Options.ImplicitTLS && no {
		g.n.table["policy"].fail(l, "listener %s begins with TLS, and policy %q has tls = \"no\": nobody in group %s could connect", show(dst.Name), g.g.Policy.Name, show(g.g.Name))
	}
	if !no && t.n.table["certificate"] == nil && g.policy.n.table["certificate"] == nil && !l.damaged {
		l.fail(t.n.line, t.n.at("certificate"), "is missing: group %s may use TLS on listener %s", show(g.g.Name), show(dst.Name))
	}
}

// compileError finds the lines of what smtpserver has to say.
func (l *loader) compileError(err error, groups map[string]*group) {
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	for _, err := range all {
		pe := (*smtpserver.PolicyError)(nil)
		if !errors.As(err, &pe) || groups[pe.Group] == nil {
			if !l.failed() {
				l.fail(1, "group", "%s", reason(err))
			}
			continue
		}
		key := policyKeys[pe.Field]
		if n := groups[pe.Group].policy.n.table[key]; n != nil {
			n.fail(l, "%s", pe.Problem)
		} else if n := l.defaults.n; n != nil && n.table[key] != nil {
			n.table[key].fail(l, "%s", pe.Problem)
		} else if !l.failed() {
			groups[pe.Group].n.fail(l, "policy %s: %s", pe.Field, pe.Problem)
		}
	}
}

// reachable tells whether those who may not relay can write to anybody, and that
// nobody is an open relay.
func (l *loader) reachable() {
	for _, g := range l.groups {
		if g.policy == nil {
			continue
		}
		switch or(g.policy.p.Access, l.defaults.p.Access) {
		case smtpserver.Relay:
			l.openRelay(g)
		case smtpserver.Accept:
			if l.c.Recipients.Len() == 0 && !l.damaged && !l.failed() {
				g.n.warn(l, "group %s may send to nobody: relay.recipient-domains is empty", show(g.g.Name))
			}
		}
	}
}
