package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// judge sums the Result up: s are the settings that it is about, ended why this look
// ended before its time, outer why all of them did.
func (r *Result) judge(f *facts, s tlspolicy.Settings, ended, outer error) {
	v := f.decide(s)
	text := v.words()
	switch {
	case outer != nil:
		r.Status, r.Why = StatusUnknown, "interrupted before everything was looked at"
	case errors.Is(ended, context.DeadlineExceeded):
		r.Status, r.Why = StatusUnknown, "the time for the domain ran out before everything was looked at; see -timeout"
	case f.mx.Err != nil && !isBogus(f.mx.Err):
		r.Status, r.Why = StatusUnknown, "the MX lookup failed: "+clean(f.mx.Err.Error())
	case f.mx.Err == nil && f.mx.Outcome == 0:
		r.Status, r.Why = StatusUnknown, "nothing could be asked: "+clean(errText(cause(f.end)))
	case v.action == tlspolicy.Next && !v.permanent && f.unconnected() && !f.allLeftOut(s):
		r.Status, r.Why = StatusUnknown, fmt.Sprintf("no address could be connected to, or all turned the probe away; perhaps the network here lets nobody out to port %d, or is on a block list", r.Asked.Port)
	case v.action == tlspolicy.Next && s.DANE == tlspolicy.DANEMandatory && len(r.Notes) > 0:
		r.Status, r.Why = StatusUnknown, "with mode "+r.Asked.Mode+" "+text+"; but see the notes"
	case v.action == tlspolicy.Next:
		r.Status, r.Why = StatusMend, text
	case slices.ContainsFunc(r.Mend, func(a Advice) bool { return a.Severity == SeverityError }):
		r.Status, r.Why = StatusMend, text+", but something needs mending"
	default:
		r.Status, r.Why = StatusOK, text
	}
}

// unconnected tells whether there are addresses and not one let itself be talked
// to, which may be the fault of this end.
func (f *facts) unconnected() bool {
	any := false
	for _, h := range f.hosts {
		for _, a := range h.addrs {
			if a.connected {
				return false
			}
			any = true
		}
	}
	return any
}

// allLeftOut tells whether policy keeps mail from every host, so that it does not
// matter that none could be talked to.
func (f *facts) allLeftOut(s tlspolicy.Settings) bool {
	if s.Mode == tlspolicy.No {
		return false // it has no policy, and stating one would be a contradiction
	}
	for _, h := range f.hosts {
		if _, skip := tlspolicy.Plan(s, h.dane, h.sts).Skip(); !skip || h.noAddress || h.unseen {
			return false
		}
	}
	return true
}

// cause is the headline of a failed Probe without the words around it.
func cause(err error) error {
	var failed *smtpclient.Error
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}
