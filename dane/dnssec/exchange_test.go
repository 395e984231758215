package dnssec

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"unicode"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

var (
	hostA  = canned{ad: true, answer: []string{"host.example. 60 IN A 192.0.2.1"}}
	forged = canned{ad: true, answer: []string{"host.example. 60 IN A 203.0.113.66"}}
)

// whenAsked answers self-checks well, and for all else does what h says.
func whenAsked(h handler) handler {
	return func(q *dns.Msg, tcp bool) []any {
		if q.Question[0].Qtype == dns.TypeDNSKEY {
			return []any{rootKeys.reply(q)}
		}
		return h(q, tcp)
	}
}

// What is not a reply to our question is passed over: the true reply, which comes after it, is the one that counts.
func TestKeepListening(t *testing.T) {
	edited := func(q *dns.Msg, edit func(*dns.Msg)) *dns.Msg {
		m := forged.reply(q)
		edit(m)
		return m
	}
	for _, c := range []struct {
		name  string
		stray func(q *dns.Msg) any
	}{
		{"wrong ID", func(q *dns.Msg) any { return edited(q, func(m *dns.Msg) { m.Id ^= 1 }) }},
		{"other name", func(q *dns.Msg) any { return edited(q, func(m *dns.Msg) { m.Question[0].Name = "hosu.example." }) }},
		{"name below", func(q *dns.Msg) any { return edited(q, func(m *dns.Msg) { m.Question[0].Name = "a.host.example." }) }},
		{"other type", func(q *dns.Msg) any { return edited(q, func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA }) }},
		{"other class", func(q *dns.Msg) any { return edited(q, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }) }},
		{"a query", func(q *dns.Msg) any { return edited(q, func(m *dns.Msg) { m.Response = false }) }},
		{"other opcode", func(q *dns.Msg) any { return edited(q, func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }) }},
		{"no question", func(q *dns.Msg) any { return edited(q, func(m *dns.Msg) { m.Question = nil }) }},
		{"two questions", func(q *dns.Msg) any {
			return edited(q, func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) })
		}},
		{"error code alone", func(q *dns.Msg) any {
			return []byte{byte(q.Id >> 8), byte(q.Id), 0x81, 0x82, 0, 0, 0, 0, 0, 0, 0, 0}
		}},
		{"truncated with the wrong ID", func(q *dns.Msg) any { return edited(q, func(m *dns.Msg) { m.Id ^= 1; m.Truncated = true }) }},
		{"nothing", func(q *dns.Msg) any { return []byte{} }},
		{"half a header", func(q *dns.Msg) any { return packed(t, forged.reply(q))[:11] }},
		{"half a question", func(q *dns.Msg) any { return packed(t, forged.reply(q))[:20] }},
		{"half a message", func(q *dns.Msg) any { b := packed(t, forged.reply(q)); return b[:len(b)-1] }},
		{"cut at a record border", func(q *dns.Msg) any {
			m := forged.reply(q)
			m.Extra = nil
			whole := len(packed(t, m))
			return packed(t, forged.reply(q))[:whole] // counts announce the OPT record that is gone
		}},
		{"trailing octet", func(q *dns.Msg) any { return append(packed(t, forged.reply(q)), 0) }},
		{"two OPT records", func(q *dns.Msg) any {
			b := packed(t, forged.reply(q))
			b[11]++
			return append(b, 0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := startServer(t, whenAsked(func(q *dns.Msg, tcp bool) []any { return []any{c.stray(q), hostA.reply(q)} }))
			a := lookup(t, newTestStub(t, nil, server), "host.example", TypeA)
			require.Equal(t, []byte{192, 0, 2, 1}, a.Records[0].Data)
			require.Equal(t, Secure, a.Security)
			require.Len(t, server.queries(), 1, "one try was enough")
		})
	}
}

