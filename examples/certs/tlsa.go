package main

import (
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/certs"
	"github.com/smtpsec/smtpsec/dane"
)

// The two records that a mail server publishes (RFC 7672 section 3.1): for its key,
// and perhaps for its authority's.
var (
	leafParams   = []dane.Params{{Usage: dane.UsageDANEEE, Selector: dane.SelectorSPKI, MatchingType: dane.MatchingSHA256}}
	anchorParams = []dane.Params{{Usage: dane.UsageDANETA, Selector: dane.SelectorSPKI, MatchingType: dane.MatchingSHA256}}
)

// recordFlags say where records stand in the DNS.
type recordFlags struct {
	host      string
	port      uint
	ttl       time.Duration
	authority bool
}

func addRecords(f *flag.FlagSet) *recordFlags {
	o := &recordFlags{}
	f.StringVar(&o.host, "host", "", "the `name` of the mail host, as in its MX record (default the certificate's first name)")
	f.UintVar(&o.port, "port", 25, "TCP `port`")
	f.DurationVar(&o.ttl, "ttl", time.Hour, "time to live in the zone")
	f.BoolVar(&o.authority, "ca", false, "also 2 1 1 for the authority at the end of the chain that is sent")
	return o
}

// owner returns the name that the records have.
func (o *recordFlags) owner(cert *x509.Certificate) (string, error) {
	host := o.host
	if host == "" && len(cert.DNSNames) > 0 {
		host = cert.DNSNames[0]
	}
	if host == "" || strings.HasPrefix(host, "*") {
		return "", usage("the certificate does not say which host it is for: use -host")
	}
	if o.port == 0 || o.port > 65535 {
		return "", usage("-port %d: 1 to 65535 is a port", o.port)
	}
	if o.ttl < time.Second || o.ttl > (1<<31-1)*time.Second || o.ttl%time.Second != 0 {
		return "", usage("-ttl %v: whole seconds are needed, 1 to 2147483647 of them", o.ttl)
	}
	owner, err := dane.OwnerName(uint16(o.port), "tcp", host)
	if err != nil {
		return "", usage("%v", err)
	}
	return owner, nil
}

// print writes records as lines of a zone, and what is unwise about them.
func (o *recordFlags) print(p *program, records []dane.Record, chain []*x509.Certificate) error {
	owner, err := o.owner(chain[0])
	if err != nil {
		return err
	}
	for _, advice := range dane.Advise(records, chain) {
		p.note("%v", advice)
	}
	for _, r := range records {
		if _, err := fmt.Fprintln(p.stdout, dane.FormatRR(owner, uint32(o.ttl/time.Second), r)); err != nil {
			return err
		}
	}
	return nil
}

func tlsa(f *flag.FlagSet) action {
	o := addRecords(f)
	file := f.String("cert", "", "for the certificates in this `file`, and not for one in the store")
	return func(p *program, args []string) error {
		switch {
		case len(args) == 1 && *file != "", len(args) == 0 && *file == "":
			return usage("tlsa wants the name of a certificate in the store, or -cert FILE")
		case *file != "":
			return o.ofFile(p, *file)
		}
		return p.withStore(toRead, "none", func(s *certs.Store) error { return o.ofEntry(p, s, args[0]) })
	}
}

// ofFile prints the records of a file that begins with a server's certificate.
func (o *recordFlags) ofFile(p *program, name string) error {
	data, err := p.read(name)
	if err != nil {
		return err
	}
	m, err := certs.ReadBytes(data, certs.ReadOptions{})
	if err != nil {
		return inFile(name, err)
	}
	bag, err := m.Certs()
	if err != nil {
		return inFile(name, err)
	}
	chain, _, err := certs.Arrange(bag[0].PublicKey, bag, certs.ArrangeOptions{IncludeRoot: true, Now: p.now()})
	if err != nil {
		return inFile(name, err)
	}
	records, err := dane.RolloverSet(leafParams, dane.Key{Cert: chain[0]})
	if err == nil && o.authority {
		records, err = withAnchor(records, chain)
	}
	if err != nil {
		return inFile(name, err)
	}
	return o.print(p, records, chain)
}

// ofEntry prints the records of an entry: during a rollover, of every key that
// senders may meet.
func (o *recordFlags) ofEntry(p *program, s *certs.Store, name string) error {
	d, err := s.Detail(name)
	if err != nil {
		return err
	}
	infos, err := s.PublicKeyInfos(name)
	if err != nil {
		return err
	}
	keys := make([]dane.Key, len(infos))
	for i, info := range infos {
		keys[i] = dane.Key{SPKI: info}
	}
	records, err := dane.RolloverSet(leafParams, keys...)
	if err == nil && o.authority {
		records, err = withAnchor(records, d.Chain)
		if d.HasNext && !endsInAuthority(d.Next) {
			p.note("no authority of the next key is known yet")
		}
		for _, chain := range [][]*x509.Certificate{d.Next, d.Previous} {
			if err == nil && endsInAuthority(chain) {
				records, err = withAnchor(records, chain)
			}
		}
	}
	if err != nil {
		return err
	}
	return o.print(p, records, d.Chain)
}

// errNoAuthority is for a chain without an issuer. Senders know the issuer from the
// handshake alone (RFC 7671 section 5.2.2).
var errNoAuthority = errors.New("the chain that is sent has no authority in it, so no record 2 1 1 can match; install with -include-root puts the root there")

func endsInAuthority(chain []*x509.Certificate) bool {
	return len(chain) > 1 && chain[len(chain)-1].IsCA
}

// withAnchor adds the record of the authority in which a chain ends.
func withAnchor(records []dane.Record, chain []*x509.Certificate) ([]dane.Record, error) {
	if !endsInAuthority(chain) {
		return nil, errNoAuthority
	}
	anchor, err := dane.RolloverSet(anchorParams, dane.Key{Cert: chain[len(chain)-1]})
	return dane.Union(records, anchor), err
}
