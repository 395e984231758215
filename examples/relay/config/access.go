package config

import (
	"crypto/tls"
	"errors"
	"strings"

	"github.com/smtpsec/smtpsec/examples/relay/spool"
	"github.com/smtpsec/smtpsec/smtpserver"
)

// policy is a mail flow policy of the file.
type policy struct {
	n    *node
	p    smtpserver.Policy
	used bool
}

// group is a sender group of the file.
type group struct {
	n         *node
	g         smtpserver.SenderGroup
	policy    *policy
	listeners map[string]bool // nil: all
}

var (
	accesses = []choice[smtpserver.Access]{
		{"relay", smtpserver.Relay}, {"accept", smtpserver.Accept}, {"reject", smtpserver.Reject},
		{"tcp-refuse", smtpserver.TCPRefuse}, {"continue", smtpserver.Continue},
	}
	tlsSettings = []choice[smtpserver.TLS]{
		{"no", smtpserver.TLSNo}, {"preferred", smtpserver.TLSPreferred}, {"required", smtpserver.TLSRequired},
	}
	clientCerts = []choice[smtpserver.ClientCert]{
		{"off", smtpserver.ClientCertOff}, {"if-given", smtpserver.ClientCertIfGiven}, {"required", smtpserver.ClientCertRequired},
	}
	versions = []choice[uint16]{
		{"1.0", tls.VersionTLS10}, {"1.1", tls.VersionTLS11}, {"1.2", tls.VersionTLS12}, {"1.3", tls.VersionTLS13},
	}
	unverified = []choice[smtpserver.UnverifiedMask]{
		{"no-ptr", smtpserver.UnverifiedNoPTR}, {"temp-fail", smtpserver.UnverifiedTempFail}, {"mismatch", smtpserver.UnverifiedMismatch},
	}
)

// maxLimit bounds the limits of a policy that are counts.
const maxLimit = 1 << 30

// maxMessage bounds max-message-size.
const maxMessage = 1 << 40

// access reads the policies, then the groups that use them.
func (l *loader) access(t *table) {
	l.defaults = l.policy(t.sub("policy-defaults"), true)
	l.policies = map[string]*policy{}
	for _, n := range t.sub("policy").all(kindTable) {
		p := l.policy(&table{l: l, n: n}, false)
		p.p.Name = n.name
		l.policies[n.name] = p
		l.consistent(p)
	}
	names := map[string]*node{}
	for _, gt := range t.subs("group") {
		l.groups = append(l.groups, l.group(gt, names))
	}
	if len(l.groups) == 0 && !l.damaged {
		l.fail(1, "group", "there is no [[group]]: say who may send mail to this relay")
	}
	for _, p := range l.policies {
		if !p.used && !l.damaged {
			p.n.warn(l, "no [[group]] uses this policy")
		}
	}
}

// policy reads a mail flow policy, or what they have in common.
func (l *loader) policy(t *table, defaults bool) *policy {
	p := &policy{}
	if t != nil {
		p.n = t.n
	}
	s := &p.p
	s.Access, _ = pick(t, "access", smtpserver.AccessInherit, accesses)
	s.TLS, _ = pick(t, "tls", smtpserver.TLSInherit, tlsSettings)
	s.MinVersion, _ = pick(t, "min-version", 0, versions)
	if n := t.get("cipher-suites", kindArray); n != nil {
		s.CipherSuites = l.suites(n)
	}
	if !defaults {
		if source, _ := l.assign(t, "certificate", "policy:"+t.n.name); source != nil {
			s.Certificate = source
		}
	}
	s.ClientCert, _ = pick(t, "client-certificate", smtpserver.ClientCertInherit, clientCerts)
	cas, _ := t.texts("client-cas")
	s.ClientCAs = l.pool(cas)
	if from, n := t.texts("tls-required-from"); n != nil {
		s.TLSRequiredFrom = l.addressList(from)
	}
	if text, n := t.text("banner"); n != nil {
		s.Banner = &smtpserver.Banner{Host: l.c.Hostname, Text: text}
	}
	if on, n := t.flag("bare-newline"); n != nil {
		s.BareNewline = smtpserver.Off
		if on {
			s.BareNewline = smtpserver.On
		}
	}
	if r := t.sub("reject"); r != nil {
		s.Reject = &smtpserver.Rejection{Code: int(r.number("code", 0, 400, 599))}
		s.Reject.Text, _ = r.text("text")
		s.Reject.Delayed, _ = r.flag("delayed")
		r.done()
	}
	s.MaxConnsPerIP = t.limit("max-connections", maxLimit)
	s.MaxMessagesPerConn = t.limit("max-messages", maxLimit)
	s.MaxRcptsPerHour = t.limit("max-recipients-per-hour", maxLimit)
	s.MaxRcptsPerMessage = int(t.number("max-recipients", 0, 1, spool.MaxRecipients))
	s.MaxMessageBytes = t.size("max-message-size", 0, 1024, maxMessage)
	t.done()
	return p
}

// suites reads names of cipher suites.
func (l *loader) suites(n *node) []uint16 {
	byName := map[string]*tls.CipherSuite{}
	for _, c := range tls.CipherSuites() {
		byName[c.Name] = c
	}
	for _, c := range tls.InsecureCipherSuites() {
		byName[c.Name] = c
	}
	var ids []uint16
	for _, item := range n.texts(l) {
		c := byName[item.text]
		switch {
		case c == nil:
			item.fail(l, "crypto/tls has no cipher suite %s%s", show(item.text), didYouMean(item.text, byName))
		case c.SupportedVersions[0] == tls.VersionTLS13:
			item.fail(l, "the cipher suites of TLS 1.3 are all in use and cannot be chosen: leave out %s", item.text)
		default:
			if c.Insecure {
				item.warn(l, "%s is not secure", item.text)
			}
			ids = append(ids, c.ID)
		}
	}
	if len(n.items) == 0 {
		n.fail(l, "is empty: name cipher suites, or take the key out")
	}
	return ids
}

