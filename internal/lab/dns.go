package lab

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/dnstest"
)

const (
	typeTLSA = dns.TypeTLSA
	typeTXT  = dns.TypeTXT
)

// startDNS builds and signs the zones and starts the servers and resolvers.
func (l *Lab) startDNS(addr string) error {
	l.tree = dnstest.NewTree(dnstest.Options{})
	for i := range l.domains {
		d := &l.domains[i]
		top := d.Name[strings.LastIndexByte(d.Name, '.')+1:]
		if l.tree.Lookup(top) == nil {
			l.tree.Zone(top, dnstest.ZoneOptions{})
		}
		lines, err := l.zoneLines(d)
		if err != nil {
			return err
		}
		zone := l.tree.Zone(d.Name, zoneOptions(d.DNSSEC), lines...)
		for _, f := range d.DNSFaults {
			if f.Flaw != dnstest.Sound {
				zone.Spoil(dns.Fqdn(f.Name), f.Type, f.Flaw)
			}
		}
	}
	if err := l.tree.Sign(); err != nil {
		return fmt.Errorf("lab: zones: %w", err)
	}
	name, err := dnstest.ServeAuthoritative(l.tree, "")
	if err != nil {
		return fmt.Errorf("lab: the name server cannot listen: %w", err)
	}
	l.name = name
	front, err := dnstest.ServeRecursive(l.tree, dnstest.Validating, addr)
	if err != nil {
		return fmt.Errorf("lab: the DNS front cannot listen on %q: %w", addr, err)
	}
	l.front = front
	l.through, err = dnstest.ServeRecursive(l.tree, dnstest.PassThrough, "")
	if err != nil {
		return fmt.Errorf("lab: the second resolver cannot listen: %w", err)
	}
	for _, d := range l.domains {
		for _, f := range d.DNSFaults {
			if f.Action != dnstest.Honest {
				front.Fault(f.Name, f.Type, dnstest.Fault{Action: f.Action})
				l.through.Fault(f.Name, f.Type, dnstest.Fault{Action: f.Action})
			}
		}
	}
	return l.startResolvers()
}

// startResolvers makes the two ways to know what an answer is worth: to believe
// nobody, and to believe the front.
func (l *Lab) startResolvers() error {
	common := func(server *dnstest.Server) dnssec.Common {
		return dnssec.Common{
			Upstream: dnssec.Upstream{Servers: []netip.AddrPort{server.Addr()}, Timeout: resolverTry, Tries: resolverTries},
			Cache:    dnssec.CacheConfig{Disable: true},
		}
	}
	stub, err := dnssec.NewStub(dnssec.StubOptions{Common: common(l.front), Trust: dnssec.TrustAlways})
	if err != nil {
		return err
	}
	anchors, err := dnssec.ParseAnchors(strings.NewReader(l.tree.RootAnchor()))
	if err != nil {
		return err
	}
	validator, err := dnssec.NewValidator(dnssec.ValidatorOptions{Common: common(l.through), Anchors: anchors})
	if err != nil {
		return err
	}
	l.resolver, l.stub = validator, stub
	return nil
}

func zoneOptions(d DNSSEC) dnstest.ZoneOptions {
	switch d {
	case Unsigned:
		return dnstest.ZoneOptions{Unsigned: true}
	case Bogus:
		return dnstest.ZoneOptions{Flaw: dnstest.Expired}
	}
	return dnstest.ZoneOptions{}
}

// zoneLines returns the records of a domain in master-file form.
func (l *Lab) zoneLines(d *Domain) ([]string, error) {
	var lines []string
	if !d.NoMX {
		for _, mx := range d.mx() {
			lines = append(lines, fmt.Sprintf("@ MX %d %s", mx.Pref, dns.Fqdn(mx.Host)))
		}
	}
	for _, h := range d.Hosts {
		lines = append(lines, addressLines(h.Name, h.Addrs)...)
		tlsa, err := l.hosts[h.Name].tlsaLines(h.TLSA)
		if err != nil {
			return nil, err
		}
		lines = append(lines, tlsa...)
	}
	if p := d.Policy; p != nil {
		lines = append(lines, txtLines(d.Name, p.txt())...)
		if !p.NoHost {
			lines = append(lines, addressLines("mta-sts."+d.Name, p.Addrs)...)
		}
	}
	return append(lines, d.Records...), nil
}

func addressLines(name string, addrs []netip.Addr) []string {
	var lines []string
	for _, a := range addrs {
		family := "AAAA"
		if a.Is4() {
			family = "A"
		}
		lines = append(lines, fmt.Sprintf("%s. %s %s", name, family, a))
	}
	return lines
}

func txtOwner(domain string) string { return "_mta-sts." + domain + "." }

// txtLines returns one TXT record per text, in character-strings of at most 255
// octets (RFC 1035 section 3.3).
func txtLines(domain string, texts []string) []string {
	var lines []string
	for _, text := range texts {
		var b strings.Builder
		fmt.Fprintf(&b, "%s TXT", txtOwner(domain))
		for first := true; first || text != ""; first = false {
			n := min(len(text), 255)
			b.WriteString(` "`)
			for _, c := range []byte(text[:n]) {
				fmt.Fprintf(&b, `\%03d`, c)
			}
			b.WriteString(`"`)
			text = text[n:]
		}
		lines = append(lines, b.String())
	}
	return lines
}
