package tlspolicy_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	. "github.com/smtpsec/smtpsec/tlspolicy"
)

// allSettings are the resolved settings: 6 modes, 3 DANE, 2 MTA-STS, 3 fallbacks.
func allSettings() []Settings {
	var all []Settings
	for mode := No; mode <= RequiredVerifyHosted; mode++ {
		for dane := DANENone; dane <= DANEMandatory; dane++ {
			for sts := Off; sts <= On; sts++ {
				for fallback := FallbackAfter220; fallback <= FallbackBefore220; fallback++ {
					all = append(all, Settings{Mode: mode, DANE: dane, MTASTS: sts, Fallback: fallback})
				}
			}
		}
	}
	return all
}

const (
	lastDANE = DANELookupError
	lastSTS  = STSEnforceMismatch
)

// allOutcomes are all values of Outcome: 6 TLS values (the zero one included), 4
// chain values, 6 flags.
func allOutcomes() []Outcome {
	var all []Outcome
	for tls := TLSUnknown; tls <= TLSEstablished; tls++ {
		for chain := ChainUnchecked; chain <= ChainExpired; chain++ {
			for flags := range 64 {
				all = append(all, Outcome{
					TLS: tls, Chain: chain,
					DANEMatch: flags&1 != 0, STSName: flags&2 != 0, VerifyName: flags&4 != 0,
					HostedName: flags&8 != 0, ExtraFailed: flags&16 != 0, OldTLS: flags&32 != 0,
				})
			}
		}
	}
	return all
}

// point is one point of the input space.
type point struct {
	s Settings
	d DANEState
	t STSState
	o Outcome
}

// eachHost calls f for every combination of settings and host findings.
func eachHost(f func(s Settings, d DANEState, t STSState)) {
	for _, s := range allSettings() {
		for d := range lastDANE + 1 {
			for t := range lastSTS + 1 {
				f(s, d, t)
			}
		}
	}
}

// disagreement is the first point at which the oracle and the code differ.
type disagreement struct {
	at        point
	row       string
	want, got Decision
}

// compareWithTables runs the whole input space through both implementations. It returns
// the number of points, the rows of the tables that decided, and the first
// disagreements, one for each pair of decisions.
func compareWithTables(o *oracle) (points int, rows map[string]int, found []disagreement) {
	rows = map[string]int{}
	outcomes := allOutcomes()
	differ := func(at point, row string, want, got Decision) {
		if len(found) < 10 && !slices.ContainsFunc(found, func(d disagreement) bool { return d.want == want && d.got == got }) {
			found = append(found, disagreement{at, row, want, got})
		}
	}
	eachHost(func(s Settings, d DANEState, t STSState) {
		p := o.Plan(s, d, t)
		r := Plan(s, d, t)
		skip, skipped := r.Skip()
		if skip != p.skip || skipped != (p.kind == KindSkip) || r.Kind() != p.kind {
			differ(point{s: s, d: d, t: t}, p.row, p.skip, skip)
		}
		if !skipped {
			rows[p.row]++
		}
		for _, out := range outcomes {
			want, row := o.Decide(p, out)
			got := r.Decide(out)
			points++
			rows[row]++
			want.Cause = got.Cause // has no table; see TestCauseIsTrue
			if want != got {
				differ(point{s, d, t, out}, row, want, got)
			}
		}
	})
	return points, rows, found
}

// Every combination of settings, findings and outcomes is decided as the tables
// say, and every row of the tables decides something.
func TestDecisionsAgreeWithTheTables(t *testing.T) {
	o := newOracle(planTable, clearTable, sessionTable)
	points, rows, found := compareWithTables(o)
	t.Logf("%d combinations compared", points)
	require.Equal(t, 6*3*2*3*7*7*6*4*64, points)
	for _, d := range found {
		t.Errorf("%+v\n%s wants %+v\n     got %+v", d.at, d.row, d.want, d.got)
	}
	for _, row := range o.plan {
		if row.then != "note-floor" && row.then != "note-shadow" {
			require.NotZero(t, rows[row.id], "row %s was never reached", row.id)
		}
	}
	for _, row := range o.session {
		if !row.asFailed {
			require.NotZero(t, rows[row.id], "row %s was never reached", row.id)
		}
	}
	for _, row := range o.clear {
		require.NotZero(t, rows[row.id], "row %s was never reached", row.id)
	}
}

// The row before all others: what a failed MX lookup means for the domain.
func TestPlanDomainAgreesWithTheTable(t *testing.T) {
	for _, s := range allSettings() {
		for mx := range lastDANE + 1 {
			var want Decision
			if s.Mode != No && s.DANE != DANENone {
				switch mx {
				case DANEBogus:
					want = Decision{Reason: ReasonDANEBogus, Status: StatusCryptoFailure, Result: ResultDNSSECInvalid, Policy: PolicyTLSA}
				case DANELookupError: // no base domain is known to report on
					want = Decision{Reason: ReasonDANELookupError, Status: StatusCryptoFailure}
				case DANEUnknown:
					want = Decision{Reason: ReasonInputInvalid, Status: StatusCryptoFailure}
				}
			}
			got, stop := PlanDomain(s, mx)
			require.Equal(t, want, got, "%v, %v", s, mx)
			require.Equal(t, want != Decision{}, stop, "%v, %v", s, mx)
		}
	}
}

