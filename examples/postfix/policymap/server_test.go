package policymap

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A pipes is a listener of connections in memory.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// serving starts a Server on TCP and returns its address. It ends with the test.
func serving(t testing.TB, s *Server, p Protocol) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l, p) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
		require.Zero(t, s.Map.Metrics.open.Load(), "no connection is left")
	})
	return l.Addr().String()
}

func dial(t testing.TB, address string) net.Conn {
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// asks sends a request and returns the reply.
func asks(t testing.TB, conn net.Conn, r *bufio.Reader, request string) string {
	_, err := conn.Write(appendNetstring(nil, request))
	require.NoError(t, err)
	reply, err := readNetstring(r, nil, 100_000)
	require.NoError(t, err)
	return string(reply)
}

func TestConversation(t *testing.T) {
	address := serving(t, &Server{Map: gated(t, &gate{})}, Socketmap)
	conn := dial(t, address)
	r := bufio.NewReader(conn)
	for range 3 { // Postfix keeps the connection
		require.Equal(t, "OK dane", asks(t, conn, r, "policy d.example"))
	}
	require.Equal(t, "NOTFOUND ", asks(t, conn, r, "policy .example"))
	require.Contains(t, asks(t, conn, r, "policy "), "PERM policymap: not a next hop")
	require.Equal(t, "PERM there are the tables policy and policy-tlsrpt", asks(t, conn, r, "aliases d.example"))
	require.Equal(t, "OK dane", asks(t, conn, r, "policy d.example"), "a senseless request ends nothing")

	line := dial(t, serving(t, &Server{Map: gated(t, &gate{})}, TCPTable))
	_, err := line.Write([]byte("get d.example\n"))
	require.NoError(t, err)
	reply, err := bufio.NewReader(line).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "200 dane\n", reply)
}

// A client that is done sending still gets its replies.
func TestHalfClosed(t *testing.T) {
	conn := dial(t, serving(t, &Server{Map: gated(t, &gate{})}, Socketmap))
	_, err := conn.Write([]byte("16:policy d.example,16:policy d.example,"))
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	all, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Equal(t, "7:OK dane,7:OK dane,", string(all))
}

// What one client does wrong is no concern of another.
func TestHostileClients(t *testing.T) {
	s := &Server{Map: gated(t, &gate{})}
	address := serving(t, s, Socketmap)
	good := dial(t, address)
	r := bufio.NewReader(good)
	for i, in := range []string{
		"", "x", "99999999:", "16:policy d.example;", "16:", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00", strings.Repeat("0", 1<<16),
		"16:policy d.example", strings.Repeat("\x00", 100), "4:\xff\xff\xff\xff,",
	} {
		bad := dial(t, address)
		// None of this need succeed: the server may have hung up before it was read to its
		// end.
		bad.Write([]byte(in))
		bad.(*net.TCPConn).CloseWrite()
		all, _ := io.ReadAll(bad)
		if len(all) > 0 {
			require.Contains(t, string(all), "PERM ", "%.40q", in)
		}
		require.Equal(t, "OK dane", asks(t, good, r, fmt.Sprintf("policy d%d.example", i)))
	}
	require.Positive(t, s.Map.Metrics.malformed.Load())
}

// Silence, a request that never ends and a reply that nobody takes have their limits.
func TestSlowClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		s := &Server{Map: gated(t, &gate{}), Idle: time.Minute}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(ctx, l, Socketmap) }()

		begin := time.Now()
		silent := l.dial()
		_, err := silent.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, time.Minute, time.Since(begin), "silence")

		begin = time.Now()
		slow := l.dial()
		go func() {
			for _, c := range []byte("16:policy d.example,") {
				if _, err := slow.Write([]byte{c}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		all, err := io.ReadAll(slow)
		require.NoError(t, err)
		require.Equal(t, "18:PERM not a request,", string(all))
		require.Equal(t, requestTime, time.Since(begin), "one octet a second")

		begin = time.Now()
		deaf := l.dial()
		_, err = deaf.Write([]byte("16:policy d.example,"))
		require.NoError(t, err)
		for s.Map.Metrics.open.Load() > 0 {
			time.Sleep(time.Second)
		}
		require.LessOrEqual(t, time.Since(begin), requestTime+time.Second, "a reply that nobody takes")
		cancel()
		require.NoError(t, <-ended)
	})
}

// When the service ends, who waits for an answer gets one: TEMP.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, g := newPipes(), &gate{closed: make(chan struct{})}
		s := &Server{Map: gated(t, g)}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(ctx, l, Socketmap) }()
		idle, waiting := l.dial(), l.dial()
		_, err := waiting.Write([]byte("16:policy d.example,"))
		require.NoError(t, err)
		synctest.Wait()
		cancel()
		all, err := io.ReadAll(waiting)
		require.NoError(t, err)
		require.Equal(t, string(appendNetstring(nil, "TEMP the look-up takes too long")), string(all))
		_, err = idle.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		require.NoError(t, <-ended)
		close(g.closed)
	})
}

// Thousands of connections are held, and one too many is closed and changes nothing.
func TestManyConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 3000
		l := newPipes()
		s := &Server{Map: gated(t, &gate{}), Connections: most}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(ctx, l, Socketmap) }()
		conns := make([]net.Conn, most)
		for i := range conns {
			conns[i] = l.dial()
		}
		synctest.Wait()
		one := l.dial()
		_, err := one.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF, "one too many")
		require.EqualValues(t, 1, s.Map.Metrics.refused.Load())
		var group sync.WaitGroup
		for i, conn := range conns {
			group.Go(func() {
				require.Equal(t, "OK dane", asks(t, conn, bufio.NewReader(conn), fmt.Sprintf("policy d%d.example", i%100)))
				conn.Close()
			})
		}
		group.Wait()
		synctest.Wait()
		again := l.dial()
		require.Equal(t, "OK dane", asks(t, again, bufio.NewReader(again), "policy d1.example"), "and then there is room again")
		cancel()
		require.NoError(t, <-ended)
	})
}

// Half a request is nobody's fault when the service ends: no PERM, nothing counted.
func TestEndInRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener, m := newPipes(), gated(t, &gate{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- (&Server{Map: m}).Serve(ctx, listener, Socketmap) }()
		conn := listener.dial()
		_, err := io.WriteString(conn, "16:policy d.ex")
		require.NoError(t, err)
		synctest.Wait()
		cancel()
		reply, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.Empty(t, reply)
		require.NoError(t, <-ended)
		require.Zero(t, m.Metrics.malformed.Load())
	})
}
