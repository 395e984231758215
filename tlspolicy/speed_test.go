package tlspolicy_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

func TestHotPathsDoNotAllocate(t *testing.T) {
	table := newTable(t, tlspolicy.Recommended(), entries{
		"example.com":             mode(tlspolicy.RequiredVerify),
		".example.org":            mode(tlspolicy.RequiredVerify),
		"[relay.example.net]:587": mode(tlspolicy.Required),
		"[192.0.2.1]":             mode(tlspolicy.Required),
		"[2001:db8::1]:25":        mode(tlspolicy.Required),
	})
	for why, f := range map[string]func() error{
		"exact":               lookup(table, "example.com", tlspolicy.NextHop{}),
		"letter case and dot": lookup(table, "EXAMPLE.Com.", tlspolicy.NextHop{}),
		"parent":              lookup(table, "a.B.c.example.org", tlspolicy.NextHop{}),
		"miss":                lookup(table, "a.very.long.name.that.is.not.in.the.table.example", tlspolicy.NextHop{}),
		"next hop":            lookup(table, "example.net", tlspolicy.NextHop{Host: "RELAY.example.net", Port: 587}),
		"IPv4 next hop":       lookup(table, "example.net", tlspolicy.NextHop{Host: "192.0.2.1", Port: 587}),
		"IPv6 next hop":       lookup(table, "", tlspolicy.NextHop{Host: "[2001:db8::1]"}),
		"address literal":     lookup(table, "[IPv6:2001:db8::1]", tlspolicy.NextHop{}),
		"plan and decide": func() error {
			for _, sts := range stsSts {
				for _, dane := range daneSts {
					r := tlspolicy.Plan(tlspolicy.Recommended(), dane, sts)
					sinkDecision, _ = r.Skip()
					sinkDecision = r.Decide(tlspolicy.Outcome{TLS: tlspolicy.TLSEstablished, Chain: tlspolicy.ChainOK})
					sinkDecision = r.AfterReconnect().Decide(tlspolicy.Outcome{TLS: tlspolicy.TLSNotOffered})
					for _, result := range sinkDecision.Counts() {
						sinkResult = result
					}
				}
			}
			return nil
		},
		"ParseMode": func() (err error) {
			for _, text := range []string{"no", "required-verify-hosted", "TLS – Required Verify Hosted Domains", "5. Required (Verify)"} {
				if sinkMode, err = tlspolicy.ParseMode(text); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		require.NoError(t, f(), why)
		require.Zero(t, testing.AllocsPerRun(100, func() { _ = f() }), why)
	}
}

var (
	sinkDecision tlspolicy.Decision
	sinkSettings tlspolicy.Settings
	sinkOrigin   tlspolicy.Origin
	sinkMode     tlspolicy.Mode
	sinkResult   tlspolicy.Result
	sinkAction   tlspolicy.Action
)

func lookup(table *tlspolicy.Table, domain string, hop tlspolicy.NextHop) func() error {
	return func() (err error) {
		sinkSettings, sinkOrigin, err = table.Lookup(domain, hop)
		return err
	}
}

const million = 1_000_000

// bigName returns names of 20 octets.
func bigName(i int) string { return fmt.Sprintf("mx%07d.example.com", i) }

// bigTable has a million entries. It is made once.
var bigTable = sync.OnceValue(func() *tlspolicy.Table { return tableOf(million) })

// tableOf returns a table with entries for names of 20 octets, one in a hundred
// of them a parent.
func tableOf(size int) *tlspolicy.Table {
	table, err := tlspolicy.NewTableSeq(tlspolicy.Recommended(), func(yield func(string, tlspolicy.Settings) bool) {
		for i := range size {
			name := bigName(i)
			if i%100 == 0 {
				name = "." + name
			}
			if !yield(name, tlspolicy.Settings{Mode: tlspolicy.RequiredVerify}) {
				return
			}
		}
	})
	if err != nil {
		panic(err)
	}
	return table
}

func BenchmarkLookup(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name    string
		pattern string
	}{
		{"hit", "mx%07d.example.com"},
		{"hit in capitals with dot", "MX%07d.EXAMPLE.COM."},
		{"parent or exact", "a.mx%07d.example.com"},
		{"miss", "no%07d.example.net"},
		{"miss of 4 labels", "a.b%07d.example.net"},
		{"hit in near caches", "mx0000%03d.example.com"},
	} {
		limit := million
		if strings.Contains(c.pattern, "%03d") {
			limit = 1000
		}
		names := make([]string, 1<<16) // with their entries more than near caches hold
		for i := range names {
			names[i] = fmt.Sprintf(c.pattern, random.IntN(limit))
		}
		b.Run(c.name, func(b *testing.B) {
			table := bigTable()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				var err error
				if sinkSettings, sinkOrigin, err = table.Lookup(names[i&(1<<16-1)], tlspolicy.NextHop{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkNewTable reports the bytes that a table keeps per entry, with the
// names.
func BenchmarkNewTable(b *testing.B) {
	var before, after runtime.MemStats
	for b.Loop() {
		b.StopTimer()
		runtime.GC()
		runtime.ReadMemStats(&before)
		b.StartTimer()
		table, err := tlspolicy.NewTableSeq(tlspolicy.Recommended(), func(yield func(string, tlspolicy.Settings) bool) {
			for i := range million {
				if !yield(bigName(i), tlspolicy.Settings{Mode: tlspolicy.RequiredVerify}) {
					return
				}
			}
		})
		b.StopTimer()
		if err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/million, "B/entry")
		runtime.KeepAlive(table)
		b.StartTimer()
	}
}

func BenchmarkPlanAndDecide(b *testing.B) {
	outcome := tlspolicy.Outcome{TLS: tlspolicy.TLSEstablished, Chain: tlspolicy.ChainOK, STSName: true, VerifyName: true}
	for _, c := range []struct {
		name string
		s    tlspolicy.Settings
		d    tlspolicy.DANEState
		t    tlspolicy.STSState
	}{
		{"built-in", tlspolicy.BuiltIn(), 0, 0},
		{"DANE", tlspolicy.Recommended(), tlspolicy.DANEUsable, tlspolicy.STSNoPolicy},
		{"MTA-STS", tlspolicy.Recommended(), tlspolicy.DANENoTLSA, tlspolicy.STSEnforceMatch},
		{"tested MTA-STS", tlspolicy.Recommended(), tlspolicy.DANEUnusable, tlspolicy.STSTestingMatch},
		{"skip", tlspolicy.Recommended(), tlspolicy.DANEBogus, tlspolicy.STSNoPolicy},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d := tlspolicy.Plan(c.s, c.d, c.t).Decide(outcome)
				sinkAction, sinkResult = d.Action, d.Result
			}
		})
	}
}

func BenchmarkParseMode(b *testing.B) {
	for _, text := range []string{"no", "required-verify-hosted", "TLS Required - Verify Hosted Domains"} {
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if sinkMode, err = tlspolicy.ParseMode(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