// addressList reads envelope senders, each by itself so that each has its line.
func (l *loader) addressList(items []*node) *smtpserver.AddressList {
	var good []string
	for _, item := range items {
		if _, err := smtpserver.NewAddressList(item.text); err != nil {
			inner := err
			for errors.Unwrap(inner) != nil {
				inner = errors.Unwrap(inner)
			}
			if j, ok := inner.(interface{ Unwrap() []error }); ok {
				inner = j.Unwrap()[0]
				for errors.Unwrap(inner) != nil {
					inner = errors.Unwrap(inner)
				}
			}
			item.fail(l, "%s is no sender: %s", show(item.text), reason(inner))
			continue
		}
		good = append(good, item.text)
	}
	addresses, err := smtpserver.NewAddressList(good...)
	if err != nil {
		return nil
	}
	return addresses
}

// consistent tells of settings of a policy that exclude each other. What it has from
// the defaults is not its fault.
func (l *loader) consistent(p *policy) {
	at := func(key string) *node { return p.n.table[key] }
	d := l.defaults.p
	access, setting := or(p.p.Access, d.Access), or(p.p.TLS, d.TLS)
	client := or(p.p.ClientCert, d.ClientCert)
	if access == smtpserver.AccessInherit && at("access") == nil && !l.damaged {
		l.fail(p.n.line, p.n.at("access"), "is missing, and policy-defaults has none: write one of %s", words(accesses))
	}
	if setting == smtpserver.TLSNo || setting == smtpserver.TLSInherit {
		for _, key := range []string{"certificate", "cipher-suites", "min-version", "tls-required-from"} {
			if n := at(key); n != nil {
				n.fail(l, "contradicts tls = \"no\", which this policy has: choose another tls, or take it out")
			}
		}
		if n := at("client-certificate"); n != nil && p.p.ClientCert > smtpserver.ClientCertOff {
			n.fail(l, "contradicts tls = \"no\", which this policy has: there is no client certificate without TLS")
		}
	} else if n := at("client-certificate"); n != nil && client == smtpserver.ClientCertRequired && setting != smtpserver.TLSRequired {
		n.warn(l, "clients without TLS are not asked for a certificate: tls = \"required\" asks all")
	}
	asks := client == smtpserver.ClientCertIfGiven || client == smtpserver.ClientCertRequired
	if n := at("client-cas"); n != nil && !asks {
		n.fail(l, "nobody is asked for a certificate: write client-certificate = \"if-given\" or \"required\"")
	}
	if n := at("client-certificate"); n != nil && asks && at("client-cas") == nil && d.ClientCAs == nil {
		n.fail(l, "says nothing of who may sign client certificates: add client-cas = [\"file.pem\"]")
	}
	if n := at("reject"); n != nil && access != smtpserver.Reject && access != smtpserver.AccessInherit {
		n.fail(l, "has no effect with access = %q: write access = \"reject\", or take it out", strings.ToLower(wordOf(accesses, access)))
	}
}

func words[T any](choices []choice[T]) string {
	var all []string
	for _, c := range choices {
		all = append(all, c.word)
	}
	return list(all)
}

func wordOf[T comparable](choices []choice[T], v T) string {
	for _, c := range choices {
		if c.value == v {
			return c.word
		}
	}
	return ""
}

// or returns a, or b if a is zero.
func or[T comparable](a, b T) T {
	var zero T
	if a != zero {
		return a
	}
	return b
}

// group reads a sender group.
func (l *loader) group(t *table, names map[string]*node) *group {
	g := &group{n: t.n}
	name, n := t.text("name")
	switch {
	case n == nil:
		t.missing("name", "a name for events and logs")
	case name == "":
		n.fail(l, "is empty")
	case names[name] != nil:
		n.fail(l, "another group has the name %s, in line %d", show(name), names[name].line)
	default:
		names[name] = n
	}
	g.g.Name = name
	senders, sn := t.texts("senders")
	for _, item := range senders {
		if _, err := smtpserver.ParseSender(item.text); err != nil {
			item.fail(l, "group %s, entry %s: %s", show(name), show(item.text), reason(err))
			continue
		}
		g.g.Senders = append(g.g.Senders, item.text)
	}
	masks, mn := t.texts("unverified")
	for _, item := range masks {
		g.g.Unverified |= pickWord(l, item, 0, unverified)
	}
	if !l.damaged && len(senders) == 0 && len(masks) == 0 && (sn == nil || sn.kind == kindArray) && mn == nil {
		t.n.warn(l, "group %s has no senders: it stands for nobody", show(name))
	}
	if ports, n := t.texts("listeners"); n != nil {
		g.listeners = map[string]bool{}
		for _, item := range ports {
			g.listeners[item.text] = true
			if l.ports[item.text] == nil && !l.damaged {
				item.fail(l, "there is no listener %s%s", show(item.text), didYouMean(item.text, l.ports))
			}
		}
	}
	l.groupPolicy(t, g)
	t.done()
	return g
}

// groupPolicy finds the policy that a group names.
func (l *loader) groupPolicy(t *table, g *group) {
	name, n := t.text("policy")
	if n == nil {
		t.missing("policy", "the name of a [policy.NAME]")
		return
	}
	p := l.policies[name]
	if p == nil {
		if !l.damaged {
			n.fail(l, "there is no [%s]%s", joinKey("policy", name), didYouMean(name, l.policies))
		}
		return
	}
	p.used = true
	g.policy, g.g.Policy = p, p.p
}