// If nothing better comes, the error is about what did come.
func TestNoReply(t *testing.T) {
	for _, c := range []struct {
		name string
		h    handler
		want Kind
		tell string
	}{
		{"silence", func(q *dns.Msg, tcp bool) []any { return nil }, KindTimeout, ""},
		{"wrong IDs", func(q *dns.Msg, tcp bool) []any { m := forged.reply(q); m.Id ^= 1; return []any{m} }, KindTimeout, ""},
		{"half messages", func(q *dns.Msg, tcp bool) []any { b := packed(t, forged.reply(q)); return []any{b[:len(b)-1]} }, KindMalformed, errShort.Error()},
		{"an error code alone", func(q *dns.Msg, tcp bool) []any {
			return []any{[]byte{byte(q.Id >> 8), byte(q.Id), 0x81, 0x85, 0, 0, 0, 0, 0, 0, 0, 0}}
		}, KindRefused, "REFUSED"},
		{"cut, and nothing over TCP", func(q *dns.Msg, tcp bool) []any {
			if tcp {
				return nil
			}
			m := forged.reply(q)
			m.Truncated = true
			return []any{m}
		}, KindNetwork, "EOF"},
		{"cut over TCP too", func(q *dns.Msg, tcp bool) []any { m := forged.reply(q); m.Truncated = true; return []any{m} }, KindMalformed, "TCP"},
		{"half a message over TCP", func(q *dns.Msg, tcp bool) []any {
			m := forged.reply(q)
			m.Truncated = !tcp
			b := packed(t, m)
			if tcp {
				b = b[:len(b)-1]
			}
			return []any{b}
		}, KindMalformed, errShort.Error()},
		{"another question over TCP", func(q *dns.Msg, tcp bool) []any {
			m := forged.reply(q)
			m.Truncated = !tcp
			if tcp {
				m.Question[0].Name = "a.example."
			}
			return []any{m}
		}, KindMalformed, "not to our question"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := startServer(t, whenAsked(c.h))
			s := newTestStub(t, nil, server)
			require.NoError(t, s.Check(context.Background()))
			s.source.list.timeout = brief
			e := lookupError(t, s, "host.example", TypeA)
			require.Equal(t, c.want, e.Kind, e.Error())
			require.Contains(t, e.Error(), c.tell)
			require.Equal(t, server.addr, e.Server)
			require.Equal(t, "host.example.", e.Name)
		})
	}
}

// The records of a truncated reply are not used, however complete they look.
func TestTruncatedGoesToTCP(t *testing.T) {
	server := startServer(t, whenAsked(func(q *dns.Msg, tcp bool) []any {
		if tcp {
			return []any{hostA.reply(q)}
		}
		m := forged.reply(q)
		m.Truncated = true
		return []any{m}
	}))
	a := lookup(t, newTestStub(t, nil, server), "host.example", TypeA)
	require.Equal(t, []byte{192, 0, 2, 1}, a.Records[0].Data)
	seen := server.queries()
	require.Len(t, seen, 2)
	require.True(t, seen[1].TCP)
}

func TestTCPOnly(t *testing.T) {
	server := startServer(t, script{"host.example. A": hostA}.handle)
	lookup(t, newTestStub(t, func(o *StubOptions) { o.Upstream.TCPOnly = true }, server), "host.example", TypeA)
	require.True(t, server.queries()[0].TCP)
}

// A large answer comes whole over TCP.
func TestLargeAnswer(t *testing.T) {
	large := canned{ad: true}
	for i := range 1500 {
		large.answer = append(large.answer, "host.example. 60 IN A 10.1."+netip.AddrFrom4([4]byte{0, 0, byte(i >> 8), byte(i)}).String()[4:])
	}
	server := startServer(t, whenAsked(func(q *dns.Msg, tcp bool) []any {
		m := large.reply(q)
		if !tcp {
			m.Truncate(1232)
		}
		return []any{m}
	}))
	require.Len(t, lookup(t, newTestStub(t, nil, server), "host.example", TypeA).Records, 1500)
}

