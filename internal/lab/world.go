package lab

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/internal/dnstest"
	"github.com/smtpsec/smtpsec/internal/hostname"
)

// World is everything that exists. Start copies what it needs; a World may be
// started more than once.
type World struct {
	// Domains in any order. Top-level domains and the root exist by themselves,
	// signed.
	Domains []Domain
	// FrontAddr is where the validating resolver listens, as host:port on loopback;
	// "" = 127.0.0.1 and a free port. A port that is taken makes Start fail.
	FrontAddr string
}

// DNSSEC is the state of a domain's zone.
type DNSSEC uint8

const (
	Unsigned DNSSEC = iota // zero value: insecure delegation
	Signed                 // secure down from the root
	Bogus                  // signed, and the signatures have expired
)

// String returns the state in words.
func (d DNSSEC) String() string {
	switch d {
	case Unsigned:
		return "unsigned"
	case Signed:
		return "signed"
	case Bogus:
		return "bogus"
	}
	return fmt.Sprintf("DNSSEC %d", uint8(d))
}

// Domain is one zone with its mail hosts.
type Domain struct {
	Name   string
	DNSSEC DNSSEC
	// Hosts are the mail hosts whose names lie in this zone. Unless MX or NoMX say
	// otherwise they are the domain's MX hosts in this order, preferences 10, 20, ...
	Hosts []Host
	// MX replaces the records made from Hosts. The names may lie in other domains of
	// the World or nowhere.
	MX []MX
	// NoMX publishes no MX record: implicit MX (RFC 5321 section 5.1).
	NoMX bool
	// Policy is the domain's MTA-STS policy; nil = none.
	Policy *Policy
	// Records are further lines of the zone in master-file form; names are relative
	// to the domain.
	Records []string
	// DNSFaults break the answers to single questions.
	DNSFaults []DNSFault
}

// DNSFault is what is wrong with the answer to one question.
type DNSFault struct {
	Name string // absolute, without final dot: "_25._tcp.mx.partner.example"
	Type uint16 // as in package dns
	// Action is what the resolver does instead of answering; Honest = it answers.
	Action dnstest.Action
	// Flaw spoils the signatures of the RRset; Sound = they are good.
	Flaw dnstest.Flaw
}

// MX is one MX record. Host "." is the null MX (RFC 7505).
type MX struct {
	Host string
	Pref uint16
}

// Host is a mail host.
type Host struct {
	// Name is the host's name, inside its Domain.
	Name string
	// Addrs are its addresses, inside [Prefixes]; none = one IPv4 address of the lab's
	// choice.
	Addrs []netip.Addr
	Port  uint16 // 0 = 25
	// Cert is what the host presents; zero = a good one for its name.
	Cert Cert
	// TLS is what it speaks; zero = TLS 1.2 and 1.3 with Go's default suites.
	TLS TLS
	// TLSA are the records at _<port>._tcp.<name>, made from Cert; none = no RRset.
	TLSA []TLSA
	// Fault strikes on the first connection, and on every one if Later is empty.
	Fault Fault
	// Later are the faults of the second, third, ... connection; the last one stays.
	Later []Fault
	// ClearKeywords are added to the EHLO reply in clear, TLSKeywords to the one inside
	// TLS. REQUIRETLS (RFC 8689) is understood as a MAIL parameter either way.
	ClearKeywords, TLSKeywords []string
}

// TLS says how a mail host speaks TLS.
type TLS struct {
	Min, Max   uint16   // versions of crypto/tls; 0 = its default
	Suites     []uint16 // up to TLS 1.2; nil = Go's defaults
	ClientAuth ClientAuth
}

// ClientAuth is what a host wants of the client's certificate.
type ClientAuth uint8

const (
	NoClientCert      ClientAuth = iota // zero value: not asked for
	RequestClientCert                   // asked for, none is fine, none is checked
	RefuseClientCert                    // asked for, and whatever comes is refused with an alert
)

