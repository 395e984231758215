package dnstest

import (
	"encoding/binary"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// faultyServer is a resolver over one small zone.
func faultyServer(t *testing.T) *Server {
	t.Helper()
	tree := NewTree(Options{})
	tree.Zone("example.", ZoneOptions{}, "a A 127.0.0.1", "b A 127.0.0.2")
	require.NoError(t, tree.Sign())
	s, err := ServeRecursive(tree, Validating, "")
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// raw sends a query over one connection and returns the function that reads what comes back.
func raw(t *testing.T, s *Server, network string, query *dns.Msg) func() []byte {
	t.Helper()
	conn, err := net.Dial(network, s.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	c := &dns.Conn{Conn: conn, UDPSize: 4096}
	require.NoError(t, c.WriteMsg(query))
	return func() []byte {
		wire, err := c.ReadMsgHeader(nil)
		require.NoError(t, err)
		return wire
	}
}

func TestActions(t *testing.T) {
	s := faultyServer(t)
	for _, network := range []string{"udp", "tcp"} {
		for _, tt := range []struct {
			action Action
			check  func(query *dns.Msg, wire []byte)
		}{
			{Honest, func(query *dns.Msg, wire []byte) {
				reply := unpacked(t, wire)
				require.Equal(t, query.Id, reply.Id)
				require.Len(t, reply.Answer, 2)
			}},
			{FormErr, func(_ *dns.Msg, wire []byte) { require.Equal(t, dns.RcodeFormatError, unpacked(t, wire).Rcode) }},
			{ServFail, func(_ *dns.Msg, wire []byte) { require.Equal(t, dns.RcodeServerFailure, unpacked(t, wire).Rcode) }},
			{NotImp, func(_ *dns.Msg, wire []byte) { require.Equal(t, dns.RcodeNotImplemented, unpacked(t, wire).Rcode) }},
			{Refused, func(_ *dns.Msg, wire []byte) { require.Equal(t, dns.RcodeRefused, unpacked(t, wire).Rcode) }},
			{WrongID, func(query *dns.Msg, wire []byte) { require.NotEqual(t, query.Id, unpacked(t, wire).Id) }},
			{WrongQuestion, func(_ *dns.Msg, wire []byte) {
				require.Equal(t, "wrong.A.example.", unpacked(t, wire).Question[0].Name)
			}},
			{Truncate, func(_ *dns.Msg, wire []byte) {
				reply := unpacked(t, wire)
				require.True(t, reply.Truncated)
				require.Empty(t, reply.Answer)
			}},
			{Half, func(query *dns.Msg, wire []byte) {
				require.Equal(t, query.Id, binary.BigEndian.Uint16(wire))
				require.Error(t, new(dns.Msg).Unpack(wire))
			}},
			{Garbage, func(query *dns.Msg, wire []byte) {
				require.Equal(t, query.Id, binary.BigEndian.Uint16(wire))
				require.Error(t, new(dns.Msg).Unpack(wire))
			}},
		} {
			s.ClearFaults()
			s.Fault("a.example.", dns.TypeA, Fault{Action: tt.action})
			query := question("A.example.", dns.TypeA)
			tt.check(query, raw(t, s, network, query)())
		}
	}
}

func unpacked(t *testing.T, wire []byte) *dns.Msg {
	t.Helper()
	reply := new(dns.Msg)
	require.NoError(t, reply.Unpack(wire))
	return reply
}

// Two queries on one connection: the first is dropped, so the first reply is to the second.
func TestDrop(t *testing.T) {
	s := faultyServer(t)
	s.Fault("a.example.", dns.TypeA, Fault{Action: Drop})
	conn, err := net.Dial("tcp", s.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	c := &dns.Conn{Conn: conn}
	dropped, answered := question("a.example.", dns.TypeA), question("b.example.", dns.TypeA)
	require.NoError(t, c.WriteMsg(dropped))
	require.NoError(t, c.WriteMsg(answered))
	reply, err := c.ReadMsg()
	require.NoError(t, err)
	require.Equal(t, answered.Id, reply.Id)
	require.Equal(t, 2, s.Count(), "a dropped query is counted")
}

func TestFaultMatching(t *testing.T) {
	s := faultyServer(t)
	rcode := func(network, name string, qtype uint16) int {
		reply, _, err := (&dns.Client{Net: network}).Exchange(new(dns.Msg).SetQuestion(name, qtype), s.Addr().String())
		require.NoError(t, err)
		return reply.Rcode
	}
	const ok, fail, refused = dns.RcodeSuccess, dns.RcodeServerFailure, dns.RcodeRefused

	s.Fault("", dns.TypeNone, Fault{Action: Refused})
	s.Fault("a.example", dns.TypeNone, Fault{Action: ServFail})
	require.Equal(t, refused, rcode("udp", "b.example.", dns.TypeA), "empty name and TypeNone fit everything")
	require.Equal(t, fail, rcode("udp", "a.example.", dns.TypeTXT), "the last one planned counts")

	s.ClearFaults()
	require.Equal(t, ok, rcode("udp", "a.example.", dns.TypeA))

	s.Fault("a.example.", dns.TypeA, Fault{Action: ServFail, Times: 2})
	require.Equal(t, ok, rcode("udp", "a.example.", dns.TypeAAAA), "another type")
	require.Equal(t, ok, rcode("udp", "b.example.", dns.TypeA), "another name")
	require.Equal(t, fail, rcode("udp", "a.example.", dns.TypeA))
	require.Equal(t, fail, rcode("udp", "a.example.", dns.TypeA))
	require.Equal(t, ok, rcode("udp", "a.example.", dns.TypeA), "used up")

	s.Fault("a.example.", dns.TypeA, Fault{Action: ServFail, Network: "udp"})
	require.Equal(t, ok, rcode("tcp", "a.example.", dns.TypeA))
	require.Equal(t, fail, rcode("udp", "a.example.", dns.TypeA))
}

func TestWait(t *testing.T) {
	s := faultyServer(t)
	release := make(chan struct{})
	s.Fault("a.example.", dns.TypeA, Fault{Wait: release})
	read := raw(t, s, "udp", question("a.example.", dns.TypeA))
	done := make(chan []byte)
	go func() { done <- read() }()

	// Another question is answered meanwhile.
	require.Equal(t, dns.RcodeSuccess, exchange(t, s.Addr(), question("b.example.", dns.TypeA)).Rcode)
	select {
	case <-done:
		t.Fatal("the reply did not wait")
	default:
	}
	release <- struct{}{}
	require.Len(t, unpacked(t, <-done).Answer, 2)
}

func TestCloseReleasesWaiting(t *testing.T) {
	s := faultyServer(t)
	s.Fault("", dns.TypeNone, Fault{Wait: make(chan struct{})})
	for _, network := range []string{"udp", "tcp"} {
		raw(t, s, network, question("a.example.", dns.TypeA))
	}
	for end := time.Now().Add(5 * time.Second); s.Count() < 2; runtime.Gosched() {
		require.True(t, time.Now().Before(end), "both queries arrive")
	}
	require.NoError(t, s.Close())
}

func TestEditHooks(t *testing.T) {
	s := faultyServer(t)
	s.Edit(func(query, reply *dns.Msg) *dns.Msg {
		if query.Question[0].Qtype == dns.TypeTXT {
			return nil
		}
		reply.Answer = reply.Answer[:1]
		reply.AuthenticatedData = false
		return reply
	})
	reply := exchange(t, s.Addr(), question("a.example.", dns.TypeA))
	require.Len(t, reply.Answer, 1)
	require.False(t, reply.AuthenticatedData)

	// The hook swallows the first query of a connection, so that the first reply is to the second.
	tcp, err := net.Dial("tcp", s.Addr().String())
	require.NoError(t, err)
	defer tcp.Close()
	c := &dns.Conn{Conn: tcp}
	require.NoError(t, c.WriteMsg(question("a.example.", dns.TypeTXT)))
	require.NoError(t, c.WriteMsg(question("a.example.", dns.TypeA)))
	reply, err = c.ReadMsg()
	require.NoError(t, err)
	require.Equal(t, dns.TypeA, reply.Question[0].Qtype)
	s.Edit(nil)

	s.EditWire(func(q Query, wire []byte) [][]byte {
		forged := append([]byte(nil), wire...)
		forged[0] ^= 0xff
		return [][]byte{forged, wire}
	})
	query := question("a.example.", dns.TypeA)
	read := raw(t, s, "tcp", query)
	require.NotEqual(t, query.Id, unpacked(t, read()).Id, "the forged reply comes first")
	require.Equal(t, query.Id, unpacked(t, read()).Id, "then the honest one")
	s.EditWire(nil)
	require.Len(t, exchange(t, s.Addr(), question("a.example.", dns.TypeA)).Answer, 2)

	s.Edit(func(_, reply *dns.Msg) *dns.Msg {
		reply.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: strings.Repeat("x", 64) + ".", Rrtype: dns.TypeA, Class: 1}}}
		return reply
	})
	require.Equal(t, dns.RcodeServerFailure, exchange(t, s.Addr(), question("a.example.", dns.TypeA)).Rcode, "a message without wire form")
}
