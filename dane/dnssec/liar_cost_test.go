package dnssec

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/dnstest"
)

// spent runs a lookup and returns what it cost.
func spent(v *Validator, name string, typ Type) (string, spending, time.Duration, error) {
	ups, failed := v.upstreams(t0)
	if failed != nil {
		return "", spending{}, 0, failed
	}
	q, _ := newQuestion(name, typ)
	j := v.newJob(ups, q)
	start := time.Now()
	a, failed := j.run(t0)
	took := time.Since(start)
	if failed != nil {
		return judged(nil, failed), j.spent, took, failed
	}
	return judged(a, nil), j.spent, took, nil
}

// collidingKeys are keys of one tag that nobody can sign with; each costs a verification.
func collidingKeys(t testing.TB, zone string, n int) (keys []*dnstest.Key) {
	const tag = 4711
	for len(keys) < n {
		rdata := make([]byte, 4+32)
		rdata[0], rdata[2], rdata[3] = 1, protocolDNSSEC, algEd25519
		for i := 4; i < len(rdata)-2; i++ {
			rdata[i] = byte(rand.IntN(256))
		}
		word := tag - keyTag(rdata) // the tag is a sum, but for a carry
		for _, word := range []uint16{word, word - 1, word + 1} {
			binary.BigEndian.PutUint16(rdata[34:], word)
			if keyTag(rdata) != tag {
				continue
			}
			keys = append(keys, &dnstest.Key{Public: &dns.DNSKEY{
				Hdr:   dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 300},
				Flags: dnstest.FlagZone, Protocol: 3, Algorithm: dns.ED25519, PublicKey: base64.StdEncoding.EncodeToString(rdata[4:]),
			}})
			break
		}
	}
	return keys
}

