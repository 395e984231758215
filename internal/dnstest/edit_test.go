package dnstest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

func TestChangesArePublishedBySign(t *testing.T) {
	tree := NewTree(Options{})
	com := tree.Zone("com.", ZoneOptions{})
	z := tree.Zone("example.com", ZoneOptions{}, "_25._tcp.mx TLSA 3 1 1 00", "mx A 127.0.0.1", "mx AAAA ::1")
	require.NoError(t, tree.Sign())
	front, err := ServeRecursive(tree, Validating, "")
	require.NoError(t, err)
	defer front.Close()
	ask := func(name string, qtype uint16) *dns.Msg { return exchange(t, front.Addr(), question(name, qtype)) }
	tlsa := func() string {
		reply := ask("_25._tcp.mx.example.com.", dns.TypeTLSA)
		require.True(t, reply.AuthenticatedData)
		return reply.Answer[0].(*dns.TLSA).Certificate
	}

	z.Replace("_25._tcp.mx", dns.TypeTLSA, "_25._tcp.mx TLSA 3 1 1 11")
	require.Equal(t, "00", tlsa(), "not yet published")
	require.NoError(t, tree.Sign())
	require.Equal(t, "11", tlsa())

	z.Spoil("_25._tcp.mx.example.com.", dns.TypeTLSA, BadSignature)
	require.NoError(t, tree.Sign())
	require.Equal(t, dns.RcodeServerFailure, ask("_25._tcp.mx.example.com.", dns.TypeTLSA).Rcode)
	z.Spoil("_25._tcp.mx", dns.TypeTLSA, Sound)
	require.NoError(t, tree.Sign())
	require.Equal(t, "11", tlsa(), "healed")

	z.Remove("mx", dns.TypeAAAA)
	require.NoError(t, tree.Sign())
	require.Empty(t, ask("mx.example.com.", dns.TypeAAAA).Answer)
	require.Len(t, ask("mx.example.com.", dns.TypeA).Answer, 2)
	z.Remove("_25._tcp.mx")
	require.NoError(t, tree.Sign())
	require.Equal(t, dns.RcodeNameError, ask("_25._tcp.mx.example.com.", dns.TypeTLSA).Rcode)

	z.Change(func(o *ZoneOptions) { o.Unsigned = true })
	require.NoError(t, tree.Sign())
	require.False(t, ask("mx.example.com.", dns.TypeA).AuthenticatedData)
	require.Empty(t, ask("example.com.", dns.TypeDS).Answer, "the parent follows")
	z.Change(func(o *ZoneOptions) { o.Unsigned, o.Algorithm = false, dns.ED25519 })
	require.NoError(t, tree.Sign())
	require.Equal(t, uint8(dns.ED25519), ask("example.com.", dns.TypeDS).Answer[0].(*dns.DS).Algorithm)
	require.True(t, ask("mx.example.com.", dns.TypeA).AuthenticatedData)

	before := z.Keys()[0]
	z.RollKeys()
	require.NoError(t, tree.Sign())
	require.NotEqual(t, before.Public.PublicKey, z.Keys()[0].Public.PublicKey)
	require.True(t, ask("mx.example.com.", dns.TypeA).AuthenticatedData, "the DS has rolled too")

	stale := tree.Lookup("example.com").Keys()[0].DS(dns.SHA256)
	com.AddRR(stale)
	z.RollKeys()
	require.NoError(t, tree.Sign())
	require.Equal(t, dns.RcodeServerFailure, ask("mx.example.com.", dns.TypeA).Rcode, "a DS that is written by hand stays")
	require.Nil(t, tree.Lookup("elsewhere."))
}

func TestUnchangedZonesAreNotSignedAgain(t *testing.T) {
	tree := NewTree(Options{})
	tree.Zone("com.", ZoneOptions{}, "a A 127.0.0.1")
	z := tree.Zone("example.com.", ZoneOptions{}, "a A 127.0.0.1")
	require.NoError(t, tree.Sign())
	before := tree.current.Load()
	z.Add("b A 127.0.0.1")
	require.NoError(t, tree.Sign())
	after := tree.current.Load()
	require.Same(t, before.zones["com."], after.zones["com."])
	require.NotSame(t, before.zones["example.com."], after.zones["example.com."])
}

func TestDates(t *testing.T) {
	var mu sync.Mutex
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	tree := NewTree(Options{
		Now: func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return now
		},
		Inception: now.Add(-time.Hour), Expiration: now.Add(48 * time.Hour),
	})
	z := tree.Zone("short.", ZoneOptions{Expiration: now.Add(24 * time.Hour)}, "a A 127.0.0.1")
	tree.Zone("long.", ZoneOptions{}, "a A 127.0.0.1")
	tree.Zone("later.", ZoneOptions{Inception: now.Add(time.Hour)}, "a A 127.0.0.1")
	require.NoError(t, tree.Sign())
	for _, tt := range []struct {
		after              time.Duration
		short, long, later Security
	}{
		{0, Secure, Secure, Bogus},
		{time.Hour, Secure, Secure, Secure},
		{24 * time.Hour, Secure, Secure, Secure},
		{24*time.Hour + time.Second, Bogus, Secure, Secure},
		{49 * time.Hour, Bogus, Bogus, Bogus},
	} {
		mu.Lock()
		now = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).Add(tt.after)
		mu.Unlock()
		require.Equal(t, tt.short, tree.Verdict("a.short.", dns.TypeA).Security, tt.after)
		require.Equal(t, tt.long, tree.Verdict("a.long.", dns.TypeA).Security, tt.after)
		require.Equal(t, tt.later, tree.Verdict("a.later.", dns.TypeA).Security, tt.after)
	}
	sig, err := z.Forge([]dns.RR{testRR(t, "a.short. 300 IN A 127.0.0.66")}, nil)
	require.NoError(t, err)
	require.Equal(t, uint32(time.Date(2030, 1, 2, 0, 0, 0, 0, time.UTC).Unix()), sig.Expiration)
}

