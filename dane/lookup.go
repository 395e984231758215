package dane

import (
	"context"

	"github.com/smtpsec/smtpsec/dane/dnssec"
)

// A TLSASet is what the DNS says about the TLSA records of a service.
type TLSASet struct {
	Records   []Record       // fresh copies, as received
	Malformed int            // how many more had an RDATA of fewer than three octets
	Answer    *dnssec.Answer // must be Secure before the records mean anything
}

// LookupTLSA asks for the TLSA records of a service; the arguments but the
// resolver are those of OwnerName. That there are none is no error: see
// Answer.Outcome. A record too short to be one is counted, and is to be taken for
// an unusable record. Errors are those of OwnerName and of r.
//
// It does not judge: look at Answer.Security, and whether the way to the base
// domain was secure. DiscoverHost does all that.
func LookupTLSA(ctx context.Context, r dnssec.Resolver, port uint16, proto, base string) (TLSASet, error) {
	owner, err := OwnerName(port, proto, base)
	if err != nil {
		return TLSASet{}, err
	}
	answer, err := r.Lookup(ctx, owner, dnssec.TypeTLSA)
	if err != nil {
		return TLSASet{}, err
	}
	set := TLSASet{Answer: answer}
	for _, rr := range answer.Records {
		record, err := ParseWire(rr.Data)
		if err != nil {
			set.Malformed++
			continue
		}
		set.Records = append(set.Records, record)
	}
	return set, nil
}
