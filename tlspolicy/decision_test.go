package tlspolicy_test

import (
	"encoding"
	"fmt"
	"reflect"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

// texts returns the texts of values, "" for the names that stand for nothing.
func texts(values ...fmt.Stringer) []string {
	var all []string
	for _, v := range values {
		s := v.String()
		if v == tlspolicy.ReasonNone {
			s = ""
		}
		all = append(all, s)
	}
	return all
}

func digit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// requirementsByPlan returns one plan for every Requirement that Plan makes.
func requirementsByPlan() map[tlspolicy.Requirement]plan {
	all := map[tlspolicy.Requirement]plan{}
	for p := range plans() {
		all[p.requirement()] = p
	}
	return all
}

func TestPlanFollowsTheTable(t *testing.T) {
	table := readRules(t, "before-connecting.txt")
	for p := range plans() {
		row := table.first(t, texts(p.s.Mode, p.s.DANE, p.d, p.s.MTASTS, p.t)...)
		r := p.requirement()
		d, skip := r.Skip()
		if r.Kind() == tlspolicy.KindClear {
			d.Reason = r.Decide(tlspolicy.Outcome{}).Reason
		}
		require.Equal(t, row.then, texts(r.Kind(), d.Reason, d.Result, d.Policy), "%v: %s", p, row.line)
		require.Equal(t, r.Kind() == tlspolicy.KindSkip, skip)
		require.Equal(t, p.s.Mode, r.Mode())
		require.Equal(t, p.s.Fallback, r.Fallback())
		if !skip {
			require.Equal(t, p.floor(), r.TLSFloor(), "%v", p)
			continue
		}
		require.Equal(t, tlspolicy.Next, d.Action)
		require.Equal(t, tlspolicy.StatusCryptoFailure, d.Status)
		require.Equal(t, tlsaResult(p), d.TLSA, "%v", p)
		require.Equal(t, d, r.Decide(tlspolicy.Outcome{TLS: tlspolicy.TLSEstablished, Chain: tlspolicy.ChainOK, DANEMatch: true}),
			"Decide repeats the skip")
	}
	table.requireAllHit(t)
}

// tlsaResult is what the tlsa policy gets besides the decision's own result.
func tlsaResult(p plan) tlspolicy.Result {
	if p.floor() {
		return tlspolicy.ResultTLSAInvalid
	}
	return tlspolicy.ResultNone
}

func TestDecideFollowsTheTables(t *testing.T) {
	without := readRules(t, "without-session.txt")
	with := readRules(t, "with-session.txt")
	for r, p := range requirementsByPlan() {
		if r.Kind() == tlspolicy.KindSkip {
			continue
		}
		for _, o := range outcomes {
			d := r.Decide(o)
			if o.TLS == tlspolicy.TLSEstablished && r.Kind() != tlspolicy.KindClear {
				name := o.VerifyName
				if p.s.Mode == tlspolicy.RequiredVerifyHosted {
					name = o.HostedName
				}
				row := with.first(t, r.Kind().String(), p.s.Mode.String(), digit(p.floor()), digit(o.OldTLS), o.Chain.String(),
					digit(o.DANEMatch), digit(o.STSName), digit(name), digit(o.ExtraFailed))
				require.Equal(t, row.then, texts(d.Action, d.Reason, d.Result, d.Policy, d.Cause), "%v %+v: %s", p, o, row.line)
				status := tlspolicy.StatusNone
				if d.Action == tlspolicy.Next {
					status = tlspolicy.StatusCryptoFailure
				}
				require.Equal(t, status, d.Status)
			} else {
				row := without.first(t, r.Kind().String(), p.s.Fallback.String(), digit(p.floor()), o.TLS.String())
				require.Equal(t, row.then, texts(d.Action, d.Reason, d.Status, d.Result, d.Policy), "%v %+v: %s", p, o, row.line)
				require.Equal(t, tlspolicy.CauseNone, d.Cause)
			}
			require.Equal(t, tlsaResult(p), d.TLSA, "%v %+v", p, o)
		}
	}
	without.requireAllHit(t)
	with.requireAllHit(t)
}

func TestShadowFollowsTheTable(t *testing.T) {
	table := readRules(t, "shadow.txt")
	for r, p := range requirementsByPlan() {
		for _, o := range outcomes {
			got := r.Decide(o).Shadow
			if p.tested() == tlspolicy.STSUnknown {
				require.Zero(t, got, "%v %+v", p, o)
				continue
			}
			row := table.first(t, p.t.String(), o.TLS.String(), digit(o.OldTLS), o.Chain.String(), digit(o.STSName))
			require.Equal(t, row.then, texts(got.Reason, got.Result), "%v %+v: %s", p, o, row.line)
			require.Equal(t, tlspolicy.PolicySTS, got.Policy)
		}
	}
	table.requireAllHit(t)
}

func TestPlanDomain(t *testing.T) {
	for p := range plans() {
		d, stop := tlspolicy.PlanDomain(p.s, p.d)
		on := p.s.Mode != tlspolicy.No && p.s.DANE != tlspolicy.DANENone
		var want tlspolicy.Decision
		switch {
		case on && p.d == tlspolicy.DANEBogus:
			want = tlspolicy.Decision{Reason: tlspolicy.ReasonDANEBogus, Status: tlspolicy.StatusCryptoFailure,
				Result: tlspolicy.ResultDNSSECInvalid, Policy: tlspolicy.PolicyTLSA}
		case on && p.d == tlspolicy.DANELookupError:
			want = tlspolicy.Decision{Reason: tlspolicy.ReasonDANELookupError, Status: tlspolicy.StatusCryptoFailure}
		}
		require.Equal(t, want, d, "%v", p)
		require.Equal(t, want != tlspolicy.Decision{}, stop, "%v", p)
	}
}

func TestZeroValuesFailClosed(t *testing.T) {
	on := tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.On, Fallback: tlspolicy.FallbackAlways}
	off := tlspolicy.BuiltIn()
	clear := tlspolicy.Settings{Mode: tlspolicy.No, DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.On, Fallback: tlspolicy.FallbackAlways}
	with := func(change func(*tlspolicy.Settings)) tlspolicy.Settings {
		s := on
		change(&s)
		return s
	}
	const (
		insecure = tlspolicy.DANEInsecure
		noPolicy = tlspolicy.STSNoPolicy
		settings = tlspolicy.ReasonSettingsInvalid
		input    = tlspolicy.ReasonInputInvalid
		goesOn   = tlspolicy.ReasonNone
	)
	for _, c := range []struct {
		why    string
		s      tlspolicy.Settings
		d      tlspolicy.DANEState
		t      tlspolicy.STSState
		want   tlspolicy.Reason // of the host
		domain tlspolicy.Reason
	}{
		{"zero settings", tlspolicy.Settings{}, insecure, noPolicy, settings, settings},
		{"mode default", with(func(s *tlspolicy.Settings) { s.Mode = 0 }), insecure, noPolicy, settings, settings},
		{"DANE default", with(func(s *tlspolicy.Settings) { s.DANE = 0 }), insecure, noPolicy, settings, settings},
		{"MTA-STS default", with(func(s *tlspolicy.Settings) { s.MTASTS = 0 }), insecure, noPolicy, settings, settings},
		{"fallback default", with(func(s *tlspolicy.Settings) { s.Fallback = 0 }), insecure, noPolicy, settings, settings},
		{"mode out of range", with(func(s *tlspolicy.Settings) { s.Mode = 7 }), insecure, noPolicy, settings, settings},
		{"DANE out of range", with(func(s *tlspolicy.Settings) { s.DANE = 4 }), insecure, noPolicy, settings, settings},
		{"MTA-STS out of range", with(func(s *tlspolicy.Settings) { s.MTASTS = 3 }), insecure, noPolicy, settings, settings},
		{"fallback out of range", with(func(s *tlspolicy.Settings) { s.Fallback = 4 }), insecure, noPolicy, settings, settings},
		{"mode No with a default left", tlspolicy.Settings{Mode: tlspolicy.No}, insecure, noPolicy, settings, settings},
		{"nobody has looked for TLSA", on, 0, noPolicy, input, input},
		{"unnamed DANE state", on, 7, noPolicy, input, input},
		{"nobody has looked for a policy", on, insecure, 0, input, goesOn},
		{"unnamed MTA-STS state", on, insecure, 7, input, goesOn},
		{"a missing finding is not made up for by DANE", on, tlspolicy.DANEUsable, 0, input, goesOn},
		{"what is off needs no finding", off, 0, 0, goesOn, goesOn},
		{"mode No needs none at all", clear, 0, 0, goesOn, goesOn},
	} {
		r := tlspolicy.Plan(c.s, c.d, c.t)
		d, skip := r.Skip()
		require.Equal(t, c.want, d.Reason, c.why)
		require.Equal(t, c.want != goesOn, skip, c.why)
		require.Equal(t, skip, r.StrictTLS() && r.Kind() == tlspolicy.KindSkip, c.why)
		stop, stopped := tlspolicy.PlanDomain(c.s, c.d)
		require.Equal(t, c.domain, stop.Reason, c.why)
		require.Equal(t, c.domain != goesOn, stopped, c.why)
		for _, d := range []tlspolicy.Decision{d, stop} {
			if d.Reason != goesOn {
				require.Equal(t, tlspolicy.Decision{Reason: d.Reason, Status: tlspolicy.StatusCryptoFailure}, d, c.why)
			}
		}
	}

	var zero tlspolicy.Requirement
	d, skip := zero.Skip()
	require.True(t, skip)
	require.Equal(t, tlspolicy.ReasonInputInvalid, d.Reason)
	require.Equal(t, d, zero.Decide(tlspolicy.Outcome{TLS: tlspolicy.TLSEstablished, Chain: tlspolicy.ChainOK}))
	require.Equal(t, tlspolicy.Next, tlspolicy.Decision{}.Action)
	require.Zero(t, zero.AfterReconnect())
	require.Equal(t, zero, zero.WithoutReferences())
}

