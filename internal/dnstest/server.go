package dnstest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Sizes of replies over UDP.
const (
	minUDPSize = 512  // without EDNS, RFC 1035 section 2.3.4
	maxUDPSize = 4096 // what the servers advertise and never exceed
)

// maxListenTries bounds the search for a port that is free for UDP and TCP both.
const maxListenTries = 20

// Query is one question that a server received.
type Query struct {
	Network        string // "udp" or "tcp"
	From           netip.AddrPort
	ID             uint16
	Name           string // with the letter case of the query
	Type           uint16
	RD, AD, CD, DO bool
	EDNS           bool
	UDPSize        uint16 // of EDNS, 0 without
}

// Server answers on one UDP and one TCP port of the same number. It is safe for concurrent use.
type Server struct {
	addr   netip.AddrPort
	answer func(query *dns.Msg) *dns.Msg
	udp    *dns.Server
	tcp    *dns.Server
	done   chan struct{}
	close  func() error
	served sync.WaitGroup

	mu       sync.Mutex // guards what follows
	log      []Query
	faults   []*plannedFault
	edit     func(query, reply *dns.Msg) *dns.Msg
	editWire func(q Query, wire []byte) [][]byte
}

// Addr returns the address that the server listens on.
func (s *Server) Addr() netip.AddrPort { return s.addr }

// Edit sets a hook that sees every reply before it is packed, after faults; nil takes it away. It
// returns the message to send, the same or another, or nil for none. Both messages are its own to
// change. The hook runs in the goroutine of its query.
func (s *Server) Edit(hook func(query, reply *dns.Msg) *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.edit = hook
}

// EditWire sets a hook that sees every reply packed and truncated; nil takes it away. It returns
// the messages to send one after the other: none, one, or a forged one before the honest.
func (s *Server) EditWire(hook func(q Query, wire []byte) [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.editWire = hook
}

// Queries returns what was asked since the start or the last Reset, in order of arrival.
func (s *Server) Queries() []Query {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// Count returns the number of queries since the start or the last Reset.
func (s *Server) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.log)
}

// Reset empties the log of queries.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = nil
}

// Close stops the server, releases replies that wait, and returns when no goroutine of it is left.
// Closing twice does no harm.
func (s *Server) Close() error { return s.close() }

// serve listens on addr ("127.0.0.1:0" if empty; port 0 is any free one) and answers.
func serve(addr string, answer func(*dns.Msg) *dns.Msg) (*Server, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	packets, listener, err := listen(addr)
	if err != nil {
		return nil, fmt.Errorf("dnstest: %w", err)
	}
	s := &Server{
		addr:   netip.MustParseAddrPort(packets.LocalAddr().String()),
		answer: answer,
		done:   make(chan struct{}),
	}
	s.udp = &dns.Server{PacketConn: packets, UDPSize: dns.MaxMsgSize, Handler: s.handler("udp")}
	s.tcp = &dns.Server{
		Listener: listener, Handler: s.handler("tcp"), MaxTCPQueries: -1,
		IdleTimeout: func() time.Duration { return time.Minute },
	}
	s.close = sync.OnceValue(s.shutdown)
	for _, server := range []*dns.Server{s.udp, s.tcp} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		s.served.Go(func() { server.ActivateAndServe() })
		<-started
	}
	return s, nil
}

// listen opens the same port for UDP and TCP.
func listen(addr string) (net.PacketConn, net.Listener, error) {
	want, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, nil, fmt.Errorf("address %q to listen on: %w", addr, err)
	}
	for try := 1; ; try++ {
		listener, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, nil, err
		}
		packets, err := net.ListenPacket("udp", listener.Addr().String())
		if err == nil {
			return packets, listener, nil
		}
		listener.Close()
		if want.Port() != 0 || try == maxListenTries {
			return nil, nil, err
		}
	}
}

