package tlspolicy_test

import (
	"bufio"
	"iter"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

// from returns the values first to last.
func from[T ~uint8](first, last T) []T {
	var all []T
	for v := first; v <= last; v++ {
		all = append(all, v)
	}
	return all
}

// The whole input space of a decision, in valid values.
var (
	modes     = from(tlspolicy.No, tlspolicy.RequiredVerifyHosted)
	danes     = from(tlspolicy.DANENone, tlspolicy.DANEMandatory)
	mtastses  = from(tlspolicy.Off, tlspolicy.On)
	fallbacks = from(tlspolicy.FallbackAfter220, tlspolicy.FallbackBefore220)
	daneSts   = from(tlspolicy.DANEInsecure, tlspolicy.DANELookupError)
	stsSts    = from(tlspolicy.STSNoPolicy, tlspolicy.STSEnforceMismatch)
)

// outcomes are all outcomes; the chain and the flags vary for established
// sessions only.
var outcomes = func() []tlspolicy.Outcome {
	var all []tlspolicy.Outcome
	for tls := tlspolicy.TLSNoESMTP; tls < tlspolicy.TLSEstablished; tls++ {
		all = append(all, tlspolicy.Outcome{TLS: tls})
	}
	for chain := tlspolicy.ChainUnchecked; chain <= tlspolicy.ChainExpired; chain++ {
		for flags := range 64 {
			all = append(all, tlspolicy.Outcome{
				TLS: tlspolicy.TLSEstablished, Chain: chain,
				DANEMatch: flags&1 != 0, STSName: flags&2 != 0, VerifyName: flags&4 != 0,
				HostedName: flags&8 != 0, ExtraFailed: flags&16 != 0, OldTLS: flags&32 != 0,
			})
		}
	}
	return all
}()

// plan is one input of Plan.
type plan struct {
	s tlspolicy.Settings
	d tlspolicy.DANEState
	t tlspolicy.STSState
}

func (p plan) requirement() tlspolicy.Requirement { return tlspolicy.Plan(p.s, p.d, p.t) }

// floor reports whether unusable TLSA records demand TLS.
func (p plan) floor() bool {
	return p.s.Mode != tlspolicy.No && p.s.DANE == tlspolicy.DANEOpportunistic && p.d == tlspolicy.DANEUnusable
}

// tested returns the state of a tested policy whose result is wanted, if any.
func (p plan) tested() tlspolicy.STSState {
	reached := p.s.Mode != tlspolicy.No && (p.s.DANE == tlspolicy.DANENone ||
		p.s.DANE == tlspolicy.DANEOpportunistic && p.d <= tlspolicy.DANEUnusable)
	testing := p.t == tlspolicy.STSTestingMatch || p.t == tlspolicy.STSTestingMismatch
	if reached && testing && p.s.MTASTS == tlspolicy.On {
		return p.t
	}
	return tlspolicy.STSUnknown
}

// plans yields every input of Plan.
func plans() iter.Seq[plan] {
	return func(yield func(plan) bool) {
		for _, m := range modes {
			for _, dane := range danes {
				for _, sts := range mtastses {
					for _, fb := range fallbacks {
						for _, d := range daneSts {
							for _, t := range stsSts {
								if !yield(plan{tlspolicy.Settings{Mode: m, DANE: dane, MTASTS: sts, Fallback: fb}, d, t}) {
									return
								}
							}
						}
					}
				}
			}
		}
	}
}

// rules is a decision table out of testdata.
type rules struct {
	conditions []string
	rows       []ruleRow
}

type ruleRow struct {
	line string
	when [][]string // allowed values for each condition, nil for any
	then []string
	hits int
}

func readRules(t *testing.T, file string) *rules {
	t.Helper()
	f, err := os.Open("testdata/" + file)
	require.NoError(t, err)
	defer f.Close()
	var r rules
	for in := bufio.NewScanner(f); in.Scan(); {
		if line := in.Text(); line != "" && line[0] != '#' {
			left, right, ok := strings.Cut(line, "||")
			require.True(t, ok, line)
			when, then := cells(left), cells(right)
			if r.conditions == nil {
				r.conditions = when
				continue
			}
			require.Len(t, when, len(r.conditions), line)
			row := ruleRow{line: line, then: then}
			for i, cell := range when {
				var allowed []string
				if cell != "*" && i > 0 {
					allowed = strings.Fields(cell)
				}
				row.when = append(row.when, allowed)
			}
			r.rows = append(r.rows, row)
		}
	}
	require.NotEmpty(t, r.rows)
	return &r
}

func cells(line string) []string {
	all := strings.Split(line, "|")
	for i := range all {
		if all[i] = strings.TrimSpace(all[i]); all[i] == "-" {
			all[i] = ""
		}
	}
	return all
}

// first returns the first row whose conditions hold for the values.
func (r *rules) first(t *testing.T, values ...string) *ruleRow {
	t.Helper()
	require.Len(t, values, len(r.conditions)-1)
rows:
	for i := range r.rows {
		for j, v := range values {
			if allowed := r.rows[i].when[j+1]; allowed != nil && !slices.Contains(allowed, v) {
				continue rows
			}
		}
		r.rows[i].hits++
		return &r.rows[i]
	}
	require.Fail(t, "no row", "%q", values)
	return nil
}

// requireAllHit asserts that every row decided at least one case.
func (r *rules) requireAllHit(t *testing.T) {
	t.Helper()
	for _, row := range r.rows {
		require.NotZero(t, row.hits, "no case for: %s", row.line)
	}
}
