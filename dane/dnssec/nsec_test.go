package dnssec

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// setOf makes an RRset from a line, as it comes from a message.
func setOf(t testing.TB, line string) *rrset {
	r, err := dns.NewRR(line)
	require.NoError(t, err)
	m := new(dns.Msg)
	m.Question = []dns.Question{{Name: ".", Qtype: 1, Qclass: 1}}
	m.Answer = []dns.RR{r}
	b, err := m.Pack()
	require.NoError(t, err)
	parsed, err := parseMessage(b)
	require.NoError(t, err)
	return newSection(parsed.answer)[0]
}

func TestTypeBitmap(t *testing.T) {
	for _, tt := range []struct {
		why    string
		bitmap typeBitmap
		valid  bool
	}{
		{"empty", nil, true},
		{"A", typeBitmap{0, 1, 0x40}, true},
		{"two windows", typeBitmap{0, 1, 0x40, 1, 1, 0x80}, true},
		{"windows out of order", typeBitmap{1, 1, 0x80, 0, 1, 0x40}, false},
		{"a window twice: the second would hide types", typeBitmap{0, 1, 0x40, 0, 1, 0x20}, false},
		{"an empty window", typeBitmap{0, 0}, false},
		{"a window of 33 octets", append(typeBitmap{0, 33}, make([]byte, 33)...), false},
		{"cut in the window", typeBitmap{0, 2, 0x40}, false},
		{"cut in the head", typeBitmap{0}, false},
	} {
		require.Equal(t, tt.valid, tt.bitmap.valid(), tt.why)
	}
	b := typeBitmap{0, 1, 0x40, 1, 1, 0x80}
	require.True(t, b.has(TypeA))
	require.True(t, b.has(256))
	require.False(t, b.has(TypeNS))
	require.False(t, b.has(TypeMX), "beyond the block")
	require.False(t, b.has(257))
	require.False(t, b.has(512))
}

func TestBitmapLacks(t *testing.T) {
	name := wire(t, "zone.com.")
	for _, tt := range []struct {
		types string
		typ   Type
		want  bool
		why   string
	}{
		{"A MX", TypeTLSA, true, "not there"},
		{"A MX", TypeA, false, "there"},
		{"CNAME", TypeTLSA, false, "an alias should have been followed"},
		{"NS", TypeTLSA, false, "a delegation: the parent does not know"},
		{"NS", TypeDS, true, "an insecure delegation"},
		{"NS DS", TypeTLSA, false, "a secure delegation"},
		{"NS DS", TypeDS, false, "there"},
		{"NS SOA MX", TypeTLSA, true, "the apex"},
		{"NS SOA MX", TypeDS, false, "the apex: the child does not know"},
		{"A", TypeDS, true, "no delegation"},
	} {
		n, ok := newNSEC(setOf(t, "zone.com. 300 NSEC zz.com. "+tt.types), wire(t, "com."))
		require.True(t, ok)
		require.Equal(t, tt.want, n.types.lacks(name, tt.typ), "%s %s: %s", tt.types, tt.typ, tt.why)
	}
	n, _ := newNSEC(setOf(t, ". 300 NSEC com. NS SOA DNSKEY"), rootName)
	require.True(t, n.types.lacks(rootName, TypeDS), "the root has no parent to ask")
}

