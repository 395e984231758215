package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/smtpsec/smtpsec/smtpserver"
)

// accessRows look peers up in a host access table of ten groups. The floor is a
// map of the same addresses or names, which knows neither nets nor parents.
func accessRows() []row {
	const small = "smtpsec, 1,000 entries"
	return []row{
		{name: "HAT, address, 1,000 entries", setup: func() []contender {
			a := newAddresses(thousand)
			return []contender{a.ours(us, ours), a.bare()}
		}},
		{name: "HAT, address, 1,000,000 entries", limit: 2, limitOf: small, setup: func() []contender {
			a := newAddresses(million)
			return []contender{a.ours(us, ours), newAddresses(thousand).ours(small, other), a.bare()}
		}},
		{name: "HAT, host name, 1,000 entries", setup: func() []contender {
			h := newHostNames(thousand)
			return []contender{h.ours(us, ours), h.bare()}
		}},
		{name: "HAT, host name, 1,000,000 entries", limit: 2, limitOf: small, setup: func() []contender {
			h := newHostNames(million)
			return []contender{h.ours(us, ours), newHostNames(thousand).ours(small, other), h.bare()}
		}},
	}
}

const accessGroups = 10

// emptyGroups are the groups of a table before their entries.
func emptyGroups() []smtpserver.SenderGroup {
	groups := make([]smtpserver.SenderGroup, accessGroups)
	for i := range groups {
		groups[i].Name = fmt.Sprintf("group%d", i)
	}
	return groups
}

func compiled(groups []smtpserver.SenderGroup) *smtpserver.Table {
	return must(smtpserver.Compile(groups, smtpserver.Policy{Access: smtpserver.Accept}))
}

// netGroups have n entries, half of them IPv4 addresses and nets, half IPv6.
func netGroups(n int) []smtpserver.SenderGroup {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	groups := emptyGroups()
	for i := range n {
		entry := fmt.Sprintf("%s/%d", randomIPv4(random), 20+random.IntN(13))
		if i%2 == 1 {
			entry = fmt.Sprintf("%s/%d", randomIPv6(random), 40+random.IntN(89))
		}
		g := &groups[random.IntN(accessGroups)]
		g.Senders = append(g.Senders, entry)
	}
	return groups
}

func randomIPv4(r *rand.Rand) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, r.Uint32())))
}

// randomIPv6 draws from 2000::/12, where the peers are.
func randomIPv6(r *rand.Rand) netip.Addr {
	raw := binary.BigEndian.AppendUint64(nil, r.Uint64()>>12|0x2000<<48)
	return netip.AddrFrom16([16]byte(binary.BigEndian.AppendUint64(raw, r.Uint64())))
}

// peers is one host access table as ours and as a plain map, and whom to ask for.
type peers[K comparable] struct {
	table *smtpserver.Table
	plain map[K]*smtpserver.Group
	ask   []K
}

// newPeers makes a table with an entry for each of n things, a multiple of the
// number of groups, drawn by draw. It asks for entries at random, of one group
// after the other.
func newPeers[K comparable](n int, draw func(r *rand.Rand, i int) (entry string, key K)) peers[K] {
	random := rand.New(rand.NewPCG(3, uint64(n)))
	groups := emptyGroups()
	keys, known := make([]K, n), make(map[K]bool, n)
	for i := range n {
		entry, key := draw(random, i)
		for known[key] {
			entry, key = draw(random, i)
		}
		keys[i], known[key] = key, true
		g := &groups[i%accessGroups]
		g.Senders = append(g.Senders, entry)
	}
	p := peers[K]{table: compiled(groups), plain: make(map[K]*smtpserver.Group, n), ask: make([]K, ask)}
	for i, key := range keys {
		p.plain[key] = p.table.Groups()[i%accessGroups]
	}
	for i := range p.ask {
		p.ask[i] = keys[random.IntN(n/accessGroups)*accessGroups+i%accessGroups]
	}
	return p
}

func newAddresses(n int) addresses {
	return addresses{newPeers(n, func(r *rand.Rand, i int) (string, netip.Addr) {
		a := randomIPv4(r)
		if i%2 == 1 {
			a = randomIPv6(r)
		}
		return a.String(), a
	})}
}

type addresses struct{ peers[netip.Addr] }

// One lookup ends before the next begins: see stride.
func (a addresses) ours(name string, k kind) contender {
	return walkPeers(name, k, a.ask, func(peer netip.Addr) *smtpserver.Group {
		g, _ := a.table.Lookup(peer)
		return g
	})
}

func newHostNames(n int) hostNames {
	return hostNames{newPeers(n, func(_ *rand.Rand, i int) (string, string) {
		name := fmt.Sprintf("mx%07d.example.com", i)
		return name, name
	})}
}

type hostNames struct{ peers[string] }

func (h hostNames) ours(name string, k kind) contender {
	host := smtpserver.Host{Status: smtpserver.HostVerified, Names: make([]string, 1)}
	peer := netip.MustParseAddr("192.0.2.1")
	return walkPeers(name, k, h.ask, func(name string) *smtpserver.Group {
		host.Names[0] = name
		return h.table.LookupHost(peer, host)
	})
}

func (p peers[K]) bare() contender {
	return walkPeers("map lookup", floor, p.ask, func(key K) *smtpserver.Group { return p.plain[key] })
}

// walkPeers goes through the keys again and again. find is an indirect call,
// which costs all contenders the same two nanoseconds.
func walkPeers[K any](name string, k kind, keys []K, find func(K) *smtpserver.Group) contender {
	index, i := 0, 0
	return contender{
		name: name, kind: k,
		run: func(n int) {
			for range n {
				index = -1
				if g := find(keys[i%len(keys)]); g != nil {
					index = g.Index
				}
				i += 1 + (index+1)>>7
			}
		},
		answer: func() string { return fmt.Sprint("group ", index) },
	}
}
