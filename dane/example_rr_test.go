package dane_test

import (
	"encoding/hex"
	"fmt"

	"github.com/miekg/dns"

	"github.com/smtpsec/smtpsec/dane"
)

// The types of a DNS library convert in both directions over the presentation
// form; no such type is part of this package's API.
func ExampleFormatRR_dnsLibrary() {
	record := dane.Record{
		Usage: dane.UsageDANEEE, Selector: dane.SelectorSPKI, MatchingType: dane.MatchingSHA256,
		Data: make([]byte, 32),
	}
	rr, err := dns.NewRR(dane.FormatRR("_25._tcp.mx.example.org.", 3600, record))
	if err != nil {
		fmt.Println(err)
		return
	}
	tlsa := rr.(*dns.TLSA)
	fmt.Println(tlsa.Usage, tlsa.Selector, tlsa.MatchingType)

	data, err := hex.DecodeString(tlsa.Certificate)
	if err != nil {
		fmt.Println(err)
		return
	}
	back := dane.Record{
		Usage: dane.Usage(tlsa.Usage), Selector: dane.Selector(tlsa.Selector), MatchingType: dane.MatchingType(tlsa.MatchingType),
		Data: data,
	}
	fmt.Println(back.Equal(record))
	// Output:
	// 3 1 1
	// true
}
