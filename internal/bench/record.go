package main

import (
	"encoding/hex"

	"github.com/miekg/dns"

	"github.com/smtpsec/smtpsec/dane"
)

// recordRows read one TLSA record, as text and as RDATA. mox has no parser of
// its own for either; miekg/dns reads whole resource records, so its input has
// an owner, a class and a TTL in front.
func recordRows() []row {
	h := newMailHost()
	r := must(dane.NewRecord(dane.UsageDANEEE, dane.SelectorSPKI, dane.MatchingSHA256, h.leaf))
	text, wire := r.String(), r.AppendWire(nil)
	digits := hex.EncodeToString(r.Data)
	return []row{
		{name: "TLSA text, new record", allocs: 1, setup: func() []contender {
			var r dane.Record
			return []contender{{
				name: us, kind: ours,
				run: func(n int) {
					for range n {
						r = must(dane.ParseRecord(text))
					}
				},
				answer: func() string { return hex.EncodeToString(r.Data) },
			}, hexFloor(digits), textMiekg(text)}
		}},
		{name: "TLSA text, record reused", setup: func() []contender {
			var r dane.Record
			octets := []byte(text)
			return []contender{{
				name: us, kind: ours,
				run: func(n int) {
					for range n {
						check(r.UnmarshalText(octets))
					}
				},
				answer: func() string { return hex.EncodeToString(r.Data) },
			}, hexFloor(digits), textMiekg(text)}
		}},
		{name: "TLSA RDATA, record reused", setup: func() []contender {
			var r dane.Record
			var data []byte
			message := make([]byte, 512)
			message = message[:must(dns.PackRR(must(dns.NewRR(". 0 IN TLSA "+text)), message, 0, nil, false))]
			var rr dns.RR
			return []contender{{
				name: us, kind: ours,
				run: func(n int) {
					for range n {
						check(r.UnmarshalBinary(wire))
					}
				},
				answer: func() string { return hex.EncodeToString(r.Data) },
			}, {
				name: "copy of the octets", kind: floor,
				run: func(n int) {
					for range n {
						data = append(data[:0], wire[3:]...)
					}
				},
				answer: func() string { return hex.EncodeToString(data) },
			}, {
				name: miekg, kind: peer,
				run: func(n int) {
					for range n {
						var err error
						rr, _, err = dns.UnpackRR(message, 0)
						check(err)
					}
				},
				answer: func() string { return rr.(*dns.TLSA).Certificate },
			}}
		}},
	}
}

// hexFloor decodes the digits of the digest into a buffer that is reused.
func hexFloor(digits string) contender {
	src, dst := []byte(digits), make([]byte, hex.DecodedLen(len(digits)))
	return contender{
		name: "hex.Decode of the data", kind: floor,
		run: func(n int) {
			for range n {
				must(hex.Decode(dst, src))
			}
		},
		answer: func() string { return hex.EncodeToString(dst) },
	}
}

func textMiekg(text string) contender {
	var rr dns.RR
	line := ". 0 IN TLSA " + text
	return contender{
		name: miekg, kind: peer,
		run: func(n int) {
			for range n {
				rr = must(dns.NewRR(line))
			}
		},
		answer: func() string { return rr.(*dns.TLSA).Certificate },
	}
}