func testRR(t testing.TB, line string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(line)
	require.NoError(t, err)
	return rr
}

func TestMistakes(t *testing.T) {
	for _, tt := range []struct {
		why   string
		make  func(*Tree)
		wants []string
	}{
		{"a record that does not parse", func(tree *Tree) { tree.Zone("a.", ZoneOptions{}, "mx MX ten mx") }, []string{"zone a.", `"mx MX ten mx"`}},
		{"an empty record", func(tree *Tree) { tree.Zone("a.", ZoneOptions{}, " ") }, []string{"zone a.", "no record"}},
		{"an owner outside", func(tree *Tree) { tree.Zone("a.", ZoneOptions{}, "x.b. A 127.0.0.1") }, []string{"outside the zone", "x.b."}},
		{"two zones of one name", func(tree *Tree) { tree.Zone("a.", ZoneOptions{}); tree.Zone("A", ZoneOptions{}) }, []string{"zone a. is there already"}},
		{"CNAME and other data", func(tree *Tree) { tree.Zone("a.", ZoneOptions{}, "x CNAME y", "x A 127.0.0.1") }, []string{"x.a. has a CNAME"}},
		{"two CNAMEs", func(tree *Tree) { tree.Zone("a.", ZoneOptions{}, "x CNAME y", "x CNAME z") }, []string{"x.a. has a CNAME"}},
		{"two SOAs", func(tree *Tree) { tree.Zone("a.", ZoneOptions{}, "@ SOA ns h 1 1 1 1 1", "@ SOA ns h 2 1 1 1 1") }, []string{"2 SOA records"}},
		{"a zone flaw on a set", func(tree *Tree) { tree.Zone("a.", ZoneOptions{}).Spoil("x", dns.TypeA, WrongDS) }, []string{`"wrong DS" is no flaw of an RRset`}},
		{"an unknown flaw", func(tree *Tree) { tree.Zone("a.", ZoneOptions{Flaw: 99}) }, []string{"flaw 99 is unknown"}},
		{"a salt that is no hexadecimal", func(tree *Tree) { tree.Zone("a.", ZoneOptions{NSEC3: &NSEC3{Salt: "0"}}) }, []string{`zone a.: salt "0"`}},
		{"keys that cannot be made", func(tree *Tree) { tree.Zone("a.", ZoneOptions{Algorithm: dns.RSASHA256, RSABits: 100}) }, []string{"algorithm 8", "100 bits", "a."}},
		{"a later edit", func(tree *Tree) { tree.Zone("a.", ZoneOptions{}).Add("x A nowhere") }, []string{`"x A nowhere"`}},
	} {
		tree := NewTree(Options{})
		tt.make(tree)
		err := tree.Sign()
		require.Error(t, err, tt.why)
		for _, want := range tt.wants {
			require.ErrorContains(t, err, want, tt.why)
		}
	}
	tree := NewTree(Options{})
	z := tree.Zone("a.", ZoneOptions{Unsigned: true}, "x A 127.0.0.1")
	require.NoError(t, tree.Sign())
	z.Add("x CNAME y")
	require.Error(t, tree.Sign())
	require.Error(t, tree.Sign(), "still there")
	require.Equal(t, noName, tree.current.Load().enter("y.a.", dns.TypeA).kind)
	require.Equal(t, answered, tree.current.Load().enter("x.a.", dns.TypeA).kind, "nothing broken is published")
	z.Remove("x", dns.TypeCNAME)
	require.NoError(t, tree.Sign())
	_, err := z.Forge([]dns.RR{testRR(t, "x.a. A 127.0.0.1")}, nil)
	require.ErrorContains(t, err, "no keys")
}

// Queries run while the zone changes: each answer is whole and secure, of before or of after.
func TestConcurrentChanges(t *testing.T) {
	tree := NewTree(Options{})
	z := tree.Zone("example.", ZoneOptions{}, "mx TXT 0", "mx A 127.0.0.1")
	require.NoError(t, tree.Sign())
	front, err := ServeRecursive(tree, PassThrough, "")
	require.NoError(t, err)
	defer front.Close()
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				reply, _, err := new(dns.Client).Exchange(question("mx.example.", dns.TypeTXT), front.Addr().String())
				if err != nil || len(reply.Answer) != 2 {
					t.Errorf("reply %v, error %v", reply, err)
					return
				}
				sig := reply.Answer[1].(*dns.RRSIG)
				if err := sig.Verify(z.Keys()[0].Public, reply.Answer[:1]); err != nil {
					t.Errorf("%s: %v", reply.Answer[0], err)
				}
				tree.Verdict("mx.example.", dns.TypeTXT)
				tree.RootAnchor()
			}
		})
	}
	for i := range 50 {
		z.Replace("mx", dns.TypeTXT, fmt.Sprintf("mx TXT %d", i))
		front.Fault("other.", dns.TypeA, Fault{Times: 1})
		require.NoError(t, tree.Sign())
	}
	close(stop)
	readers.Wait()
	require.Equal(t, 1, strings.Count(tree.RootAnchor(), "\n"))
}
