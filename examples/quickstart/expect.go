package main

import (
	"fmt"

	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// A verdict is what became of a delivery and the rule that decided. A delivery
// that no rule stopped, because nobody could be reached, has no reason.
type verdict struct {
	Action tlspolicy.Action
	Reason tlspolicy.Reason
}

func (v verdict) String() string {
	if v.Reason == tlspolicy.ReasonNone {
		return v.Action.String() + " (no rule)"
	}
	return fmt.Sprintf("%s (%s)", v.Action, v.Reason)
}

// expect walks the hosts of a destination in MX order and asks the decision
// tables about each, on the facts that the destination declares about itself.
// It opens no connection.
func expect(s tlspolicy.Settings, d *lab.Destination) (verdict, error) {
	switch d.MX {
	case "bogus", "lookup-error":
		state, err := parseName(d.MX, tlspolicy.DANEBogus, tlspolicy.DANELookupError)
		if err != nil {
			return verdict{}, err
		}
		stop, _ := tlspolicy.PlanDomain(s, state)
		return verdict{tlspolicy.Next, stop.Reason}, nil // without a list of hosts there is nowhere to go
	}
	first := verdict{}
	for i := range d.Hosts {
		v, err := expectHost(s, &d.Hosts[i])
		if err != nil {
			return verdict{}, fmt.Errorf("lab: %s: %w", d.Domain, err)
		}
		if v.Action != tlspolicy.Next {
			return v, nil
		}
		if first.Reason == tlspolicy.ReasonNone {
			first = v // the headline is the first refusal by policy
		}
	}
	return first, nil
}

func expectHost(s tlspolicy.Settings, f *lab.Facts) (verdict, error) {
	dane, err := parseName(f.DANE, tlspolicy.DANEInsecure, tlspolicy.DANELookupError)
	if err != nil {
		return verdict{}, err
	}
	sts, err := parseName(f.STS, tlspolicy.STSNoPolicy, tlspolicy.STSEnforceMismatch)
	if err != nil {
		return verdict{}, err
	}
	requirement := tlspolicy.Plan(s, dane, sts)
	if skip, ok := requirement.Skip(); ok {
		return verdict{tlspolicy.Next, skip.Reason}, nil
	}
	if f.TLS == "unreachable" {
		return verdict{}, nil
	}
	outcome := tlspolicy.Outcome{DANEMatch: f.DANEMatch, STSName: f.STSName, VerifyName: f.VerifyName, HostedName: f.HostedName}
	if outcome.TLS, err = parseName(f.TLS, tlspolicy.TLSNoESMTP, tlspolicy.TLSEstablished); err != nil {
		return verdict{}, err
	}
	if outcome.Chain, err = parseName(f.Chain, tlspolicy.ChainUnchecked, tlspolicy.ChainExpired); err != nil {
		return verdict{}, err
	}
	decision := requirement.Decide(outcome)
	if decision.Action == tlspolicy.ReconnectClear {
		decision = requirement.AfterReconnect().Decide(tlspolicy.Outcome{TLS: tlspolicy.TLSNotOffered})
	}
	return verdict{decision.Action, decision.Reason}, nil
}

// parseName finds the value between first and last that has the name.
func parseName[T interface {
	~uint8
	fmt.Stringer
}](name string, first, last T) (T, error) {
	for v := first; v <= last; v++ {
		if v.String() == name {
			return v, nil
		}
	}
	return 0, fmt.Errorf("%q is not the name of a %T", name, first)
}
