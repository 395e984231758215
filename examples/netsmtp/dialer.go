package main

import (
	"context"
	"crypto/x509"
	"net"
	"net/netip"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// network is what the programs "before" ask of the world. On the real Internet these
// are net.DefaultResolver.LookupMX, a net.Dialer and nil.
type network struct {
	Hostname    string // our name in EHLO
	LookupMX    func(ctx context.Context, domain string) ([]*net.MX, error)
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	RootCAs     *x509.CertPool
}

const hostname = "mta.sender.example"

// labNetwork is the network of the lab.
func labNetwork(l *lab.Lab) network {
	return network{
		Hostname: hostname, DialContext: l.DialContext, RootCAs: l.Roots(),
		LookupMX: func(ctx context.Context, domain string) ([]*net.MX, error) {
			set, err := dnssec.LookupMX(ctx, l.Resolver(), domain)
			if err != nil {
				return nil, err
			}
			var records []*net.MX
			for _, mx := range set.Hosts {
				records = append(records, &net.MX{Host: mx.Host[:len(mx.Host)-1], Pref: mx.Pref})
			}
			return records, nil
		},
	}
}

// newDialer is what the programs "after" share: one Dialer for the process. On the
// real Internet it is
//
//	&smtpclient.Dialer{Hostname: hostname, Policy: table, MTASTS: &mtasts.Client{}}
//
// and what else stands here leads it into the lab.
func newDialer(l *lab.Lab) (*smtpclient.Dialer, error) {
	table, err := tlspolicy.NewTable(tlspolicy.Recommended(), nil)
	if err != nil {
		return nil, err
	}
	trust, err := tlspolicy.NewPoolVerifier(l.Roots(), tlspolicy.PoolOptions{})
	if err != nil {
		return nil, err
	}
	return &smtpclient.Dialer{
		Hostname: hostname,
		Policy:   table,
		MTASTS: &mtasts.Client{
			Resolver: dnssec.NetResolver{Resolver: l.Resolver()},
			Fetch: mtasts.FetchConfig{RootCAs: l.Roots(), DialContext: l.DialContext,
				AllowPrefixes: append(lab.Prefixes(), netip.MustParsePrefix("127.0.0.0/8"))},
		},
		Resolver:    l.Resolver(),
		Trust:       trust,
		DialContext: l.DialContext,
	}, nil
}