// TLS10Only is a host that has not been touched since TLS 1.0.
func TLS10Only() TLS { return TLS{Min: tls.VersionTLS10, Max: tls.VersionTLS10} }

// NoCommonSuite is a host that cannot agree on a cipher suite with anybody: its
// certificate is ECDSA, its only suite wants RSA.
func NoCommonSuite() TLS {
	return TLS{Max: tls.VersionTLS12, Suites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}
}

// TLSA is a TLSA record for a host's certificate: one of the constants, or the
// RDATA in presentation form ("3 1 1 00ff...").
type TLSA string

const (
	TLSAMatch     TLSA = "match"      // 3 1 1, digest of the host's key
	TLSAMatchTA   TLSA = "match-ta"   // 2 1 1, digest of its issuer's key
	TLSAMismatch  TLSA = "mismatch"   // 3 1 1, digest of some other key
	TLSAUnknown   TLSA = "unknown"    // 3 1 9: no such matching type, unusable
	TLSABadLength TLSA = "bad-length" // 3 1 1 with 31 octets, unusable
	TLSAPKIX      TLSA = "pkix"       // 1 1 1 that matches: unusable in SMTP (RFC 7672 section 3.1.3)
)

// Policy is the MTA-STS policy of a domain, its TXT record and its policy host
// mta-sts.<domain>.
type Policy struct {
	Mode   string        // enforce, testing or none; "" = enforce
	MX     []string      // patterns; nil = the domain's MX hosts
	MaxAge time.Duration // 0 = one week
	// Text replaces the policy built from the fields above, octet for octet.
	Text string
	// TXT are the records at _mta-sts.<domain>; nil = one good record with ID.
	TXT []string
	ID  string // "" = "1"
	// NoHost leaves mta-sts.<domain> out of DNS.
	NoHost bool
	Addrs  []netip.Addr // of the policy host, as in Host
	Cert   Cert         // zero = a good one for the policy host's name
	Fault  PolicyFault
}

// Prefixes returns the networks in which all hosts of a lab live: the
// documentation prefixes of RFC 5737 and RFC 3849. Code that refuses such addresses
// must be told to allow them.
func Prefixes() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("192.0.2.0/24"),
		netip.MustParsePrefix("198.51.100.0/24"),
		netip.MustParsePrefix("203.0.113.0/24"),
		netip.MustParsePrefix("2001:db8::/32"),
	}
}