// Messages made to cost much work end in an error, and the work stays within the limits.
func TestCostlyMessages(t *testing.T) {
	randomSignature := func(s *dns.RRSIG) *dns.RRSIG {
		s = dns.Copy(s).(*dns.RRSIG)
		octets := make([]byte, 64)
		for i := range octets {
			octets[i] = byte(rand.IntN(256))
		}
		octets[63] &= 0x0F // the upper bits must be clear, or Ed25519 does not try
		s.Signature = base64.StdEncoding.EncodeToString(octets)
		return s
	}
	many := func(m *dns.Msg, n int, change func(*dns.RRSIG)) {
		for _, section := range []*[]dns.RR{&m.Answer, &m.Ns} {
			var set []dns.RR
			for _, r := range *section {
				if s, ok := r.(*dns.RRSIG); ok {
					for range n {
						forged := randomSignature(s)
						if change != nil {
							change(forged)
						}
						set = append(set, forged)
					}
				} else {
					set = append(set, r)
				}
			}
			*section = set
		}
	}
	for _, tt := range []struct {
		why  string
		zone dnstest.ZoneOptions
		name string
		typ  Type
		edit func(q, m *dns.Msg)
		want string
	}{
		{
			why: "20 keys with one tag and 100 signatures that name it", name: "mx.zone.com.", typ: TypeA, want: limited,
			zone: dnstest.ZoneOptions{Keys: append(collidingKeys(t, "zone.com.", 20), newKeyPair(t, "zone.com.", 13, dnstest.FlagZone|dnstest.FlagSEP, 0))},
			edit: func(q, m *dns.Msg) {
				if q.Question[0].Name == "mx.zone.com." {
					many(m, 5, func(s *dns.RRSIG) { s.KeyTag, s.Algorithm = 4711, dns.ED25519 })
				}
			},
		},
		{
			why: "100 signatures by one key", name: "mx.zone.com.", typ: TypeA, want: limited,
			edit: func(q, m *dns.Msg) {
				if q.Question[0].Name == "mx.zone.com." {
					many(m, 100, nil)
				}
			},
		},
		{
			why: "100 signatures over everything", name: "mx.zone.com.", typ: TypeTLSA, want: limited,
			edit: func(q, m *dns.Msg) { many(m, 100, nil) },
		},
		{
			why: "65 keys", name: "mx.zone.com.", typ: TypeA, want: limited,
			zone: dnstest.ZoneOptions{Algorithm: 15, Keys: append(collidingKeys(t, "zone.com.", 64), newKeyPair(t, "zone.com.", 13, dnstest.FlagZone|dnstest.FlagSEP, 0))},
			edit: func(q, m *dns.Msg) {},
		},
		{
			why: "65,535 iterations and a huge salt", name: "absent.zone.com.", typ: TypeA, want: bogusly,
			zone: dnstest.ZoneOptions{NSEC3: &dnstest.NSEC3{Iterations: 65535, Salt: strings.Repeat("ab", 255)}},
			edit: func(q, m *dns.Msg) {},
		},
		{
			why: "a deep name below an NSEC3 zone", name: strings.Repeat("a.", 100) + "zone.com.", typ: TypeA, want: limited,
			zone: dnstest.ZoneOptions{NSEC3: &dnstest.NSEC3{Iterations: 100, Salt: strings.Repeat("ab", 255)}},
			edit: func(q, m *dns.Msg) {},
		},
		{
			why: "unsigned NSEC3 records with many iterations, which would make the denial insecure", name: "mx.zone.com.", typ: TypeA, want: bogusly,
			zone: dnstest.ZoneOptions{NSEC3: &dnstest.NSEC3{}},
			edit: func(q, m *dns.Msg) {
				if q.Question[0].Name == "mx.zone.com." {
					m.Answer, m.Rcode = nil, dns.RcodeNameError
					m.Ns = records(t, "0123456789abcdefghijklmnopqrstuv.zone.com. 300 NSEC3 1 0 400 ab 0123456789abcdefghijklmnopqrstuv A")
				}
			},
		},
		{
			why: "a denial whose iteration count was raised", name: "absent.zone.com.", typ: TypeA, want: bogusly,
			zone: dnstest.ZoneOptions{NSEC3: &dnstest.NSEC3{}},
			edit: func(q, m *dns.Msg) {
				for _, r := range m.Ns {
					if n, ok := r.(*dns.NSEC3); ok && q.Question[0].Name == "absent.zone.com." {
						n.Iterations = 400
					}
				}
			},
		},
		{
			why: "17 NSEC3 records", name: "absent.zone.com.", typ: TypeA, want: limited,
			zone: dnstest.ZoneOptions{NSEC3: &dnstest.NSEC3{}},
			edit: func(q, m *dns.Msg) {
				for i := range 17 {
					owner := strings.Repeat(string(rune('a'+i)), 32)
					m.Ns = append(m.Ns, records(t, owner+".zone.com. 300 NSEC3 1 0 0 - 0123456789abcdefghijklmnopqrstuv A")...)
				}
			},
		},
		{
			why: "1,800 NSEC records without signatures that cover the name", name: "mx.zone.com.", typ: TypeA, want: limited,
			edit: func(q, m *dns.Msg) {
				if q.Question[0].Name == "mx.zone.com." {
					m.Answer, m.Rcode, m.Ns = nil, dns.RcodeNameError, nil
					for i := range 1800 { // each covers the name, none the wildcard
						m.Ns = append(m.Ns, &dns.NSEC{
							Hdr:        dns.RR_Header{Name: fmt.Sprintf("b%d.zone.com.", i), Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: 300},
							NextDomain: "zone.com.",
						})
					}
				}
			},
		},
		{
			why: "a name with 60 labels to walk down", name: strings.Repeat("x.", 60) + "zone.com.", typ: TypeA, want: bogusly,
			edit: func(q, m *dns.Msg) {
				if q.Question[0].Qtype == dns.TypeA {
					m.Answer, m.Ns = records(t, q.Question[0].Name+" A 6.6.6.6"), nil
				}
			},
		},
		{
			why: "names without end", name: strings.Repeat("x.", 60) + "zone.com.", typ: TypeA, want: limited,
			zone: dnstest.ZoneOptions{Algorithm: 13},
			edit: func(q, m *dns.Msg) {
				if q.Question[0].Qtype == dns.TypeA {
					m.Answer, m.Ns = records(t, q.Question[0].Name+" A 6.6.6.6"), nil
				}
			},
		},
		{
			why: "33 DS records", name: "mx.zone.com.", typ: TypeA, want: limited,
			edit: func(q, m *dns.Msg) {},
		},
	} {
		t.Run(tt.why, func(t *testing.T) {
			tree := dnstest.NewTree(dnstest.Options{})
			com := tree.Zone("com.", dnstest.ZoneOptions{})
			zone := tree.Zone("zone.com.", tt.zone, "mx A 127.0.0.1")
			switch tt.why {
			case "names without end":
				zone.Add(strings.Repeat("x.", 61) + "zone.com. TXT deep")
			case "33 DS records":
				for range 33 {
					digest := make([]byte, 32)
					digest[0] = byte(rand.IntN(256))
					digest[1] = byte(rand.IntN(256))
					digest[2] = byte(rand.IntN(256))
					com.AddRR(&dns.DS{
						Hdr:    dns.RR_Header{Name: "zone.com.", Rrtype: dns.TypeDS, Class: dns.ClassINET, Ttl: 300},
						KeyTag: 1, Algorithm: 13, DigestType: 2, Digest: hex.EncodeToString(digest),
					})
				}
			}
			require.NoError(t, tree.Sign())
			server := serve(t, tree, dnstest.PassThrough)
			v := newTestValidator(t, tree, nil, server.Addr())
			_, err := v.upstreams(t0)
			require.Nil(t, err)
			server.Edit(func(q, m *dns.Msg) *dns.Msg {
				tt.edit(q, m)
				return m
			})
			got, cost, took, failure := spent(v, tt.name, tt.typ)
			require.Equal(t, tt.want, got, "%v %v", took, failure)
			t.Logf("%v, %+v: %v", took, cost, failure)
			var l Limits
			l.setDefaults()
			require.LessOrEqual(t, cost.verifications, l.Verifications)
			require.LessOrEqual(t, cost.failed, l.FailedVerifications)
			require.LessOrEqual(t, cost.hashes, l.Hashes)
			require.LessOrEqual(t, cost.queries, l.Queries)
			require.LessOrEqual(t, cost.dsSteps, l.DSSteps)
		})
	}
}
