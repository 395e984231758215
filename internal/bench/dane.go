package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"time"

	"github.com/mjl-/adns"
	moxdane "github.com/mjl-/mox/dane"
	moxdns "github.com/mjl-/mox/dns"
	"github.com/mjl-/mox/mlog"

	"github.com/smtpsec/smtpsec/dane"
	"github.com/smtpsec/smtpsec/internal/testpki"
)

// mailHost is a mail host that sends leaf, intermediate and root, all with
// P-256 keys, as DANE-TA wants it.
type mailHost struct {
	leaf, issuer, root *x509.Certificate
	chain              []*x509.Certificate
	now                time.Time
}

func newMailHost() mailHost {
	leaf := testpki.NewRoot("Root").Intermediate("Intermediate").Leaf([]string{"mx.example.com"})
	chain := leaf.ChainWithRoot()
	return mailHost{leaf: chain[0], issuer: chain[1], root: chain[2], chain: chain, now: time.Now()}
}

// damaged is a record that is right but for one bit.
func damaged(r dane.Record) dane.Record {
	r.Data = bytes.Clone(r.Data)
	r.Data[0] ^= 1
	return r
}

func daneRows() []row {
	const ee, ta, spki, full, sha = dane.UsageDANEEE, dane.UsageDANETA, dane.SelectorSPKI, dane.MatchingFull, dane.MatchingSHA256
	const hashKey = "crypto/sha256 of the key"
	hashLeaf := func(h mailHost, r dane.Record) contender {
		return digestFloor(hashKey, r, h.leaf.RawSubjectPublicKeyInfo)
	}
	return []row{
		{name: "DANE 3 1 1, match", limit: 1.15, limitOf: hashKey, setup: func() []contender {
			h := newMailHost()
			r := must(dane.NewRecord(ee, spki, sha, h.leaf))
			return []contender{verifyOurs(h, r, nil), hashLeaf(h, r), verifyMox(h, r)}
		}},
		{name: "DANE 3 1 1, mismatch", limit: 1.15, limitOf: hashKey, setup: func() []contender {
			h := newMailHost()
			r := damaged(must(dane.NewRecord(ee, spki, sha, h.leaf)))
			return []contender{verifyOurs(h, r, nil), hashLeaf(h, r), verifyMox(h, r)}
		}},
		{name: "DANE 3 1 0, match", setup: func() []contender {
			h := newMailHost()
			r := must(dane.NewRecord(ee, spki, full, h.leaf))
			var ok bool
			return []contender{verifyOurs(h, r, nil), {
				name: "bytes.Equal of the key", kind: floor,
				run: func(n int) {
					for range n {
						ok = bytes.Equal(h.leaf.RawSubjectPublicKeyInfo, r.Data)
					}
				},
				answer: func() string { return matched(ok) },
			}, verifyMox(h, r)}
		}},
		{name: "DANE 2 1 1, nothing matches", setup: func() []contender {
			h := newMailHost()
			r := must(dane.NewRecord(ta, spki, sha, testpki.NewRoot("Another").Cert))
			return []contender{verifyOurs(h, r, nil),
				digestFloor("crypto/sha256 of the two CA keys", r, h.issuer.RawSubjectPublicKeyInfo, h.root.RawSubjectPublicKeyInfo),
				verifyMox(h, r)}
		}},
		{name: "DANE 2 1 1, chain seen for the first time", allocs: anyAllocs, limit: 1.05, limitOf: x509Ready, setup: func() []contender {
			h := newMailHost()
			r := must(dane.NewRecord(ta, spki, sha, h.root))
			return []contender{verifyOurs(h, r, nil), x509Floor(h.chain[:2], h.root, "mx.example.com"), verifyMox(h, r)}
		}},
		{name: "DANE 2 1 1, same chain again", limit: 1.25, limitOf: hashChain, setup: func() []contender {
			h := newMailHost()
			r := must(dane.NewRecord(ta, spki, sha, h.root))
			return []contender{verifyOurs(h, r, dane.NewChainCache(0, 0)), chainFloor(h.chain),
				x509Floor(h.chain[:2], h.root, "mx.example.com"), verifyMox(h, r)}
		}},
	}
}

// verifyOurs compiles the record once, as a sender does for a TLSA RRset, and
// verifies the chain.
func verifyOurs(h mailHost, r dane.Record, cache *dane.ChainCache) contender {
	v := must(dane.NewVerifier([]dane.Record{r}, dane.Options{Cache: cache}))
	ids := must(dane.NewRefIDs("mx.example.com", "example.com"))
	var status dane.Status
	return contender{
		name: us, kind: ours,
		run: func(n int) {
			for range n {
				status = v.Verify(h.chain, ids, h.now).Status
			}
		},
		answer: func() string { return matched(status == dane.Matched) },
	}
}

// verifyMox calls mox as its SMTP client does. The logger is mox's own and
// already carries the package's name, which saves mox two allocations per call.
func verifyMox(h mailHost, r dane.Record) contender {
	var logger *slog.Logger = mlog.New("dane", nil).Logger
	records := []adns.TLSA{{
		Usage: adns.TLSAUsage(r.Usage), Selector: adns.TLSASelector(r.Selector),
		MatchType: adns.TLSAMatchType(r.MatchingType), CertAssoc: r.Data,
	}}
	cs := tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, PeerCertificates: h.chain}
	host, more := moxdns.Domain{ASCII: "mx.example.com"}, []moxdns.Domain{{ASCII: "example.com"}}
	var ok bool
	return contender{
		name: mox, kind: peer,
		run: func(n int) {
			for range n {
				ok, _, _ = moxdane.Verify(logger, records, cs, host, more, nil)
			}
		},
		answer: func() string { return matched(ok) },
	}
}

// digestFloor hashes each key and compares it with the record: the bare work of
// a record with a digest.
func digestFloor(name string, r dane.Record, keys ...[]byte) contender {
	want := [sha256.Size]byte(r.Data)
	c := contender{name: name, kind: floor}
	var ok bool
	c.answer = func() string { return matched(ok) }
	if len(keys) == 1 { // without the inner loop, which would be time of ours
		key := keys[0]
		c.run = func(n int) {
			for range n {
				ok = sha256.Sum256(key) == want
			}
		}
		return c
	}
	c.run = func(n int) {
		for range n {
			ok = false
			for _, key := range keys {
				ok = ok || sha256.Sum256(key) == want
			}
		}
	}
	return c
}