// text returns the policy of domain as its host serves it at the start.
func (p *Policy) text(d *Domain) string {
	if p.Text != "" {
		return p.Text
	}
	mode, age, patterns := p.Mode, p.MaxAge, p.MX
	if mode == "" {
		mode = "enforce"
	}
	if age == 0 {
		age = 7 * 24 * time.Hour
	}
	if patterns == nil {
		for _, mx := range d.mx() {
			patterns = append(patterns, mx.Host)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "version: STSv1\r\nmode: %s\r\n", mode)
	for _, pattern := range patterns {
		fmt.Fprintf(&b, "mx: %s\r\n", pattern)
	}
	fmt.Fprintf(&b, "max_age: %d\r\n", int64(age/time.Second))
	return b.String()
}

// txt returns the TXT records at _mta-sts.
func (p *Policy) txt() []string {
	if p.TXT != nil {
		return p.TXT
	}
	id := p.ID
	if id == "" {
		id = "1"
	}
	return []string{"v=STSv1; id=" + id + ";"}
}

// mx returns the MX records of d; for an implicit MX that is the domain itself.
func (d *Domain) mx() []MX {
	switch {
	case d.NoMX:
		return []MX{{Host: d.Name}}
	case d.MX != nil:
		return d.MX
	}
	var records []MX
	for i, h := range d.Hosts {
		records = append(records, MX{Host: h.Name, Pref: uint16(10 * (i + 1))})
	}
	return records
}

// normalized returns the domains with canonical names and addresses filled in, or
// what is wrong with them.
func (w *World) normalized() ([]Domain, error) {
	pool := newAddressPool()
	domains := slices.Clone(w.Domains)
	seen := map[string]bool{}
	for i := range domains {
		d := &domains[i]
		if err := canonical(&d.Name); err != nil {
			return nil, err
		}
		if seen[d.Name] {
			return nil, fmt.Errorf("lab: domain %s is declared twice", d.Name)
		}
		seen[d.Name] = true
		if d.DNSSEC > Bogus {
			return nil, fmt.Errorf("lab: domain %s: %v is unknown", d.Name, d.DNSSEC)
		}
		if !strings.Contains(d.Name, ".") {
			return nil, fmt.Errorf("lab: domain %s is a top-level domain; those exist by themselves", d.Name)
		}
		d.Hosts = slices.Clone(d.Hosts)
		for j := range d.Hosts {
			h := &d.Hosts[j]
			if err := canonical(&h.Name); err != nil {
				return nil, err
			}
			if h.Name != d.Name && !strings.HasSuffix(h.Name, "."+d.Name) {
				return nil, fmt.Errorf("lab: host %s is not inside its domain %s", h.Name, d.Name)
			}
			if seen["host "+h.Name] {
				return nil, fmt.Errorf("lab: host %s is declared twice", h.Name)
			}
			seen["host "+h.Name] = true
			if h.Port == 0 {
				h.Port = PortSMTP
			}
			if err := pool.claim(h.Addrs); err != nil {
				return nil, fmt.Errorf("lab: host %s: %w", h.Name, err)
			}
		}
		if d.Policy != nil {
			p := *d.Policy
			d.Policy = &p
			if err := pool.claim(p.Addrs); err != nil {
				return nil, fmt.Errorf("lab: policy host of %s: %w", d.Name, err)
			}
		}
	}
	// Addresses of the lab's choice come second, so that they keep out of the way.
	for i := range domains {
		for j := range domains[i].Hosts {
			if h := &domains[i].Hosts[j]; len(h.Addrs) == 0 {
				h.Addrs = []netip.Addr{pool.next()}
			}
		}
		if p := domains[i].Policy; p != nil && len(p.Addrs) == 0 {
			p.Addrs = []netip.Addr{pool.next()}
		}
	}
	return domains, nil
}

func canonical(name *string) error {
	c, err := hostname.Parse(*name)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	*name = c
	return nil
}

// addressPool gives out IPv4 addresses that nobody has yet.
type addressPool struct {
	taken map[netip.Addr]bool
	at    netip.Addr
}

func newAddressPool() *addressPool {
	return &addressPool{taken: map[netip.Addr]bool{}, at: netip.MustParseAddr("192.0.2.9")}
}

func (p *addressPool) claim(addrs []netip.Addr) error {
	for _, a := range addrs {
		if !slices.ContainsFunc(Prefixes(), func(n netip.Prefix) bool { return n.Contains(a) }) {
			return fmt.Errorf("address %s is outside the documentation prefixes", a)
		}
		if p.taken[a] {
			return fmt.Errorf("address %s is taken", a)
		}
		p.taken[a] = true
	}
	return nil
}

// next panics when the three IPv4 prefixes are full: more than 700 hosts.
func (p *addressPool) next() netip.Addr {
	for {
		p.at = p.at.Next()
		inside := false
		for i, n := range Prefixes()[:3] {
			if n.Contains(p.at) {
				inside = true
				if p.at.As4()[3] == 255 && i < 2 {
					p.at = Prefixes()[i+1].Addr()
				}
			}
		}
		if !inside {
			panic("lab: no address left for another host")
		}
		if last := p.at.As4()[3]; last != 0 && last != 255 && !p.taken[p.at] {
			p.taken[p.at] = true
			return p.at
		}
	}
}