func TestNSECProofs(t *testing.T) {
	// The zone: example.com. with a.b, *.w, host.w, sub (a delegation), d (a DNAME), z.
	zone := wire(t, "example.com.")
	all := []string{
		"example.com. 300 NSEC a.b.example.com. NS SOA MX",
		"a.b.example.com. 300 NSEC d.example.com. A",
		"d.example.com. 300 NSEC sub.example.com. DNAME",
		"sub.example.com. 300 NSEC *.w.example.com. NS",
		"*.w.example.com. 300 NSEC host.w.example.com. A",
		"host.w.example.com. 300 NSEC x.*.y.example.com. TXT",
		"x.*.y.example.com. 300 NSEC z.example.com. A",
		"z.example.com. 300 NSEC example.com. A",
	}
	for _, tt := range []struct {
		name    string
		typ     Type
		records []int // indices into all; nil = all
		want    Outcome
		why     string
	}{
		{"c.example.com.", TypeA, nil, NXDomain, "two records"},
		{"c.example.com.", TypeA, []int{1}, 0, "the wildcard is not denied"},
		{"c.example.com.", TypeA, []int{0}, 0, "the name is not denied"},
		{"b.example.com.", TypeA, []int{0}, NoData, "an empty non-terminal"},
		{"zz.example.com.", TypeA, nil, NXDomain, "after the last name"},
		{"zz.example.com.", TypeA, []int{7}, 0, "the wildcard is not denied"},
		{"z.example.com.", TypeA, nil, 0, "there"},
		{"z.example.com.", TypeMX, nil, NoData, "no such type"},
		{"x.sub.example.com.", TypeA, nil, 0, "below a delegation"},
		{"sub.example.com.", TypeDS, nil, NoData, "an insecure delegation"},
		{"sub.example.com.", TypeA, nil, 0, "the child's"},
		{"x.d.example.com.", TypeA, nil, 0, "below a DNAME"},
		{"q.w.example.com.", TypeA, nil, 0, "the wildcard has it"},
		{"q.w.example.com.", TypeMX, nil, NoData, "the wildcard lacks it"},
		{"q.w.example.com.", TypeMX, []int{4}, 0, "the name is not denied: host.w is in between"},
		{"q.w.example.com.", TypeMX, []int{5}, 0, "the wildcard is not shown"},
		{"a.w.example.com.", TypeMX, []int{4}, NoData, "one record for both"},
		{"q.y.example.com.", TypeA, nil, NoData, "the wildcard is an empty non-terminal"},
		{"y.example.com.", TypeA, nil, NoData, "an empty non-terminal above a wildcard"},
		{"q.host.w.example.com.", TypeA, nil, NXDomain, "host.w is closer than the wildcard"},
	} {
		var records []nsec
		for i, line := range all {
			if tt.records == nil || slices.Contains(tt.records, i) {
				n, ok := newNSEC(setOf(t, line), zone)
				require.True(t, ok, line)
				records = append(records, n)
			}
		}
		require.Equal(t, tt.want, proveNSEC(records, wire(t, tt.name), tt.typ).outcome, "%s %s: %s", tt.name, tt.typ, tt.why)
	}
	for _, tt := range []struct{ line, why string }{
		{"a.example.com. 300 NSEC a.example.com. A", "an empty interval"},
		{"b.example.com. 300 NSEC a.example.com. A", "leads back"},
		{"b.example.com. 300 NSEC z.com. A", "leads out of the zone"},
		{"b.com. 300 NSEC example.com. A", "of another zone"},
	} {
		_, ok := newNSEC(setOf(t, tt.line), zone)
		require.False(t, ok, tt.why)
	}
}

// A modelZone is a small zone as a set of names, judged by looking at all of it.
type modelZone struct {
	apex  wireName
	types map[wireName][]Type // what is there; the apex has SOA and NS
}

// newModel builds a zone out of random octets: names of up to three labels out of a few.
func newModel(t testing.TB, seed []byte) modelZone {
	m := modelZone{apex: wire(t, "z."), types: make(map[wireName][]Type)}
	m.types[m.apex] = []Type{TypeNS, TypeSOA}
	kinds := [][]Type{{TypeA}, {TypeMX}, {TypeCNAME}, {TypeNS}, {TypeDNAME}, {TypeNS, TypeDS}, {TypeA, TypeMX}}
	for ; len(seed) >= 2; seed = seed[2:] {
		name := modelName(seed[0])
		if name != m.apex && len(m.types) < 8 {
			m.types[name] = kinds[int(seed[1])%len(kinds)]
		}
	}
	for name := range m.types { // what lies below a delegation or DNAME is not in the zone
		for up, _ := name.parent(); name != m.apex && up != m.apex; up, _ = up.parent() {
			if types := m.types[up]; slices.Contains(types, TypeNS) || slices.Contains(types, TypeDNAME) {
				delete(m.types, name)
				break
			}
		}
	}
	return m
}

// modelName makes one of the names that model zones are about.
func modelName(octet byte) wireName {
	name := wireName("\x01z\x00")
	for octet > 0 {
		name = wireName("\x01"+string("*abc"[octet%4])) + name
		octet /= 6
		if len(name) > 9 {
			break
		}
	}
	return name
}

// exists reports whether name is in the zone, be it as an empty non-terminal.
func (m modelZone) exists(name wireName) bool {
	for n := range m.types {
		if n.within(name) {
			return true
		}
	}
	return false
}

