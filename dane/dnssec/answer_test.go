package dnssec

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// chain returns n CNAME records from c0.example to cn.example.
func chain(n int) (records []string) {
	for i := range n {
		records = append(records, fmt.Sprintf("c%d.example. 60 IN CNAME c%d.example.", i, i+1))
	}
	return records
}

func TestAnswers(t *testing.T) {
	const host = "host.example. 60 IN A 192.0.2.1"
	const www = "www.example. 30 IN CNAME host.example."
	cname := func(from, to string, s Security) Step {
		return Step{From: from, To: to, Owner: from, Type: TypeCNAME, TTL: 30 * time.Second, Security: s}
	}
	long := strings.Repeat(strings.Repeat("a", 60)+".", 3)
	for _, c := range []struct {
		name   string
		ask    string // "name TYPE"
		script script
		want   Answer // Records and Expires are looked at in short
		texts  string // what the records are
		ttl    time.Duration
		fails  Kind
		asked  int // 0 = once
		why    string
	}{
		{name: "found", ask: "host.example. A", script: script{"host.example. A": {ad: true, answer: []string{host}}},
			want: Answer{Outcome: Found, Canonical: "host.example.", Final: Secure, Security: Secure}, texts: "192.0.2.1", ttl: 60 * time.Second},
		{name: "found, AD=0", ask: "host.example. A", script: script{"host.example. A": {answer: []string{host}}},
			want: Answer{Outcome: Found, Canonical: "host.example.", Final: Insecure, Security: Insecure}, texts: "192.0.2.1", ttl: 60 * time.Second},
		{name: "least TTL", ask: "host.example. A", script: script{"host.example. A": {ad: true, answer: []string{host, "host.example. 5 IN A 192.0.2.2"}}},
			want: Answer{Outcome: Found, Canonical: "host.example.", Final: Secure, Security: Secure}, texts: "192.0.2.1 192.0.2.2", ttl: 5 * time.Second},
		{name: "duplicates", ask: "host.example. A", script: script{"host.example. A": {ad: true, answer: []string{host, host, "HOST.example. 60 IN A 192.0.2.1"}}},
			want: Answer{Outcome: Found, Canonical: "host.example.", Final: Secure, Security: Secure}, texts: "192.0.2.1", ttl: 60 * time.Second, why: "RFC 2181 section 5"},
		{name: "foreign records", ask: "host.example. A", script: script{"host.example. A": {ad: true,
			answer: []string{"evil.example. 60 IN A 203.0.113.1", host, "host.example. 60 IN AAAA 2001:db8::1", "host.example. 60 CH A 203.0.113.2", "a.host.example. 60 IN A 203.0.113.3"},
			ns:     []string{"host.example. 60 IN A 203.0.113.4"}, extra: []string{"host.example. 60 IN A 203.0.113.5"}}},
			want: Answer{Outcome: Found, Canonical: "host.example.", Final: Secure, Security: Secure}, texts: "192.0.2.1", ttl: 60 * time.Second, why: "only the RRset at the end of the way"},
		{name: "nodata", ask: "host.example. A", script: script{"host.example. A": {ad: true, ns: []string{soa}}},
			want: Answer{Outcome: NoData, Canonical: "host.example.", Final: Secure, Security: Secure}, ttl: 60 * time.Second, why: "RFC 2308: the MINIMUM of the SOA"},
		{name: "nodata, short SOA TTL", ask: "host.example. A", script: script{"host.example. A": {ns: []string{strings.Replace(soa, "300", "7", 1)}}},
			want: Answer{Outcome: NoData, Canonical: "host.example.", Final: Insecure, Security: Insecure}, ttl: 7 * time.Second, why: "RFC 2308: or its TTL"},
		{name: "nodata without SOA", ask: "host.example. A", script: script{"host.example. A": {ad: true}},
			want: Answer{Outcome: NoData, Canonical: "host.example.", Final: Secure, Security: Secure}, ttl: 0, why: "RFC 2308 section 5: not to be kept"},
		{name: "nodata with a foreign SOA", ask: "host.example. A", script: script{"host.example. A": {ad: true, ns: []string{strings.Replace(soa, "example.", "sub.host.example.", 1), strings.Replace(soa, "IN", "CH", 1)}}},
			want: Answer{Outcome: NoData, Canonical: "host.example.", Final: Secure, Security: Secure}, ttl: 0, why: "says nothing about this name"},
		{name: "nxdomain", ask: "host.example. A", script: script{"host.example. A": {rcode: dns.RcodeNameError, ad: true, ns: []string{soa}}},
			want: Answer{Outcome: NXDomain, Canonical: "host.example.", Final: Secure, Security: Secure}, ttl: 60 * time.Second},
		{name: "nxdomain with data", ask: "host.example. A", script: script{"host.example. A": {rcode: dns.RcodeNameError, ad: true, answer: []string{host}}},
			fails: KindMalformed, why: "one of the two is a lie"},

		{name: "alias", ask: "www.example. A", script: script{"www.example. A": {ad: true, answer: []string{www, host}}},
			want:  Answer{Outcome: Found, Canonical: "host.example.", Chain: []Step{cname("www.example.", "host.example.", Secure)}, Final: Secure, Security: Secure},
			texts: "192.0.2.1", ttl: 30 * time.Second, why: "AD speaks for all of it"},
		{name: "alias, reordered", ask: "www.example. A", script: script{"www.example. A": {ad: true, answer: []string{host, www}}},
			want:  Answer{Outcome: Found, Canonical: "host.example.", Chain: []Step{cname("www.example.", "host.example.", Secure)}, Final: Secure, Security: Secure},
			texts: "192.0.2.1", ttl: 30 * time.Second, why: "order means nothing"},
		{name: "alias, AD=0", ask: "www.example. A", script: script{"www.example. A": {answer: []string{www, host}}},
			want:  Answer{Outcome: Found, Canonical: "host.example.", Chain: []Step{cname("www.example.", "host.example.", Indeterminate)}, Final: Indeterminate, Security: Insecure},
			texts: "192.0.2.1", ttl: 30 * time.Second, why: "any part may be secure by itself"},
		{name: "alias to nodata", ask: "www.example. A", script: script{"www.example. A": {ad: true, answer: []string{www}, ns: []string{soa}}},
			want: Answer{Outcome: NoData, Canonical: "host.example.", Chain: []Step{cname("www.example.", "host.example.", Secure)}, Final: Secure, Security: Secure}, ttl: 30 * time.Second},
		{name: "alias to nxdomain", ask: "www.example. A", script: script{"www.example. A": {rcode: dns.RcodeNameError, answer: []string{www}, ns: []string{soa}}},
			want: Answer{Outcome: NXDomain, Canonical: "host.example.", Chain: []Step{cname("www.example.", "host.example.", Indeterminate)}, Final: Indeterminate, Security: Insecure},
			ttl:  30 * time.Second, why: "RFC 6604 section 3"},
		{name: "alias asked for", ask: "www.example. CNAME", script: script{"www.example. CNAME": {ad: true, answer: []string{www}}},
			want: Answer{Outcome: Found, Canonical: "www.example.", Final: Secure, Security: Secure}, texts: "host.example.", ttl: 30 * time.Second, why: "not followed"},
		{name: "alias without target", ask: "www.example. A", script: script{"www.example. A": {ad: true, answer: []string{www}}, "host.example. A": {ad: true, answer: []string{host}}},
			want:  Answer{Outcome: Found, Canonical: "host.example.", Chain: []Step{cname("www.example.", "host.example.", Secure)}, Final: Secure, Security: Secure},
			texts: "192.0.2.1", ttl: 30 * time.Second, asked: 2, why: "a forwarder that leaves the rest to us"},
		{name: "secure alias, insecure target asked for", ask: "www.example. A", script: script{"www.example. A": {ad: true, answer: []string{www}}, "host.example. A": {answer: []string{host}}},
			want:  Answer{Outcome: Found, Canonical: "host.example.", Chain: []Step{cname("www.example.", "host.example.", Secure)}, Final: Insecure, Security: Insecure},
			texts: "192.0.2.1", ttl: 30 * time.Second, asked: 2},
		{name: "insecure alias, secure target asked for", ask: "www.example. A", script: script{"www.example. A": {answer: []string{www}}, "host.example. A": {ad: true, answer: []string{host}}},
			want:  Answer{Outcome: Found, Canonical: "host.example.", Chain: []Step{cname("www.example.", "host.example.", Indeterminate)}, Final: Secure, Security: Insecure},
			texts: "192.0.2.1", ttl: 30 * time.Second, asked: 2, why: "a secure end does not make up for the way there"},
		{name: "alias without target, referral", ask: "www.example. A", script: script{"www.example. A": {ad: true, answer: []string{www}, ns: []string{"example. 60 IN NS ns.example."}}, "host.example. A": {ad: true, answer: []string{host}}},
			want:  Answer{Outcome: Found, Canonical: "host.example.", Chain: []Step{cname("www.example.", "host.example.", Secure)}, Final: Secure, Security: Secure},
			texts: "192.0.2.1", ttl: 30 * time.Second, asked: 2, why: "a delegation is no denial"},
		{name: "alias without target, target fails", ask: "www.example. A", script: script{"www.example. A": {ad: true, answer: []string{www}}, "host.example. A": {rcode: dns.RcodeServerFailure, ede: 6}},
			fails: KindBogus, asked: 2, why: "an error anywhere is an error"},
		{name: "alias and data", ask: "www.example. A", script: script{"www.example. A": {ad: true, answer: []string{www, "www.example. 60 IN A 203.0.113.1", host}}},
			fails: KindMalformed, why: "RFC 2181 section 10.1"},
		{name: "two aliases", ask: "www.example. A", script: script{"www.example. A": {ad: true, answer: []string{www, "www.example. 30 IN CNAME other.example.", host}}},
			fails: KindMalformed, why: "RFC 2181 section 10.1"},
		{name: "alias twice", ask: "www.example. A", script: script{"www.example. A": {ad: true, answer: []string{www, "WWW.example. 30 IN CNAME HOST.example.", host}}},
			want:  Answer{Outcome: Found, Canonical: "host.example.", Chain: []Step{cname("www.example.", "host.example.", Secure)}, Final: Secure, Security: Secure},
			texts: "192.0.2.1", ttl: 30 * time.Second, why: "one alias, written twice"},
		{name: "alias to itself", ask: "www.example. A", script: script{"www.example. A": {ad: true, answer: []string{"www.example. 30 IN CNAME WWW.example."}}},
			fails: KindLoop},
		{name: "alias circle", ask: "c0.example. A", script: script{"c0.example. A": {ad: true, answer: append(chain(3), "c3.example. 60 IN CNAME c1.example.")}},
			fails: KindLoop},
		{name: "alias circle over messages", ask: "www.example. A", script: script{"www.example. A": {answer: []string{www}}, "host.example. A": {answer: []string{"host.example. 60 IN CNAME www.example."}}},
			fails: KindLoop, asked: 2},
		{name: "16 aliases", ask: "c0.example. A", script: script{"c0.example. A": {ad: true, answer: append(chain(16), "c16.example. 60 IN A 192.0.2.1")}},
			want: Answer{Outcome: Found, Canonical: "c16.example.", Final: Secure, Security: Secure}, texts: "192.0.2.1", ttl: 60 * time.Second},
		{name: "17 aliases", ask: "c0.example. A", script: script{"c0.example. A": {ad: true, answer: append(chain(17), "c17.example. 60 IN A 192.0.2.1")}},
			fails: KindLoop},

		{name: "DNAME", ask: "a.old.example. A", script: script{"a.old.example. A": {ad: true, answer: []string{
			"old.example. 30 IN DNAME new.example.", "a.old.example. 0 IN CNAME a.new.example.", "a.new.example. 60 IN A 192.0.2.1"}}},
			want:  Answer{Outcome: Found, Canonical: "a.new.example.", Chain: []Step{{From: "a.old.example.", To: "a.new.example.", Owner: "old.example.", Type: TypeDNAME, TTL: 30 * time.Second, Security: Secure}}, Final: Secure, Security: Secure},
			texts: "192.0.2.1", ttl: 30 * time.Second, why: "the TTL of the made CNAME does not matter"},
		{name: "DNAME without CNAME", ask: "a.b.old.example. A", script: script{"a.b.old.example. A": {ad: true, answer: []string{
			"old.example. 30 IN DNAME .", "a.b. 60 IN A 192.0.2.1"}}},
			want:  Answer{Outcome: Found, Canonical: "a.b.", Chain: []Step{{From: "a.b.old.example.", To: "a.b.", Owner: "old.example.", Type: TypeDNAME, TTL: 30 * time.Second, Security: Secure}}, Final: Secure, Security: Secure},
			texts: "192.0.2.1", ttl: 30 * time.Second, why: "we substitute ourselves"},
		{name: "DNAME with an altered CNAME", ask: "a.old.example. A", script: script{"a.old.example. A": {ad: true, answer: []string{
			"old.example. 30 IN DNAME new.example.", "a.old.example. 0 IN CNAME evil.example.", "evil.example. 60 IN A 203.0.113.1"}}},
			fails: KindMalformed},
		{name: "DNAME asked for", ask: "old.example. DNAME", script: script{"old.example. DNAME": {ad: true, answer: []string{"old.example. 30 IN DNAME new.example."}}},
			want: Answer{Outcome: Found, Canonical: "old.example.", Final: Secure, Security: Secure}, texts: "new.example.", ttl: 30 * time.Second, why: "not followed"},
		{name: "DNAME at the name", ask: "old.example. A", script: script{"old.example. A": {ad: true, answer: []string{"old.example. 30 IN DNAME new.example.", "old.example. 60 IN A 192.0.2.1"}}},
			want: Answer{Outcome: Found, Canonical: "old.example.", Final: Secure, Security: Secure}, texts: "192.0.2.1", ttl: 60 * time.Second, why: "RFC 6672 section 2.3: only for names below"},
		{name: "CNAME under a DNAME asked for", ask: "a.old.example. CNAME", script: script{"a.old.example. CNAME": {ad: true, answer: []string{
			"old.example. 30 IN DNAME new.example.", "a.old.example. 30 IN CNAME a.new.example."}}},
			want: Answer{Outcome: Found, Canonical: "a.old.example.", Final: Secure, Security: Secure}, texts: "a.new.example.", ttl: 30 * time.Second},
		{name: "nested DNAMEs", ask: "a.b.example. A", script: script{"a.b.example. A": {ad: true, answer: []string{
			"b.example. 30 IN DNAME evil.", "example. 30 IN DNAME test.", "b.example. 30 IN DNAME evil2.", "a.b.test. 60 IN A 192.0.2.1"}}},
			want:  Answer{Outcome: Found, Canonical: "a.b.test.", Chain: []Step{{From: "a.b.example.", To: "a.b.test.", Owner: "example.", Type: TypeDNAME, TTL: 30 * time.Second, Security: Secure}}, Final: Secure, Security: Secure},
			texts: "192.0.2.1", ttl: 30 * time.Second, why: "nothing can exist below a DNAME"},
		{name: "two DNAMEs", ask: "a.old.example. A", script: script{"a.old.example. A": {ad: true, answer: []string{
			"old.example. 30 IN DNAME new.example.", "old.example. 30 IN DNAME evil.example."}}}, fails: KindMalformed},
		{name: "DNAME makes the name too long", ask: long + "old.example. A", script: script{long + "old.example. A": {ad: true, answer: []string{
			"old.example. 30 IN DNAME " + long + "example."}}}, fails: KindMalformed},
		{name: "DNAME loop", ask: "a.old.example. A", script: script{"a.old.example. A": {ad: true, answer: []string{
			"old.example. 30 IN DNAME old.example."}}}, fails: KindLoop},
		{name: "DNAME growing", ask: "a.old.example. A", script: script{"a.old.example. A": {ad: true, answer: []string{
			"old.example. 30 IN DNAME b.old.example."}}}, fails: KindLoop, why: "never the same name, but without an end"},

		{name: "odd names", ask: `a\.b.example. A`, script: script{`a\.b.example. A`: {ad: true, answer: []string{`a\.b.example. 30 IN CNAME c\000D\@.example.`, `c\000d\@.example. 60 IN A 192.0.2.1`}}},
			want:  Answer{Outcome: Found, Canonical: `c\000d\@.example.`, Chain: []Step{cname(`a\.b.example.`, `c\000d\@.example.`, Secure)}, Final: Secure, Security: Secure},
			texts: "192.0.2.1", ttl: 30 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := startServer(t, c.script.handle)
			now := time.Unix(1_700_000_000, 0)
			s := newTestStub(t, func(o *StubOptions) { o.Now = func() time.Time { return now } }, server)
			name, typeName, _ := strings.Cut(c.ask, " ")
			typ := Type(dns.StringToType[typeName])
			if c.fails != 0 {
				e := lookupError(t, s, name, typ)
				require.Equal(t, c.fails, e.Kind, c.why)
				require.Equal(t, name, e.Name)
				require.Equal(t, server.addr, e.Server)
				require.Len(t, server.queries(), max(c.asked, 1))
				return
			}
			got := *lookup(t, s, name, typ)
			require.Equal(t, c.texts, texts(t, typ, got.Records), c.why)
			require.Equal(t, c.ttl, got.Expires.Sub(now), c.why)
			require.Len(t, server.queries(), max(c.asked, 1), c.why)
			if c.want.Chain == nil && len(got.Chain) > 1 {
				require.Len(t, got.Chain, 16)
				got.Chain = nil
			}
			c.want.Name, c.want.Type, c.want.Source = name, typ, SourceAD
			got.Records, got.Expires = nil, time.Time{}
			require.Equal(t, c.want, got, c.why)
			require.Equal(t, len(c.want.Chain) > 0, got.Aliased())
		})
	}
}

