package smtpclient

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// stsFunc is an STSClient made of functions.
type stsFunc struct {
	lookup  func(ctx context.Context, domain string) (mtasts.Result, error)
	recheck func(ctx context.Context, domain string) (mtasts.Result, bool, error)
}

func (f stsFunc) Lookup(ctx context.Context, d string) (mtasts.Result, error) {
	return f.lookup(ctx, d)
}

func (f stsFunc) Recheck(ctx context.Context, d string) (mtasts.Result, bool, error) {
	return f.recheck(ctx, d)
}

// policyOf is the result of a lookup that found a policy.
func policyOf(mode string, patterns ...string) mtasts.Result {
	text := "version: STSv1\nmode: " + mode + "\nmax_age: 604800\n"
	for _, p := range patterns {
		text += "mx: " + p + "\n"
	}
	policy, err := mtasts.ParsePolicy([]byte(text))
	if err != nil {
		panic(err)
	}
	r := mtasts.Result{Domain: "partner.example", Policy: policy, Outcome: mtasts.OutcomeEnforce, ID: "1"}
	switch mode {
	case "testing":
		r.Outcome = mtasts.OutcomeTesting
	case "none":
		r.Outcome = mtasts.OutcomeNone
	}
	return r
}

func found(r mtasts.Result) stsFunc {
	return stsFunc{
		func(context.Context, string) (mtasts.Result, error) { return r, nil },
		func(context.Context, string) (mtasts.Result, bool, error) { return r, false, nil },
	}
}

var withSTS = tlspolicy.Settings{Mode: tlspolicy.Preferred, MTASTS: tlspolicy.On}

func TestMTASTS(t *testing.T) {
	bubble(t, withSTS, func(t *testing.T, st *stage) {
		e := st.dialFail(context.Background())
		require.ErrorIs(t, e, ErrNoMTASTS)
		require.Equal(t, "4.3.5", e.Status)
		require.Empty(t, st.resolved, "before any lookup")
	})
	bubble(t, tlspolicy.Settings{Mode: tlspolicy.No, MTASTS: tlspolicy.On, DANE: tlspolicy.DANEMandatory}, func(t *testing.T, st *stage) {
		st.at("192.0.2.1", server{tls: st.cert()}.run)
		s := st.dialOK()
		require.Nil(t, s.TLS(), "mode No looks at nothing")
		require.Equal(t, tlspolicy.ReasonModeNo, s.Decision().Reason)
		s.Close()
	})
	bubble(t, withSTS, func(t *testing.T, st *stage) {
		st.dialer.MTASTS = found(policyOf("enforce", "*.partner.example"))
		st.at("192.0.2.1", server{tls: st.cert("other.example")}.run)
		st.at("192.0.2.2", server{tls: st.cert("mx2.partner.example")}.run)
		s := st.dialOK()
		require.Equal(t, tlspolicy.ReasonSTSVerified, s.Decision().Reason)
		require.Equal(t, "mx2.partner.example", s.Identity().Name)
		require.Equal(t, tlspolicy.ReasonSTSCertNameMismatch, s.Report.Attempts[0].Decision.Reason)
		require.Equal(t, "1", s.Report.MTASTS.ID)
		s.Close()
	})
	bubble(t, withSTS, func(t *testing.T, st *stage) {
		st.dialer.MTASTS = found(policyOf("enforce", "mx2.partner.example"))
		st.at("192.0.2.1", server{tls: st.cert("mx1.partner.example")}.run)
		st.at("192.0.2.2", server{}.run)
		e := st.dialFail(context.Background())
		require.Equal(t, []string{"192.0.2.2"}, st.dials)
		require.Equal(t, tlspolicy.ReasonSTSMXMismatch, e.Reason)
		require.Equal(t, tlspolicy.ReasonSTSTLSAbsent, e.Report.Attempts[1].Decision.Reason)
		require.True(t, e.Report.Rechecked)
	})
	bubble(t, withSTS, func(t *testing.T, st *stage) {
		for _, unknown := range []mtasts.Outcome{mtasts.OutcomeUnknown, 99} {
			st.dialer.MTASTS = found(mtasts.Result{Outcome: unknown})
			st.at("192.0.2.1", server{}.run)
			e := st.dialFail(context.Background())
			require.Equal(t, tlspolicy.ReasonInputInvalid, e.Reason, "an unknown outcome fails closed")
			require.Empty(t, st.dials)
		}
	})
	for outcome, state := range map[mtasts.Outcome]tlspolicy.STSState{
		mtasts.OutcomeNone: tlspolicy.STSNoPolicy, mtasts.OutcomeNoRecord: tlspolicy.STSNoPolicy,
		mtasts.OutcomeMultipleRecords: tlspolicy.STSDiscoveryError, mtasts.OutcomeInvalidRecord: tlspolicy.STSDiscoveryError,
		mtasts.OutcomeDNSError: tlspolicy.STSDiscoveryError, mtasts.OutcomeFetchError: tlspolicy.STSDiscoveryError,
		mtasts.OutcomeWebPKI: tlspolicy.STSDiscoveryError, mtasts.OutcomePolicyInvalid: tlspolicy.STSDiscoveryError,
		mtasts.OutcomeBackoff: tlspolicy.STSDiscoveryError,
	} {
		bubble(t, withSTS, func(t *testing.T, st *stage) {
			st.dialer.MTASTS = found(mtasts.Result{Outcome: outcome})
			st.at("192.0.2.1", server{}.run)
			s := st.dialOK()
			require.Equal(t, state, s.Report.Attempts[0].STSState, outcome)
			s.Close()
		})
	}
}

