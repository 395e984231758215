package tlspolicy_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	. "github.com/smtpsec/smtpsec/tlspolicy"
)

// What a message makes of the settings of its destination; what no row names
// stays. Columns of the message: REQUIRETLS, "TLS-Required: No", and whether
// that may lift the operator's own modes.
const messageTable = `
row  require  optional  override  field    from                                      to
M1   1        *         *         mode     no|preferred|required|preferred-verify    required-verify-hosted
M2   1        *         *         dane     none                                      opportunistic
M3   1        *         *         mta-sts  off                                       on
M4   0        1         1         mode     required                                  preferred
M5   0        1         1         mode     required-verify|required-verify-hosted    preferred-verify
`

// allMessages are all values of Message.
func allMessages() []Message {
	var all []Message
	for bits := range 8 {
		all = append(all, Message{RequireTLS: bits&1 != 0, TLSOptional: bits&2 != 0, OverrideLocal: bits&4 != 0})
	}
	return all
}

// applied returns settings without message, as the table makes them.
func applied(s Settings, m Message) Settings {
	then := s
	for _, c := range rowsOf(messageTable, 7) {
		if !setOf[yesNo](c[1]).has(yesNoOf(m.RequireTLS)) || !setOf[yesNo](c[2]).has(yesNoOf(m.TLSOptional)) ||
			!setOf[yesNo](c[3]).has(yesNoOf(m.OverrideLocal)) {
			continue
		}
		switch c[4] {
		case "mode":
			if setOf[Mode](c[5]).has(uint8(s.Mode)) {
				then.Mode = valueOf[Mode](c[6])
			}
		case "dane":
			if setOf[DANE](c[5]).has(uint8(s.DANE)) {
				then.DANE = valueOf[DANE](c[6])
			}
		case "mta-sts":
			if setOf[MTASTS](c[5]).has(uint8(s.MTASTS)) {
				then.MTASTS = valueOf[MTASTS](c[6])
			}
		}
	}
	return then
}

// reporting is what the oracle knows about a host for a message that takes DANE
// and MTA-STS report-only: what holds, and what would have held.
type reporting struct {
	plain, enforced planned
}

func (o *oracle) planReporting(s Settings, d DANEState, t STSState) reporting {
	var r reporting
	plain := s
	plain.DANE, plain.MTASTS = valueOf[DANE]("none"), valueOf[MTASTS]("off")
	r.plain = o.Plan(plain, d, t)
	if s.Mode == valueOf[Mode]("no") {
		r.enforced = r.plain
		return r
	}
	s.Mode = valueOf[Mode]("preferred")
	r.enforced = o.Plan(s, d, t)
	return r
}

// decideReporting decides both ways in full and keeps of the second what counts
// under a policy of the receiver.
func (o *oracle) decideReporting(r reporting, out Outcome) Decision {
	d, _ := o.Decide(r.plain, out)
	e, _ := o.Decide(r.enforced, out)
	d.TLSA = e.TLSA
	switch {
	case e.Shadow != (Shadow{}):
		d.Shadow = e.Shadow
	case e.Policy == o.tlsa && e.TLSA != 0:
		d.Shadow = Shadow{Policy: o.tlsa, Reason: e.Reason, Result: e.TLSA}
	case e.Policy == o.tlsa || e.Policy == o.sts:
		d.Shadow = Shadow{Policy: e.Policy, Reason: e.Reason, Result: e.Result}
	}
	if d.Policy == PolicyLocal && d.Shadow != (Shadow{}) { // a policy was found
		d.Satisfied = 0
	}
	return d
}

// Every combination of settings, message, findings and outcome is decided as the
// tables say.
func TestMessagesAgreeWithTheTables(t *testing.T) {
	t.Parallel()
	o := newOracle(planTable, clearTable, sessionTable)
	outcomes := allOutcomes()
	type pair struct {
		got       Requirement
		enforcing planned
		reporting reporting
	}
	compared := map[pair]bool{}
	hosts := 0
	for _, m := range allMessages() {
		eachHost(func(s Settings, d DANEState, st STSState) {
			hosts++
			then := applied(s, m)
			reportOnly := m.TLSOptional && !m.RequireTLS
			got := s.For(m)
			require.Equal(t, then, Settings{Mode: got.Mode, DANE: got.DANE, MTASTS: got.MTASTS, Fallback: got.Fallback}, "%v, %+v", s, m)
			p := pair{got: Plan(got, d, st)}
			if reportOnly {
				p.reporting = o.planReporting(then, d, st)
			} else {
				p.enforcing = o.Plan(then, d, st)
			}
			if compared[p] {
				return
			}
			compared[p] = true
			require.Equal(t, m.RequireTLS, p.got.SecureMXOnly())
			require.Equal(t, reportOnly, p.got.ReportOnly())
			for _, out := range outcomes {
				var want Decision
				if reportOnly {
					want = o.decideReporting(p.reporting, out)
				} else {
					want, _ = o.Decide(p.enforcing, out)
				}
				decided := p.got.Decide(out)
				want.Cause = decided.Cause // has no table; see TestCauseIsTrue
				if want != decided {
					t.Fatalf("%v, %+v, %v, %v, %+v:\nwant %+v\n got %+v", s, m, d, st, out, want, decided)
				}
			}
		})
	}
	require.Equal(t, 8*6*3*2*3*7*7, hosts)
	t.Logf("%d hosts, %d requirements with %d outcomes each", hosts, len(compared), len(outcomes))
}