func TestDecideWithoutFacts(t *testing.T) {
	for r, p := range requirementsByPlan() {
		for _, tls := range []tlspolicy.TLSOutcome{tlspolicy.TLSUnknown, tlspolicy.TLSEstablished + 1, 255} {
			d := r.Decide(tlspolicy.Outcome{TLS: tls, Chain: tlspolicy.ChainOK, DANEMatch: true, STSName: true, VerifyName: true, HostedName: true})
			switch r.Kind() {
			case tlspolicy.KindSkip:
			case tlspolicy.KindClear:
				require.Equal(t, tlspolicy.Decision{Action: tlspolicy.DeliverClear, Reason: tlspolicy.ReasonModeNo}, d)
			default:
				require.Equal(t, texts(tlspolicy.Next, tlspolicy.ReasonInputInvalid, tlspolicy.StatusCryptoFailure, tlspolicy.ResultNone,
					tlspolicy.PolicyNone, tlsaResult(p)), texts(d.Action, d.Reason, d.Status, d.Result, d.Policy, d.TLSA), "%v", p)
			}
		}
		// A chain outcome that has no name is not a trusted chain.
		d := r.Decide(tlspolicy.Outcome{TLS: tlspolicy.TLSEstablished, Chain: 9, STSName: true, VerifyName: true, HostedName: true})
		require.NotEqual(t, tlspolicy.DeliverVerified, d.Action)
	}
}

