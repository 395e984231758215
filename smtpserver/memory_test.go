package smtpserver

import (
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// memory is a listener whose connections are pipes.
type memory struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newMemory() *memory { return &memory{conns: make(chan net.Conn), done: make(chan struct{})} }

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}
func (m *memory) Close() error   { m.once.Do(func() { close(m.done) }); return nil }
func (m *memory) Addr() net.Addr { return tcpAddr("192.0.2.25:25") }

func tcpAddr(s string) *net.TCPAddr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

// memoryConn is a pipe with the address of a peer. from is called by RemoteAddr, as
// a listener for the PROXY protocol reads its header there.
type memoryConn struct {
	net.Conn
	from func() net.Addr
}

func (c memoryConn) RemoteAddr() net.Addr { return c.from() }
func (c memoryConn) LocalAddr() net.Addr  { return tcpAddr("192.0.2.25:25") }

// dial returns the client's end of a new connection.
func (m *memory) dial(t testing.TB, from string) *peer {
	t.Helper()
	return m.dialFrom(t, func() net.Addr { return tcpAddr(from) })
}

func (m *memory) dialFrom(t testing.TB, from func() net.Addr) *peer {
	t.Helper()
	near, far := net.Pipe()
	select {
	case m.conns <- memoryConn{far, from}:
	case <-m.done:
		require.FailNow(t, "the listener is closed")
	}
	return newPeer(t, near)
}
