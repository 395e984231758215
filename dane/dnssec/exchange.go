package dnssec

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"
)

// minUDPBuffer lets servers that ignore the EDNS size be read all the same.
const minUDPBuffer = 4096

// errCut says that a reply does not fit into a datagram: the server is asked again over TCP. What it did send is
// dropped, because a cut answer looks like a smaller whole one.
var errCut = errors.New("reply truncated")

// carry sends one message to server and returns the reply to it.
func (t *transport) carry(ctx context.Context, list *serverList, server netip.AddrPort, s sentQuery) (*message, *Error) {
	if t.upstream.Exchange != nil {
		return t.carryBy(ctx, list, server, s)
	}
	if !list.tcpOnly {
		m, err := t.carryUDP(ctx, list, server, s)
		if !isCut(err) {
			return m, err
		}
	}
	return t.carryTCP(ctx, list, server, s)
}

// carryBy uses the caller's Exchange.
func (t *transport) carryBy(
	ctx context.Context, list *serverList, server netip.AddrPort, s sentQuery,
) (*message, *Error) {
	ctx, cancel := context.WithTimeout(ctx, list.timeout)
	defer cancel()
	b, err := t.upstream.Exchange(ctx, server, s.octets)
	if err != nil {
		return nil, failedCarry(err, nil)
	}
	return s.read(b)
}

// carryUDP sends s from a socket of its own: a fresh random port each time, to which the kernel lets through datagrams
// of this server only. Datagrams that are no reply to s are passed over until the time is up, so that a forged one
// does not end the lookup.
func (t *transport) carryUDP(
	ctx context.Context, list *serverList, server netip.AddrPort, s sentQuery,
) (*message, *Error) {
	conn, hangUp, err := t.dial(ctx, list.timeout, "udp", server)
	if err != nil {
		return nil, failedCarry(err, nil)
	}
	defer hangUp()
	if _, err := conn.Write(s.octets); err != nil {
		return nil, failedCarry(err, nil)
	}
	var headerOnly *message
	var failure *Error // of the last reply that could not be read
	buffer := make([]byte, max(int(t.upstream.UDPSize), minUDPBuffer))
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			if headerOnly != nil {
				return headerOnly, nil
			}
			return nil, failedCarry(err, failure)
		}
		b := buffer[:n]
		switch s.match(b) {
		case echoNone:
			continue
		case echoHeader:
			// It cannot be told from a forgery as well as a reply with a question can, so it counts only if
			// nothing better comes.
			headerOnly = &message{rcode: int(b[3] & maskRcode), ede: noEDE}
			continue
		case echoCase:
			if t.upstream.Case0x20 {
				return nil, &Error{Kind: KindMalformed, Reason: "the case of the name was not kept", Err: errCut}
			}
		}
		m, reason := s.read(b)
		if reason == nil || isCut(reason) {
			return m, reason
		}
		failure = reason
	}
}

// carryTCP sends s over a connection of its own (RFC 7766).
func (t *transport) carryTCP(
	ctx context.Context, list *serverList, server netip.AddrPort, s sentQuery,
) (*message, *Error) {
	conn, hangUp, err := t.dial(ctx, list.timeout, "tcp", server)
	if err != nil {
		return nil, failedCarry(err, nil)
	}
	defer hangUp()
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(s.octets)), uint16(len(s.octets)))
	if _, err := conn.Write(append(framed, s.octets...)); err != nil { // in one segment: RFC 7766 section 8
		return nil, failedCarry(err, nil)
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, failedCarry(err, nil)
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, b); err != nil {
		return nil, failedCarry(err, nil)
	}
	m, failure := s.read(b)
	if isCut(failure) {
		failure = malformed("truncated although it came over TCP", nil)
	}
	return m, failure
}

// dial opens a connection that lives until hangUp is called, and whose reads and writes end with ctx or after timeout,
// whichever is first.
func (t *transport) dial(
	ctx context.Context, timeout time.Duration, network string, server netip.AddrPort,
) (conn net.Conn, hangUp func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	conn, err = t.upstream.Dialer.DialContext(ctx, network, server.String())
	if err != nil {
		cancel()
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return conn, func() {
		stop()
		cancel()
		conn.Close()
	}, nil
}

// read makes a message of b if it is a reply to s, whole and readable.
func (s sentQuery) read(b []byte) (*message, *Error) {
	switch s.match(b) {
	case echoNone:
		return nil, malformed("the reply is not to our question", nil)
	case echoHeader:
		return &message{rcode: int(b[3] & maskRcode), ede: noEDE}, nil
	}
	if truncated(b) {
		return nil, malformed("truncated", errCut)
	}
	m, err := parseMessage(b)
	if err != nil {
		return nil, malformed("it cannot be read", err)
	}
	return m, nil
}

func isCut(failure *Error) bool { return failure != nil && failure.Err == errCut }

func malformed(reason string, err error) *Error {
	return &Error{Kind: KindMalformed, Reason: reason, EDE: noEDE, Err: err}
}

// failedCarry classifies an error of the network. If a reply came that could not be read, that is more telling than
// the wait for another one.
func failedCarry(err error, failure *Error) *Error {
	kind := KindNetwork
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		kind = KindTimeout
	}
	return moreTelling(failure, &Error{Kind: kind, EDE: noEDE, Err: err})
}
