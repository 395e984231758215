package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

const (
	thousand = 1_000
	million  = 1_000_000
)

// destinations is one destination table as ours and as a plain map, and the
// names to ask for.
type destinations struct {
	table *tlspolicy.Table
	plain map[string]tlspolicy.Settings
	names []string
}

// ask is how many names a row of tables goes through again and again: with
// their entries more than the near caches of a processor hold.
const ask = 1 << 16

// newDestinations makes a table of exact names of 20 octets. The names asked
// for are drawn at random, from the table or from nowhere.
func newDestinations(entries int, hit bool) destinations {
	d := destinations{plain: make(map[string]tlspolicy.Settings, entries), names: make([]string, ask)}
	stated := tlspolicy.Recommended()
	stated.Mode = tlspolicy.RequiredVerify
	for i := range entries {
		d.plain[fmt.Sprintf("mx%07d.example.com", i)] = stated
	}
	d.table = must(tlspolicy.NewTable(tlspolicy.Recommended(), d.plain))
	pattern := "mx%07d.example.com"
	if !hit {
		pattern = "no%07d.example.net"
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range d.names {
		d.names[i] = fmt.Sprintf(pattern, random.IntN(entries))
	}
	return d
}

// One lookup ends before the next begins: see stride.
func (d destinations) ours(name string, k kind) contender {
	var mode tlspolicy.Mode
	i := 0
	return contender{
		name: name, kind: k,
		run: func(n int) {
			for range n {
				s, _, err := d.table.Lookup(d.names[i%ask], tlspolicy.NextHop{})
				check(err)
				mode = s.Mode
				i += 1 + int(mode>>7)
			}
		},
		answer: func() string { return mode.String() },
	}
}

func (d destinations) bare() contender {
	var mode tlspolicy.Mode
	i := 0
	return contender{
		name: "map lookup", kind: floor,
		run: func(n int) {
			for range n {
				s, ok := d.plain[d.names[i%ask]]
				mode = s.Mode
				if !ok {
					mode = tlspolicy.Recommended().Mode
				}
				i += 1 + int(s.Mode>>7)
			}
		},
		answer: func() string { return mode.String() },
	}
}

func tableRows() []row {
	const small = "smtpsec, 1,000 entries"
	return []row{
		{name: "Destination table, 1,000 entries, hit", goalNs: 150, setup: func() []contender {
			d := newDestinations(thousand, true)
			return []contender{d.ours(us, ours), d.bare()}
		}},
		{name: "Destination table, 1,000,000 entries, hit", goalNs: 150, limit: 2, limitOf: small, setup: func() []contender {
			d := newDestinations(million, true)
			return []contender{d.ours(us, ours), newDestinations(thousand, true).ours(small, other), d.bare()}
		}},
		{name: "Destination table, 1,000,000 entries, miss", goalNs: 150, limit: 2, limitOf: small, setup: func() []contender {
			d := newDestinations(million, false)
			return []contender{d.ours(us, ours), newDestinations(thousand, false).ours(small, other), d.bare()}
		}},
	}
}

// situation is all that a decision depends on.
type situation struct {
	settings tlspolicy.Settings
	dane     tlspolicy.DANEState
	sts      tlspolicy.STSState
	outcome  tlspolicy.Outcome
}

// decisionRows make the whole decision, before and after the handshake, for four
// usual situations in turn. The floor finds the decision ready in a map.
func decisionRows() []row {
	return []row{{name: "Plan and Decide", goalNs: 25, setup: func() []contender {
		verified := tlspolicy.Outcome{TLS: tlspolicy.TLSEstablished, Chain: tlspolicy.ChainOK, STSName: true, VerifyName: true, DANEMatch: true}
		situations := [4]situation{
			{tlspolicy.BuiltIn(), tlspolicy.DANEInsecure, tlspolicy.STSNoPolicy, tlspolicy.Outcome{TLS: tlspolicy.TLSNotOffered}},
			{tlspolicy.Recommended(), tlspolicy.DANEUsable, tlspolicy.STSNoPolicy, verified},
			{tlspolicy.Recommended(), tlspolicy.DANENoTLSA, tlspolicy.STSEnforceMatch, verified},
			{tlspolicy.Recommended(), tlspolicy.DANEBogus, tlspolicy.STSNoPolicy, verified},
		}
		known := make(map[situation]tlspolicy.Decision)
		for _, s := range situations {
			known[s] = tlspolicy.Plan(s.settings, s.dane, s.sts).Decide(s.outcome)
		}
		var made, found tlspolicy.Action
		var i, j int
		return []contender{{
			name: us, kind: ours,
			run: func(n int) {
				for range n {
					s := &situations[i%len(situations)]
					made = tlspolicy.Plan(s.settings, s.dane, s.sts).Decide(s.outcome).Action
					i++
				}
			},
			answer: func() string { return made.String() },
		}, {
			name: "map lookup of the situation", kind: floor,
			run: func(n int) {
				for range n {
					found = known[situations[j%len(situations)]].Action
					j++
				}
			},
			answer: func() string { return found.String() },
		}}
	}}}
}
