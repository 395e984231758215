package dnssec

import (
	"bytes"
	"context"
	"slices"
	"time"
)

// judge says how far an RRset of the answer section can be trusted. It is judged in its own zone, that of holder, whatever
// else is in the message. There are three ends: a signature by the zone that it names and that is found where it says; the proof
// that the owner lies in a zone that is not secure; or an error.
func (j *job) judge(ctx context.Context, m *parsedReply, set *rrset, holder wireName) (verdict, *Error) {
	start := j.v.anchors.above(holder)
	reason := "no signature"
	if start.secure() {
		for _, signer := range set.signers(holder, start.zone) {
			z, failed := j.zoneOf(ctx, signer)
			if failed != nil {
				return verdict{}, failed
			}
			if z.security != Secure {
				return j.unsigned(set, z), nil
			}
			if z.name != signer {
				reason = "signed in the name of " + signer.String() + ", which is no zone"
				continue
			}
			v, failed := j.judgeIn(m, set, z)
			if failed == nil || failed.Kind != KindBogus {
				return v, failed
			}
			reason = failed.Reason
		}
	}
	z, failed := j.zoneOf(ctx, holder)
	if failed != nil {
		return verdict{}, failed
	}
	if z.security != Secure { // signatures by whomever do not matter here
		return j.unsigned(set, z), nil
	}
	return verdict{}, j.bogus(set.owner, set.typ.String()+" in the secure zone "+z.name.String()+": "+reason)
}

// judgeIn judges a set by the keys of z. If it was made from a wildcard, there must be a proof that the wildcard applies.
func (j *job) judgeIn(m *parsedReply, set *rrset, z *zone) (verdict, *Error) {
	valid, failed := j.verify(set, z)
	if failed != nil {
		return verdict{}, failed
	}
	v := verdict{security: Secure, ttl: valid.ttl, expires: valid.expires}
	if valid.encloser == "" {
		return v, nil
	}
	p, failed := j.prove(m, z, claim{name: set.owner, typ: set.typ, encloser: valid.encloser})
	if failed != nil {
		return verdict{}, failed
	}
	v.security = p.security
	v.optOut = p.optOut
	v.until(p.expires)
	return v, nil
}

// unsigned is the verdict on a set in a zone that is not secure.
func (j *job) unsigned(set *rrset, z *zone) verdict {
	return verdict{security: z.security, ttl: set.ttl, expires: after(j.now, set.ttl)}
}

// A validated walk is one whose parts have been judged.
type validatedWalk struct {
	walk
	final   Security
	optOut  bool
	expires time.Time
}

// run answers the question.
func (j *job) run(ctx context.Context) (*Answer, *Error) {
	w := validatedWalk{walk: *newWalk(j.question), expires: after(j.now, maxSeconds)}
	for w.outcome == 0 {
		failed := j.ask(ctx, w.at, w.typ, func(m *parsedReply) *Error {
			trial := w // what one server says must not show in what another one said
			trial.steps, trial.seen = slices.Clone(w.steps), slices.Clone(w.seen)
			if failed := j.follow(ctx, &trial, m); failed != nil {
				return failed
			}
			w = trial
			return nil
		})
		if failed != nil {
			return nil, failed
		}
	}
	a := &Answer{
		Name: j.question.Name, Type: j.question.Type, Outcome: w.outcome, Canonical: w.at.String(),
		Chain: w.steps, Records: w.records, Final: w.final, Security: w.final,
		OptOut: w.optOut, Expires: w.expires, Source: SourceValidated,
	}
	for _, s := range a.Chain {
		a.Security = min(a.Security, s.Security)
	}
	return a, nil
}

// follow goes on through m, a reply to (w.at, w.typ), as far as it leads. An alias whose target m does not have ends it
// without an outcome: then the target must be asked for.
func (j *job) follow(ctx context.Context, w *validatedWalk, m *parsedReply) *Error {
	for hops := 0; ; hops++ {
		final, alias, problem := m.at(w.at, w.typ)
		if w.typ == TypeCNAME && problem == "" {
			// A CNAME below a DNAME is made from it and not signed: it is as good as the DNAME.
			if _, made, wrong := m.at(w.at, 0); made.typ == TypeDNAME || wrong != "" {
				alias, problem = made, wrong
			}
		}
		switch {
		case problem != "":
			return j.bogus(w.at, problem)
		case alias.typ != 0:
			holder := alias.owner
			if alias.typ == TypeCNAME {
				// Where DS records belong to the zone above, so does a CNAME in their place: the zone below can
				// have none at its apex, and if it is not signed anybody could forge one there.
				holder = holderOf(alias.owner, w.typ)
			}
			v, failed := j.judge(ctx, m, m.answers.find(alias.owner, alias.typ), holder)
			if failed != nil {
				return failed
			}
			if w.typ == TypeCNAME {
				w.records, w.outcome = []Record{{TTL: v.ttl, Data: []byte(alias.target)}}, Found
				w.end(v)
				return nil
			}
			if failed := j.hop(w, alias, v); failed != nil {
				return failed
			}
		case len(final) > 0:
			return j.found(ctx, w, m)
		case hops > 0 && m.rcode != rcodeNXDomain && m.denialSOA(w.at) == nil:
			return nil
		default:
			v, failed := j.deny(ctx, m, w.at, w.typ)
			switch {
			case failed == nil:
				w.outcome = v.outcome
				w.end(v)
				return nil
			case hops > 0 && failed.Kind == KindBogus: // perhaps it is just not all here
				return nil
			}
			return failed
		}
	}
}

// found ends the walk at an RRset.
func (j *job) found(ctx context.Context, w *validatedWalk, m *parsedReply) *Error {
	set := m.answers.find(w.at, w.typ)
	if len(set.records) > j.limits.Records {
		return j.at(tooMuch(j.limits.Records, "records in one RRset"), w.at)
	}
	v, failed := j.judge(ctx, m, set, holderOf(w.at, w.typ))
	if failed != nil {
		return failed
	}
	w.outcome = Found
	w.records = make([]Record, len(set.records))
	for i, r := range set.records {
		w.records[i] = Record{TTL: min(r.ttl, v.ttl), Data: bytes.Clone(r.data)}
	}
	w.end(v)
	return nil
}

// hop takes one alias that was judged.
func (j *job) hop(w *validatedWalk, a aliasRecord, v verdict) *Error {
	if len(w.steps) >= j.limits.Aliases {
		e := tooMuch(j.limits.Aliases, "aliases")
		e.Kind = KindLoop
		return j.at(e, w.at)
	}
	a.ttl = v.ttl
	if failed := w.walk.hop(a); failed != nil {
		return failed
	}
	w.steps[len(w.steps)-1].Security = v.security
	w.until(v.expires)
	return nil
}

// end takes the verdict on the last part of the walk.
func (w *validatedWalk) end(v verdict) {
	w.final = v.security
	w.optOut = v.optOut && w.outcome != Found
	w.until(v.expires)
}

func (w *validatedWalk) until(t time.Time) {
	if t.Before(w.expires) {
		w.expires = t
	}
}
