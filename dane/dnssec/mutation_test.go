package dnssec

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/dnstest"
)

// fixedNow is the time of the fixed world, in which nothing is random: its messages are the same in each run.
var fixedNow = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// fixedKey makes the same key each time.
func fixedKey(zone string) *dnstest.Key {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, zone)
	private := ed25519.NewKeyFromSeed(seed)
	return &dnstest.Key{Private: private, Public: &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 300},
		Flags: dnstest.FlagZone | dnstest.FlagSEP, Protocol: 3, Algorithm: dns.ED25519,
		PublicKey: base64.StdEncoding.EncodeToString(private.Public().(ed25519.PublicKey)),
	}}
}

// A fixedWorld is a Validator that knows the keys of all zones, and takes the reply to one question from a test.
type fixedWorld struct {
	v         *Validator
	ups       *upstreams
	questions []Question
	replies   [][]byte // honest, by question
	truths    []*Answer

	mu       sync.Mutex
	forged   Question
	forgery  []byte // for forged; nil = honest
	original map[Question][]byte
}

var newFixedWorld = sync.OnceValue(func() *fixedWorld {
	tree := dnstest.NewTree(dnstest.Options{
		Now: func() time.Time { return fixedNow }, Inception: fixedNow.Add(-time.Hour), Expiration: fixedNow.Add(time.Hour),
	})
	zone := func(name string, o dnstest.ZoneOptions, lines ...string) {
		o.Keys = []*dnstest.Key{fixedKey(name)}
		tree.Zone(name, o, lines...)
	}
	zone(".", dnstest.ZoneOptions{})
	zone("com.", dnstest.ZoneOptions{})
	zone("n.com.", dnstest.ZoneOptions{}, append([]string{"far CNAME mx.h.com."}, content...)...)
	zone("h.com.", dnstest.ZoneOptions{NSEC3: &dnstest.NSEC3{Salt: "ab", Iterations: 1}}, content...)
	if err := tree.Sign(); err != nil {
		panic(err)
	}
	server, err := dnstest.ServeRecursive(tree, dnstest.PassThrough, "")
	if err != nil {
		panic(err)
	}
	defer server.Close()
	w := &fixedWorld{original: make(map[Question][]byte)}
	anchors, err := ParseAnchors(strings.NewReader(tree.RootAnchor()))
	if err != nil {
		panic(err)
	}
	w.v, err = NewValidator(ValidatorOptions{
		Anchors: anchors,
		Common: Common{
			Now:   func() time.Time { return fixedNow },
			Cache: CacheConfig{Entries: 1}, // only the zones matter
			Upstream: Upstream{Servers: []netip.AddrPort{server.Addr()}, Tries: 1, Exchange: func(ctx context.Context, _ netip.AddrPort, query []byte) ([]byte, error) {
				return w.exchange(server.Addr().String(), query)
			}},
		},
	})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	var failed *Error
	if w.ups, failed = w.v.upstreams(ctx); failed != nil {
		panic(failed)
	}
	for _, z := range []string{"n.com.", "h.com."} {
		w.questions = append(w.questions, []Question{
			{"mx." + z, TypeA}, {z, TypeMX}, {"_25._tcp.mx." + z, TypeTLSA}, {"mx." + z, TypeTLSA}, {"absent." + z, TypeA}, {"any.w." + z, TypeA},
			{"any.w." + z, TypeTLSA}, {"alias2." + z, TypeA}, {"toabsent." + z, TypeA}, {"any.cw." + z, TypeA}, {"x.dn." + z, TypeA}, {"ent." + z, TypeA},
			{z, TypeSOA}, {"x.dn." + z, TypeCNAME},
		}...)
	}
	w.questions = append(w.questions, Question{"far.n.com.", TypeA}, Question{"far.n.com.", TypeTLSA})
	for _, q := range w.questions {
		a, failed := w.v.newJob(w.ups, q).run(ctx)
		if failed != nil || a.Security != Secure {
			panic(fmt.Sprint(q, a, failed))
		}
		w.truths = append(w.truths, a)
		w.replies = append(w.replies, w.original[q])
	}
	return w
})

// exchange answers from the honest replies seen so far, except for the forged one.
func (w *fixedWorld) exchange(server string, query []byte) ([]byte, error) {
	q := new(dns.Msg)
	if err := q.Unpack(query); err != nil {
		return nil, err
	}
	key := Question{q.Question[0].Name, Type(q.Question[0].Qtype)}
	w.mu.Lock()
	defer w.mu.Unlock()
	reply := slices.Clone(w.original[key])
	if key == w.forged && w.forgery != nil {
		reply = slices.Clone(w.forgery)
	} else if reply == nil {
		m, _, err := (&dns.Client{Net: "tcp"}).Exchange(q, server)
		if err != nil {
			return nil, err
		}
		m.Compress = true
		if reply, err = m.Pack(); err != nil {
			return nil, err
		}
		w.original[key] = slices.Clone(reply)
	}
	if len(reply) >= 2 {
		copy(reply, query[:2])
	}
	return reply, nil
}

