package lab

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/dnstest"
	"github.com/smtpsec/smtpsec/internal/testpki"
)

// Lab is a running World. It is safe for concurrent use.
type Lab struct {
	domains   []Domain // as declared, normalized
	authority *authority
	tree      *dnstest.Tree
	name      *dnstest.Server // authoritative for every zone
	front     *dnstest.Server
	through   *dnstest.Server        // hands DNSSEC records on and validates nothing
	resolver  dnssec.Resolver        // a validator over through
	stub      dnssec.Resolver        // a stub over front
	hosts     map[string]*MailHost   // by name
	policies  map[string]*PolicyHost // by domain
	endpoints map[netip.AddrPort]endpoint
	closed    chan struct{}
	close     func() error
}

// Start makes a world real. The error names what is declared wrongly, or the
// address that cannot be listened on; nothing is left running then.
func Start(w World) (*Lab, error) {
	domains, err := w.normalized()
	if err != nil {
		return nil, err
	}
	l := &Lab{
		domains:   domains,
		authority: newAuthority(),
		hosts:     map[string]*MailHost{},
		policies:  map[string]*PolicyHost{},
		endpoints: map[netip.AddrPort]endpoint{},
		closed:    make(chan struct{}),
	}
	l.close = sync.OnceValue(l.stop)
	if err := errors.Join(l.startHosts(), l.startDNS(w.FrontAddr)); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (l *Lab) startHosts() error {
	for i := range l.domains {
		d := &l.domains[i]
		for _, spec := range d.Hosts {
			h, err := newMailHost(spec, l.authority)
			if err != nil {
				return err
			}
			l.hosts[spec.Name] = h
			for _, a := range spec.Addrs {
				l.endpoints[netip.AddrPortFrom(a, spec.Port)] = h
			}
		}
		if p := d.Policy; p != nil {
			h, err := newPolicyHost(d.Name, p, p.text(d), l.authority)
			if err != nil {
				return err
			}
			l.policies[d.Name] = h
			for _, a := range p.Addrs {
				l.endpoints[netip.AddrPortFrom(a, PortHTTPS)] = h
			}
		}
	}
	return nil
}

// Close stops every host and server and returns when no goroutine or listener of the
// lab is left. Closing twice does no harm.
func (l *Lab) Close() error { return l.close() }

func (l *Lab) stop() error {
	close(l.closed)
	for _, h := range l.hosts {
		h.close()
	}
	for _, h := range l.policies {
		h.close()
	}
	var errs []error
	for _, server := range []*dnstest.Server{l.front, l.through, l.name} {
		if server != nil {
			errs = append(errs, server.Close())
		}
	}
	return errors.Join(errs...)
}

func (l *Lab) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

// Host returns the mail host of that name, nil if there is none.
func (l *Lab) Host(name string) *MailHost { return l.hosts[name] }

// Hosts returns all mail hosts in the order of declaration.
func (l *Lab) Hosts() []*MailHost {
	var all []*MailHost
	for _, d := range l.domains {
		for _, h := range d.Hosts {
			all = append(all, l.hosts[h.Name])
		}
	}
	return all
}

// PolicyHost returns the MTA-STS policy host of a domain, nil if it has none.
func (l *Lab) PolicyHost(domain string) *PolicyHost { return l.policies[domain] }

// Roots returns a new pool with the one authority that is trusted in this world.
func (l *Lab) Roots() *x509.CertPool { return testpki.Pool(l.authority.root) }

// Front returns the address of the validating resolver, UDP and TCP.
func (l *Lab) Front() netip.AddrPort { return l.front.Addr() }

// Authoritative returns the address of the name server of every zone, the root
// included, UDP and TCP. A validating resolver of somebody else's make can be
// pointed at it, with Tree().RootAnchor() as its trust anchor.
func (l *Lab) Authoritative() netip.AddrPort { return l.name.Addr() }

// FrontServer returns the validating resolver itself, which Stub asks, for faults and
// its log of queries.
func (l *Lab) FrontServer() *dnstest.Server { return l.front }

// PlainServer returns the resolver that Resolver asks: it hands DNSSEC records on and
// validates nothing.
func (l *Lab) PlainServer() *dnstest.Server { return l.through }

// Resolver returns a validator that trusts this world's root key and nobody else. It
// remembers nothing, so that a change of a zone is seen at once.
func (l *Lab) Resolver() dnssec.Resolver { return l.resolver }

// Stub returns a stub that believes the AD bit of the validating resolver. Declared
// faults strike it like Resolver, and it remembers nothing either.
func (l *Lab) Stub() dnssec.Resolver { return l.stub }

// Tree returns the zones. After a change call its Sign.
func (l *Lab) Tree() *dnstest.Tree { return l.tree }

// Zone returns the zone of a declared domain, nil if there is none. After a change
// call Tree().Sign.
func (l *Lab) Zone(domain string) *dnstest.Zone { return l.tree.Lookup(domain) }

// lookup returns the addresses of a host name.
func (l *Lab) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	return dnssec.NetResolver{Resolver: l.resolver}.LookupNetIP(ctx, "ip", name)
}

// SetTLSA replaces the TLSA records of a mail host by ones made from its present
// certificate; none removes the RRset.
func (l *Lab) SetTLSA(host string, records ...TLSA) error {
	for i := range l.domains {
		d := &l.domains[i]
		if j := slices.IndexFunc(d.Hosts, func(h Host) bool { return h.Name == host }); j >= 0 {
			lines, err := l.hosts[host].tlsaLines(records)
			if err != nil {
				return err
			}
			l.Zone(d.Name).Replace(d.Hosts[j].tlsaOwner(), typeTLSA, lines...)
			return l.tree.Sign()
		}
	}
	return fmt.Errorf("lab: there is no mail host %s", host)
}

// SetPolicy replaces the text of a domain's policy and its TXT records, from the
// next request and query on. Fault, Cert, Addrs and NoHost of p are not looked at.
func (l *Lab) SetPolicy(domain string, p Policy) error {
	for i := range l.domains {
		if d := &l.domains[i]; d.Name == domain && d.Policy != nil {
			l.policies[domain].SetText(p.text(d))
			l.Zone(domain).Replace(txtOwner(domain), typeTXT, txtLines(domain, p.txt())...)
			return l.tree.Sign()
		}
	}
	return fmt.Errorf("lab: domain %s has no policy host", domain)
}

// Timeouts of the lab's own resolvers: their servers are in this process, and a
// busy machine must not make them look silent.
const (
	resolverTry   = time.Second
	resolverTries = 3
)
