package dnssec

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"time"
)

// A zone is what is known about a zone: its keys, or that nobody vouches for it. It is never changed.
type zone struct {
	name     wireName
	security Security // Indeterminate if there is no anchor above it
	keys     []key    // those that may sign, if Secure
}

// A border is what was found on the way down at one name: a zone that begins there, or none.
type border struct {
	zone    *zone // nil: the name belongs to the same zone as its parent
	failed  *Error
	expires time.Time
}

// zoneOf returns the zone that name belongs to. It goes down from the deepest anchor, label by label, and ends early at
// the first name that is proven not to be secure: there is nothing secure below. Nothing but validated DS records, or a
// validated proof that there are none, moves it; signatures over other data cannot shorten the way.
func (j *job) zoneOf(ctx context.Context, name wireName) (*zone, *Error) {
	start := j.v.anchors.above(name)
	switch {
	case start == nil:
		return &zone{name: rootName, security: Indeterminate}, nil
	case start.negative:
		return &zone{name: start.zone, security: Insecure}, nil
	}
	b := j.border(start.zone, func() border { return j.enterAnchored(ctx, start) })
	if b.failed != nil {
		return nil, b.failed
	}
	z := b.zone
	for depth := start.zone.labels() + 1; depth <= name.labels() && z.security == Secure; depth++ {
		at := name.last(depth)
		b := j.border(at, func() border { return j.cross(ctx, z, at) })
		if b.failed != nil {
			return nil, b.failed
		}
		if b.zone != nil {
			z = b.zone
		}
	}
	return z, nil
}

// border returns what is known about a name, or finds it out.
func (j *job) border(at wireName, find func() border) border {
	if b, ok := j.borders[at]; ok {
		return b
	}
	b, ok := j.v.zones.get(at, j.now)
	if !ok {
		b = find()
		if limit := after(j.now, uint32(j.v.options.Cache.MaxTTL/time.Second)); limit.Before(b.expires) {
			b.expires = limit
		}
		if b.failed == nil {
			j.v.zones.put(at, b, j.now)
		}
	}
	j.borders[at] = b
	return b
}

// cross finds out whether a zone begins at name, which lies directly below a name of the secure zone z, and what keys it
// has.
func (j *job) cross(ctx context.Context, z *zone, name wireName) border {
	if failed := spend(&j.spent.dsSteps, j.limits.DSSteps, "names on the way to a zone"); failed != nil {
		return border{failed: j.at(failed, name)}
	}
	var found border
	var records *rrset
	failed := j.ask(ctx, name, TypeDS, func(m *parsedReply) *Error {
		found, records = border{}, m.answers.find(name, TypeDS)
		if records != nil {
			valid, failed := j.verify(records, z)
			found.expires = valid.expires
			return failed
		}
		var failed *Error
		found, failed = j.crossWithoutDS(m, z, name)
		return failed
	})
	if failed != nil || records == nil {
		found.failed = failed
		return found
	}
	ds, failed := j.usableDS(records)
	switch {
	case failed != nil:
		return border{failed: j.at(failed, name)}
	case len(ds) == 0: // RFC 4035 section 5.2
		found.zone = &zone{name: name, security: Insecure}
		return found
	}
	return j.enter(ctx, name, ds, found.expires)
}

// crossWithoutDS judges a reply without DS records.
func (j *job) crossWithoutDS(m *parsedReply, z *zone, name wireName) (border, *Error) {
	if alias := m.answers.find(name, TypeCNAME); alias != nil {
		// An alias leaves no room for a delegation beside it (RFC 2181 section 10.1).
		v, failed := j.judgeIn(m, alias, z)
		if failed != nil {
			return border{}, failed
		}
		if v.security == Secure {
			return border{expires: v.expires}, nil
		}
		return border{zone: &zone{name: name, security: Insecure}, expires: v.expires}, nil
	}
	v, failed := j.prove(m, z, claim{name: name, typ: TypeDS})
	switch {
	case failed != nil:
		return border{}, failed
	case v.security != Secure || v.delegation:
		return border{zone: &zone{name: name, security: Insecure}, expires: v.expires}, nil
	case v.outcome == NXDomain:
		return border{}, j.bogus(name, "there is data at or below a name that zone "+z.name.String()+" proves not to exist")
	}
	return border{expires: v.expires}, nil
}