// judge runs question i with reply instead of the honest one. It fails the test if the result is neither an error nor
// the truth.
func (w *fixedWorld) judge(t testing.TB, i int, reply []byte) bool {
	w.mu.Lock()
	w.forged, w.forgery = w.questions[i], reply
	w.mu.Unlock()
	a, failed := w.v.newJob(w.ups, w.questions[i]).run(t0)
	if failed != nil {
		return false
	}
	same(t, w.truths[i], a)
	require.False(t, a.Expires.After(w.truths[i].Expires))
	return true
}

// Whichever octet of a signed answer is changed, it is refused or says the same as before.
func TestMutatedOctets(t *testing.T) {
	w := newFixedWorld()
	accepted, refused := 0, 0
	for i, reply := range w.replies {
		for at := 2; at < len(reply); at++ {
			changed := slices.Clone(reply)
			changed[at] ^= []byte{1 << (at / 3 % 8), 0x20, 0xFF}[at%3]
			if w.judge(t, i, changed) {
				accepted++
			} else {
				refused++
			}
		}
	}
	t.Log(accepted, refused)
	require.Greater(t, refused, accepted)
	require.NotZero(t, accepted, "the case of names may change")
}

// The same for whole records: dropped, repeated, moved, or taken from other answers.
func TestMutatedRecords(t *testing.T) {
	w := newFixedWorld()
	random := rand.New(rand.NewPCG(1, 2))
	accepted, refused := 0, 0
	for i := range w.replies {
		for range 150 {
			m, other := new(dns.Msg), new(dns.Msg)
			require.NoError(t, m.Unpack(w.replies[i]))
			require.NoError(t, other.Unpack(w.replies[random.IntN(len(w.replies))]))
			for range 1 + random.IntN(3) {
				mutate(random, m, other)
			}
			m.Compress = random.IntN(2) == 0
			reply, err := m.Pack()
			require.NoError(t, err)
			if w.judge(t, i, reply) {
				accepted++
			} else {
				refused++
			}
		}
	}
	t.Log(accepted, refused)
	require.NotZero(t, accepted)
	require.NotZero(t, refused)
}

func mutate(random *rand.Rand, m, other *dns.Msg) {
	sections := []*[]dns.RR{&m.Answer, &m.Ns}
	from, to := sections[random.IntN(2)], sections[random.IntN(2)]
	if len(*from) == 0 {
		return
	}
	at := random.IntN(len(*from))
	r := dns.Copy((*from)[at])
	switch random.IntN(8) {
	case 0: // drop
		*from = slices.Delete(*from, at, at+1)
	case 1: // repeat
		*to = append(*to, r)
	case 2: // move
		*from = slices.Delete(*from, at, at+1)
		*to = slices.Insert(*to, random.IntN(len(*to)+1), r)
	case 3: // all of the other answer's
		m.Answer, m.Ns = append(m.Answer, other.Answer...), append(m.Ns, other.Ns...)
	case 4: // the other answer's proofs
		m.Ns = slices.Clone(other.Ns)
	case 5: // the other answer's records under this name
		m.Answer = nil
		for _, r := range other.Answer {
			r = dns.Copy(r)
			r.Header().Name = m.Question[0].Name
			m.Answer = append(m.Answer, r)
		}
	case 6: // no answer
		m.Answer, m.Rcode = nil, random.IntN(4)
	case 7: // another owner
		r.Header().Name = m.Question[0].Name
		(*from)[at] = r
	}
}

// FuzzValidateMessage puts any octets where the reply is, with the keys of all zones known: the end is an error or the
// truth.
func FuzzValidateMessage(f *testing.F) {
	w := newFixedWorld()
	for i, reply := range w.replies {
		f.Add(byte(i), reply)
	}
	f.Fuzz(func(t *testing.T, i byte, reply []byte) {
		q, reply := w.questions[int(i)%len(w.questions)], slices.Clone(reply)
		if head := w.replies[int(i)%len(w.questions)]; len(reply) > headerOctets && len(reply) > len(q.Name) {
			end := headerOctets + len(q.Name) + 1 + 4 // the question is what gets it read at all
			if len(reply) >= end {
				copy(reply[headerOctets:end], head[headerOctets:end])
				reply[2] = 0x81
				binary.BigEndian.PutUint16(reply[4:], 1)
			}
		}
		w.judge(t, int(i)%len(w.questions), reply)
	})
}
