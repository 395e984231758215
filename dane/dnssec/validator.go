package dnssec

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ValidatorOptions are the options of a Validator. The zero value asks the servers of the system and trusts the root keys
// that are built in.
type ValidatorOptions struct {
	Common

	// Anchors are where trust begins; nil = RootAnchors. The deepest one at or above a name counts for it. A name that
	// has none above it gets Indeterminate answers.
	Anchors []Anchor

	// AnchorFile names a file for ParseAnchors, read once, instead of Anchors; "" = none. It replaces what is built in.
	// Changes of keys are not followed by themselves (RFC 5011): the file must be kept up to date by somebody else.
	AnchorFile string

	// InsecureZones are zones in which nothing is validated, for private names that the public tree denies (RFC 7646).
	// Answers there are Insecure, whoever forged them, unless a deeper anchor says otherwise.
	InsecureZones []string

	// AllowSHA1 admits signatures of algorithms 5 and 7 and DS records with digest 1, which are not safe any more.
	// Without it zones that have nothing else are insecure (RFC 9905).
	AllowSHA1 bool

	Limits Limits
}

// A Validator asks any resolver that passes DNSSEC records on, and judges them itself, from a trust anchor down to the
// answer. It believes nothing that is not signed: neither AD bits nor response codes, nor that something does not
// exist. It is safe for concurrent use. FromSystem chooses it where no validating resolver can be trusted.
//
// An answer is Secure if each RRset in it, or the proof that there is none, is signed by the zone that it belongs to;
// it is Insecure only if a zone above is proven not to be signed, or signed in a way that nobody could validate, or in an
// NSEC3 opt-out span. Missing signatures and proofs are an error with KindBogus, and so is everything else that does not
// fit; then each of the other servers is asked once before the error is returned.
//
// A signature of a zone over data that it has delegated to another is accepted, as by other validators: who signs the
// delegation could as well redirect it.
type Validator struct {
	front
	options ValidatorOptions
	known   algorithms
	anchors anchorages
	source  *serverSource
	net     *transport
	zones   zoneCache
	asking  flights[sharedQuery, reply]
	checks  flights[*serverList, *upstreams]

	adopting sync.Mutex // held while ups is replaced
	ups      atomic.Pointer[upstreams]
	silent   atomic.Bool // somebody else tells whether answers carry security
}

// A sharedQuery is a question that several lookups may have at once.
type sharedQuery struct {
	ups *upstreams
	query
}

// NewValidator returns a Validator. It reads resolv.conf and the anchor file if o asks for that, but sends nothing. The
// error is a *Error: KindUnusable if there is no server or no anchor that can be used, KindBadName if a zone in o is not
// a name.
func NewValidator(o ValidatorOptions) (*Validator, error) {
	o.setDefaults()
	o.Limits.setDefaults()
	v := &Validator{
		options: o, known: algorithms{sha1: o.AllowSHA1},
		net: newTransport(&o.Common), zones: zoneCache{disabled: o.Cache.Disable},
	}
	v.init(&v.options.Common)
	v.asking.timeout, v.checks.timeout = o.Timeout, o.Timeout
	var failed *Error
	if v.anchors, failed = newAnchorages(&o, v.known); failed != nil {
		return nil, failed
	}
	if v.source, failed = newServerSource(o.Upstream, o.Now()); failed != nil {
		return nil, failed
	}
	return v, nil
}

// Lookup implements Resolver. Each Step of the answer has its own Security. An alias made from a DNAME is given if type
// CNAME is asked for, with the security of the DNAME.
//
// Errors are *Error. KindBogus is what fails validation, KindLimit what costs too much to validate, KindUnusable servers
// that do not pass DNSSEC records on.
func (v *Validator) Lookup(ctx context.Context, name string, t Type) (*Answer, error) {
	return v.lookup(ctx, v, name, t)
}

func (v *Validator) ready(name string, t Type) bool { return v.has(v, name, t) }

// settled implements finder.
func (v *Validator) settled(now time.Time) bool {
	ups := v.ups.Load()
	return ups != nil && ups.list == v.source.current(now)
}

// find implements finder.
func (v *Validator) find(ctx context.Context, q Question) (*Answer, *Error) {
	ups, failed := v.upstreams(ctx)
	if failed == nil && ups.reason != nil {
		failed = ups.reason
	}
	if failed != nil {
		return nil, about(q, failed)
	}
	answer, failed := v.newJob(ups, q).run(ctx)
	v.cache.put(q, answer, failed, v.options.Now(), ups.generation)
	return answer, failed
}

// A job is the work for one question.
type job struct {
	v        *Validator
	limits   *Limits
	ups      *upstreams
	question Question
	now      time.Time // one time for the whole lookup
	spent    spending
	borders  map[wireName]border
	hashes   map[hashedName]nsec3Hash
}

func (v *Validator) newJob(ups *upstreams, q Question) *job {
	return &job{
		v: v, limits: &v.options.Limits, ups: ups, question: q, now: v.options.Now(),
		borders: make(map[wireName]border), hashes: make(map[hashedName]nsec3Hash),
	}
}