// Only where the tables allow ReconnectClear is there anything after it: clear
// text, whatever happens, under the reason that led there.
func TestAfterReconnectEverywhere(t *testing.T) {
	outcomes := allOutcomes()
	eachHost(func(s Settings, d DANEState, st STSState) {
		r := Plan(s, d, st)
		allowed := r.Kind() == KindOpportunistic && s.Fallback != FallbackBefore220
		after := r.AfterReconnect()
		if !allowed {
			require.Zero(t, after, "%v, %v, %v", s, d, st)
			return
		}
		for _, o := range outcomes {
			got := after.Decide(o)
			if want := (Decision{Action: DeliverClear, Reason: ReasonHandshakeFailed}); got != want {
				t.Fatalf("%v, %v, %v, %+v: got %+v", s, d, st, o, got)
			}
		}
		require.Equal(t, KindClear, after.Kind())
		require.Zero(t, after.AfterReconnect(), "there is one reconnect")
	})
	require.Zero(t, Requirement{}.AfterReconnect())
	got, skipped := Requirement{}.AfterReconnect().Skip()
	require.True(t, skipped)
	require.Equal(t, ReasonInputInvalid, got.Reason)
}

// Where delivery depends on a name and there is none to compare, the host is
// skipped; elsewhere nothing changes.
func TestWithoutReferencesSkipsWhereANameIsNeeded(t *testing.T) {
	eachHost(func(s Settings, d DANEState, st STSState) {
		r := Plan(s, d, st)
		needed := r.Kind() == KindSTS || r.Kind() == KindMode && (s.Mode == RequiredVerify || s.Mode == RequiredVerifyHosted)
		without := r.WithoutReferences()
		if !needed {
			require.Equal(t, r, without, "%v, %v, %v", s, d, st)
			return
		}
		got, skipped := without.Skip()
		require.True(t, skipped)
		require.Equal(t, Next, got.Action)
		require.Equal(t, ReasonIdentityEmpty, got.Reason)
		require.Equal(t, StatusCryptoFailure, got.Status)
		require.Equal(t, ResultNone, got.Result)
		require.Equal(t, got, without.Decide(Outcome{TLS: TLSEstablished, Chain: ChainOK, STSName: true, VerifyName: true, HostedName: true}))
	})
}

// A value outside its range is no value: settings refuse the host, a finding
// that is needed refuses it too, and one that is not needed does not matter.
func TestInvalidValuesFailClosed(t *testing.T) {
	refused := func(reason Reason) Decision {
		return Decision{Reason: reason, Status: StatusCryptoFailure}
	}
	good := Outcome{TLS: TLSEstablished, Chain: ChainOK, DANEMatch: true, STSName: true, VerifyName: true, HostedName: true}
	settings := allSettings()
	for _, s := range settings {
		for _, v := range []uint8{0, 7, 63, 64, 255} {
			for _, bad := range []Settings{
				{Mode: Mode(v), DANE: s.DANE, MTASTS: s.MTASTS, Fallback: s.Fallback},
				{Mode: s.Mode, DANE: DANE(v), MTASTS: s.MTASTS, Fallback: s.Fallback},
				{Mode: s.Mode, DANE: s.DANE, MTASTS: MTASTS(v), Fallback: s.Fallback},
				{Mode: s.Mode, DANE: s.DANE, MTASTS: s.MTASTS, Fallback: Fallback(v)},
			} {
				got, skipped := Plan(bad, DANEUsable, STSEnforceMatch).Skip()
				require.True(t, skipped, "%+v", bad)
				require.Equal(t, refused(ReasonSettingsInvalid), got, "%+v", bad)
				require.Equal(t, got, Plan(bad, DANEUsable, STSEnforceMatch).Decide(good))
				got, stop := PlanDomain(bad, DANEInsecure)
				require.True(t, stop)
				require.Equal(t, refused(ReasonSettingsInvalid), got)
			}
			if v == 0 {
				continue // the zero findings are in the tables
			}
			if s.Mode != No && s.DANE != DANENone {
				got, _ := Plan(s, DANEState(v), STSNoPolicy).Skip()
				require.Equal(t, refused(ReasonInputInvalid), got, "%v, DANE state %d", s, v)
				got, _ = PlanDomain(s, DANEState(v))
				require.Equal(t, refused(ReasonInputInvalid), got)
			} else {
				require.Equal(t, Plan(s, DANEUnknown, STSNoPolicy), Plan(s, DANEState(v), STSNoPolicy), "nobody asked")
			}
			if s.Mode != No && s.MTASTS == On {
				got, _ := Plan(s, DANEInsecure, STSState(v)).Skip()
				require.Equal(t, refused(ReasonInputInvalid), got, "%v, MTA-STS state %d", s, v)
			} else {
				require.Equal(t, Plan(s, DANEInsecure, STSUnknown), Plan(s, DANEInsecure, STSState(v)), "nobody asked")
			}
		}
	}
	eachHost(func(s Settings, d DANEState, st STSState) {
		r := Plan(s, d, st)
		for _, v := range []uint8{6, 63, 64, 255} {
			tls, chain := good, good
			tls.TLS, chain.Chain = TLSOutcome(v), ChainOutcome(v)
			zero := good
			zero.TLS = TLSUnknown
			require.Equal(t, r.Decide(zero), r.Decide(tls), "%v, %v, %v: an unnamed TLS outcome is none", s, d, st)
			untrusted := good
			untrusted.Chain = ChainUntrusted
			require.Equal(t, r.Decide(untrusted), r.Decide(chain), "%v, %v, %v: an unnamed chain outcome is untrusted", s, d, st)
		}
	})
	require.Equal(t, refused(ReasonInputInvalid), Requirement{}.Decide(good), "the zero Requirement skips")
}