// truth is what the zone says about (name, t): 0 if there is something, or if the question is not for this zone.
func (m modelZone) truth(name wireName, t Type) Outcome {
	for up := name; ; up, _ = up.parent() {
		types := m.types[up]
		cut := up != m.apex && slices.Contains(types, TypeNS)
		if cut && (up != name || t != TypeDS) || up != name && slices.Contains(types, TypeDNAME) {
			return 0
		}
		if up == m.apex {
			break
		}
	}
	at := name
	if !m.exists(name) {
		encloser := name
		for !m.exists(encloser) {
			encloser, _ = encloser.parent()
		}
		if at = encloser.wildcard(); !m.exists(at) {
			return NXDomain
		}
	}
	types := m.types[at]
	if slices.Contains(types, t) || slices.Contains(types, TypeCNAME) || t == TypeDS && at == m.apex {
		return 0
	}
	if slices.Contains(types, TypeNS) && at != m.apex && t != TypeDS {
		return 0 // a wildcard that delegates: nobody knows what that means (RFC 4592 section 4.2)
	}
	return NoData
}

// sorted returns the names of the zone that have records, in canonical order.
func (m modelZone) sorted() []wireName {
	var names []wireName
	for n := range m.types {
		names = append(names, n)
	}
	slices.SortFunc(names, compareNames)
	return names
}

func bitmapOf(types []Type) typeBitmap {
	types = slices.Clone(types)
	slices.Sort(types)
	b := typeBitmap{0, 32}
	b = append(b, make([]byte, 32)...)
	for _, t := range types {
		b[2+t/8] |= 0x80 >> (t % 8)
	}
	return b
}

var modelTypes = []Type{TypeA, TypeMX, TypeDS, TypeNS, TypeCNAME, TypeSOA}

// With any part of the records of a zone, NSEC proofs show nothing that is not true, and with all of them everything.
func FuzzNSECProof(f *testing.F) {
	f.Add([]byte{4, 0, 9, 1, 30, 2}, uint16(0xFFFF), byte(9), byte(0))
	f.Add([]byte{1, 3, 2, 4, 13, 5, 24, 6}, uint16(0x00FF), byte(14), byte(2))
	f.Add([]byte{24, 0, 60, 0, 61, 3}, uint16(0x0005), byte(60), byte(1))
	f.Fuzz(func(t *testing.T, seed []byte, chosen uint16, ask, kind byte) {
		m := newModel(t, seed)
		name, typ := modelName(ask), modelTypes[int(kind)%len(modelTypes)]
		names := m.sorted()
		var some, all []nsec
		for i, owner := range names {
			set := &rrset{owner: owner, typ: typeNSEC}
			set.records = []resource{{data: append([]byte(names[(i+1)%len(names)]), bitmapOf(m.types[owner])...)}}
			n, ok := newNSEC(set, m.apex)
			require.True(t, ok)
			if all = append(all, n); chosen>>i&1 != 0 {
				some = append(some, n)
			}
		}
		truth := m.truth(name, typ)
		if got := proveNSEC(some, name, typ).outcome; got != 0 {
			require.Equal(t, truth, got, "%s %s in %v", name, typ, m.types)
		}
		require.Equal(t, truth, proveNSEC(all, name, typ).outcome, "%s %s in %v", name, typ, m.types)

		encloser, wild := m.wildcardFor(name)
		for up := name; up != m.apex; {
			up, _ = up.parent()
			p := expandNSEC(some, name, up)
			if p.outcome != 0 {
				require.True(t, wild && up == encloser, "%s from *.%s in %v", name, up, m.types)
			}
			if wild && up == encloser {
				require.NotZero(t, expandNSEC(all, name, up).outcome, "%s from *.%s in %v", name, up, m.types)
			}
		}
	})
}

// wildcardFor returns the closest encloser of name, and whether a wildcard there would apply to name.
func (m modelZone) wildcardFor(name wireName) (wireName, bool) {
	if m.exists(name) {
		return "", false
	}
	encloser := name
	for !m.exists(encloser) {
		encloser, _ = encloser.parent()
	}
	for up := encloser; up != m.apex; up, _ = up.parent() {
		if types := m.types[up]; slices.Contains(types, TypeNS) || slices.Contains(types, TypeDNAME) {
			return "", false
		}
	}
	return encloser, true
}