// bogus is the error for something at a name that fails validation.
func (j *job) bogus(at wireName, reason string) *Error {
	return &Error{
		Kind: KindBogus, Name: j.question.Name, Type: j.question.Type, At: at.String(), Reason: reason, EDE: noEDE,
	}
}

// at completes an error from somewhere below with the question and the name that it is about.
func (j *job) at(failed *Error, name wireName) *Error {
	e := *failed
	e.Name, e.Type, e.At = j.question.Name, j.question.Type, name.String()
	return &e
}

// ask puts a question to the servers until accept is content with a reply. If what the first one says is not acceptable,
// each of the others is asked once.
func (j *job) ask(ctx context.Context, name wireName, t Type, accept func(*parsedReply) *Error) *Error {
	q := query{name: name, typ: t, cd: true, do: true}
	r, failed := j.fetch(ctx, q)
	if failed != nil {
		return j.about(failed)
	}
	judge := func(r reply) *Error {
		j.spent.messageHashes = 0
		failed := accept(newParsedReply(r.message))
		if failed == nil {
			return nil
		}
		failed = j.about(failed)
		if !failed.Server.IsValid() {
			failed.Server = r.server
		}
		return failed
	}
	if failed = judge(r); failed == nil || !failed.unacceptable() {
		return failed
	}
	for _, server := range j.ups.servers {
		if server == r.server {
			continue
		}
		if spend(&j.spent.queries, j.limits.Queries, "") != nil {
			break
		}
		m, err := j.v.net.askServer(ctx, j.ups.list, server, q)
		if ctx.Err() != nil {
			return j.about(ended(ctx, q, failed))
		}
		if err == nil && judge(reply{m, server}) == nil {
			return nil
		}
	}
	return failed
}

// unacceptable reports whether e speaks against a reply, so that another server may have a better one.
func (e *Error) unacceptable() bool {
	return e.Kind == KindBogus || e.Kind == KindMalformed || e.Kind == KindLimit || e.Kind == KindLoop
}

// about makes failed an error about the question of the lookup.
func (j *job) about(failed *Error) *Error {
	if failed.Name == j.question.Name && failed.Type == j.question.Type {
		return failed
	}
	return about(j.question, failed)
}

// fetch puts a question to the servers. Questions on the way to a zone are put once for all lookups that have them at
// the same time.
func (j *job) fetch(ctx context.Context, q query) (reply, *Error) {
	if q.typ == TypeDNSKEY {
		if r := j.ups.check.Swap(nil); r != nil {
			if r.name == q.name && j.now.Sub(r.at) < checkReplyFor {
				return r.reply, nil
			}
		}
	}
	if failed := spend(&j.spent.queries, j.limits.Queries, "questions to servers"); failed != nil {
		return reply{}, failed
	}
	if q.typ != TypeDS && q.typ != TypeDNSKEY {
		return j.v.net.ask(ctx, j.ups.list, j.ups.servers, q)
	}
	r, err, ok := j.v.asking.do(ctx, sharedQuery{j.ups, q}, func(ctx context.Context) (reply, error) {
		r, failed := j.v.net.ask(ctx, j.ups.list, j.ups.servers, q)
		if failed != nil {
			return reply{}, failed
		}
		return r, nil
	})
	switch {
	case !ok:
		return reply{}, ended(ctx, q, nil)
	case err != nil:
		return reply{}, err.(*Error)
	}
	return r, nil
}

// Check implements Checker. It asks each server for the keys of the root zone, or of another one that has an anchor, and
// validates what comes back. KindUnusable says that no server returns signatures.
func (v *Validator) Check(ctx context.Context) error {
	ups, failed := v.check(ctx, v.source.current(v.options.Now()))
	if failed == nil && ups.reason != nil {
		failed = ups.reason
	}
	if failed == nil {
		zone := v.checkZone()
		j := v.newJob(ups, Question{zone.String(), TypeDNSKEY})
		_, failed = j.zoneOf(ctx, zone)
	}
	switch {
	case failed == nil:
		return nil
	case ctx.Err() != nil:
		return canceled(ctx, Question{v.checkZone().String(), TypeDNSKEY})
	}
	return failed
}

// checkZone is the zone whose keys are asked for to see whether a server passes signatures on.
func (v *Validator) checkZone() wireName {
	var zones []wireName
	for name, a := range v.anchors {
		if !a.negative {
			zones = append(zones, name)
		}
	}
	return slices.MinFunc(zones, compareNames)
}

// upstreams is which servers can be asked. It is not changed, but for check.
type upstreams struct {
	list       *serverList
	servers    []netip.AddrPort // those that pass signatures on
	reason     *Error           // why there is none
	due        time.Time        // when to look again
	generation uint64           // of the cache
	check      atomic.Pointer[checkReply]
}

// A checkReply is the reply to the check: the first lookup needs the same.
type checkReply struct {
	name wireName
	at   time.Time
	reply
}

// checkReplyFor is how long a reply to the check may be used. It counts as new, so this must not be long.
const checkReplyFor = 10 * time.Second
