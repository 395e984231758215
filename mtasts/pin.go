package mtasts

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// PinKind is what a Pin does.
type PinKind uint8

// The zero PinKind is none of these: a Pin that somebody forgot to fill in fails
// instead of switching a protection off.
const (
	// PinOff never applies MTA-STS and discovers nothing: the switch for a
	// domain whose policy keeps all mail out.
	PinOff PinKind = iota + 1
	// PinFixed applies Pin.Policy and discovers nothing.
	PinFixed
	// PinFloor lets discovery go on and applies Pin.Policy wherever that brings
	// less than mode enforce, a failure included. Where it brings enforce, a
	// host must match both policies. So neither the first lookup nor an expired
	// policy can be forged away.
	PinFloor
)

var pinKindNames = [...]string{"unknown", "off", "fixed", "floor"}

// String returns "off", "fixed" or "floor".
func (k PinKind) String() string {
	if int(k) < len(pinKindNames) {
		return pinKindNames[k]
	}
	return fmt.Sprintf("PinKind(%d)", uint8(k))
}

// Pin is what the operator of the sender knows better than discovery about one
// domain. The zero Pin is invalid.
type Pin struct {
	Kind PinKind
	// Policy is what PinFixed and PinFloor apply; for PinFloor its mode must be
	// enforce. MaxAge means nothing here. It must not be changed.
	Policy *Policy
	// Until is when the pin ends; zero: never.
	Until time.Time
}

// Validate returns nil if the pin can be used, and otherwise an error that
// matches ErrPin. Call it where the configuration is read: a Client that meets an
// invalid pin refuses to answer for the domain.
func (p Pin) Validate() error {
	switch {
	case p.Kind == PinOff:
		return nil
	case p.Kind != PinFixed && p.Kind != PinFloor:
		return pinError(errors.New("kind is not PinOff, PinFixed or PinFloor"))
	case p.Policy == nil:
		return pinError(errors.New("no policy"))
	case p.Kind == PinFloor && p.Policy.Mode != ModeEnforce:
		return pinError(errors.New("a floor needs a policy of mode enforce"))
	}
	if err := p.Policy.Validate(); err != nil {
		return pinError(err)
	}
	return nil
}

func pinError(err error) error { return fmt.Errorf("%w: %w", ErrPin, err) }

// PinSource knows the pins of an operator. It is asked in every lookup and must be
// quick and safe for concurrent use.
type PinSource interface {
	// Pin returns the pin of a domain, which comes normalised: A-labels, lower
	// case, no final dot. The bool is false if the domain has none.
	Pin(domain string) (Pin, bool)
}

// Pins is a PinSource by normalised domain, for those whose pins do not change.
type Pins map[string]Pin

// Pin returns the pin of domain.
func (m Pins) Pin(domain string) (Pin, bool) {
	p, ok := m[domain]
	return p, ok
}

// pin returns the pin in force for a domain; the zero Pin is none. The error
// matches ErrPin.
func (g *engine) pin(domain string, now time.Time) (Pin, error) {
	if g.pins == nil {
		return Pin{}, nil
	}
	p, ok := g.pins.Pin(domain)
	if !ok || !p.Until.IsZero() && !now.Before(p.Until) {
		return Pin{}, nil
	}
	if err := p.Validate(); err != nil {
		return Pin{}, &Error{Op: opPin, Domain: domain, Err: err}
	}
	return p, nil
}

// discovers reports whether a domain with this pin is asked about.
func (p Pin) discovers() bool { return p.Kind != PinOff && p.Kind != PinFixed }

// pinned reports whether a pin keeps a domain from being refreshed.
func (g *engine) pinned(domain string, now time.Time) bool {
	p, err := g.pin(domain, now)
	return err == nil && !p.discovers()
}

// apply lays a pin over what discovery says, which is the zero Result if it was not
// asked.
func (p Pin) apply(domain string, r Result) Result {
	over := Result{Domain: domain, Source: SourcePinned, Expires: p.Until}
	switch p.Kind {
	case PinOff:
		over.Policy, over.Outcome = &Policy{Mode: ModeNone}, OutcomeNone
	case PinFixed:
		over.Policy, over.Outcome = p.Policy, outcomeOf(p.Policy.Mode)
	case PinFloor:
		if r.Policy != nil && r.Policy.Mode == ModeEnforce {
			r.floor = p.Policy
			return r
		}
		// What failed still belongs into logs and reports.
		over.Policy, over.Outcome = p.Policy, OutcomeEnforce
		over.Report, over.Reason, over.Err = r.Report, r.Reason, r.Err
	default:
		return r
	}
	return over
}

// usePin applies a pin for a caller, and announces it.
func (g *engine) usePin(p Pin, domain string, r Result) Result {
	if p.Kind == 0 {
		return r
	}
	over := p.apply(domain, r)
	if g.trace {
		g.emit([]Event{{
			Kind: EventPinApplied, Level: slog.LevelInfo, Time: g.clock.Now(), Domain: domain,
			ID: r.ID, Reason: p.Kind.String(), Err: r.Err, Old: r.Policy, New: p.Policy,
		}})
	}
	return over
}
