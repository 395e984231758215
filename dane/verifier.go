package dane

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"slices"
	"time"
)

// maxChain is how many certificates of a chain are looked at, the server's own
// included. Nobody needs more than a handful; a TLS message can carry hundreds.
const maxChain = 256

// A Verifier is a set of TLSA records, checked, sorted and grouped once, to
// compare certificate chains with. It is immutable and safe for concurrent use.
//
// Records are tried in a fixed order that does not depend on theirs: usage 3, 2,
// 1, 0; within a usage the stronger digest first and Full last, then as
// Record.Compare has it; but of several trust anchors the one nearest to the
// server's certificate decides, and bare keys come last. The first success
// decides. A record that fails takes nothing away from the others.
//
// The zero Verifier matches nothing.
type Verifier struct {
	options   Options
	input     []RecordStatus // as given
	usable    int
	entries   []entry // what takes part, in evaluation order
	groups    [UsageDANEEE + 1][]group
	partition [sha256.Size]byte
	cacheID   [sha256.Size]byte
}

// An entry is one record that takes part. Its place in Verifier.entries is its
// rank.
type entry struct {
	record Record
	index  int               // in the input
	cert   *x509.Certificate // of Full records with SelectorCert
	key    any               // of Full records with SelectorSPKI
}

// NewVerifier compiles a set of TLSA records. It copies them; the slice may
// belong to a resolver's cache. Records that cannot be used are no error: they
// are kept with their reason and take no part. An empty set is ErrNoRecords, and
// the only error.
//
// Among the usable records of one usage and selector, only those with the
// strongest digest take part (RFC 7671 section 9). Full records are no digests:
// they neither suppress nor are suppressed.
func NewVerifier(records []Record, o Options) (*Verifier, error) {
	if len(records) == 0 {
		return nil, ErrNoRecords
	}
	v := &Verifier{options: o, input: make([]RecordStatus, len(records))}
	var strongest [UsageDANEEE + 1][SelectorSPKI + 1]MatchingType
	for i, r := range records {
		r.Data = bytes.Clone(r.Data)
		reason := r.Check(o.Profile)
		v.input[i] = RecordStatus{r, reason}
		if reason == ReasonNone {
			v.usable++
			s := &strongest[r.Usage][r.Selector]
			*s = max(*s, r.MatchingType) // Full is 0, SHA2-512 beats SHA2-256
		}
	}
	for i := range v.input {
		status := &v.input[i]
		if status.Reason != ReasonNone {
			continue
		}
		r := status.Record
		if r.MatchingType != MatchingFull && r.MatchingType < strongest[r.Usage][r.Selector] {
			status.Reason = ReasonSuppressed
			continue
		}
		e := entry{record: r, index: i}
		if r.MatchingType == MatchingFull && r.Usage != UsageDANEEE && r.Usage != UsagePKIXEE {
			e.cert, e.key = r.decode()
		}
		v.entries = append(v.entries, e)
	}
	slices.SortStableFunc(v.entries, func(a, b entry) int {
		return cmp.Or(
			-cmp.Compare(a.record.Usage, b.record.Usage),
			-cmp.Compare(a.record.MatchingType, b.record.MatchingType), // SHA2-512, SHA2-256, Full
			a.record.Compare(b.record),
		)
	})
	v.entries = slices.CompactFunc(v.entries, func(a, b entry) bool { return a.record.Equal(b.record) })
	v.compile()
	return v, nil
}

// compile derives what follows from the entries.
func (v *Verifier) compile() {
	h := sha256.New()
	h.Write([]byte{byte(v.options.Profile)})
	for rank, e := range v.entries {
		v.addToGroup(rank)
		wire := e.record.AppendWire(nil)
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(wire))))
		h.Write(wire)
	}
	h.Sum(v.partition[:0])
	v.cacheID = v.options.Cache.identity(v.partition, &v.options)
}

// Usable returns how many of the records can be used, those that a stronger digest outranks
// included. 0 means that the whole set is unusable.
func (v *Verifier) Usable() int { return v.usable }

// Records returns every record, in the order given, with what keeps it from
// taking part: ReasonNone, one of the reasons of Record.Check, or
// ReasonSuppressed.
func (v *Verifier) Records() []RecordStatus { return slices.Clone(v.input) }

// Partition returns a digest of the profile and of the records that take part.
// Two Verifiers with the same Partition judge alike, Options.Roots and
// Options.NoCommonName apart. What is remembered about connections, such as TLS
// sessions, belongs to one partition.
func (v *Verifier) Partition() [32]byte { return v.partition }

// Verify compares a chain, the server's certificate first, with the records.
//
// The server's certificate must come from the handshake, which proves that the
// peer has its key. The order of the others means nothing. Nil certificates, and
// those that x509.ParseCertificate has not made, do not count. ids is the set of
// names of which the certificate must have one; usage 3 does not look at it. A
// zero now is the time of Options.Now; usage 3 has no use for the time.
//
// Whether a record is usable comes before everything else: an unusable set is
// Unusable with any chain, also with none. Verify does not modify or keep the
// slice, except that a failed Result refers to it for Result.Err.
func (v *Verifier) Verify(chain []*x509.Certificate, ids RefIDs, now time.Time) Result {
	if v == nil || v.usable == 0 {
		return v.unusable()
	}
	if len(chain) == 0 || chain[0] == nil || len(chain[0].Raw) == 0 {
		return v.mismatch(ReasonNoCertificate)
	}
	// Usage 3: the selected part of the server's certificate and nothing else (RFC
	// 7671 section 5.1, RFC 7672 section 3.1.1).
	if rank := match(v.groups[UsageDANEEE], chain[0]); rank >= 0 {
		e := &v.entries[rank]
		return Result{Status: Matched, Record: e.record, Index: e.index}
	}
	if len(v.groups[UsageDANETA])+len(v.groups[UsagePKIXEE])+len(v.groups[UsagePKIXTA]) == 0 {
		return v.mismatch(ReasonNoMatch)
	}
	return v.verifyPath(chain, ids, now)
}

func (v *Verifier) mismatch(reason Reason) Result {
	return Result{Reason: reason, Index: -1, Depth: -1, verifier: v}
}

// unusable returns the verdict without usable records. A Verifier that
// NewVerifier has not made holds no records at all, and fails closed.
func (v *Verifier) unusable() Result {
	if v == nil || len(v.input) == 0 {
		return Result{Reason: ReasonNoMatch, Index: -1, Depth: -1}
	}
	r := Result{Status: Unusable, Index: -1, Depth: -1, verifier: v}
	for _, status := range v.input {
		r.Reason = max(r.Reason, status.Reason)
	}
	return r
}
