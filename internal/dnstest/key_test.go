package dnstest

import (
	"encoding/base64"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

func TestKeys(t *testing.T) {
	now := time.Now()
	set := []dns.RR{testRR(t, "*.w.example. 300 IN A 127.0.0.1"), testRR(t, "*.w.example. 300 IN A 127.0.0.2")}
	for _, algorithm := range []uint8{dns.RSASHA1, dns.RSASHA1NSEC3SHA1, dns.RSASHA256, dns.RSASHA512, dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519} {
		k, err := NewKey("Example", algorithm, FlagZone, 0)
		require.NoError(t, err)
		require.Equal(t, "example.", k.Public.Hdr.Name)
		sig, err := k.Sign(set, now.Add(-time.Hour), now.Add(time.Hour), nil)
		require.NoError(t, err)
		require.NoError(t, sig.Verify(k.Public, set), algorithm)
		require.True(t, sig.ValidityPeriod(now))
		require.Equal(t, uint8(2), sig.Labels, "the asterisk does not count")
		require.Equal(t, k.Public.KeyTag(), k.DS(dns.SHA256).KeyTag)
		require.Len(t, k.DS(dns.SHA256).Digest, 64)
		require.Len(t, k.DS(dns.SHA384).Digest, 96)
	}
	k, err := NewKey("example.", 16, FlagZone, 0)
	require.NoError(t, err)
	require.Nil(t, k.Private)
	sig, err := k.Sign(set, now, now, nil)
	require.NoError(t, err)
	require.Equal(t, uint8(16), sig.Algorithm)
	require.Equal(t, uint8(2), sig.Labels)
	octets, err := base64.StdEncoding.DecodeString(sig.Signature)
	require.NoError(t, err)
	require.Len(t, octets, 114)
	require.Equal(t, uint8(77), k.DS(77).DigestType)
}

func TestForge(t *testing.T) {
	tree := NewTree(Options{})
	z := tree.Zone("example.", ZoneOptions{SplitKeys: true})
	require.NoError(t, tree.Sign())
	set := []dns.RR{testRR(t, "victim.test. 300 IN A 127.0.0.1")}
	sig, err := z.Forge(set, func(sig *dns.RRSIG) { sig.SignerName, sig.Expiration = "test.", 1 })
	require.NoError(t, err)
	require.Equal(t, "test.", sig.SignerName)
	require.Equal(t, uint32(1), sig.Expiration)
	require.Equal(t, z.Keys()[1].Public.KeyTag(), sig.KeyTag, "the key that signs data")
	require.Equal(t, uint16(256), z.Keys()[1].Public.Flags)

	set = []dns.RR{testRR(t, "a.b.example. 300 IN MX 10 MX.example."), testRR(t, "a.b.example. 300 IN MX 5 mx.example.")}
	sig, err = z.Forge(set, func(sig *dns.RRSIG) { sig.Labels = 1 })
	require.NoError(t, err)
	require.NoError(t, sig.Verify(z.Keys()[1].Public, set), "good for a wildcard expansion")
	sig.Labels = 3
	require.Error(t, sig.Verify(z.Keys()[1].Public, set))

	_, err = z.Forge([]dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "a..", Rrtype: dns.TypeA, Class: dns.ClassINET}}}, nil)
	require.Error(t, err)
}

// Every type whose RDATA holds names verifies, whatever their case, by the code of miekg/dns.
func TestCanonicalRdata(t *testing.T) {
	k, err := NewKey("example.", dns.ED25519, FlagZone, 0)
	require.NoError(t, err)
	for _, rdata := range []string{
		"NS A.B.", "CNAME A.B.", "SOA A.B. C.D. 1 2 3 4 5", "PTR A.B.", "MX 1 A.B.", "RP A.B. C.D.", "AFSDB 1 A.B.", "RT 1 A.B.",
		"PX 1 A.B. C.D.", "NAPTR 1 2 \"U\" \"X\" \"\" A.B.", "KX 1 A.B.", "SRV 1 2 3 A.B.", "DNAME A.B.", "TXT \"A\"", "TLSA 3 1 1 AABB",
		"HINFO \"A\" \"B\"", "NSEC A.B. A MX", "CAA 0 issue \"A\"",
	} {
		set := []dns.RR{testRR(t, "Owner.Example. 300 IN "+rdata)}
		sig, err := k.Sign(set, time.Now(), time.Now(), nil)
		require.NoError(t, err)
		require.NoError(t, sig.Verify(k.Public, set), rdata)
	}
}

