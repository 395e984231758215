package main

import (
	"errors"
	"fmt"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

// question is under which settings the delivery is judged. A field that nobody has
// set is asked in all its values, and counts with the recommended one.
type question struct {
	mode tlspolicy.Mode
	dane tlspolicy.DANE
	sts  tlspolicy.MTASTS
}

// setMode, setDANE and setSTS refuse "default", which stands for another value: there
// is no table here from which it could be inherited.
func (q *question) setMode(text string) (err error) {
	if q.mode, err = tlspolicy.ParseMode(text); err == nil && q.mode == tlspolicy.ModeDefault {
		err = errInherit
	}
	return err
}

func (q *question) setDANE(text string) (err error) {
	if q.dane, err = tlspolicy.ParseDANE(text); err == nil && q.dane == tlspolicy.DANEDefault {
		err = errInherit
	}
	return err
}

func (q *question) setSTS(text string) (err error) {
	if q.sts, err = tlspolicy.ParseMTASTS(text); err == nil && q.sts == tlspolicy.MTASTSDefault {
		err = errInherit
	}
	return err
}

var errInherit = errors.New("there is no entry to inherit from; name a setting")

// settled returns the settings that the exit status is about.
func (q *question) settled() tlspolicy.Settings {
	s := tlspolicy.Recommended()
	if q.mode != tlspolicy.ModeDefault {
		s.Mode = q.mode
	}
	if q.dane != tlspolicy.DANEDefault {
		s.DANE = q.dane
	}
	if q.sts != tlspolicy.MTASTSDefault {
		s.MTASTS = q.sts
	}
	return s
}

// settings returns every combination that is in question.
func (q *question) settings() []tlspolicy.Settings {
	var all []tlspolicy.Settings
	for _, mode := range values(q.mode, tlspolicy.No, tlspolicy.RequiredVerifyHosted) {
		for _, dane := range values(q.dane, tlspolicy.DANENone, tlspolicy.DANEMandatory) {
			for _, sts := range values(q.sts, tlspolicy.Off, tlspolicy.On) {
				s := q.settled()
				s.Mode, s.DANE, s.MTASTS = mode, dane, sts
				all = append(all, s)
			}
		}
	}
	return all
}

// values returns what was asked for, or all values if nothing was.
func values[T ~uint8](asked, first, last T) []T {
	if asked != 0 {
		return []T{asked}
	}
	var all []T
	for v := first; v <= last; v++ {
		all = append(all, v)
	}
	return all
}

// asked puts the settings that the exit status is about into a Result.
func (q *question) asked(port uint16) Asked {
	s := q.settled()
	return Asked{Mode: s.Mode.String(), DANE: s.DANE.String(), MTASTS: s.MTASTS.String(), Port: port}
}

// String returns the settings for people.
func (a Asked) String() string {
	return fmt.Sprintf("mode %s, DANE %s, MTA-STS %s", a.Mode, a.DANE, a.MTASTS)
}