func TestAfterReconnect(t *testing.T) {
	for r, p := range requirementsByPlan() {
		leads := false
		for _, o := range outcomes {
			leads = leads || r.Decide(o).Action == tlspolicy.ReconnectClear
		}
		after := r.AfterReconnect()
		if !leads {
			require.Zero(t, after, "%v", p)
			continue
		}
		require.Equal(t, tlspolicy.KindClear, after.Kind())
		require.False(t, after.StrictTLS() || after.NeedsChain())
		for _, o := range outcomes {
			require.Equal(t, tlspolicy.Decision{Action: tlspolicy.DeliverClear, Reason: tlspolicy.ReasonHandshakeFailed}, after.Decide(o))
		}
		require.Zero(t, after.AfterReconnect(), "one reconnection only")
	}
}

func TestWithoutReferences(t *testing.T) {
	for r, p := range requirementsByPlan() {
		needsName := r.Kind() == tlspolicy.KindSTS || r.Kind() == tlspolicy.KindMode &&
			(p.s.Mode == tlspolicy.RequiredVerify || p.s.Mode == tlspolicy.RequiredVerifyHosted)
		if !needsName {
			require.Equal(t, r, r.WithoutReferences(), "%v", p)
			continue
		}
		d, skip := r.WithoutReferences().Skip()
		require.True(t, skip, "%v", p)
		want := tlspolicy.Decision{Reason: tlspolicy.ReasonIdentityEmpty, Status: tlspolicy.StatusCryptoFailure, TLSA: tlsaResult(p)}
		if p.tested() == tlspolicy.STSTestingMismatch {
			want.Shadow = tlspolicy.Shadow{Policy: tlspolicy.PolicySTS, Reason: tlspolicy.ReasonSTSMXMismatch, Result: tlspolicy.ResultValidationFailure}
		}
		require.Equal(t, want, d, "%v", p)
		require.False(t, r.WithoutReferences().NeedsChain())
	}
}

