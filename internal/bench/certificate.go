package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

const (
	hashChain = "crypto/sha256 of the chain"
	x509Ready = "x509.Certificate.Verify, pools ready"
)

// chainFloor hashes the certificates of a chain: what recognising a chain costs
// at least. It says "match" because the digest is that of the chain.
func chainFloor(chain []*x509.Certificate) contender {
	var octets []byte
	for _, cert := range chain {
		octets = append(octets, cert.Raw...)
	}
	want, ok := sha256.Sum256(octets), false
	return contender{
		name: hashChain, kind: floor,
		run: func(n int) {
			for range n {
				ok = sha256.Sum256(octets) == want
			}
		},
		answer: func() string { return matched(ok) },
	}
}

// x509Floor verifies a chain and one name with pools made beforehand.
func x509Floor(chain []*x509.Certificate, root *x509.Certificate, name string) contender {
	roots, links := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root)
	for _, cert := range chain[1:] {
		links.AddCert(cert)
	}
	opts := x509.VerifyOptions{Roots: roots, Intermediates: links, DNSName: name}
	var err error
	return contender{
		name: x509Ready, kind: floor,
		run: func(n int) {
			for range n {
				_, err = chain[0].Verify(opts)
			}
		},
		answer: func() string { return matched(err == nil) },
	}
}

// partner is a mail host with three certificates below a root, the leaf for ten
// names of which the last is the recipient domain.
type partner struct {
	root  *x509.Certificate
	chain []*x509.Certificate
	names []string
}

func newPartner() partner {
	var names []string
	for i := range 9 {
		names = append(names, fmt.Sprintf("mx%d.mail.example.net", i))
	}
	names = append(names, "example.com")
	root := testpki.NewRoot("Root")
	leaf := root.Intermediate("A").Intermediate("B").Leaf(names)
	return partner{root: root.Cert, chain: leaf.Chain(), names: names}
}

func (p partner) trust(o tlspolicy.PoolOptions) tlspolicy.ChainVerifier {
	pool := x509.NewCertPool()
	pool.AddCert(p.root)
	return must(tlspolicy.NewPoolVerifier(pool, o))
}

// checkOurs is the check of an established session in mode Required (Verify).
func (p partner) checkOurs(trust tlspolicy.ChainVerifier, domain, mx string) contender {
	v := tlspolicy.NewVerifier(trust, tlspolicy.VerifyOptions{})
	settings := tlspolicy.BuiltIn()
	settings.Mode = tlspolicy.RequiredVerify
	req := tlspolicy.Plan(settings, tlspolicy.DANEInsecure, tlspolicy.STSNoPolicy)
	refs := must(tlspolicy.NewReferences(tlspolicy.PeerNames{Domain: domain, MXHost: mx}))
	cs := &tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: p.chain}
	var ok bool
	return contender{
		name: us, kind: ours,
		run: func(n int) {
			for range n {
				o, _, _ := v.Check(req, cs, refs)
				ok = o.VerifyName
			}
		},
		answer: func() string { return matched(ok) },
	}
}

// taken is a ChainVerifier that takes every chain for verified, so that the
// comparison of names is what is left of a check.
type taken struct{}

func (taken) VerifyChain(chain []*x509.Certificate, _ x509.ExtKeyUsage) ([]*x509.Certificate, error) {
	return chain, nil
}

func certificateRows() []row {
	const compare = "string comparison with 10 names"
	scan := func(p partner, name string) contender {
		var ok bool
		return contender{
			name: compare, kind: floor,
			run: func(n int) {
				for range n {
					ok = slices.Contains(p.names, name)
				}
			},
			answer: func() string { return matched(ok) },
		}
	}
	std := func(p partner, name string) contender {
		var ok bool
		return contender{
			name: "x509.Certificate.VerifyHostname", kind: peer,
			run: func(n int) {
				for range n {
					ok = p.chain[0].VerifyHostname(name) == nil
				}
			},
			answer: func() string { return matched(ok) },
		}
	}
	return []row{
		{name: "Check of a certificate, first time", allocs: anyAllocs, limit: 1.10, limitOf: x509Ready, setup: func() []contender {
			p := newPartner()
			return []contender{p.checkOurs(p.trust(tlspolicy.PoolOptions{CacheEntries: -1}), "example.com", "mx.example.net"),
				x509Floor(p.chain, p.root, "example.com")}
		}},
		{name: "Check of a certificate, chain in the cache", goalNs: 6000, setup: func() []contender {
			p := newPartner()
			return []contender{p.checkOurs(p.trust(tlspolicy.PoolOptions{}), "example.com", "mx.example.net"),
				chainFloor(p.chain), x509Floor(p.chain, p.root, "example.com")}
		}},
		{name: "Identity, 10 names, the last matches", goalNs: 250, setup: func() []contender {
			p := newPartner()
			return []contender{p.checkOurs(taken{}, "example.com", "mx.example.net"), scan(p, "example.com"), std(p, "example.com")}
		}},
		{name: "Identity, 10 names, none matches", allocs: anyAllocs, setup: func() []contender {
			p := newPartner()
			return []contender{p.checkOurs(taken{}, "example.org", "mx.example.org"), scan(p, "example.org"), std(p, "example.org")}
		}},
	}
}
