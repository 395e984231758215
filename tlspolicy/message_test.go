package tlspolicy_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	. "github.com/smtpsec/smtpsec/tlspolicy"
)

var (
	requireTLS  = Message{RequireTLS: true}
	tlsOptional = Message{TLSOptional: true}
	tlsOverride = Message{TLSOptional: true, OverrideLocal: true}
)

// eachRequirement calls f for every combination of settings and host findings,
// with what the message makes of the settings.
func eachRequirement(m Message, f func(s Settings, d DANEState, t STSState, r Requirement)) {
	eachHost(func(s Settings, d DANEState, t STSState) {
		s = s.For(m)
		f(s, d, t, Plan(s, d, t))
	})
}

// A message with REQUIRETLS goes to an authenticated host or nowhere, and a name
// that proves the host is one that was proven itself.
func TestRequireTLSIsVerifiedOrNotAtAll(t *testing.T) {
	t.Parallel()
	outcomes := allOutcomes()
	verified := 0
	eachRequirement(requireTLS, func(s Settings, d DANEState, st STSState, r Requirement) {
		require.True(t, r.SecureMXOnly(), "%v, %v, %v", s, d, st)
		require.True(t, r.Kind() == KindSkip || r.StrictTLS())
		require.Zero(t, r.AfterReconnect())
		for _, o := range outcomes {
			got := r.Decide(o)
			if got.Action == Next {
				continue
			}
			name := o.VerifyName
			if s.Mode == RequiredVerifyHosted {
				name = o.HostedName
			}
			proven := d == DANEUsable && o.DANEMatch || o.Chain == ChainOK && name && !o.ExtraFailed
			if got.Action != DeliverVerified || !proven || o.TLS != TLSEstablished || o.OldTLS {
				t.Fatalf("%v, %v, %v, %+v: got %+v", s, d, st, o, got)
			}
			verified++
		}
	})
	require.NotZero(t, verified)
}

// "TLS-Required: No": DANE and MTA-STS change nothing, whatever was found, and
// what they would have said is what they say to another message.
func TestTLSOptionalIsReportOnly(t *testing.T) {
	t.Parallel()
	outcomes := allOutcomes()
	compared := map[[2]Requirement]bool{}
	for _, m := range []Message{tlsOptional, tlsOverride} {
		eachHost(func(s Settings, d DANEState, st STSState) {
			s = s.For(m)
			r := Plan(s, d, st)
			plain := Plan(Settings{Mode: s.Mode, DANE: DANENone, MTASTS: Off, Fallback: s.Fallback}, DANEUnknown, STSUnknown)
			enforced := Plan(Settings{Mode: Preferred, DANE: s.DANE, MTASTS: s.MTASTS, Fallback: s.Fallback}, d, st)
			if compared[[2]Requirement{r, enforced}] {
				return
			}
			compared[[2]Requirement{r, enforced}] = true
			require.Equal(t, plain.Kind(), r.Kind(), "%v, %v, %v", s, d, st)
			require.Equal(t, plain.StrictTLS(), r.StrictTLS())
			require.False(t, r.TLSFloor())
			for _, o := range outcomes {
				got := r.Decide(o)
				own := got
				own.TLSA, own.Shadow, own.Satisfied = ResultNone, Shadow{}, PolicyNone
				want := plain.Decide(o)
				want.Satisfied = PolicyNone
				if own != want {
					t.Fatalf("%v, %v, %v, %+v: got %+v, want %+v", s, d, st, o, own, want)
				}
				if s.Mode == No {
					if got.Shadow != (Shadow{}) {
						t.Fatalf("%v: mode no looks at nothing, got %+v", s, got)
					}
					continue
				}
				counted := map[Policy]Result{}
				for policy, result := range enforced.Decide(o).Counts() {
					if policy != PolicyNoPolicyFound {
						counted[policy] = result
					}
				}
				for policy, result := range got.Counts() {
					if policy == PolicyNoPolicyFound {
						continue
					}
					if want, ok := counted[policy]; !ok || want != result {
						t.Fatalf("%v, %v, %v, %+v: counts %v %v, enforced %v", s, d, st, o, policy, result, counted)
					}
					delete(counted, policy)
				}
				if len(counted) > 0 {
					t.Fatalf("%v, %v, %v, %+v: does not count %v: %+v", s, d, st, o, counted, got)
				}
			}
		})
	}
}

// What asks for a fact is what it decides, in the shadow too.
func TestMessageNeedsAreWhatDecides(t *testing.T) {
	t.Parallel()
	outcomes := allOutcomes()
	seen := map[Requirement]bool{}
	for _, m := range allMessages() {
		eachRequirement(m, func(_ Settings, _ DANEState, _ STSState, r Requirement) {
			if seen[r] {
				return
			}
			seen[r] = true
			var chain, verify, hosted, sts, dane bool
			for _, o := range outcomes {
				got := r.Decide(o)
				changed := func(change func(*Outcome)) bool {
					other := o
					change(&other)
					return r.Decide(other) != got
				}
				chain = chain || changed(func(o *Outcome) { o.Chain = (o.Chain + 1) % 4 })
				verify = verify || changed(func(o *Outcome) { o.VerifyName = !o.VerifyName })
				hosted = hosted || changed(func(o *Outcome) { o.HostedName = !o.HostedName })
				sts = sts || changed(func(o *Outcome) { o.STSName = !o.STSName })
				dane = dane || changed(func(o *Outcome) { o.DANEMatch = !o.DANEMatch })
			}
			require.Equal(t, [...]bool{chain, verify, hosted, sts, dane},
				[...]bool{r.NeedsChain(), r.NeedsVerify(), r.NeedsHosted(), r.NeedsSTSName(), r.NeedsDANEMatch()}, "%+v", r)
		})
	}
}

