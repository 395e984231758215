package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/miekg/dns"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/dnstest"
)

// validationRows validate TLSA answers from a zone two below the root, all keys
// P-256. The resolver's replies come from memory at once, so that the time is
// that of the validation. One floor checks as many signatures over ready
// digests with ready keys. The other reads the same messages with miekg/dns and
// checks their signatures, which is all that it has of validation: it does not
// ask whether a key may sign, does not look for proofs, and is told the keys.
func validationRows() []row {
	return []row{
		{name: "DNSSEC, TLSA, nothing known (6 replies)", allocs: anyAllocs, setup: func() []contender {
			w := newSignedWorld()
			return w.contenders(func(v func() *dnssec.Validator) func() string {
				return func() string { return tlsaOf(v(), w.mailHost(0)) }
			}, dnssec.CacheConfig{}, true)
		}},
		{name: "DNSSEC, TLSA, zone known (1 reply)", allocs: anyAllocs, setup: func() []contender {
			w := newSignedWorld()
			turn := 0
			return w.contenders(func(v func() *dnssec.Validator) func() string {
				return func() string { // two names in turn, of which the cache holds one
					turn++
					return tlsaOf(v(), w.mailHost(turn%2))
				}
			}, dnssec.CacheConfig{Entries: 1}, false)
		}},
		{name: "DNSSEC, TLSA, answer known", goalNs: 1000, setup: func() []contender {
			w := newSignedWorld()
			v := w.validator(dnssec.CacheConfig{})
			name := "_25._tcp." + w.mailHost(0)
			plain := map[dnssec.Question]*dnssec.Answer{{Name: name, Type: dnssec.TypeTLSA}: must(v.Lookup(context.Background(), name, dnssec.TypeTLSA))}
			var a, b *dnssec.Answer
			return []contender{{
				name: us, kind: ours,
				run: func(n int) {
					for range n {
						a = must(v.Lookup(context.Background(), name, dnssec.TypeTLSA))
					}
				},
				answer: func() string { return a.Security.String() },
			}, {
				name: "map lookup", kind: floor,
				run: func(n int) {
					for range n {
						b = plain[dnssec.Question{Name: name, Type: dnssec.TypeTLSA}]
					}
				},
				answer: func() string { return b.Security.String() },
			}}
		}},
		{name: coldDelivery, allocs: anyAllocs, setup: func() []contender {
			w := newSignedWorld()
			return w.contenders(func(v func() *dnssec.Validator) func() string {
				return func() string { return delivery(v()) }
			}, dnssec.CacheConfig{}, true)
		}},
	}
}

const (
	signedZone   = "zone.example."
	coldDelivery = "DNSSEC, MX, A, AAAA and TLSA, nothing known (9 replies)"
)

// signedWorld is a tree of signed zones whose resolver answers from memory.
type signedWorld struct {
	anchors []dnssec.Anchor
	server  *dnstest.Server
	mu      sync.Mutex
	known   map[string][]byte // replies by the question section
	log     [][]byte          // those given since the last reset, in order; only while logging
	logging bool
}

func (w *signedWorld) mailHost(i int) string { return fmt.Sprintf("mx%d.%s", i, signedZone) }

func newSignedWorld() *signedWorld {
	tree := dnstest.NewTree(dnstest.Options{TTL: 86400})
	tree.Zone(".", dnstest.ZoneOptions{})
	tree.Zone("example.", dnstest.ZoneOptions{})
	records := []string{"@ MX 10 mx0"}
	for i := range 2 {
		records = append(records, fmt.Sprintf("mx%d A 192.0.2.%d", i, i+1), fmt.Sprintf("mx%d AAAA 2001:db8::%d", i, i+1),
			fmt.Sprintf("_25._tcp.mx%d TLSA 3 1 1 %s", i, strings.Repeat(fmt.Sprintf("%02x", i+1), 32)))
	}
	tree.Zone(signedZone, dnstest.ZoneOptions{}, records...)
	check(tree.Sign())
	return newSignedWorldOf(tree)
}

func newSignedWorldOf(tree *dnstest.Tree) *signedWorld {
	return &signedWorld{
		anchors: must(dnssec.ParseAnchors(strings.NewReader(tree.RootAnchor()))),
		server:  must(dnstest.ServeRecursive(tree, dnstest.PassThrough, "")),
		known:   make(map[string][]byte),
	}
}

func (w *signedWorld) close() { check(w.server.Close()) }

func (w *signedWorld) validator(cache dnssec.CacheConfig) *dnssec.Validator {
	return must(dnssec.NewValidator(dnssec.ValidatorOptions{
		Common:  dnssec.Common{Upstream: dnssec.Upstream{Servers: []netip.AddrPort{w.server.Addr()}, Exchange: w.exchange}, Cache: cache},
		Anchors: w.anchors,
	}))
}

// exchange asks the server what nobody has asked before, over TCP.
func (w *signedWorld) exchange(_ context.Context, server netip.AddrPort, query []byte) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	reply := w.known[string(query[12:])]
	if reply == nil {
		conn, err := net.Dial("tcp", server.String())
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
			return nil, err
		}
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return nil, err
		}
		reply = make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, reply); err != nil {
			return nil, err
		}
		w.known[string(query[12:])] = reply
	}
	if w.logging {
		w.log = append(w.log, reply)
	}
	own := append([]byte(nil), reply...)
	copy(own, query[:2]) // the ID
	return own, nil
}