// The same for NSEC3, with opt-out: then an insecure delegation may be denied as well, and the proof says so.
func FuzzNSEC3Proof(f *testing.F) {
	f.Add([]byte{4, 0, 9, 1, 30, 2}, uint16(0xFFFF), byte(9), byte(0), false)
	f.Add([]byte{1, 3, 2, 4, 13, 5, 24, 6}, uint16(0x00FF), byte(14), byte(2), true)
	f.Add([]byte{24, 0, 60, 0, 61, 3}, uint16(0x0005), byte(60), byte(1), false)
	f.Fuzz(func(t *testing.T, seed []byte, chosen uint16, ask, kind byte, optOut bool) {
		m := newModel(t, seed)
		name, typ := modelName(ask), modelTypes[int(kind)%len(modelTypes)]
		params := nsec3Params{iterations: 1, salt: "x"}
		types := make(map[nsec3Hash][]Type)
		signed := modelZone{apex: m.apex, types: make(map[wireName][]Type)} // what is in the chain
		for owner, there := range m.types {
			if optOut && owner != m.apex && slices.Contains(there, TypeNS) && !slices.Contains(there, TypeDS) {
				continue
			}
			signed.types[owner] = there
			for up := owner; ; up, _ = up.parent() {
				types[hashName(up, params)] = m.types[up]
				if up == m.apex {
					break
				}
			}
		}
		var hashes []nsec3Hash
		for h := range types {
			hashes = append(hashes, h)
		}
		slices.SortFunc(hashes, func(a, b nsec3Hash) int { return bytes.Compare(a[:], b[:]) })
		var some, all []nsec3
		for i, h := range hashes {
			n := nsec3{hash: h, next: hashes[(i+1)%len(hashes)], optOut: optOut, params: params, types: bitmapOf(types[h]), set: &rrset{}}
			if all = append(all, n); chosen>>(i%16)&1 != 0 {
				some = append(some, n)
			}
		}
		chain := func(records []nsec3) hashedChain {
			return hashedChain{m.apex, records, func(w wireName) (nsec3Hash, *Error) { return hashName(w, params), nil }}
		}
		truth := m.truth(name, typ)
		judge := func(p proof) {
			switch {
			case p.outcome == 0:
			case !p.optOut:
				require.Equal(t, truth, p.outcome, "%s %s in %v", name, typ, m.types)
			default:
				// Nothing that the chain holds is denied.
				want := signed.truth(name, typ)
				require.True(t, want == p.outcome || typ == TypeDS, "%s %s in %v", name, typ, m.types)
			}
		}
		p, failed := proveNSEC3(chain(some), name, typ)
		require.Nil(t, failed)
		judge(p)
		p, failed = proveNSEC3(chain(all), name, typ)
		require.Nil(t, failed)
		judge(p)
		if !optOut {
			require.Equal(t, truth, p.outcome, "%s %s in %v", name, typ, m.types)
		}
		for up := name; up != m.apex; {
			up, _ = up.parent()
			p, failed := expandNSEC3(chain(some), name, up)
			require.Nil(t, failed)
			if p.outcome != 0 && !p.optOut && m.exists(up) {
				require.False(t, m.exists(name.last(up.labels()+1)), "%s from *.%s in %v", name, up, m.types)
			}
		}
	})
}

func TestNSEC3Record(t *testing.T) {
	const good = "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example. 300 NSEC3 1 1 12 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr NS SOA MX"
	n, ok := newNSEC3(setOf(t, good), wire(t, "example."))
	require.True(t, ok)
	require.True(t, n.optOut)
	require.Equal(t, nsec3Params{12, "\xaa\xbb\xcc\xdd"}, n.params)
	require.Equal(t, hashName(wire(t, "example."), n.params), n.hash, "RFC 5155 appendix A")
	require.True(t, n.types.has(TypeMX))
	for _, tt := range []struct{ from, to, why string }{
		{"NSEC3 1 1", "NSEC3 2 1", "another hash"},
		{"NSEC3 1 1", "NSEC3 1 2", "an unknown flag"},
		{"NSEC3 1 1", "NSEC3 1 3", "an unknown flag beside the known one"},
		{"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.", "0p9mhaveqvm6t7vbl5lop2u3t2rp3to.", "a hash that is too short"},
		{"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tow.", "no base32"},
		{"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.sub.", "deeper than the zone"},
	} {
		line := strings.Replace(good, tt.from, tt.to, 1)
		require.NotEqual(t, good, line)
		_, ok := newNSEC3(setOf(t, line), wire(t, "example."))
		require.False(t, ok, tt.why)
	}
	data := setOf(t, good).records[0].data
	for i := range data { // no length octet may lead out of the record
		for _, octet := range []byte{0, 1, 255} {
			changed := bytes.Clone(data)
			changed[i] = octet
			newNSEC3(&rrset{owner: n.set.owner, records: []resource{{data: changed}}}, wire(t, "example."))
		}
		newNSEC3(&rrset{owner: n.set.owner, records: []resource{{data: data[:i]}}}, wire(t, "example."))
	}
	require.NotZero(t, binary.BigEndian.Uint16(data[2:]))
}