// A delegationSigner is the RDATA of a DS record (RFC 4034 section 5.1).
type delegationSigner struct {
	tag             uint16
	algorithm, kind uint8
	digest          []byte
}

// usableDS returns the DS records of a validated set that can be used: known algorithm, known digest. SHA-1 digests are
// passed over where there is a better one (RFC 4509 section 3).
func (j *job) usableDS(set *rrset) ([]delegationSigner, *Error) {
	if len(set.records) > j.limits.DSRecords {
		return nil, tooMuch(j.limits.DSRecords, "DS records of one zone")
	}
	var usable []delegationSigner
	for _, r := range set.records {
		if len(r.data) < 4 {
			continue
		}
		ds := delegationSigner{binary.BigEndian.Uint16(r.data), r.data[2], r.data[3], r.data[4:]}
		if j.v.known.signature(ds.algorithm) && j.v.known.digest(ds.kind) {
			usable = append(usable, ds)
		}
	}
	return preferSHA2(usable), nil
}

func preferSHA2(ds []delegationSigner) []delegationSigner {
	isSHA1 := func(d delegationSigner) bool { return d.kind == digestSHA1 }
	if slices.ContainsFunc(ds, func(d delegationSigner) bool { return !isSHA1(d) }) {
		return slices.DeleteFunc(ds, isSHA1)
	}
	return ds
}

// enterAnchored enters a zone that has an anchor. Whoever names one wants the zone validated: there an unusable key is an
// error, and does not make the zone insecure.
func (j *job) enterAnchored(ctx context.Context, start *anchorage) border {
	b := j.enter(ctx, start.zone, start.ds, after(j.now, maxSeconds))
	if b.failed == nil && b.zone.security != Secure {
		b = border{failed: j.bogus(start.zone, "the keys that the trust anchors name are too short")}
	}
	return b
}

// enter asks for the keys of a zone and validates them: a key that is in ds must have signed them all (RFC 4035 section
// 5.2). Then any of them may sign the zone.
func (j *job) enter(ctx context.Context, name wireName, ds []delegationSigner, expires time.Time) border {
	found := border{}
	failed := j.ask(ctx, name, TypeDNSKEY, func(m *parsedReply) *Error {
		set := m.answers.find(name, TypeDNSKEY)
		if set == nil {
			return j.bogus(name, "there is a DS record, but no DNSKEY record")
		}
		if len(set.records) > j.limits.DNSKEYs {
			return j.at(tooMuch(j.limits.DNSKEYs, "keys of one zone"), name)
		}
		entry, all, short := j.sortKeys(name, set, ds)
		switch {
		case len(entry) == 0 && short: // the zone is as good as unsigned, like one with a foreign algorithm
			found = border{zone: &zone{name: name, security: Insecure}, expires: after(j.now, set.ttl)}
			return nil
		case len(entry) == 0:
			return j.bogus(name, "no DNSKEY record matches a DS record")
		}
		valid, failed := j.verify(set, &zone{name: name, security: Secure, keys: entry})
		if failed != nil {
			return failed
		}
		found = border{zone: &zone{name: name, security: Secure, keys: all}, expires: valid.expires}
		return nil
	})
	if failed != nil {
		return border{failed: failed}
	}
	if expires.Before(found.expires) {
		found.expires = expires
	}
	return found
}

// sortKeys returns the keys of set that match a DS record in algorithm, tag and digest, and all that may sign. short says
// that there is a key for each DS record, and that all of them are too short; if a key is missing, then somebody may have
// taken away the good one.
func (j *job) sortKeys(name wireName, set *rrset, ds []delegationSigner) (entry, all []key, short bool) {
	tooShort := make([]bool, len(ds))
	for _, r := range set.records {
		k, weak := newKey(r.data, j.v.known)
		if weak != keyGood && weak != keyShort {
			continue
		}
		matches := false
		for i, d := range ds {
			if d.tag == k.tag && d.algorithm == k.algorithm && bytes.Equal(d.digest, keyDigest(name, r.data, d.kind)) {
				matches = true
				tooShort[i] = weak == keyShort
			}
		}
		if weak == keyShort {
			continue
		}
		all = append(all, k)
		if matches {
			entry = append(entry, k)
		}
	}
	return entry, all, !slices.Contains(tooShort, false)
}