func TestQueryForm(t *testing.T) {
	server := startServer(t, script{"host.example. A": hostA}.handle)
	for size, want := range map[uint16]uint16{0: 1232, 100: 512, 4000: 4000} {
		lookup(t, newTestStub(t, func(o *StubOptions) { o.Upstream.UDPSize = size }, server), "host.example", TypeA)
		seen := server.queries()
		m := seen[len(seen)-1].Msg
		require.True(t, m.RecursionDesired)
		require.True(t, m.AuthenticatedData, "RFC 6840 section 5.7")
		require.False(t, m.CheckingDisabled)
		require.NotNil(t, m.IsEdns0())
		require.False(t, m.IsEdns0().Do())
		require.Equal(t, want, m.IsEdns0().UDPSize())
		require.Equal(t, "host.example.", m.Question[0].Name)
	}
	q := query{name: "\x01a\x00", typ: TypeA, do: true, cd: true}.newMessage(1232, false)
	m := new(dns.Msg)
	require.NoError(t, m.Unpack(q.octets))
	require.True(t, m.IsEdns0().Do())
	require.True(t, m.CheckingDisabled)
	require.False(t, m.AuthenticatedData)
}

// IDs and case are random: over many messages both bits of each kind turn up.
func TestQueryRandom(t *testing.T) {
	q := query{name: "\x04abcd\x00", typ: TypeA}
	var or, and uint16 = 0, 0xffff
	spellings := map[string]bool{}
	for range 200 {
		s := q.newMessage(0, true)
		id := binary.BigEndian.Uint16(s.octets)
		or, and = or|id, and&id
		name := string(s.question[1:5])
		require.Equal(t, "abcd", strings.ToLower(name))
		spellings[name] = true
	}
	require.EqualValues(t, 0xffff, or)
	require.EqualValues(t, 0, and)
	require.Greater(t, len(spellings), 8)
}

func TestCase0x20(t *testing.T) {
	const name = "a-name-with-so-many-letters-that-one-of-them-is-upper-case.example."
	reply := canned{ad: true, answer: []string{name + " 60 IN A 192.0.2.1"}}
	for _, keeps := range []bool{true, false} {
		server := startServer(t, whenAsked(func(q *dns.Msg, tcp bool) []any {
			m := reply.reply(q)
			if !keeps {
				m.Question[0].Name = strings.ToLower(m.Question[0].Name)
			}
			return []any{m}
		}))
		s := newTestStub(t, func(o *StubOptions) { o.Upstream.Case0x20 = true }, server)
		require.Equal(t, Secure, lookup(t, s, name, TypeA).Security)
		seen := server.queries()
		require.True(t, strings.ContainsFunc(seen[0].Msg.Question[0].Name, unicode.IsUpper), "the case is mixed")
		if keeps {
			require.Len(t, seen, 1)
		} else {
			require.Len(t, seen, 2, "asked again")
			require.True(t, seen[1].TCP, "where nobody can forge the reply")
		}
	}
	// Without 0x20 the case of the echo does not matter (RFC 4343).
	server := startServer(t, whenAsked(func(q *dns.Msg, tcp bool) []any {
		m := hostA.reply(q)
		m.Question[0].Name = "HOST.example."
		return []any{m}
	}))
	lookup(t, newTestStub(t, nil, server), "host.example", TypeA)
	require.Len(t, server.queries(), 1)
}

// Old servers answer EDNS with FORMERR: they are asked once more without it.
func TestFormErr(t *testing.T) {
	for _, always := range []bool{false, true} {
		server := startServer(t, whenAsked(func(q *dns.Msg, tcp bool) []any {
			if always || q.IsEdns0() != nil {
				return []any{canned{rcode: dns.RcodeFormatError}.reply(q)}
			}
			return []any{hostA.reply(q)}
		}))
		s := newTestStub(t, nil, server)
		if always {
			require.Equal(t, KindRefused, lookupError(t, s, "host.example", TypeA).Kind)
		} else {
			require.Equal(t, Secure, lookup(t, s, "host.example", TypeA).Security)
		}
		require.Len(t, server.queries(), 2)
		require.Nil(t, server.queries()[1].Msg.IsEdns0())
	}
}