// The cause that a decision gives is one that the outcome bears out, and every
// session that stays unauthenticated has one.
func TestCauseIsTrue(t *testing.T) {
	outcomes := allOutcomes()
	var seen [CauseOldTLS + 1]int
	eachHost(func(s Settings, d DANEState, st STSState) {
		r := Plan(s, d, st)
		for _, o := range outcomes {
			got := r.Decide(o)
			borne := got.Cause <= CauseOldTLS
			switch got.Cause {
			case CauseNone:
				borne = got.Action != DeliverUnverified
			case CauseNotChecked:
				borne = s.Mode == Preferred || s.Mode == Required
			case CauseChainUntrusted:
				borne = o.Chain == ChainUntrusted || o.Chain == ChainUnchecked
			case CauseChainExpired:
				borne = o.Chain == ChainExpired
			case CauseNameMismatch: // an untrusted chain is reported before a wrong name
				borne = o.Chain == ChainOK && !o.VerifyName
			case CauseExtraFailed:
				borne = o.ExtraFailed
			case CauseOldTLS:
				borne = o.OldTLS
			}
			if borne {
				seen[got.Cause]++
			}
			if !borne || got.Cause != CauseNone && o.TLS != TLSEstablished {
				t.Fatalf("%v, %v, %v, %+v: got %+v", s, d, st, o, got)
			}
		}
	})
	for cause, times := range seen {
		require.NotZero(t, times, "%v never given", Cause(cause))
	}
}

// What a decision counts in TLS reports: each policy once; clear text is never a
// success; our own rules are never the receiver's failure.
func TestReportCounts(t *testing.T) {
	outcomes := allOutcomes()
	decisions := map[Decision]bool{}
	eachHost(func(s Settings, d DANEState, st STSState) {
		r := Plan(s, d, st)
		for _, o := range outcomes {
			decisions[r.Decide(o)] = true
		}
	})
	for d := range decisions {
		want := map[Policy]Result{}
		switch d.Policy {
		case PolicyNone:
		case PolicyLocal:
			if d.Satisfied != PolicyNone {
				want[d.Satisfied] = ResultNone
			}
		default:
			want[d.Policy] = d.Result
		}
		if d.Shadow != (Shadow{}) {
			delete(want, PolicyNoPolicyFound) // a policy was found
			want[d.Shadow.Policy] = d.Shadow.Result
		}
		if d.TLSA != ResultNone {
			want[PolicyTLSA] = d.TLSA
		}
		got := map[Policy]Result{}
		for policy, result := range d.Counts() {
			require.NotContains(t, got, policy, "%+v counts a policy twice", d)
			require.Contains(t, []Policy{PolicyTLSA, PolicySTS, PolicyNoPolicyFound}, policy)
			got[policy] = result
			if result == ResultNone {
				require.NotEqual(t, DeliverClear, d.Action, "%+v", d)
				require.NotEqual(t, ReconnectClear, d.Action, "%+v", d)
			}
		}
		require.Equal(t, want, got, "%+v", d)
	}
	t.Logf("%d different decisions", len(decisions))
}

// Below TLS 1.2 nothing is verified: what the certificate proves makes no
// difference to a requirement that asks for one.
func TestOldTLSProvesNothing(t *testing.T) {
	outcomes := allOutcomes()
	eachHost(func(s Settings, d DANEState, st STSState) {
		r := Plan(s, d, st)
		if !r.NeedsChain() {
			return
		}
		want := r.Decide(Outcome{TLS: TLSEstablished, OldTLS: true})
		require.NotEqual(t, DeliverVerified, want.Action)
		for _, o := range outcomes {
			if o.TLS != TLSEstablished || !o.OldTLS {
				continue
			}
			if got := r.Decide(o); got != want {
				t.Fatalf("%v, %v, %v, %+v: got %+v, want %+v", s, d, st, o, got, want)
			}
		}
	})
}
