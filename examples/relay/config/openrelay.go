package config

import (
	"math"
	"net/netip"
	"strings"

	"github.com/smtpsec/smtpsec/smtpserver"
)

// relay reads the domains that everybody with access may write to.
func (l *loader) relay(t *table) {
	d := &Domains{exact: map[string]bool{}, below: map[string]bool{}}
	l.c.Recipients = d
	items, _ := t.texts("recipient-domains")
	for _, item := range items {
		name, parent := strings.CutPrefix(item.text, ".")
		if strings.ContainsAny(item.text, "*") || item.text == "." || strings.EqualFold(item.text, "all") {
			item.fail(l, "%s would take mail to everybody, which makes an open relay: name the domains, or \".example.com\" for all below one", show(item.text))
			continue
		}
		domain := l.host(item, name)
		if domain == "" {
			continue
		}
		set := d.exact
		if parent {
			set = d.below
		}
		if parent && !strings.Contains(domain, ".") {
			item.fail(l, "%s is a whole top-level domain, which makes an open relay: name the domains below it", show(item.text))
		}
		if set[domain] {
			item.warn(l, "%s stands there already", show(item.text))
		}
		set[domain] = true
	}
	t.done()
}

// Sums over the public address space are taken at sample points.
const (
	// ipv4Step is one sample in each IPv4 /12, and ipv4Most how many of them a group may
	// relay for: two networks of the size of a /8.
	ipv4Step, ipv4Most = 12, 32
	// ipv6Step is one sample in each /12 of 2000::/3, the space that is given out, and
	// ipv6Most how many: what the largest registries hold.
	ipv6Step, ipv6Most = 12, 2
)

// openRelay refuses a group that lets strangers send to anybody. Whoever shows a
// client certificate of an authority in the file is no stranger.
func (l *loader) openRelay(g *group) {
	p, d := g.policy.p, l.defaults.p
	if or(p.TLS, d.TLS) == smtpserver.TLSRequired && or(p.ClientCert, d.ClientCert) == smtpserver.ClientCertRequired {
		return
	}
	const remedy = "use access = \"accept\" with relay.recipient-domains, list your own networks, or demand client certificates (tls and client-certificate \"required\")"
	senders := g.n.table["senders"]
	if senders == nil {
		senders = g.n
	}
	if g.g.Unverified != 0 {
		g.n.table["unverified"].fail(l, "open relay: group %s may relay, and stands for every host without a verified name; %s", show(g.g.Name), remedy)
	}
	for _, item := range append([]*node{senders}, senders.items...) {
		text := strings.TrimSuffix(strings.TrimSpace(item.text), ".")
		if strings.EqualFold(text, "ALL") {
			item.fail(l, "open relay: group %s may relay, and ALL is everybody; %s", show(g.g.Name), remedy)
			return
		}
		if name, ok := strings.CutPrefix(text, "."); ok && !strings.Contains(name, ".") {
			item.fail(l, "open relay: group %s may relay, and %s is a whole top-level domain; %s", show(g.g.Name), show(item.text), remedy)
		}
	}
	only, err := smtpserver.Compile([]smtpserver.SenderGroup{{Name: g.g.Name, Senders: g.g.Senders}}, smtpserver.Policy{Access: smtpserver.Relay})
	if err != nil {
		return
	}
	v4, v6 := 0, 0
	samples4, samples6 := samplePoints()
	for _, addr := range samples4 {
		if found, _ := only.Lookup(addr); found != nil {
			v4++
		}
	}
	for _, addr := range samples6 {
		if found, _ := only.Lookup(addr); found != nil {
			v6++
		}
	}
	if v4 > ipv4Most || v6 > ipv6Most {
		share := math.Max(float64(v4)/float64(len(samples4)), float64(v6)/float64(len(samples6)))
		senders.fail(l, "open relay: group %s may relay, and its entries cover about %.1f %% of all public addresses; %s", show(g.g.Name), 100*share, remedy)
	}
}

// samplePoints returns an address in each block of the public address space.
func samplePoints() (v4, v6 []netip.Addr) {
	for i := range 1 << ipv4Step {
		addr := netip.AddrFrom4([4]byte{byte(i >> 4), byte(i<<4) | 5, 77, 201})
		if addr.IsGlobalUnicast() && !addr.IsPrivate() && addr.As4()[0] < 224 && addr.As4()[0] != 0 {
			v4 = append(v4, addr)
		}
	}
	for i := range 1 << (ipv6Step - 3) {
		v := uint16(i)<<4 | 0x2000 | 7
		v6 = append(v6, netip.AddrFrom16([16]byte{byte(v >> 8), byte(v), 0x5a, 0x11, 15: 0x77}))
	}
	return v4, v6
}