// A server that only sends an error code back, without the question, is understood in the end.
func TestFormErrHeaderOnly(t *testing.T) {
	server := startServer(t, whenAsked(func(q *dns.Msg, tcp bool) []any {
		if q.IsEdns0() != nil {
			return []any{[]byte{byte(q.Id >> 8), byte(q.Id), 0x80, 0x01, 0, 0, 0, 0, 0, 0, 0, 0}}
		}
		return []any{hostA.reply(q)}
	}))
	for _, tcp := range []bool{false, true} {
		s := newTestStub(t, func(o *StubOptions) { o.Upstream.TCPOnly = tcp }, server)
		require.NoError(t, s.Check(context.Background()))
		if !tcp {
			s.source.list.timeout = brief
		}
		require.Equal(t, Secure, lookup(t, s, "host.example", TypeA).Security)
	}
}

func TestUnreachable(t *testing.T) {
	server := startServer(t, script{}.handle)
	s := newTestStub(t, nil, server)
	require.NoError(t, s.Check(context.Background()))
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed.Close()
	for _, tcp := range []bool{false, true} {
		list := &serverList{servers: []netip.AddrPort{netip.MustParseAddrPort(closed.Addr().String())}, timeout: patient, tries: 2, tcpOnly: tcp}
		_, failed := s.net.ask(context.Background(), list, list.servers, checkQuery)
		require.Equal(t, KindNetwork, failed.Kind, failed.Error())
	}
	s.net.upstream.Dialer.LocalAddr = &net.UnixAddr{}
	_, failed := s.net.ask(context.Background(), s.source.list, s.source.list.servers, checkQuery)
	require.Equal(t, KindNetwork, failed.Kind, "a dialer that cannot dial")
}

func TestExchangeHook(t *testing.T) {
	server := netip.MustParseAddrPort("192.0.2.53:53")
	boom := errors.New("boom")
	for _, c := range []struct {
		name string
		do   func(ctx context.Context, q *dns.Msg) ([]byte, error)
		want Kind
	}{
		{"good", func(ctx context.Context, q *dns.Msg) ([]byte, error) {
			return script{"host.example. A": hostA}.handle(q, false)[0].(*dns.Msg).Pack()
		}, 0},
		{"truncated", func(ctx context.Context, q *dns.Msg) ([]byte, error) {
			m := hostA.reply(q)
			m.Truncated = true
			return m.Pack()
		}, KindMalformed},
		{"stray", func(ctx context.Context, q *dns.Msg) ([]byte, error) { m := hostA.reply(q); m.Id ^= 1; return m.Pack() }, KindMalformed},
		{"error", func(ctx context.Context, q *dns.Msg) ([]byte, error) { return nil, boom }, KindNetwork},
		{"deadline", func(ctx context.Context, q *dns.Msg) ([]byte, error) {
			return nil, context.DeadlineExceeded
		}, KindTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newTestStub(t, func(o *StubOptions) {
				o.Trust = TrustAlways
				o.Upstream.Servers = []netip.AddrPort{server}
				o.Upstream.Exchange = func(ctx context.Context, to netip.AddrPort, query []byte) ([]byte, error) {
					require.Equal(t, server, to)
					_, limited := ctx.Deadline()
					require.True(t, limited)
					q := new(dns.Msg)
					require.NoError(t, q.Unpack(query))
					return c.do(ctx, q)
				}
			})
			if c.want == 0 {
				require.Equal(t, Secure, lookup(t, s, "host.example", TypeA).Security)
			} else {
				require.Equal(t, c.want, lookupError(t, s, "host.example", TypeA).Kind)
			}
		})
	}
}
