package ststest

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
)

// TXTFault is what goes wrong with a TXT query.
type TXTFault uint8

const (
	TXTGood       TXTFault = iota // the records that were set; without any NXDOMAIN
	TXTNoData                     // the name exists and has no TXT record: an empty list without error
	TXTServFail                   // SERVFAIL, which says nothing about the record
	TXTRefused                    // REFUSED, the same
	TXTTimeout                    // no server answered in time
	TXTUnreadable                 // an answer that cannot be parsed
	TXTHang                       // no answer until the context ends
	TXTPanic                      // the resolver panics
)

var txtFaultNames = [...]string{"good", "no data", "servfail", "refused", "timeout", "unreadable", "hang", "panic"}

// String returns the fault in words.
func (f TXTFault) String() string { return name(txtFaultNames[:], uint8(f)) }

// name returns the name of a fault.
func name(names []string, fault uint8) string {
	if int(fault) < len(names) {
		return names[fault]
	}
	return fmt.Sprintf("fault %d", fault)
}

// Resolver is an mtasts.Resolver that answers from memory. It has no addresses:
// the DialContext of [PolicyHost.FetchConfig] goes by names. The zero Resolver
// knows no domain; it is safe for concurrent use.
type Resolver struct {
	mu    sync.Mutex // guards zones
	zones map[string]*zone
}

// zone is what a Resolver knows of the TXT records of one domain.
type zone struct {
	records []string
	fault   TXTFault
	queries int
}

// at returns the zone of a domain. The caller holds the lock.
func (r *Resolver) at(domain string) *zone {
	domain = fold(domain)
	if r.zones == nil {
		r.zones = make(map[string]*zone)
	}
	z := r.zones[domain]
	if z == nil {
		z = new(zone)
		r.zones[domain] = z
	}
	return z
}

// fold brings a domain into the form in which names are compared.
func fold(domain string) string { return strings.ToLower(strings.TrimSuffix(domain, ".")) }

// SetTXT sets the TXT records at _mta-sts.<domain>, each with its strings joined.
// Without records the name does not exist.
func (r *Resolver) SetTXT(domain string, records ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at(domain).records = append([]string(nil), records...)
}

// SetFault makes queries for a domain fail until another fault is set.
func (r *Resolver) SetFault(domain string, fault TXTFault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at(domain).fault = fault
}

// Queries returns how often the TXT record of a domain was asked for.
func (r *Resolver) Queries(domain string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at(domain).queries
}

// LookupTXT answers for _mta-sts.<domain>, as *net.Resolver would. Other names do
// not exist.
func (r *Resolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	domain, ok := strings.CutPrefix(fold(name), "_mta-sts.")
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	r.mu.Lock()
	z := r.at(domain)
	z.queries++
	records, fault := append([]string(nil), z.records...), z.fault
	r.mu.Unlock()
	switch fault {
	case TXTNoData:
		return nil, nil
	case TXTServFail:
		return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
	case TXTRefused:
		return nil, &net.DNSError{Err: "query refused", Name: name}
	case TXTTimeout:
		return nil, &net.DNSError{Err: "i/o timeout", Name: name, IsTimeout: true, IsTemporary: true}
	case TXTUnreadable:
		return nil, &net.DNSError{Err: "cannot unmarshal DNS message", Name: name}
	case TXTHang:
		<-ctx.Done()
		return nil, ctx.Err()
	case TXTPanic:
		panic("ststest: a resolver with a fault")
	}
	if len(records) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return records, nil
}