// contenders do what op does with a validator, a new one each time if cold.
func (w *signedWorld) contenders(op func(func() *dnssec.Validator) func() string, cache dnssec.CacheConfig, cold bool) []contender {
	one := w.validator(cache)
	do := op(func() *dnssec.Validator {
		if cold {
			return w.validator(cache)
		}
		return one
	})
	for range 2 { // the replies come to be known
		do()
	}
	keys := w.keys()
	w.logging = true
	do()
	w.logging = false
	replies := w.log
	var found, theirs, bare string
	signatures := readyChecks(replies, keys)
	return []contender{{
		name: us, kind: ours, close: w.close,
		run: func(n int) {
			for range n {
				found = do()
			}
		},
		answer: func() string { return found },
	}, {
		name: fmt.Sprintf("crypto/ecdsa, %d signatures", len(signatures)), kind: floor,
		run: func(n int) {
			for range n {
				bare = "secure"
				for i := range signatures {
					if s := &signatures[i]; !ecdsa.Verify(s.key, s.digest[:], s.r, s.s) {
						bare = "bogus"
					}
				}
			}
		},
		answer: func() string { return bare },
	}, {
		name: miekg + ", signatures alone", kind: floor,
		run: func(n int) {
			for range n {
				theirs = "secure"
				for _, reply := range replies {
					if err := checkMessage(reply, keys); err != nil {
						theirs = err.Error()
					}
				}
			}
		},
		answer: func() string { return theirs },
	}}
}

func tlsaOf(v *dnssec.Validator, host string) string {
	a := must(v.Lookup(context.Background(), "_25._tcp."+host, dnssec.TypeTLSA))
	if len(a.Records) != 1 {
		return "no record"
	}
	return a.Security.String()
}

// delivery asks for all that a delivery to the zone needs.
func delivery(v *dnssec.Validator) string {
	ctx := context.Background()
	mx := must(dnssec.LookupMX(ctx, v, signedZone))
	host := mx.Hosts[0].Host
	must(dnssec.LookupAddrs(ctx, v, host))
	if mx.Answer.Security != dnssec.Secure {
		return mx.Answer.Security.String()
	}
	return tlsaOf(v, host)
}

// keys are all keys in the replies that are known, by the zone.
func (w *signedWorld) keys() map[string]*dns.DNSKEY {
	w.mu.Lock()
	defer w.mu.Unlock()
	keys := make(map[string]*dns.DNSKEY)
	for _, reply := range w.known {
		m := new(dns.Msg)
		check(m.Unpack(reply))
		for _, rr := range m.Answer {
			if key, ok := rr.(*dns.DNSKEY); ok {
				keys[key.Hdr.Name] = key
			}
		}
	}
	return keys
}

// signedSet is an RRset of a reply with its signature.
type signedSet struct {
	sig *dns.RRSIG
	set []dns.RR
}

func signedSets(m *dns.Msg) (sets []signedSet) {
	for _, section := range [][]dns.RR{m.Answer, m.Ns} {
		for _, rr := range section {
			sig, ok := rr.(*dns.RRSIG)
			if !ok {
				continue
			}
			s := signedSet{sig: sig}
			for _, rr := range section {
				if rr.Header().Rrtype == sig.TypeCovered && rr.Header().Name == sig.Hdr.Name {
					s.set = append(s.set, rr)
				}
			}
			sets = append(sets, s)
		}
	}
	return sets
}

func checkMessage(reply []byte, keys map[string]*dns.DNSKEY) error {
	m := new(dns.Msg)
	if err := m.Unpack(reply); err != nil {
		return err
	}
	sets := signedSets(m)
	if len(sets) == 0 {
		return fmt.Errorf("%v is not signed", m.Question)
	}
	for _, s := range sets {
		if err := s.sig.Verify(keys[s.sig.SignerName], s.set); err != nil {
			return err
		}
	}
	return nil
}

// readyCheck is a signature with everything made ready for its check.
type readyCheck struct {
	key    *ecdsa.PublicKey
	digest [sha256.Size]byte
	r, s   *big.Int
}

func readyChecks(replies [][]byte, keys map[string]*dns.DNSKEY) (checks []readyCheck) {
	for _, reply := range replies {
		m := new(dns.Msg)
		check(m.Unpack(reply))
		for _, s := range signedSets(m) {
			point := must(base64.StdEncoding.DecodeString(keys[s.sig.SignerName].PublicKey))
			raw := must(base64.StdEncoding.DecodeString(s.sig.Signature))
			checks = append(checks, readyCheck{
				key:    must(ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{4}, point...))),
				digest: sha256.Sum256(signedOctets(s)),
				r:      new(big.Int).SetBytes(raw[:32]), s: new(big.Int).SetBytes(raw[32:]),
			})
		}
	}
	return checks
}

// signedOctets are what a signature is about (RFC 4034 section 3.1.8.1). The sets
// here have one record, but for those of keys in no order that matters.
func signedOctets(s signedSet) []byte {
	sig := s.sig
	octets := binary.BigEndian.AppendUint16(nil, sig.TypeCovered)
	octets = append(octets, sig.Algorithm, sig.Labels)
	octets = binary.BigEndian.AppendUint32(octets, sig.OrigTtl)
	octets = binary.BigEndian.AppendUint32(octets, sig.Expiration)
	octets = binary.BigEndian.AppendUint32(octets, sig.Inception)
	octets = binary.BigEndian.AppendUint16(octets, sig.KeyTag)
	octets = append(octets, wireName(sig.SignerName)...)
	for _, rr := range s.set {
		rr := dns.Copy(rr)
		rr.Header().Ttl = sig.OrigTtl
		wire := make([]byte, 4096)
		octets = append(octets, wire[:must(dns.PackRR(rr, wire, 0, nil, false))]...)
	}
	return octets
}
