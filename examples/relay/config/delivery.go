package config

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/certs"
	"github.com/smtpsec/smtpsec/internal/hostname"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// defaultEntry is the key of the default destination and the default route.
const defaultEntry = "default"

var families = []choice[smtpclient.Family]{
	{"prefer-ipv6", smtpclient.PreferIPv6}, {"prefer-ipv4", smtpclient.PreferIPv4},
	{"only-ipv6", smtpclient.OnlyIPv6}, {"only-ipv4", smtpclient.OnlyIPv4},
}

// delivery reads everything about mail that goes out.
func (l *loader) delivery(t *table) {
	d := &l.c.Delivery
	dt := t.sub("delivery")
	if source, _ := l.assign(dt, "client-certificate", certs.RoleOutgoing); source != nil {
		d.ClientCertificate = source.GetClientCertificate
	}
	d.Port = uint16(dt.number("port", 0, 1, 65535))
	d.Family, _ = pick(dt, "family", smtpclient.AnyFamily, families)
	d.LocalIPv4 = l.local(dt, "local-ipv4", false, d.Family == smtpclient.OnlyIPv6)
	d.LocalIPv6 = l.local(dt, "local-ipv6", true, d.Family == smtpclient.OnlyIPv4)
	d.HonorTLSRequiredNo, _ = dt.flag("honor-tls-required-no")
	d.Timeouts = smtpclient.Timeouts{
		Connect:   dt.timeout("connect-timeout", false),
		Greeting:  dt.timeout("greeting-timeout", false),
		EHLO:      dt.timeout("ehlo-timeout", false),
		STARTTLS:  dt.timeout("starttls-timeout", false),
		Handshake: dt.timeout("handshake-timeout", false),
		Total:     dt.timeout("total-timeout", true),
	}
	vt := dt.sub("verify")
	d.Verify.PTR, _ = vt.flag("ptr")
	d.Verify.SecureMXOnly, _ = vt.flag("secure-mx-only")
	d.Verify.FQDN, _ = vt.flag("fqdn")
	d.Verify.X509.Signature, _ = vt.flag("signature")
	d.Verify.X509.ServerName, _ = vt.flag("server-name")
	d.Verify.X509.Version, _ = vt.flag("version")
	vt.done()
	dt.done()
	l.destinations(t.sub("destinations"))
	l.routes(t.sub("routes"))
	l.mtasts(t.sub("mta-sts"))
}

