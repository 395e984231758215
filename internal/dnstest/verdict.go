package dnstest

import (
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Bounds of NSEC3 iterations: RFC 9276 section 3.2 lets validators treat more as insecure, and more
// still as bogus.
const (
	maxIterations         = 100
	maxInsecureIterations = 500
)

// Security is what a validating resolver makes of an answer (RFC 4033 section 5).
type Security uint8

const (
	Bogus    Security = iota + 1 // validation fails
	Insecure                     // proven to be unsigned, or nothing that a validator can judge
	Secure                       // signed all the way from the root anchor
)

var securityNames = [...]string{"unknown", "bogus", "insecure", "secure"}

// String gives the word of RFC 4033 section 5.
func (s Security) String() string {
	if int(s) < len(securityNames) {
		return securityNames[s]
	}
	return securityNames[0]
}

// Verdict is the Security of an answer. EDE and Reason say why it is bogus (RFC 8914 section 4);
// they are zero otherwise.
type Verdict struct {
	Security Security
	EDE      uint16
	Reason   string
}

var (
	secure   = Verdict{Security: Secure}
	insecure = Verdict{Security: Insecure}
)

func bogus(f Flaw, what string) Verdict {
	return Verdict{Security: Bogus, EDE: f.ede(), Reason: what + ": " + f.String()}
}

// and combines two parts of an answer: the lesser counts, and of two equal ones the first.
func (v Verdict) and(other Verdict) Verdict {
	if other.Security < v.Security {
		return other
	}
	return v
}

// Verdict says what a validating resolver that starts from [Tree.RootAnchor] makes of a question
// now: the least security of all parts of the answer, aliases included. An alias loop, a chain that
// is too long and a delegation to nowhere are no matter of security: what was found until there
// counts.
func (t *Tree) Verdict(name string, qtype uint16) Verdict {
	w := t.current.Load()
	if len(w.zones) == 0 {
		return insecure
	}
	return w.resolve(dns.CanonicalName(name), qtype).verdict(w)
}

// verdict is the least of all steps.
func (r resolution) verdict(w *world) Verdict {
	v := secure
	for _, f := range r.findings {
		v = v.and(w.judge(f))
	}
	return v
}

// judge gives the verdict on one finding alone.
func (w *world) judge(f finding) Verdict {
	v, keys := w.status(f.zone)
	if v.Security != Secure {
		return v
	}
	now := w.now()
	switch f.kind {
	case answered, aliased, overlong:
		v = v.and(f.set.verdict(keys, now))
	case noData, noName:
		v = v.and(f.zone.soa.verdict(keys, now))
	case delegated:
		if f.ds != nil {
			return v.and(f.ds.verdict(keys, now))
		}
	}
	if f.proven {
		v = v.and(f.proof.verdict(f.zone, keys, now))
	}
	return v
}

// status says whether the data of zone can be secure, and gives the keys that may sign it (RFC 4035
// section 5.2).
func (w *world) status(z *signedZone) (Verdict, []*dns.DNSKEY) {
	ds := z.anchors
	if z.name != "." {
		parent := w.above(z.name)
		v, _ := w.status(parent)
		if v.Security != Secure {
			return v, nil
		}
		f := parent.find(z.name, dns.TypeDS)
		if v = w.judge(f); v.Security != Secure {
			return v, nil
		}
		if f.kind != answered {
			return insecure, nil
		}
		ds = f.set.rrs
	}
	usable := slices.DeleteFunc(slices.Clone(ds), func(rr dns.RR) bool {
		d := rr.(*dns.DS)
		return !supportedAlgorithm(d.Algorithm) || !supportedDigest(d.DigestType)
	})
	if len(usable) == 0 {
		return insecure, nil
	}
	set := z.nodes[z.name].sets[dns.TypeDNSKEY]
	if set == nil {
		return bogus(NoKeys, "zone "+z.name), nil
	}
	var keys, entries []*dns.DNSKEY
	for _, rr := range set.rrs {
		k := rr.(*dns.DNSKEY)
		if k.Flags&FlagZone == 0 || k.Flags&FlagRevoke != 0 || k.Protocol != 3 {
			continue
		}
		keys = append(keys, k)
		if slices.ContainsFunc(usable, func(rr dns.RR) bool { return points(rr.(*dns.DS), k) }) {
			entries = append(entries, k)
		}
	}
	if len(entries) == 0 {
		return bogus(WrongDS, "zone "+z.name), nil
	}
	return set.verdict(entries, w.now()), keys
}

// points reports whether ds is for k.
func points(ds *dns.DS, k *dns.DNSKEY) bool {
	own := k.ToDS(ds.DigestType)
	return own != nil && own.KeyTag == ds.KeyTag && own.Algorithm == ds.Algorithm && strings.EqualFold(own.Digest, ds.Digest)
}

// above returns the zone that delegates name.
func (w *world) above(name string) *signedZone {
	for name = parentName(name); ; name = parentName(name) {
		if z := w.zones[name]; z != nil {
			return z
		}
	}
}

// verdict says whether one of keys has a good signature over set now.
func (set *rrset) verdict(keys []*dns.DNSKEY, now time.Time) Verdict {
	what := set.name + " " + dns.TypeToString[set.rtype]
	v := bogus(NoSignature, what)
	for _, sig := range set.sigs {
		known := slices.ContainsFunc(keys, func(k *dns.DNSKEY) bool {
			return k.KeyTag() == sig.KeyTag && k.Algorithm == sig.Algorithm
		})
		switch {
		case !known:
			v = bogus(NoKeys, what)
		case int64(sig.Expiration) < now.Unix():
			v = bogus(Expired, what)
		case int64(sig.Inception) > now.Unix():
			v = bogus(NotYetValid, what)
		case set.bad:
			v = bogus(BadSignature, what)
		default:
			return secure
		}
	}
	return v
}

// verdict says what a proof of denial is worth.
func (p proof) verdict(z *signedZone, keys []*dns.DNSKEY, now time.Time) Verdict {
	if z.opts.Flaw == NoDenial {
		return bogus(NoDenial, "zone "+z.name)
	}
	v := secure
	for _, set := range p.sets {
		v = v.and(set.verdict(keys, now))
	}
	if z.opts.NSEC3 != nil && v.Security == Secure {
		switch {
		case z.opts.NSEC3.Iterations > maxInsecureIterations:
			return Verdict{Bogus, dns.ExtendedErrorCodeUnsupportedNSEC3IterValue, "zone " + z.name + ": too many NSEC3 iterations"}
		case z.opts.NSEC3.Iterations > maxIterations || p.optOut:
			return insecure
		}
	}
	return v
}
