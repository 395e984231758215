package smtpclient

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// wayTo is a random delivery to a random host. Each choice has few values, so that
// equal pairs come up.
func wayTo(t testing.TB, r *rand.Rand) (*delivery, *hostPlan, uint64) {
	pick := func(texts ...string) string { return texts[r.IntN(len(texts))] }
	d := &Dialer{}
	if r.IntN(4) == 0 {
		d.LocalIPv4 = netip.MustParseAddr(pick("192.0.2.1", "192.0.2.2"))
	}
	if r.IntN(4) == 0 {
		d.LocalIPv6 = netip.MustParseAddr(pick("2001:db8::1", "fe80::1%a", "fe80::1%b"))
	}
	x := &delivery{
		conf: &config{d: d}, port: uint16(25 + r.IntN(2)), domain: pick("a.example", "b.example"), offer: &offer{},
		settings: tlspolicy.Settings{
			Mode: tlspolicy.No + tlspolicy.Mode(r.IntN(6)), DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.On,
			Fallback: tlspolicy.FallbackAfter220 + tlspolicy.Fallback(r.IntN(3)),
		},
	}
	x.settings = x.settings.For(tlspolicy.Message{RequireTLS: r.IntN(4) == 0, TLSOptional: r.IntN(3) == 0, OverrideLocal: r.IntN(2) == 0})
	x.route = tlspolicy.Route{Domain: x.domain}
	if r.IntN(3) == 0 {
		x.hop = Hop{Host: pick("hub.example", "hub2.example"), Literal: r.IntN(2) == 0, Port: x.port}
		x.route = tlspolicy.Route{Domain: x.domain, Host: x.hop.Host, MX: !x.hop.Literal}
	}
	if r.IntN(3) == 0 {
		x.offer.fingerprint = sha256.Sum256([]byte(pick("1", "2")))
	}
	p := &hostPlan{host: candidate{name: pick("mx.example", "mx2.example")}, stsID: pick("1", "2")}
	p.daneState = []tlspolicy.DANEState{tlspolicy.DANENoTLSA, tlspolicy.DANENoTLSA, tlspolicy.DANEUsable, tlspolicy.DANEUnusable}[r.IntN(4)]
	p.stsState = []tlspolicy.STSState{tlspolicy.STSNoPolicy, tlspolicy.STSTestingMatch, tlspolicy.STSEnforceMatch}[r.IntN(3)]
	p.requirement = tlspolicy.Plan(x.settings, p.daneState, p.stsState)
	p.names.MXSecure = r.IntN(2) == 0
	if p.requirement.Kind() == tlspolicy.KindDANE {
		var err error
		record, err := dane.ParseRecord("3 1 1 " + fmt.Sprintf("%x", sha256.Sum256([]byte(pick("1", "2")))))
		require.NoError(t, err)
		p.dane.Verifier, err = dane.NewVerifier([]dane.Record{record}, dane.Options{})
		require.NoError(t, err)
		p.dane.RefIDs, err = dane.NewRefIDs(pick("base1.example", "base2.example"), "mx.example")
		require.NoError(t, err)
	}
	return x, p, uint64(r.IntN(2))
}

// listed writes down what the key of a connection stands for, as the documentation
// of ReuseKey lists it.
func listed(x *delivery, p *hostPlan, generation uint64) string {
	r := p.requirement
	s := fmt.Sprint(p.host.name, x.port, x.conf.d.LocalIPv4, x.conf.d.LocalIPv6, r.Kind(), r.Mode(), r.Fallback(), r.StrictTLS(),
		r.NeedsVerify(), r.NeedsHosted(), r.NeedsSTSName(), r.SecureMXOnly(), r.ReportOnly(), x.offer.fingerprint)
	if r.Kind() == tlspolicy.KindDANE {
		s += fmt.Sprint(p.dane.Verifier.Partition(), p.dane.RefIDs.Base())
	}
	if r.Kind() == tlspolicy.KindSTS {
		s += fmt.Sprint(x.route.STSDomain(), " ", p.stsID)
	}
	if r.NeedsChain() {
		s += fmt.Sprint(x.domain, x.hop, generation)
	}
	if r.NeedsVerify() || r.NeedsHosted() {
		s += fmt.Sprint(" ", p.names.MXSecure)
	}
	return s
}

// TestReuseKeyProperty: two keys are equal exactly if everything that is listed is.
func TestReuseKeyProperty(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	byKey, byList := map[ReuseKey]string{}, map[string]ReuseKey{}
	same := 0
	for range 60000 {
		x, p, generation := wayTo(t, r)
		key, list := x.keyParts(p, generation).reuseKey(), listed(x, p, generation)
		if former, ok := byKey[key]; ok {
			require.Equal(t, former, list, "one key for two lists")
			same++
		}
		if former, ok := byList[list]; ok {
			require.Equal(t, former, key, "two keys for one list")
		}
		byKey[key], byList[list] = list, key
	}
	require.Greater(t, same, 1000)
	require.Greater(t, len(byKey), 1000)
}

// TestKeyParts: each part makes a difference of its own, and neighbours do not run
// into each other.
func TestKeyParts(t *testing.T) {
	base := keyParts{host: "h", port: 25, daneBase: "b", stsDomain: "d", stsID: "i", domain: "r", route: "o", serverName: "s"}
	changes := map[string]func(k *keyParts){
		"host": func(k *keyParts) { k.host = "hb" }, "port": func(k *keyParts) { k.port = 26 },
		"source 4": func(k *keyParts) { k.source[0] = netip.MustParseAddr("192.0.2.1") },
		"source 6": func(k *keyParts) { k.source[1] = netip.MustParseAddr("192.0.2.1") },
		"kind":     func(k *keyParts) { k.kind++ }, "mode": func(k *keyParts) { k.mode++ },
		"fallback": func(k *keyParts) { k.fallback++ }, "identity": func(k *keyParts) { k.identity++ },
		"requiretls": func(k *keyParts) { k.message[0] = true }, "tls-required": func(k *keyParts) { k.message[1] = true },
		"strict": func(k *keyParts) { k.strict = true }, "certificate": func(k *keyParts) { k.certificate[31]++ },
		"set": func(k *keyParts) { k.daneSet[0]++ }, "base": func(k *keyParts) { k.daneBase = "bd"; k.stsDomain = "" },
		"sts": func(k *keyParts) { k.stsDomain = "di"; k.stsID = "" }, "id": func(k *keyParts) { k.stsID = "ir"; k.domain = "" },
		"domain": func(k *keyParts) { k.domain = "ro"; k.route = "" }, "route": func(k *keyParts) { k.route = "" },
		"generation": func(k *keyParts) { k.generation++ }, "secure": func(k *keyParts) { k.secureMX = true }, "server name": func(k *keyParts) { k.serverName = "x" },
	}
	notInSessions := map[string]bool{"secure": true, "source 4": true, "source 6": true, "mode": true, "fallback": true, "requiretls": true, "tls-required": true}
	seen := map[ReuseKey]string{base.reuseKey(): "base"}
	for name, change := range changes {
		k := base
		change(&k)
		if name != "server name" {
			require.NotContains(t, seen, k.reuseKey(), name)
			seen[k.reuseKey()] = name
		} else {
			require.Equal(t, base.reuseKey(), k.reuseKey())
		}
		require.Equal(t, notInSessions[name], k.sessionKey() == base.sessionKey(), name)
	}
	require.NotEqual(t, keyParts{}.reuseKey(), keyParts{}.sessionKey())
	require.Len(t, keyParts{}.reuseKey().String(), 64)
}