// local reads an address to connect from.
func (l *loader) local(t *table, key string, six, excluded bool) netip.Addr {
	text, n := t.text(key)
	if n == nil {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Is6() != six || addr.IsUnspecified() || addr.IsMulticast() {
		want := "an IPv4 address"
		if six {
			want = "an IPv6 address without brackets"
		}
		n.fail(l, "%s is not %s of this machine", show(text), want)
		return netip.Addr{}
	}
	if excluded {
		n.fail(l, "contradicts delivery.family, which leaves this sort of address out")
	}
	return addr
}

// destinations makes the destination table.
func (l *loader) destinations(t *table) {
	var def tlspolicy.Settings
	entries := map[string]tlspolicy.Settings{}
	nodes := map[string]*node{}
	for _, n := range t.all(kindTable) {
		nodes[n.name] = n
		s := l.settings(&table{l: l, n: n})
		if n.name == defaultEntry {
			def = s
		} else {
			entries[n.name] = s
		}
		if s.DANE == tlspolicy.DANEMandatory && l.c.Resolver.Kind == ResolverStub && l.c.Resolver.Stub.Trust == trustNever {
			n.fail(l, "dane = \"mandatory\" contradicts resolver.trust = \"never\": without DNSSEC no mail would go there")
		}
	}
	made, err := tlspolicy.NewTable(def, entries)
	if err != nil {
		l.destinationErrors(err, nodes)
		return
	}
	l.c.Delivery.Destinations = made
	for _, w := range made.Warnings() {
		for _, key := range slices.Sorted(maps.Keys(nodes)) {
			if canonical, err := hostname.Parse(strings.TrimPrefix(key, ".")); strings.EqualFold(key, w.Destination) ||
				err == nil && canonical == strings.TrimPrefix(w.Destination, ".") && strings.HasPrefix(key, ".") == strings.HasPrefix(w.Destination, ".") {
				nodes[key].warn(l, "%s: %s", strings.Replace(w.Field, "mtasts", "mta-sts", 1), w.Problem)
			}
		}
	}
}

// settings reads one destination. The words are those that tlspolicy reads, and
// numbers those of AsyncOS.
func (l *loader) settings(t *table) (s tlspolicy.Settings) {
	word := func(key string, parse func(string) error, words string) {
		n := t.get(key, kindText, kindInteger)
		if n == nil {
			return
		}
		if parse(n.text) != nil {
			n.unknownWord(l, strings.Split(words, ", "))
		}
	}
	word("mode", func(text string) (err error) { s.Mode, err = tlspolicy.ParseMode(text); return err },
		"no, preferred, required, preferred-verify, required-verify, required-verify-hosted")
	word("dane", func(text string) (err error) { s.DANE, err = tlspolicy.ParseDANE(text); return err },
		"none, opportunistic, mandatory")
	word("mta-sts", func(text string) (err error) { s.MTASTS, err = tlspolicy.ParseMTASTS(text); return err },
		"off, on")
	word("fallback", func(text string) (err error) { s.Fallback, err = tlspolicy.ParseFallback(text); return err },
		"after-220, always, before-220")
	t.done()
	return s
}

// destinationErrors finds the lines of what tlspolicy has to say.
func (l *loader) destinationErrors(err error, nodes map[string]*node) {
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	for _, err := range all {
		ee := (*tlspolicy.EntryError)(nil)
		if !errors.As(err, &ee) || nodes[ee.Destination] == nil {
			l.fail(1, "destinations", "%s", reason(err))
			continue
		}
		n := nodes[ee.Destination]
		field := strings.Replace(ee.Field, "mtasts", "mta-sts", 1)
		if v := n.table[field]; v != nil {
			v.fail(l, "%s", ee.Problem)
		} else {
			n.fail(l, "%s", ee.Problem)
		}
	}
}

// routes makes the table of routes.
func (l *loader) routes(t *table) {
	var def []smtpclient.Hop
	entries := map[string][]smtpclient.Hop{}
	for _, n := range t.all(kindText, kindArray) {
		hops := l.hops(n)
		if n.name == defaultEntry {
			def = hops
			continue
		}
		one := map[string][]smtpclient.Hop{n.name: hops}
		if _, err := smtpclient.NewRouteTable(nil, one); err != nil {
			n.fail(l, "%s", reason(err))
			continue
		}
		entries[n.name] = hops
	}
	made, err := smtpclient.NewRouteTable(def, entries)
	if err != nil {
		line := 1
		if t != nil {
			line = t.n.line
		}
		l.fail(line, "routes", "%s", reason(err))
		return
	}
	l.c.Delivery.Routes = made
}

// hops reads the hops of a route, with "/pri=N" behind them as in AsyncOS.
func (l *loader) hops(n *node) []smtpclient.Hop {
	hops := []smtpclient.Hop{}
	for _, item := range n.texts(l) {
		text, pri, ok := strings.Cut(item.text, "/pri=")
		hop, err := smtpclient.ParseHop(strings.TrimSpace(text))
		if err != nil {
			item.fail(l, "%s is no hop: write \"example.com\", \"[mx.example.com]\" or \"[mx.example.com]:587\"", show(item.text))
			continue
		}
		if ok {
			v, err := strconv.ParseUint(pri, 10, 16)
			if err != nil {
				item.fail(l, "%s: the priority is a number from 0 to 65535", show(item.text))
				continue
			}
			hop.Pref = uint16(v)
		}
		if hop.Literal && hop.Host == l.c.Hostname && hop.Port == 0 {
			item.fail(l, "%s is this relay: mail would go round in circles", show(item.text))
		}
		if slices.Contains(hops, hop) {
			item.warn(l, "%s stands there already", show(item.text))
		}
		hops = append(hops, hop)
	}
	return hops
}

// mtasts reads where policies are kept.
func (l *loader) mtasts(t *table) {
	if dir, n := t.text("directory"); n != nil {
		l.c.MTASTSDirectory = l.directory(n, dir)
	}
	t.done()
}

// directory reads a path that the relay will make; nothing else may have it.
func (l *loader) directory(n *node, path string) string {
	path = l.path(n, path)
	if path == "" {
		return ""
	}
	for _, other := range l.dirs {
		switch {
		case path == other.path:
			n.fail(l, "%s is the directory of %s, in line %d: each needs its own", show(path), other.n.path(), other.n.line)
		case strings.HasPrefix(path, other.path+"/"), strings.HasPrefix(other.path, path+"/"):
			n.fail(l, "%s and the directory of %s, in line %d, lie in one another: each needs its own", show(path), other.n.path(), other.n.line)
		}
	}
	l.isDirectory(n, path)
	l.dirs = append(l.dirs, claimed{path, n})
	return path
}

// claimed is a directory that something uses.
type claimed struct {
	path string
	n    *node
}

// maxTime bounds all times of the queue: longer than anybody waits.
const maxTime = 365 * 24 * time.Hour
