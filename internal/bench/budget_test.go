package main

import (
	"context"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/chaincache"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// Hot paths that cross packages, or that no job is about, and what they may
// allocate. The jobs have their own budgets.
func TestBudgets(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	chain, now := newPartner().chain, time.Now()
	later := now.Add(time.Hour)
	key, ok := chaincache.Key("test", chain, sha256.Sum256(nil))
	require.True(t, ok)
	chains := chaincache.New[int](1, 0)
	chains.Put(key, 1, now.Add(-time.Hour), later, now)

	hop := must(smtpclient.ParseHop("mx.partner.example"))
	routes := must(smtpclient.NewRouteTable(nil, map[string][]smtpclient.Hop{"partner.example": {hop}, ".bank.example": {hop}}))

	var live tlspolicy.Live
	require.NoError(t, live.Replace(must(tlspolicy.NewTable(tlspolicy.Recommended(), map[string]tlspolicy.Settings{".bank.example": {Mode: tlspolicy.RequiredVerify}}))))

	hosts := remembered{}
	h := &mailHosts{names: hosts, roots: pemOf(newPartner().root)}
	h.know(1)
	planner := h.dialer(tlspolicy.RequiredVerifyHosted, 0, 0)

	for _, tc := range []struct {
		what   string
		budget float64
		f      func()
	}{
		{"key of a chain", 0, func() { _, ok = chaincache.Key("test", chain, key) }},
		{"hit in the chain cache", 0, func() { _, ok = chains.Get(key, now) }},
		{"miss in the chain cache", 0, func() { _, _ = chains.Get([sha256.Size]byte{}, now) }},
		{"route of a domain", 0, func() { _, ok = routes.Route("partner.example") }},
		{"route of a parent", 0, func() { _, ok = routes.Route("a.b.bank.example") }},
		{"no route", 0, func() { _, _ = routes.Route("nowhere.example") }},
		{"table in force", 0, func() { _, _, err := live.Lookup("a.bank.example", tlspolicy.NextHop{}); check(err) }},
		{"plan of a delivery, DNS at hand", 60, func() {
			must(planner.Plan(context.Background(), smtpclient.Target{Domain: destinationName(0)}))
		}},
	} {
		require.LessOrEqual(t, testing.AllocsPerRun(100, tc.f), tc.budget, tc.what)
		require.True(t, ok, tc.what)
	}
}