func (s *Server) shutdown() error {
	close(s.done)
	err := errors.Join(s.udp.Shutdown(), s.tcp.Shutdown())
	s.served.Wait()
	return err
}

func (s *Server) handler(network string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, query *dns.Msg) {
		question := query.Question[0]
		q := Query{
			Network: network,
			From:    addrPort(w.RemoteAddr()),
			ID:      query.Id, Name: question.Name, Type: question.Qtype,
			RD: query.RecursionDesired, AD: query.AuthenticatedData, CD: query.CheckingDisabled,
		}
		if opt := query.IsEdns0(); opt != nil {
			q.EDNS, q.DO, q.UDPSize = true, opt.Do(), opt.UDPSize()
		}
		s.mu.Lock()
		s.log = append(s.log, q)
		edit, editWire := s.edit, s.editWire
		s.mu.Unlock()

		fault := s.strike(network, question)
		if fault.Wait != nil {
			select {
			case <-fault.Wait:
			case <-s.done:
				return
			}
		}
		reply := fault.Action.onMessage(query, s.respond(query))
		if reply != nil && edit != nil {
			reply = edit(query, reply)
		}
		if reply == nil {
			return
		}
		limit := dns.MaxMsgSize
		if network == "udp" {
			limit = min(max(int(q.UDPSize), minUDPSize), maxUDPSize)
		}
		wire, err := pack(reply, limit)
		if err != nil { // a hook made a message that has no wire form
			wire, _ = failure(query, dns.RcodeServerFailure).Pack()
		}
		messages := [][]byte{fault.Action.onWire(wire)}
		if editWire != nil {
			messages = editWire(q, messages[0])
		}
		for _, m := range messages {
			w.Write(m)
		}
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.UDPAddr:
		return a.AddrPort()
	case *net.TCPAddr:
		return a.AddrPort()
	}
	return netip.AddrPort{}
}

// respond gives the honest reply, after what every kind of server refuses alike.
func (s *Server) respond(query *dns.Msg) *dns.Msg {
	question := query.Question[0]
	opt := query.IsEdns0()
	switch {
	case query.Opcode != dns.OpcodeQuery:
		return failure(query, dns.RcodeNotImplemented)
	case opt != nil && opt.Version() != 0:
		return failure(query, dns.RcodeBadVers)
	case question.Qclass != dns.ClassINET:
		return failure(query, dns.RcodeRefused)
	}
	switch question.Qtype {
	case dns.TypeANY, dns.TypeAXFR, dns.TypeIXFR, dns.TypeRRSIG, dns.TypeOPT, dns.TypeMAILA, dns.TypeMAILB:
		return failure(query, dns.RcodeNotImplemented)
	}
	return s.answer(query)
}

// begin returns an empty reply with the question and, if the query had one, an OPT.
func begin(query *dns.Msg) *dns.Msg {
	reply := new(dns.Msg)
	reply.SetReply(query)
	reply.Compress = true
	if opt := query.IsEdns0(); opt != nil {
		reply.SetEdns0(maxUDPSize, opt.Do())
	}
	return reply
}

// failure returns a reply that is an RCODE and nothing else.
func failure(query *dns.Msg, rcode int) *dns.Msg {
	reply := begin(query)
	reply.Rcode = rcode
	return reply
}

// cut empties the sections of a reply and sets TC (RFC 2181 section 9).
func cut(reply *dns.Msg) {
	opt := reply.IsEdns0()
	reply.Truncated, reply.AuthenticatedData = true, false
	reply.Answer, reply.Ns, reply.Extra = nil, nil, nil
	if opt != nil {
		reply.Extra = []dns.RR{opt}
	}
}

// pack returns the wire form, truncated if it is longer than limit.
func pack(reply *dns.Msg, limit int) ([]byte, error) {
	wire, err := reply.Pack()
	if err != nil || len(wire) <= limit {
		return wire, err
	}
	cut(reply)
	return reply.Pack()
}
