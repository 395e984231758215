package main

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/dnstest"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// held is what one thing costs in memory.
type held struct {
	what   string
	octets float64 // of heap, and of stacks for connections
	n      int     // of how many things this is the average
}

// Things whose memory the arithmetic asks for by name.
const (
	heldPolicy   = "MTA-STS: a domain with a policy of 5 mx"
	heldNoPolicy = "MTA-STS: a domain known to have none"
	heldStored   = "MTA-STS: the same policy as text in a Store"
	heldEntry    = "destination table: an exact name of 20 octets"
	heldAnswer   = "DNSSEC: a validated TLSA answer in the cache"
	heldSession  = "Dialer: a TLS session and a verified chain, for one mail host"
	heldClear    = "Listener: an idle connection in clear text"
	heldTLS      = "Listener: an idle connection inside TLS"
)

// inUse is the live heap, with the stacks of goroutines if they count.
func inUse(stacks bool) float64 {
	runtime.GC() // the second collection empties what the first left in pools
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if stacks {
		return float64(m.HeapAlloc + m.StackInuse)
	}
	return float64(m.HeapAlloc)
}

// weigh returns what fill adds per thing, as long as what it returns lives.
func weigh(what string, n int, fill func() any) held {
	before := inUse(false)
	kept := fill()
	after := inUse(false)
	runtime.KeepAlive(kept)
	return held{what, (after - before) / float64(n), n}
}

// weights are all measurements of memory.
func weights(p plan) []held {
	n, domains, answers, hosts, conns := million, 100_000, 2000, 256, 500
	if p.quick {
		n, domains, answers, hosts, conns = 10_000, 2000, 50, 8, 20
	}
	all := []held{
		weighDomains(heldPolicy, domains, "domain%d0.example.com"), // an even number: see published
		weighDomains(heldNoPolicy, domains, "domain%d1.example.com"),
		storedText(),
		weigh(heldEntry, n, func() any {
			return must(tlspolicy.NewTableSeq(tlspolicy.Recommended(), func(yield func(string, tlspolicy.Settings) bool) {
				for i := range n {
					if !yield(fmt.Sprintf("mx%07d.example.com", i), tlspolicy.Settings{Mode: tlspolicy.RequiredVerify}) {
						return
					}
				}
			}))
		}),
		weigh("HAT: an address or a net", n, func() any { return compiled(netGroups(n)) }),
		weigh("HAT: a host name of 20 octets", n, func() any { return newHostNames(n).table }),
		weighAnswers(answers),
		weighSessions(hosts),
	}
	for _, secure := range []bool{false, true} {
		for _, filtered := range []bool{false, true} {
			all = append(all, weighConnections(conns, secure, filtered))
		}
	}
	return all
}

func weighDomains(what string, n int, pattern string) held {
	return weigh(what, n, func() any {
		c := &mtasts.Client{
			Resolver: records{}, Fetch: mtasts.FetchConfig{Transport: policyHosts{}},
			Limits: mtasts.Limits{NegativeTTL: 24 * time.Hour, MaxPolicyBytes: 1 << 32},
		}
		for i := range n {
			must(c.Lookup(context.Background(), fmt.Sprintf(pattern, i)))
		}
		return c
	})
}

// storedText is the size of an entry as a Store keeps it.
func storedText() held {
	store := new(lastEntry)
	c := &mtasts.Client{Resolver: records{}, Fetch: mtasts.FetchConfig{Transport: policyHosts{}}, Store: store}
	must(c.Lookup(context.Background(), "domain100000.example.com"))
	return held{heldStored, float64(len(must(store.entry.MarshalText()))), 1}
}

// weighAnswers fills the cache of a Validator with TLSA answers. The replies are
// there before, so that they do not count.
func weighAnswers(n int) held {
	tree := dnstest.NewTree(dnstest.Options{TTL: 86400})
	var lines []string
	for i := range n {
		lines = append(lines, fmt.Sprintf("_25._tcp.mx%05d TLSA 3 1 1 %s", i, strings.Repeat("5a", 32)))
	}
	tree.Zone(signedZone, dnstest.ZoneOptions{}, lines...)
	tree.Zone(".", dnstest.ZoneOptions{})
	check(tree.Sign())
	w := newSignedWorldOf(tree)
	defer w.close()
	fill := func() any {
		v := w.validator(dnssec.CacheConfig{Entries: n + 1000})
		for i := range n {
			must(v.Lookup(context.Background(), fmt.Sprintf("_25._tcp.mx%05d.%s", i, signedZone), dnssec.TypeTLSA))
		}
		return v
	}
	fill()
	return weigh(heldAnswer, n, fill)
}

// weighSessions lets a Dialer remember a TLS session and a chain for each of n
// hosts.
func weighSessions(n int) held {
	h := newMailHosts(n)
	defer h.end.close()
	once := func(d int) any {
		dialer := h.dialer(tlspolicy.RequiredVerifyHosted, 0, 0)
		for i := range d {
			s := must(dialer.Dial(context.Background(), destinationName(i)))
			check(s.Quit(context.Background()))
		}
		return dialer
	}
	once(1) // what the first connection makes for good
	return weigh(heldSession, n, func() any { return once(n) })
}

// weighConnections opens n idle connections to a server in this process, from
// another one.
func weighConnections(n int, secure, filtered bool) held {
	what := heldClear
	if secure {
		what = heldTLS
	}
	if !filtered {
		what = strings.Replace(what, "Listener", "go-smtp alone", 1)
	}
	end, r := newHelper(), newReceiver(filtered)
	defer end.close()
	defer r.close()
	o := order{Do: "hold", Addr: r.addr, TLS: secure, Roots: r.roots, N: 1}
	end.do(o) // what the first connection makes for good
	before := inUse(true)
	o.N = n
	end.do(o)
	after := inUse(true)
	end.do(order{Do: "release"})
	return held{what, (after - before) / float64(n), n}
}

// weightTable is the measurements as a Markdown table.
func weightTable(all []held) [][]string {
	lines := [][]string{{"what", "octets each", "average over"}}
	for _, h := range all {
		lines = append(lines, []string{h.what, grouped(round2(h.octets)), grouped(h.n)})
	}
	return lines
}