// Keys that a validator must not use (RFC 4034 section 2.1.1, RFC 5011 section 2.1).
func TestGivenKeys(t *testing.T) {
	for _, tt := range []struct {
		why      string
		flags    uint16
		protocol uint8
		want     Security
	}{
		{"one key for both roles", FlagZone | FlagSEP, 3, Secure},
		{"SEP means nothing", FlagZone, 3, Secure},
		{"no zone key", FlagSEP, 3, Bogus},
		{"revoked", FlagZone | FlagSEP | FlagRevoke, 3, Bogus},
		{"wrong protocol", FlagZone | FlagSEP, 2, Bogus},
	} {
		k, err := NewKey("example.", dns.ECDSAP256SHA256, tt.flags, 0)
		require.NoError(t, err)
		k.Public.Protocol = tt.protocol
		tree := NewTree(Options{})
		tree.Zone("example.", ZoneOptions{Keys: []*Key{k}}, "a A 127.0.0.1")
		require.NoError(t, tree.Sign())
		require.Equal(t, tt.want, tree.Verdict("a.example.", dns.TypeA).Security, tt.why)
		require.Equal(t, tt.want, newChecker(t, tree).judge("a.example.", dns.TypeA), "%s, from the wire", tt.why)
	}
}

func TestNames(t *testing.T) {
	// The order of RFC 4034 section 6.1.
	order := []string{
		"example.", "a.example.", "yljkjljk.a.example.", "Z.a.example.", "zABC.a.EXAMPLE.", "z.example.", `\001.z.example.`, "*.z.example.", `\200.z.example.`,
	}
	got := slices.Clone(order)
	slices.Reverse(got)
	slices.SortFunc(got, func(a, b string) int {
		switch ka, kb := sortKey(a), sortKey(b); {
		case ka < kb:
			return -1
		case ka > kb:
			return 1
		}
		return 0
	})
	require.Equal(t, order, got)
	// Octets 0 and 1, which sort keys escape, and a label that another begins with.
	for _, pair := range [][2]string{{".", "a."}, {`\000.`, `\001.`}, {`a.`, `a\000.`}, {`a\000.`, `a\001.`}, {`a\001.`, `a\002.`}, {"b.a.", `a\000.`}, {`a\.b.`, `a0b.`}} {
		require.Less(t, sortKey(pair[0]), sortKey(pair[1]), pair)
	}
	require.Equal(t, "", parentName("."))
	require.Equal(t, ".", parentName("com."))
	require.Equal(t, "b.", parentName(`a\.c.b.`))
	require.Equal(t, 1, ownerLabels("*.a."))
	require.Equal(t, 2, ownerLabels("*x.a."), "a label that only begins with an asterisk counts")
	require.Equal(t, "*.", wildcardOf("."))
}

// Unusual names and record types must work in both kinds of chain.
func TestUnusualRecords(t *testing.T) {
	for _, hashed := range []*NSEC3{nil, {}, {Iterations: 3, Salt: "00ff", OptOut: true}} {
		tree := NewTree(Options{})
		tree.Zone("example.", ZoneOptions{NSEC3: hashed},
			`a\.b A 127.0.0.1`, `\000x\255 A 127.0.0.2`, "UPPER A 127.0.0.3", `t TYPE65280 \# 3 010203`, "*a A 127.0.0.4", "*.w TXT x", "x.*.y A 127.0.0.5",
			"_443._tcp CAA 0 issue \";\"\n_444._tcp A 127.0.0.6")
		require.NoError(t, tree.Sign())
		c := newChecker(t, tree)
		for _, tt := range []struct {
			name  string
			qtype uint16
			n     int
		}{
			{`a\.b.example.`, dns.TypeA, 1},
			{`\000x\255.example.`, dns.TypeA, 1},
			{"upper.example.", dns.TypeA, 1},
			{"t.example.", 65280, 1},
			{"*a.example.", dns.TypeA, 1},
			{"ba.example.", dns.TypeA, 0},
			{"x.*.y.example.", dns.TypeA, 1},
			{"*.y.example.", dns.TypeA, 0},
			{"_443._tcp.example.", dns.TypeCAA, 1},
			{"_444._tcp.example.", dns.TypeA, 1},
			{"_tcp.example.", dns.TypeCAA, 0},
			{"any.thing.w.example.", dns.TypeTXT, 1},
			{"any.thing.w.example.", dns.TypeA, 0},
		} {
			reply := c.query(tt.name, tt.qtype)
			require.Equal(t, tt.n, len(reply.Answer)-signatures(reply.Answer), tt.name)
			want := tree.Verdict(tt.name, tt.qtype).Security
			require.GreaterOrEqual(t, want, Insecure, tt.name)
			require.Equal(t, want, c.judgeReply(reply, tt.name, tt.qtype), tt.name)
		}
	}
}
