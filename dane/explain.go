package dane

import (
	"crypto/x509"
	"time"
)

// maxExplained is how many records of one set have paths built for them alone.
// Sets of honest operators have fewer than ten records.
const maxExplained = 16

// Explain judges like Verify, but goes on after the first success and says of
// every record, in the order given, what it failed on: ReasonNone for one that
// is satisfied. At least one is satisfied exactly if Verify returns Matched.
//
// It is slow, builds paths for each record by itself, and is meant for logs and
// tools. Of a set in which more than 16 records need that, the rest gets
// ReasonLimit.
func (v *Verifier) Explain(chain []*x509.Certificate, ids RefIDs, now time.Time) []RecordStatus {
	if v == nil {
		return nil
	}
	if now.IsZero() {
		now = v.now()
	}
	return v.explain(chain, ids, now, v.Verify(chain, ids, now))
}

// explain completes the verdict r.
func (v *Verifier) explain(chain []*x509.Certificate, ids RefIDs, now time.Time, r Result) []RecordStatus {
	list := v.Records()
	worth := v.comparable(chain)
	built := 0
	reasons := make(map[string]Reason, len(v.entries)) // by RDATA, for duplicates
	for rank := range v.entries {
		e := &v.entries[rank]
		var reason Reason
		switch {
		case r.Status == Matched && e.index == r.Index:
		case r.Reason == ReasonNoCertificate:
			reason = ReasonNoCertificate
		case !worth[rank]:
			reason = ReasonNoMatch
		case e.record.Usage != UsageDANEEE && built == maxExplained:
			reason = ReasonLimit
		default:
			alone := v.alone(rank).Verify(chain, ids, now)
			reason = alone.Reason
			if alone.failure != nil {
				built++
			}
			if alone.Status == Matched && r.Status != Matched {
				// By itself the record leaves more of the bounded work for itself.
				reason = ReasonLimit
			}
		}
		reasons[string(e.record.AppendWire(nil))] = reason
	}
	for i := range list {
		if list[i].Reason == ReasonNone {
			list[i].Reason = reasons[string(list[i].Record.AppendWire(nil))]
		}
	}
	return list
}

// comparable reports, by rank, which records can be satisfied by this chain as
// far as comparing tells: each certificate is hashed once for all of them.
func (v *Verifier) comparable(chain []*x509.Certificate) []bool {
	worth := make([]bool, len(v.entries))
	for i := range v.entries {
		e := &v.entries[i]
		worth[i] = e.cert != nil || e.key != nil || e.record.Usage == UsagePKIXTA
	}
	for i, cert := range chain[:min(len(chain), maxChain)] {
		if cert == nil || len(cert.Raw) == 0 {
			continue
		}
		for usage := range v.groups {
			if leaf := Usage(usage) == UsageDANEEE || Usage(usage) == UsagePKIXEE; leaf != (i == 0) {
				continue
			}
			for g := range v.groups[usage] {
				if rank := v.groups[usage][g].match(cert); rank >= 0 {
					worth[rank] = true
				}
			}
		}
	}
	return worth
}

// alone returns a Verifier of the one record with this rank.
func (v *Verifier) alone(rank int) *Verifier {
	e := v.entries[rank]
	e.index = 0
	one := &Verifier{
		options: v.options,
		input:   []RecordStatus{{Record: e.record}},
		usable:  1,
		entries: []entry{e},
	}
	one.options.Cache = nil
	one.compile()
	return one
}