func TestForIsIdempotentAndRequireTLSWins(t *testing.T) {
	var all []Settings
	for mode := range Mode(9) { // default and values out of range too
		for dane := range DANE(6) {
			for sts := range MTASTS(5) {
				for fallback := range Fallback(6) {
					all = append(all, Settings{Mode: mode, DANE: dane, MTASTS: sts, Fallback: fallback})
				}
			}
		}
	}
	for _, s := range all {
		require.Equal(t, s, s.For(Message{}))
		require.Equal(t, s, s.For(Message{OverrideLocal: true}), "there is nothing to override for")
		require.Zero(t, s.Message())
		for _, m := range allMessages() {
			once := s.For(m)
			require.Equal(t, once, once.For(m), "%v, %+v", s, m)
			require.Equal(t, once, once.For(Message{}))
			if m.RequireTLS {
				require.Equal(t, s.For(requireTLS), once, "TLSOptional next to RequireTLS")
				require.Equal(t, requireTLS, once.Message())
			}
			require.Equal(t, s.For(requireTLS), s.For(requireTLS).For(m), "TLSOptional after RequireTLS")
			require.Equal(t, requireTLS, once.For(requireTLS).Message(), "RequireTLS after TLSOptional")
			_, refused := Plan(once, DANEUsable, STSEnforceMatch).Skip()
			require.Equal(t, plannable(s), !refused, "%v, %+v: For resolves nothing", s, m)
			_, stop := PlanDomain(once, DANEInsecure)
			require.Equal(t, plannable(s), !stop, "%v, %+v", s, m)
		}
	}
}

func plannable(s Settings) bool {
	return No <= s.Mode && s.Mode <= RequiredVerifyHosted && DANENone <= s.DANE && s.DANE <= DANEMandatory &&
		Off <= s.MTASTS && s.MTASTS <= On && FallbackAfter220 <= s.Fallback && s.Fallback <= FallbackBefore220
}

func TestForOnModes(t *testing.T) {
	for mode, want := range map[Mode][3]Mode{ // RequireTLS, TLSOptional, with OverrideLocal
		No:                   {RequiredVerifyHosted, No, No},
		Preferred:            {RequiredVerifyHosted, Preferred, Preferred},
		Required:             {RequiredVerifyHosted, Required, Preferred},
		PreferredVerify:      {RequiredVerifyHosted, PreferredVerify, PreferredVerify},
		RequiredVerify:       {RequiredVerify, RequiredVerify, PreferredVerify},
		RequiredVerifyHosted: {RequiredVerifyHosted, RequiredVerifyHosted, PreferredVerify},
	} {
		s := BuiltIn()
		s.Mode = mode
		for i, m := range []Message{requireTLS, tlsOptional, tlsOverride} {
			require.Equal(t, want[i], s.For(m).Mode, "%v, %+v", mode, m)
		}
	}
	s := Recommended()
	s.DANE = DANEMandatory
	require.Equal(t, DANEMandatory, s.For(requireTLS).DANE, "more than opportunistic stays")
	require.Equal(t, "mode required-verify-hosted, DANE opportunistic, MTA-STS on, fallback after-220, REQUIRETLS", BuiltIn().For(requireTLS).String())
	require.Equal(t, "mode preferred, DANE none, MTA-STS off, fallback after-220, TLS-Required: No", BuiltIn().For(tlsOptional).String())
}

func TestPlanDomainReportOnly(t *testing.T) {
	for _, s := range allSettings() {
		for mx := range lastDANE + 1 {
			want, _ := PlanDomain(s, mx)
			got, stop := PlanDomain(s.For(tlsOptional), mx)
			require.False(t, stop, "%v, %v", s, mx)
			if want.Policy == PolicyNone {
				require.Zero(t, got)
				continue
			}
			require.Equal(t, Decision{Shadow: Shadow{Policy: PolicyTLSA, Reason: ReasonDANEBogus, Result: ResultDNSSECInvalid}}, got)
			var counted []Policy
			for policy, result := range got.Counts() {
				require.Equal(t, ResultDNSSECInvalid, result)
				counted = append(counted, policy)
			}
			require.Equal(t, []Policy{PolicyTLSA}, counted)

			raised, stop := PlanDomain(s.For(requireTLS), mx)
			require.True(t, stop)
			require.Equal(t, ReasonDANEBogus, raised.Reason)
		}
	}
	got, stop := PlanDomain(BuiltIn().For(requireTLS), DANEUnknown)
	require.True(t, stop, "REQUIRETLS switches DANE on, so the MX lookup must tell")
	require.Equal(t, ReasonInputInvalid, got.Reason)
}

func TestTableRefusesMessageBits(t *testing.T) {
	for _, m := range []Message{requireTLS, tlsOptional, tlsOverride} {
		for _, entries := range []map[string]Settings{
			{"example.com": BuiltIn().For(m)},
			{"[192.0.2.1]": Settings{}.For(m)},
		} {
			table, err := NewTable(Settings{}, entries)
			require.Nil(t, table)
			var entry *EntryError
			require.True(t, errors.As(err, &entry), "%v", err)
			require.Equal(t, "message", entry.Field)
		}
		_, err := NewTable(BuiltIn().For(m), nil)
		require.ErrorContains(t, err, `entry "default": message: `)
	}
}

// No text form carries the bits, so no configuration can set them.
func TestMessageBitsAreNotWrittenDown(t *testing.T) {
	text, err := json.Marshal(BuiltIn().For(tlsOptional))
	require.NoError(t, err)
	require.JSONEq(t, `{"Mode": "preferred", "DANE": "none", "MTASTS": "off", "Fallback": "after-220"}`, string(text))
}
