package smtpclient

import (
	"context"
	"errors"
	"slices"

	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// startSTS begins the lookup of the MTA-STS policy. wait returns when it is
// there; stop ends it and waits for its end.
func (x *delivery) startSTS(ctx context.Context) (wait func() error, stop func()) {
	stsCtx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	var result mtasts.Result
	var err error
	go func() {
		defer close(done)
		result, err = x.conf.d.MTASTS.Lookup(stsCtx, x.route.STSDomain())
	}()
	wait = func() error {
		<-done
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, mtasts.ErrDomain):
			x.noSTS = tlspolicy.STSNoPolicy // the name cannot have one: an underscore, say
			return nil
		case err != nil:
			return err // never an absent policy
		}
		x.sts, x.report.MTASTS = result, result
		return nil
	}
	return wait, func() {
		cancel()
		<-done
	}
}

// stsState is what the MTA-STS policy says about a host.
func (x *delivery) stsState(host candidate) tlspolicy.STSState {
	if !x.useSTS {
		return tlspolicy.STSUnknown
	}
	if x.noSTS != tlspolicy.STSUnknown {
		return x.noSTS
	}
	match := x.sts.Match(host.name)
	switch x.sts.Outcome {
	case mtasts.OutcomeEnforce:
		if match {
			return tlspolicy.STSEnforceMatch
		}
		return tlspolicy.STSEnforceMismatch
	case mtasts.OutcomeTesting:
		if match {
			return tlspolicy.STSTestingMatch
		}
		return tlspolicy.STSTestingMismatch
	case mtasts.OutcomeNone, mtasts.OutcomeNoRecord:
		return tlspolicy.STSNoPolicy
	case mtasts.OutcomeMultipleRecords, mtasts.OutcomeInvalidRecord, mtasts.OutcomeDNSError, mtasts.OutcomeFetchError,
		mtasts.OutcomeWebPKI, mtasts.OutcomePolicyInvalid, mtasts.OutcomeBackoff:
		return tlspolicy.STSDiscoveryError
	}
	return tlspolicy.STSUnknown // fails closed
}

// failedSTS tells whether a host was left because of the MTA-STS policy.
func (x *delivery) failedSTS() bool {
	for i := range x.report.Attempts {
		a := &x.report.Attempts[i]
		if a.Err != nil && a.Decision.Reason.Class() == tlspolicy.ClassSTS {
			return true
		}
	}
	return false
}

// sameRules tells whether two results allow the same hosts.
func sameRules(a, b mtasts.Result) bool {
	if a.Outcome != b.Outcome || a.Policy == nil || b.Policy == nil {
		return a.Outcome == b.Outcome && a.Policy == b.Policy
	}
	return slices.Equal(a.Policy.MX, b.Policy.MX)
}