func TestMTASTSErrors(t *testing.T) {
	lookup := func(err error) stsFunc {
		return stsFunc{lookup: func(context.Context, string) (mtasts.Result, error) { return mtasts.Result{}, err }}
	}
	bubble(t, withSTS, func(t *testing.T, st *stage) {
		st.dialer.MTASTS = lookup(mtasts.ErrDomain)
		st.at("192.0.2.1", server{}.run)
		s := st.dialOK()
		require.Equal(t, tlspolicy.STSNoPolicy, s.Report.Attempts[0].STSState)
		s.Close()
	})
	bubble(t, withSTS, func(t *testing.T, st *stage) {
		broken := errors.New("no result")
		st.dialer.MTASTS = lookup(broken)
		st.at("192.0.2.1", server{}.run)
		e := st.dialFail(context.Background())
		require.ErrorIs(t, e, broken, "never an absent policy")
		require.Empty(t, st.dials)
	})
	bubble(t, withSTS, func(t *testing.T, st *stage) {
		st.dialer.MTASTS = lookup(mtasts.ErrPin)
		st.at("192.0.2.1", server{}.run)
		e := st.dialFail(context.Background())
		require.ErrorIs(t, e, mtasts.ErrPin)
		require.Equal(t, "4.3.5", e.Status, "the operator's own mistake")
		require.Empty(t, st.dials)
	})
}

// TestUnproven: a policy in force outweighs a denial that anybody can forge.
func TestUnproven(t *testing.T) {
	for _, domain := range []string{"partner.example", "nowhere.example"} {
		for _, security := range []dnssec.Security{dnssec.Indeterminate, dnssec.Insecure, dnssec.Secure} {
			for _, mode := range []string{"enforce", "testing", "none"} {
				bubble(t, withSTS, func(t *testing.T, st *stage) {
					st.dns.Absent = security
					st.dns.Answers[dnssec.Question{Name: "partner.example", Type: dnssec.TypeMX}] = dnssec.Answer{
						Security: security, Records: []dnssec.Record{{Data: mxData(t, "0", ".")}},
					}
					st.dialer.MTASTS = found(policyOf(mode, "*.partner.example"))
					_, err := st.dialer.Dial(context.Background(), domain)
					var e *Error
					require.ErrorAs(t, err, &e)
					held := mode == "enforce" && security != dnssec.Secure
					require.Equal(t, !held, e.Permanent)
					require.Equal(t, held, errors.Is(e, ErrUnproven))
					require.Equal(t, !held, errors.Is(e, ErrNullMX) || errors.Is(e, ErrNoDomain))
					if held {
						require.Equal(t, "4.4.4", e.Status)
					}
				})
			}
		}
	}
}

// TestConcurrentDiscovery: MX and MTA-STS are looked up at the same time.
func TestConcurrentDiscovery(t *testing.T) {
	bubble(t, withSTS, func(t *testing.T, st *stage) {
		st.dialer.Resolver = slow{st, 3 * time.Second}
		st.dialer.MTASTS = stsFunc{lookup: func(ctx context.Context, _ string) (mtasts.Result, error) {
			time.Sleep(4 * time.Second)
			return mtasts.Result{Outcome: mtasts.OutcomeNoRecord}, nil
		}}
		st.at("192.0.2.1", server{}.run)
		begin := time.Now()
		s := st.dialOK()
		require.Equal(t, 7*time.Second, time.Since(begin), "4 s for both, 3 s for the addresses")
		s.Close()
	})
}