// TestNeedsAreWhatDecides: a fact that is not asked for never changes the
// decision, and one that is asked for does so at least once.
func TestNeedsAreWhatDecides(t *testing.T) {
	for r, p := range requirementsByPlan() {
		facts := []struct {
			name   string
			needed bool
			flip   func(*tlspolicy.Outcome)
		}{
			{"chain", r.NeedsChain(), func(o *tlspolicy.Outcome) { o.Chain = (o.Chain + 1) % 4 }},
			{"verify", r.NeedsVerify(), func(o *tlspolicy.Outcome) { o.VerifyName = !o.VerifyName }},
			{"hosted", r.NeedsHosted(), func(o *tlspolicy.Outcome) { o.HostedName = !o.HostedName }},
			{"sts", r.NeedsSTSName(), func(o *tlspolicy.Outcome) { o.STSName = !o.STSName }},
			{"dane", r.NeedsDANEMatch(), func(o *tlspolicy.Outcome) { o.DANEMatch = !o.DANEMatch }},
		}
		for _, fact := range facts {
			decides := false
			for _, o := range outcomes {
				changed := o
				fact.flip(&changed)
				decides = decides || r.Decide(o) != r.Decide(changed)
			}
			require.Equal(t, decides, fact.needed, "%s for %v", fact.name, p)
		}
		clear := false
		for _, o := range outcomes {
			a := r.Decide(o).Action
			clear = clear || a == tlspolicy.DeliverClear || a == tlspolicy.ReconnectClear
		}
		require.Equal(t, !clear, r.StrictTLS(), "%v", p)
	}
}

func TestDecisionValuesAreSmall(t *testing.T) {
	for _, v := range []any{tlspolicy.Requirement{}, tlspolicy.Decision{}, tlspolicy.Outcome{}, tlspolicy.Settings{}} {
		typ := reflect.TypeOf(v)
		require.LessOrEqual(t, typ.Size(), uintptr(16), "%v", typ)
		require.True(t, typ.Comparable())
		require.False(t, hasPointers(typ), "%v", typ)
	}
	require.LessOrEqual(t, unsafe.Sizeof(tlspolicy.Settings{}), uintptr(8))
}

func hasPointers(typ reflect.Type) bool {
	switch typ.Kind() {
	case reflect.Struct:
		for i := range typ.NumField() {
			if hasPointers(typ.Field(i).Type) {
				return true
			}
		}
		return false
	case reflect.Uint8, reflect.Bool:
		return false
	}
	return true
}

func TestNamesOfEnums(t *testing.T) {
	type name interface {
		fmt.Stringer
		encoding.TextMarshaler
	}
	for _, c := range []struct {
		value func(uint8) name
		names []string
	}{
		{func(i uint8) name { return tlspolicy.DANEState(i) }, []string{"unknown", "insecure", "no-tlsa", "unusable", "usable", "bogus", "lookup-error"}},
		{func(i uint8) name { return tlspolicy.STSState(i) }, []string{"unknown", "no-policy", "discovery-error", "testing-mx-match", "testing-mx-mismatch", "enforce-mx-match", "enforce-mx-mismatch"}},
		{func(i uint8) name { return tlspolicy.TLSOutcome(i) }, []string{"unknown", "no-esmtp", "not-offered", "refused", "handshake-failed", "established"}},
		{func(i uint8) name { return tlspolicy.ChainOutcome(i) }, []string{"unchecked", "ok", "untrusted", "expired"}},
		{func(i uint8) name { return tlspolicy.Action(i) }, []string{"next-mx-then-defer", "deliver-clear", "deliver-tls-unverified", "deliver-tls-verified", "reconnect-clear"}},
		{func(i uint8) name { return tlspolicy.Kind(i) }, []string{"skip", "clear", "opportunistic", "floor", "mode", "sts", "dane"}},
		{func(i uint8) name { return tlspolicy.Status(i) }, []string{"", "4.7.4", "4.7.5"}},
		{func(i uint8) name { return tlspolicy.Result(i) }, []string{"", "starttls-not-supported", "certificate-host-mismatch", "certificate-expired", "certificate-not-trusted", "validation-failure", "tlsa-invalid", "dnssec-invalid", "dane-required", "sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid"}},
		{func(i uint8) name { return tlspolicy.Policy(i) }, []string{"", "tlsa", "sts", "no-policy-found", "local"}},
		{func(i uint8) name { return tlspolicy.Cause(i) }, []string{"none", "not-checked", "chain-untrusted", "chain-expired", "name-mismatch", "extra-failed", "old-tls"}},
		{func(i uint8) name { return tlspolicy.Class(i) }, []string{"none", "mode", "dane", "sts", "fallback", "config"}},
		{func(i uint8) name { return tlspolicy.Match(i) }, []string{"default", "domain", "parent", "next-hop-port", "next-hop"}},
		{func(i uint8) name { return tlspolicy.Source(i) }, []string{"built-in", "default", "entry"}},
	} {
		for i, want := range c.names {
			require.Equal(t, want, c.value(uint8(i)).String())
			text, err := c.value(uint8(i)).MarshalText()
			require.NoError(t, err)
			require.Equal(t, want, string(text))
		}
		beyond := c.value(uint8(len(c.names)))
		require.Regexp(t, `^[A-Za-z]+\(\d+\)$`, beyond.String())
		_, err := beyond.MarshalText()
		require.ErrorContains(t, err, "out of range")
	}
}
