package dnstest

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Action is what a server does instead of giving its honest reply.
type Action uint8

const (
	Honest        Action = iota // the honest reply, for a Fault that only waits
	Drop                        // no reply at all: a timeout for the client
	FormErr                     // RCODE 1
	ServFail                    // RCODE 2
	NotImp                      // RCODE 4
	Refused                     // RCODE 5
	WrongID                     // the honest reply with another ID
	WrongQuestion               // the honest reply with another name in the question section
	Truncate                    // TC with empty sections, also over TCP
	Half                        // the honest reply cut in the middle
	Garbage                     // the right ID, then octets that are no message
)

var rcodes = map[Action]int{
	FormErr: dns.RcodeFormatError, ServFail: dns.RcodeServerFailure, NotImp: dns.RcodeNotImplemented, Refused: dns.RcodeRefused,
}

// Fault is what happens to the replies to one question.
type Fault struct {
	Action Action
	// Wait, if not nil, holds the reply back until a value comes or the channel is closed, or the
	// server is.
	Wait <-chan struct{}
	// Times is how many queries meet the fault, after which it is gone; 0 = all.
	Times int
	// Network is "udp" or "tcp" to leave the other alone; "" = both.
	Network string
}

// plannedFault is a Fault waiting for its question.
type plannedFault struct {
	name  string // canonical, "" = every name
	qtype uint16 // TypeNone = every type
	Fault
}

// Fault plans f for queries for name and type; an empty name or [dns.TypeNone] means any. Of
// several faults that fit, the one planned last counts.
func (s *Server) Fault(name string, qtype uint16, f Fault) {
	if name != "" {
		name = dns.CanonicalName(name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &plannedFault{name, qtype, f})
}

// ClearFaults makes the server honest again. Replies that wait go on waiting.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// strike returns the fault for a query and counts it.
func (s *Server) strike(network string, q dns.Question) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range slices.Backward(s.faults) {
		if f.name != "" && f.name != dns.CanonicalName(q.Name) || f.qtype != dns.TypeNone && f.qtype != q.Qtype ||
			f.Network != "" && f.Network != network {
			continue
		}
		struck := f.Fault
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				s.faults = slices.Delete(s.faults, i, i+1)
			}
		}
		return struck
	}
	return Fault{}
}

// onMessage applies what an action changes in a reply. It returns nil if there shall be none.
func (a Action) onMessage(query, reply *dns.Msg) *dns.Msg {
	switch a {
	case Drop:
		return nil
	case WrongID:
		reply.Id ^= 0x5555
	case WrongQuestion:
		reply.Question[0].Name = "wrong." + strings.TrimPrefix(reply.Question[0].Name, ".")
	case Truncate:
		cut(reply)
	}
	if rcode, ok := rcodes[a]; ok {
		return failure(query, rcode)
	}
	return reply
}

// onWire applies what an action changes in a packed reply.
func (a Action) onWire(wire []byte) []byte {
	switch a {
	case Half:
		return wire[:len(wire)/2]
	case Garbage:
		return append(wire[:2:2], []byte(strings.Repeat("\xff\x00garbage", 8))...)
	}
	return wire
}
