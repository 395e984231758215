package dnssec

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// A handler says what to send back for a query: each element a *dns.Msg or raw []byte, in order; nothing means silence.
type handler func(q *dns.Msg, tcp bool) []any

// A testServer is a DNS server on the loopback interface, UDP and TCP on one port, that does what its handler says.
type testServer struct {
	addr netip.AddrPort

	mu   sync.Mutex
	seen []seenQuery
}

type seenQuery struct {
	Question Question
	TCP      bool
	Msg      *dns.Msg
}

func startServer(t testing.TB, h handler) *testServer {
	return startServerOn(t, "127.0.0.1", h)
}

func startServerOn(t testing.TB, ip string, h handler) *testServer {
	var tcp net.Listener
	var udp net.PacketConn
	var err error
	for range 20 { // the port that TCP got may be taken for UDP
		tcp, err = net.Listen("tcp", net.JoinHostPort(ip, "0"))
		require.NoError(t, err)
		if udp, err = net.ListenPacket("udp", tcp.Addr().String()); err == nil {
			break
		}
		tcp.Close()
	}
	require.NoError(t, err)
	s := &testServer{addr: netip.MustParseAddrPort(tcp.Addr().String())}
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 65535)
		for {
			n, peer, err := udp.ReadFrom(b)
			if err != nil {
				return
			}
			for _, out := range s.handle(b[:n], false, h) {
				udp.WriteTo(out, peer)
			}
		}
	})
	wg.Go(func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(10 * time.Second))
				var size [2]byte
				if _, err := io.ReadFull(conn, size[:]); err != nil {
					return
				}
				b := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(conn, b); err != nil {
					return
				}
				for _, out := range s.handle(b, true, h) {
					conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...))
				}
			})
		}
	})
	t.Cleanup(func() {
		udp.Close()
		tcp.Close()
		wg.Wait()
	})
	return s
}

func (s *testServer) handle(b []byte, tcp bool, h handler) [][]byte {
	q := new(dns.Msg)
	if err := q.Unpack(b); err != nil || len(q.Question) != 1 {
		return nil
	}
	s.mu.Lock()
	name, _ := normalName(q.Question[0].Name)
	s.seen = append(s.seen, seenQuery{Question{name, Type(q.Question[0].Qtype)}, tcp, q})
	s.mu.Unlock()
	var out [][]byte
	for _, m := range h(q, tcp) {
		switch m := m.(type) {
		case []byte:
			out = append(out, m)
		case *dns.Msg:
			m.Compress = true
			b, err := m.Pack()
			if err != nil {
				panic(err)
			}
			out = append(out, b)
		}
	}
	return out
}

// queries returns what was asked of s so far, without the root DNSKEY questions of self-checks.
func (s *testServer) queries() []seenQuery {
	s.mu.Lock()
	defer s.mu.Unlock()
	var queries []seenQuery
	for _, q := range s.seen {
		if q.Question != (Question{".", TypeDNSKEY}) {
			queries = append(queries, q)
		}
	}
	return queries
}

// checks returns how often s was asked for the root DNSKEY records.
func (s *testServer) checks() int {
	all := len(s.queries())
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen) - all
}

// A canned reply: records in zone file form.
type canned struct {
	rcode  int
	ad     bool
	answer []string
	ns     []string
	extra  []string
	ede    int // 0 = none
	edit   func(*dns.Msg)
}

func (c canned) reply(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetRcode(q, c.rcode)
	m.AuthenticatedData, m.RecursionAvailable = c.ad, true
	parse := func(texts []string) (records []dns.RR) {
		for _, text := range texts {
			r, err := dns.NewRR(text)
			if err != nil {
				panic(text + ": " + err.Error())
			}
			records = append(records, r)
		}
		return records
	}
	m.Answer, m.Ns, m.Extra = parse(c.answer), parse(c.ns), parse(c.extra)
	if q.IsEdns0() != nil {
		m.SetEdns0(1232, false)
		if c.ede != 0 {
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EDE{InfoCode: uint16(c.ede)})
		}
	}
	if c.edit != nil {
		c.edit(m)
	}
	return m
}

// soa is what comes with denials in example.
const soa = "example. 300 IN SOA ns.example. hostmaster.example. 1 2 3 4 60"

// rootKeys is the good answer to the self-check.
var rootKeys = canned{ad: true, answer: []string{
	". 3600 IN DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==",
}}

// A script maps "name TYPE" to a reply. What is not in it does not exist, securely.
type script map[string]canned

func (s script) handle(q *dns.Msg, tcp bool) []any {
	name, _ := normalName(q.Question[0].Name)
	c, ok := s[name+" "+Type(q.Question[0].Qtype).String()]
	switch {
	case ok:
	case name == "." && q.Question[0].Qtype == dns.TypeDNSKEY:
		c = rootKeys
	default:
		c = canned{rcode: dns.RcodeNameError, ad: true, ns: []string{soa}}
	}
	return []any{c.reply(q)}
}

// patient is a try timeout that no loaded machine exceeds; brief is for servers that are meant to be silent.
const (
	patient = 10 * time.Second
	brief   = 100 * time.Millisecond
)

// newTestStub returns a Stub that asks the given servers.
func newTestStub(t testing.TB, change func(*StubOptions), servers ...*testServer) *Stub {
	o := StubOptions{Common: Common{Timeout: 30 * time.Second, Upstream: Upstream{Timeout: patient}}}
	for _, s := range servers {
		o.Upstream.Servers = append(o.Upstream.Servers, s.addr)
	}
	if change != nil {
		change(&o)
	}
	s, err := NewStub(o)
	require.NoError(t, err)
	return s
}

// noLeaks fails the test if goroutines or file descriptors are left at its end that were not there at the call.
func noLeaks(t *testing.T) {
	count := func() (goroutines, files int) {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			return runtime.NumGoroutine(), 0 // not Linux
		}
		return runtime.NumGoroutine(), len(entries)
	}
	// Nothing that is only forgotten may be tidied up by the garbage collector.
	runtime.GC()
	percent := debug.SetGCPercent(-1)
	goroutines, files := count()
	t.Cleanup(func() {
		defer debug.SetGCPercent(percent)
		require.Eventually(t, func() bool {
			g, f := count()
			return g <= goroutines+1 && f <= files // one goroutine runs this function
		}, 10*time.Second, time.Millisecond, "goroutines or sockets are left")
	})
}

func lookup(t testing.TB, r Resolver, name string, typ Type) *Answer {
	a, err := r.Lookup(context.Background(), name, typ)
	require.NoError(t, err)
	return a
}

func lookupError(t testing.TB, r Resolver, name string, typ Type) *Error {
	_, err := r.Lookup(context.Background(), name, typ)
	var e *Error
	require.ErrorAs(t, err, &e)
	return e
}