// texts returns the records in zone file form.
func texts(t *testing.T, typ Type, records []Record) string {
	var out []string
	for _, r := range records {
		if typ == TypeA {
			require.Len(t, r.Data, 4)
			out = append(out, fmt.Sprintf("%d.%d.%d.%d", r.Data[0], r.Data[1], r.Data[2], r.Data[3]))
			continue
		}
		name, ok := wholeName(r.Data)
		require.True(t, ok)
		out = append(out, name.String())
	}
	return strings.Join(out, " ")
}

// RDATA that does not fit its type is no alias, no SOA, and no reason to fail where it does not matter.
func TestMalformedRecords(t *testing.T) {
	raw := func(owner string, typ uint16, data string) dns.RR {
		return &dns.RFC3597{Hdr: dns.RR_Header{Name: owner, Rrtype: 65000 + typ, Class: dns.ClassINET, Ttl: 60}, Rdata: data}
	}
	serve := func(ad bool, answer, ns []dns.RR) handler {
		return whenAsked(func(q *dns.Msg, tcp bool) []any {
			m := canned{ad: ad}.reply(q)
			m.Answer, m.Ns, m.Extra = answer, ns, nil
			b := packed(t, m)
			for i := range b[:len(b)-1] { // the library refuses to write them, so they are of private types
				if n := int(b[i])<<8 | int(b[i+1]); n > 65000 && n < 65100 {
					b[i], b[i+1] = 0, byte(n-65000)
				}
			}
			return []any{b}
		})
	}
	for _, c := range []struct {
		name   string
		answer []dns.RR
		ns     []dns.RR
		ok     bool
	}{
		{"CNAME without target", []dns.RR{raw("host.example.", 5, "")}, nil, false},
		{"CNAME with a tail", []dns.RR{raw("host.example.", 5, "016100ff")}, nil, false},
		{"DNAME without target", []dns.RR{raw("example.", 39, "")}, nil, false},
		{"two CNAMEs, one malformed", []dns.RR{raw("host.example.", 5, "016100"), raw("host.example.", 5, "")}, nil, false},
		{"DNAME and a malformed CNAME", []dns.RR{raw("example.", 39, "016100"), raw("host.example.", 5, "")}, nil, false},
		{"short SOA", nil, []dns.RR{raw("example.", 6, "0000"), raw("example.", 6, "00"), raw("example.", 6, "")}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newTestStub(t, nil, startServer(t, serve(true, c.answer, c.ns)))
			if !c.ok {
				require.Equal(t, KindMalformed, lookupError(t, s, "host.example", TypeA).Kind)
				return
			}
			require.Equal(t, NoData, lookup(t, s, "host.example", TypeA).Outcome)
		})
	}
	// A short record of the type asked for comes as it is: who parses it must see that it is short.
	s := newTestStub(t, nil, startServer(t, serve(true, []dns.RR{raw("host.example.", 52, "0301")}, nil)))
	require.Equal(t, []Record{{TTL: 60, Data: []byte{3, 1}}}, lookup(t, s, "host.example", TypeTLSA).Records)
}

func TestTooManyRecords(t *testing.T) {
	w := newWalk(Question{"host.example.", TypeA})
	m := &message{}
	for i := range maxRecords + 1 {
		m.answer = append(m.answer, resource{owner: w.at, typ: TypeA, class: classIN, data: []byte{1, 2, byte(i >> 8), byte(i)}})
	}
	require.Equal(t, KindLimit, w.follow(m).Kind)
	m.answer = m.answer[1:]
	w = newWalk(Question{"host.example.", TypeA})
	require.Nil(t, w.follow(m))
	require.Len(t, w.records, maxRecords)
}