func TestRecheck(t *testing.T) {
	updated := policyOf("enforce", "mx2.partner.example")
	updated.ID = "2"
	tests := []struct {
		name     string
		changed  bool
		err      error
		rechecks int
		second   script
		ok       bool
	}{
		{"changed", true, nil, 1, nil, true},
		{"changed, and it does not help", true, nil, 1, server{}.run, false},
		{"not changed", false, nil, 1, nil, false},
		{"another Dial was first to see the change", false, nil, 1, nil, true},
		{"failed", true, errors.New("no"), 1, nil, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, withSTS, func(t *testing.T, st *stage) {
				asked := 0
				old := found(policyOf("enforce", "mx9.partner.example"))
				st.dialer.MTASTS = stsFunc{old.lookup, func(context.Context, string) (mtasts.Result, bool, error) {
					asked++
					if test.name == "not changed" {
						r, _ := old.lookup(nil, "")
						return r, false, nil
					}
					return updated, test.changed, test.err
				}}
				st.at("192.0.2.1", server{tls: st.cert("mx1.partner.example")}.run)
				st.at("192.0.2.2", or2(test.second, server{tls: st.cert("mx2.partner.example")}.run))
				s, err := st.dialer.Dial(context.Background(), "partner.example")
				report := reportOf(t, s, err)
				require.Equal(t, test.rechecks, asked)
				require.True(t, report.Rechecked)
				require.Equal(t, test.ok, err == nil)
				if test.ok {
					require.Equal(t, "mx2.partner.example", s.Host())
					require.Len(t, report.Attempts, 4)
					require.Equal(t, "2", report.MTASTS.ID)
					s.Close()
				}
			})
		})
	}
	for _, outcome := range []mtasts.Outcome{mtasts.OutcomeNoRecord, mtasts.OutcomeDNSError, mtasts.OutcomeFetchError, mtasts.OutcomeUnknown} {
		bubble(t, withSTS, func(t *testing.T, st *stage) {
			// The policy may run out, or be forgotten, between lookup and recheck.
			st.dialer.MTASTS = stsFunc{found(policyOf("enforce", "mx9.partner.example")).lookup,
				func(context.Context, string) (mtasts.Result, bool, error) {
					return mtasts.Result{Outcome: outcome}, true, nil
				}}
			st.at("192.0.2.1", server{}.run)
			e := st.dialFail(context.Background())
			require.Equal(t, tlspolicy.ReasonSTSMXMismatch, e.Reason, "no policy is not one that allows more")
			require.Equal(t, "1", e.Report.MTASTS.ID)
			require.Empty(t, st.dials)
		})
	}
	bubble(t, withSTS, func(t *testing.T, st *stage) {
		// That the addresses are looked up as well changes nothing about the refusal.
		asked := 0
		st.dialer.MTASTS = stsFunc{found(policyOf("enforce", "mx9.partner.example")).lookup,
			func(ctx context.Context, d string) (mtasts.Result, bool, error) {
				asked++
				return mtasts.Result{}, false, errors.New("no")
			}}
		st.dialer.Self = func(string, netip.Addr) bool { return false }
		for _, host := range []string{"mx1.partner.example", "mx2.partner.example"} {
			st.fail(host, dnssec.TypeA)
			st.fail(host, dnssec.TypeAAAA)
		}
		e := st.dialFail(context.Background())
		require.Equal(t, tlspolicy.ReasonSTSMXMismatch, e.Reason)
		require.Equal(t, 1, asked)
	})
	bubble(t, withSTS, func(t *testing.T, st *stage) {
		// Hosts that failed for other reasons say nothing against the policy.
		st.dialer.MTASTS = stsFunc{lookup: found(policyOf("enforce", "*.partner.example")).lookup}
		e := st.dialFail(context.Background())
		require.False(t, e.Report.Rechecked)
		require.Equal(t, "4.4.1", e.Status)
	})
	bubble(t, withSTS, func(t *testing.T, st *stage) {
		ctx, cancel := context.WithCancel(context.Background())
		st.dialer.MTASTS = stsFunc{found(policyOf("enforce", "mx9.partner.example")).lookup,
			func(ctx context.Context, _ string) (mtasts.Result, bool, error) {
				cancel()
				<-ctx.Done()
				return mtasts.Result{}, false, ctx.Err()
			}}
		e := st.dialFail(ctx)
		require.Equal(t, context.Canceled, e.Err)
	})
}

func or2(a, b script) script {
	if a != nil {
		return a
	}
	return b
}
