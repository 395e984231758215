package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/mtasts/dirstore"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// policyFaults are all faults of a policy host.
func policyFaults() (all []lab.PolicyFault) {
	for f := lab.PolicyGood + 1; !strings.HasPrefix(f.String(), "policy fault"); f++ {
		all = append(all, f)
	}
	return all
}

// TestPolicyHostFaults: with every fault of a policy host, in every mode, a policy that
// was never had leaves the delivery to the mode, and one that is held is kept to
// although it cannot be had again. The mail host has a certificate that the policy
// does not allow.
func TestPolicyHostFaults(t *testing.T) {
	var w lab.World
	faults := policyFaults()
	require.Greater(t, len(faults), 15)
	for i, fault := range faults {
		for _, name := range []string{fmt.Sprintf("f%d.example", i), fmt.Sprintf("held%d.example", i)} {
			policy := &lab.Policy{}
			if name[0] == 'f' {
				policy.Fault = fault
			}
			w.Domains = append(w.Domains, lab.Domain{Name: name, Policy: policy,
				Hosts: []lab.Host{{Name: "mx." + name, Cert: lab.Cert{Kind: lab.CertSelfSigned}}}})
		}
	}
	l := startLab(t, w)
	ctx := context.Background()
	store, err := dirstore.Open(t.TempDir(), dirstore.Options{})
	require.NoError(t, err)
	before := labSTS(l)
	before.Store = store
	for i, fault := range faults {
		held := fmt.Sprintf("held%d.example", i)
		fetched, err := before.Lookup(ctx, held)
		require.NoError(t, err)
		require.Equal(t, mtasts.OutcomeEnforce, fetched.Outcome)
		l.PolicyHost(held).SetFault(fault)
		require.NoError(t, l.SetPolicy(held, lab.Policy{Mode: "none", ID: "2"}))
	}
	// A program that starts anew, later.
	clock := &setClock{now: time.Now().Add(time.Hour)}
	var all sync.WaitGroup
	for i, fault := range faults {
		all.Go(func() {
			sts := labSTS(l)
			sts.Store, sts.Clock = store, clock
			switch fault {
			case lab.PolicyStall, lab.PolicyStallBody, lab.PolicyBlackhole:
				sts.Fetch.Timeout = 500 * time.Millisecond
			}
			for _, mode := range allModes {
				for _, dane := range []tlspolicy.DANE{tlspolicy.DANENone, tlspolicy.DANEOpportunistic} {
					s := tlspolicy.Settings{Mode: mode, DANE: dane, MTASTS: tlspolicy.On, Fallback: tlspolicy.FallbackAlways}
					for _, state := range []tlspolicy.STSState{tlspolicy.STSDiscoveryError, tlspolicy.STSEnforceMatch} {
						domain := fmt.Sprintf("f%d.example", i)
						if state == tlspolicy.STSEnforceMatch {
							domain = fmt.Sprintf("held%d.example", i)
						}
						d := labDialer(t, l, s)
						d.MTASTS = sts
						want := tlspolicy.Plan(s, tlspolicy.DANEInsecure, state).Decide(tlspolicy.Outcome{
							TLS: tlspolicy.TLSEstablished, Chain: tlspolicy.ChainUntrusted, STSName: true, HostedName: true})
						session, err := d.Dial(ctx, domain)
						got := tlspolicy.Decision{}
						if err == nil {
							got = session.Decision()
							assert.NoError(t, trySend(session, domain))
						} else if e, ok := errors.AsType[*Error](err); assert.True(t, ok) && assert.NotEmpty(t, e.Report.Attempts) {
							assert.False(t, e.Permanent)
							got = e.Report.Attempts[0].Decision
						}
						if !assert.Equal(t, want, got, "%v, %s, %v: %v", fault, domain, s, err) {
							return
						}
					}
				}
			}
		})
	}
	all.Wait()
	for _, h := range l.Hosts() {
		require.NoError(t, h.Idle(ctx))
		if strings.HasPrefix(h.Name(), "mx.held") {
			require.Len(t, h.Mailbox(), 2, "mode No alone delivers")
		}
	}
}
